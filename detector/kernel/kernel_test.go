package kernel_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"tocsin/detector/kernel"
)

var nan = float32(math.NaN())

// one is the state of one block with a lane fed by hand.
type one struct{ *columns }

func newOne() one { return one{newColumns(1, 0)} }

// feed gives v to all lanes and returns score, center and reach of the first.
func (o one) feed(v float32) (score, center, reach float32) {
	for l := range o.y[0] {
		o.y[0][l] = v
	}
	o.tick()
	return o.score[0][0], o.center[0][0], o.upper[0][0] - o.center[0][0]
}

func TestNoSampleLeavesStateUntouched(t *testing.T) {
	a := newColumns(3, 1)
	for range 100 {
		a.tick()
	}
	a.y[1][5] = nan
	before := a.blocks[1]
	a.tick()
	for f := range before {
		if a.blocks[1][f][5] != before[f][5] {
			t.Errorf("field %d went from %v to %v", f, before[f][5], a.blocks[1][f][5])
		}
	}
	for _, got := range []float32{a.news[1][5], a.score[1][5], a.center[1][5], a.lower[1][5], a.upper[1][5]} {
		if got == got {
			t.Errorf("result %v, want NaN", got)
		}
	}
	if a.score[1][4] != a.score[1][4] || a.blocks[1][kernel.Samples][4] != before[kernel.Samples][4]+1 {
		t.Error("the lane beside it stood still")
	}
}

func TestLanesAreIndependent(t *testing.T) {
	a, b := newColumns(2, 1), newColumns(2, 1)
	for i := range b.y {
		for l := range b.y[i] {
			b.y[i][l] = a.y[1-i][(l+3)%kernel.Width]
		}
	}
	for range 200 {
		a.tick()
		b.tick()
		for i := range a.score {
			for l := range a.score[i] {
				if x, y := a.score[1-i][(l+3)%kernel.Width], b.score[i][l]; x != y && (x == x || y == y) {
					t.Fatalf("score is %v in one lane and %v in another", x, y)
				}
			}
		}
	}
}

func TestOutliersDoNotPoison(t *testing.T) {
	o := newOne()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		v := float32(10 + rng.NormFloat64())
		if i%50 == 49 {
			v = 1000
		}
		o.feed(v)
	}
	if _, center, reach := o.feed(10); math.Abs(float64(center)-10) > 5 || reach < 20 || reach > 200 {
		t.Errorf("level %v, reach %v: want about 10, and less than what the outliers are off", center, reach)
	}
}

func TestWarmUp(t *testing.T) {
	o := newOne()
	for i := range 60 {
		if score, center, _ := o.feed(5); score == score || center == center {
			t.Fatalf("tick %d is judged", i)
		}
	}
	if score, center, _ := o.feed(5); score > 1.5 || center != 5 {
		t.Errorf("score %v, center %v: want less than 1.5, and 5", score, center)
	}
	if score, _, _ := o.feed(6); score < 2.5 {
		t.Errorf("score %v of what never was: want 2.5", score)
	}
}

// TestNothingSubnormal lets a series decay for long.
func TestNothingSubnormal(t *testing.T) {
	o := newOne()
	for i := range 100 {
		o.feed(float32(i % 3))
	}
	for range 200_000 {
		o.feed(0)
	}
	for f, lanes := range o.blocks[0] {
		if v := math.Abs(float64(lanes[0])); v != 0 && v < 1e-33 {
			t.Errorf("field %d is %v", f, v)
		}
	}
}

func TestScalesInvert(t *testing.T) {
	for _, tc := range []struct {
		scale  kernel.Scale
		values []float64
	}{
		{kernel.Linear, []float64{-1e9, -1, 0, 0.5, 7e12}},
		{kernel.Root, []float64{0, 0.01, 1, 1000, 1e9}},
		{kernel.Share, []float64{0, 1e-4, 0.05, 0.5, 0.99, 1}},
		{kernel.Log, []float64{1e-6, 0.003, 1, 17, 1e5}},
	} {
		y := make([]kernel.Lanes, 1)
		kernel.Rescale(y, tc.values, tc.scale, 15)
		if got := y[0][len(tc.values)]; got == got {
			t.Errorf("scale %d: lane without value is %v", tc.scale, got)
		}
		kernel.Unscale(y, y, tc.scale, 15)
		for l, want := range tc.values {
			if got := float64(y[0][l]); math.Abs(got-want) > 1e-5*math.Abs(want)+1e-6 {
				t.Errorf("scale %d: %v came back as %v", tc.scale, want, got)
			}
		}
	}
}

func TestRescaleRefuses(t *testing.T) {
	y := make([]kernel.Lanes, 1)
	kernel.Rescale(y, []float64{math.Inf(1), math.Inf(-1), math.NaN(), 1e300}, kernel.Linear, 1)
	for l := range 4 {
		if y[0][l] == y[0][l] {
			t.Errorf("lane %d is %v, want NaN", l, y[0][l])
		}
	}
}

func TestLengthsMustMatch(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	a := newColumns(2, 0)
	kernel.Tick(a.news[:1], a.score, a.center, a.lower, a.upper, a.blocks, a.seasons, a.y, &a.params)
}

// FuzzTick feeds one lane whatever there is: results are finite for finite values, and NaN for NaN.
func FuzzTick(f *testing.F) {
	seed := make([]byte, 0, 400)
	for i := range 50 {
		seed = binary.LittleEndian.AppendUint64(seed, math.Float64bits(float64(i%7)))
	}
	f.Add(seed, uint8(0))
	f.Add(seed, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, scale uint8) {
		o := newOne()
		o.params.WarmUp = 2
		for ; len(data) >= 8; data = data[8:] {
			v := math.Float64frombits(binary.LittleEndian.Uint64(data))
			kernel.Rescale(o.y, []float64{v}, kernel.Scale(scale%4), 15)
			known := o.y[0][0] == o.y[0][0] && o.blocks[0][kernel.Samples][0] >= 2
			o.tick()
			if s := o.score[0][0]; known && !(s >= 0 && s <= 30) || !known && s == s {
				t.Fatalf("score %v of %v", s, v)
			}
			for field, lanes := range o.blocks[0] {
				if x := float64(lanes[0]); math.IsNaN(x) || math.IsInf(x, 0) {
					t.Fatalf("field %d is %v after %v", field, x, v)
				}
			}
		}
	})
}
