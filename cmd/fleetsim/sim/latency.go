package sim

import "math"

// Latencies are counted in the buckets of a native histogram of schema 3 (eight for each power of
// two), from four powers of two below a service's median to eight above it. Classic buckets, and
// native ones in another unit, are cut from these when they are served.
const (
	schema        = 3
	cellsPerPower = 1 << schema
	cellsBelow    = 4 * cellsPerPower
	numCells      = 12 * cellsPerPower
)

// latency is the shape of a service's latencies: most are near the median, some belong to a slow
// tail.
type latency struct {
	median float64 // In seconds.
	spread float64 // Standard deviation in powers of two.
	slow   float64 // Share of requests in the tail.
	tail   float64 // How much slower those are.
}

// first is the index of the native bucket that is the lowest cell: cell i holds what is above
// 2^((first+i-1)/8) and at most 2^((first+i)/8).
func (l *latency) first() int {
	return int(math.Round(cellsPerPower*math.Log2(l.median))) - cellsBelow
}

// cellOf returns the cell of a number of eighths of powers of two above the lower end of cell 0.
func cellOf(position float64) int {
	return max(0, min(numCells-1, int(math.Floor(position))))
}

// position says how many cells above the lower end of cell 0 that many seconds lie.
func position(first int, seconds float64) float64 {
	return cellsPerPower*math.Log2(seconds) - float64(first-1)
}

// observe counts n requests, whose median is slower by a factor and whose tail by another.
func (l *latency) observe(r *stream, n uint64, factor, tail float64, h *histogram) {
	first := l.first()
	middle := position(first, l.median*factor)
	shift := cellsPerPower * math.Log2(l.tail*tail)
	width := cellsPerPower * l.spread
	if n > 2*few {
		slow := r.binomial(n, l.slow)
		h.deal(r, n-slow, first, middle, width)
		h.deal(r, slow, first, middle+shift, width)
		return
	}
	for range n {
		x := middle + width*r.normal()
		if r.uniform() < l.slow {
			x += shift
		}
		h.cells[cellOf(x)].add(1)
		h.add(seconds(first, x))
	}
}

// deal deals n requests out to the cells, one after the other, by the normal distribution around
// middle.
func (h *histogram) deal(r *stream, n uint64, first int, middle, width float64) {
	rest := 1.0 // Probability of the cells not yet dealt to.
	for c := cellOf(middle - 4*width); n > 0; c++ {
		above := math.Erfc((float64(c+1)-middle)/(width*math.Sqrt2)) / 2
		k := n
		if c < numCells-1 && above > 1e-9 {
			k = r.binomial(n, (rest-above)/rest)
		}
		h.cells[c].add(k)
		h.add(float64(k) * seconds(first, float64(c)+0.5))
		n -= k
		rest = above
	}
}

// seconds is the inverse of position.
func seconds(first int, position float64) float64 {
	return math.Exp2((position + float64(first-1)) / cellsPerPower)
}

// counter is a total and how much of it the last step added: in the middle of a step a part is
// served.
type counter struct {
	total uint64
	step  uint64
}

func (c *counter) add(n uint64) { c.total += n; c.step += n }

// served returns the total when that share of the last step has yet to happen. It never falls with
// time.
func (c *counter) served(left float64) uint64 {
	return c.total - uint64(math.Ceil(float64(c.step)*left))
}

// cell is a counter in less room, for a pod has many: it is full after a year of 100 requests a
// second.
type cell struct{ total, step uint32 }

func (c *cell) add(n uint64) { c.total += uint32(n); c.step += uint32(n) }

func (c *cell) served(left float64) uint64 {
	return uint64(c.total) - uint64(math.Ceil(float64(c.step)*left))
}

// histogram counts latencies.
type histogram struct {
	cells     []cell
	sum, step float64
}

func newHistogram() histogram { return histogram{cells: make([]cell, numCells)} }

func (h *histogram) reset() {
	clear(h.cells)
	h.sum, h.step = 0, 0
}

func (h *histogram) forgetStep() {
	for i := range h.cells {
		h.cells[i].step = 0
	}
	h.step = 0
}

func (h *histogram) add(seconds float64) {
	h.sum += seconds
	h.step += seconds
}

// distribution is what a histogram serves: how many requests were in or below each cell.
type distribution struct {
	first int
	below [numCells + 1]uint64 // below[i] is how many are in cells before i.
	sum   float64
}

// fill makes d what the histograms together are when that share of the last step has yet to happen.
func (d *distribution) fill(first int, left float64, histograms ...*histogram) {
	d.first, d.sum = first, 0
	clear(d.below[:])
	for _, h := range histograms {
		d.sum += h.sum - h.step*left
		n := uint64(0)
		for i := range h.cells {
			d.below[i] += n
			n += h.cells[i].served(left)
		}
		d.below[numCells] += n
	}
}

func (d *distribution) count() uint64 { return d.below[numCells] }

// cumulative returns how many requests were at most at that position. Within a cell they are spread
// evenly. It never falls with time nor with position.
func (d *distribution) cumulative(position float64) uint64 {
	if position <= 0 {
		return 0
	}
	if position >= numCells {
		return d.count()
	}
	c := int(position)
	inside := float64(d.below[c+1] - d.below[c])
	return d.below[c] + uint64((position-float64(c))*inside)
}
