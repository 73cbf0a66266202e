package tsdb

import (
	"errors"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"tocsin/fleet"
	"tocsin/series"
)

// names are those of the series of a signal, in the order of slot.series.
var names = [...]string{
	"tocsin_score", "tocsin_observed", "tocsin_expected", "tocsin_lower", "tocsin_upper",
}

var errUnknownRef = errors.New("nobody knows this ref any more")

// stale is the value by which Prometheus knows that a series has ended.
var stale = math.Float64frombits(value.StaleNaN)

// column names the signals of one kind in one cluster.
type column struct {
	cluster string
	signal  string
}

// group is what is known of a column: who was in its last batch.
type group struct {
	w       *writer
	round   uint32
	members []series.Ref
	touched time.Time
	wishes  map[fleet.Service]bool // Of SetDetail, not yet heeded.
}

// slot is what is known of a signal. There is one for each Ref; labels are not kept, for the head
// has them.
type slot struct {
	series [len(names)]storage.SeriesRef
	round  uint32 // Of its group, when it was last in a batch.
	live   uint8  // A bit for each of series whose last sample was a value.
	member bool
	detail bool // All series are written, not only the score.
	match  bool // The configuration asks for that,
	wanted bool // or a finding does,
	auto   bool // or there is room.
}

// column returns the group of b's column.
func (w *writer) column(b *batch) *group {
	key := column{b.cluster, b.signal}
	g := w.columns[key]
	if g == nil {
		g = &group{w: w}
		w.columns[key] = g
	}
	g.touched = w.opts.now()
	return g
}

// append writes the values of b, and a marker for each member of the group that is not in it.
func (g *group) append(a *appends, b *batch) {
	w := g.w
	g.round++
	g.heedWishes(b.lookup)
	t := b.at.UnixMilli()
	for i, ref := range b.refs {
		s := w.slot(ref)
		if !s.member {
			if !w.admit(s, ref, b.lookup) {
				a.drop(errUnknownRef)
				continue
			}
			g.members = append(g.members, ref)
		}
		s.round = g.round
		a.set(s, ref, b, 0, t, float64(b.score[i]))
		for k := range b.detail {
			v := math.NaN()
			if s.detail {
				v = b.detail[k][i]
			}
			a.set(s, ref, b, k+1, t, v)
		}
	}
	kept := g.members[:0]
	for _, ref := range g.members {
		s := &w.slots[ref]
		if s.round == g.round {
			kept = append(kept, ref)
			continue
		}
		for k := range names {
			a.set(s, ref, b, k, t, math.NaN())
		}
		w.dismiss(s)
	}
	g.members = kept
}

// set writes one sample: v, or a marker if v is NaN and the sample before was a value.
func (a *appends) set(s *slot, ref series.Ref, b *batch, k int, t int64, v float64) {
	bit := uint8(1) << k
	if math.IsNaN(v) {
		if s.live&bit == 0 {
			return
		}
		v = stale
	}
	if err := a.put(s, ref, b.lookup, k, t, v); err != nil {
		a.drop(err)
		return
	}
	if value.IsStaleNaN(v) {
		s.live &^= bit
		a.stale++
		return
	}
	s.live |= bit
	a.samples++
}

// put appends by the number that the series had the last time; where the head does not know it
// any more, by labels.
func (a *appends) put(s *slot, ref series.Ref, lookup Lookup, k int, t int64, v float64) error {
	if s.series[k] != 0 {
		_, err := a.app.Append(s.series[k], labels.EmptyLabels(), t, v)
		if err == nil || isOrder(err) {
			return err
		}
	}
	id, ok := lookup(ref)
	if !ok {
		return errUnknownRef
	}
	n, err := a.app.Append(0, labels.FromStrings(
		model.MetricNameLabel, names[k],
		"cluster", id.Service.Cluster,
		"namespace", id.Service.Namespace,
		"service", id.Service.Name,
		"signal", id.Signal,
	), t, v)
	s.series[k] = n
	return err
}

// isOrder says whether err is about the time of a sample, so that to try by labels is no use.
func isOrder(err error) bool {
	return errors.Is(err, storage.ErrOutOfOrderSample) || errors.Is(err, storage.ErrOutOfBounds) ||
		errors.Is(err, storage.ErrTooOldSample) || errors.Is(err, storage.ErrDuplicateSampleForTimestamp)
}

// slot returns that of ref.
func (w *writer) slot(ref series.Ref) *slot {
	if n := int(ref) + 1; n > len(w.slots) {
		w.slots = append(w.slots, make([]slot, n-len(w.slots))...)
	}
	return &w.slots[ref]
}

// admit makes a signal a member of its group and decides on its details.
func (w *writer) admit(s *slot, ref series.Ref, lookup Lookup) bool {
	id, ok := lookup(ref)
	if !ok {
		return false
	}
	s.member = true
	s.match = w.opts.Match(id)
	s.wanted = w.wanted[id]
	s.auto = !s.match && w.auto < w.opts.Detail
	if s.auto {
		w.auto++
	}
	w.signals.Add(1)
	w.decide(s)
	return true
}

// dismiss forgets a signal that has ended, but for the numbers of its series.
func (w *writer) dismiss(s *slot) {
	if s.auto {
		w.auto--
	}
	s.member, s.auto, s.match, s.wanted = false, false, false, false
	w.signals.Add(-1)
	w.decide(s)
}

// decide sets whether s has details.
func (w *writer) decide(s *slot) {
	detail := s.member && (s.match || s.wanted || s.auto)
	switch {
	case detail && !s.detail:
		w.detailed.Add(1)
	case !detail && s.detail:
		w.detailed.Add(-1)
	}
	s.detail = detail
	w.metrics.signals.Set(float64(w.signals.Load()))
	w.metrics.detailed.Set(float64(w.detailed.Load()))
}

// takeWishes takes over what SetDetail was told: for signals to come, and for the columns that
// are there.
func (w *writer) takeWishes() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, on := range w.wishes {
		if on {
			w.wanted[id] = true
		} else {
			delete(w.wanted, id)
		}
		if g := w.columns[column{id.Service.Cluster, id.Signal}]; g != nil {
			if g.wishes == nil {
				g.wishes = make(map[fleet.Service]bool)
			}
			g.wishes[id.Service] = on
		}
	}
	clear(w.wishes)
}

// heedWishes finds the members of which there are wishes. That asks for every member's name,
// which is why it is done only when a finding opens or resolves.
func (g *group) heedWishes(lookup Lookup) {
	if len(g.wishes) == 0 {
		return
	}
	for _, ref := range g.members {
		id, ok := lookup(ref)
		if !ok {
			continue
		}
		if on, ok := g.wishes[id.Service]; ok {
			s := &g.w.slots[ref]
			s.wanted = on
			g.w.decide(s)
		}
	}
	clear(g.wishes)
}

// sweep forgets columns that get no batches any more: those of clusters and signals that were
// removed.
func (w *writer) sweep(now time.Time) {
	if now.Sub(w.swept) < time.Minute {
		return
	}
	w.swept = now
	for key, g := range w.columns {
		if now.Sub(g.touched) < maxIdle {
			continue
		}
		for _, ref := range g.members {
			w.dismiss(&w.slots[ref])
			w.slots[ref].live = 0
		}
		delete(w.columns, key)
	}
}
