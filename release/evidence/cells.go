package evidence

import "math"

// cell compares new pods of one age group with old pods within one block.
type cell struct {
	group, block int
	after        bool // There were no old pods left; compared with what they were.

	n, x, expected float64 // Counts: both sides' events, the new pods', and those expected if nothing changed.
	weight, diff   float64 // Gaussians: the sum of weights, and of weighted differences.
	spread         float64 // 1/k + 1/m of the pods, weighted by size.
	size           float64
	time           float64 // The part of the block's time that it covers.

	rho, temper    float64 // Counts: odds that an event is of a new pod; the likelihood's exponent.
	extra          float64 // Counts: variance of the log-ratio beyond chance.
	mean, variance float64 // Gaussians.
	counts         bool
}

// part says what a look leaves out. The zero value is not ready: use all.
type part struct {
	pod      int     // A pod, -1 for none.
	from, to int     // Slots, from <= slot < to.
	least    int     // The youngest age group that takes part.
	left     float64 // The share of what is known that is left.
	clusters float64 // How many are weighed together.
}

var all = part{pod: -1, from: -1, to: -1, left: 1, clusters: 1}

// sizes are the squares from which the effective numbers of pods follow.
type sizes struct{ fresh, freshSquares, old, oldSquares float64 }

// spread returns 1/k + 1/m.
func (s *sizes) spread() float64 {
	k, m := effective(s.fresh, s.freshSquares), effective(s.old, s.oldSquares)
	switch {
	case k == 0:
		return 2
	case m == 0:
		return 1 / k
	}
	return 1/k + 1/m
}

// slotSum is one slot's pods on both sides.
type slotSum struct {
	old   tally
	oldSq float64
	fresh [Groups]tally
	sq    [Groups]float64
}

// cells builds the cells of one metric from everything but what p leaves out.
func (l *Ledger) cells(m Metric, model *Model, nz noise, p part) ([]cell, sizes) {
	p.least = max(p.least, youngest[m])
	if m == P99 {
		return l.quantileCells(model, nz, p)
	}
	slots, size := l.slots(m, p)
	var cells []cell
	var index [2 * Groups]int
	block := -1
	var times blockTimes
	for s := range slots {
		times.count(s, &slots[s])
		if b := s / blockSlots; b != block {
			block = b
			for i := range Groups {
				index[i] = -1
			}
			if block == 0 {
				for i := range Groups {
					index[Groups+i] = -1
				}
			}
		}
		for g := range Groups {
			if slots[s].fresh[g].n <= 0 {
				continue
			}
			at, after := &index[g], slots[s].old.n <= 0
			if after {
				at = &index[Groups+g]
			}
			if *at < 0 {
				*at = len(cells)
				cells = append(cells, cell{group: g, block: block, after: after, counts: m.counts()})
			}
			cells[*at].time++
			l.fill(&cells[*at], m, &slots[s], g, model)
		}
	}
	times.divide(cells)
	l.comparePast(cells, m, model)
	l.finish(cells, m, model, nz, p.clusters)
	return cells, size
}

// blockTimes counts the slots with new pods: of each block beside old pods, and of all that has none.
type blockTimes struct {
	beside []float64
	after  float64
}

func (t *blockTimes) count(slot int, s *slotSum) {
	for slot/blockSlots >= len(t.beside) {
		t.beside = append(t.beside, 0)
	}
	for g := range s.fresh {
		if s.fresh[g].n > 0 {
			if s.old.n > 0 {
				t.beside[slot/blockSlots]++
			} else {
				t.after++
			}
			return
		}
	}
}

// divide turns the slots of cells into parts of their blocks.
func (t *blockTimes) divide(cells []cell) {
	for i := range cells {
		c := &cells[i]
		if c.after {
			c.time /= t.after
			continue
		}
		c.time /= t.beside[c.block]
	}
}

// slots adds up the records of one metric by slot, side and age.
func (l *Ledger) slots(m Metric, p part) ([]slotSum, sizes) {
	var slots []slotSum
	totals := make([]float64, len(l.pods))
	fresh := make([]bool, len(l.pods))
	for i := range l.records {
		r := &l.records[i]
		t := r.sum[m]
		if t.n <= 0 || r.pod == p.pod || (r.slot >= p.from && r.slot < p.to) || (r.fresh && r.group < p.least) {
			continue
		}
		for r.slot >= len(slots) {
			slots = append(slots, slotSum{})
		}
		s := &slots[r.slot]
		totals[r.pod] += t.n
		fresh[r.pod] = r.fresh
		if r.fresh {
			s.fresh[r.group].add(t.n, t.x)
			s.sq[r.group] += t.n * t.n
			continue
		}
		s.old.add(t.n, t.x)
		s.oldSq += t.n * t.n
	}
	var size sizes
	for pod, n := range totals {
		if fresh[pod] {
			size.fresh += n
			size.freshSquares += n * n
			continue
		}
		size.old += n
		size.oldSquares += n * n
	}
	return slots, size
}

// fill adds one slot to a cell. Old pods are shared out among the age groups in proportion to traffic, so
// that no old event is used twice.
func (l *Ledger) fill(c *cell, m Metric, s *slotSum, g int, model *Model) {
	f := s.fresh[g]
	if c.after {
		c.size += f.n
		c.x += f.x
		c.spread += f.n / effective(f.n, s.sq[g])
		return // What the old pods were comes in once, in the end.
	}
	old, oldPods := s.old, effective(s.old.n, s.oldSq)
	var fresh float64
	for i := range s.fresh {
		fresh += s.fresh[i].n
	}
	share := f.n / fresh
	if old.n <= 0 {
		return
	}
	old.n *= share
	old.x *= share
	c.size += f.n
	c.spread += f.n * (1/effective(f.n, s.sq[g]) + 1/(oldPods*share))
	if c.counts {
		c.x += f.x
	}
	c.compare(m, f, old)
}

// compare adds what new pods did, and old ones.
func (c *cell) compare(m Metric, f, old tally) {
	if c.counts {
		c.n += f.x + old.x
		c.expected += (f.x + old.x) * f.n / (f.n + old.n)
		return
	}
	w := f.n * old.n / (f.n + old.n)
	d := f.x/f.n - old.x/old.n
	if m == CPU {
		d = math.Log(f.x / f.n / (old.x / old.n))
	}
	if !math.IsNaN(d) && !math.IsInf(d, 0) {
		c.weight += w
		c.diff += w * d
	}
}

// comparePast compares what has no old pods beside it with what those were. The past is shared out among
// the ages: few events of old pods stay few, however long one looks at the new ones.
func (l *Ledger) comparePast(cells []cell, m Metric, model *Model) {
	var n float64
	for i := range cells {
		if cells[i].after {
			n += cells[i].size
		}
	}
	past := l.past(m, model, n)
	for i := range cells {
		c := &cells[i]
		if !c.after {
			continue
		}
		share := c.size / n
		if past.n*share <= 0 {
			c.size, c.x, c.spread = 0, 0, 0
			continue
		}
		c.compare(m, tally{c.size, c.x}, tally{past.n * share, past.x * share})
	}
}

// past returns what the old pods were like, at most as much as ten times the new pods' exposure.
func (l *Ledger) past(m Metric, model *Model, n float64) tally {
	t := l.before[m]
	if m == Errors && t.n < 1 {
		t = model.s.Rate.tally()
	}
	if t.n <= 0 {
		return tally{}
	}
	f := math.Min(1, 10*n/t.n)
	return tally{t.n * f, t.x * f}
}

// leastEvents is how many events of old pods make a comparison; below, the long-run rate helps out.
const leastEvents = 10

// finish turns sums into likelihoods: chance from the counts, and what pods wander, which more
// traffic does not lessen. All cells of a block share one wandering.
func (l *Ledger) finish(cells []cell, m Metric, model *Model, nz noise, clusters float64) {
	if m.counts() {
		l.support(cells, m, model, leastEvents/math.Max(clusters, 1))
	}
	e := model.expect(m)
	for i := range cells {
		c := &cells[i]
		if c.size <= 0 {
			continue
		}
		extra := nz.wander * c.spread / c.size
		if c.after {
			extra += e.drift
		}
		extra /= c.time
		if sd := e.warm[c.group].sd; sd > 0 {
			extra += 0.16 * sd * sd // Ages do not follow the amplitude to the letter; and nodes stand apart.
		}
		c.conclude(l.chance(m, c), extra)
	}
}

// chance returns the variance of a cell's log-ratio by chance alone.
func (l *Ledger) chance(m Metric, c *cell) float64 {
	switch {
	case m.counts():
		p := c.expected / c.n
		return 1 / (c.n * p * (1 - p))
	case m == Latency:
		return math.Max(l.scale.variance, 0.05) / c.weight
	}
	return 1 / c.weight
}

func (c *cell) conclude(chance, extra float64) {
	if c.counts {
		if c.n > 0 && c.expected > 0 && c.expected < c.n {
			c.rho = c.expected / (c.n - c.expected)
			c.temper, c.extra = chance/(chance+extra), extra
			if c.after {
				c.temper = math.Max(c.temper, c.gauged(extra))
			}
		}
		return
	}
	if c.weight > 0 {
		c.mean, c.variance = c.diff/c.weight, chance+extra
	}
}

// gauged returns the exponent with which a likelihood speaks against no change as loudly as a Gaussian of the
// log-ratio would. Where many new events face none of the past, the chance under the null says too little: it is
// as if drift could make a hundred of nothing.
func (c *cell) gauged(extra float64) float64 {
	a, b := c.x+0.5, c.n-c.x+0.5
	theta := math.Log(a / b / c.rho)
	if theta <= 0 {
		return 0
	}
	likely := func(theta float64) float64 { return c.x*theta - c.n*math.Log1p(c.rho*math.Exp(theta)) }
	drop := likely(theta) - likely(0)
	if drop <= 0 {
		return 0
	}
	return math.Min(theta*theta/(2*(1/a+1/b+extra))/drop, 1)
}

// support adds pseudo-counts at the long-run rate where old pods have had too few events beside the new ones.
func (l *Ledger) support(cells []cell, m Metric, model *Model, least float64) {
	var old, size, used float64
	for i := range cells {
		c := &cells[i]
		old += c.n - c.x
		size += c.size
		if c.after {
			used += c.n - c.x // The long run has spoken for these already.
		}
	}
	long := l.before[m]
	if m == Errors {
		long.merge(model.s.Rate.tally())
	}
	if old >= least || long.n <= 0 || size <= 0 {
		return
	}
	rate := (long.x + 0.5) / long.n
	events := math.Min(least-old, math.Max(long.x-used, 0)+0.5)
	for i := range cells {
		c := &cells[i]
		if c.size <= 0 {
			continue
		}
		// The exposure that the old side has, from the odds so far, and what the long run adds to it.
		share := events * c.size / size
		exposure := share / rate
		if c.n > 0 && c.expected > 0 {
			exposure += c.size * (c.n - c.expected) / c.expected
		}
		c.n += share
		c.expected = c.n * c.size / (c.size + exposure)
	}
}

// estimate returns the cell's log-ratio and its variance.
func (c *cell) estimate() (mean, variance float64) {
	if !c.counts {
		return c.mean, c.variance
	}
	if c.rho <= 0 {
		return 0, 0
	}
	a, b := c.x+0.5, c.n-c.x+0.5
	return math.Log(a / b / c.rho), 1/a + 1/b + c.extra
}
