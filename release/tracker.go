package release

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"tocsin/fleet"
)

// ErrNotRunning means that a release is over, or was never followed.
var ErrNotRunning = errors.New("no such release is running")

// ErrUnknownRevision means that a workload has not had such a revision, or not for long.
var ErrUnknownRevision = errors.New("no such revision is known")

// TrackerOptions configures a Tracker. Zero values stand for the defaults given here.
type TrackerOptions struct {
	Report  func(Transition)  // Every step of every release, once. Must not call the Tracker.
	Ignored func(Key, Reason) // What was not followed, and why. Must not call the Tracker.

	Soak     time.Duration // How long a complete release is watched; 1 hour.
	Deadline time.Duration // How long a release may be without progress; 10 minutes.
	Fresh    time.Duration // How old the last verdict may be when the soak time is over; 10 minutes.
	Lost     time.Duration // After how long without a look it is given up; 6 hours.

	Releases  int // Running at once, in each cluster; 500.
	Workloads int // Remembered, in each cluster; 10,000.
	Revisions int // Remembered of each workload; 10.
	Past      int // Releases that are over, remembered of each workload; 8.
	Pods      int // Of each side of a release; 500.
}

// Reason says why something was not followed as a release.
type Reason string

// The reasons. The first four are no releases by nature; the others are losses.
const (
	ScaleOnly        Reason = "scaled only"
	RestartOnly      Reason = "restarted only"
	SameTemplate     Reason = "same template" // Rolled out anew, as by a new control plane.
	Duplicate        Reason = "duplicate"
	Late             Reason = "late"
	Malformed        Reason = "malformed"
	TooManyReleases  Reason = "too many releases"
	TooManyWorkloads Reason = "too many workloads"
	TooManyWarnings  Reason = "too many warnings"
)

// Tracker follows the releases of all workloads. The same reports in the same order give the same
// releases: time arrives with the data. It belongs to one goroutine.
type Tracker struct {
	opts      TrackerOptions
	forgotten func(Key) // A workload that is not remembered any longer.
	// waits says that a release whose soak time is over waits for its last verdict.
	waits func(*Release, time.Time) bool

	workloads map[Key]*Followed
	running   map[string]*Followed // By ID of the release.
	clusters  map[string]*tally
}

// tally counts what a cluster takes up.
type tally struct {
	releases  map[Key]*Followed // Those with a running release.
	workloads int
}

// Followed is what is remembered of one workload.
type Followed struct {
	Key

	UID      string    `json:"uid,omitempty"`
	Current  string    `json:"current,omitempty"` // Hash of what it asks for.
	Change   string    `json:"change,omitempty"`  // ID of the change that made it so.
	Met      time.Time `json:"met,omitzero"`      // First look, if nobody had told of it before.
	Paused   bool      `json:"paused,omitempty"`
	PausedAt time.Time `json:"paused_at,omitzero"` // When that changed last.
	Latest   time.Time `json:"latest,omitzero"`    // When it was released or created last.
	Gone     time.Time `json:"gone,omitzero"`      // When it was deleted last; then Current is empty.
	Running  *Release  `json:"running,omitempty"`
	Past     []Release `json:"past,omitempty"` // Over, by start.
	Ledger   []Known   `json:"ledger,omitempty"`
}

// NewTracker returns a tracker that knows nothing yet.
func NewTracker(o TrackerOptions) (*Tracker, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("track releases: %w", err)
	}
	if o.Report == nil {
		o.Report = func(Transition) {}
	}
	if o.Ignored == nil {
		o.Ignored = func(Key, Reason) {}
	}
	return &Tracker{
		opts: o, forgotten: func(Key) {}, waits: func(*Release, time.Time) bool { return false },
		workloads: map[Key]*Followed{},
		running:   map[string]*Followed{}, clusters: map[string]*tally{},
	}, nil
}

// fill puts in the defaults and refuses what makes no sense.
func (o *TrackerOptions) fill() error {
	for _, d := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{
		{"soak", &o.Soak, time.Hour},
		{"deadline", &o.Deadline, 10 * time.Minute},
		{"fresh", &o.Fresh, 10 * time.Minute},
		{"lost", &o.Lost, 6 * time.Hour},
	} {
		*d.value = cmp.Or(*d.value, d.usual)
		if *d.value < 0 {
			return fmt.Errorf("%s %s: want a positive duration", d.name, *d.value)
		}
	}
	for _, n := range []struct {
		name         string
		value        *int
		usual, least int
	}{
		{"releases", &o.Releases, 500, 1},
		{"workloads", &o.Workloads, 10_000, 1},
		{"revisions", &o.Revisions, 10, 7}, // More than must be kept at once.
		{"past", &o.Past, 8, 1},
		{"pods", &o.Pods, 500, 1},
	} {
		*n.value = cmp.Or(*n.value, n.usual)
		if *n.value < n.least {
			return fmt.Errorf("%s %d: want at least %d", n.name, *n.value, n.least)
		}
	}
	return nil
}

// Change takes in what happened to a workload, in any order, however often.
func (t *Tracker) Change(c fleet.Change) {
	c.At = c.At.UTC()
	k := Key{c.Service, c.Workload}
	if c.At.IsZero() || c.Service.Name == "" {
		t.ignore(k, Malformed)
		return
	}
	begins := c.Kind == fleet.Rollout || c.Kind == fleet.Created
	if !begins && t.workloads[k] == nil {
		return // It says nothing of a release.
	}
	f := t.follow(k)
	switch {
	case f == nil:
		t.ignore(k, TooManyWorkloads)
		return
	case f.passed(c.UID, c.At):
		t.ignore(k, Late)
		return
	}
	t.settle(f, c.At)
	t.dispatch(f, &c)
}

// dispatch hands a change to what knows its kind.
func (t *Tracker) dispatch(f *Followed, c *fleet.Change) {
	switch c.Kind {
	case fleet.Rollout:
		t.rollout(f, c)
	case fleet.Created:
		t.created(f, c)
	case fleet.Deleted:
		t.deleted(f, c)
	case fleet.Paused, fleet.Resumed:
		t.pause(f, c)
	case fleet.Scaled:
		t.ignore(f.Key, ScaleOnly)
		if r := f.Running; r != nil && c.At.After(r.Start) && c.At.After(r.Scaled) {
			r.Scaled = c.At
		}
	case fleet.Restarted:
		t.ignore(f.Key, RestartOnly)
		if r := f.Running; r != nil && c.At.After(r.Start) && c.At.After(r.Restarted) {
			r.Restarted = c.At
		}
	case fleet.Warning:
		t.warning(f, c)
	default:
		t.ignore(f.Key, Malformed)
	}
}

// Advance says what time it is in a cluster: soak times end, and what nobody has seen for too
// long is given up. After a pause of the program, what can be observed is to be observed first.
func (t *Tracker) Advance(cluster string, now time.Time) {
	c := t.clusters[cluster]
	if c == nil {
		return
	}
	var due []*Followed
	for _, f := range c.releases {
		if !t.over(f.Running).After(now) && !t.waits(f.Running, now) {
			due = append(due, f)
		}
	}
	slices.SortFunc(due, func(a, b *Followed) int { return a.compare(b.Key) })
	for _, f := range due {
		t.settle(f, now.UTC())
		t.lose(f, now.UTC())
	}
}

// Running returns the releases of a cluster that are running, by workload.
func (t *Tracker) Running(cluster string) []Release {
	c := t.clusters[cluster]
	if c == nil {
		return nil
	}
	out := make([]Release, 0, len(c.releases))
	for _, f := range c.releases {
		out = append(out, f.Running.clone())
	}
	slices.SortFunc(out, func(a, b Release) int { return a.compare(b.Key) })
	return out
}

// Releases returns the releases of a workload that are remembered, by start.
func (t *Tracker) Releases(k Key) []Release {
	f := t.workloads[k]
	if f == nil {
		return nil
	}
	out := make([]Release, 0, len(f.Past)+1)
	for i := range f.Past {
		out = append(out, f.Past[i].clone())
	}
	if f.Running != nil {
		out = append(out, f.Running.clone())
	}
	return out
}

// passed reports whether something is of a time before the workload was deleted, or of the object
// that was.
func (f *Followed) passed(uid string, at time.Time) bool {
	return at.Before(f.Gone) || f.Current == "" && !f.Gone.IsZero() && uid != "" && uid == f.UID
}

// follow returns what is remembered of a workload. If there are too many in its cluster, the one
// that was deleted first is forgotten; if none was, it returns nil.
func (t *Tracker) follow(k Key) *Followed {
	if f := t.workloads[k]; f != nil {
		return f
	}
	c := t.clusters[k.Service.Cluster]
	if c == nil {
		c = &tally{releases: map[Key]*Followed{}}
		t.clusters[k.Service.Cluster] = c
	}
	if c.workloads >= t.opts.Workloads && !t.evict(k.Service.Cluster) {
		return nil
	}
	f := &Followed{Key: k}
	t.workloads[k] = f
	c.workloads++
	return f
}

// evict forgets the workload of a cluster that was deleted first, and reports whether there was
// one.
func (t *Tracker) evict(cluster string) bool {
	var first *Followed
	for k, f := range t.workloads {
		if k.Service.Cluster != cluster || f.Current != "" {
			continue
		}
		if first != nil && cmp.Or(f.Gone.Compare(first.Gone), f.compare(first.Key)) > 0 {
			continue
		}
		first = f
	}
	if first == nil {
		return false
	}
	delete(t.workloads, first.Key)
	t.clusters[cluster].workloads--
	t.forgotten(first.Key)
	return true
}

func (t *Tracker) ignore(k Key, why Reason) { t.opts.Ignored(k, why) }
