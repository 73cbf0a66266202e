package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tocsin/detector/kernel"
)

// arena is state for benchmarks, and lanes to feed it and to take its answers.
type arena struct {
	blocks                         []kernel.Block
	days                           []kernel.Day
	tails                          []kernel.Tail
	y, floor, z, center, width, up []kernel.Lanes
	params                         kernel.Params
	tail                           kernel.TailParams
}

func newArena(blocks int, noise float64) *arena {
	lanes := func() []kernel.Lanes { return make([]kernel.Lanes, blocks) }
	a := &arena{
		blocks: make([]kernel.Block, blocks), days: make([]kernel.Day, blocks),
		tails: make([]kernel.Tail, blocks),
		y:     lanes(), floor: lanes(), z: lanes(), center: lanes(), width: lanes(), up: lanes(),
		params: testParams(), tail: kernel.TailParams{Ordinary: 3},
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range a.y {
		for l := range a.y[i] {
			a.y[i][l] = float32(10 + noise*rng.NormFloat64())
			a.floor[i][l] = 0.1
			a.days[i].Reset(l)
		}
	}
	return a
}

func testParams() kernel.Params {
	return kernel.Params{
		Gain: [3]float32{1.0 / 60, 1.0 / 300, 1.0 / 1440}, GainPlain: 1.0 / 300, GainDay: 1.0 / 5760,
		Ripe: [3]float32{0, 1.0 / 1200, 1.0 / 5760}, WarmUp: 60, Period: 5760,
		Bucket: 3, Neighbor: 4, Weight: 0.25,
	}
}

func (a *arena) tick() {
	const atOnce = 256
	for from := 0; from < len(a.blocks); from += atOnce {
		to := min(from+atOnce, len(a.blocks))
		kernel.Tick(a.z[from:to], a.center[from:to], a.width[from:to], a.blocks[from:to], a.days[from:to],
			a.y[from:to], a.floor[from:to], &a.params)
	}
}

func BenchmarkTick(b *testing.B) {
	for _, size := range []int{4096, 1 << 19} {
		for _, noise := range []float64{0, 1} {
			b.Run(fmt.Sprintf("series=%d/noise=%v", size, noise), func(b *testing.B) {
				a := newArena(size/kernel.Width, noise)
				for range 100 {
					a.tick()
				}
				for b.Loop() {
					a.tick()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/value")
			})
		}
	}
}

// BenchmarkFloor reads and writes the memory that a tick does, with one addition for each number.
func BenchmarkFloor(b *testing.B) {
	for _, size := range []int{4096, 1 << 19} {
		b.Run(fmt.Sprintf("series=%d", size), func(b *testing.B) {
			a := newArena(size/kernel.Width, 0)
			for b.Loop() {
				for i := range a.blocks {
					for f := range a.blocks[i] {
						for l := range kernel.Width {
							a.blocks[i][f][l] += a.y[i][l]
						}
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(size), "ns/value")
		})
	}
}

func BenchmarkScore(b *testing.B) {
	const size = 4096
	a := newArena(size/kernel.Width, 1)
	for range 100 {
		a.tick()
	}
	for b.Loop() {
		kernel.Nominal(a.up, a.z)
		kernel.Calibrate(a.up, a.tails, a.up, &a.tail)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/value")
}

func BenchmarkUnscale(b *testing.B) {
	const size = 4096
	a := newArena(size/kernel.Width, 1)
	for _, scale := range []kernel.Scale{kernel.Linear, kernel.Root, kernel.Share, kernel.Log} {
		b.Run(fmt.Sprint(scale), func(b *testing.B) {
			for b.Loop() {
				kernel.Unscale(a.up, a.y, scale, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/value")
		})
	}
}
