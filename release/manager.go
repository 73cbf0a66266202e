package release

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/fleet"
)

// ManagerOptions configures a Manager. Zero values of optional fields stand for the defaults given
// here.
type ManagerOptions struct {
	// Report is handed every event. Required. It is called by one goroutine at a time and in order;
	// it may read (Records, Record, LastGood, Ledger) and call no other method.
	Report func(Event)

	Judge   Options        // What it takes to call a release regressed.
	Tracker TrackerOptions // Report and Ignored are called too, under the manager's lock.

	Reg    prometheus.Registerer // Nil keeps the metrics private.
	Logger *slog.Logger          // Discards.
}

// Manager follows the releases of all clusters and judges them while they run: it owns the Tracker,
// the Judge, and a Trial of each running release. Time arrives with the data, and the same calls in
// the same order give the same events. Its methods may be called concurrently.
type Manager struct {
	opts ManagerOptions

	telling sync.Mutex // Held while events are reported; taken before mu.
	mu      sync.Mutex // Guards what follows.
	tracker *Tracker
	judge   *Judge
	events  []Event // Not reported yet.
}

// NewManager returns a manager that follows nothing yet.
func NewManager(o ManagerOptions) (*Manager, error) {
	if o.Report == nil {
		return nil, errors.New("manage releases: Report is required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	judge, err := New(o.Judge)
	if err != nil {
		return nil, fmt.Errorf("manage releases: %w", err)
	}
	tracker, err := NewTracker(o.Tracker)
	if err != nil {
		return nil, err
	}
	return &Manager{opts: o, judge: judge, tracker: tracker}, nil
}

// Change takes in what happened to a workload.
func (m *Manager) Change(c fleet.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tracker.Change(c)
}

// Wanted says what is wanted of a cluster: how far its running releases are and what their pods
// did, and a look at workloads that something happened to and that nobody has looked at. Pods are
// known from looks: ask again after Observe.
func (m *Manager) Wanted(cluster string, now time.Time) []Want { return nil }

// Observe takes in how far a rollout is.
func (m *Manager) Observe(p Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tracker.Observe(p)
}

// Sample takes in the samples of one instant, of each release in the order of time.
func (m *Manager) Sample(cluster string, at time.Time, samples []Sample) {}

// Fetched says that all samples of a release up to a time have been handed over, however few there
// were. Without it, they are asked for again.
func (m *Manager) Fetched(release string, until time.Time) {}

// Advance says what time it is in a cluster. Verdicts are made here.
func (m *Manager) Advance(cluster string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tracker.Advance(cluster, now)
}

// Review judges a running release anew, with all that has been taken in so far. DataAt says how
// new that is.
func (m *Manager) Review(id string, now time.Time) (Record, error) {
	return Record{}, ErrNotRunning
}

// Records returns the releases that run and the newest of those that are over, by start.
func (m *Manager) Records() []Record { return nil }

// Record returns one of them; false if it is not known.
func (m *Manager) Record(id string) (Record, bool) { return Record{}, false }

// LastGood returns the revision of a workload that was accepted last, other than the one given.
func (m *Manager) LastGood(k Key, other string) (Known, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracker.LastGood(k, other)
}

// Ledger returns what is known of the revisions of a workload, by first appearance.
func (m *Manager) Ledger(k Key) []Known {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracker.Ledger(k)
}

// Mark records what a person says of a revision. It overrules verdicts.
func (m *Manager) Mark(k Key, hash string, s Standing, by string, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tracker.Mark(k, hash, s, by, at)
}
