package sim

import (
	"fmt"
	"slices"
	"strings"
)

// selector is a label selector: all of its requirements have to hold.
type selector []requirement

// requirement wants a label to be one of values, or none of them.
type requirement struct {
	label  string
	values []string
	not    bool
}

func (s selector) match(labels map[string]string) bool {
	for _, r := range s {
		value, ok := labels[r.label]
		if (ok && slices.Contains(r.values, value)) == r.not {
			return false
		}
	}
	return true
}

// parseSelector reads a selector as clients write it: app=cart,hash in (a,b),hash notin (c).
func parseSelector(text string) (selector, error) {
	var out selector
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		var r requirement
		end := strings.IndexAny(text, "=! ,")
		if end <= 0 {
			return nil, fmt.Errorf("label selector: nothing that is simulated at %q", text)
		}
		r.label = text[:end]
		rest := strings.TrimSpace(text[end:])
		var ok bool
		if r, rest, ok = r.operand(rest); !ok {
			return nil, fmt.Errorf("label selector: nothing that is simulated at %q", text)
		}
		out = append(out, r)
		text = rest
	}
	return out, nil
}

// operand reads operator and values, and the comma after them.
func (r requirement) operand(text string) (_ requirement, rest string, ok bool) {
	for _, set := range []string{"in (", "notin ("} {
		list, found := strings.CutPrefix(text, set)
		if !found {
			continue
		}
		list, rest, ok = strings.Cut(list, ")")
		for value := range strings.SplitSeq(list, ",") {
			r.values = append(r.values, strings.TrimSpace(value))
		}
		r.not = set != "in ("
		return r, strings.TrimPrefix(rest, ","), ok
	}
	for _, equality := range []string{"==", "!=", "="} {
		if value, found := strings.CutPrefix(text, equality); found {
			value, rest, _ = strings.Cut(value, ",")
			r.values, r.not = []string{strings.TrimSpace(value)}, equality == "!="
			return r, rest, true
		}
	}
	return r, "", false
}
