package main

import (
	"fmt"
	"os"
	"path"
	"time"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/fleet"
	"tocsin/incident"
)

// What --faults may be beside the name of a file.
const (
	scripted   = "script"
	unscripted = "none"
)

// troubles are the faults of the script.
var troubles = []sim.Fault{
	{Kind: sim.ErrorBurst, Errors: 0.3},
	{Kind: sim.ErrorBurst, Errors: 0.05},
	{Kind: sim.LatencyShift, Latency: 3, Tail: 1},
	{Kind: sim.LatencyShift, Latency: 1, Tail: 4},
	{Kind: sim.TrafficDrop, Drop: 0.8},
	{Kind: sim.Leak, PerMinute: 0.01},
	{Kind: sim.BadRelease, Errors: 0.2},
	{Kind: sim.BadRelease, Latency: 2},
	{Kind: sim.PodCrash, Pods: 2},
}

// victims are services that fleets of any size have.
var victims = []string{
	"frontend", "checkout", "cart", "catalog", "payment", "orders-db", "login", "accounts", "search",
}

// troubledEvery is how many clusters share one that faults are scripted for. The others are normal.
const troubledEvery = 10

// script returns the faults of a run: in every tenth cluster, after the time of learning, one after
// the other, each in another service.
func (o *options) script() ([]sim.Fault, error) {
	switch o.faults {
	case unscripted:
		return nil, nil
	case scripted:
	default:
		text, err := os.ReadFile(o.faults)
		if err != nil {
			return nil, fmt.Errorf("read the faults: %w", err)
		}
		return sim.ParseScenario(o.faults, text)
	}
	names, err := sim.New(sim.Options{Clusters: o.clusters, Services: -1})
	if err != nil {
		return nil, err
	}
	from := o.learning()
	apart := (time.Duration(o.days)*aDay - from) / time.Duration(len(troubles)+1)
	var out []sim.Fault
	for i, cluster := range names.Clusters() {
		if i%troubledEvery != 0 {
			continue
		}
		turn := i / troubledEvery
		for k, fault := range troubles {
			fault.Cluster = cluster
			fault.Service = victims[(k+turn)%min(len(victims), o.services)]
			fault.At = from + apart*time.Duration(k+1) - apart*time.Duration(turn%10)/20
			fault.For = max(time.Hour, 12*o.step)
			out = append(out, fault)
		}
	}
	return out, nil
}

// sighting says what became of a fault in one cluster.
type sighting struct {
	fault      *sim.Fault
	start, end time.Time // What begins between these may be due to it.
	noticed    time.Duration
	told       time.Duration // From its beginning until people were told; 0: they were not.
}

// aftermath is how long after the end of a fault what begins may be due to it.
const aftermath = 15 * time.Minute

func newSighting(f *sim.Fault, step time.Duration) *sighting {
	s := &sighting{fault: f, start: start.Add(f.At - step)}
	s.end = s.start.Add(100 * 365 * aDay)
	if f.For > 0 {
		s.end = start.Add(f.At + f.For + f.Ramp + max(aftermath, 3*step))
	}
	return s
}

// name says what the fault is, for people.
func (s *sighting) name() string {
	f := s.fault
	out := string(f.Kind)
	for _, part := range []struct {
		format string
		value  float64
		usual  float64
	}{
		{", %g%% fail", 100 * f.Errors, 0},
		{", latency x%g", f.Latency, 1},
		{", tail x%g", f.Tail, 1},
		{", %g%% stay away", 100 * f.Drop, 0},
		{", %g%% a minute", 100 * f.PerMinute, 0},
		{", %g pods", float64(f.Pods), 0},
	} {
		if part.value != part.usual && part.value != 0 {
			out += fmt.Sprintf(part.format, part.value)
		}
	}
	return out
}

// see takes a report of an incident, and tells whether something of it may be due to the fault. The
// fault is found when a finding of its own service is part of an incident.
func (s *sighting) see(i *incident.Incident, told bool) bool {
	due := false
	for k := range i.Findings {
		f := &i.Findings[k]
		if f.Start.Before(s.start) || f.Start.After(s.end) {
			continue
		}
		due = true
		if !s.hits(f.Service) {
			continue
		}
		delay := i.Updated.Sub(start.Add(s.fault.At))
		if s.noticed == 0 {
			s.noticed = delay
		}
		if s.told == 0 && told {
			s.told = delay
		}
	}
	return due
}

func (s *sighting) hits(of fleet.Service) bool {
	return matches(s.fault.Service, of.Name) || matches(s.fault.Service, of.Namespace+"/"+of.Name)
}

func matches(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, _ := path.Match(pattern, name) // The fleet has refused bad ones.
	return ok
}
