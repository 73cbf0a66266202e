package collectors

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"
)

// runner runs the sources of one cluster.
type runner struct {
	manager *Manager
	spec    ClusterSpec
	after   <-chan struct{} // Closed when the runner that this one replaces has ended; nil: there is none.
	gone    chan struct{}   // Closed when this one has ended.

	// Guarded by the manager's lock.
	cancel  context.CancelFunc // Nil before the start.
	removed bool               // The cluster is gone for good.
	status  ClusterStatus
}

// errEnded means that a source stopped though nobody asked it to.
var errEnded = errors.New("a source ended by itself")

// set changes the status. The manager's lock is held.
func (r *runner) set(s State, reason string, now time.Time) {
	r.status = ClusterStatus{Name: r.spec.Name, State: s, Reason: reason, Since: now}
}

// stop ends a runner. The manager's lock is held.
func (r *runner) stop() {
	if r.cancel != nil {
		r.cancel()
		return
	}
	r.manager.wg.Go(r.end)
}

// end is the last that a runner does.
func (r *runner) end() {
	m := r.manager
	m.mu.Lock()
	removed := r.removed
	m.mu.Unlock()
	if removed {
		m.opts.Removed(r.spec.Name)
	}
	m.mu.Lock()
	if m.leaving[r.spec.Name] == r {
		delete(m.leaving, r.spec.Name)
	}
	m.mu.Unlock()
	close(r.gone)
}

// run builds the sources and runs them until ctx is done, again and again if they fail.
func (r *runner) run(ctx context.Context) {
	defer r.end()
	if r.after != nil {
		<-r.after // Two sources of one cluster at a time would send everything twice.
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = r.manager.opts.MinBackoff, r.manager.opts.MaxBackoff
	for ctx.Err() == nil {
		began := time.Now()
		err := r.attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > 10*wait.MaxInterval {
			wait.Reset()
		}
		r.rest(ctx, err, wait.NextBackOff())
	}
}

// rest says that the sources failed, and waits.
func (r *runner) rest(ctx context.Context, err error, pause time.Duration) {
	r.report(Failed, err.Error())
	r.manager.metrics.failures.Inc()
	r.manager.logger.Error("Sources of a cluster failed", "cluster", r.spec.Name, "err", err, "again_in", pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// attempt builds the sources and runs them until one fails or ctx is done.
func (r *runner) attempt(ctx context.Context) error {
	select {
	case r.manager.starts <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	sources, err := r.spec.Build()
	<-r.manager.starts
	if err != nil {
		return err
	}
	r.report(Running, "")
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range sources {
		g.Go(func() error {
			err := s.Run(ctx)
			if err == nil && ctx.Err() == nil {
				err = errEnded
			}
			return err
		})
	}
	return g.Wait()
}

func (r *runner) report(s State, reason string) {
	r.manager.mu.Lock()
	defer r.manager.mu.Unlock()
	r.set(s, reason, time.Now())
	r.manager.count()
}
