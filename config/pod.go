package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// PodSet says what the pods of a service are asked for while a release of it is judged: counters
// as they stand, by pod. All of a set count the same requests. One that has the name of a shipped
// set changes that one: what it does not give stays as it was. Those of your own come before the
// shipped ones.
type PodSet struct {
	// Name: lower-case letters, digits and underscores.
	Name string `yaml:"name"`
	// Whose metrics these are, for people.
	Description string `yaml:"description,omitempty"`
	// PromQL that gives the requests that a pod has answered since it started. `$pod` and
	// `$selector` stand for what signals.md says.
	Requests string `yaml:"requests,omitempty"`
	// PromQL that gives those of them that failed.
	Errors string `yaml:"errors,omitempty"`
	// PromQL that gives their latencies: buckets by `le`, or native histograms.
	Latency string `yaml:"latency,omitempty"`
	// What latencies are measured in: s or ms.
	LatencyUnit string `yaml:"latency_unit"`
	// PromQL that gives the seconds of CPU that a pod has used since it started.
	CPU string `yaml:"cpu,omitempty"`
	// PromQL that gives the bytes of memory that a pod uses.
	Memory string `yaml:"memory,omitempty"`
	// PromQL that gives the bytes of memory that a pod may use.
	MemoryLimit string `yaml:"memory_limit,omitempty"`
	// PromQL that gives how often the containers of a pod have restarted.
	Restarts string `yaml:"restarts,omitempty"`
	// Labels that may hold the namespace of a pod; the first that a series has counts.
	NamespaceLabels []string `yaml:"namespace_labels"`
	// Labels that may hold the name of a pod; the first that a series has counts.
	PodLabels []string `yaml:"pod_labels"`
	// Labels that may hold the namespace of the service where no label holds the pod.
	ServiceNamespaceLabels []string `yaml:"service_namespace_labels"`
	// Labels that may hold the name of the service where no label holds the pod. None: such
	// series say nothing.
	ServiceLabels []string `yaml:"service_labels"`
	// Whether pods are asked for it.
	Enabled bool `yaml:"enabled"`

	// Pack is the name of the pack that the set comes from; empty for your own.
	Pack string `yaml:"-"`
}

// podMetric is one of the queries of a set.
type podMetric struct {
	name, query string
	traffic     bool // It is known of services too.
}

// metrics returns what a set asks for.
func (s *PodSet) metrics() []podMetric {
	all := []podMetric{
		{"requests", s.Requests, true},
		{"errors", s.Errors, true},
		{"latency", s.Latency, true},
		{"cpu", s.CPU, false},
		{"memory", s.Memory, false},
		{"memory_limit", s.MemoryLimit, false},
		{"restarts", s.Restarts, false},
	}
	return slices.DeleteFunc(all, func(m podMetric) bool { return m.query == "" })
}

// inherit starts from the shipped set of the same name, if there is one.
func (s *PodSet) inherit(d *decoder, _ any, n *yaml.Node) {
	*s = newPodSet()
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "name" {
			continue
		}
		for _, shipped := range podSets(d.packs) {
			if shipped.Name == n.Content[i+1].Value {
				*s = shipped
			}
		}
	}
}

// newPodSet returns a set with nothing but defaults.
func newPodSet() PodSet {
	signal := newSignal()
	return PodSet{
		LatencyUnit:            "s",
		NamespaceLabels:        signal.NamespaceLabels,
		PodLabels:              []string{"pod", "k8s_pod_name", "kubernetes_pod_name", "pod_name"},
		ServiceNamespaceLabels: signal.NamespaceLabels,
		ServiceLabels:          signal.ServiceLabels,
		Enabled:                true,
	}
}

func podSets(packs []Pack) []PodSet {
	var out []PodSet
	for _, p := range packs {
		out = append(out, p.Pods...)
	}
	return out
}

// mergePodSets puts those of own that change a shipped set in its place, and the others before
// all: whoever writes one wants it to be preferred.
func mergePodSets(packs []Pack, own []PodSet) []PodSet {
	shipped := podSets(packs)
	var out []PodSet
	for _, s := range own {
		i := slices.IndexFunc(shipped, func(x PodSet) bool { return x.Name == s.Name })
		if i < 0 {
			out = append(out, s)
		} else {
			shipped[i] = s
		}
	}
	return append(out, shipped...)
}

// PodQuery is one metric of pods as one cluster is asked for it.
type PodQuery struct {
	Set    PodSet
	Metric string // requests, errors, latency, cpu, memory, memory_limit or restarts.
	// PromQL in which only $pod and $selector are left open.
	Expr string
	// PromQL that gives the increase over the window by service; empty if there is none.
	Total string
	// Labels of Total's answer that may hold the namespace and the name of the service.
	TotalNamespace, TotalService []string
	// Names of the metrics without which Expr gives nothing.
	Metrics []string
	// As in Query.
	Probe string
}

// PodQueries returns what cluster is asked for while a release runs, in order of preference.
func (c *Config) PodQueries(cluster *Cluster) ([]PodQuery, error) {
	selector, err := ParseSelector(cluster.Selector)
	if err != nil {
		return nil, fmt.Errorf("selector of cluster %s: %w", cluster.Name, err)
	}
	packs := shipped()
	var out []PodQuery
	for _, set := range mergePodSets(packs, c.Pods) {
		if !set.Enabled || (set.Pack != "" && !cluster.Packs.Has(set.Pack)) {
			continue
		}
		probe := ""
		for _, p := range packs {
			if p.Name == set.Pack && cluster.Packs.Auto() {
				probe = p.ProbeExpr(selector)
			}
		}
		for _, m := range set.metrics() {
			q, err := set.query(m, selector, time.Duration(cluster.Window), time.Duration(cluster.Interval))
			if err != nil {
				return nil, fmt.Errorf("pods of cluster %s: %s of %s: %w", cluster.Name, m.name, set.Name, err)
			}
			q.Probe = probe
			out = append(out, q)
		}
	}
	return out, nil
}

// What stands for $pod and $selector while a query is parsed.
const (
	podLabel      = "tocsin_pod"
	selectedLabel = "tocsin_selected"
)

// podPlaceholder finds what a query of pods leaves open.
var podPlaceholder = regexp.MustCompile(`\$(window|interval|pod|selector)\b`)

// query resolves one metric of s for one source.
func (s *PodSet) query(
	m podMetric, selector []*labels.Matcher, window, interval time.Duration,
) (PodQuery, error) {
	values := map[string]string{
		"window":   model.Duration(window).String(),
		"interval": model.Duration(interval).String(),
		"selector": selectedLabel + `=""`,
		"pod":      podLabel,
	}
	expr, err := promQL().ParseExpr(fillPods(m.query, values))
	if err != nil {
		return PodQuery{}, shortError(err)
	}
	out := PodQuery{Set: *s, Metric: m.name, Metrics: selectAll(expr, selector)}
	out.Expr = reopen(expr)
	if !m.traffic || len(s.ServiceLabels) == 0 {
		return out, nil
	}
	values["pod"] = "$service"
	total := Signal{
		Name: s.Name, Query: fillPods(m.query, values),
		NamespaceLabels: s.ServiceNamespaceLabels, ServiceLabels: s.ServiceLabels,
	}
	if expr, err = total.parse(window, interval); err != nil {
		return PodQuery{}, err
	}
	selectAll(expr, selector)
	out.Total = reopen(increases(expr, window))
	out.TotalNamespace, out.TotalService = total.answerLabels()
	return out, nil
}

func fillPods(query string, values map[string]string) string {
	return podPlaceholder.ReplaceAllStringFunc(query, func(p string) string { return values[p[1:]] })
}

// reopen prints a query with its placeholders.
func reopen(expr parser.Expr) string {
	names := strings.NewReplacer(selectedLabel+`=""`, "$selector", podLabel, "$pod")
	return names.Replace(expr.String())
}

// selectAll adds selector to each vector selector, and returns the metrics of those that pods are
// selected by. A histogram is known by its count, which costs less to look for than its buckets.
func selectAll(expr parser.Expr, selector []*labels.Matcher) []string {
	var out []string
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		addMatchers(v, selector)
		name := metricName(v)
		if base, ok := strings.CutSuffix(name, "_bucket"); ok {
			name = base + "_count"
		}
		if selected(v) && !slices.Contains(out, name) {
			out = append(out, name)
		}
		return nil
	})
	return out
}

// selected says whether $selector is among the matchers.
func selected(v *parser.VectorSelector) bool {
	return slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool {
		return m.Name == selectedLabel
	})
}

// metricName returns the name of the one metric that v selects, empty if there may be others.
func metricName(v *parser.VectorSelector) string {
	for _, m := range v.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return v.Name
}

// increases replaces the counters that pods are selected by with what was added to each.
func increases(expr parser.Expr, window time.Duration) parser.Expr {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		if selected(e) {
			return &parser.Call{
				Func: parser.MustGetFunction("increase"),
				Args: parser.Expressions{&parser.MatrixSelector{VectorSelector: e, Range: window}},
			}
		}
	case *parser.AggregateExpr:
		e.Expr = increases(e.Expr, window)
	case *parser.BinaryExpr:
		e.LHS, e.RHS = increases(e.LHS, window), increases(e.RHS, window)
	case *parser.ParenExpr:
		e.Expr = increases(e.Expr, window)
	case *parser.UnaryExpr:
		e.Expr = increases(e.Expr, window)
	case *parser.Call:
		for i := range e.Args {
			e.Args[i] = increases(e.Args[i], window)
		}
	}
	return expr
}
