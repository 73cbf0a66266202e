package promql

import (
	"math"
	"slices"
)

// latencies gives the records of a target their latencies, all with the same bounds. Buckets are
// taken where there are any; native histograms stand in where there are none.
func (g *podGather) latencies(records []podRecord, q *podQuery, target int32) {
	if q == nil {
		return
	}
	lines := make([]*podLine, len(g.of[target]))
	native := false
	for i, id := range g.of[target] {
		lines[i] = g.line(q, id)
		native = native || lines[i].native != nil
	}
	bounds := commonBounds(lines)
	switch {
	case len(bounds) > 1:
		g.classic(records, lines, bounds, q)
	case native:
		for i, line := range lines {
			if line.native != nil {
				records[i].sample.Bounds, records[i].latency = q.grid.bounds, line.native
				scale(line.native, records[i].scale)
			}
		}
	}
}

// commonBounds returns the bounds that all pods with buckets have, ascending. Counts up to them
// stay what they are if the others are left out: a release that changes buckets can be compared.
// It returns none if the last is not +Inf, without which it is not known how many there are.
func commonBounds(lines []*podLine) []float64 {
	count, have := make(map[float64]int), 0
	for _, line := range lines {
		if len(line.buckets) == 0 {
			continue
		}
		have++
		for _, b := range line.buckets {
			count[b.upper]++
		}
	}
	var out []float64
	for upper, n := range count {
		if n == have {
			out = append(out, upper)
		}
	}
	slices.Sort(out)
	if len(out) == 0 || !math.IsInf(out[len(out)-1], 1) {
		return nil
	}
	return out
}

// classic turns buckets, which are rows of instants, into instants of buckets.
func (g *podGather) classic(records []podRecord, lines []*podLine, bounds []float64, q *podQuery) {
	shown := make([]float64, len(bounds))
	for k, upper := range bounds {
		shown[k] = upper * q.Unit.Seconds()
	}
	for i, line := range lines {
		if len(line.buckets) == 0 {
			continue
		}
		out := make([]float64, g.span.steps*len(bounds))
		for _, b := range line.buckets {
			k, ok := slices.BinarySearch(bounds, b.upper)
			if !ok {
				continue
			}
			for step, v := range b.values {
				out[step*len(bounds)+k] = v
			}
		}
		scale(out, records[i].scale)
		records[i].sample.Bounds, records[i].latency = shown, out
	}
}

func scale(values []float64, by float64) {
	if by == 1 {
		return
	}
	for i := range values {
		values[i] *= by
	}
}
