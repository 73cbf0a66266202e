package kube

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tocsin/fleet"
)

// message is what a session tells the Watcher: something was listed, seen, or deleted, or another
// cluster answers.
type message struct {
	resource  *resource
	namespace string // Of the watch; empty: all.
	listed    []any  // Everything there is. Nil: object was seen or deleted.
	object    any
	deleted   bool
	identity  string // UID of the cluster that answers; all else is empty.
}

// handle reports what a message says and then remembers it, in this order: if the process ends in
// between, the change is found again.
func (w *Watcher) handle(m message, now time.Time) {
	switch {
	case m.resource == nil:
		w.identify(m.identity)
	case m.resource.kind == "" && m.listed != nil:
		w.events(m.listed, now)
	case m.resource.kind == "" && !m.deleted:
		w.events([]any{m.object}, now)
	case m.resource.kind == "": // An event that has expired says nothing.
	case m.listed != nil:
		w.replace(m, now)
	case m.deleted:
		w.remove(m.resource.kind, m.object, now)
	default:
		w.put(m.object, now)
	}
	if m.resource != nil && m.listed != nil {
		w.health.synced(m.resource.scope(m.namespace), now)
	}
}

// identify forgets everything if the cluster is not the one that was remembered.
func (w *Watcher) identify(uid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.memory.uid != "" && uid != "" && w.memory.uid != uid {
		w.logger.Warn("Another cluster answers; starting afresh", "was", w.memory.uid, "is", uid)
		w.memory = newMemory()
	}
	if uid != "" { // Else it may not be asked; it is taken to be the same.
		w.memory.uid = uid
	}
}

// report hands a change on.
func (w *Watcher) report(c fleet.Change) {
	w.metrics.changes.WithLabelValues(string(c.Kind)).Inc()
	w.opts.Report(c)
}

// remember stores a workload.
func (w *Watcher) remember(known *Workload) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.memory.workloads[known.key()] = known
}

// put handles a workload that was added or modified. Most modifications are of the status: they
// leave the generation as it is, and nothing needs to be digested.
func (w *Watcher) put(object any, now time.Time) {
	if s, ok := object.(*sighting); ok {
		w.take(s, now)
		return
	}
	meta, ok := object.(metav1.Object)
	if !ok {
		return
	}
	old := w.memory.workloads[key{kindOf(object), meta.GetNamespace(), meta.GetName()}]
	if old != nil && old.UID == string(meta.GetUID()) && old.Generation == meta.GetGeneration() &&
		old.Generation != 0 {
		w.refresh(old, object)
		return
	}
	s, err := see(object)
	if err != nil {
		w.logger.Error("Workload not understood", "err", err)
		return
	}
	w.take(s, now)
}

// take handles a workload that was digested.
func (w *Watcher) take(s *sighting, now time.Time) {
	if s.unobserved {
		if known := w.await(s); known != nil {
			w.remember(known)
		}
		return
	}
	for _, c := range w.compare(s, true, now) {
		w.report(c)
	}
	w.remember(&s.Workload)
}

// await returns what stays known of a workload until its controller has come to what was written:
// nil if nothing is.
func (w *Watcher) await(s *sighting) *Workload {
	old := w.memory.workloads[s.key()]
	if old == nil || old.UID != s.UID {
		return old
	}
	known := *old
	known.rolling = true
	return &known
}

// kindOf returns the kind of a typed object; decoded objects do not carry it.
func kindOf(object any) fleet.Workload {
	switch object.(type) {
	case *appsv1.Deployment:
		return fleet.Deployment
	case *appsv1.StatefulSet:
		return fleet.StatefulSet
	case *appsv1.DaemonSet:
		return fleet.DaemonSet
	}
	return ""
}

// refresh takes over what a controller reports: whether a rollout is under way, and the number of
// the revision, which it adds a moment after the revision appeared.
func (w *Watcher) refresh(old *Workload, object any) {
	rolling, number := underWay(object), old.Number
	if d, ok := object.(*appsv1.Deployment); ok {
		number = revisionNumber(d)
	}
	if rolling == old.rolling && number == old.Number {
		return
	}
	known := *old
	known.rolling, known.Number = rolling, number
	w.remember(&known)
}

// compare says what is new about a sighting. A workload that is not remembered is news only if all
// others are.
func (w *Watcher) compare(s *sighting, complete bool, now time.Time) []fleet.Change {
	old := w.memory.workloads[s.key()]
	switch {
	case old == nil && !complete:
		return nil
	case old == nil:
		return []fleet.Change{createdChange(w.opts.Cluster, s, now)}
	case old.UID != s.UID:
		return []fleet.Change{
			deletedChange(w.opts.Cluster, old, s.created, now),
			createdChange(w.opts.Cluster, s, now),
		}
	case old.Generation == s.Generation && s.Generation != 0 && !s.elsewhere(old):
		return nil // Should the hash differ, then because another version of tocsin made it.
	}
	return changes(w.opts.Cluster, old, s, now)
}

// elsewhere says whether a Rollout of the same generation asks for other pods: its template may be
// that of another object.
func (s *sighting) elsewhere(old *Workload) bool {
	return old.PodHash != "" && s.PodHash != "" && old.PodHash != s.PodHash
}

// known returns what is remembered of a workload, not to be written to, or nil.
func (w *Watcher) known(k key) *Workload {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.memory.workloads[k]
}

// remove handles a workload that was deleted.
func (w *Watcher) remove(kind fleet.Workload, object any, now time.Time) {
	meta, ok := object.(metav1.Object)
	if !ok {
		return
	}
	k := key{kind, meta.GetNamespace(), meta.GetName()}
	old := w.memory.workloads[k]
	if old == nil || old.UID != string(meta.GetUID()) {
		return
	}
	var since time.Time
	if at := meta.GetDeletionTimestamp(); at != nil {
		since = at.Time
	}
	w.report(deletedChange(w.opts.Cluster, old, since, now))
	w.forget(k)
}

func (w *Watcher) forget(k key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.memory.workloads, k)
}

// replace handles a list: of what was there before, whatever is not in it is gone. The first list
// of a cluster that nothing is known about is no news at all.
func (w *Watcher) replace(m message, now time.Time) {
	scope := m.resource.scope(m.namespace)
	complete := w.memory.complete[scope]
	var news []fleet.Change
	there := make(map[key]*Workload, len(m.listed))
	for _, object := range m.listed {
		s, ok := object.(*sighting)
		if !ok {
			var err error
			if s, err = see(object); err != nil {
				w.logger.Error("Workload not understood", "err", err)
				continue
			}
		}
		if s.unobserved {
			if known := w.await(s); known != nil {
				there[s.key()] = known
			}
			continue
		}
		news = append(news, w.compare(s, complete, now)...)
		there[s.key()] = &s.Workload
	}
	var gone []key
	for k, old := range w.memory.workloads {
		watched := m.namespace == "" || k.namespace == m.namespace
		if k.kind != m.resource.kind || !watched || there[k] != nil {
			continue
		}
		news = append(news, deletedChange(w.opts.Cluster, old, time.Time{}, now))
		gone = append(gone, k)
	}
	slices.SortStableFunc(news, func(a, b fleet.Change) int { return a.At.Compare(b.At) })
	for _, c := range news {
		w.report(c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range gone {
		delete(w.memory.workloads, k)
	}
	for k, known := range there {
		w.memory.workloads[k] = known
	}
	w.memory.complete[scope] = true
}
