package evidence

import "math"

// Finding is what one metric says about a release so far.
type Finding struct {
	Metric Metric  `json:"-"`
	Name   string  `json:"metric"`
	LogE   float64 `json:"log_e"`       // The e-value's natural logarithm, the least over all that was left out.
	Whole  float64 `json:"log_e_whole"` // The same with nothing left out.
	// The effect with its 95% interval: an increase of the share for errors, a relative increase for all others.
	Effect float64 `json:"effect"`
	Lower  float64 `json:"lower"`
	Upper  float64 `json:"upper"`
	// What it rests on.
	New        float64 `json:"new"` // Exposure of the new pods (requests; samples for memory).
	Old        float64 `json:"old"`
	NewEvents  float64 `json:"new_events"`
	OldEvents  float64 `json:"old_events"`
	Usual      float64 `json:"usual"`    // Standard deviation of what harmless releases show here.
	Material   bool    `json:"material"` // Large enough to matter.
	BeforeOnly bool    `json:"before_only,omitempty"`
}

// Scale holds tables that all weighing shares. It is not changed after NewScale
// and may be used concurrently.
type Scale struct {
	grid    *grid
	log1    *softplus
	harm    [ratios]*[points]float64
	nodes   [11]float64
	weights [11]float64
}

// NewScale returns the tables.
func NewScale() *Scale {
	s := &Scale{grid: newGrid(), log1: newSoftplus()}
	for k := range s.harm {
		s.harm[k] = s.grid.harm(harmful[k].near, harmful[k].far)
	}
	s.nodes, s.weights = amplitudes()
	return s
}

// leftShare is how much of its evidence a release must have left, of what is to be expected of the part that is
// left: a third less to look at is a third less evidence.
const leftShare = 0.83

// due makes up for what leaving something out costs of itself; of few events, a part may have fewer than its
// share by chance.
func (p *part) due(logE float64, k Metric, events float64) float64 {
	left := p.left
	if k.counts() || k == ErrorLevel {
		left -= math.Sqrt(left * (1 - left) / math.Max(events, 1))
	}
	return logE * math.Max(leftShare/math.Max(left, 0.4), 1)
}

// suspicion is the logarithm of the e-value from which on it is worth leaving things out.
const suspicion = 2.3

// harmful are the log-ratios that harm is expected to have: the means of two exponentials. Errors are rare, and
// multiply; a time or an amount of work does not.
var harmful = [ratios]struct{ near, far float64 }{
	Errors: {0.7, 2}, Latency: {0.3, 1}, Slow: {0.7, 1.5}, Tail: {0.7, 1.5}, P99: {0.5, 1.5}, CPU: {0.3, 1},
}

// materiality is the least relative increase whose lower bound is worth a verdict; of errors, of the share.
var materiality = [ratios]float64{Errors: 0.001, Latency: 0.025, Slow: 0.15, Tail: 0.15, P99: 0.05, CPU: 0.05}

// Weigh judges one ratio of a release. A metric without data has an e-value of one.
func (s *Scale) Weigh(l *Ledger, m *Model, k Metric) Finding {
	nz := l.noises(m)[k]
	cells, size := l.cells(k, m, nz, all)
	f := Finding{Metric: k, Name: k.String()}
	if k == CPU && l.idle() {
		return f
	}
	s.describe(&f, m, cells, nz.pod*size.spread(), l.base(k, m))
	f.Old = l.exposure(k)
	f.LogE = s.logE(cells, m, k, nz.pod*size.spread())
	f.Whole = f.LogE
	if f.LogE < suspicion {
		return f
	}
	// What is left is held against the null of the whole: a minimum with an e-value may be as bold as it likes.
	for _, p := range append(l.leavePods(k), thirds(l.knowledge(k, cells, m.expect(k)))...) {
		cells, _ := l.cells(k, m, nz, p)
		f.LogE = math.Min(f.LogE, p.due(s.logE(cells, m, k, nz.pod*size.spread()), k, f.NewEvents))
	}
	return f
}

// idle reports whether new pods have so little to do that CPU says nothing about requests.
func (l *Ledger) idle() bool {
	var n, slots float64
	for i := range l.records {
		if r := &l.records[i]; r.fresh && r.sum[CPU].n > 0 {
			n += r.sum[CPU].n
			slots++
		}
	}
	return n < 30*slots
}

// leavePods lists the pods that the e-value must do without, one at a time.
func (l *Ledger) leavePods(k Metric) []part {
	if k == P99 {
		k = Latency
	}
	var counts [2]int
	seen := make([]bool, len(l.pods))
	for i := range l.records {
		if r := &l.records[i]; r.sum[k].n > 0 && !seen[r.pod] {
			seen[r.pod] = true
			counts[side(r.fresh)]++
		}
	}
	var parts []part
	for pod := range seen {
		if seen[pod] && counts[side(l.fresh[pod])] > 1 {
			n := float64(counts[side(l.fresh[pod])])
			parts = append(parts, part{pod: pod, from: -1, to: -1, left: (n - 1) / n})
		}
	}
	return parts
}

// thirds lists the pieces of time that the e-value must do without: each holds a third of what is known, slot
// by slot.
func thirds(known []float64) []part {
	var total float64
	for _, w := range known {
		total += w
	}
	if total <= 0 || len(known) < 2 {
		return nil
	}
	var parts []part
	from, sum, out, pieces := 0, 0.0, 0.0, min(len(known), 3)
	for slot, w := range known {
		sum += w
		out += w
		if last := slot+1 == len(known); last || sum >= total*float64(len(parts)+1)/float64(pieces) {
			parts = append(parts, part{pod: -1, from: from, to: slot + 1, left: 1 - out/total})
			from, out = slot+1, 0
		}
	}
	return parts
}

// knowledge returns how precisely each slot tells the log-ratio: cells are shared out by their requests.
func (l *Ledger) knowledge(k Metric, cells []cell, e expectation) []float64 {
	if k == P99 {
		k = Latency
	}
	slots, _ := l.slots(k, all)
	out := make([]float64, len(slots))
	for i := range slots {
		s := &slots[i]
		for g := range Groups {
			c := cellOf(cells, g, i/blockSlots, s.old.n <= 0)
			if s.fresh[g].n <= 0 || c == nil {
				continue
			}
			if _, v := c.estimate(); v > 0 {
				out[i] += s.fresh[g].n / c.size / (v + e.warm[g].sd*e.warm[g].sd)
			}
		}
	}
	return out
}

// cellOf returns the cell that a slot's new pods of one age are in.
func cellOf(cells []cell, group, block int, after bool) *cell {
	var found *cell
	for i := range cells {
		c := &cells[i]
		if c.group == group && c.after == after && c.size > 0 && (c.block == block || after) {
			if found = c; c.block == block {
				break
			}
		}
	}
	return found
}

func side(fresh bool) int {
	if fresh {
		return 1
	}
	return 0
}

// logE returns the logarithm of the Bayes factor of harm against a harmless release of this service.
// pod is the variance that the choice of pods alone gives the log-ratio.
func (s *Scale) logE(cells []cell, m *Model, k Metric, pod float64) float64 {
	like := s.likelihood(cells, m, k)
	null := s.grid.null(m.expect(k).shift + pod)
	return logSum(like[:], s.harm[k][:]) - logSum(like[:], null[:])
}

// likelihood returns the logarithm of the likelihood of each log-ratio of grown pods. How strongly pods of
// this release warm up is unknown and shared by all ages; it is integrated out.
func (s *Scale) likelihood(cells []cell, m *Model, k Metric) *[points]float64 {
	var fixed [points]float64
	warm := m.expect(k).warm
	young := cells[:0:0]
	for i := range cells {
		if w := &warm[cells[i].group]; w.mean != 0 || w.sd > 0 {
			young = append(young, cells[i])
			continue
		}
		s.add(&fixed, &cells[i], 0)
	}
	if len(young) == 0 {
		return &fixed
	}
	var at [len(s.nodes)][points]float64
	for node, a := range s.nodes {
		for i := range young {
			w := &warm[young[i].group]
			s.add(&at[node], &young[i], w.mean+a*w.sd)
		}
	}
	for i := range fixed {
		var of [len(s.nodes)]float64
		for node := range of {
			of[node] = at[node][i]
		}
		fixed[i] += logSum(of[:], s.weights[:])
	}
	return &fixed
}

// add adds the likelihood of a cell whose log-ratio is offset by its pods' youth.
func (s *Scale) add(to *[points]float64, c *cell, offset float64) {
	if !c.counts {
		if c.variance > 0 {
			mean, precision := c.mean-offset, 1/(2*c.variance)
			for i, theta := range s.grid.theta {
				to[i] -= (theta - mean) * (theta - mean) * precision
			}
		}
		return
	}
	if c.rho <= 0 {
		return
	}
	x, n, odds := c.temper*c.x, c.temper*c.n, math.Log(c.rho)
	for i, theta := range s.grid.theta {
		theta += offset
		to[i] += x*theta - n*s.log1.at(odds+theta)
	}
}

// describe states the effect and its interval: the log-ratio that the cells show, with chance, wandering,
// the choice of pods and doubt about the warm-up. It does not include what harmless releases shift.
func (s *Scale) describe(f *Finding, m *Model, cells []cell, pod, base float64) {
	e := m.expect(f.Metric)
	var any estimate
	for i := range cells {
		c := &cells[i]
		mean, v := c.estimate()
		if w := &e.warm[c.group]; v > 0 {
			any.add(mean-w.mean, v+w.sd*w.sd)
		}
		f.New += c.size
		f.NewEvents += c.x
		f.OldEvents += c.n - c.x
		f.BeforeOnly = f.BeforeOnly || c.after
	}
	f.Usual = math.Sqrt(e.shift + pod)
	if any.weight <= 0 {
		f.Lower, f.Upper = math.Inf(-1), math.Inf(1)
		return
	}
	mean, sd := any.mean(), math.Sqrt(1/any.weight+pod)
	if f.Metric == Errors {
		f.Effect = base * math.Expm1(mean)
		f.Lower, f.Upper = base*math.Expm1(mean-1.96*sd), math.Min(base*math.Expm1(mean+1.96*sd), 1)
		f.Effect, f.Lower = math.Min(f.Effect, 1), math.Min(f.Lower, 1)
	} else {
		f.Effect = math.Expm1(mean)
		f.Lower, f.Upper = math.Expm1(mean-1.96*sd), math.Expm1(mean+1.96*sd)
	}
	f.Material = f.Lower >= materiality[f.Metric]
}

// exposure returns how many requests of old pods a metric rests on.
func (l *Ledger) exposure(k Metric) float64 {
	if k == P99 {
		k = Latency
	}
	return l.before[k].n
}

// base returns the old pods' share of errors.
func (l *Ledger) base(k Metric, m *Model) float64 {
	t := l.before[k]
	if k == Errors {
		t.merge(m.s.Rate.tally())
	}
	if t.n <= 0 {
		return 0
	}
	return (t.x + 0.5) / t.n
}

// Requests returns how many requests the new pods have served.
func (l *Ledger) Requests() float64 {
	var n float64
	for i := range l.records {
		if r := &l.records[i]; r.fresh {
			n += math.Max(r.sum[Errors].n, r.sum[Latency].n)
		}
	}
	return n
}
