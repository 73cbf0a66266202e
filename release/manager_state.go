package release

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// managerVersion is that of ManagerState. Another one is refused, not guessed at.
const managerVersion = 1

// ManagerState is all that a Manager knows but the samples, as JSON. Those are asked for again.
type ManagerState struct {
	Version  int             `json:"version"`
	At       time.Time       `json:"at"` // The newest time that was heard of.
	Tracker  TrackerState    `json:"tracker"`
	Judge    json.RawMessage `json:"judge"` // A JudgeState.
	Releases []RunningState  `json:"releases,omitempty"`
	Past     []Record        `json:"past,omitempty"`
	Troubles []Trouble       `json:"troubles,omitempty"`
}

// RunningState is what is known of a running release.
type RunningState struct {
	ID       string              `json:"id"`
	Record   Record              `json:"record"`
	Pods     []PodState          `json:"pods,omitempty"`
	Mostly   time.Time           `json:"mostly_new,omitzero"`
	OldReady bool                `json:"old_ready,omitempty"`
	OldShow  map[FactKind]string `json:"old_show,omitempty"`
	Basis    Basis               `json:"basis,omitempty"`
	SampleAt time.Time           `json:"sample_at,omitzero"`
	FreshAt  time.Time           `json:"fresh_at,omitzero"`
	Own      Verdict             `json:"own"`
	Facts    *Verdict            `json:"facts,omitempty"`
	JudgedAt time.Time           `json:"judged_at,omitzero"`
	ToldAt   time.Time           `json:"told_at,omitzero"`
	Told     word                `json:"told"`
	Reached  Reached             `json:"told_reached"`
}

// PodState says what a pod is to a release.
type PodState struct {
	Name     string    `json:"name"`
	New      bool      `json:"new,omitempty"`
	Stranger bool      `json:"stranger,omitempty"`
	Again    bool      `json:"again,omitempty"`
	From     time.Time `json:"from,omitzero"`
	Started  time.Time `json:"started,omitzero"`
}

// Trouble is what a workload was in trouble by, and when.
type Trouble struct {
	Key
	Kind  FactKind  `json:"kind"`
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// State returns what the manager knows, once all events have been reported. It must not be called
// from Report.
func (m *Manager) State() (ManagerState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.telling {
		m.told.Wait()
	}
	judge, err := json.Marshal(m.judge.State())
	if err != nil {
		return ManagerState{}, fmt.Errorf("state of the judge: %w", err)
	}
	s := ManagerState{Version: managerVersion, At: m.now, Tracker: m.tracker.State(), Judge: judge}
	for _, d := range m.running {
		s.Releases = append(s.Releases, d.state())
	}
	slices.SortFunc(s.Releases, func(a, b RunningState) int { return strings.Compare(a.ID, b.ID) })
	for _, r := range m.past {
		s.Past = append(s.Past, r.clone())
	}
	for _, c := range m.clusters {
		for w, t := range c.warned {
			s.Troubles = append(s.Troubles, Trouble{w.key, w.kind, t.first, t.last})
		}
	}
	slices.SortFunc(s.Troubles, func(a, b Trouble) int {
		return cmp.Or(a.compare(b.Key), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return s, nil
}

func (d *dossier) state() RunningState {
	s := RunningState{
		ID: d.id, Record: d.record.clone(), Mostly: d.mostly, OldReady: d.oldReady,
		OldShow: maps.Clone(d.oldShow), Basis: d.basis, SampleAt: d.sampleAt, FreshAt: d.freshAt,
		Own: d.own, JudgedAt: d.judgedAt, ToldAt: d.toldAt, Told: d.toldVerdict, Reached: d.toldReached,
	}
	if !d.facts.At.IsZero() {
		facts := d.facts
		s.Facts = &facts
	}
	for name, p := range d.pods {
		s.Pods = append(s.Pods, PodState{name, p.fresh, p.stranger, p.again, p.from, p.started})
	}
	slices.SortFunc(s.Pods, func(a, b PodState) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// Restore takes over a state. The manager must be new, and is as before if the state is refused.
// Nothing is reported by it.
func (m *Manager) Restore(s ManagerState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.now.IsZero() || len(m.tracker.workloads) > 0 {
		return errors.New("restore releases: the manager has begun already")
	}
	if s.Version != managerVersion {
		return fmt.Errorf("restore releases: the state is of version %d, want %d",
			s.Version, managerVersion)
	}
	tracker, judge := m.tracker, m.judge
	if err := m.reopen(s); err != nil {
		m.tracker, m.judge = tracker, judge
		return fmt.Errorf("restore releases: %w", err)
	}
	m.now = s.At
	for i := range s.Past {
		r := s.Past[i].clone()
		m.past = append(m.past, &r)
	}
	m.past = m.past[max(len(m.past)-mostPast, 0):]
	for _, t := range s.Troubles {
		m.around(t.Service.Cluster).warned[warned{t.Key, t.Kind}] = troubled{t.First, t.Last}
	}
	m.resume(s.Releases)
	return nil
}

// reopen makes a tracker and a judge of their states.
func (m *Manager) reopen(s ManagerState) error {
	if err := m.begin(); err != nil {
		return err
	}
	if err := m.tracker.Restore(s.Tracker); err != nil {
		return err
	}
	if len(s.Judge) == 0 {
		return errors.New("nothing about the judge")
	}
	var judge JudgeState
	if err := json.Unmarshal(s.Judge, &judge); err != nil {
		return fmt.Errorf("read the state of the judge: %w", err)
	}
	return m.judge.Restore(judge)
}

// resume goes on with the releases that run, in the order of their starts: pools form anew.
func (m *Manager) resume(states []RunningState) {
	known := make(map[string]*RunningState, len(states))
	for i := range states {
		known[states[i].ID] = &states[i]
	}
	var running []*Release
	for _, f := range m.tracker.running {
		running = append(running, f.Running)
	}
	slices.SortFunc(running, func(a, b *Release) int { return a.order(b) })
	for _, r := range running {
		d := newDossier(r)
		if s := known[r.ID]; s != nil {
			d.adopt(s)
		}
		if r.Seen != nil {
			d.matches[0].set(r.Seen.Old.Match)
			d.matches[1].set(r.Seen.New.Match)
		}
		m.enter(d, r)
	}
}

func (d *dossier) adopt(s *RunningState) {
	d.record = s.Record.clone()
	d.record.Release = Release{}
	d.mostly, d.oldReady, d.basis = s.Mostly, s.OldReady, s.Basis
	d.sampleAt, d.freshAt, d.own = s.SampleAt, s.FreshAt, s.Own
	d.judgedAt, d.toldAt, d.toldVerdict, d.toldReached = s.JudgedAt, s.ToldAt, s.Told, s.Reached
	maps.Copy(d.oldShow, s.OldShow)
	if s.Facts != nil {
		d.facts = *s.Facts
	}
	for _, p := range s.Pods {
		d.pods[p.Name] = podSide{
			fresh: p.New, stranger: p.Stranger, again: p.Again, from: p.From, started: p.Started,
		}
	}
}
