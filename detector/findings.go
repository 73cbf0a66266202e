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
	worseBy     = 3   // By how much the score must exceed the one last reported to be reported again,
	worseTimes  = 2   // or the deviation, if that is what is followed.
	worseAtMost = 5   // Reports for being worse in the life of a finding.
	absorbTicks = 120 // Ticks that a new level needs to be known.
	settleTime  = 60  // Ticks after a finding in which its end is no news.
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
	told     float64 // The score last reported; of one that is bounded the deviation.
	worsened int     // Reports for being worse.

	bounded  bool // It began with a value outside the bounds of then, which are kept.
	settling int  // Ticks for which a finding that has resolved keeps a new one away.

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
	col.settle()
}

// settle takes the resolved findings from the open ones, and ends those that have kept new ones away
// for long enough, or whose series has left the bounds again.
func (col *column) settle() {
	for _, f := range col.settling {
		if v := col.observed[f.slot]; f.bounded && col.ticked() && f.outside(v) {
			f.settling = 0
		} else {
			f.settling--
		}
	}
	for _, f := range col.open {
		if f.State == Resolved {
			col.settling = append(col.settling, f)
		}
	}
	col.open = slices.DeleteFunc(col.open, func(f *openFinding) bool { return f.State == Resolved })
	col.settling = slices.DeleteFunc(col.settling, func(f *openFinding) bool { return f.settling <= 0 })
}

// ticked tells whether there was a tick at the instant at hand.
func (col *column) ticked() bool {
	return col.taken > 0 && col.model.At().Equal(col.cluster.at)
}

// search looks for series that have become improbable, and counts what findings would cost.
func (col *column) search() {
	t := &col.cluster.shard.engine.opts.Tuning
	least := float32(min(t.OpenScore, watchFrom))
	was, next := col.hot, col.cooler[:0]
	for slot := range col.refs {
		recent := col.recent[slot]
		score := col.result.Score[slot/kernel.Width][slot%kernel.Width]
		h := hot{slot: slot}
		for len(was) > 0 && was[0].slot <= slot {
			if was[0].slot == slot {
				h = was[0]
			}
			was = was[1:]
		}
		if recent == 0 && h.peak == 0 && !(score >= least) {
			continue
		}
		if score == score {
			recent = col.weigh(&h, score)
			col.recent[slot] = recent
		}
		if recent != 0 || h.peak > 0 {
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
	if score < float32(min(t.OpenScore, watchFrom)) || !col.matters(h.slot) {
		score = 0
	}
	i, l, r := h.slot/kernel.Width, h.slot%kernel.Width, &col.result
	v := col.observed[h.slot]
	score = h.see(score, v, float64(r.Expected[i][l]), float64(r.Lower[i][l]), float64(r.Upper[i][l]))
	if h.peak > 0 && !col.effect(v, h.center) || !col.volume(h.slot) {
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
			col.hot[i].scores, col.hot[i].watch = [8]float32{}, watch{}
		}
	}
}

// matters tells whether what slot deviates by is worth a finding.
func (col *column) matters(slot int) bool {
	expected := float64(col.result.Expected[slot/kernel.Width][slot%kernel.Width])
	return col.effect(col.observed[slot], expected) && col.volume(slot)
}

// effect tells whether a deviation is as large as the signal asks for, in both of its units.
func (col *column) effect(v, expected float64) bool {
	s := col.signal
	by := math.Abs(v - expected)
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

// finding tells whether slot has a finding that is open or settling.
func (col *column) finding(slot int) bool {
	of := func(f *openFinding) bool { return f.slot == slot }
	return slices.ContainsFunc(col.open, of) || slices.ContainsFunc(col.settling, of)
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
	if f.bounded = h.peak > 0; f.bounded {
		f.Expected, f.Lower, f.Upper = h.center, h.low, h.high
	}
	f.look(col)
	f.Score = max(f.Score, float64(h.scores[0]))
	f.Peak = f.Score
	f.told = f.size()
	col.open = append(col.open, f)
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
	if !f.bounded {
		f.Expected = float64(r.Expected[i][l])
		f.Lower, f.Upper = float64(r.Lower[i][l]), float64(r.Upper[i][l])
	}
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
	v := col.observed[f.slot]
	if v != v {
		return
	}
	t := &col.cluster.shard.engine.opts.Tuning
	before, harmful := f.Finding, f.Harmful
	f.look(col)
	f.ticks++
	loud := f.Score >= max(t.CloseScore, f.Threshold/2) && col.matters(f.slot)
	if f.bounded {
		loud = f.outside(v)
	}
	if !loud {
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
	case f.silent && !col.cluster.history && f.quiet == 0 && (f.bounded || f.Score >= f.Threshold):
		f.silent, f.told = false, f.size()
		f.report(col, opened)
	case f.quiet == 0 && f.worsened < worseAtMost && (f.worse() || f.Harmful && !harmful):
		f.worsened++
		f.told = max(f.told, f.size())
		f.report(col, worsened)
	}
}

// outside tells whether a value is as abnormal as when f began. The model gets used to what lasts, so
// that neither its score nor its bounds say any more whether things are as they were: the bounds of
// then do. A finding without them, like one of noise that has grown, ends with its score.
func (f *openFinding) outside(v float64) bool { return v < f.Lower || v > f.Upper }

// size returns what must grow for f to be reported as worse.
func (f *openFinding) size() float64 {
	if f.bounded {
		return math.Abs(f.Observed - f.Expected)
	}
	return f.Score
}

// worse tells whether f has grown enough since it was last reported to be reported again.
func (f *openFinding) worse() bool {
	if f.bounded {
		return f.size() >= worseTimes*f.told
	}
	return f.Score >= f.told+worseBy
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
	if r == backToNormal {
		f.settling = settleTime
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
