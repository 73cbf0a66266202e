package evidence

import (
	"encoding/json"
	"math"
	"testing"
)

// calm is a model whose service has released without any shift or noise.
func calm(f *Fleet, releases int) *Model {
	m := NewModel(f)
	m.s.Learnt = releases
	for k := range m.s.Metrics {
		e := &m.s.Metrics[k]
		e.Shifted = ratio{N: float64(releases)}
		e.Drifted = ratio{N: float64(releases)}
		e.Seen = float64(releases)
		for g := range e.Warm {
			e.Warm[g] = warmth{N: float64(releases), Events: 100, Expected: 100}
		}
	}
	return m
}

func TestTheFleetIsBolderThanTheGuessOnlyOnEnough(t *testing.T) {
	for _, tc := range []struct {
		name               string
		services, releases int
		bold               bool
	}{
		{"nothing", 0, 0, false}, {"one service", 1, 100, false}, {"few releases", 6, 3, false}, {"enough", 6, 4, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var f Fleet
			for range tc.services {
				f.add(calm(&f, tc.releases), 1)
			}
			for k := range ratios {
				got, guess := f.expect(Metric(k)), guesses[k]
				pairs := [][2]float64{
					{got.shift, guess.shift}, {got.drift, guess.drift}, {got.pod, guess.pod}, {got.wander, guess.wander},
				}
				for g := range grown {
					pairs = append(pairs, [2]float64{got.mean[g], guess.mean[g]}, [2]float64{got.sd[g], guess.sd[g]},
						[2]float64{got.within[g], guess.within[g]})
				}
				for i, p := range pairs {
					if (p[0] < p[1]) != tc.bold {
						t.Errorf("%v, %d: expects %g, the guess is %g", Metric(k), i, p[0], p[1])
					}
				}
			}
		})
	}
}

func TestWhatLeavesTheFleetIsForgotten(t *testing.T) {
	var f Fleet
	a, b := calm(&f, 4), calm(&f, 7)
	f.add(a, 1)
	before, err := json.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	f.add(b, 1)
	b.Leave()
	after, err := json.Marshal(&f)
	if err != nil {
		t.Fatal(err)
	}
	if string(after) != string(before) {
		t.Errorf("%s\nwant %s", after, before)
	}
}

func TestFewEventsMakeNoWarmUp(t *testing.T) {
	var w warmth
	for range 20 { // A tenth of an event each: most releases have none.
		w.count(&cell{rho: 0.1, temper: 1, n: 1, x: 0}, 0)
	}
	for range 2 {
		w.count(&cell{rho: 0.1, temper: 1, n: 2, x: 1}, 0)
	}
	got := w.predict(spread{0.2, 0.4}, 0.2)
	if got.mean < -0.2 || got.mean > 0.4 || got.sd < 0.2 {
		t.Errorf("2 events, 2.2 expected: warm-up %+v", got)
	}
}

func TestManyErrorsAfterNoneAreNoDoubt(t *testing.T) {
	c := cell{group: Groups - 1, after: true, counts: true, x: 1945, n: 1945, expected: 1945 * 0.8, size: 9875, time: 1}
	p := c.expected / c.n
	c.conclude(1/(c.n*p*(1-p)), 0.4*0.4)
	mean, variance := c.estimate()
	if lower := mean - 2*math.Sqrt(variance); lower < 1 {
		t.Errorf("log-ratio %g, its variance %g: may be as little as %g", mean, variance, lower)
	}
	s := NewScale()
	if e := s.logE([]cell{c}, NewModel(nil), Errors, 0); e < 5 {
		t.Errorf("1,945 errors after none: log e %g", e)
	}
	few := cell{group: Groups - 1, after: true, counts: true, x: 3, n: 4, expected: 4 * 0.8, size: 1000, time: 1}
	few.conclude(1/(4*0.8*0.2), 0.4*0.4)
	if e := s.logE([]cell{few}, NewModel(nil), Errors, 0); e > 1 {
		t.Errorf("3 errors after one: log e %g", e)
	}
}
