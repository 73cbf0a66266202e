package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tocsin/detector/kernel"
)

// arena is state for benchmarks, and lanes to feed it and to take its answers.
type arena struct {
	blocks                               []kernel.Block
	seasons                              []kernel.Season
	y, news, score, center, lower, upper []kernel.Lanes
	params                               kernel.Params
}

func newArena(blocks int, noise float64) *arena {
	lanes := func() []kernel.Lanes { return make([]kernel.Lanes, blocks) }
	a := &arena{
		blocks: make([]kernel.Block, blocks), seasons: make([]kernel.Season, blocks),
		y: lanes(), news: lanes(), score: lanes(), center: lanes(), lower: lanes(), upper: lanes(),
		params: testParams(),
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range a.y {
		for l := range a.y[i] {
			a.y[i][l] = float32(10 + noise*rng.NormFloat64())
			a.blocks[i].Reset(l, 0.1)
			a.seasons[i].Reset(l)
		}
	}
	return a
}

// testParams are those of a column with a minute's step.
func testParams() kernel.Params {
	return kernel.Params{
		GainLevel:  [4]float32{0.22, 0.033, 0.0066, 0.0014},
		GainSpread: [5]float32{0.0083, 0.06, 0.0083, 0.0017, 0.00035},
		GainBeyond: [5]float32{0.042, 0.1, 0.042, 0.01, 0.0022},
		GainMean:   [5]float32{0.4, 0.12, 0.031, 0.0078, 0.002},
		GainNoise:  [4]float32{0.22, 0.06, 0.0155, 0.0039},
		Keep:       0.8,
		GainDay:    0.01, Visits: 3, Share: 1.0 / 96, GainVerify: 1.0 / 432,
		Week: 10080, GainHour: 0.008, HourVisits: 3, GainWeek: 1.0 / 4320,
		Novelty: 100, Knots: [5]float32{2.9, 3.1, 3.34, 3.75, 4.5}, OwnTop: 3.34, OwnTwo: 1,
		WarmUp: 60, Bucket: 3, Hour: 4,
	}
}

func (a *arena) tick() {
	const atOnce = 256
	for from := 0; from < len(a.blocks); from += atOnce {
		to := min(from+atOnce, len(a.blocks))
		kernel.Tick(a.news[from:to], a.score[from:to], a.center[from:to], a.lower[from:to], a.upper[from:to],
			a.blocks[from:to], a.seasons[from:to], a.y[from:to], &a.params)
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

func BenchmarkUnscale(b *testing.B) {
	const size = 4096
	a := newArena(size/kernel.Width, 1)
	for _, scale := range []kernel.Scale{kernel.Linear, kernel.Root, kernel.Share, kernel.Log} {
		b.Run(fmt.Sprint(scale), func(b *testing.B) {
			for b.Loop() {
				kernel.Unscale(a.upper, a.y, scale, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/value")
		})
	}
}
