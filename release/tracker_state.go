package release

import (
	"errors"
	"fmt"
	"slices"
)

// TrackerState is all that a Tracker knows, as JSON.
type TrackerState struct {
	Workloads []Followed `json:"workloads"` // By service and kind.
}

// State returns what the tracker knows. A tracker that gets it by Restore goes on as this one
// would.
func (t *Tracker) State() TrackerState {
	s := TrackerState{Workloads: make([]Followed, 0, len(t.workloads))}
	for _, f := range t.workloads {
		s.Workloads = append(s.Workloads, f.clone())
	}
	slices.SortFunc(s.Workloads, func(a, b Followed) int { return a.compare(b.Key) })
	return s
}

// clone returns a copy that shares nothing with f that changes.
func (f *Followed) clone() Followed {
	c := *f
	c.Ledger = slices.Clone(f.Ledger)
	c.Past = slices.Clone(f.Past)
	for i := range c.Past {
		c.Past[i] = c.Past[i].clone()
	}
	if f.Running != nil {
		r := f.Running.clone()
		c.Running = &r
	}
	return c
}

// Restore takes over a state. The tracker must be new, and is as before if the state is refused.
func (t *Tracker) Restore(s TrackerState) error {
	if len(t.workloads) > 0 {
		return errors.New("restore the tracker: it has begun already")
	}
	seen := make(map[Key]bool, len(s.Workloads))
	for i := range s.Workloads {
		f := &s.Workloads[i]
		if seen[f.Key] {
			return fmt.Errorf("restore %s %s: it is there twice", f.Workload, f.Service)
		}
		seen[f.Key] = true
		if err := f.check(); err != nil {
			return fmt.Errorf("restore %s %s: %w", f.Workload, f.Service, err)
		}
	}
	for i := range s.Workloads {
		f := s.Workloads[i].clone()
		t.adopt(&f)
	}
	return nil
}

// adopt puts a workload into the indexes. Limits that are tighter than they were count from the
// next on.
func (t *Tracker) adopt(f *Followed) {
	t.workloads[f.Key] = f
	c := t.clusters[f.Service.Cluster]
	if c == nil {
		c = &tally{releases: map[Key]*Followed{}}
		t.clusters[f.Service.Cluster] = c
	}
	c.workloads++
	if f.Running != nil {
		c.releases[f.Key], t.running[f.Running.ID] = f, f
	}
}

// check refuses what a tracker would not have written.
func (f *Followed) check() error {
	if r := f.Running; r != nil {
		if r.Key != f.Key || r.ID == "" || !r.State.Running() || r.New.Hash != f.Current {
			return fmt.Errorf("release %q, %q, of %s is not a running one", r.ID, r.State, r.Service)
		}
	}
	for _, r := range f.Past {
		if r.Key != f.Key || r.ID == "" || !r.State.valid() || r.State.Running() {
			return fmt.Errorf("release %q, %q, of %s is not over", r.ID, r.State, r.Service)
		}
	}
	for _, k := range f.Ledger {
		if k.Hash == "" || k.Standing != Unknown && k.Standing != Accepted && k.Standing != Bad {
			return fmt.Errorf("revision %q has the standing %q", k.Hash, k.Standing)
		}
	}
	return nil
}
