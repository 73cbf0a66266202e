package promql

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// podJob is a query, or a part of one, in a call.
type podJob struct {
	q     *podQuery
	who   []int32 // The targets that it is asked for.
	expr  string
	table *podTable
	got   podAnswer
	a     answer
	fail  *failure
}

// job returns a job without its query.
func (q *podQuery) job(g *podGather, part podPart) *podJob {
	t := q.tables[part]
	if t == nil {
		t = newPodTable(q.podKey(part.label))
		q.tables[part] = t
	}
	t.used = time.Now()
	j := &podJob{q: q, table: t}
	j.got.targets = g.targets
	if q.Name == PodLatency {
		j.got.grid = &q.grid
	}
	j.a.reset(g.span, maxPodValues)
	return j
}

// podKey returns how the labels of an answer name a pod, or a service.
func (q *podQuery) podKey(label int) func(labels map[string]string) (podName, bool) {
	if label < 0 {
		by := Query{Namespace: q.TotalNamespace, Service: q.TotalService}
		return func(labels map[string]string) (podName, bool) {
			s, ok := serviceOf(&by, labels)
			return podName{s.Namespace, s.Name}, ok
		}
	}
	name := q.Pod[label]
	return func(labels map[string]string) (podName, bool) {
		pod := podName{first(labels, q.Namespace), labels[name]}
		return pod, pod.name != ""
	}
}

// ask is Source.Pods.
func (p *pods) ask(ctx context.Context, r PodRange) (PodHistory, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	targets, err := newPodTargets(r.Targets, p.exprs)
	if err != nil {
		return PodHistory{}, err
	}
	p.exprs = targets.exprs
	fill(&r.Step, 15*time.Second)
	sp, ok := p.span(r, targets.names)
	if !ok || len(targets.services) == 0 {
		return PodHistory{}, nil
	}
	if f := p.ready(); f != nil {
		return PodHistory{}, p.s.sourceError("ask for pods", f)
	}
	sets := p.present()
	c := &podCall{p: p, pods: newPodGather(sp, targets)}
	n, f := p.look(ctx, sets, sp.to())
	c.queries += n
	if f == nil {
		f = c.fetch(ctx, sets)
	}
	p.s.metrics.podQueries.WithLabelValues(p.s.opts.Cluster).Add(float64(c.queries))
	switch {
	case ctx.Err() != nil:
		return PodHistory{}, context.Cause(ctx)
	case f != nil:
		p.blame(f)
		return PodHistory{}, p.s.sourceError("ask for pods", f)
	}
	h := c.history()
	p.s.metrics.podSamples.WithLabelValues(p.s.opts.Cluster).Add(float64(h.Samples))
	return h, nil
}

// span returns the instants to ask for: those that are closed, and no more than fit into answers.
func (p *pods) span(r PodRange, names int) (span, bool) {
	step := r.Step.Milliseconds()
	if step <= 0 {
		return span{}, false
	}
	from := align(r.From.UnixMilli()+step-1, step)
	to := align(min(r.To.UnixMilli(), p.s.now().Add(-p.s.opts.Lag).UnixMilli()), step)
	if from > to {
		return span{}, false
	}
	most := min(maxPodValues/(max(names, 1)*valuesOfPod), p.s.opts.Backfill.MaxPoints)
	steps := min((to-from)/step+1, int64(max(most, 1)))
	return span{from: from, step: step, steps: int(steps)}, true
}

// ready returns why the source is not to be asked: ticks find out when it is back.
func (p *pods) ready() *failure {
	if wait := time.Until(p.retry); wait > 0 {
		return &failure{result: throttled, reason: "the source wants to be left alone for " +
			wait.Round(time.Second).String()}
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.s.status.Reachable {
		return nil
	}
	reason := p.s.status.Reason
	if reason == "" {
		reason = "it has not been heard of yet"
	}
	return &failure{result: unreachable, reason: reason}
}

// blame leaves a source alone that asks for it.
func (p *pods) blame(f *failure) {
	if f.result == throttled {
		p.retry = time.Now().Add(max(f.after, calm))
	}
}

// podCall is one call of Pods.
type podCall struct {
	p       *pods
	pods    *podGather
	totals  *podGather // Nil if nobody needs them.
	queries int
	dropped int
}

// fetch asks all there is to ask. The failure is that of a source that answered nothing.
func (c *podCall) fetch(ctx context.Context, sets []*podSet) *failure {
	p := c.p
	if f := c.run(ctx, c.pods, p.plan(c.pods, sets)); f != nil {
		return f
	}
	lacking := p.choose(c.pods, sets)
	p.eager = slices.ContainsFunc(lacking, func(i int32) bool {
		return p.chosen[podChoice{c.pods.targets.services[i], traffic}] == nil
	})
	if sp, ok := p.totalSpan(c.pods.span); ok && len(lacking) > 0 {
		c.totals = newPodGather(sp, c.pods.targets.asServices(lacking))
		// What the pods gave is good without it, and its failures are told.
		_ = c.run(ctx, c.totals, p.planTotals(c.totals, sets, lacking))
		p.chooseTotals(c.totals, sets, lacking)
	}
	return nil
}

// totalSpan returns the instants at which services as a whole are asked for: ranges of their
// increases follow upon each other.
func (p *pods) totalSpan(sp span) (span, bool) {
	step := p.totalStep(sp.step)
	from, to := align(sp.from+step-1, step), align(sp.to(), step)
	return span{from: from, step: step, steps: int((to-from)/step) + 1}, from <= to
}

// totalStep returns the window of rates as whole steps.
func (p *pods) totalStep(step int64) int64 {
	return align(max(p.window().Milliseconds(), step)+step-1, step)
}

func (p *pods) window() time.Duration { return max(p.s.opts.Window, p.s.opts.Interval) }

// run asks jobs, some at a time. The failure is that of a source that answered none of them.
func (c *podCall) run(ctx context.Context, g *podGather, jobs []*podJob) *failure {
	var halt atomic.Pointer[failure]
	var asked atomic.Int64
	var group errgroup.Group
	group.SetLimit(c.p.s.opts.Concurrency)
	for _, j := range jobs {
		if time.Now().Before(j.q.retry) {
			j.fail = j.q.reason
			continue
		}
		group.Go(func() error {
			if f := halt.Load(); f != nil {
				j.fail = f.spare()
				return nil
			}
			asked.Add(1)
			if j.ask(ctx, c.p.s); j.fail != nil && final(j.fail.result) {
				halt.CompareAndSwap(nil, j.fail)
			}
			return nil
		})
	}
	_ = group.Wait() // The failures are in the jobs.
	c.queries += int(asked.Load())
	return c.settle(g, jobs)
}

// ask asks one job.
func (j *podJob) ask(ctx context.Context, s *Source) {
	j.got.reserve(j.table.rows, j.table.values*j.a.steps)
	j.table.to = &j.got
	_, j.fail = s.ask(ctx, kindPods, j.expr, j.table, &j.a)
	j.table.to = nil
	j.table.rows, j.table.values = len(j.got.rows), len(j.got.data)/j.a.steps
	s.countDrops(&j.a)
	if n := j.a.drops[seriesLimit]; n > 0 && j.fail == nil {
		j.fail = &failure{result: refused, reason: fmt.Sprintf(
			"%s: more than %d series", errTooLarge, maxLabelSets)}
	}
}

// settle takes in what jobs gave.
func (c *podCall) settle(g *podGather, jobs []*podJob) *failure {
	var fault *failure
	answers := 0
	for _, j := range jobs {
		switch {
		case j.fail == nil:
			answers++
			c.dropped += j.a.drops[untargeted]
			g.take(j)
			continue
		case j.fail.result == badQuery:
			j.q.retry, j.q.reason = time.Now().Add(c.p.s.opts.RetryOff), j.fail
		case j.fail.ofSource() && fault == nil:
			fault = j.fail
		}
		for _, i := range j.who {
			g.failed[podFailed{j.q, i}] = j.fail
		}
	}
	if answers == 0 {
		return fault
	}
	if fault != nil {
		c.p.blame(fault)
	}
	return nil
}

// podGather holds what was answered, by pod.
type podGather struct {
	span     span
	targets  *podTargets
	entities []podEntity
	ids      map[podEntity]int32
	of       [][]int32               // The entities of each target, by pod.
	got      map[*podQuery][]podLine // By entity.
	failed   map[podFailed]*failure
}

// podEntity is a pod of a target, or the target as a whole.
type podEntity struct {
	target int32
	pod    string
}

// podFailed is a query that was not answered for a target.
type podFailed struct {
	q      *podQuery
	target int32
}

// podLine is one metric of one pod: numbers, and what its latencies are known from.
type podLine struct {
	values  []float64
	buckets []podBucket // By bounds, in no order.
	native  []float64   // The cells of each instant.
}

type podBucket struct {
	upper  float64
	values []float64
}

func newPodGather(sp span, targets *podTargets) *podGather {
	return &podGather{
		span: sp, targets: targets, ids: make(map[podEntity]int32),
		got: make(map[*podQuery][]podLine), failed: make(map[podFailed]*failure),
	}
}

// take adds the rows of an answer to what is known of their pods.
func (g *podGather) take(j *podJob) {
	lines := g.got[j.q]
	if lines == nil {
		lines = make([]podLine, 0, max(len(g.entities), g.targets.names))
	}
	for i := range j.got.rows {
		row := &j.got.rows[i]
		id := g.entity(row)
		for int(id) >= len(lines) {
			lines = append(lines, podLine{})
		}
		line := &lines[id]
		data := j.got.data[row.at:]
		switch {
		case row.native:
			line.native = addUp(line.native, data[:g.span.steps*nativeCells])
		case math.IsNaN(row.upper):
			line.values = addUp(line.values, data[:g.span.steps])
		default:
			line.add(row.upper, data[:g.span.steps])
		}
	}
	g.got[j.q] = lines
}

// entity returns the number of the pod of a row.
func (g *podGather) entity(row *podRow) int32 {
	e := podEntity{row.target, row.pod}
	if g.targets.totals {
		e.pod = ""
	}
	id, ok := g.ids[e]
	if !ok {
		id = int32(len(g.entities))
		g.entities = append(g.entities, e)
		g.ids[e] = id
	}
	return id
}

// add adds the counts of a bucket.
func (l *podLine) add(upper float64, values []float64) {
	for i := range l.buckets {
		if l.buckets[i].upper == upper {
			l.buckets[i].values = addUp(l.buckets[i].values, values)
			return
		}
	}
	if l.buckets == nil {
		l.buckets = make([]podBucket, 0, 16)
	}
	l.buckets = append(l.buckets, podBucket{upper, values})
}

// addUp adds values to sum wherever both are known.
func addUp(sum, values []float64) []float64 {
	if sum == nil {
		return values
	}
	for i, v := range values {
		if math.IsNaN(sum[i]) {
			sum[i] = v
		} else if !math.IsNaN(v) {
			sum[i] += v
		}
	}
	return sum
}

// line returns a metric of an entity; nothing if it is not known.
func (g *podGather) line(q *podQuery, id int32) *podLine {
	if lines := g.got[q]; q != nil && int(id) < len(lines) {
		return &lines[id]
	}
	return &podLine{}
}
