package kube

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tocsin/fleet"
)

// What is remembered of events, at most. An API server forgets an event an hour after its last
// occurrence.
const (
	mostGroups  = 1000
	mostSeen    = 10_000
	mostPending = 1000
	forgetEvent = 2 * time.Hour
	waitPending = 30 * time.Second // For the workload that an event belongs to.
)

// warning is a Warning event as it was just seen.
type warning struct {
	uid             string
	namespace       string
	kind, object    string
	reason, message string
	count           int // How often it has occurred.
	first, last     time.Time
}

// pendingEvent waits for its workload to become known: watches overtake each other.
type pendingEvent struct {
	warning
	since time.Time
}

// warn reads an event. There are two generations of them, with different ways to say how often and
// when.
func warn(e *corev1.Event) warning {
	w := warning{
		uid: strings.Clone(string(e.UID)), namespace: strings.Clone(e.InvolvedObject.Namespace),
		kind: strings.Clone(e.InvolvedObject.Kind), object: strings.Clone(e.InvolvedObject.Name),
		reason: shorten(e.Reason, 128), message: shorten(e.Message, 1024),
		count: max(1, int(e.Count)), first: e.FirstTimestamp.Time, last: e.LastTimestamp.Time,
	}
	if w.first.IsZero() {
		w.first = e.EventTime.Time
	}
	if w.first.IsZero() {
		w.first = e.CreationTimestamp.Time
	}
	if e.Series != nil {
		w.count = max(w.count, int(e.Series.Count))
		w.last = e.Series.LastObservedTime.Time
	}
	if w.last.Before(w.first) {
		w.last = w.first
	}
	return w
}

// events adds events to their groups, tries those that wait for their workload, and reports groups
// that have grown: new ones at once, the others at most every Repeat.
func (w *Watcher) events(seen []any, now time.Time) {
	for _, c := range w.collect(seen, now) {
		w.report(*c)
	}
	full := len(w.memory.groups) > mostGroups || len(w.memory.seen) > mostSeen
	if !full && now.Sub(w.memory.swept) < time.Minute {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.memory.swept = now
	w.memory.expire(now, w.opts.Quiet)
}

// collect returns copies of the groups that are to be reported now.
func (w *Watcher) collect(seen []any, now time.Time) []*fleet.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := w.memory.pending
	w.memory.pending = nil
	for _, p := range waiting {
		w.sort(p, now)
	}
	news := make([]pendingEvent, 0, len(seen))
	for _, object := range seen {
		if e, ok := object.(*corev1.Event); ok {
			news = append(news, pendingEvent{warn(e), now})
		}
	}
	slices.SortStableFunc(news, func(a, b pendingEvent) int { return a.first.Compare(b.first) })
	for _, n := range news {
		w.sort(n, now)
	}
	var out []*fleet.Change
	for _, g := range w.memory.groups {
		event := *g.Change.Event
		if event.Count == g.Reported || now.Sub(g.reportedAt) < w.opts.Repeat {
			continue
		}
		g.Reported, g.reportedAt = event.Count, now
		c := g.Change
		c.Event = &event
		out = append(out, &c)
	}
	slices.SortFunc(out, func(a, b *fleet.Change) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ID, b.ID))
	})
	return out
}

// sort puts an event into the group that it belongs to, or has it wait, or drops it.
func (w *Watcher) sort(p pendingEvent, now time.Time) {
	times := p.count - w.memory.seen[p.uid].count
	if times <= 0 {
		return // A relist shows it again.
	}
	workload, possible := w.memory.owner(p.warning)
	switch {
	case !possible:
		w.drop(p, otherObject)
	case workload != nil:
		w.metrics.events.Add(float64(times))
		w.memory.seen[p.uid] = sighted{p.count, p.last}
		w.memory.group(w.opts, workload, p.warning, times, now)
	case now.Sub(p.since) >= waitPending:
		w.drop(p, unmapped)
	case len(w.memory.pending) >= mostPending:
		w.drop(p, overflow)
	default:
		w.memory.pending = append(w.memory.pending, p)
	}
}

func (w *Watcher) drop(p pendingEvent, reason string) {
	w.metrics.dropped.WithLabelValues(reason).Inc()
	w.memory.seen[p.uid] = sighted{p.count, p.last}
}

// group adds an event to its group. One that was over before we came, or after a silence, begins a
// new group; what was over so long ago is not news.
func (m *memory) group(o Options, workload *Workload, p warning, times int, now time.Time) {
	k := groupKey{workload.key(), p.reason}
	g := m.groups[k]
	if g != nil && p.first.Sub(g.Change.Event.Last) > o.Quiet {
		g = nil
	}
	if g == nil {
		if now.Sub(p.last) > o.Quiet {
			return
		}
		if times < p.count {
			p.first = p.last // Its earlier occurrences belonged to a group that is over.
		}
		g = newGroup(o.Cluster, workload, p)
		m.groups[k] = g
	}
	e := g.Change.Event
	e.Count += times
	if !p.last.Before(e.Last) {
		e.Last, e.Message, e.Object = p.last, p.message, p.kind+"/"+p.object
	}
	g.Change.Summary = fmt.Sprintf("%s (%d times): %s", e.Reason, e.Count, shorten(e.Message, 200))
}

func newGroup(cluster string, workload *Workload, p warning) *EventGroup {
	s := &sighting{Workload: *workload}
	when := moment{edit{at: p.first}, "@" + strconv.FormatInt(p.first.Unix(), 10)}
	c := s.change(cluster, fleet.Warning, "", when, p.reason)
	c.Event = &fleet.Event{Reason: p.reason, First: p.first, Last: p.last}
	return &EventGroup{Change: c}
}

// expire forgets groups that have been quiet, and events that the API server has forgotten, too.
// Beyond their bounds the quietest go first.
func (m *memory) expire(now time.Time, quiet time.Duration) {
	for k, g := range m.groups {
		if e := g.Change.Event; e.Count == g.Reported && now.Sub(e.Last) > quiet {
			delete(m.groups, k)
		}
	}
	thin(m.groups, mostGroups, func(g *EventGroup) time.Time { return g.Change.Event.Last })
	for uid, s := range m.seen {
		if s.at.IsZero() {
			m.seen[uid] = sighted{s.count, now} // Restored without its time.
		} else if now.Sub(s.at) > forgetEvent {
			delete(m.seen, uid)
		}
	}
	thin(m.seen, mostSeen, func(s sighted) time.Time { return s.at })
}

// thin takes the oldest entries out of a map that has more than most, and some more, so that it is
// not called for each entry.
func thin[K comparable, V any](m map[K]V, most int, at func(V) time.Time) {
	if len(m) <= most {
		return
	}
	keys := slices.Collect(maps.Keys(m))
	slices.SortFunc(keys, func(a, b K) int { return at(m[a]).Compare(at(m[b])) })
	for _, k := range keys[:len(keys)-most*9/10] {
		delete(m, k)
	}
}
