package detector

import (
	"math"
	"time"

	"tocsin/detector/baseline"
	"tocsin/detector/kernel"
	"tocsin/series"
)

var nan = float32(math.NaN())

// column is one signal of one cluster: its series, each with a slot, and what is known about them.
type column struct {
	cluster *cluster
	signal  *Signal
	model   *baseline.Columns
	window  time.Duration // How far back its values looked when it began: what a count is relative to.

	refs     []series.Ref // By slot, as all that follows; 0 is a slot to give away.
	service  []int32      // Number of the service.
	values   []float64    // Of the instant at hand; NaN: no sample.
	observed []float64    // Of the newest tick.
	seen     []int64      // When there was a sample, in unix nanoseconds.
	recent   []uint8      // Which of the newest samples were improbable and mattered, newest in bit 0.
	hot      []hot        // The slots whose recent is not 0, in order,
	cooler   []hot        // and room for those of the next tick.
	result   baseline.Result
	spare    []int

	slotOf   []int32 // By number of service: its slot here, plus one; 0 is none.
	taken    int     // Values of the instant at hand.
	open     []*openFinding
	settling []*openFinding // Have resolved, and keep new ones away for a while.
}

func newColumn(c *cluster, s *Signal, window time.Duration) *column {
	p := baselineOf(s, window, &c.shard.engine.opts.Tuning)
	return &column{cluster: c, signal: s, window: window, model: baseline.New(p, c.shard.engine.memory)}
}

// clear prepares for a new instant.
func (col *column) clear() {
	if col.taken == 0 {
		return
	}
	col.taken = 0
	for i := range col.values {
		col.values[i] = math.NaN()
	}
}

// take puts the values of b into their slots.
func (col *column) take(b *series.Batch) {
	at := b.At.UnixNano()
	s := col.cluster.shard
	low := math.Inf(-1)
	if nonNegative(col.signal.Kind) {
		low = 0
	}
	taken := 0
	for i, ref := range b.Refs {
		slot := s.slot(ref)
		if slot < 0 || slot >= len(col.refs) || col.refs[slot] != ref {
			if slot = col.admit(ref); slot < 0 {
				s.drops[dropUnknown]++
				continue
			}
		}
		v := b.Values[i]
		switch {
		case v != v:
		case math.IsInf(v, 0):
			s.drops[dropInfinite]++
		case v < low:
			s.drops[dropNegative]++
		case col.values[slot] == col.values[slot]:
			s.drops[dropDuplicate]++
		default:
			col.values[slot] = v
			col.seen[slot] = at
			taken++
		}
	}
	col.taken += taken
	s.metrics.values.Add(float64(taken))
}

// admit gives ref a slot, or returns -1 if ref is not of this signal and cluster.
func (col *column) admit(ref series.Ref) int {
	id, ok := col.cluster.shard.engine.opts.Registry.ID(ref)
	if !ok || id.Signal != col.signal.Name || id.Service.Cluster != col.cluster.name {
		return -1
	}
	slot := col.room()
	col.place(slot, ref, id)
	col.cluster.shard.metrics.series[seriesWarming].Inc()
	return slot
}

// room returns a slot that nobody has.
func (col *column) room() int {
	if k := len(col.spare); k > 0 {
		slot := col.spare[k-1]
		col.spare = col.spare[:k-1]
		col.model.Reset(slot)
		return slot
	}
	slot := len(col.refs)
	col.model.Grow(slot + 1)
	col.refs = append(col.refs, 0)
	col.service = append(col.service, -1)
	col.values = append(col.values, math.NaN())
	col.observed = append(col.observed, math.NaN())
	col.seen = append(col.seen, 0)
	col.recent = append(col.recent, 0)
	return slot
}

// place makes slot that of ref.
func (col *column) place(slot int, ref series.Ref, id series.ID) {
	col.bind(slot, ref, col.cluster.number(id.Service))
	col.values[slot], col.observed[slot] = math.NaN(), math.NaN()
	col.cool(slot)
	col.seen[slot] = col.cluster.at.UnixNano()
}

// bind says that slot is that of ref and of service n.
func (col *column) bind(slot int, ref series.Ref, n int32) {
	col.refs[slot] = ref
	col.service[slot] = n
	for int(n) >= len(col.slotOf) {
		col.slotOf = append(col.slotOf, 0)
	}
	col.slotOf[n] = int32(slot + 1)
	col.cluster.shard.setSlot(ref, slot)
}

// forget frees a slot. Its findings must be resolved.
func (col *column) forget(slot int) {
	col.cluster.shard.metrics.series[col.state(slot)].Dec()
	col.cluster.shard.forget(col.refs[slot])
	col.refs[slot] = 0
	col.slotOf[col.service[slot]] = 0
	col.cluster.leave(col.service[slot])
	col.service[slot] = -1
	col.values[slot], col.observed[slot] = math.NaN(), math.NaN()
	col.spare = append(col.spare, slot)
	col.model.Reset(slot)
}

// state tells which gauge of series slot is counted in.
func (col *column) state(slot int) int {
	if col.model.Warm(slot) {
		return seriesWarm
	}
	return seriesWarming
}

// remove forgets all series for a reason.
func (col *column) remove(r reason) {
	for _, f := range col.open {
		f.resolve(col, r)
	}
	col.open, col.settling = nil, nil
	for slot, ref := range col.refs {
		if ref != 0 {
			col.forget(slot)
		}
	}
	col.model.Free()
}

// sweep forgets the series that have been silent for long.
func (col *column) sweep() {
	oldest := col.cluster.at.Add(-col.cluster.shard.engine.opts.Tuning.ForgetAfter).UnixNano()
	for slot, ref := range col.refs {
		if ref != 0 && col.seen[slot] < oldest && !col.finding(slot) {
			col.forget(slot)
		}
	}
}

// tick scores the values of the instant at hand and learns from them.
func (col *column) tick() {
	c := col.cluster
	if col.signal.Kind == Ratio && col.signal.Volume != "" {
		col.setFloors()
	}
	col.model.Tick(&col.result, col.values, c.at, c.step)
	col.values, col.observed = col.observed, col.values
	warmed := 0
	warmUp := c.shard.engine.opts.Tuning.WarmUp
	for slot, n := range col.service {
		if n < 0 {
			continue
		}
		score := col.result.News[slot/kernel.Width][slot%kernel.Width]
		if score == score {
			c.hear(n, score, col.model.Says(slot))
		} else if col.observed[slot] == col.observed[slot] && col.model.Samples(slot) == warmUp {
			warmed++
		}
	}
	if warmed > 0 {
		c.shard.metrics.series[seriesWarming].Sub(float64(warmed))
		c.shard.metrics.series[seriesWarm].Add(float64(warmed))
	}
	c.shard.metrics.ticks.Inc()
}

// setFloors tells the model how much chance alone moves a share of so many events.
func (col *column) setFloors() {
	volume := col.cluster.columns[col.signal.Volume]
	if volume == nil || volume.taken == 0 {
		return
	}
	for slot, n := range col.service {
		if n < 0 {
			continue
		}
		if v := volume.now(n, col.cluster.at); v >= 0 {
			col.model.SetFloor(slot, shareFloor(v*col.window.Seconds()))
		}
	}
}

// now returns the value that service n has at the instant at hand, NaN if there is none.
func (col *column) now(n int32, at time.Time) float64 {
	if int(n) >= len(col.slotOf) || col.slotOf[n] == 0 {
		return math.NaN()
	}
	slot := col.slotOf[n] - 1
	switch {
	case col.taken == 0 || col.seen[slot] != at.UnixNano():
		return math.NaN()
	case col.model.At().Equal(at): // It has had its tick.
		return col.observed[slot]
	}
	return col.values[slot]
}

// tell hands the scores of the instant to Options.Scores.
func (col *column) tell() {
	s := col.cluster.shard
	told := s.engine.opts.Scores
	if told == nil {
		return
	}
	out := &s.scores
	out.Cluster, out.Signal = col.cluster.name, col.signal.Name
	out.At, out.History = col.cluster.at, col.cluster.history
	out.Refs, out.Score, out.Observed = out.Refs[:0], out.Score[:0], out.Observed[:0]
	out.News = out.News[:0]
	out.Expected, out.Lower, out.Upper = out.Expected[:0], out.Lower[:0], out.Upper[:0]
	r := &col.result
	for slot, ref := range col.refs {
		if ref == 0 {
			continue
		}
		i, l := slot/kernel.Width, slot%kernel.Width
		out.Refs = append(out.Refs, ref)
		out.Score = append(out.Score, r.Score[i][l])
		out.News = append(out.News, r.News[i][l])
		out.Observed = append(out.Observed, col.observed[slot])
		out.Expected = append(out.Expected, float64(r.Expected[i][l]))
		out.Lower = append(out.Lower, float64(r.Lower[i][l]))
		out.Upper = append(out.Upper, float64(r.Upper[i][l]))
	}
	told(out)
}
