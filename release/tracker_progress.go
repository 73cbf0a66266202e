package release

import (
	"slices"
	"strings"
	"time"
)

// Strategy says how pods are replaced.
type Strategy string

// The strategies.
const (
	RollingUpdate Strategy = "rolling"
	Recreate      Strategy = "recreate" // All old pods go before the first new one comes.
	Canary        Strategy = "canary"   // By weights or by hand.
)

// Progress is how far a workload's rollout was at one instant. It must not change once it is
// observed.
type Progress struct {
	Key

	At         time.Time   `json:"at"`
	UID        string      `json:"uid,omitempty"`
	Strategy   Strategy    `json:"strategy,omitempty"`
	Weight     int         `json:"weight,omitempty"` // Of a canary: percent of the traffic.
	Paused     bool        `json:"paused,omitempty"` // Also: it waits for somebody at a step.
	Desired    int32       `json:"desired"`
	Old        Side        `json:"old"` // All other revisions; the hash is of the newest.
	New        Side        `json:"new"` // What the workload asks for now.
	Conditions []Condition `json:"conditions,omitempty"`
}

// Side is what runs of one revision. Pods may be fewer than Created: they are listed as far as
// known.
type Side struct {
	Hash      string `json:"hash"`
	Created   int32  `json:"created"`
	Ready     int32  `json:"ready"`
	Available int32  `json:"available"`
	Pods      []Pod  `json:"pods,omitempty"`
	// Match is a regular expression that names of its pods have, also of those that are gone.
	// It is empty if names do not tell.
	Match string `json:"match,omitempty"`
}

// Pod is one pod as its status describes it.
type Pod struct {
	Name       string    `json:"name"`
	Started    time.Time `json:"started,omitzero"`
	Ready      bool      `json:"ready,omitempty"`
	Waiting    string    `json:"waiting,omitempty"`    // Why a container waits: CrashLoopBackOff.
	Terminated string    `json:"terminated,omitempty"` // Why one ended last: OOMKilled.
}

// Condition is one of a workload's conditions that is worth telling: the reason says which.
type Condition struct {
	Reason  string    `json:"reason"` // ProgressDeadlineExceeded, MinimumReplicasUnavailable.
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// complete reports whether all pods are of the new revision and available.
func (p *Progress) complete() bool {
	return p.Old.Created == 0 && p.New.Created >= p.Desired && p.New.Available >= p.Desired
}

// condition returns the condition with a reason, unless it is older than the release.
func (p *Progress) condition(reason string, start time.Time) (Condition, bool) {
	for _, c := range p.Conditions {
		if c.Reason == reason && (c.Since.IsZero() || !c.Since.Before(start)) {
			return c, true
		}
	}
	return Condition{}, false
}

// Observe takes in how far a rollout is. What is late or of another revision than the one that is
// being released is ignored. The first look at a workload may find a rollout that began before
// anybody looked.
func (t *Tracker) Observe(p Progress) {
	p.At = p.At.UTC()
	p = p.bounded(t.opts.Pods)
	f := t.follow(p.Key)
	if f == nil {
		t.ignore(p.Key, TooManyWorkloads)
		return
	}
	if f.passed(p.UID, p.At) {
		t.ignore(p.Key, Late)
		return
	}
	if f.Current == "" && p.New.Hash != "" {
		t.meet(f, &p)
	}
	r := f.Running
	if r == nil {
		return
	}
	if !t.waits(r, p.At) {
		t.settle(f, p.At)
	}
	if r.State.Running() && t.fits(r, &p) {
		t.advance(f, r, &p)
	}
}

// fits reports whether progress is news of a release.
func (t *Tracker) fits(r *Release, p *Progress) bool {
	late := p.At.Before(r.Start) || r.Seen != nil && !r.Seen.At.Before(p.At)
	other := p.New.Hash != r.New.Hash || p.UID != "" && r.UID != "" && p.UID != r.UID
	if late || other {
		t.ignore(p.Key, Late)
		return false
	}
	return true
}

// bounded returns p with at most so many pods of each side.
func (p Progress) bounded(most int) Progress {
	if len(p.New.Pods) > most {
		p.New.Pods = slices.Clip(p.New.Pods[:most])
	}
	if len(p.Old.Pods) > most {
		p.Old.Pods = slices.Clip(p.Old.Pods[:most])
	}
	return p
}

// meet takes in a workload that nobody has told of. A rollout that is going on is adopted.
func (t *Tracker) meet(f *Followed, p *Progress) {
	f.UID, f.Current, f.Paused, f.Met = p.UID, p.New.Hash, p.Paused, p.At
	rolling := p.Old.Created > 0 && p.Old.Hash != "" && p.Old.Hash != p.New.Hash
	if !rolling {
		f.note(p.New.Hash, p.At, t.opts.Revisions)
		return
	}
	start := p.At
	for _, pod := range p.New.Pods {
		if !pod.Started.IsZero() && pod.Started.Before(start) {
			start = pod.Started.UTC()
		}
	}
	r := &Release{Key: f.Key, UID: p.UID, Start: start}
	r.Old.Hash, r.New.Hash = p.Old.Hash, p.New.Hash
	r.Reason = "it was going on when the workload was first seen"
	t.begin(f, r)
}

// advance applies an observation that fits.
func (t *Tracker) advance(f *Followed, r *Release, p *Progress) {
	if r.UID == "" {
		r.UID = p.UID
	}
	resumed := r.Paused && !p.Paused
	r.Seen, r.Paused, f.Paused = p, p.Paused, p.Paused
	if p.Strategy != "" {
		r.Strategy = p.Strategy
	}
	for _, pod := range p.New.Pods {
		if r.started(pod) && !pod.Started.IsZero() &&
			(r.FirstPod.IsZero() || pod.Started.Before(r.FirstPod)) {
			r.FirstPod = pod.Started.UTC()
		}
	}
	further := r.Reached.grow(p)
	if further || resumed || r.Progressed.IsZero() {
		r.Progressed = p.At
	}
	t.witness(r, p)
	t.judgeProgress(f, r, p, further)
}

// judgeProgress moves a release between its running states.
func (t *Tracker) judgeProgress(f *Followed, r *Release, p *Progress, further bool) {
	if r.State == Soaking {
		return
	}
	if p.complete() {
		r.Complete = p.At
		t.move(f, r, Soaking, p.At, "all pods are of the new revision")
		return
	}
	if c, ok := p.condition(string(DeadlineExceeded), r.Start); ok {
		t.move(f, r, Stalled, p.At, strings.TrimSpace("the progress deadline is exceeded "+c.Message))
		return
	}
	if further {
		t.move(f, r, Rolling, p.At, "it progresses")
		return
	}
	if at := r.Progressed.Add(t.opts.Deadline); !r.Paused && !at.After(p.At) {
		t.move(f, r, Stalled, at, "no progress for "+t.opts.Deadline.String())
	}
}

// grow reports whether an observation is further than all before it. Scaling may look like
// progress: then it takes the longer to call a release stalled.
func (m *Reached) grow(p *Progress) bool {
	before := *m
	m.Created = max(m.Created, p.New.Created)
	m.Available = max(m.Available, p.New.Available)
	m.Most = max(m.Most, p.Old.Created)
	m.Replaced = max(m.Replaced, m.Most-p.Old.Created)
	return m.Created > before.Created || m.Available > before.Available ||
		m.Replaced > before.Replaced
}
