package promql

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"tocsin/fleet"
)

// podTargets knows which service a pod is of. It does not change once it is made.
type podTargets struct {
	services []fleet.Service
	patterns [][]string // Of each service: RE2 for whole names of its pods, the exact ones escaped.
	names    int        // Exact names, and what expressions may stand for.

	exact    map[podName]int32
	byPrefix map[podName][]matcher // Expressions, by the literal that they begin with.
	lengths  []int                 // Of those, in falling order.
	totals   bool                  // Names are those of services.
}

// matcher is a regular expression for pods of a service.
type matcher struct {
	expr   *regexp.Regexp
	target int32
}

// somePods is how many pods an expression is taken to stand for where room is reserved.
const somePods = 10

// newPodTargets takes in targets; those of one service are put together.
func newPodTargets(targets []PodTarget) (*podTargets, error) {
	t := &podTargets{exact: make(map[podName]int32), byPrefix: make(map[podName][]matcher)}
	index := make(map[fleet.Service]int32, len(targets))
	for _, target := range targets {
		i, ok := index[target.Service]
		if !ok {
			i = int32(len(t.services))
			index[target.Service] = i
			t.services = append(t.services, target.Service)
			t.patterns = append(t.patterns, nil)
		}
		if err := t.admit(i, &target); err != nil {
			return nil, fmt.Errorf("pods of %s: %w", target.Service, err)
		}
	}
	slices.Sort(t.lengths)
	slices.Reverse(t.lengths)
	for i := range t.patterns {
		slices.Sort(t.patterns[i]) // The same text for the same pods, whoever names them first.
		t.patterns[i] = slices.Compact(t.patterns[i])
	}
	return t, nil
}

// admit takes in one target. Names that an expression covers need not be asked for.
func (t *podTargets) admit(i int32, target *PodTarget) error {
	var exprs []*regexp.Regexp
	for _, text := range target.Match {
		expr, err := regexp.Compile("^(?:" + text + ")$")
		if err != nil {
			return fmt.Errorf("match %q: %w", text, err)
		}
		exprs = append(exprs, expr)
		prefix, _ := regexp.MustCompile(text).LiteralPrefix()
		key := podName{target.Service.Namespace, prefix}
		t.byPrefix[key] = append(t.byPrefix[key], matcher{expr, i})
		if !slices.Contains(t.lengths, len(prefix)) {
			t.lengths = append(t.lengths, len(prefix))
		}
		if strings.Contains(text, "|") {
			text = "(?:" + text + ")"
		}
		t.patterns[i] = append(t.patterns[i], text)
		t.names += somePods
	}
	for _, name := range target.Pods {
		t.exact[podName{target.Service.Namespace, name}] = i
		t.names++
		if !slices.ContainsFunc(exprs, func(e *regexp.Regexp) bool { return e.MatchString(name) }) {
			t.patterns[i] = append(t.patterns[i], regexp.QuoteMeta(name))
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
