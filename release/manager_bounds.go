package release

import (
	"math"
	"slices"
)

// What buckets must be like.
const (
	leastBounds = 4
	mostBounds  = 200
	mostRefills = 4 // How often a release may begin anew because its buckets changed.
)

// project returns the latency of a sample in the release's own buckets. Revisions may have
// different ones: the release is then judged by those that they have in common, from its beginning.
func (d *dossier) project(s *Sample) (buckets []float64, why string) {
	if len(s.Latency) == 0 {
		return nil, ""
	}
	if !sound(s.Bounds, s.Latency) {
		return nil, dropBounds
	}
	if slices.Equal(s.Bounds, d.bounds) {
		return s.Latency, ""
	}
	if d.bounds == nil {
		d.bounds = slices.Clone(s.Bounds)
		d.again = d.trial != nil // What was taken in without buckets is asked for again.
		return s.Latency, ""
	}
	common := intersection(d.bounds, s.Bounds)
	if len(common) < leastBounds || len(common) < len(d.bounds) && d.refills >= mostRefills {
		return nil, dropBounds
	}
	if len(common) < len(d.bounds) {
		d.bounds, d.again = common, true
	}
	out := make([]float64, 0, len(common))
	for i, b := range s.Bounds {
		if len(out) < len(common) && b == common[len(out)] {
			out = append(out, s.Latency[i])
		}
	}
	return out, ""
}

// sound reports whether bounds ascend to +Inf and there is a count for each.
func sound(bounds, counts []float64) bool {
	n := len(bounds)
	if n < 2 || n > mostBounds || len(counts) != n || !math.IsInf(bounds[n-1], 1) {
		return false
	}
	for i := 1; i < n; i++ {
		if !(bounds[i] > bounds[i-1]) {
			return false
		}
	}
	return true
}

// intersection returns what two ascending lists have in common.
func intersection(a, b []float64) []float64 {
	var out []float64
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			out = append(out, a[i])
			i++
			j++
		}
	}
	return out
}
