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

// search looks for series that have become improbable.
func (col *column) search() {
	t := &col.cluster.shard.engine.opts.Tuning
	threshold := float32(t.OpenScore)
	window := uint8(1<<t.OpenOf - 1)
	for slot := range col.refs {
		score := col.result.Score[slot/kernel.Width][slot%kernel.Width]
		if score != score {
			continue
		}
		recent := col.recent[slot] << 1
		if score >= threshold && col.matters(slot) {
			recent |= 1
			if bits.OnesCount8(recent&window) >= t.OpenAfter && !col.finding(slot) {
				col.begin(slot, recent&window)
			}
		}
		col.recent[slot] = recent
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

// begin opens a finding; recent says which of the newest ticks led to it.
func (col *column) begin(slot int, recent uint8) {
	first := min(bits.Len8(recent)-1, len(col.cluster.recent)-1)
	f := &openFinding{slot: slot, silent: col.cluster.history}
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
	switch event {
	case opened:
		s.metrics.open.Inc()
	case resolved:
		s.metrics.open.Dec()
	}
	s.reports = append(s.reports, f.Finding)
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
	if f.Score < t.CloseScore || !col.matters(f.slot) {
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
	case f.silent && !col.cluster.history && f.Score >= t.OpenScore && f.quiet == 0:
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
	col.recent[f.slot] = 0
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
