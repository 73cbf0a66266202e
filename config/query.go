package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// The labels that stand for the service where a query groups by $service and several labels
// may hold its name.
const (
	namespaceLabel = "tocsin_namespace"
	serviceLabel   = "tocsin_service"
)

// podWorkload gives 1 for each pod, with the labels namespace, pod and workload. The workload
// of a ReplicaSet's pod is the owner of the ReplicaSet or, where kube_replicaset_owner is not
// collected, the name of the ReplicaSet without its hash; a ReplicaSet that nobody owns is a
// workload itself. Every part is aggregated, so that a second kube-state-metrics, or a new
// pod of the old name, does not make a join ambiguous.
const podWorkload = `(
  label_replace(
    max by (namespace, pod, replicaset) (
      label_replace(kube_pod_owner{owner_kind="ReplicaSet", owner_is_controller="true"},
        "replicaset", "$1", "owner_name", "(.+)"))
    * on (namespace, replicaset) group_left (workload)
    max by (namespace, replicaset, workload) (
      label_replace(kube_replicaset_owner{owner_name!~"|<none>"},
        "workload", "$1", "owner_name", "(.+)")),
    "replicaset", "", "", "")
  or on (namespace, pod)
  max by (namespace, pod, workload) (
    label_replace(
      label_replace(kube_pod_owner{owner_kind="ReplicaSet", owner_is_controller="true"},
        "workload", "$1", "owner_name", "(.+)"),
      "workload", "$1", "owner_name", "(.+)-[bcdf-hj-np-tv-xz2456789]{5,10}"))
  or on (namespace, pod)
  max by (namespace, pod, workload) (
    label_replace(kube_pod_owner{owner_kind=~"StatefulSet|DaemonSet", owner_is_controller="true"},
      "workload", "$1", "owner_name", "(.+)"))
)`

// placeholder finds what a query leaves open.
var placeholder = regexp.MustCompile(`\$(window|interval|service|pod_workload)\b`)

// Query is a signal as one cluster is asked for it.
type Query struct {
	Signal Signal
	// PromQL with nothing left open.
	Expr string
	// PromQL that gives something if the source has use for the pack of the signal; empty if
	// the signal is asked for in any case.
	Probe string
	// Labels of the answer that may hold the namespace and the name of the service; of each,
	// the first that a series has counts.
	NamespaceLabels []string
	ServiceLabels   []string
}

// Queries returns what cluster is asked for.
func (c *Config) Queries(cluster *Cluster) ([]Query, error) {
	selector, err := ParseSelector(cluster.Selector)
	if err != nil {
		return nil, fmt.Errorf("selector of cluster %s: %w", cluster.Name, err)
	}
	packs := shipped()
	probes := make(map[string]string)
	for _, p := range packs {
		if cluster.Packs.Auto() {
			probes[p.Name] = p.ProbeExpr(selector)
		}
	}
	var out []Query
	for _, s := range mergeSignals(packs, c.Signals) {
		if !s.Enabled || (s.Pack != "" && !cluster.Packs.Has(s.Pack)) {
			continue
		}
		expr, err := s.Expr(selector, time.Duration(cluster.Window), time.Duration(cluster.Interval))
		if err != nil {
			return nil, fmt.Errorf("signal %s of cluster %s: %w", s.Name, cluster.Name, err)
		}
		q := Query{Signal: s, Expr: expr, Probe: probes[s.Pack]}
		q.NamespaceLabels, q.ServiceLabels = s.answerLabels()
		out = append(out, q)
	}
	return out, nil
}

// ProbeExpr returns PromQL that gives something if the source has a metric of the pack.
func (p Pack) ProbeExpr(selector []*labels.Matcher) string {
	names := make([]string, len(p.Probe))
	for i, name := range p.Probe {
		names[i] = regexp.QuoteMeta(name)
	}
	match := labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, strings.Join(names, "|"))
	probe := &parser.VectorSelector{LabelMatchers: append([]*labels.Matcher{match}, selector...)}
	return "count(" + probe.String() + ")"
}

// ParseSelector reads label matchers, with or without the braces around them.
func ParseSelector(text string) ([]*labels.Matcher, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if !strings.HasPrefix(text, "{") {
		text = "{" + text + "}"
	}
	matchers, err := promQL().ParseMetricSelector(text)
	if err != nil {
		return nil, shortError(err)
	}
	return matchers, nil
}

// Expr returns the query of s for one source: selector is added to each vector selector, and
// what the query leaves open is filled in.
func (s Signal) Expr(selector []*labels.Matcher, window, interval time.Duration) (string, error) {
	expr, err := s.parse(window, interval)
	if err != nil {
		return "", err
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			addMatchers(v, selector)
		}
		return nil
	})
	return expr.String(), nil
}

// parse returns the query of s with what it leaves open filled in.
func (s Signal) parse(window, interval time.Duration) (parser.Expr, error) {
	expr, err := promQL().ParseExpr(s.fill(map[string]string{
		"window":       model.Duration(window).String(),
		"interval":     model.Duration(interval).String(),
		"service":      s.grouping(),
		"pod_workload": podWorkload,
	}))
	if err != nil {
		return nil, fmt.Errorf("query of signal %s: %w", s.Name, shortError(err))
	}
	if s.mapsLabels() {
		s.mapServices(expr)
	}
	return expr, nil
}

// fill replaces the placeholders of the query.
func (s Signal) fill(values map[string]string) string {
	return placeholder.ReplaceAllStringFunc(s.Query, func(p string) string { return values[p[1:]] })
}

// checkQuery parses the query with values in it that are exactly as long as their placeholders,
// so that the position in an error is that in the file.
func (s Signal) checkQuery() (parser.Expr, error) {
	expr, err := promQL().ParseExpr(s.fill(map[string]string{
		"window":       "000001m",
		"interval":     "00000001m",
		"service":      "aaaaaa,b",
		"pod_workload": "vector(1.000)",
	}))
	if err != nil {
		return nil, err
	}
	if t := expr.Type(); t != parser.ValueTypeVector {
		return nil, fmt.Errorf("gives a %s, not an instant vector", parser.DocumentedType(t))
	}
	return expr, nil
}

// mapsLabels says whether the query itself must find out which labels hold the service.
func (s Signal) mapsLabels() bool {
	return len(s.NamespaceLabels) > 1 || len(s.ServiceLabels) > 1
}

// grouping is what $service stands for.
func (s Signal) grouping() string {
	if s.mapsLabels() {
		return namespaceLabel + ", " + serviceLabel
	}
	return strings.Join(slices.Concat(s.NamespaceLabels, s.ServiceLabels), ", ")
}

// answerLabels returns the labels of the answer that may hold the namespace and the service.
func (s Signal) answerLabels() (namespace, service []string) {
	if s.mapsLabels() && slices.Contains(placeholder.FindAllString(s.Query, -1), "$service") {
		return []string{namespaceLabel}, []string{serviceLabel}
	}
	return s.NamespaceLabels, s.ServiceLabels
}

// mapServices makes each aggregation by $service one by labels that are made of the
// candidates in its operand. Aggregating by the
// candidates alone would give several series to a service that has, say, two values of job.
func (s Signal) mapServices(expr parser.Expr) {
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		agg, ok := n.(*parser.AggregateExpr)
		if !ok || !slices.Contains(agg.Grouping, serviceLabel) || agg.Without || grouped(agg.Expr) {
			return nil
		}
		agg.Expr = s.label(s.reduce(agg))
		return nil
	})
}

// grouped says whether an operand is by $service already.
func grouped(expr parser.Expr) bool {
	found := false
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		agg, ok := n.(*parser.AggregateExpr)
		found = found || (ok && slices.Contains(agg.Grouping, serviceLabel))
		return nil
	})
	return found
}

// reduce aggregates the operand of agg by all candidates first where that gives the same, so
// that labels are replaced in a few series and not in those of every pod.
func (s Signal) reduce(agg *parser.AggregateExpr) parser.Expr {
	if agg.Op != parser.SUM && agg.Op != parser.MIN && agg.Op != parser.MAX {
		return agg.Expr
	}
	inner := *agg
	inner.Grouping = slices.Concat(s.NamespaceLabels, s.ServiceLabels)
	for _, label := range agg.Grouping {
		if label != namespaceLabel && label != serviceLabel && !slices.Contains(inner.Grouping, label) {
			inner.Grouping = append(inner.Grouping, label)
		}
	}
	return &inner
}

// label wraps expr so that its series have namespaceLabel and serviceLabel: the candidates are
// joined, and of what comes out the first that is not empty is kept. A service that is called
// namespace/name, as in OpenTelemetry's job, gives the namespace where no label does.
func (s Signal) label(expr parser.Expr) parser.Expr {
	expr = join(expr, serviceLabel, s.ServiceLabels)
	expr = replace(expr, serviceLabel, "$1", ";*([^;]*).*")
	expr = join(expr, namespaceLabel, append(slices.Clone(s.NamespaceLabels), serviceLabel))
	expr = replace(expr, namespaceLabel, "$1$2", ";*(?:([^;/]+);.*|(?:([^;/]*)/)?[^;]*)")
	return replace(expr, serviceLabel, "$1", ".*/([^/]+)")
}

func join(expr parser.Expr, to string, from []string) parser.Expr {
	return call("label_join", expr, append([]string{to, ";"}, from...)...)
}

func replace(expr parser.Expr, label, replacement, pattern string) parser.Expr {
	return call("label_replace", expr, label, replacement, label, pattern)
}

// call is a call of a function with texts after its first argument.
func call(function string, arg parser.Expr, texts ...string) parser.Expr {
	args := parser.Expressions{arg}
	for _, text := range texts {
		args = append(args, &parser.StringLiteral{Val: text})
	}
	return &parser.Call{Func: parser.MustGetFunction(function), Args: args}
}

// addMatchers adds those matchers that v does not have.
func addMatchers(v *parser.VectorSelector, matchers []*labels.Matcher) {
	for _, m := range matchers {
		same := func(n *labels.Matcher) bool { return n.String() == m.String() }
		if !slices.ContainsFunc(v.LabelMatchers, same) {
			v.LabelMatchers = append(v.LabelMatchers, m)
		}
	}
}

func promQL() parser.Parser { return parser.NewParser(parser.Options{}) }

// shortError is the first error of the parser, with the position in the query.
func shortError(err error) error {
	var list parser.ParseErrors
	if errors.As(err, &list) && len(list) > 0 {
		return &list[0]
	}
	return err
}
