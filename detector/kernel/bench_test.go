package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"tocsin/detector/kernel"
)

// columns are state for benchmarks, and lanes to feed it and to take its answers.
type columns struct {
	blocks                               []kernel.Block
	seasons                              []kernel.Season
	y, news, score, center, lower, upper []kernel.Lanes
	params                               kernel.Params
}

func newColumns(blocks int, noise float64) *columns {
	lanes := func() []kernel.Lanes { return make([]kernel.Lanes, blocks) }
	a := &columns{
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
		Novelty: 100, Far: 0.1, Knots: [5]float32{2.9, 3.1, 3.34, 3.75, 4.5}, OwnTop: 3.34, OwnTwo: 1,
		WarmUp: 60, Bucket: 3, Hour: 4,
	}
}

func (a *columns) tick() {
	const atOnce = 256
	for from := 0; from < len(a.blocks); from += atOnce {
		to := min(from+atOnce, len(a.blocks))
		kernel.Tick(a.news[from:to], a.score[from:to], a.center[from:to], a.lower[from:to], a.upper[from:to],
			a.blocks[from:to], a.seasons[from:to], a.y[from:to], &a.params)
	}
}

func BenchmarkUnscale(b *testing.B) {
	const size = 4096
	a := newColumns(size/kernel.Width, 1)
	for _, scale := range []kernel.Scale{kernel.Linear, kernel.Root, kernel.Share, kernel.Log} {
		b.Run(fmt.Sprint(scale), func(b *testing.B) {
			for b.Loop() {
				kernel.Unscale(a.upper, a.y, scale, 1)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/value")
		})
	}
}
