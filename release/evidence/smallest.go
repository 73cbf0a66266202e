package evidence

import (
	"math"
	"time"
)

// Smallest returns the least effect of a metric that a release like this one would show within a time, as a rule:
// in half of all releases. The e-value's logarithm must reach bound. It is NaN if nothing is known of the
// metric, and infinite if no effect would show.
func (s *Scale) Smallest(l *Ledger, m *Model, k Metric, bound float64, within time.Duration) float64 {
	fresh, old := l.sizes()
	each := l.usual(k)
	if each.n <= 0 || old == 0 {
		return math.NaN()
	}
	nz, spread := l.noises(m)[k], 1/fresh+1/old
	base := l.base(k, m)
	blocks := float64(within) / float64(blockLength) * 2 / 3 // It must show without any third of the time.
	show := func(theta float64) bool {
		c := cell{group: Groups - 1, counts: k.counts(), size: blocks * fresh * each.n, time: 1}
		n := each.n * blocks
		if c.counts {
			p := (each.x + 0.5/blocks/old) / each.n
			c.x = math.Min(fresh*n*p*math.Exp(theta), fresh*n)
			c.n = c.x + old*n*p
			c.expected = c.n * fresh / (fresh + old)
		} else {
			c.weight = n * fresh * old / (fresh + old)
			if k == P99 {
				c.weight /= math.Max(l.chanceP99, 1)
			}
			c.diff = c.weight * theta
		}
		c.conclude(l.chance(k, &c), nz.wander*spread/blocks)
		cells := []cell{c}
		var f Finding
		f.Metric = k
		s.describe(&f, m, cells, nz.pod*spread, base)
		return f.Material && s.logE(cells, m, k, nz.pod*spread) >= bound
	}
	low, high := 0.0, math.Log(1000)
	if !show(high) {
		return math.Inf(1)
	}
	for range 30 {
		if mid := (low + high) / 2; show(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	if k == Errors {
		return math.Min(base*math.Expm1(high), 1)
	}
	return math.Expm1(high)
}

// sizes returns how many pods there are on both sides, at least one new one.
func (l *Ledger) sizes() (fresh, old float64) {
	for _, f := range l.fresh {
		if f {
			fresh++
		} else {
			old++
		}
	}
	return math.Max(fresh, 1), old
}

// usual returns what an old pod did in a block, on average over those that are kept.
func (l *Ledger) usual(k Metric) tally {
	var sum tally
	n := 0.0
	for i := range l.blocks {
		t := l.blocks[i].sum[k]
		if k == P99 {
			t = l.tally(&l.blocks[i], k)
		}
		if t.n > 0 {
			sum.merge(t)
			n++
		}
	}
	if n == 0 {
		return tally{}
	}
	return tally{sum.n / n, sum.x / n}
}
