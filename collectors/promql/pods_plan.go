package promql

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tocsin/fleet"
	"tocsin/series"
)

const (
	// maxPodQuery bounds the bytes of a query: what some sources refuse begins at 16 KiB.
	maxPodQuery = 15_000
	// maxPodValues bounds the values of one answer, and what a call holds of each metric.
	maxPodValues = 4 << 20
	// maxPodNames bounds the pods of a query, as far as they are known before: a source refuses
	// answers of too many series.
	maxPodNames = 4000
	// valuesOfPod is how many values of a pod and instant room is reserved for: buckets mostly.
	valuesOfPod = 24
	// lookEager is how often metrics are looked for while a service seems to have none.
	lookEager = time.Minute
	// forgetSet is after how long without a sample another set may be chosen.
	forgetSet = 15 * time.Minute
)

// pods asks a source for pods. One call is made at a time.
type pods struct {
	s    *Source
	sets []*podSet // In order of preference.

	mu       sync.Mutex                 // Guards what follows; held during a call.
	have     map[string]map[string]bool // By label: the metrics with it; "": all metrics there are.
	families []string                   // That were looked for.
	looked   time.Time                  // When they were.
	wait     time.Duration              // Until they are looked for again: what is new may come soon.
	eager    bool                       // Of some service no traffic is known.
	chosen   map[podChoice]*chosenSet
	retry    time.Time // The source is not to be asked before.
	exprs    podExprs  // Of the last call.
}

// podChoice is what a set is chosen for.
type podChoice struct {
	service fleet.Service
	group   string
}

// chosenSet is the set that one group of metrics of a service is taken from. It stays the same for
// as long as it gives anything: counters of two sets must not be mixed.
type chosenSet struct {
	set   *podSet
	total bool  // It knows the service only as a whole.
	seen  int64 // The newest instant with a sample, or when it was chosen.
}

// podSet is the queries of one set.
type podSet struct {
	name    string
	pack    string
	expr    string // Of its probe.
	probe   *probe // Nil: it is asked for in any case. The source's loop owns it.
	queries []*podQuery
}

// podQuery is one query of a set.
type podQuery struct {
	PodQuery
	set    *podSet
	grid   nativeGrid
	tables map[podPart]*podTable
	retry  time.Time // Not to be asked before: the source called it bad,
	reason *failure  // for this reason.
}

// podPart says which part of a query's answers a table is for: label sets come back at the same
// places there.
type podPart struct{ label, chunk int }

// traffic is the group of the metrics that are only good together. The others stand alone.
const traffic = "traffic"

func groupOf(metric string) string {
	switch metric {
	case PodRequests, PodErrors, PodLatency:
		return traffic
	}
	return metric
}

// primary returns the metric that says whether a set has a group for a pod.
func primary(group string) string {
	if group == traffic {
		return PodRequests
	}
	return group
}

var podGroups = []string{traffic, PodCPU, PodMemory, PodMemoryLimit, PodRestarts}

func newPods(s *Source) *pods {
	p := &pods{s: s, chosen: make(map[podChoice]*chosenSet)}
	for _, q := range s.opts.Pods {
		i := slices.IndexFunc(p.sets, func(set *podSet) bool { return set.name == q.Set })
		if i < 0 {
			i = len(p.sets)
			p.sets = append(p.sets, &podSet{name: q.Set, pack: q.Pack, expr: q.Probe})
		}
		fill(&q.Unit, time.Second)
		p.sets[i].queries = append(p.sets[i].queries, &podQuery{
			PodQuery: q, set: p.sets[i], grid: newNativeGrid(q.Unit),
			tables: make(map[podPart]*podTable),
		})
	}
	return p
}

// query returns the query of a set for a metric, nil if it has none.
func (set *podSet) query(metric string) *podQuery {
	for _, q := range set.queries {
		if q.Name == metric {
			return q
		}
	}
	return nil
}

// present returns the sets of packs that the source has.
func (p *pods) present() []*podSet {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	var out []*podSet
	for _, set := range p.sets {
		found := set.expr == "" || slices.ContainsFunc(p.s.status.Packs,
			func(pack PackStatus) bool { return pack.Pack == set.pack && pack.Found })
		if found {
			out = append(out, set)
		}
	}
	return out
}

// look finds out which metrics there are and which labels name their pods, now and then. One query
// for each label does for all metrics.
func (p *pods) look(ctx context.Context, sets []*podSet, at int64) (queries int, f *failure) {
	var families, labels []string
	for _, set := range sets {
		for _, q := range set.queries {
			families = append(families, q.Metrics...)
			labels = append(labels, q.Pod...)
		}
	}
	slices.Sort(families)
	slices.Sort(labels)
	families, labels = slices.Compact(families), slices.Compact(labels)
	if p.have == nil || !slices.Equal(families, p.families) {
		p.wait = 0
	} else if time.Since(p.looked) < p.wait {
		return 0, nil
	}
	have := make(map[string]map[string]bool)
	for _, label := range append([]string{""}, labels...) {
		queries++
		if have[label], f = p.familiesWith(ctx, families, label, at); f != nil {
			if p.have != nil && slices.Equal(families, p.families) {
				return queries, nil // What was known still is.
			}
			return queries, f
		}
	}
	p.have, p.families, p.looked = have, families, time.Now()
	p.wait = min(max(2*p.wait, p.s.opts.Interval), p.s.opts.ProbeEvery)
	if p.eager {
		p.wait = min(p.wait, lookEager)
	}
	return queries, nil
}

// familiesWith returns which metrics have series with a label.
func (p *pods) familiesWith(
	ctx context.Context, families []string, label string, at int64,
) (map[string]bool, *failure) {
	registry := series.NewRegistry(0)
	t := newTable("", &Query{Service: []string{"__name__"}}, registry)
	matchers := []string{`__name__=~` + alternation(quoteAll(families))}
	if label != "" {
		matchers = append(matchers, label+`!=""`)
	}
	if selector := strings.Trim(p.s.opts.Selector, "{} ,"); selector != "" {
		matchers = append(matchers, selector)
	}
	var a answer
	a.reset(span{from: at, step: 1, steps: 1}, maxInstant)
	expr := "count by (__name__) ({" + strings.Join(matchers, ",") + "})"
	if _, f := p.s.ask(ctx, kindProbe, expr, t, &a); f != nil {
		return nil, f
	}
	out := make(map[string]bool)
	for _, ref := range a.refs {
		if id, ok := registry.ID(ref); ok {
			out[id.Service.Name] = true
		}
	}
	return out, nil
}

func quoteAll(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = regexp.QuoteMeta(name)
	}
	return out
}

// alternation is a PromQL string that matches what one of the patterns does.
func alternation(patterns []string) string {
	return strconv.Quote(strings.Join(patterns, "|"))
}

// has reports whether the source has one of the query's metrics with a label.
func (p *pods) has(q *podQuery, label string) bool {
	return len(q.Metrics) == 0 ||
		slices.ContainsFunc(q.Metrics, func(m string) bool { return p.have[label][m] })
}

// plan returns the queries for the pods of all targets.
func (p *pods) plan(g *podGather, sets []*podSet) []*podJob {
	var jobs []*podJob
	for _, set := range sets {
		for _, q := range set.queries {
			who := p.interested(g.targets, q, func(c *chosenSet) bool { return c == nil || c.total })
			for label := range q.Pod {
				if p.asksFor(q, label) {
					jobs = append(jobs, q.podJobs(g, label, who)...)
				}
			}
		}
	}
	return jobs
}

// asksFor reports whether a query is asked by the label with a number. Errors are asked for
// wherever requests are: that there is no such series yet must be known, not guessed.
func (p *pods) asksFor(q *podQuery, label int) bool {
	if q.Name == PodErrors {
		if requests := q.set.query(PodRequests); requests != nil {
			q = requests
		}
	}
	return label < len(q.Pod) && p.has(q, q.Pod[label])
}

// interested returns the targets that a query is asked for: those that have chosen its set, and
// those of which undecided says that they may.
func (p *pods) interested(
	targets *podTargets, q *podQuery, undecided func(*chosenSet) bool,
) []int32 {
	var out []int32
	for i, service := range targets.services {
		c := p.chosen[podChoice{service, groupOf(q.Name)}]
		if undecided(c) || c != nil && c.set == q.set {
			out = append(out, int32(i))
		}
	}
	return out
}

// planTotals returns the queries for services as a whole.
func (p *pods) planTotals(g *podGather, sets []*podSet, want []int32) []*podJob {
	var jobs []*podJob
	targets := g.targets
	for _, set := range sets {
		for _, q := range set.queries {
			if q.Total == "" || !p.has(q, "") {
				continue
			}
			var who []int32
			for _, i := range want {
				c := p.chosen[podChoice{targets.services[i], traffic}]
				if c == nil || c.set == set {
					who = append(who, i)
				}
			}
			jobs = append(jobs, q.totalJobs(g, who)...)
		}
	}
	return jobs
}

// podJobs returns a query in as many parts as its length needs.
func (q *podQuery) podJobs(g *podGather, label int, who []int32) []*podJob {
	by := strings.Join(slices.Concat(q.Namespace, q.Pod[label:label+1]), ", ")
	text := strings.ReplaceAll(q.Expr, "$pod", by)
	before := ""
	for _, earlier := range q.Pod[:label] {
		before += earlier + `="",` // Else two labels would give one series.
	}
	before += q.Pod[label] + "=~"
	room := roomForPatterns(text, before)
	var jobs []*podJob
	var patterns []string
	var job *podJob
	used, names := 0, 0
	for _, i := range who {
		for _, pattern := range g.targets.patterns[i] {
			cost := len(pattern.text) + strings.Count(pattern.text, `\`) + 1
			if job == nil || used+cost > room || names+pattern.names > maxPodNames {
				job.close(text, before, patterns)
				job = q.job(g, podPart{label, len(jobs)})
				jobs = append(jobs, job)
				patterns, used, names = nil, 0, 0
			}
			if n := len(job.who); n == 0 || job.who[n-1] != i {
				job.who = append(job.who, i)
			}
			patterns = append(patterns, pattern.text)
			used, names = used+cost, names+pattern.names
		}
	}
	job.close(text, before, patterns)
	return jobs
}

// roomForPatterns returns how many bytes of patterns fit into each selector of a query.
func roomForPatterns(text, matchers string) int {
	n := max(strings.Count(text, "$selector"), 1)
	return (maxPodQuery-len(text))/n - len(matchers)
}

// close writes the query of a job whose patterns are known.
func (j *podJob) close(text, matchers string, patterns []string) {
	if j != nil {
		j.expr = strings.ReplaceAll(text, "$selector", matchers+alternation(patterns))
	}
}

// totalJobs returns a query for services in as many parts as its length needs.
func (q *podQuery) totalJobs(g *podGather, who []int32) []*podJob {
	const each = 64 // Services; their names are short, compared with those of pods.
	var jobs []*podJob
	for chunk := range slices.Chunk(who, each) {
		job := q.job(g, podPart{-1, len(jobs)})
		job.who = chunk
		job.expr = strings.ReplaceAll(q.Total, "$selector", q.narrow(g.targets, chunk))
		jobs = append(jobs, job)
		if q.NarrowNamespace == "" && q.NarrowService == "" {
			job.who = who // One answer has them all.
			break
		}
	}
	return jobs
}

// narrow returns matchers for what series of some services may have.
func (q *podQuery) narrow(targets *podTargets, who []int32) string {
	var namespaces, names []string
	for _, i := range who {
		namespaces = append(namespaces, regexp.QuoteMeta(targets.services[i].Namespace))
		names = append(names, regexp.QuoteMeta(targets.services[i].Name))
	}
	slices.Sort(namespaces)
	slices.Sort(names)
	var out []string
	if q.NarrowNamespace != "" {
		out = append(out, q.NarrowNamespace+`=~`+
			alternation(append([]string{""}, slices.Compact(namespaces)...)))
	}
	if q.NarrowService != "" {
		out = append(out, q.NarrowService+`=~`+
			strconv.Quote(`|(?:.*/)?(?:`+strings.Join(slices.Compact(names), "|")+`)`))
	}
	if len(out) == 0 {
		return countedAs + `=""` // No series has it.
	}
	return strings.Join(out, ",")
}
