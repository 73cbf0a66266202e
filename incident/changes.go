package incident

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
)

// changeLog keeps the changes of one cluster, ordered by time.
type changeLog struct {
	list []fleet.Change
}

// add takes a change in the place of one with its ID. If there are too many, the oldest warning
// is given up, else the oldest change.
func (l *changeLog) add(ch fleet.Change, limit int, m *metrics) {
	ch.Old, ch.New = withoutTemplate(ch.Old), withoutTemplate(ch.New)
	if i := slices.IndexFunc(l.list, func(c fleet.Change) bool { return c.ID == ch.ID }); i >= 0 {
		l.list = slices.Delete(l.list, i, i+1)
		m.changes.Dec()
	}
	i, _ := slices.BinarySearchFunc(l.list, ch, compareChanges)
	l.list = slices.Insert(l.list, i, ch)
	m.changes.Inc()
	if len(l.list) > limit {
		i := max(0, slices.IndexFunc(l.list, func(c fleet.Change) bool {
			return c.Kind == fleet.Warning
		}))
		l.list = slices.Delete(l.list, i, i+1)
		m.changes.Dec()
		m.dropped.WithLabelValues(droppedFull).Inc()
	}
}

// prune gives up what was before t.
func (l *changeLog) prune(t time.Time, m *metrics) {
	i := slices.IndexFunc(l.list, func(c fleet.Change) bool { return !c.At.Before(t) })
	if i < 0 {
		i = len(l.list)
	}
	l.list = slices.Delete(l.list, 0, i)
	m.changes.Sub(float64(i))
	m.dropped.WithLabelValues(droppedOld).Add(float64(i))
}

func compareChanges(a, b fleet.Change) int {
	return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID))
}

// withoutTemplate leaves out the pod template, which is large and which nobody reads in an
// incident.
func withoutTemplate(r *fleet.Revision) *fleet.Revision {
	if r == nil || r.Template == nil {
		return r
	}
	short := *r
	short.Template = nil
	return &short
}
