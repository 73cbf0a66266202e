package promql

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"tocsin/fleet"
)

// podTargets knows which service a pod is of. It does not change once it is made.
type podTargets struct {
	services []fleet.Service
	patterns [][]podPattern // Of each service.
	names    int            // Of pods, as far as is known before.

	exact    map[podName]int32
	byPrefix map[podName][]matcher // Expressions, by the literal that they begin with.
	lengths  []int                 // Of those, in falling order.
	exprs    podExprs
	totals   bool // Names are those of services.
}

// podPattern is RE2 for whole names of pods, and how many pods it may stand for.
type podPattern struct {
	text  string
	names int
}

// matcher is a regular expression for pods of a service.
type matcher struct {
	podExpr
	target int32
}

// podExpr is a compiled expression for whole names, and the literal that they begin with.
type podExpr struct {
	expr   *regexp.Regexp
	prefix string
}

// podExprs remembers expressions: most of those of one call come back in the next.
type podExprs map[string]podExpr

// compile returns an expression, from before if it was there.
func (m podExprs) compile(text string, before podExprs) (podExpr, error) {
	e, ok := m[text]
	if !ok {
		e, ok = before[text]
	}
	if !ok {
		free, err := regexp.Compile(text)
		if err != nil {
			return podExpr{}, fmt.Errorf("match %q: %w", text, err)
		}
		e.prefix, _ = free.LiteralPrefix()
		if e.expr, err = regexp.Compile("^(?:" + text + ")$"); err != nil {
			return podExpr{}, fmt.Errorf("match %q: %w", text, err)
		}
	}
	m[text] = e
	return e, nil
}

// somePods is how many pods an expression is taken to stand for where room is reserved.
const somePods = 10

// newPodTargets takes in targets; those of one service are put together.
func newPodTargets(targets []PodTarget, before podExprs) (*podTargets, error) {
	t := &podTargets{
		exact: make(map[podName]int32), byPrefix: make(map[podName][]matcher),
		exprs: make(podExprs, len(before)),
	}
	index := make(map[fleet.Service]int32, len(targets))
	for _, target := range targets {
		i, ok := index[target.Service]
		if !ok {
			i = int32(len(t.services))
			index[target.Service] = i
			t.services = append(t.services, target.Service)
			t.patterns = append(t.patterns, nil)
		}
		if err := t.admit(i, &target, before); err != nil {
			return nil, fmt.Errorf("pods of %s: %w", target.Service, err)
		}
	}
	slices.Sort(t.lengths)
	slices.Reverse(t.lengths)
	for i := range t.patterns {
		// The same text for the same pods, whoever names them first.
		byText := func(a, b podPattern) int { return cmp.Compare(a.text, b.text) }
		slices.SortFunc(t.patterns[i], byText)
		t.patterns[i] = slices.CompactFunc(t.patterns[i],
			func(a, b podPattern) bool { return a.text == b.text })
	}
	return t, nil
}

// admit takes in one target. Names that an expression covers need not be asked for.
func (t *podTargets) admit(i int32, target *PodTarget, before podExprs) error {
	var exprs []podExpr
	for _, text := range target.Match {
		e, err := t.exprs.compile(text, before)
		if err != nil {
			return err
		}
		exprs = append(exprs, e)
		key := podName{target.Service.Namespace, e.prefix}
		t.byPrefix[key] = append(t.byPrefix[key], matcher{e, i})
		if !slices.Contains(t.lengths, len(e.prefix)) {
			t.lengths = append(t.lengths, len(e.prefix))
		}
		if strings.Contains(text, "|") {
			text = "(?:" + text + ")"
		}
		t.patterns[i] = append(t.patterns[i], podPattern{text, max(somePods, len(target.Pods))})
		t.names += somePods
	}
	for _, name := range target.Pods {
		t.exact[podName{target.Service.Namespace, name}] = i
		t.names++
		covers := func(e podExpr) bool {
			return strings.HasPrefix(name, e.prefix) && e.expr.MatchString(name)
		}
		if !slices.ContainsFunc(exprs, covers) {
			t.patterns[i] = append(t.patterns[i], podPattern{regexp.QuoteMeta(name), 1})
		}
	}
	return nil
}

// find returns the service that a pod is of, -1 if none that was asked for. Where series have no
// namespace, the name must do.
func (t *podTargets) find(pod podName) int32 {
	if i, ok := t.exact[pod]; ok {
		return i
	}
	if pod.namespace == "" {
		return t.findAnywhere(pod.name)
	}
	for _, n := range t.lengths {
		if n > len(pod.name) {
			continue
		}
		for _, m := range t.byPrefix[podName{pod.namespace, pod.name[:n]}] {
			if m.expr.MatchString(pod.name) {
				return m.target
			}
		}
	}
	return -1
}

// findAnywhere returns the one service that has a pod of a name, -1 if there are several.
func (t *podTargets) findAnywhere(name string) int32 {
	found, tried := int32(-1), map[string]bool{}
	for _, s := range t.services {
		if tried[s.Namespace] {
			continue
		}
		tried[s.Namespace] = true
		if s.Namespace == "" {
			continue
		}
		switch i := t.find(podName{s.Namespace, name}); {
		case i >= 0 && found >= 0 && i != found:
			return -1
		case i >= 0:
			found = i
		}
	}
	return found
}

// asServices returns what finds services by their own names.
func (t *podTargets) asServices(some []int32) *podTargets {
	out := &podTargets{services: t.services, exact: make(map[podName]int32, len(some)), totals: true}
	for _, i := range some {
		out.exact[podName{t.services[i].Namespace, t.services[i].Name}] = i
	}
	return out
}
