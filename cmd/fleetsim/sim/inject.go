package sim

import (
	"errors"
	"fmt"
	"slices"
)

// Inject adds faults, whose At counts from the beginning of the fleet: all of them, or none if it
// returns an error.
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
		wrong.Field, wrong.Problem = "cluster", fmt.Sprintf("no cluster is called %q",
			fault.Cluster)
		wrong.Want = nearest(fault.Cluster, clusters)
	case !found:
		wrong.Field, wrong.Problem = "service", fmt.Sprintf("no service is called %q",
			fault.Service)
		wrong.Want = nearest(fault.Service, slices.Compact(slices.Sorted(slices.Values(services))))
	default:
		return nil
	}
	return wrong
}

// Calm ends all faults now, without their ramp, and forgets them.
func (f *Fleet) Calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
	for _, c := range f.clusters {
		c.mu.Lock()
		c.faults = nil
		for _, s := range c.services {
			s.faults = nil
		}
		c.mu.Unlock()
	}
}
