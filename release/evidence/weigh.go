package evidence

import "math"

// Finding is what one metric says about a release so far.
type Finding struct {
	Metric Metric  `json:"-"`
	Name   string  `json:"metric"`
	LogE   float64 `json:"log_e"` // The e-value's natural logarithm, the least over all that was left out.
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
	harm    *[points]float64
	nodes   [9]float64
	weights [9]float64
}

// NewScale returns the tables.
func NewScale() *Scale {
	s := &Scale{grid: newGrid(), log1: newSoftplus()}
	s.harm = s.grid.harm()
	s.nodes, s.weights = amplitudes()
	return s
}

// suspicion is the logarithm of the e-value from which on it is worth leaving things out.
const suspicion = 2.3

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
	if f.LogE < suspicion {
		return f
	}
	// What is left is held against the null of the whole: a minimum with an e-value may be as bold as it likes.
	for _, p := range l.leaveOut(k) {
		cells, _ := l.cells(k, m, nz, p)
		f.LogE = math.Min(f.LogE, s.logE(cells, m, k, nz.pod*size.spread()))
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

// leaveOut lists what the e-value must do without: each pod, and each third of the time.
func (l *Ledger) leaveOut(k Metric) []part {
	var parts []part
	fresh := make([]bool, len(l.pods))
	seen := make([]bool, len(l.pods))
	last := 0
	if k == P99 {
		k = Latency
	}
	for i := range l.records {
		r := &l.records[i]
		if r.sum[k].n <= 0 {
			continue
		}
		seen[r.pod], fresh[r.pod] = true, r.fresh
		last = max(last, r.slot)
	}
	var counts [2]int
	for pod := range seen {
		if seen[pod] {
			counts[side(fresh[pod])]++
		}
	}
	for pod := range seen {
		if seen[pod] && counts[side(fresh[pod])] > 1 {
			parts = append(parts, part{pod: pod, from: -1, to: -1})
		}
	}
	slots := last + 1
	if pieces := min(slots, 3); pieces > 1 {
		for i := range pieces {
			parts = append(parts, part{pod: -1, from: i * slots / pieces, to: (i + 1) * slots / pieces})
		}
	}
	return parts
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
	return logSum(like[:], s.harm[:]) - logSum(like[:], null[:])
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
