package release

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/fleet"
)

// ManagerOptions configures a Manager. Zero values of optional fields stand for the defaults given
// here.
type ManagerOptions struct {
	// Report is handed every event. Required. It is called by one goroutine at a time and in order,
	// and may call any method but State. What it causes is reported after it has returned.
	Report func(Event)

	Judge   Options        // What it takes to call a release regressed.
	Tracker TrackerOptions // Report and Ignored are called too, and must not call the manager.
	Pods    int            // Whose samples are followed at once; 10,000, which take 0.5 GB or so.

	Reg    prometheus.Registerer // Nil keeps the metrics private.
	Logger *slog.Logger          // Discards.
}

// What is kept, at most.
const (
	mostPast    = 1000 // Records of releases that are over.
	mostPods    = 100  // Pods of each side that are taken in, at each instant.
	mostNames   = 1000 // Pods of a release that are remembered.
	mostUnseen  = 1000 // Workloads of a cluster that wait for a look.
	mostWarned  = 1000 // Workloads of a cluster whose trouble is remembered.
	mostMembers = 64   // Clusters whose releases are judged together.
)

// Manager follows the releases of all clusters and judges them while they run: it owns the Tracker,
// the Judge, and a Trial of each running release. Time arrives with the data: the same calls in the
// same order give the same events. Its methods may be called concurrently.
type Manager struct {
	opts    ManagerOptions
	logger  *slog.Logger
	metrics *metrics

	mu      sync.Mutex // Guards what follows.
	told    *sync.Cond // All events were reported.
	tracker *Tracker
	judge   *Judge
	steps   []Transition // Of the tracker, not taken in yet.
	events  []Event      // Not reported yet.
	telling bool         // Somebody reports them.
	now     time.Time    // The newest time that was heard of.

	running  map[string]*dossier // By ID of the release.
	services map[fleet.Service][]*dossier
	touched  []*dossier // Have got samples of the instant at hand.
	counting int        // Pods whose samples are followed.
	past     []*Record  // Over, by end.
	pools    map[poolKey]*pool
	clusters map[string]*surroundings
}

// surroundings are what is known of a cluster beside its releases.
type surroundings struct {
	unseen map[Key]int         // Looks that were asked for, of workloads that nobody has seen yet.
	warned map[warned]troubled // Workloads that are in trouble without a release.
}

// NewManager returns a manager that follows nothing yet.
func NewManager(o ManagerOptions) (*Manager, error) {
	if o.Report == nil {
		return nil, errors.New("manage releases: Report is required")
	}
	if o.Pods = cmp.Or(o.Pods, 10_000); o.Pods < 0 {
		return nil, fmt.Errorf("manage releases: %d pods: want a positive number", o.Pods)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{
		opts: o, logger: o.Logger.With("component", "release"), metrics: newMetrics(o.Reg),
		running: map[string]*dossier{}, services: map[fleet.Service][]*dossier{},
		pools: map[poolKey]*pool{}, clusters: map[string]*surroundings{},
	}
	m.told = sync.NewCond(&m.mu)
	if err := m.begin(); err != nil {
		return nil, fmt.Errorf("manage releases: %w", err)
	}
	return m, nil
}

// begin makes the judge and the tracker.
func (m *Manager) begin() error {
	judge, err := New(m.opts.Judge)
	if err != nil {
		return err
	}
	t := m.opts.Tracker
	t.Report = func(tr Transition) {
		m.steps = append(m.steps, tr)
		if m.opts.Tracker.Report != nil {
			m.opts.Tracker.Report(tr)
		}
	}
	t.Ignored = func(k Key, why Reason) {
		m.metrics.ignored.WithLabelValues(string(why)).Inc()
		if m.opts.Tracker.Ignored != nil {
			m.opts.Tracker.Ignored(k, why)
		}
	}
	tracker, err := NewTracker(t)
	if err != nil {
		return err
	}
	tracker.forgotten = func(k Key) { m.judge.Forget(modelName(k)) }
	tracker.waits = m.waits
	m.judge, m.tracker = judge, tracker
	return nil
}

// do runs what changes something, and reports what came of it. If somebody reports already, that
// one goes on with it.
func (m *Manager) do(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	m.follow()
	if m.telling {
		return
	}
	m.telling = true
	for len(m.events) > 0 {
		events := m.events
		m.events = nil
		m.mu.Unlock()
		for i := range events {
			m.opts.Report(events[i])
		}
		m.mu.Lock()
	}
	m.telling = false
	m.told.Broadcast()
}

// hear keeps the newest time.
func (m *Manager) hear(at time.Time) {
	if at.After(m.now) {
		m.now = at
	}
}

// around returns what is known of a cluster.
func (m *Manager) around(cluster string) *surroundings {
	s := m.clusters[cluster]
	if s == nil {
		s = &surroundings{unseen: map[Key]int{}, warned: map[warned]troubled{}}
		m.clusters[cluster] = s
	}
	return s
}

// Change takes in what happened to a workload.
func (m *Manager) Change(c fleet.Change) {
	c.At = c.At.UTC()
	m.do(func() {
		m.hear(c.At)
		k := Key{c.Service, c.Workload}
		if c.Kind == fleet.Warning && c.Event != nil {
			m.warn(k, c.Event)
		}
		m.tracker.Change(c)
		m.notice(k, c.Kind)
	})
}

// notice remembers to look at a workload that something happened to and that nobody has seen: a
// rollout may be going on that began before anybody watched.
func (m *Manager) notice(k Key, kind fleet.ChangeKind) {
	s := m.around(k.Service.Cluster)
	f := m.tracker.workloads[k]
	if f != nil && f.Current != "" || kind == fleet.Deleted || k.Service.Name == "" {
		delete(s.unseen, k)
		return
	}
	if _, ok := s.unseen[k]; !ok && len(s.unseen) < mostUnseen {
		s.unseen[k] = 0
	}
}

// Observe takes in how far a rollout is.
func (m *Manager) Observe(p Progress) {
	m.do(func() {
		m.hear(p.At)
		m.tracker.Observe(p)
		m.follow()
		delete(m.around(p.Service.Cluster).unseen, p.Key)
		f := m.tracker.workloads[p.Key]
		if f == nil || f.Running == nil || f.Running.Seen == nil {
			return
		}
		if d := m.running[f.Running.ID]; d != nil && f.Running.Seen.At.Equal(p.At) {
			d.look(f.Running)
		}
	})
}

// Advance says what time it is in a cluster. Verdicts are made here, each at most every 15 s. After
// a pause of the program, what was missed is to be handed over first.
func (m *Manager) Advance(cluster string, now time.Time) {
	now = now.UTC()
	m.do(func() {
		m.hear(now)
		for _, r := range m.tracker.Running(cluster) {
			d := m.running[r.ID]
			at := now
			if end := m.tracker.over(&r); r.State == Soaking && !end.After(now) {
				at = end.Add(-time.Nanosecond) // The last word before its soak time is over.
			}
			if d != nil && at.Sub(d.judgedAt) >= judgeEvery && !m.waits(&r, now) {
				m.judgeRelease(d, &r, at)
			}
		}
		m.tracker.Advance(cluster, now)
		m.follow()
		m.gauges()
	})
}

// Remove gives up the releases of a cluster that nobody watches any more.
func (m *Manager) Remove(cluster string, now time.Time) {
	m.do(func() {
		m.tracker.Remove(cluster, now)
		delete(m.clusters, cluster)
		m.follow()
		m.gauges()
	})
}

// Review judges a running release anew, with all that has been taken in so far. DataAt says how
// new that is.
func (m *Manager) Review(id string, now time.Time) (rec Record, err error) {
	now = now.UTC()
	m.do(func() {
		m.hear(now)
		d, f := m.running[id], m.tracker.running[id]
		if d == nil || f == nil {
			err = fmt.Errorf("review release %s: %w", id, ErrNotRunning)
			return
		}
		if now.After(d.judgedAt) {
			r := f.Running.clone()
			m.judgeRelease(d, &r, now)
		}
		if m.follow(); m.running[id] == nil {
			err = fmt.Errorf("review release %s: %w", id, ErrNotRunning)
			return
		}
		rec = d.snapshot(f.Running)
	})
	return rec, err
}

// Records returns the releases that run and the newest of those that are over, by start.
func (m *Manager) Records() []Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Record, 0, len(m.past)+len(m.running))
	for _, r := range m.past {
		out = append(out, r.clone())
	}
	for id, d := range m.running {
		if f := m.tracker.running[id]; f != nil {
			out = append(out, d.snapshot(f.Running))
		}
	}
	slices.SortFunc(out, func(a, b Record) int { return a.Release.order(&b.Release) })
	return out
}

// Record returns one of them; false if it is not known.
func (m *Manager) Record(id string) (Record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d, f := m.running[id], m.tracker.running[id]; d != nil && f != nil {
		return d.snapshot(f.Running), true
	}
	for _, r := range slices.Backward(m.past) {
		if r.Release.ID == id {
			return r.clone(), true
		}
	}
	return Record{}, false
}

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

// Mark records what a person says of a revision. It overrules verdicts: a release of a revision
// that a person has accepted is not called regressed any more.
func (m *Manager) Mark(k Key, hash string, s Standing, by string, at time.Time) (err error) {
	m.do(func() {
		m.hear(at)
		if err = m.tracker.Mark(k, hash, s, by, at); err != nil {
			return
		}
		if f := m.tracker.workloads[k]; f.Running != nil {
			if d := m.running[f.Running.ID]; d != nil {
				d.mark(f.Running, hash, s, by)
				m.tell(d, f.Running, at.UTC(), nil)
			}
		}
		m.markPast(k, hash, s, by, at.UTC())
	})
	return err
}
