package kube

import (
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
)

// State is what a Watcher remembers of a cluster, to be given to a later one. It is JSON.
type State struct {
	ClusterUID string         `json:"cluster_uid,omitempty"` // Of namespace kube-system; another voids the rest.
	Complete   []string       `json:"complete"`              // Resources of which Workloads has all.
	Workloads  []Workload     `json:"workloads"`
	Groups     []EventGroup   `json:"groups,omitempty"`
	Seen       map[string]int `json:"seen,omitempty"` // Events by UID: how often they had occurred.
}

// Workload is the digest of a workload.
type Workload struct {
	Kind       fleet.Workload `json:"kind"`
	Namespace  string         `json:"namespace"`
	Name       string         `json:"name"`
	UID        string         `json:"uid"`
	Generation int64          `json:"generation"`
	Replicas   int32          `json:"replicas,omitempty"`
	Paused     bool           `json:"paused,omitempty"`
	Restarted  string         `json:"restarted,omitempty"` // The restartedAt annotation of kubectl.
	Hash       string         `json:"hash"`
	PodHash    string         `json:"pod_hash,omitempty"` // Of a Rollout: the label of its ReplicaSet.
	Number     int64          `json:"number,omitempty"`
	Images     []string       `json:"images,omitempty"`
	Template   []byte         `json:"template,omitempty"` // JSON, deflated.
	TemplateBy string         `json:"template_by,omitempty"`
	TemplateAt time.Time      `json:"template_at,omitzero"`
	ScaledBy   string         `json:"scaled_by,omitempty"`
	ScaledAt   time.Time      `json:"scaled_at,omitzero"`
	SpecBy     string         `json:"spec_by,omitempty"`
	SpecAt     time.Time      `json:"spec_at,omitzero"` // When anything of it was changed.

	rolling bool // A rollout is under way, by its status.
}

// EventGroup is a group of Warning events that may still grow.
type EventGroup struct {
	Change   fleet.Change `json:"change"`
	Reported int          `json:"reported"` // The count that was reported last.

	reportedAt time.Time
}

// key names a workload; kind and name are not unique across namespaces, nor names across kinds.
type key struct {
	kind            fleet.Workload
	namespace, name string
}

func (w *Workload) key() key { return key{w.Kind, w.Namespace, w.Name} }

// groupKey names a group of events.
type groupKey struct {
	workload key
	reason   string
}

// sighted is how often an event had occurred when it was seen last.
type sighted struct {
	count int
	at    time.Time
}

// memory is what State saves, with its indexes.
type memory struct {
	uid       string
	complete  map[string]bool
	workloads map[key]*Workload
	groups    map[groupKey]*EventGroup
	seen      map[string]sighted
	pending   []pendingEvent
	swept     time.Time // When what is too old was taken out last.
}

func newMemory() *memory {
	return &memory{
		complete:  map[string]bool{},
		workloads: map[key]*Workload{},
		groups:    map[groupKey]*EventGroup{},
		seen:      map[string]sighted{},
	}
}

// restore returns the memory that opts.State describes, without what is no longer watched.
func restore(opts Options) *memory {
	m := newMemory()
	s := opts.State
	if s == nil {
		return m
	}
	m.uid = s.ClusterUID
	watched := map[string]bool{}
	for _, r := range resources {
		for _, ns := range opts.Namespaces {
			watched[r.scope(ns)] = true
		}
	}
	for _, scope := range s.Complete {
		if watched[scope] {
			m.complete[scope] = true
		}
	}
	for i := range s.Workloads {
		w := s.Workloads[i]
		if m.complete[scopeOf(w.Kind, w.Namespace)] || m.complete[scopeOf(w.Kind, "")] {
			m.workloads[w.key()] = &w
		}
	}
	for i := range s.Groups {
		g := s.Groups[i]
		if g.Change.Event == nil {
			continue // Not written by us.
		}
		event := *g.Change.Event // The State stays its owner's.
		g.Change.Event = &event
		c := g.Change
		workload := key{c.Workload, c.Service.Namespace, c.Service.Name}
		m.groups[groupKey{workload, c.Event.Reason}] = &g
	}
	for uid, count := range s.Seen {
		m.seen[uid] = sighted{count: count}
	}
	return m
}

// state returns a copy of m in a stable order.
func (m *memory) state() *State {
	s := &State{
		ClusterUID: m.uid,
		Complete:   slices.Sorted(maps.Keys(m.complete)),
		Workloads:  make([]Workload, 0, len(m.workloads)),
		Seen:       make(map[string]int, len(m.seen)),
	}
	for _, w := range m.workloads {
		s.Workloads = append(s.Workloads, *w)
	}
	slices.SortFunc(s.Workloads, func(a, b Workload) int {
		return strings.Compare(a.order(), b.order())
	})
	for _, g := range m.groups {
		c := *g
		event := *g.Change.Event // The group goes on growing.
		c.Change.Event = &event
		s.Groups = append(s.Groups, c)
	}
	slices.SortFunc(s.Groups, func(a, b EventGroup) int {
		return strings.Compare(a.Change.ID, b.Change.ID)
	})
	for uid, seen := range m.seen {
		s.Seen[uid] = seen.count
	}
	return s
}

func (w *Workload) order() string {
	return w.Namespace + "/" + w.Name + "/" + string(w.Kind)
}

// scopeOf names the workloads of one kind in one namespace, or in all.
func scopeOf(kind fleet.Workload, namespace string) string { return string(kind) + "/" + namespace }
