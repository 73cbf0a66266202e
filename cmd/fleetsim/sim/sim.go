// Package sim simulates a fleet of services: its traffic, its pods, its releases and what goes
// wrong in it.
package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Fleet is a simulated fleet. Its methods may be called concurrently.
type Fleet struct {
	opts     Options
	clusters []*cluster
	clock    clock

	mu       sync.Mutex // Guards what follows; taken before that of a cluster.
	faults   []*Fault
	injected uint64
}

// clock says how long the fleet has lived: by real time while it runs, else by what Advance was
// told.
type clock struct {
	mu      sync.Mutex
	began   time.Time
	elapsed time.Duration
}

func (c *clock) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.began = time.Now().Add(-c.elapsed)
}

func (c *clock) advance(to time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.elapsed = max(c.elapsed, to)
}

func (c *clock) read() (elapsed time.Duration, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began.IsZero() {
		return c.elapsed, c.began
	}
	return time.Since(c.began), c.began
}

// New makes a fleet at its beginning. It refuses faults that match no cluster and service.
func New(opts Options) (*Fleet, error) {
	opts.ensureDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	f := &Fleet{opts: opts}
	list := newCatalogue(opts.Seed, opts.Services)
	for i := range opts.Clusters {
		f.clusters = append(f.clusters, newCluster(clusterName(i), i, &f.opts, list))
	}
	if err := f.Inject(slices.Clone(opts.Faults)...); err != nil {
		return nil, err
	}
	return f, nil
}

// Run lets the fleet live in real time until ctx is done, then returns nil.
func (f *Fleet) Run(ctx context.Context) error {
	f.clock.start()
	tick := time.NewTicker(f.opts.Step)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := f.advance(ctx, f.Elapsed()); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// Advance moves a fleet that does not Run to an instant after its beginning. Time does not go back.
func (f *Fleet) Advance(ctx context.Context, to time.Duration) error {
	f.clock.advance(to)
	return f.advance(ctx, to)
}

// advance moves all clusters, as many at a time as there are processors for.
func (f *Fleet) advance(ctx context.Context, to time.Duration) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, c := range f.clusters {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.advance(to.Seconds())
			return nil
		})
	}
	return group.Wait()
}

// parallel is how many clusters advance at a time.
const parallel = 8

// Elapsed returns the real time since the fleet began.
func (f *Fleet) Elapsed() time.Duration {
	elapsed, _ := f.clock.read()
	return elapsed
}

// origin is the real time at which the fleet began; by the calendar, if time is moved by Advance.
func (f *Fleet) origin() time.Time {
	if _, began := f.clock.read(); !began.IsZero() {
		return began
	}
	return f.opts.Start
}

// Now returns the simulated time.
func (f *Fleet) Now() time.Time {
	return f.opts.Start.Add(time.Duration(float64(f.Elapsed()) * f.opts.TimeScale))
}

// ErrUnknownCluster means that the fleet has no cluster of that name.
var ErrUnknownCluster = errors.New("unknown cluster")

func (f *Fleet) cluster(name string) (*cluster, error) {
	for _, c := range f.clusters {
		if c.name == name {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w %q", ErrUnknownCluster, name)
}

// Clusters returns the names of the clusters.
func (f *Fleet) Clusters() []string {
	names := make([]string, 0, len(f.clusters))
	for _, c := range f.clusters {
		names = append(names, c.name)
	}
	return names
}
