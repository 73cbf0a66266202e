package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Options configures a Fleet. Zero values of optional fields stand for the defaults given here;
// where 0 is a choice of its own, a negative value makes it.
type Options struct {
	Clusters int    // How many; 3.
	Services int    // In each cluster; 20. Negative is none but those of SetPods.
	Pods     int    // Of each service; 4.
	Seed     uint64 // Fleets of one seed are the same.

	// Start is the simulated time at which the fleet begins; 2026-01-05T09:00:00Z, a Monday.
	Start time.Time
	// TimeScale is how many seconds of the calendar pass in one of real time; 1. It compresses the
	// day, the week and the cadence of releases, but not requests, faults, rollouts and the life of
	// pods.
	TimeScale float64
	// Step is the length of a simulated step in real time; 1s. Longer ones cost less.
	Step time.Duration

	ReleaseEvery time.Duration // Mean distance of a service's releases by the calendar; 72h.
	Spikes       float64       // Harmless spikes of a service's traffic on a day of real time; 0.5.
	Jobs         float64       // Share of the services that have a daily job; 0.12.
	Propagation  float64       // How much of a trouble crosses an edge of the call graph; 0.3.
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
		errs = append(errs,
			fmt.Errorf("time scale: %v is not above 0 and at most 10000", o.TimeScale))
	}
	if o.Step < 100*time.Millisecond || o.Step > time.Minute {
		errs = append(errs, fmt.Errorf("step: %v is not between 100ms and 1m", o.Step))
	}
	for _, e := range o.Exporters {
		if !slices.Contains(Exporters(), e) {
			errs = append(errs,
				fmt.Errorf("exporters: unknown %q, want some of %v", e, Exporters()))
		}
	}
	return errors.Join(errs...)
}

// calendar returns the simulated time of the week at a second of real time.
func (o *Options) calendar(seconds float64) time.Duration {
	return (weekTime(o.Start) + time.Duration(seconds*o.TimeScale*float64(time.Second))) % (7 * day)
}
