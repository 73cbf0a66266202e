package evidence

import "math"

// WeighPool judges a ratio over several clusters that release the same image. Young pods take no part: clusters
// share the warm-up of an image, so that its errors would add up as if they were independent.
func (s *Scale) WeighPool(ls []*Ledger, m *Model, k Metric) Finding {
	f := Finding{Metric: k, Name: k.String()}
	cells, base := poolCells(ls, m, k, -1, -1)
	s.describe(&f, m, cells, 0, base)
	for _, l := range ls {
		f.Old += l.exposure(k)
	}
	f.LogE = s.logE(cells, m, k, 0)
	f.Whole = f.LogE
	if f.LogE < suspicion {
		return f
	}
	for i := range ls {
		if len(ls) > 1 {
			n := float64(len(ls))
			p := part{left: (n - 1) / n}
			cells, _ := poolCells(ls, m, k, i, -1)
			f.LogE = math.Min(f.LogE, p.due(s.logE(cells, m, k, 0), k, f.NewEvents))
		}
	}
	for third := range 3 {
		p := part{left: 2. / 3}
		cells, _ := poolCells(ls, m, k, -1, third)
		f.LogE = math.Min(f.LogE, p.due(s.logE(cells, m, k, 0), k, f.NewEvents))
	}
	return f
}

// poolCells returns the cells of all ledgers but one, without a third of the time of those pods, and
// the mean share of the old pods.
func poolCells(ls []*Ledger, m *Model, k Metric, without, third int) ([]cell, float64) {
	var out []cell
	var base float64
	for i, l := range ls {
		base += l.base(k, m) / float64(len(ls))
		if i == without {
			continue
		}
		p := all
		p.least, p.clusters = settling, float64(len(ls))
		if third >= 0 {
			first := int(ages[settling] / slotLength)
			slots := int(l.Elapsed()/slotLength) + 1 - first
			p.from, p.to = first+third*slots/3, first+(third+1)*slots/3
		}
		nz := l.noises(m)[k]
		cells, size := l.cells(k, m, nz, p)
		blunt(cells, nz.pod*size.spread())
		out = append(out, cells...)
	}
	return out, base
}

// blunt adds a variance that all cells of a cluster share.
func blunt(cells []cell, variance float64) {
	var total float64
	for i := range cells {
		total += cells[i].size
	}
	for i := range cells {
		c := &cells[i]
		if c.size <= 0 {
			continue
		}
		extra := variance * total / c.size
		if !c.counts {
			c.variance += extra
			continue
		}
		if c.rho <= 0 {
			continue
		}
		p := c.expected / c.n
		chance := 1 / (c.n * p * (1 - p))
		c.temper = chance / (chance/c.temper + extra)
		c.extra += extra
	}
}
