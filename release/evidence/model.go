package evidence

import (
	"encoding/json"
	"fmt"
	"math"
)

// Model is what harmless releases of one service look like. The zero value is not ready: use NewModel.
type Model struct {
	fleet *Fleet // Shared by all models of a judge.
	s     modelState
}

// modelState is what a model has learnt, as JSON.
type modelState struct {
	Metrics [ratios]experience `json:"metrics"`
	Leak    leakModel          `json:"leak"`
	Buckets []float64          `json:"buckets,omitempty"` // Latency of old pods in past releases.
	Rate    rate               `json:"rate"`
	Learnt  int                `json:"learnt"` // Releases.
}

// rate is how many requests of old pods failed in past releases.
type rate struct {
	Requests float64 `json:"requests"`
	Errors   float64 `json:"errors"`
}

func (r rate) tally() tally { return tally{r.Requests, r.Errors} }

// experience is what past releases have shown of one metric, on the log scale.
type experience struct {
	Shifted ratio          `json:"shifted"` // How far they shifted, against the guess.
	Drifted ratio          `json:"drifted"` // The same between before and after.
	Seen    float64        `json:"seen"`    // How often noise was measured, and its sums, as variances.
	Pod     float64        `json:"pod"`
	Wander  float64        `json:"wander"`
	Warm    [Groups]warmth `json:"warm"`
}

// expectation is a model's view of one metric: experience drawn towards what the fleet shows.
type expectation struct {
	shift float64 // Variance of what any release shifts.
	drift float64 // Variance between before and after, if there is nothing to compare with now.
	noise noise
	warm  [Groups]spread
}

// spread is a mean and a standard deviation.
type spread struct{ mean, sd float64 }

// expect returns the model's view of a metric.
func (m *Model) expect(k Metric) expectation {
	g, s := m.fleet.expect(k), &m.s.Metrics[k]
	e := expectation{
		shift: s.Shifted.toward(guesses[k].shift, g.shift),
		drift: s.Drifted.toward(guesses[k].drift, g.drift),
		noise: noise{
			pod:    (noiseReleases*g.pod*g.pod + s.Pod) / (noiseReleases + s.Seen),
			wander: (noiseReleases*g.wander*g.wander + s.Wander) / (noiseReleases + s.Seen),
		},
	}
	for i := range e.warm {
		e.warm[i] = s.Warm[i].predict(spread{g.mean[i], g.sd[i]}, g.within[i])
	}
	return e
}

// warmth is how new pods of one age have differed from grown ones: contrasts of log-ratios. Few events make a
// poor logarithm, so counts are added up first, and contrasts only tell how much releases differ.
type warmth struct {
	N        float64 `json:"n"`
	Sum      float64 `json:"sum"`
	Sq       float64 `json:"sq"`
	Chance   float64 `json:"chance"`             // The sum of the variances that chance alone makes.
	Events   float64 `json:"events,omitempty"`   // Of new pods.
	Expected float64 `json:"expected,omitempty"` // The same if they were warm.
}

// enoughEvents is how many expected events make a logarithm.
const enoughEvents = 5

// ratio compares squared deviations with their expectation by the built-in guess.
type ratio struct {
	N   float64 `json:"n"`
	Sum float64 `json:"sum"`
}

// How many past releases the expectation is worth, and the bounds of what the past may make of it.
const (
	priorReleases  = 6
	noiseReleases  = 2
	withinReleases = 6
	leastRatio     = 0.25
	largestRatio   = 16
	relativeWithin = 0.35 // How much stronger or weaker a release warms up than others of its service.
)

// toward returns the variance that a service's past shows, drawn towards what is expected of it. Squares
// were counted in units of the guess.
func (r ratio) toward(guess, expected float64) float64 {
	prior := expected * expected
	f := (priorReleases*prior + r.Sum*guess*guess) / (priorReleases + r.N) / prior
	return prior * math.Min(math.Max(f, leastRatio), largestRatio)
}

// add folds in one squared deviation; one release may not count for more than it could in a bad year.
func (r *ratio) add(squared, chance, expected float64) {
	trust := expected / (expected + chance)
	r.N += trust * trust
	r.Sum += trust * trust * math.Min(math.Max(squared-chance, 0)/expected, 36)
}

// predict returns the warm-up that the next release will have, given what is expected of any service and by how
// much the releases of one differ. The service's own past outweighs the fleet's curve as soon as there is any.
func (w *warmth) predict(any spread, within float64) spread {
	own, doubt, ok := w.mean()
	if any.sd == 0 || !ok {
		return any
	}
	usual := math.Max(within*within, relativeWithin*relativeWithin*own*own)
	between := (withinReleases*usual + w.N*w.within()) / (withinReleases + w.N)
	ofMean := between/math.Max(w.N, 1) + doubt
	trust := any.sd * any.sd / (any.sd*any.sd + ofMean)
	return spread{any.mean + trust*(own-any.mean), math.Sqrt(trust*ofMean + between)}
}

// mean returns the mean log-ratio and the variance that chance gives it.
func (w *warmth) mean() (mean, doubt float64, ok bool) {
	switch {
	case w.Expected > 0:
		return math.Log((w.Events + 0.5) / (w.Expected + 0.5)), 1 / (math.Min(w.Events, w.Expected) + 0.5), true
	case w.N > 0:
		return w.Sum / w.N, w.Chance / w.N / w.N, true
	}
	return 0, 0, false
}

// within returns the variance between the releases of one service, beyond chance.
func (w *warmth) within() float64 {
	if w.N < 2 {
		return 0
	}
	own := w.Sum / w.N
	return math.Max((w.Sq-w.N*own*own)/(w.N-1)-w.Chance/w.N, 0)
}

func (w *warmth) add(contrast, chance float64, expected spread) {
	if expected.sd == 0 || chance > expected.sd*expected.sd*4 {
		return
	}
	contrast = math.Max(math.Min(contrast, expected.mean+4*expected.sd), expected.mean-4*expected.sd)
	w.N++
	w.Sum += contrast
	w.Sq += contrast * contrast
	w.Chance += chance
}

// count adds the events of a cell whose release came to a log-ratio of shift in the end.
func (w *warmth) count(c *cell, shift float64) {
	w.Events += c.temper * c.x
	w.Expected += c.temper * c.rho * (c.n - c.x) * math.Exp(shift)
}

// guess is what is expected of a service of which nothing is known: standard deviations on the log scale, and
// the warm-up at each age.
type guess struct {
	shift, drift, pod, wander float64
	mean, sd                  [Groups]float64
	within                    [Groups]float64 // Between the releases of one service.
}

// guesses are deliberately a little wider than what services that we have seen show; releases of the fleet and
// of the service itself narrow them.
var guesses = [ratios]guess{
	Errors: {
		0.10, 0.40, 0.13, 0.12,
		[Groups]float64{0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0},
		[Groups]float64{0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0},
		[Groups]float64{0.36, 0.27, 0.18, 0.09, 0.045, 0.0225, 0},
	},
	Latency: {
		0.025, 0.10, 0.04, 0.03,
		[Groups]float64{0.3, 0.2, 0.12, 0.06, 0.03, 0.01, 0},
		[Groups]float64{0.35, 0.25, 0.15, 0.08, 0.04, 0.02, 0},
		[Groups]float64{0.158, 0.113, 0.0675, 0.036, 0.018, 0.009, 0},
	},
	Slow: {
		0.08, 0.30, 0.12, 0.10,
		[Groups]float64{0.6, 0.45, 0.3, 0.15, 0.07, 0.03, 0},
		[Groups]float64{0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0},
		[Groups]float64{0.36, 0.27, 0.18, 0.09, 0.045, 0.0225, 0},
	},
	Tail: {
		0.10, 0.35, 0.15, 0.14,
		[Groups]float64{0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0},
		[Groups]float64{1, 0.8, 0.5, 0.25, 0.12, 0.06, 0},
		[Groups]float64{0.45, 0.36, 0.225, 0.113, 0.054, 0.027, 0},
	},
	P99: {
		0.04, 0.15, 0.06, 0.06,
		[Groups]float64{0.35, 0.25, 0.15, 0.08, 0.04, 0.02, 0},
		[Groups]float64{0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0},
		[Groups]float64{0.225, 0.158, 0.09, 0.045, 0.0225, 0.009, 0},
	},
	CPU: {
		0.04, 0.15, 0.06, 0.05,
		[Groups]float64{0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0},
		[Groups]float64{1.2, 0.9, 0.6, 0.3, 0.15, 0.06, 0},
		[Groups]float64{0.54, 0.405, 0.27, 0.135, 0.0675, 0.027, 0},
	},
}

// NewModel returns what is expected of a service of which nothing is known yet. The fleet's experience may
// be nil; it is the caller's, and what the fleet learns later counts.
func NewModel(f *Fleet) *Model { return &Model{fleet: f} }

// MarshalJSON writes what the model has learnt.
func (m *Model) MarshalJSON() ([]byte, error) { return json.Marshal(&m.s) }

// UnmarshalJSON reads what MarshalJSON wrote, and refuses what it would not have written.
func (m *Model) UnmarshalJSON(text []byte) error {
	var s modelState
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s.Learnt < 0 || s.Rate.Errors < 0 || s.Rate.Errors > s.Rate.Requests {
		return fmt.Errorf("%d releases, %g errors of %g requests", s.Learnt, s.Rate.Errors, s.Rate.Requests)
	}
	for k := range s.Metrics {
		e := &s.Metrics[k]
		if least := min(e.Shifted.N, e.Shifted.Sum, e.Drifted.N, e.Drifted.Sum, e.Seen, e.Pod, e.Wander); least < 0 {
			return fmt.Errorf("%v: %g where nothing is below 0", Metric(k), least)
		}
	}
	m.s = s
	return nil
}

// Join makes a model that was read part of a fleet that already knows it.
func (m *Model) Join(f *Fleet) { m.fleet = f }

// Releases returns how many releases the model has learnt from.
func (m *Model) Releases() int { return m.s.Learnt }

// Learn folds a harmless release into the model of its service, and into the fleet's.
func (m *Model) Learn(l *Ledger) {
	if l.start.IsZero() {
		return
	}
	if m.fleet != nil {
		m.fleet.add(m, -1)
		defer m.fleet.add(m, 1)
	}
	noises := *l.noises(m)
	for k := range ratios {
		m.learn(l, Metric(k), noises[k])
	}
	m.s.Learnt++
	if len(m.s.Buckets) != len(l.old) {
		m.s.Buckets = make([]float64, len(l.old))
	}
	for i, c := range l.old {
		m.s.Buckets[i] += c
	}
	m.s.Rate.Requests += l.before[Errors].n
	m.s.Rate.Errors += l.before[Errors].x
	m.s.Leak.learn(&l.leak)
}

// Leave takes what the model has learnt out of the fleet's experience.
func (m *Model) Leave() {
	if m.fleet != nil {
		m.fleet.add(m, -1)
	}
	m.fleet = nil
}

func (m *Model) learn(l *Ledger, k Metric, nz noise) {
	s, e := &m.s.Metrics[k], m.expect(k)
	cells, sizes := l.cells(k, m, nz, all)
	var by [Groups]estimate
	var side, after estimate
	for i := range cells {
		c := &cells[i]
		d, v := c.estimate()
		w := e.warm[c.group]
		switch {
		case c.after && c.group >= grown:
			after.add(d-w.mean, v+w.sd*w.sd)
		case !c.after:
			by[c.group].add(d, v)
			if c.group >= settling {
				side.add(d-w.mean, v+w.sd*w.sd)
			}
		}
	}
	pod := nz.pod * sizes.spread()
	unit := guesses[k]
	if side.weight > 0 {
		s.Shifted.add(side.mean()*side.mean(), 1/side.weight+pod, unit.shift*unit.shift)
	}
	if after.weight > 0 {
		s.Drifted.add(after.mean()*after.mean(), e.shift+pod, unit.drift*unit.drift)
	}
	for g := range e.warm {
		if by[g].weight <= 0 {
			continue
		}
		shift, doubt := settled(by[max(g+1, grown):], e.shift+pod)
		if !k.counts() {
			s.Warm[g].add(by[g].mean()-shift, 1/by[g].weight+doubt, e.warm[g])
			continue
		}
		events := 0.0
		for i := range cells {
			if c := &cells[i]; c.group == g && !c.after {
				s.Warm[g].count(c, shift)
				events += c.rho * (c.n - c.x)
			}
		}
		if events >= enoughEvents {
			s.Warm[g].add(by[g].mean()-shift, 1/by[g].weight+doubt, e.warm[g])
		}
	}
	s.Seen++
	s.Pod += nz.pod
	s.Wander += nz.wander
}

// settled returns what the log-ratio of a release comes to when its pods are older, drawn towards none at all,
// and the variance of that.
func settled(older []estimate, usual float64) (mean, variance float64) {
	var all estimate
	for _, e := range older {
		all.weight += e.weight
		all.sum += e.sum
	}
	all.weight += 1 / usual
	return all.mean(), 1 / all.weight
}

// estimate is a mean weighted by precision.
type estimate struct{ weight, sum float64 }

func (e *estimate) add(mean, variance float64) {
	if variance > 0 && Known(mean) {
		e.weight += 1 / variance
		e.sum += mean / variance
	}
}

func (e *estimate) mean() float64 { return e.sum / e.weight }
