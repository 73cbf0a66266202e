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
		e.warm[i] = s.Warm[i].predict(g.mean[i], g.sd[i])
	}
	return e
}

// warmth is how new pods of one age have differed from grown ones: contrasts of log-ratios.
type warmth struct {
	N      float64 `json:"n"`
	Sum    float64 `json:"sum"`
	Sq     float64 `json:"sq"`
	Chance float64 `json:"chance"` // The sum of the variances that chance alone makes.
}

// ratio compares squared deviations with their expectation by the built-in guess.
type ratio struct {
	N   float64 `json:"n"`
	Sum float64 `json:"sum"`
}

// How many past releases the expectation is worth, and the bounds of what the past may make of it.
const (
	priorReleases = 6
	noiseReleases = 2
	leastRatio    = 0.25
	largestRatio  = 16
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

// predict returns the warm-up that the next release will have, given what is expected of any service. The
// service's own past outweighs the fleet's curve as soon as there is any.
func (w *warmth) predict(mean, sd float64) spread {
	if sd == 0 || w.N == 0 {
		return spread{mean, sd}
	}
	usual := 0.45 * sd
	own := w.Sum / w.N
	seen := math.Max(w.Sq/w.N-own*own-w.Chance/w.N, 0)
	between := (3*usual*usual + w.N*seen) / (3 + w.N)
	ofMean := between/w.N + w.Chance/w.N/w.N
	trust := sd * sd / (sd*sd + ofMean)
	return spread{mean + trust*(own-mean), math.Sqrt(trust*ofMean + between)}
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

// guess is what is expected of a service of which nothing is known: standard deviations on the log scale, and
// the warm-up at each age.
type guess struct {
	shift, drift, pod, wander float64
	mean, sd                  [Groups]float64
}

// guesses are deliberately a little wider than what services that we have seen show; releases of the fleet and
// of the service itself narrow them.
var guesses = [ratios]guess{
	Errors: {
		0.10, 0.40, 0.13, 0.12,
		[Groups]float64{0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0},
		[Groups]float64{0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0},
	},
	Latency: {
		0.025, 0.10, 0.04, 0.03,
		[Groups]float64{0.3, 0.2, 0.12, 0.06, 0.03, 0.01, 0},
		[Groups]float64{0.35, 0.25, 0.15, 0.08, 0.04, 0.02, 0},
	},
	Slow: {
		0.08, 0.30, 0.12, 0.10,
		[Groups]float64{0.6, 0.45, 0.3, 0.15, 0.07, 0.03, 0},
		[Groups]float64{0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0},
	},
	Tail: {
		0.10, 0.35, 0.15, 0.14,
		[Groups]float64{0.8, 0.6, 0.4, 0.2, 0.1, 0.05, 0},
		[Groups]float64{1, 0.8, 0.5, 0.25, 0.12, 0.06, 0},
	},
	P99: {
		0.04, 0.15, 0.06, 0.06,
		[Groups]float64{0.35, 0.25, 0.15, 0.08, 0.04, 0.02, 0},
		[Groups]float64{0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0},
	},
	CPU: {
		0.04, 0.15, 0.06, 0.05,
		[Groups]float64{0.5, 0.35, 0.2, 0.1, 0.05, 0.02, 0},
		[Groups]float64{1.2, 0.9, 0.6, 0.3, 0.15, 0.06, 0},
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
		switch {
		case c.after && c.group >= grown:
			after.add(d, v)
		case !c.after:
			by[c.group].add(d, v)
			if c.group >= grown {
				side.add(d, v)
			}
		}
	}
	pod := nz.pod * sizes.spread()
	unit := guesses[k]
	if side.weight > 0 {
		s.Shifted.add(side.mean()*side.mean(), 1/side.weight+pod, unit.shift*unit.shift)
		for g := range grown {
			if by[g].weight > 0 {
				s.Warm[g].add(by[g].mean()-side.mean(), 1/by[g].weight+1/side.weight, e.warm[g])
			}
		}
	}
	if after.weight > 0 {
		s.Drifted.add(after.mean()*after.mean(), e.shift+pod, unit.drift*unit.drift)
	}
	s.Seen++
	s.Pod += nz.pod
	s.Wander += nz.wander
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
