package evidence

import (
	"encoding/json"
	"fmt"
	"math"
)

// Fleet is what the accepted releases of all services together say about a service of which nothing is known
// yet. It is a leaf of the partial pooling: a service's own releases outweigh it as soon as there are any.
// The zero value has learnt nothing.
type Fleet struct{ s fleetState }

// fleetState is a Fleet as JSON.
type fleetState struct {
	Releases int                 `json:"releases"`
	Services int                 `json:"services"`
	Metrics  [ratios]fleetMetric `json:"metrics"`
}

// fleetMetric adds up what the services have shown of one metric.
type fleetMetric struct {
	Shifted ratio           `json:"shifted"`
	Drifted ratio           `json:"drifted"`
	Pod     moments         `json:"pod"`    // Standard deviations between pods of one revision, a service each.
	Wander  moments         `json:"wander"` // The same, of their wandering.
	Warm    [Groups]moments `json:"warm"`   // Mean warm-up, a service each.
	Within  [Groups]moments `json:"within"` // Variance of warm-ups between the releases of a service.
}

// moments are a weighted sum of values and of their squares.
type moments struct {
	N   float64 `json:"n"`
	Sum float64 `json:"sum"`
	Sq  float64 `json:"sq"`
}

func (m *moments) add(w, v float64) {
	m.N += w
	m.Sum += w * v
	m.Sq += w * v * v
}

// What the fleet must rest on before it may expect less trouble than the built-in guess does, how much the
// guess is worth beside it, and how many releases of one service count at most.
const (
	boldReleases  = 20
	boldServices  = 5
	guessReleases = 20
	guessServices = 6
	mostOfService = 10
)

// Releases returns how many accepted releases the fleet's expectation rests on, and of how many services.
func (f *Fleet) Releases() (releases, services int) { return f.s.Releases, f.s.Services }

// bold reports whether the fleet may expect less than the built-in guess.
func (f *Fleet) bold() bool { return f.s.Releases >= boldReleases && f.s.Services >= boldServices }

// add folds a service's model in, or with sign -1 takes out what it had put in.
func (f *Fleet) add(m *Model, sign float64) {
	if m.s.Learnt == 0 {
		return
	}
	f.s.Releases += int(sign) * m.s.Learnt
	f.s.Services += int(sign)
	for k := range ratios {
		to, e := &f.s.Metrics[k], &m.s.Metrics[k]
		to.Shifted.share(sign, e.Shifted)
		to.Drifted.share(sign, e.Drifted)
		if e.Seen > 0 {
			to.Pod.add(sign, math.Sqrt(e.Pod/e.Seen))
			to.Wander.add(sign, math.Sqrt(e.Wander/e.Seen))
		}
		for g := range e.Warm {
			w := &e.Warm[g]
			if mean, doubt, ok := w.mean(); ok && doubt < 1.0/enoughEvents {
				to.Warm[g].add(sign, mean)
			}
			if w.N > 1 {
				to.Within[g].add(sign*math.Min(w.N-1, mostOfService), w.within())
			}
		}
	}
}

// share adds another ratio, as if it rested on no more than a few releases.
func (r *ratio) share(sign float64, of ratio) {
	if of.N <= 0 {
		return
	}
	n := math.Min(of.N, mostOfService)
	r.N += sign * n
	r.Sum += sign * n * of.Sum / of.N
}

// expect returns what a service of which nothing is known may be expected to do in one metric.
func (f *Fleet) expect(k Metric) guess {
	g := guesses[k]
	if f == nil || f.s.Services == 0 {
		return g
	}
	m := &f.s.Metrics[k]
	g.shift = f.scale(g.shift, math.Sqrt(m.Shifted.worth(guessReleases)))
	g.drift = f.scale(g.drift, math.Sqrt(m.Drifted.worth(guessReleases)))
	g.pod = f.scale(g.pod, m.Pod.upper(g.pod)/g.pod)
	g.wander = f.scale(g.wander, m.Wander.upper(g.wander)/g.wander)
	for i := range m.Warm {
		f.warm(&g, i, m.Warm[i])
		usual := g.within[i] * g.within[i]
		seen := (guessReleases*usual + m.Within[i].Sum) / (guessReleases + m.Within[i].N)
		g.within[i] = f.scale(g.within[i], math.Sqrt(seen/math.Max(usual, 1e-9)))
	}
	return g
}

// scale makes a standard deviation larger or smaller; smaller only if the fleet may be bold.
func (f *Fleet) scale(sd, factor float64) float64 {
	if factor < 1 && !f.bold() {
		return sd
	}
	return sd * math.Min(math.Max(factor, 0.25), 4)
}

// warm moves the warm-up that is expected at one age. To expect a stronger one is to be careful.
func (f *Fleet) warm(g *guess, i int, m moments) {
	if m.N <= 0 {
		return
	}
	mean := (guessServices*g.mean[i] + m.Sum) / (guessServices + m.N)
	spread := math.Max(m.Sq-2*mean*m.Sum+m.N*mean*mean, 0)
	sd := math.Sqrt((guessServices*g.sd[i]*g.sd[i] + spread) / (guessServices + m.N))
	if !f.bold() {
		mean, sd = math.Max(mean, g.mean[i]), math.Max(sd, g.sd[i])
	}
	g.mean[i], g.sd[i] = mean, math.Max(sd, g.sd[i]/4)
}

// worth is a mean of squares in units of their expectation, the guess counting as much as some releases.
func (r ratio) worth(guess float64) float64 { return (guess + r.Sum) / (guess + r.N) }

// upper returns a standard deviation that most services do not exceed: half a deviation above the mean.
func (m *moments) upper(guess float64) float64 {
	n := guessServices + m.N
	mean := (guessServices*guess + m.Sum) / n
	spread := math.Max((guessServices*guess*guess+m.Sq)/n-mean*mean, 0)
	return mean + math.Sqrt(spread)/2
}

// MarshalJSON writes what the fleet has shown.
func (f *Fleet) MarshalJSON() ([]byte, error) { return json.Marshal(&f.s) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (f *Fleet) UnmarshalJSON(text []byte) error {
	var s fleetState
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if s.Releases < s.Services || s.Services < 0 {
		return fmt.Errorf("%d releases of %d services", s.Releases, s.Services)
	}
	f.s = s
	return nil
}
