package sim

import (
	"math"
	"time"
)

// conditions is what a service meets at one instant, before chance has its say about single
// requests.
type conditions struct {
	rate    float64   // Expected requests a second.
	sources []float64 // The part of it of each caller; what remains is from outside.
	errors  float64   // Factor on the ordinary share of errors.
	excess  float64   // Share of requests that fail because of services that it calls.
	latency float64   // Factor on the median.
	cpu     float64   // Factor on the CPU of a request.
	memory  float64   // Factor on the working set.
	job     float64   // Factor on idle CPU.
}

// model computes the conditions of a cluster's services at any instant, from the calendar, the
// noise, the call graph, and the troubles that it is told of. It belongs to one goroutine.
type model struct {
	services  []*service
	order     []int
	propagate float64 // How much of a trouble crosses an edge of the call graph.
	spikes    float64 // Per service and day.
	noise     []noises

	now    []conditions
	failed []float64 // Share of requests that fail for a reason, own or not.
	slower []float64 // Seconds by which requests take longer for a reason.
}

type noises struct {
	key                              uint64
	traffic, errors, latency, memory wander
}

// Standard deviations of the noise that the pods of a service share, on the log scale.
const (
	trafficNoise = 0.035
	errorNoise   = 0.25
	latencyNoise = 0.03
	memoryNoise  = 0.015
)

func newModel(services []*service, propagate, spikes float64) *model {
	m := &model{services: services, order: byTier(services), propagate: propagate, spikes: spikes}
	for _, s := range services {
		m.noise = append(m.noise, noises{
			key:     named(s.key, "spikes"),
			traffic: newWander(named(s.key, "traffic")),
			errors:  newWander(named(s.key, "errors")),
			latency: newWander(named(s.key, "latency")),
			memory:  newWander(named(s.key, "memory")),
		})
		m.now = append(m.now, conditions{sources: make([]float64, len(s.called))})
	}
	m.failed = make([]float64, len(services))
	m.slower = make([]float64, len(services))
	return m
}

// at computes the conditions at an instant: seconds of real time, calendar of the simulated week.
// own is the mean trouble of each service's pods.
func (m *model) at(seconds float64, calendar time.Duration, own []trouble) {
	m.spreadTroubles(own)
	for _, i := range m.order {
		m.serve(i, seconds, calendar, &own[i])
	}
}

// spreadTroubles carries failures and slowness from those who are called to those who call.
func (m *model) spreadTroubles(own []trouble) {
	for i, s := range m.services {
		m.failed[i] = own[i].errors
		m.slower[i] = s.latency.median * (own[i].latency - 1)
		m.now[i].excess = 0
	}
	for k := len(m.order) - 1; k >= 0; k-- {
		i := m.order[k]
		s, now := m.services[i], &m.now[i]
		late := 0.0
		for _, d := range s.calls {
			share := m.propagate * min(1, d.perRequest)
			now.excess += share * m.failed[d.service]
			late += share * m.slower[d.service]
		}
		m.failed[i] += now.excess
		m.slower[i] += late
		now.latency = max(0.2, 1+late/s.latency.median)
	}
}

// serve computes the rest, traffic first: callers come before those that they call.
func (m *model) serve(i int, seconds float64, calendar time.Duration, own *trouble) {
	s, now, noise := m.services[i], &m.now[i], &m.noise[i]
	wave := math.Exp(trafficNoise * noise.traffic.at(seconds))
	now.rate = s.own * s.rate * s.pattern.at(calendar) * spike(noise.key, seconds, m.spikes)
	for k := range s.called {
		d := &s.called[k]
		from := d.service
		// Who fails does not get as far as calling others.
		calls := d.perRequest * m.now[from].rate * (1 - 0.5*min(1, m.failed[from]))
		now.sources[k] = calls * wave * own.keep
		now.rate += calls
	}
	now.rate *= wave * own.keep
	now.job, now.cpu = 1, 1
	if s.job.running(calendar) {
		now.job, now.cpu = s.job.cpu, math.Sqrt(s.job.cpu)
		now.rate *= s.job.requests
	}
	load := now.rate / s.rate
	now.errors = math.Exp(errorNoise * noise.errors.at(seconds))
	now.latency *= math.Exp(latencyNoise*noise.latency.at(seconds)) * (0.9 + 0.1*load)
	now.memory = (1 + 0.05*min(3, load)) * math.Exp(memoryNoise*noise.memory.at(seconds))
}
