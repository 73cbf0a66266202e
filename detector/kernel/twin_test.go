package kernel_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"tocsin/detector/kernel"
)

// fence is how many blocks lie on both sides of those that a kernel is given.
const fence = 2

// column is a column of blocks between two fences. What is in the fences may not change.
type column[T any] struct{ all, in []T }

func newColumn[T any](n int) column[T] {
	all := make([]T, n+2*fence)
	raw := rawBytes(all)
	size := len(raw) / len(all)
	for i := range raw {
		if i < fence*size || i >= (fence+n)*size {
			raw[i] = 0xa5
		}
	}
	return column[T]{all, all[fence : fence+n]}
}

func (c column[T]) bytes() []byte { return rawBytes(c.all) }

func rawBytes[T any](s []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])))
}

// twin is the columns of one set of instructions.
type twin struct {
	on      kernel.On
	ticks   int
	blocks  column[kernel.Block]
	seasons column[kernel.Season]
	groups  column[kernel.Group]

	y, news, score, center, lower, upper, together column[kernel.Lanes]
}

func newTwin(on kernel.On, n int) *twin {
	lanes := newColumn[kernel.Lanes]
	w := &twin{
		on: on, blocks: newColumn[kernel.Block](n), seasons: newColumn[kernel.Season](n),
		groups: newColumn[kernel.Group](n),
		y:      lanes(n), news: lanes(n), score: lanes(n), center: lanes(n), lower: lanes(n),
		upper: lanes(n), together: lanes(n),
	}
	for i := range n {
		for l := range kernel.Width {
			w.blocks.in[i].Reset(l, 0.01)
			w.seasons.in[i].Reset(l)
		}
	}
	return w
}

// twins returns the same columns for all sets of instructions, the portable one first.
func twins(n int) []*twin {
	var all []*twin
	for _, on := range kernel.Available() {
		all = append(all, newTwin(on, n))
	}
	return all
}

// feed passes values through all kernels.
func (w *twin) feed(values []float64) {
	p, together := testParams(), kernel.GroupParams{Keep: 0.9, Fade: 0.99, Day: 0.01}
	p.WarmUp, p.Week = 5, 50
	p.Bucket, p.Hour = w.ticks/10%kernel.Buckets, w.ticks/7%kernel.Hours
	kernel.Rescale(w.y.in, values, kernel.Linear, 1)
	w.on.Tick(w.news.in, w.score.in, w.center.in, w.lower.in, w.upper.in, w.blocks.in, w.seasons.in,
		w.y.in, &p)
	w.on.Corroborate(w.together.in, w.groups.in, w.score.in, w.upper.in, &together)
	w.ticks++
}

// columns returns all that a kernel may write to, and what it may not.
func (w *twin) columns() map[string][]byte {
	return map[string][]byte{
		"blocks": w.blocks.bytes(), "seasons": w.seasons.bytes(), "groups": w.groups.bytes(),
		"y": w.y.bytes(), "news": w.news.bytes(), "score": w.score.bytes(), "center": w.center.bytes(),
		"lower": w.lower.bytes(), "upper": w.upper.bytes(), "together": w.together.bytes(),
	}
}

// equal compares with the portable twin to the bit, fences included.
func (w *twin) equal(t *testing.T, want *twin) {
	t.Helper()
	expected := want.columns()
	for name, got := range w.columns() {
		if bytes.Equal(got, expected[name]) {
			continue
		}
		for i := 0; i < len(got); i += 4 {
			if a, b := got[i:i+4], expected[name][i:i+4]; !bytes.Equal(a, b) {
				t.Fatalf("%s, tick %d: %s: row %d, lane %d is %v, want %v", w.on, w.ticks, name,
					i/4/kernel.Width, i/4%kernel.Width,
					math.Float32frombits(binary.LittleEndian.Uint32(a)),
					math.Float32frombits(binary.LittleEndian.Uint32(b)))
			}
		}
	}
}

// TestKernelsEqualTheirTwins feeds all lengths with what series are like and with what they should
// not be like.
func TestKernelsEqualTheirTwins(t *testing.T) {
	for n := range 67 {
		all := twins(n)
		rng := rand.New(rand.NewPCG(uint64(n), 7))
		values := make([]float64, n*kernel.Width)
		for range 60 {
			for i := range values {
				values[i] = oddValue(rng, i)
			}
			for _, w := range all {
				w.feed(values)
				w.equal(t, all[0])
			}
		}
	}
}

// TestKernelsEqualTheirTwinsForLong lets series decay, jump and come back every day.
func TestKernelsEqualTheirTwinsForLong(t *testing.T) {
	all := twins(2)
	rng := rand.New(rand.NewPCG(9, 9))
	values := make([]float64, 2*kernel.Width)
	for tick := range 20_000 {
		for i := range values {
			switch v := 10 * math.Sin(float64(tick)*2*math.Pi/960); {
			case i == 0:
				values[i] = 0
			case i < 8:
				values[i] = float64(i) * 1e-20
			case i < 16:
				values[i] = v + rng.NormFloat64()
			case rng.IntN(1000) == 0:
				values[i] = 1e6
			default:
				values[i] = math.Round(rng.Float64()) * float64(tick/5000%2)
			}
		}
		for _, w := range all {
			w.feed(values)
			if tick%100 == 0 {
				w.equal(t, all[0])
			}
		}
	}
	for _, w := range all {
		w.equal(t, all[0])
	}
}

// oddValue returns a number of which there is something to fear.
func oddValue(rng *rand.Rand, i int) float64 {
	odd := [...]float64{
		0, math.Copysign(0, -1), 1, -1, 1e-45, 1e-40, -1e-38, 1.2e-38, 1e-31, 1e-24, 1e-20, 1e18,
		-1e18, 1e30,
		math.MaxFloat32, 1e39, -1e300, math.MaxFloat64, math.SmallestNonzeroFloat64,
		math.Inf(1), math.Inf(-1), math.NaN(),
	}
	switch i % 4 {
	case 0:
		return odd[rng.IntN(len(odd))]
	case 1:
		return 10 + rng.NormFloat64()
	case 2:
		return math.Exp(20 * rng.NormFloat64())
	}
	if rng.IntN(4) == 0 {
		return math.NaN()
	}
	return float64(i)
}

// FuzzTwins feeds one block whatever there is.
func FuzzTwins(f *testing.F) {
	f.Add([]byte("0123456789abcdef"), uint8(3))
	f.Add(bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 1}, 64), uint8(200))
	f.Fuzz(func(t *testing.T, data []byte, again uint8) {
		all := twins(1)
		values := make([]float64, kernel.Width)
		data = data[:min(len(data), 1024)]
		for len(data) >= 8 {
			for l := range values {
				values[l] = math.Float64frombits(binary.LittleEndian.Uint64(data))
				if l%2 == 1 && len(data) >= 16 {
					data = data[8:]
				}
			}
			data = data[8:]
			for range int(again%8) + 1 {
				for _, w := range all {
					w.feed(values)
				}
			}
		}
		for _, w := range all {
			w.equal(t, all[0])
		}
	})
}

// TestInstructions says which kernels were tested.
func TestInstructions(t *testing.T) {
	all := kernel.Available()
	if got := kernel.Instructions(); got != fmt.Sprint(all[len(all)-1]) {
		t.Errorf("the kernels use %s, but there are %v", got, all)
	}
	t.Logf("tested: %v", all)
}
