package evidence

import "math"

// The 99th percentile is compared on the scale of latency: twice as slow is far outside of what harmless
// releases show, while the share of requests above any cut has hardly moved.
const (
	quantile      = 0.99
	leastQuantile = 300 // Requests on both sides of a cell.
)

// quantile returns the logarithm of a histogram's 99th percentile, and its variance by chance.
func (s *scale) quantile(buckets []float64) (value, variance float64, ok bool) {
	var n float64
	for _, c := range buckets {
		n += c
	}
	if n < leastQuantile {
		return 0, 0, false
	}
	above := (1 - quantile) * n
	for i := len(buckets) - 1; i >= 0; i-- {
		if above > buckets[i] {
			above -= buckets[i]
			continue
		}
		if i == len(buckets)-1 {
			return 0, 0, false // Beyond the last bound: no telling how far.
		}
		low, high := s.edge(i), s.edge(i+1)
		density := (buckets[i] + 1) / n / (high - low)
		return high - (high-low)*above/buckets[i], quantile * (1 - quantile) / (n * density * density), true
	}
	return 0, 0, false
}

// edge returns the logarithm of the lower bound of a bucket.
func (s *scale) edge(i int) float64 {
	if i == 0 {
		return s.logs[0] - math.Ln2/2
	}
	if i == 1 {
		return s.logs[0] + math.Ln2/2
	}
	return 2*s.logs[i-1] - s.edge(i-1)
}

// quantileCells builds the cells of the 99th percentile: histograms cannot be added up as sums can.
func (l *Ledger) quantileCells(model *Model, nz noise, p part) ([]cell, sizes) {
	_, size := l.slots(Latency, p)
	side := l.sides(p)
	var cells []cell
	for b := range side.fresh {
		for i, fresh := range side.fresh[b] {
			if fresh == nil {
				continue
			}
			c := cell{group: i % Groups, block: b, after: i >= Groups}
			old := side.old[b]
			if c.after {
				old = l.old
			}
			fv, fn, ok := l.scale.quantile(fresh)
			ov, on, oldOK := l.scale.quantile(old)
			if !ok || !oldOK {
				continue
			}
			for _, n := range fresh {
				c.size += n
			}
			c.spread = c.size * size.spread()
			c.weight = 1 / (fn + on)
			c.diff = c.weight * (fv - ov)
			cells = append(cells, c)
		}
	}
	divideBySize(cells)
	l.finish(cells, P99, model, nz, p.clusters)
	return cells, size
}

// divideBySize takes the share of requests for the share of time.
func divideBySize(cells []cell) {
	for i := range cells {
		var block float64
		for j := range cells {
			if cells[j].after == cells[i].after && (cells[i].after || cells[j].block == cells[i].block) {
				block += cells[j].size
			}
		}
		cells[i].time = cells[i].size / block
	}
}

// sides are the histograms of both sides by block; of new pods by age, and again for those
// that had no old pods beside them.
type sides struct {
	fresh [][2 * Groups][]float64
	old   [][]float64
}

func (l *Ledger) sides(p part) sides {
	var s sides
	var accompanied []bool // Slots with old pods.
	for i := range l.records {
		r := &l.records[i]
		for r.slot >= len(accompanied) {
			accompanied = append(accompanied, false)
		}
		if !r.fresh && len(r.buckets) > 0 && r.pod != p.pod {
			accompanied[r.slot] = true
		}
	}
	for i := range l.records {
		r := &l.records[i]
		if len(r.buckets) == 0 || r.pod == p.pod || (r.slot >= p.from && r.slot < p.to) || (r.fresh && r.group < p.least) {
			continue
		}
		b := r.slot / blockSlots
		for b >= len(s.fresh) {
			s.fresh = append(s.fresh, [2 * Groups][]float64{})
			s.old = append(s.old, nil)
		}
		to := &s.old[b]
		if r.fresh {
			g := r.group
			if !accompanied[r.slot] {
				g += Groups
			}
			to = &s.fresh[b][g]
		}
		if *to == nil {
			*to = make([]float64, len(r.buckets))
		}
		for k, c := range r.buckets {
			(*to)[k] += c
		}
	}
	return s
}
