//go:build linux && amd64 && !purego

package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tocsin/detector/kernel"
	"tocsin/detector/kernel/arena"
)

// core is columns in huge pages, and inputs for some ticks.
type core struct {
	blocks  *arena.Column[kernel.Block]
	seasons *arena.Column[kernel.Season]
	out     [5]*arena.Column[kernel.Lanes]
	inputs  [4]*arena.Column[kernel.Lanes]
	params  kernel.Params
}

// newCore returns columns of n blocks that have seen some thousand ticks: the state of the first
// ones is learnt, the others are copies.
func newCore(n int, noise float64) *core {
	const different, ticks = 16, 5000
	c := &core{
		blocks: arena.NewColumn[kernel.Block](nil), seasons: arena.NewColumn[kernel.Season](nil),
		params: testParams(),
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range c.out {
		c.out[i] = lanesOf(n, func() float32 { return 0 })
	}
	for i := range c.inputs {
		c.inputs[i] = lanesOf(n, func() float32 { return float32(10 + noise*rng.NormFloat64()) })
	}
	c.blocks.Grow(different)
	c.seasons.Grow(different)
	for i := range different {
		for l := range kernel.Width {
			c.blocks.At(i).Reset(l, 0.1)
			c.seasons.At(i).Reset(l)
		}
	}
	all := kernel.Available()
	for tick := range ticks {
		c.run(tick, all[len(all)-1].Tick)
	}
	c.blocks.Grow(n)
	c.seasons.Grow(n)
	for i := different; i < n; i++ {
		*c.blocks.At(i), *c.seasons.At(i) = *c.blocks.At(i % different), *c.seasons.At(i % different)
	}
	return c
}

func lanesOf(n int, value func() float32) *arena.Column[kernel.Lanes] {
	c := arena.NewColumn[kernel.Lanes](nil)
	c.Grow(n)
	for i := range n {
		for l := range kernel.Width {
			c.At(i)[l] = value()
		}
	}
	return c
}

func (c *core) free() {
	c.blocks.Free()
	c.seasons.Free()
	for _, column := range append(c.inputs[:], c.out[:]...) {
		column.Free()
	}
}

type tickFunc func(news, score, center, lower, upper []kernel.Lanes, b []kernel.Block,
	s []kernel.Season, y []kernel.Lanes, p *kernel.Params)

// run passes one input through all blocks.
func (c *core) run(tick int, f tickFunc) {
	y := c.inputs[tick%len(c.inputs)]
	c.params.Bucket, c.params.Hour = tick/5%kernel.Buckets, tick/60%kernel.Hours
	for i := range c.blocks.Chunks() {
		b := c.blocks.Chunk(i)
		out := func(k int) []kernel.Lanes { return c.out[k].Chunk(i)[:len(b)] }
		f(out(0), out(1), out(2), out(3), out(4), b, c.seasons.Chunk(i), y.Chunk(i)[:len(b)], &c.params)
	}
}

// BenchmarkCore compares the kernels of a tick with their twin and with the floor, which is what it
// takes to load and store the same memory. All take turns, so that a busy machine slows them all;
// the median of the turns counts.
func BenchmarkCore(b *testing.B) {
	for _, series := range []int{4096, 98_304, 1 << 20} {
		for _, input := range []string{"noisy", "constant"} {
			b.Run(fmt.Sprintf("series=%d/%s", series, input), func(b *testing.B) {
				c := newCore(series/kernel.Width, map[string]float64{"noisy": 1}[input])
				defer c.free()
				benchmarkCore(b, c, series)
			})
		}
	}
}

// clock returns the time that this thread has had a processor for.
func clock(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

func benchmarkCore(b *testing.B, c *core, series int) {
	names, runs := []string{"floor"}, []tickFunc{kernel.TickFloor}
	for _, on := range kernel.Available() {
		names = append(names, on.String())
		runs = append(runs, on.Tick)
	}
	runtime.LockOSThread() // It is this thread's time that counts.
	defer runtime.UnlockOSThread()
	took := make([][]time.Duration, len(runs))
	turn := 0
	for b.Loop() {
		for range 5 {
			for i, run := range runs {
				if i == 1 && turn%5 > 0 {
					continue // The twin takes as long as twenty of the others.
				}
				start := clock(b)
				c.run(turn, run)
				took[i] = append(took[i], clock(b)-start)
			}
			turn++
		}
	}
	median := make([]float64, len(runs))
	for i := range took {
		slices.Sort(took[i])
		median[i] = float64(took[i][len(took[i])/2]) / float64(series)
		b.ReportMetric(median[i], names[i]+"-ns/value")
	}
	best := len(median) - 1
	b.ReportMetric(100*median[0]/median[best], "%-of-floor")
	b.ReportMetric(median[1]/median[best], "times-portable")
	b.ReportMetric(0, "ns/op") // The sum of all says nothing.
	b.ReportMetric(float64(unsafe.Sizeof(kernel.Block{}))/kernel.Width, "state-B/series")
	b.ReportMetric(float64(unsafe.Sizeof(kernel.Season{}))/kernel.Width, "profile-B/series")
}
