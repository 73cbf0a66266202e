// Package kube watches the workloads and the Warning events of one Kubernetes cluster and tells
// what changed.
//
// It keeps a digest of each Deployment, StatefulSet, DaemonSet and Argo Rollout, not the object,
// and watches neither pods nor ReplicaSets: the memory of a fleet's hub depends on that. What
// happened while nobody watched is found by comparing the cluster with that digest, which therefore
// outlives connections, relists and, through State, the process. Who follows a rollout asks for its
// pods by Look, as long as it lasts.
package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"

	"tocsin/fleet"
)

// Options configures a Watcher. Zero values of optional fields stand for the defaults given here.
type Options struct {
	Cluster string                       // Name of the cluster: required.
	Config  *rest.Config                 // How to reach it. Required if Load is nil.
	Load    func() (*rest.Config, error) // Instead of Config: asked again while access fails.
	Report  func(fleet.Change)           // Required. In order, by one goroutine; may block.
	State   *State                       // Of an earlier Watcher; nil: what exists is not news.

	Namespaces []string      // To watch; all.
	Stale      time.Duration // How long a cluster may be silent before it counts as stale; 45s.
	Repeat     time.Duration // How often a growing group of events is reported again; 30s.
	Quiet      time.Duration // Silence after which the next event begins a new group; 15m.
	Slots      chan struct{} // Shared: one is held while listing first. Nil: no limit.

	Logger *slog.Logger          // Discards.
	Reg    prometheus.Registerer // Nil keeps the metrics private.
}

func (o *Options) validate() error {
	switch {
	case o.Cluster == "":
		return errors.New("watch a cluster: Cluster is empty")
	case o.Config == nil && o.Load == nil:
		return fmt.Errorf("watch cluster %s: Config and Load are nil", o.Cluster)
	case o.Report == nil:
		return fmt.Errorf("watch cluster %s: Report is nil", o.Cluster)
	}
	if o.Load == nil {
		fixed := o.Config
		o.Load = func() (*rest.Config, error) { return fixed, nil }
	}
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{""}
	}
	o.Stale = orDefault(o.Stale, 45*time.Second)
	o.Repeat = orDefault(o.Repeat, 30*time.Second)
	o.Quiet = orDefault(o.Quiet, 15*time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Reg == nil {
		o.Reg = prometheus.NewRegistry()
	}
	return nil
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// Watcher watches one cluster. Its methods may be called concurrently.
type Watcher struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics
	health  *health
	inbox   chan message // From the stores to Run; unbuffered: a slow Report slows the watch.
	looks   flowcontrol.RateLimiter
	looker  atomic.Pointer[looker] // Of the session; nil before the first one.

	mu     sync.Mutex // Guards memory against readers; only Run writes it.
	memory *memory
}

// New returns a Watcher that does nothing until Run.
func New(opts Options) (*Watcher, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	w := &Watcher{
		opts:   opts,
		logger: opts.Logger.With("component", "kube", "cluster", opts.Cluster),
		inbox:  make(chan message),
		looks:  newLookLimit(),
	}
	w.memory = restore(opts)
	w.health = newHealth(opts)
	w.metrics = newMetrics(opts.Cluster, w)
	return w, nil
}

// Run watches until ctx is done, then returns nil. A cluster that cannot be reached is not an
// error: Status says so, and Run keeps trying.
func (w *Watcher) Run(ctx context.Context) error {
	if err := w.opts.Reg.Register(w.metrics.registry); err != nil {
		return fmt.Errorf("watch cluster %s: register metrics: %w", w.opts.Cluster, err)
	}
	defer w.opts.Reg.Unregister(w.metrics.registry)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(klog.NewContext(ctx, klog.New(logSink{w.logger})))
	defer cancel()
	w.health.start(time.Now())
	wg.Go(func() { w.sessions(ctx) })

	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-w.inbox:
			w.handle(m, time.Now())
		case now := <-tick.C:
			w.events(nil, now)
			w.watchdog(now)
		}
	}
}

// State returns what a later Watcher needs to go on where this one is. A change is reported before
// it is remembered: whoever resumes from a State hears of a change again, with the same ID, rather
// than never.
func (w *Watcher) State() *State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.memory.state()
}

// watchdog logs when the cluster becomes stale and when it is back.
func (w *Watcher) watchdog(now time.Time) {
	was, since, reason := w.health.judge(now)
	switch is := !since.IsZero(); {
	case is && !was:
		w.logger.Warn("Cluster is stale", "since", since, "reason", reason)
	case was && !is:
		w.logger.Info("Cluster is fresh again")
	}
}
