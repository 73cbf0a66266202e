package detector

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"tocsin/detector/kernel"
)

// reason says why a finding resolved.
type reason string

const (
	backToNormal   reason = "back to normal"
	newLevel       reason = "new level"
	seriesEnded    reason = "series ended"
	signalRemoved  reason = "signal removed"
	clusterRemoved reason = "cluster removed"
)

const (
	worseBy     = 3   // By how much the score must exceed the one last reported to be reported again.
	worseAtMost = 5   // Reports for being worse in the life of a finding.
	absorbTicks = 120 // Ticks that a new level needs to be known.
	growth      = 1.2 // A deviation that exceeds the furthest so far by this factor still grows.
)

// openFinding is a finding that has not resolved. One that opened in history is silent: it keeps
// the model from learning an outage, and nobody is told of it unless it is still there when
// history ends.
type openFinding struct {
	Finding
	silent   bool
	slot     int
	quiet    int     // Consecutive ticks below the closing score.
	ticks    int     // Since it opened.
	told     float64 // The score last reported.
	worsened int     // Reports for being worse.

	furthest float64   // The deviation from what was expected, when it last grew,
	grew     time.Time // and when that was.
}

// judge opens and closes findings after the tick of an instant.
func (col *column) judge() {
	if col.ticked() {
		for _, f := range col.open {
			f.follow(col)
			if !f.silent && f.State == Open {
				f.spend(col, worsened)
			}
		}
		col.search()
	}
	col.expire()
	col.open = slices.DeleteFunc(col.open, func(f *openFinding) bool { return f.State == Resolved })
}

// ticked tells whether there was a tick at the instant at hand.
func (col *column) ticked() bool {
	return col.taken > 0 && col.model.At().Equal(col.cluster.at)
}

// search looks for series that have become improbable, and counts what findings would cost.
func (col *column) search() {
	t := &col.cluster.shard.engine.opts.Tuning
	least := float32(t.OpenScore)
	was, next := col.hot, col.cooler[:0]
	for slot := range col.refs {
		recent := col.recent[slot]
		score := col.result.Score[slot/kernel.Width][slot%kernel.Width]
		if recent == 0 && !(score >= least) {
			continue
		}
		h := hot{slot: slot}
		for len(was) > 0 && was[0].slot <= slot {
			if was[0].slot == slot {
				h = was[0]
			}
			was = was[1:]
		}
		if score == score {
			recent = col.weigh(&h, score)
			col.recent[slot] = recent
		}
		if recent != 0 {
			next = append(next, h)
		}
	}
	col.hot, col.cooler = next, col.hot
}

// weigh takes a score of a hot series, counts it towards the budget, and opens a finding when
// there were enough of them. It returns which of the newest scores were improbable.
func (col *column) weigh(h *hot, score float32) uint8 {
	c := col.cluster
	t := &c.shard.engine.opts.Tuning
	if float64(score) < t.OpenScore || !col.matters(h.slot) {
		score = 0
	}
	h.push(score)
	recent := h.above(t.OpenScore, t.OpenOf)
	opens := h.opens(t)
	if opens == 0 {
		return recent
	}
	threshold, offset := col.threshold(h.slot)
	c.spending.ledger.Observe(c.spending.unit(c, col.service[h.slot]), opens-offset, c.at)
	if opens >= threshold && float64(score) >= threshold && !col.finding(h.slot) {
		col.begin(h, threshold)
	}
	return recent
}

// cool forgets what made slot hot.
func (col *column) cool(slot int) {
	col.recent[slot] = 0
	for i := range col.hot {
		if col.hot[i].slot == slot {
			col.hot[i].scores = [8]float32{}
		}
	}
}

// matters tells whether what slot deviates by is worth a finding.
func (col *column) matters(slot int) bool {
	return col.effect(slot) && col.volume(slot)
}

// effect tells whether the deviation is as large as the signal asks for, in both of its units.
func (col *column) effect(slot int) bool {
	s := col.signal
	expected := float64(col.result.Expected[slot/kernel.Width][slot%kernel.Width])
	by := math.Abs(col.observed[slot] - expected)
	return by >= s.MinEffect && by >= s.MinEffectRelative*math.Abs(expected)
}

// volume tells whether there was enough to measure. Where nobody measures the volume of a service
// it cannot be asked for; where it is measured, but not now, there is no telling, and so no
// finding.
func (col *column) volume(slot int) bool {
	s := col.signal
	if s.Volume == "" || s.MinVolume == 0 {
		return true
	}
	volume, n := col.cluster.columns[s.Volume], col.service[slot]
	if volume == nil || int(n) >= len(volume.slotOf) || volume.slotOf[n] == 0 {
		return true
	}
	return volume.now(n, col.cluster.at) >= s.MinVolume
}

// finding tells whether slot has an open finding.
func (col *column) finding(slot int) bool {
	return slices.ContainsFunc(col.open, func(f *openFinding) bool { return f.slot == slot })
}

// begin opens a finding.
func (col *column) begin(h *hot, threshold float64) {
	slot, of := h.slot, col.cluster.shard.engine.opts.Tuning.OpenOf
	first := min(bits.Len8(h.above(threshold, of))-1, len(col.cluster.recent)-1)
	f := &openFinding{slot: slot, silent: col.cluster.history}
	f.Threshold = threshold
	f.Service = col.cluster.names[col.service[slot]]
	f.Signal, f.Unit, f.Kind = col.signal.Name, col.signal.Unit, col.signal.Kind
	f.State = Open
	f.Start = col.cluster.recent[first]
	f.ID = findingID(&f.Finding)
	f.look(col)
	f.Peak = f.Score
	f.told = f.Score
	col.open = append(col.open, f)
	col.model.Hold(slot)
	f.report(col, opened)
}

// report tells of what happened to a finding.
func (f *openFinding) report(col *column, event findingEvent) {
	if f.silent {
		return
	}
	s := col.cluster.shard
	s.metrics.findings[event].Inc()
	f.spend(col, event)
	switch event {
	case opened:
		s.metrics.open.Inc()
	case resolved:
		s.metrics.open.Dec()
	}
	s.reports = append(s.reports, f.Finding)
}

// spend says who pays for a finding that people know of.
func (f *openFinding) spend(col *column, event findingEvent) {
	if p := &col.cluster.spending; p.ledger != nil && event != resolved {
		unit := p.unit(col.cluster, col.service[f.slot])
		p.ledger.Sent(unit, col.cluster.at, event == opened)
	}
}

func findingID(f *Finding) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%q %q %d", f.Service.String(), f.Signal, f.Start.UnixNano()))
	return hex.EncodeToString(h[:10])
}

// look takes the values of the instant at hand.
func (f *openFinding) look(col *column) {
	i, l := f.slot/kernel.Width, f.slot%kernel.Width
	r := &col.result
	f.At = col.cluster.at
	f.Score = float64(r.Score[i][l])
	f.Peak = max(f.Peak, f.Score)
	f.Observed = col.observed[f.slot]
	f.Expected = float64(r.Expected[i][l])
	f.Lower, f.Upper = float64(r.Lower[i][l]), float64(r.Upper[i][l])
	f.Direction = Up
	if f.Observed < f.Expected {
		f.Direction = Down
	}
	f.Harmful = col.signal.Bad == Both || col.signal.Bad == f.Direction
	if by := math.Abs(f.Observed - f.Expected); by > growth*f.furthest {
		f.furthest, f.grew = by, f.At
	}
}

// follow brings a finding up to date with the tick.
func (f *openFinding) follow(col *column) {
	if col.observed[f.slot] != col.observed[f.slot] {
		return
	}
	t := &col.cluster.shard.engine.opts.Tuning
	before, harmful := f.Finding, f.Harmful
	f.look(col)
	f.ticks++
	if f.Score < max(t.CloseScore, f.Threshold/2) || !col.matters(f.slot) {
		f.quiet++
		f.Direction, f.Harmful = before.Direction, before.Harmful
	} else {
		f.quiet = 0
	}
	switch {
	case f.quiet >= t.CloseAfter:
		f.resolve(col, backToNormal)
	case f.quiet == 0 && f.stays(t.AbsorbAfter):
		f.resolve(col, newLevel)
	case f.silent && !col.cluster.history && f.Score >= f.Threshold && f.quiet == 0:
		f.silent, f.told = false, f.Score
		f.report(col, opened)
	case f.quiet == 0 && f.worsened < worseAtMost &&
		(f.Score >= f.told+worseBy || f.Harmful != harmful):
		f.worsened++
		f.told = max(f.told, f.Score)
		f.report(col, worsened)
	}
}

// stays tells whether the deviation is to be the new normal: it has lasted, and it does not grow
// any more.
func (f *openFinding) stays(after time.Duration) bool {
	return f.ticks >= absorbTicks && f.At.Sub(f.Start) >= after && f.At.Sub(f.grew) >= after/2
}

// resolve ends a finding. The caller takes it out of its column.
func (f *openFinding) resolve(col *column, r reason) {
	f.State = Resolved
	f.Reason = string(r)
	f.End = col.cluster.closed
	f.At = col.cluster.closed
	if r == newLevel {
		col.model.Absorb(f.slot)
	} else {
		col.model.Release(f.slot)
	}
	col.cool(f.slot)
	f.report(col, resolved)
}

// expire ends the findings of series that have fallen silent.
func (col *column) expire() {
	if len(col.open) == 0 {
		return
	}
	patience := max(col.cluster.shard.engine.opts.Tuning.StaleAfter, 5*col.cluster.step)
	for _, f := range col.open {
		if f.State == Open && col.cluster.at.Sub(time.Unix(0, col.seen[f.slot])) >= patience {
			f.resolve(col, seriesEnded)
		}
	}
}
