package budget_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tocsin/detector/budget"
)

const (
	week  = 7 * 24 * time.Hour
	ticks = int(week / time.Minute)
)

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// tail makes the scores of one series.
type tail func(rng *rand.Rand) func(tick int) float64

// gauss has scores of a Gaussian with a memory, as of a calibrated detector, plus shift, times
// slope.
func gauss(memory, shift, slope float64) tail {
	return func(rng *rand.Rand) func(int) float64 {
		x := 0.0
		return func(int) float64 {
			x = memory*x + math.Sqrt(1-memory*memory)*rng.NormFloat64()
			return slope*-math.Log10(math.Erfc(math.Abs(x)/math.Sqrt2)) + shift
		}
	}
}

// bursts has few, of ten minutes, each of its own height, and an hour apart within a bad night.
func bursts(rng *rand.Rand) func(int) float64 {
	left, more, wait, height := 0, 0, 0, 0.0
	return func(int) float64 {
		switch {
		case left > 0:
			left--
			return height + 0.2*rng.Float64()
		case wait > 0:
			if wait--; wait == 0 {
				left = 10
			}
		case more > 0:
			more--
			wait = 60
		case rng.Float64() < 2/float64(ticks):
			left, more = 10, rng.IntN(3)
			height = 2 + 1.5*rng.ExpFloat64()
		}
		return -math.Log10(rng.Float64())
	}
}

// world is a unit with its series, and a detector that sends a page when 3 of 5 scores are high.
type world struct {
	ledger *budget.Ledger
	unit   int
	series []func(int) float64
	recent [][]float64
	open   []int // Ticks until the finding closes.
	tick   int
	pages  []int // By week.
	last   int   // Tick of the last page.
}

func newWorld(t *testing.T, pages float64, n int, of tail) *world {
	t.Helper()
	w := &world{ledger: budget.New(params(pages)), last: -1000}
	w.unit = w.ledger.Unit("shop/cart", start)
	for i := range n {
		w.series = append(w.series, of(rand.New(rand.NewPCG(uint64(i), 5))))
		w.recent = append(w.recent, make([]float64, 5))
	}
	w.open = make([]int, n)
	return w
}

func params(pages float64) budget.Params {
	return budget.Params{
		Pages: pages, Floor: 2, Step: time.Minute, Gap: 11 * time.Minute, After: 3,
	}
}

func (w *world) now() time.Time { return start.Add(time.Duration(w.tick) * time.Minute) }

// run plays so many ticks.
func (w *world) run(n int) {
	for range n {
		w.tick++
		if w.tick/ticks >= len(w.pages) {
			w.pages = append(w.pages, 0)
		}
		for i, next := range w.series {
			w.score(i, next(w.tick))
		}
		if w.tick%60 == 0 {
			w.ledger.Advance(w.now(), 60, []int{len(w.series)}, true)
		}
	}
}

func (w *world) score(i int, score float64) {
	r := w.recent[i]
	copy(r[1:], r)
	r[0] = score
	opens, threshold := 0.0, w.ledger.Threshold(w.unit)
	if slices.Max(r) >= 2 {
		sorted := slices.Clone(r)
		slices.Sort(sorted)
		opens = sorted[2]
		w.ledger.Observe(w.unit, opens, w.now())
	}
	switch {
	case w.open[i] > 0:
		if score >= threshold/2 {
			w.open[i] = 6
		} else {
			w.open[i]--
		}
		w.ledger.Sent(w.unit, w.now(), false)
		w.last = w.tick
	case opens >= threshold:
		w.open[i] = 6
		w.ledger.Sent(w.unit, w.now(), true)
		if w.tick-w.last > 11 {
			w.pages[len(w.pages)-1]++
		}
		w.last = w.tick
	}
}

// rate returns the pages a week after so many weeks.
func (w *world) rate(after int) float64 {
	sum := 0
	for _, n := range w.pages[after:] {
		sum += n
	}
	return float64(sum) / float64(w.tick/ticks-after)
}

// TestTheRateIsWhatWasAsked simulates units whose scores mean what they say, and others.
func TestTheRateIsWhatWasAsked(t *testing.T) {
	for _, tc := range []struct {
		name  string
		tail  tail
		pages float64
	}{
		{"calibrated", gauss(0.5, 0, 1), 2},
		{"with a long memory", gauss(0.95, 0, 1), 2},
		{"scores are 10 times too rare", gauss(0.5, 1, 1), 2},
		{"scores are 10 times too frequent", gauss(0.7, -1, 1), 2},
		{"scores are twice as high", gauss(0.5, 0, 2), 2},
		{"heavy tail with a memory", gauss(0.9, 0.5, 1.5), 5},
		{"bursts", bursts, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.pages, 8, tc.tail)
			w.run(16 * ticks)
			got := w.rate(1)
			t.Logf("%.2f of %.2f pages a week; by week %v", got, tc.pages, w.pages)
			if got < tc.pages/2 || got > 2*tc.pages {
				t.Errorf("%.2f pages a week, want %.2f", got, tc.pages)
			}
		})
	}
}

// TestANoisySpellIsForgotten has a bad week in the life of a quiet unit.
func TestANoisySpellIsForgotten(t *testing.T) {
	w := newWorld(t, 2, 8, gauss(0.5, 0, 1))
	w.run(6 * ticks)
	before := w.ledger.Threshold(w.unit)
	quiet := w.series
	w.series = nil
	for i := range quiet {
		w.series = append(w.series, gauss(0.5, 1.5, 2)(rand.New(rand.NewPCG(uint64(i), 6))))
	}
	w.run(ticks)
	during := w.ledger.Threshold(w.unit)
	w.series = quiet
	w.run(4 * ticks)
	after := w.ledger.Threshold(w.unit)
	t.Log(before, during, after, w.pages)
	if during < before+1 {
		t.Errorf("threshold %.2f in the noise, %.2f before", during, before)
	}
	if after > before+0.5 {
		t.Errorf("threshold %.2f a month after the noise, %.2f before", after, before)
	}
}

// TestOneIncidentDoesNotDeafen has a day of outages in the second week.
func TestOneIncidentDoesNotDeafen(t *testing.T) {
	w := newWorld(t, 2, 8, gauss(0.5, 0, 1))
	w.run(ticks)
	before := w.ledger.Threshold(w.unit)
	for hour := range 24 {
		for range 30 {
			w.tick++
			w.ledger.Observe(w.unit, 8+float64(hour%3), w.now())
		}
		w.run(30)
	}
	w.run(60)
	after := w.ledger.Threshold(w.unit)
	w.run(2 * ticks)
	later := w.ledger.Threshold(w.unit)
	t.Log(before, after, later)
	if after > before+2 {
		t.Errorf("threshold %.2f after a bad day, %.2f before", after, before)
	}
	if later > before+0.75 {
		t.Errorf("threshold %.2f two weeks after a bad day, %.2f before", later, before)
	}
}

// TestRestoreContinues compares with a ledger that never stopped.
func TestRestoreContinues(t *testing.T) {
	w, x := newWorld(t, 2, 4, gauss(0.8, 0, 1.2)), newWorld(t, 2, 4, gauss(0.8, 0, 1.2))
	w.run(ticks + 1234)
	x.run(ticks + 1234)
	restored, err := budget.Restore(params(2), x.ledger.AppendState(nil))
	if err != nil {
		t.Fatal(err)
	}
	x.ledger = restored
	w.run(ticks)
	x.run(ticks)
	if !bytes.Equal(w.ledger.AppendState(nil), x.ledger.AppendState(nil)) {
		t.Error("the states differ")
	}
	if w.ledger.Status(0) != x.ledger.Status(0) {
		t.Errorf("%+v, want %+v", x.ledger.Status(0), w.ledger.Status(0))
	}
}

func FuzzRestore(f *testing.F) {
	l := budget.New(params(2))
	l.Unit("shop/cart", start)
	f.Add(l.AppendState(nil))
	f.Fuzz(func(t *testing.T, state []byte) {
		l, err := budget.Restore(params(2), state)
		if err != nil {
			return
		}
		for n := range l.Len() {
			l.Observe(n, 5, start)
			l.Sent(n, start, true)
		}
		l.Advance(start, 60, make([]int, l.Len()), true)
		if again := l.AppendState(nil); l.Len() > 0 && len(again) == 0 {
			t.Error("nothing is left")
		}
	})
}

// TestABudgetIsSplitInProportion has a fleet of a large and two small clusters.
func TestABudgetIsSplitInProportion(t *testing.T) {
	x := budget.NewExchange(3)
	ledgers := map[string]*budget.Ledger{"a": nil, "b": nil, "c": nil}
	series := map[string]int{"a": 80, "b": 10, "c": 10}
	for name := range ledgers {
		ledgers[name] = budget.New(params(6))
		ledgers[name].Unit("fleet", start)
	}
	asked := func(day int, names ...string) {
		at := start.Add(time.Duration(day) * 24 * time.Hour)
		for _, name := range names {
			ledgers[name].Share(x, name, at, []int{series[name]})
			ledgers[name].Advance(at, 60, []int{series[name]}, true)
		}
	}
	want := func(a, b, c float64) {
		t.Helper()
		for name, want := range map[string]float64{"a": a, "b": b, "c": c} {
			if got := ledgers[name].Status(0).Asked; math.Abs(got-want) > 0.01 {
				t.Errorf("%s may cost %.2f pages a week, want %.2f", name, got, want)
			}
		}
	}
	asked(0, "a", "b", "c")
	want(2, 2, 2)
	asked(1, "c", "b", "a")
	want(4.8, 0.6, 0.6)
	series["a"] = 180
	asked(2, "a", "b", "c")
	asked(3, "b", "a", "c")
	want(5.4, 0.3, 0.3)
}

// TestAFleetLearnsTogether has a budget of which each cluster's part is too small to learn from:
// a page in 15 weeks.
func TestAFleetLearnsTogether(t *testing.T) {
	const clusters, weeks = 30, 6
	for _, tc := range []struct {
		name string
		rate float64 // Pages a week of a cluster at a score of 4; ten times less for each more.
		want float64 // Where the fleet has two.
	}{
		{"quiet", 0.02, 3.5},
		{"in between", 0.2, 4.5},
		{"noisy", 1.6, 5.4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			x := budget.NewExchange(clusters)
			rng := rand.New(rand.NewPCG(8, 8))
			var ledgers []*budget.Ledger
			for range clusters {
				l := budget.New(params(2))
				l.Unit("fleet", start)
				ledgers = append(ledgers, l)
			}
			pages := 0
			for hour := range weeks * 7 * 24 {
				at := start.Add(time.Duration(hour) * time.Hour)
				for c, l := range ledgers {
					if rng.Float64() < tc.rate*100/(7*24) { // At a score of 2.
						score := 2 + rng.ExpFloat64()/math.Ln10
						l.Observe(0, score, at)
						if score >= l.Threshold(0) && hour >= weeks/2*7*24 {
							pages++
						}
					}
					l.Share(x, string(rune('a'+c)), at, []int{40})
					l.Advance(at, 60, []int{40}, true)
				}
			}
			got := ledgers[3].Status(0)
			t.Logf("%d pages in %d weeks, %+v", pages, weeks-weeks/2, got)
			if pages > 2*2*(weeks-weeks/2) {
				t.Errorf("%d pages in %d weeks", pages, weeks-weeks/2)
			}
			if math.Abs(got.Threshold-tc.want) > 0.7 {
				t.Errorf("threshold %.2f, want %.2f", got.Threshold, tc.want)
			}
		})
	}
}
