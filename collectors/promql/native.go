package promql

import (
	"math"
	"time"
)

// nativeRows are rows that have use for native histograms.
type nativeRows interface {
	addNative(a *answer, set int32, points []nativePoint, buckets []nativeBucket) error
}

// nativePoint is one native histogram as it stands in an answer.
type nativePoint struct {
	at       int64 // Unix milliseconds.
	count    float64
	from, to int // Its buckets.
}

// nativeBucket is one of its buckets. Where it begins is where another one ends.
type nativeBucket struct{ upper, count float64 }

// nativeSamples reads [[1700000000.5,{...}],...].
func (d *decoder) nativeSamples() {
	d.array(d.nativeSample)
}

// nativeSample reads [1700000000.5,{"count":"3","sum":"1.5","buckets":[[0,"0.5","1","3"]]}].
func (d *decoder) nativeSample() {
	d.expect('[')
	p := nativePoint{at: d.millis(), from: len(d.buckets)}
	d.expect(',')
	d.object(func(key string) {
		switch key {
		case "count":
			p.count = d.number()
		case "buckets":
			d.array(d.nativeBucket)
		default:
			d.skip()
		}
	})
	d.expect(']')
	p.to = len(d.buckets)
	if d.err == nil && d.roomFor(len(d.natives)) {
		d.natives = append(d.natives, p)
	}
}

// nativeBucket reads [0,"0.5","1","3"]: which ends belong to it, its ends, and its count.
func (d *decoder) nativeBucket() {
	var b nativeBucket
	d.expect('[')
	d.skip()
	d.expect(',')
	d.number()
	d.expect(',')
	b.upper = d.number()
	d.expect(',')
	b.count = d.number()
	d.expect(']')
	if d.err == nil && d.roomFor(len(d.buckets)) {
		d.buckets = append(d.buckets, b)
	}
}

// A native histogram changes its resolution when it has too many buckets, and new pods may have
// another than old ones. Buckets of all resolutions from nativePerPower to a power of two upwards
// end where those of this grid do, so what is added up in it can be compared at any time. Coarser
// ones are counted at their upper ends.
const (
	nativePerPower = 4
	nativePowers   = 19 // From a quarter of a millisecond to two minutes.
	nativeCells    = nativePerPower*nativePowers + 2
)

// nativeGrid is the grid for histograms of one unit.
type nativeGrid struct {
	first  int       // Of the first bound: the power of two, times nativePerPower.
	bounds []float64 // In seconds.
}

func newNativeGrid(unit time.Duration) nativeGrid {
	g := nativeGrid{first: -12 * nativePerPower}
	if unit == time.Millisecond {
		g.first = -2 * nativePerPower
	}
	for i := range nativeCells - 1 {
		upper := math.Exp2(float64(g.first+i) / nativePerPower)
		g.bounds = append(g.bounds, upper*unit.Seconds())
	}
	g.bounds = append(g.bounds, math.Inf(1))
	return g
}

// add adds a histogram to cells, which are cumulative.
func (g nativeGrid) add(cells []float64, count float64, buckets []nativeBucket) {
	var single [nativeCells]float64
	for _, b := range buckets {
		single[g.cell(b.upper)] += b.count
	}
	sum := 0.0
	for i, n := range single[:nativeCells-1] {
		sum += n
		cells[i] += sum
	}
	cells[nativeCells-1] += max(count, sum)
}

// cell returns the first cell that ends at upper or later. Ends of buckets are rounded.
func (g nativeGrid) cell(upper float64) int {
	if !(upper > 0) {
		return 0
	}
	i := math.Ceil(nativePerPower*math.Log2(upper)-1e-6) - float64(g.first)
	return int(min(max(i, 0), nativeCells-1))
}
