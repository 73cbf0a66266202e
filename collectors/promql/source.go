package promql

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"tocsin/series"
)

// maxSilence bounds the time between two attempts at a source that does not answer.
const maxSilence = 30 * time.Second

// glance bounds how long the loop waits without a look at the clock, which may jump.
const glance = 10 * time.Second

// Source pulls the signals of one cluster.
type Source struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics
	now     func() time.Time // What the wall says, for instants. Waits are measured by time.Now.
	api     *api
	queries []*query // Volumes first.
	probes  []*probe
	pods    *pods
	phase   time.Duration // When in an interval this cluster has its turn.

	// Run's own.
	last       int64 // The newest instant that the sink has, in milliseconds; 0: none.
	tried      int64 // The newest instant that was asked for.
	down       *backoff.ExponentialBackOff
	isDown     bool
	retry      time.Time // The source is not to be asked before.
	turn       int       // Which query goes first while the source is down.
	catchUp    time.Duration
	probeAt    time.Time
	probeWait  time.Duration
	backfilled bool
	wentBack   bool // The clock did, and that was counted.
	scratch    series.Batch

	mu     sync.Mutex // Guards what follows.
	status Status
	heard  time.Time // When the source answered, or was first asked.
}

// New returns a Source that asks nothing before Run.
func New(o Options) (*Source, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("source of cluster %q: %w", o.Cluster, err)
	}
	s := &Source{
		opts:    o,
		logger:  o.Logger.With("component", "promql", "cluster", o.Cluster),
		metrics: newMetrics(o.Reg),
		now:     time.Now,
		catchUp: o.CatchUp,
		down:    newBackOff(max(o.Interval, time.Second)),
	}
	var err error
	if s.queries, err = newQueries(&s.opts); err != nil {
		return nil, fmt.Errorf("source of cluster %q: %w", o.Cluster, err)
	}
	if s.api, err = newAPI(&s.opts, func() time.Time { return s.now() }); err != nil {
		return nil, err
	}
	if !o.Since.IsZero() {
		s.last = o.Since.UnixMilli()
	}
	s.pods = newPods(s)
	s.probes = newProbes(s.queries, s.pods, o.Registry)
	s.phase = phase(o.Cluster, o.Spread/time.Duration(len(s.queries)))
	s.status = Status{
		Cluster: o.Cluster, State: Starting, Packs: []PackStatus{},
		Signals: make([]SignalStatus, len(s.queries)),
	}
	for _, q := range s.queries {
		s.status.Signals[q.number] = SignalStatus{Signal: q.Signal, Pack: q.Pack, State: Waiting}
	}
	s.notePacks()
	return s, nil
}

// newBackOff returns how long to wait after the first, second, ... failure in a row.
func newBackOff(begin time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = begin, max(maxSilence, begin), 2
	b.RandomizationFactor = 0.1
	b.Reset()
	return b
}

// phase spreads clusters over the time that one query of each has for itself.
func phase(cluster string, slot time.Duration) time.Duration {
	if slot <= 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(cluster)) // It cannot fail.
	return time.Duration(h.Sum64() % uint64(slot))
}

// Run asks the source until ctx is done, then returns nil. An error is the sink's. It may be
// called again after it has returned, and goes on where it was.
func (s *Source) Run(ctx context.Context) error {
	s.metrics.begin(s.opts.Cluster)
	defer s.metrics.end(s.opts.Cluster)
	defer s.opts.Client.CloseIdleConnections()
	s.begin()
	err := s.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// begin starts the clock of staleness and shows every signal's state.
func (s *Source) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
	for i := range s.status.Signals {
		state := string(s.status.Signals[i].State)
		s.metrics.signals.WithLabelValues(s.opts.Cluster, state).Inc()
	}
}

func (s *Source) run(ctx context.Context) error {
	if err := s.arrive(ctx); err != nil {
		return err
	}
	if !s.backfilled {
		if err := s.backfill(ctx); err != nil {
			return err
		}
		s.backfilled = true
	}
	s.enter(Live)
	for {
		at, err := s.await(ctx)
		if err != nil {
			return err
		}
		if err := s.tick(ctx, at); err != nil {
			return err
		}
		s.probeIfDue(ctx, at)
	}
}

// due returns when instant at is asked for.
func (s *Source) due(at int64) time.Time {
	return time.UnixMilli(at).Add(s.opts.Lag + s.phase)
}

// await returns the newest instant that is due, has not been tried, and lies behind all that
// the sink has, once there is one. Waits are measured by a clock that does not jump, but end
// soon enough to see that the one on the wall has.
func (s *Source) await(ctx context.Context) (int64, error) {
	interval := s.opts.Interval.Milliseconds()
	for {
		now := s.now()
		at := align(now.Add(-s.opts.Lag-s.phase).UnixMilli(), interval)
		if at > s.last && at != s.tried && !time.Now().Before(s.retry) {
			s.wentBack = false
			return at, nil
		}
		if at < s.last-interval && !s.wentBack {
			s.wentBack = true
			s.logger.Warn("Clock went back, waiting until it has caught up",
				"newest", time.UnixMilli(s.last).UTC(), "now", now.UTC())
			s.metrics.skipped.WithLabelValues(s.opts.Cluster, skippedClock).
				Add(float64((s.last - at) / interval))
		}
		wait := s.due(at + interval).Sub(now)
		if err := sleep(ctx, min(max(wait, time.Millisecond), glance)); err != nil {
			return 0, err
		}
		s.refresh()
	}
}

// sleep waits for d, or until ctx is done, which is an error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
