package release

import (
	"slices"
	"time"
)

// Want is what the manager wants to know of a workload.
type Want struct {
	Key

	Release string `json:"release,omitempty"` // ID of the running one; empty: only a look is wanted.
	// Samples after Since and up to Until are wanted of the pods; of none if Until is zero.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Old   []string  `json:"old,omitempty"` // Pods that are known by name.
	New   []string  `json:"new,omitempty"`
	Match []string  `json:"match,omitempty"` // Regular expressions that names of further pods have.
}

// How much is asked for.
const (
	wantBefore  = 15 * time.Minute // Before the start of a release: what is usual.
	wantAtOnce  = 2 * time.Hour    // Of history.
	wantEver    = 6 * time.Hour    // Back from now.
	wantByName  = 5 * time.Minute  // As long as pods are missed for no longer, their names will do.
	wantUnseen  = 50               // Looks at workloads without a release, at once.
	unseenTries = 3                // Then it is given up: the workload may be gone.
)

// Wanted says what is wanted of a cluster: how far its running releases are and what their pods
// did, and a look at workloads that something happened to and that nobody has looked at. Pods are
// known from looks: ask again after Observe.
func (m *Manager) Wanted(cluster string, now time.Time) []Want {
	now = now.UTC()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hear(now)
	var out []Want
	for _, r := range m.tracker.Running(cluster) {
		if d := m.running[r.ID]; d != nil {
			out = append(out, d.want(&r, now))
		}
	}
	s := m.around(cluster)
	keys := make([]Key, 0, len(s.unseen))
	for k := range s.unseen {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, Key.compare)
	for _, k := range keys[:min(len(keys), wantUnseen)] {
		out = append(out, Want{Key: k})
		if s.unseen[k]++; s.unseen[k] >= unseenTries {
			delete(s.unseen, k)
		}
	}
	return out
}

// want says what is wanted of a running release.
func (d *dossier) want(r *Release, now time.Time) Want {
	w := Want{Key: r.Key, Release: r.ID}
	since := d.cursor
	if since.IsZero() {
		since = r.Start.Add(-wantBefore)
	}
	if early := now.Add(-wantEver); since.Before(early) {
		since = early
	}
	if r.Seen == nil || !since.Before(now) {
		return w
	}
	w.Since, w.Until = since, now
	if late := since.Add(wantAtOnce); late.Before(now) {
		w.Until = late
	}
	if now.Sub(since) <= wantByName {
		w.Old, w.New = podNames(r.Seen.Old.Pods), podNames(r.NewPods())
	} else {
		w.Old, w.New = d.names(false), d.names(true)
		for _, m := range [...]*match{&d.matches[0], &d.matches[1]} {
			if m.re != nil {
				w.Match = append(w.Match, m.text)
			}
		}
		if d.matches[0].re == nil {
			w.Match = append(w.Match, d.any.text)
		}
	}
	return w
}

func podNames(pods []Pod) []string {
	names := make([]string, 0, min(len(pods), mostPods))
	for i := range pods[:min(len(pods), mostPods)] {
		names = append(names, pods[i].Name)
	}
	return names
}
