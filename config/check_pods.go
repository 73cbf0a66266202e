package config

import (
	"fmt"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

var latencyUnits = []string{"s", "ms"}

func (c *Config) checkPods(d *decoder) {
	unique := d.unique("pods")
	for i := range c.Pods {
		path := fmt.Sprintf("pods[%d]", i)
		unique(path+".name", c.Pods[i].Name)
		c.Pods[i].check(d, path)
	}
}

func (s *PodSet) check(d *decoder, path string) {
	named := d.required(path+".name", s.Name, "a name such as checkout")
	if named && !signalName.MatchString(s.Name) {
		d.failAt(path+".name", "lower-case letters, digits and _", "%q is not a name of a set", s.Name)
	}
	asked := s.metrics()
	if len(asked) == 0 {
		d.failAt(path, "requests, or another of its queries", "asks for nothing")
	}
	for _, m := range asked {
		field := path + "." + m.name
		d.podQuery(field, m.query)
		if m.traffic && s.Requests == "" {
			d.failAt(field, "requests too", "says little without requests")
		}
	}
	d.choice(path+".latency_unit", s.LatencyUnit, latencyUnits)
	d.labelNames(path+".namespace_labels", s.NamespaceLabels)
	d.labelNames(path+".pod_labels", s.PodLabels)
	d.labelNames(path+".service_namespace_labels", s.ServiceNamespaceLabels)
	d.labelNames(path+".service_labels", s.ServiceLabels)
	if len(s.PodLabels) == 0 {
		d.failAt(path+".pod_labels", "the label that names the pod", "is empty")
	}
}

// podExample holds values for a query of pods that are exactly as long as their placeholders, so
// that the position in an error is that in the file.
var podExample = map[string]string{
	"window":   "000001m",
	"interval": "00000001m",
	"pod":      "a, b",
	"selector": `a!="bcde"`,
}

// podQuery reports what is wrong with one query of a set.
func (d *decoder) podQuery(field, query string) {
	expr, err := promQL().ParseExpr(fillPods(query, podExample))
	if err == nil && expr.Type() != parser.ValueTypeVector {
		err = fmt.Errorf("gives a %s, not an instant vector", parser.DocumentedType(expr.Type()))
	}
	if err != nil {
		d.promQL(field, query, err)
		return
	}
	if !strings.Contains(query, "$pod") || !strings.Contains(query, "$selector") {
		d.failAt(field, "sum by ($pod) (name{$selector}), or something like it",
			"does not say where $pod and $selector belong")
		return
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok && selectsExample(v) && metricName(v) == "" {
			d.failAt(field, "the name of a metric before its braces", "$selector is of no metric")
		}
		return nil
	})
}

func selectsExample(v *parser.VectorSelector) bool {
	for _, m := range v.LabelMatchers {
		if m.Type == labels.MatchNotEqual && m.Name == "a" && m.Value == "bcde" {
			return true
		}
	}
	return false
}
