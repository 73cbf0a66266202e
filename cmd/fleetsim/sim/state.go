package sim

import (
	"time"

	"tocsin/fleet"
)

// State is what a fleet is like at an instant.
type State struct {
	Now      time.Time      `json:"now"`     // By the simulated calendar.
	Elapsed  float64        `json:"elapsed"` // Seconds of real time since the beginning.
	Seed     uint64         `json:"seed"`
	Clusters []ClusterState `json:"clusters"`
	Faults   []FaultState   `json:"faults"`
}

// ClusterState is a cluster at an instant.
type ClusterState struct {
	Name     string         `json:"name"`
	Services []ServiceState `json:"services"`
}

// ServiceState is a service at an instant.
type ServiceState struct {
	fleet.Service
	Workload fleet.Workload `json:"workload"`
	Revision string         `json:"revision"` // The one that is wanted.
	Rate     float64        `json:"rate"`     // Expected requests a second.
	Errors   float64        `json:"errors"`   // Ordinary share of requests that fail.
	Latency  float64        `json:"latency"`  // Ordinary median in seconds.
	Callers  []string       `json:"callers"`
	Pods     []PodState     `json:"pods"`
}

// PodState is a pod at an instant.
type PodState struct {
	Pod
	Ready    bool `json:"ready"`
	Restarts int  `json:"restarts"`
}

// FaultState is a fault and whether it is there. Durations are such as 1m30s.
type FaultState struct {
	Kind    Kind   `json:"kind"`
	At      string `json:"at"`
	For     string `json:"for,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	Service string `json:"service,omitempty"`
	Active  bool   `json:"active"`
}

// State describes the fleet now.
func (f *Fleet) State() State {
	elapsed := f.Elapsed().Seconds()
	st := State{Now: f.Now(), Elapsed: elapsed, Seed: f.opts.Seed, Faults: []FaultState{}}
	for _, c := range f.clusters {
		st.Clusters = append(st.Clusters, c.state(elapsed))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.faults {
		s := FaultState{
			Kind: fault.Kind, At: fault.At.String(), Cluster: fault.Cluster, Service: fault.Service,
			Active: fault.strength(elapsed) > 0,
		}
		if fault.For > 0 {
			s.For = fault.For.String()
		}
		st.Faults = append(st.Faults, s)
	}
	return st
}

func (c *cluster) state(seconds float64) ClusterState {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(seconds)
	st := ClusterState{Name: c.name, Services: []ServiceState{}}
	for i, s := range c.services {
		service := ServiceState{
			Service: s.id(c.name), Workload: s.workload, Revision: s.hash(s.desired(seconds)),
			Rate: c.model.now[i].rate, Errors: s.errors, Latency: s.latency.median,
			Callers: []string{}, Pods: []PodState{},
		}
		for _, d := range s.called {
			service.Callers = append(service.Callers, c.services[d.service].name)
		}
		for _, p := range s.pods {
			service.Pods = append(service.Pods, PodState{
				Pod:   Pod{Name: p.name, Image: p.image, Revision: p.hash, Node: p.node},
				Ready: p.ready(seconds), Restarts: p.restarts,
			})
		}
		st.Services = append(st.Services, service)
	}
	return st
}
