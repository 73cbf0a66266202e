package detector

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"tocsin/detector/budget"
)

// budgetVersion is that of the part of a snapshot that this file writes. A snapshot without it, or
// with another one, is read all the same: its budget starts afresh.
const budgetVersion = 1

// budgetImage is the budget of a snapshot.
type budgetImage struct {
	per               Per
	began, from, next time.Time
	ticks             int
	ledger            *budget.Ledger
}

// encode appends the version, the length, and what belongs to the budget of c: also of its columns
// and findings, in their order.
func (p *spending) encode(c *cluster, w *writer) {
	if p.ledger == nil {
		return
	}
	w.u32(budgetVersion)
	at := len(w.b)
	w.u32(0) // Length, when it is known.
	w.text(string(p.per))
	w.time(p.began)
	w.time(p.from)
	w.time(p.next)
	w.u32(uint32(p.ticks))
	w.text(string(p.ledger.AppendState(nil)))
	for _, col := range c.order {
		w.u32(uint32(len(col.hot)))
		for i := range col.hot {
			w.u32(uint32(col.hot[i].slot))
			for _, score := range col.hot[i].scores {
				w.u32(math.Float32bits(score))
			}
			col.hot[i].encode(w)
		}
		for _, f := range slices.Concat(col.open, col.settling) {
			w.f64(f.Threshold)
		}
	}
	binary.LittleEndian.PutUint32(w.b[at:], uint32(len(w.b)-at-4))
}

// budget reads what encode wrote, if it is there.
func (r *reader) budget(m *image) {
	if r.err != nil || len(r.b) == 0 {
		return
	}
	version := r.u32()
	part := reader{b: r.bytes(r.count(1)), err: r.err}
	if version != budgetVersion {
		return
	}
	b := &budgetImage{per: Per(part.text()), began: part.time(), from: part.time(), next: part.time()}
	b.ticks = int(int32(part.u32()))
	ledger, err := budget.Restore(budget.Params{}, part.bytes(part.count(1)))
	if err != nil {
		part.fail("%v", err)
	}
	b.ledger = ledger
	for i := range m.columns {
		part.hot(&m.columns[i])
	}
	if part.err == nil && (len(part.b) > 0 || b.ticks < 0) {
		part.fail("budget: %d bytes too many, or fewer than no ticks", len(part.b))
	}
	m.budget, r.err = b, part.err
}

// hot reads the hot series and the thresholds of one column.
func (r *reader) hot(c *columnImage) {
	c.hot = make([]hot, 0, min(r.peekCount(), 256))
	last := -1
	for range r.count(80) {
		h := hot{slot: int(r.u32())}
		for i := range h.scores {
			h.scores[i] = math.Float32frombits(r.u32())
			if !(h.scores[i] >= 0) {
				r.fail("a score below 0")
			}
		}
		h.watch = r.watch()
		if h.slot <= last || h.slot >= len(c.slots) {
			r.fail("hot series out of order")
		}
		last = h.slot
		c.hot = append(c.hot, h)
	}
	for _, f := range c.findings {
		if f.Threshold = r.f64(); !(f.Threshold >= 0) {
			r.fail("a finding without a threshold")
		}
	}
}

// restore takes up the budget of a snapshot.
func (p *spending) restore(c *cluster, b *budgetImage) {
	if b == nil || b.per != c.shard.budget.Per {
		return
	}
	p.ledger, p.per = b.ledger, b.per
	p.ledger.SetParams(c.params())
	p.began, p.from, p.next, p.ticks = b.began, b.from, b.next, b.ticks
	if p.per != PerService {
		p.ledger.Publish(c.shard.engine.exchange, c.name)
	}
	c.shard.metrics.showBudget(c)
}

func (w *watch) encode(out *writer) {
	out.u32(math.Float32bits(w.peak))
	out.u32(math.Float32bits(w.lasts))
	out.u32(w.left)
	out.f64(w.center)
	out.f64(w.low)
	out.f64(w.high)
	out.f64(w.size)
}

func (r *reader) watch() watch {
	w := watch{
		peak: math.Float32frombits(r.u32()), lasts: math.Float32frombits(r.u32()), left: r.u32(),
		center: r.f64(), low: r.f64(), high: r.f64(), size: r.f64(),
	}
	if !(w.peak >= 0) || !(w.lasts >= 0) || math.IsNaN(w.center+w.low+w.high+w.size) || w.left > watchTicks {
		r.fail("a watch over nothing")
	}
	return w
}
