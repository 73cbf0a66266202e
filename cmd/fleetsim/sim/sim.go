// Package sim simulates a fleet of services: its traffic, its pods, its releases and what goes wrong in it.
package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tocsin/fleet"
)

// Options configures a Fleet. Zero values of optional fields stand for the defaults given here; where 0 is a
// choice of its own, a negative value makes it.
type Options struct {
	Clusters int    // How many; 3.
	Services int    // In each cluster; 20. Negative is none but those of SetPods.
	Pods     int    // Of each service; 4.
	Seed     uint64 // Fleets of one seed are the same.

	// Start is the simulated time at which the fleet begins; 2026-01-05T09:00:00Z, a Monday.
	Start time.Time
	// TimeScale is how many seconds of the calendar pass in one of real time; 1. It compresses the day, the
	// week and the cadence of releases, but not requests, faults, rollouts and the life of pods.
	TimeScale float64
	// Step is the length of a simulated step in real time; 1s. Longer ones cost less.
	Step time.Duration

	ReleaseEvery time.Duration // Mean distance of a service's releases by the calendar; 72h. Negative is never.
	Spikes       float64       // Harmless spikes of a service's traffic on a day of real time; 0.5. Negative is none.
	Jobs         float64       // Share of the services that have a daily job; 0.12. Negative is none.
	Propagation  float64       // How much of a trouble crosses an edge of the call graph; 0.3. Negative is nothing.
	Autoscale    bool          // Deployments follow their traffic.
	Exporters    []Exporter    // Which families are served; DefaultExporters().
	Faults       []Fault
}

var defaultStart = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

func (o *Options) ensureDefaults() {
	o.Clusters = either(o.Clusters, 3)
	o.Services = either(o.Services, 20)
	o.Pods = either(o.Pods, 4)
	o.TimeScale = either(o.TimeScale, 1)
	o.Step = either(o.Step, time.Second)
	o.ReleaseEvery = either(o.ReleaseEvery, 72*time.Hour)
	o.Spikes = either(o.Spikes, 0.5)
	o.Propagation = either(o.Propagation, 0.3)
	o.Jobs = either(o.Jobs, 0.12)
	if o.Start.IsZero() {
		o.Start = defaultStart
	}
	if len(o.Exporters) == 0 {
		o.Exporters = DefaultExporters()
	}
}

// either returns what was given, or the default for 0, or 0 for what is negative.
func either[T int | float64 | time.Duration](given, otherwise T) T {
	if given == 0 {
		return otherwise
	}
	return max(0, given)
}

func (o *Options) validate() error {
	var errs []error
	if o.Clusters < 1 || o.Clusters > 10000 {
		errs = append(errs, fmt.Errorf("clusters: %d is not between 1 and 10000", o.Clusters))
	}
	if o.Services > 10000 {
		errs = append(errs, fmt.Errorf("services: %d is more than 10000", o.Services))
	}
	if o.Pods < 1 || o.Pods > 1000 {
		errs = append(errs, fmt.Errorf("pods: %d is not between 1 and 1000", o.Pods))
	}
	if o.TimeScale <= 0 || o.TimeScale > 10000 {
		errs = append(errs, fmt.Errorf("time scale: %v is not above 0 and at most 10000", o.TimeScale))
	}
	if o.Step < 100*time.Millisecond || o.Step > time.Minute {
		errs = append(errs, fmt.Errorf("step: %v is not between 100ms and 1m", o.Step))
	}
	for _, e := range o.Exporters {
		if !slices.Contains(Exporters(), e) {
			errs = append(errs, fmt.Errorf("exporters: unknown %q, want some of %v", e, Exporters()))
		}
	}
	return errors.Join(errs...)
}

// calendar returns the simulated time of the week at a second of real time.
func (o *Options) calendar(seconds float64) time.Duration {
	return (weekTime(o.Start) + time.Duration(seconds*o.TimeScale*float64(time.Second))) % (7 * day)
}

// Fleet is a simulated fleet. Its methods may be called concurrently.
type Fleet struct {
	opts     Options
	clusters []*cluster
	clock    clock

	mu       sync.Mutex // Guards what follows; taken before that of a cluster.
	faults   []*Fault
	injected uint64
}

// clock says how long the fleet has lived: by real time while it runs, else by what Advance was told.
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

// Pod is a pod that runs outside of the simulation, and for which the fleet serves metrics. The last word of its
// image's tag says how it behaves: bad fails, slow is slow, leak leaks, crash crashes, others are fine.
type Pod struct {
	Name     string `json:"name"`
	Image    string `json:"image"`
	Revision string `json:"revision"` // Hash of its template.
	Node     string `json:"node,omitempty"`
	NotReady bool   `json:"not_ready,omitempty"`
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

// Inject adds faults, whose At counts from the beginning of the fleet: all of them, or none if it returns an
// error.
func (f *Fleet) Inject(faults ...Fault) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for i := range faults {
		faults[i].normalize()
		errs = append(errs, f.check(&faults[i]))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, fault := range faults {
		f.injected++
		fault.id = f.injected
		f.faults = append(f.faults, &fault)
		for _, c := range f.clusters {
			c.mu.Lock()
			c.add(&fault)
			c.mu.Unlock()
		}
	}
	return nil
}

// check refuses a fault that means nobody.
func (f *Fleet) check(fault *Fault) error {
	var clusters, services []string
	found := false
	for _, c := range f.clusters {
		clusters = append(clusters, c.name)
		if !fault.matchesCluster(c.name) {
			continue
		}
		c.mu.Lock()
		for _, s := range c.services {
			services = append(services, s.name)
			found = found || fault.matches(c.name, s.namespace, s.name)
		}
		c.mu.Unlock()
		found = found || fault.wholeCluster()
	}
	wrong := &ScenarioError{File: fault.file, Line: fault.line}
	switch {
	case fields[fault.Kind].defaults == (Fault{}) && fault.Kind != ScrapeOutage:
		wrong.Field, wrong.Problem = "kind", fmt.Sprintf("unknown kind %q", fault.Kind)
	case !slices.ContainsFunc(clusters, fault.matchesCluster):
		wrong.Field, wrong.Problem = "cluster", fmt.Sprintf("no cluster is called %q", fault.Cluster)
		wrong.Want = nearest(fault.Cluster, clusters)
	case !found:
		wrong.Field, wrong.Problem = "service", fmt.Sprintf("no service is called %q", fault.Service)
		wrong.Want = nearest(fault.Service, slices.Compact(slices.Sorted(slices.Values(services))))
	default:
		return nil
	}
	return wrong
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

// Outside is a service whose pods run outside of the simulation.
type Outside struct {
	fleet.Service
	Workload fleet.Workload `json:"workload,omitempty"` // As it was, for a new service a Deployment.
	Rate     float64        `json:"rate,omitempty"`     // Mean requests a second; as it was, for a new service 40.
	Pods     []Pod          `json:"pods"`
}

// SetPods says which pods a service has from now on, in place of simulated ones. Pods that it had already, by
// name, image and revision, go on; others begin. A service that the fleet does not have is added to the cluster.
func (f *Fleet) SetPods(o Outside) error {
	c, err := f.cluster(o.Cluster)
	if err != nil {
		return err
	}
	if o.Namespace == "" || o.Name == "" {
		return errors.New("set pods: namespace and service are required")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setPods(&o)
	return nil
}

// Clusters returns the names of the clusters.
func (f *Fleet) Clusters() []string {
	names := make([]string, 0, len(f.clusters))
	for _, c := range f.clusters {
		names = append(names, c.name)
	}
	return names
}
