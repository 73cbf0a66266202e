// Package collectors runs the sources of each cluster, and changes them while they run.
package collectors

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Source yields what is known of one cluster. Run returns when ctx is done; an error before that is a failure, after
// which the sources of the cluster are built anew.
type Source interface {
	Run(ctx context.Context) error
}

// ClusterSpec says how the sources of one cluster are built.
type ClusterSpec struct {
	Name  string
	Key   string                   // Two specs of one cluster with the same key are the same.
	Build func() ([]Source, error) // Called again after a failure.
}

// ManagerOptions configures a Manager. Zero values of optional fields stand for the defaults given here.
type ManagerOptions struct {
	Removed    func(cluster string) // Told when the sources of a cluster that is gone have stopped; nobody.
	Starts     int                  // Clusters that may be built at the same time; 16.
	MinBackoff time.Duration        // Before sources are built again after a failure; 1s.
	MaxBackoff time.Duration        // 1m.
	Logger     *slog.Logger         // Discards.
	Reg        prometheus.Registerer
}

// State says how it stands with the sources of a cluster.
type State string

// The states.
const (
	Starting State = "starting"
	Running  State = "running"
	Failed   State = "failed" // They cannot be built, or ended; they will be built again.
)

// ClusterStatus says how it stands with the sources of a cluster.
type ClusterStatus struct {
	Name   string    `json:"name"`
	State  State     `json:"state"`
	Reason string    `json:"reason,omitempty"` // Why they failed.
	Since  time.Time `json:"since"`
}

// Manager owns the sources of all clusters. Its methods may be called concurrently.
type Manager struct {
	opts    ManagerOptions
	logger  *slog.Logger
	metrics *metrics
	starts  chan struct{} // As many as may be built at the same time.

	mu       sync.Mutex // Guards what follows.
	ctx      context.Context
	stopped  bool
	clusters map[string]*runner
	leaving  map[string]*runner // Of clusters that are gone, until they have ended.
	wg       sync.WaitGroup
}

// NewManager returns a manager without clusters.
func NewManager(opts ManagerOptions) *Manager {
	if opts.Removed == nil {
		opts.Removed = func(string) {}
	}
	if opts.Starts <= 0 {
		opts.Starts = 16
	}
	if opts.MinBackoff <= 0 {
		opts.MinBackoff = time.Second
	}
	if opts.MaxBackoff < opts.MinBackoff {
		opts.MaxBackoff = max(time.Minute, opts.MinBackoff)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Manager{
		opts:     opts,
		logger:   opts.Logger.With("component", "collectors"),
		metrics:  newMetrics(opts.Reg),
		starts:   make(chan struct{}, opts.Starts),
		clusters: make(map[string]*runner),
		leaving:  make(map[string]*runner),
	}
}

// Run keeps the sources running until ctx is done, and returns when all have stopped.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.ctx = ctx
	for _, r := range m.clusters {
		m.start(r)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.wg.Wait()
	return nil
}

// Apply makes the clusters be those of specs: unchanged ones go on undisturbed, changed ones are stopped and built
// anew, those that are gone are stopped. It does not wait for any of it.
func (m *Manager) Apply(specs []ClusterSpec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := make(map[string]bool)
	for _, spec := range specs {
		wanted[spec.Name] = true
		old := m.clusters[spec.Name]
		if old != nil && old.spec.Key == spec.Key {
			continue
		}
		r := &runner{manager: m, spec: spec, gone: make(chan struct{})}
		r.set(Starting, "", time.Now())
		if old != nil {
			r.after = old.gone
			old.stop()
		} else if left := m.leaving[spec.Name]; left != nil {
			r.after = left.gone
		}
		m.clusters[spec.Name] = r
		m.start(r)
	}
	for name, r := range m.clusters {
		if !wanted[name] {
			delete(m.clusters, name)
			r.removed = true
			m.leaving[name] = r
			r.stop()
		}
	}
	m.count()
}

// start starts a runner if the manager runs. m.mu is held.
func (m *Manager) start(r *runner) {
	if m.ctx == nil || m.stopped || r.cancel != nil {
		return
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(m.ctx)
	m.wg.Go(func() { r.run(ctx) })
}

// Status says how it stands with each cluster, by name.
func (m *Manager) Status() []ClusterStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]ClusterStatus, 0, len(m.clusters))
	for _, r := range m.clusters {
		out = append(out, r.status)
	}
	slices.SortFunc(out, func(a, b ClusterStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// count brings the gauges up to date. m.mu is held.
func (m *Manager) count() {
	n := map[State]int{}
	for _, r := range m.clusters {
		n[r.status.State]++
	}
	for _, s := range []State{Starting, Running, Failed} {
		m.metrics.clusters.WithLabelValues(string(s)).Set(float64(n[s]))
	}
}
