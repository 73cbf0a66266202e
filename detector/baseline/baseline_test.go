package baseline_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tocsin/detector/baseline"
	"tocsin/detector/kernel"
)

var start = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func newColumns(slots int) *baseline.Columns {
	c := baseline.New(baseline.Params{
		Scale: kernel.Linear, Floor: 0.01, Period: 24 * time.Hour, WarmUp: 60,
	}, nil)
	c.Grow(slots)
	return c
}

// feed ticks every step from the instant after at, with what value says.
func feed(c *baseline.Columns, r *baseline.Result, from time.Time, ticks int, step time.Duration,
	value func(slot int, at time.Time) float64,
) time.Time {
	x := make([]float64, c.Slots())
	for range ticks {
		from = from.Add(step)
		for slot := range x {
			x[slot] = value(slot, from)
		}
		c.Tick(r, x, from, step)
	}
	return from
}

func swing(at time.Time, amplitude float64) float64 {
	return amplitude * math.Sin(2*math.Pi*float64(at.Unix()%86400)/86400)
}

// TestProfileIsUsedWhereItHelps gives half of the slots a daily swing.
func TestProfileIsUsedWhereItHelps(t *testing.T) {
	for _, step := range []time.Duration{time.Minute, 5 * time.Minute, time.Hour} {
		c, r := newColumns(16), &baseline.Result{}
		rng := rand.New(rand.NewPCG(1, 1))
		feed(c, r, start, int(20*24*time.Hour/step), step, func(slot int, at time.Time) float64 {
			v := 100 + rng.NormFloat64()
			if slot%2 == 0 {
				v += swing(at, 40)
			}
			return v
		})
		for slot := range 16 {
			if got, want := c.Seasonal(slot), slot%2 == 0; got != want {
				t.Errorf("step %s, slot %d: seasonal %v, want %v", step, slot, got, want)
			}
		}
	}
}

// TestProfilePredicts stops the data for half a day: the profile knows what comes then.
func TestProfilePredicts(t *testing.T) {
	c, r := newColumns(16), &baseline.Result{}
	value := func(_ int, at time.Time) float64 { return 100 + swing(at, 40) + float64(at.Unix()%7)/10 }
	at := feed(c, r, start, 8*24*60, time.Minute, value)
	at = at.Add(12 * time.Hour)
	at = feed(c, r, at, 1, time.Minute, value)
	if got, want := float64(r.Expected[0][0]), value(0, at); math.Abs(got-want) > 5 {
		t.Errorf("expected %v, got %v", got, want)
	}
}

// TestGapsMakeLevelsForgetful compares one value after a long gap with one after none.
func TestGapsMakeLevelsForgetful(t *testing.T) {
	moved := func(gap time.Duration) float64 {
		c, r := newColumns(16), &baseline.Result{}
		rng := rand.New(rand.NewPCG(2, 2))
		noise := func(int, time.Time) float64 { return 10 + rng.NormFloat64() }
		at := feed(c, r, start, 2000, time.Minute, noise)
		for range 3 {
			at = feed(c, r, at.Add(gap), 1, time.Minute, func(int, time.Time) float64 { return 12 })
		}
		return float64(r.Expected[0][0]) - 10
	}
	if none, hour := moved(0), moved(time.Hour); hour < none+0.3 {
		t.Errorf("level moved by %v without gaps and by %v with them", none, hour)
	}
}

func TestGrowKeepsAndResetForgets(t *testing.T) {
	c, r := newColumns(16), &baseline.Result{}
	feed(c, r, start, 100, time.Minute, func(slot int, _ time.Time) float64 { return float64(slot) })
	c.Grow(1000)
	if c.Slots() != 1008 || c.Samples(15) != 100 || c.Samples(16) != 0 || !c.Warm(3) {
		t.Errorf("%d slots, %d and %d samples", c.Slots(), c.Samples(15), c.Samples(16))
	}
	c.Reset(3)
	if c.Samples(3) != 0 || c.Samples(4) != 100 {
		t.Errorf("%d and %d samples after Reset", c.Samples(3), c.Samples(4))
	}
}

// TestStateComesBack restores a column and compares what both say from then on.
func TestStateComesBack(t *testing.T) {
	c, r := newColumns(40), &baseline.Result{}
	rng := rand.New(rand.NewPCG(4, 4))
	noise := func(int, time.Time) float64 { return rng.NormFloat64() }
	at := feed(c, r, start, 3*24*60, time.Minute, noise)
	state := c.AppendState(nil)
	if len(state) != baseline.StateSize(40) {
		t.Fatalf("%d bytes, want %d", len(state), baseline.StateSize(40))
	}
	again := baseline.Restore(c.Params(), nil, c.At(), 40, state)
	if !bytes.Equal(state, again.AppendState(nil)) {
		t.Fatal("state differs at once")
	}
	same := func(int, time.Time) float64 { return 0.5 }
	feed(c, r, at, 100, time.Minute, same)
	feed(again, r, at, 100, time.Minute, same)
	if !bytes.Equal(c.AppendState(nil), again.AppendState(nil)) {
		t.Error("state differs after a hundred ticks")
	}
}
