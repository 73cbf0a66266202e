package evidence

import "math"

// Model is what harmless releases of one service look like. The zero value is not ready: use NewModel.
type Model struct {
	metric  [ratios]expectation
	leak    leakModel
	buckets []float64 // Latency of old pods in past releases.
	rate    tally     // Errors of old pods in past releases.
	learnt  int       // Releases.
}

// expectation is a model's view of one metric, on the log scale.
type expectation struct {
	shift   float64 // Variance of what any release shifts.
	drift   float64 // Variance between before and after, if there is nothing to compare with now.
	noise   noise
	warm    [Groups]warmth
	shifted ratio // How far past releases shifted, against what was expected.
	drifted ratio
}

// warmth is how new pods of one age differ from grown ones.
type warmth struct {
	mean, fleet float64 // Of the log-ratio; its standard deviation for a service of which nothing is known.
	n, sum, sq  float64 // Past releases of this service, and their contrasts, weighted.
	chance      float64 // Mean variance of a contrast that chance alone makes.
}

// ratio compares squared deviations with their expectation.
type ratio struct{ n, sum float64 }

// How many past releases the expectation is worth, and the bounds of what the past may make of it.
const (
	priorReleases = 6
	leastRatio    = 0.25
	largestRatio  = 16
)

func (r ratio) factor() float64 {
	f := (priorReleases + r.sum) / (priorReleases + r.n)
	return math.Min(math.Max(f, leastRatio), largestRatio)
}

// add folds in one squared deviation; one release may not count for more than it could in a bad year.
func (r *ratio) add(squared, chance, expected float64) {
	trust := expected / (expected + chance)
	r.n += trust * trust
	r.sum += trust * trust * math.Min(math.Max(squared-chance, 0)/expected, 36)
}

// predict returns the mean and standard deviation that the warm-up of the next release will have.
// The service's own past outweighs the fleet's curve as soon as there is any.
func (w *warmth) predict() (mean, sd float64) {
	if w.fleet == 0 {
		return 0, 0
	}
	usual := 0.45 * w.fleet
	if w.n == 0 {
		return w.mean, w.fleet
	}
	own := w.sum / w.n
	spread := math.Max(w.sq/w.n-own*own-w.chance/w.n, 0)
	between := (3*usual*usual + w.n*spread) / (3 + w.n)
	ofMean := between/w.n + w.chance/w.n/w.n
	trust := w.fleet * w.fleet / (w.fleet*w.fleet + ofMean)
	mean = w.mean + trust*(own-w.mean)
	return mean, math.Sqrt(trust*ofMean + between)
}

func (w *warmth) add(contrast, chance float64) {
	if w.fleet == 0 || chance > w.fleet*w.fleet*4 {
		return
	}
	contrast = math.Max(math.Min(contrast, w.mean+4*w.fleet), w.mean-4*w.fleet)
	w.n++
	w.sum += contrast
	w.sq += contrast * contrast
	w.chance += chance
}

// fleet holds what is expected of a service of which nothing is known. The figures are deliberately a little
// wider than those of services that we have seen; a service's own releases narrow them.
var fleet = [ratios]struct {
	shift, drift, pod, wander float64 // Standard deviations.
	mean, sd                  [Groups]float64
}{
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

// NewModel returns what is expected of a service of which nothing is known yet.
func NewModel() *Model {
	m := &Model{}
	for k := range m.metric {
		f, e := &fleet[k], &m.metric[k]
		e.shift, e.drift = f.shift*f.shift, f.drift*f.drift
		e.noise = noise{pod: f.pod * f.pod, wander: f.wander * f.wander}
		for g := range e.warm {
			e.warm[g] = warmth{mean: f.mean[g], fleet: f.sd[g]}
		}
	}
	return m
}

// Releases returns how many releases the model has learnt from.
func (m *Model) Releases() int { return m.learnt }

// Learn folds a harmless release into the model of its service.
func (m *Model) Learn(l *Ledger) {
	if l.start.IsZero() {
		return
	}
	m.learnt++
	if len(m.buckets) != len(l.old) {
		m.buckets = make([]float64, len(l.old))
	}
	for i, c := range l.old {
		m.buckets[i] += c
	}
	m.rate.add(l.before[Errors].n, l.before[Errors].x)
	noises := l.noises(m)
	for k := range ratios {
		m.learn(l, Metric(k), noises[k])
		m.metric[k].noise = blend(m.metric[k].noise, noises[k], m.learnt)
	}
	m.leak.learn(&l.leak)
}

// blend moves the expected noise towards what one release showed.
func blend(have, seen noise, n int) noise {
	w := 1 / float64(n+2)
	return noise{pod: have.pod + w*(seen.pod-have.pod), wander: have.wander + w*(seen.wander-have.wander)}
}

func (m *Model) learn(l *Ledger, k Metric, nz noise) {
	e := &m.metric[k]
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
	if side.weight > 0 {
		e.shifted.add(side.mean()*side.mean(), 1/side.weight+pod, e.shift)
		for g := range grown {
			if by[g].weight > 0 {
				e.warm[g].add(by[g].mean()-side.mean(), 1/by[g].weight+1/side.weight)
			}
		}
	}
	if after.weight > 0 {
		chance := e.shift + pod
		e.drifted.add(after.mean()*after.mean(), chance, e.drift*e.drifted.factor())
	}
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
