package promql

import (
	"math"

	"tocsin/series"
)

// drop says why a sample was not taken.
type drop uint8

// The reasons. Kept stands for none.
const (
	kept        drop = iota
	infinite         // Neither a number nor nothing.
	duplicate        // Another label set of the answer stands for the same service.
	unmapped         // No label of the series names a service.
	seriesLimit      // The cluster has as many series as it may have.
	histogram        // A native histogram is no number.
	misaligned       // Of an instant that was not asked for.
	untargeted       // Of a pod that nobody asked for.
	dropReasons      // How many there are.
)

func (d drop) String() string {
	return [...]string{
		"kept", "infinite", "duplicate", "unmapped", "series_limit", "histogram", "misaligned",
		"untargeted",
	}[d]
}

// absent marks the instants of a series that an answer said nothing about. It is a NaN of its
// own, unlike the NaN that a source answers: that one means that there is nothing to know,
// and must not become a zero beside live traffic.
var absent = math.Float64frombits(0x7ff8_0000_0000_0a05)

func isAbsent(x float64) bool { return math.Float64bits(x) == math.Float64bits(absent) }

// answer holds what a source answered to one query, a row for each service. It is used again
// for the next answer.
type answer struct {
	span
	refs []series.Ref
	data []float64 // By row and instant.

	maxData  int // More values than this are refused.
	series   int // In the answer, whatever they stand for.
	values   int // Taken.
	zeros    int // Of values: those that stand for a counter that does not exist.
	drops    [dropReasons]int
	bytes    int64    // Read of it.
	skew     int64    // By how many milliseconds the values are older than what was asked for.
	warnings []string // And infos, in the words of the source.
}

// reset makes a ready for the answer to s.
func (a *answer) reset(s span, maxData int) {
	*a = answer{
		span: s, refs: a.refs[:0], data: a.data[:0], maxData: maxData, warnings: a.warnings[:0],
	}
}

// row begins a row for ref and returns its index, or -1 if there is no room.
func (a *answer) row(ref series.Ref) int {
	if len(a.data)+a.steps > a.maxData {
		return -1
	}
	a.refs = append(a.refs, ref)
	for range a.steps {
		a.data = append(a.data, absent)
	}
	return len(a.refs) - 1
}

// cells returns the values of a row.
func (a *answer) cells(row int) []float64 {
	return a.data[row*a.steps : (row+1)*a.steps]
}

// take writes the points of a series into its row. A query at one instant that selects a
// range gives several: the newest counts.
func (a *answer) take(row int, points []point) {
	cells := a.cells(row)
	for _, p := range points {
		if i := a.place(p); i >= 0 {
			a.set(&cells[i], p.value)
		}
	}
}

// merge writes the points of another label set for a service that has a row: over what is
// there if it comes first, else where there is nothing.
func (a *answer) merge(row int, points []point, over bool) {
	cells := a.cells(row)
	for _, p := range points {
		i := a.place(p)
		if i < 0 {
			continue
		}
		free := isAbsent(cells[i])
		if !free {
			a.drops[duplicate]++
		}
		if free || over {
			a.set(&cells[i], p.value)
		}
	}
}

// place returns the index of the instant that a point is for, -1 if it was not asked for.
func (a *answer) place(p point) int {
	if a.steps == 1 {
		a.skew = a.from - p.at
		return 0
	}
	i, ok := a.index(p.at)
	if !ok {
		a.drops[misaligned]++
		return -1
	}
	return i
}

// set writes a value into a cell. What is not finite is known not to be known.
func (a *answer) set(cell *float64, v float64) {
	if math.IsInf(v, 0) {
		a.drops[infinite]++
		v = math.NaN()
	}
	if *cell == *cell {
		a.values--
	}
	if *cell = v; v == v {
		a.values++
	}
}

// batch fills b with what is known at the instant with index i. Its columns are those of a
// itself if they can be, else they are appended to scratch's.
func (a *answer) batch(b *series.Batch, i int, scratch *series.Batch) {
	b.At = a.at(i)
	if a.steps == 1 && a.values == len(a.refs) {
		b.Refs, b.Values = a.refs, a.data
		return
	}
	scratch.Refs, scratch.Values = scratch.Refs[:0], scratch.Values[:0]
	for row, ref := range a.refs {
		if v := a.data[row*a.steps+i]; v == v {
			scratch.Refs = append(scratch.Refs, ref)
			scratch.Values = append(scratch.Values, v)
		}
	}
	b.Refs, b.Values = scratch.Refs, scratch.Values
}
