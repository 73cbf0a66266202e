package promql

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// choose decides which set each target's metrics are taken from, where that is not decided. It
// returns the targets of whose pods no set knows the traffic.
func (p *pods) choose(g *podGather, sets []*podSet) (lacking []int32) {
	g.sort()
	for i, service := range g.targets.services {
		for _, group := range podGroups {
			key := podChoice{service, group}
			if c := p.chosen[key]; c != nil && !c.total {
				p.renew(key, c, g, int32(i))
				continue
			}
			set, doubt := g.best(sets, group, int32(i))
			switch {
			case doubt: // What was not answered may be what would be chosen.
			case set != nil:
				p.chosen[key] = &chosenSet{set: set, seen: g.span.to()}
			case group == traffic:
				lacking = append(lacking, int32(i))
			}
		}
	}
	p.forget(g.span.to())
	return lacking
}

// chooseTotals does the same for services as a whole.
func (p *pods) chooseTotals(g *podGather, sets []*podSet, want []int32) {
	g.sort()
	for _, i := range want {
		key := podChoice{g.targets.services[i], traffic}
		if c := p.chosen[key]; c != nil {
			p.renew(key, c, g, i)
		} else if set, doubt := g.best(sets, traffic, i); set != nil && !doubt {
			p.chosen[key] = &chosenSet{set: set, total: true, seen: g.span.to()}
		}
	}
}

// renew notes that a set still gives something, or gives it up if it has not for long.
func (p *pods) renew(key podChoice, c *chosenSet, g *podGather, target int32) {
	q := c.set.query(primary(key.group))
	if g.covers(q, target) > 0 {
		c.seen = max(c.seen, g.span.to())
	}
}

// forget gives up sets that have not given anything for long, also of services that nobody asks
// for any more, and what was remembered for queries that are not asked any more.
func (p *pods) forget(now int64) {
	for _, set := range p.sets {
		for _, q := range set.queries {
			maps.DeleteFunc(q.tables, func(_ podPart, t *podTable) bool {
				return time.Since(t.used) > forgetSet
			})
		}
	}
	for key, c := range p.chosen {
		if now-c.seen > forgetSet.Milliseconds() {
			delete(p.chosen, key)
		}
	}
}

// best returns the set that knows a group of metrics of the most pods, of several the first. There
// is doubt if a set could not be asked.
func (g *podGather) best(sets []*podSet, group string, target int32) (best *podSet, doubt bool) {
	most := 0
	for _, set := range sets {
		q := set.query(primary(group))
		if q == nil {
			continue
		}
		if f := g.failed[podFailed{q, target}]; f != nil {
			doubt = doubt || f.ofSource()
			continue
		}
		if n := g.covers(q, target); n > most {
			best, most = set, n
		}
	}
	return best, doubt
}

// covers returns how many pods of a target a query gave anything for.
func (g *podGather) covers(q *podQuery, target int32) int {
	n := 0
	for _, id := range g.of[target] {
		if slices.ContainsFunc(g.line(q, id).values, known) {
			n++
		}
	}
	return n
}

func known(x float64) bool { return !math.IsNaN(x) }

// sort orders entities by target and pod, whatever order they came in.
func (g *podGather) sort() {
	g.of = make([][]int32, len(g.targets.services))
	for id, e := range g.entities {
		g.of[e.target] = append(g.of[e.target], int32(id))
	}
	for _, ids := range g.of {
		slices.SortFunc(ids, func(a, b int32) int {
			return cmp.Compare(g.entities[a].pod, g.entities[b].pod)
		})
	}
}

// podRecord is all that is known of one pod, or of a service as a whole.
type podRecord struct {
	sample PodSample // What is the same at all instants.
	span   span

	requests, errors, cpu, memory, limit, restarts []float64 // Nil: not known at all.
	latency                                        []float64 // By instant and bound.
	scale                                          float64   // Of counts.
}

// history returns what a call has found, instant by instant.
func (c *podCall) history() PodHistory {
	h := PodHistory{
		Queries: c.queries, Dropped: c.dropped, Until: c.pods.span.at(c.pods.span.steps - 1),
	}
	records := make([]podRecord, 0, len(c.pods.entities))
	for i := range c.pods.targets.services {
		records = c.records(records, &h, int32(i))
	}
	all := make([]PodSample, 0, len(records)*c.pods.span.steps)
	for i := range c.pods.span.steps {
		at, begin := c.pods.span.at(i), len(all)
		for k := range records {
			if s, ok := records[k].at(at.UnixMilli()); ok {
				all = append(all, s)
			}
		}
		if len(all) > begin {
			h.Instants = append(h.Instants, PodInstant{at, all[begin:len(all):len(all)]})
		}
	}
	h.Samples = len(all)
	return h
}

// records appends what is known of a target, and adds to h what could not be asked.
func (c *podCall) records(out []podRecord, h *PodHistory, target int32) []podRecord {
	service := c.pods.targets.services[target]
	sets := make(map[string]*podSet, len(podGroups))
	total := false
	for _, group := range podGroups {
		chosen := c.p.chosen[podChoice{service, group}]
		switch {
		case chosen == nil:
			c.fail(h, target, group, nil)
			continue
		case chosen.total:
			total = true
		default:
			sets[group] = chosen.set
		}
		c.fail(h, target, group, chosen)
	}
	begin := len(out)
	for _, id := range c.pods.of[target] {
		out = append(out, c.record(sets, id))
	}
	if set := sets[traffic]; set != nil {
		c.pods.latencies(out[begin:], set.query(PodLatency), target)
	}
	if total && c.totals != nil {
		out = c.total(out, c.p.chosen[podChoice{service, traffic}].set, target)
	}
	return out
}

// record returns what is known of a pod, but for its latencies.
func (c *podCall) record(sets map[string]*podSet, id int32) podRecord {
	g := c.pods
	e := g.entities[id]
	r := podRecord{span: g.span, scale: 1}
	r.sample.Service, r.sample.Pod = g.targets.services[e.target], e.pod
	for metric, to := range map[string]*[]float64{
		PodRequests: &r.requests, PodErrors: &r.errors, PodCPU: &r.cpu, PodMemory: &r.memory,
		PodMemoryLimit: &r.limit, PodRestarts: &r.restarts,
	} {
		if set := sets[groupOf(metric)]; set != nil {
			*to = g.line(set.query(metric), id).values
		}
	}
	r.sample.ErrorsKnown = g.knowsErrors(sets[traffic], e.target)
	return r
}

// knowsErrors reports whether errors were asked for and answered.
func (g *podGather) knowsErrors(set *podSet, target int32) bool {
	if set == nil {
		return false
	}
	q := set.query(PodErrors)
	return q != nil && g.failed[podFailed{q, target}] == nil
}

// total appends what is known of a service as a whole.
func (c *podCall) total(out []podRecord, set *podSet, target int32) []podRecord {
	g, begin := c.totals, len(out)
	for _, id := range g.of[target] { // One at most.
		r := podRecord{span: g.span}
		r.sample.Service = g.targets.services[target]
		r.sample.Window = time.Duration(g.span.step) * time.Millisecond
		r.sample.ErrorsKnown = g.knowsErrors(set, target)
		r.scale = float64(r.sample.Window) / float64(c.p.window())
		r.requests = g.line(set.query(PodRequests), id).values
		r.errors = g.line(set.query(PodErrors), id).values
		out = append(out, r)
	}
	g.latencies(out[begin:], set.query(PodLatency), target)
	return out
}

// fail adds to h what was not answered for a group of a target's metrics: of the chosen set, or of
// any as long as none is.
func (c *podCall) fail(h *PodHistory, target int32, group string, chosen *chosenSet) {
	for _, set := range c.p.sets {
		if chosen != nil && chosen.set != set {
			continue
		}
		for _, q := range set.queries {
			if groupOf(q.Name) != group || chosen == nil && q.Name != primary(group) {
				continue
			}
			f := c.failure(q, target, chosen)
			if f == nil {
				continue
			}
			h.Failed = append(h.Failed, PodFailure{
				Service: c.pods.targets.services[target], Metric: q.Name, Reason: f.reason,
				Retry: f.ofSource(),
			})
			if chosen == nil {
				return // One reason is enough.
			}
		}
	}
}

// failure returns why a query was not answered for a target, nil if it was: for pods, for the
// service as a whole, or for both as long as it is not known what there is.
func (c *podCall) failure(q *podQuery, target int32, chosen *chosenSet) *failure {
	key := podFailed{q, target}
	if f := c.pods.failed[key]; f != nil && (chosen == nil || !chosen.total) {
		return f
	}
	if c.totals != nil && (chosen == nil || chosen.total) {
		return c.totals.failed[key]
	}
	return nil
}

// at returns the sample of an instant; false if nothing is known of it.
func (r *podRecord) at(ms int64) (PodSample, bool) {
	off := ms - r.span.from
	i := int(off / r.span.step)
	if off < 0 || off%r.span.step != 0 || i >= r.span.steps {
		return PodSample{}, false
	}
	s := r.sample
	s.Requests, s.Errors = r.scale*valueAt(r.requests, i), r.scale*valueAt(r.errors, i)
	s.CPUSeconds, s.MemoryBytes = valueAt(r.cpu, i), valueAt(r.memory, i)
	s.MemoryLimit, s.Restarts = valueAt(r.limit, i), valueAt(r.restarts, i)
	if n := len(s.Bounds); n > 0 {
		if latency := r.latency[i*n : (i+1)*n]; !slices.ContainsFunc(latency, math.IsNaN) {
			s.Latency = latency
		}
	}
	if s.Latency == nil {
		s.Bounds = nil
	}
	return s, known(s.Requests) || known(s.Errors) || known(s.CPUSeconds) ||
		known(s.MemoryBytes) || known(s.MemoryLimit) || known(s.Restarts) || s.Latency != nil
}

func valueAt(values []float64, i int) float64 {
	if values == nil {
		return math.NaN()
	}
	return values[i]
}
