package simulation

import (
	"math"
	"time"
)

// The other generator makes up services of another kind, so that nothing is fitted to one: Weibull latencies,
// heavy tails between pods and releases, zones whose pods wander together and for longer, warm-ups that fall
// slowly and never quite end, two peaks a day, and CPU that is spent without requests.

// zones is how many groups of pods wander together.
const zones = 3

// otherService is what only services of the other generator have, but for idle.
type otherService struct {
	idle    float64 // CPU seconds a second without any request.
	weibull float64 // Of Weibull's distribution; 0: the latency is lognormal.
	linger  float64 // The power by which a warm-up falls; 0: exponentially.
}

// other makes a service one of the other generator.
func (s *Service) other(between func(a, b float64) float64) {
	s.otherService = otherService{
		idle: between(0.001, 0.02), weibull: between(0.8, 1.8), linger: between(1.5, 3),
	}
	s.errors = between(0.0002, 0.02)
	s.decay = between(10, 60)
	for k := range s.pod {
		s.pod[k] *= between(0.5, 1.2)
		s.wander[k] *= between(0.5, 1)
		s.shift[k] *= between(0.4, 1)
	}
}

// draw draws what differs between pods or releases: of the other kind, Student's with five degrees
// of freedom and a standard deviation of one.
func (s *Service) draw() float64 {
	z := s.rng.NormFloat64()
	if !s.given.Other {
		return z
	}
	var chi float64
	for range 5 {
		v := s.rng.NormFloat64()
		chi += v * v
	}
	return z / math.Sqrt(chi/3)
}

// memory is how long a pod's wandering lasts.
func (s *Service) memory() time.Duration {
	if s.given.Other {
		return 12 * time.Minute
	}
	return 5 * time.Minute
}

// course is the traffic at an hour of the day, as a share of the class's.
func (s *Service) course(hour float64) float64 {
	if !s.given.Other {
		return (1 + 0.5*math.Sin(2*math.Pi*(hour-9)/24)) / 1.2
	}
	peak := func(at, width float64) float64 {
		d := math.Abs(hour - at)
		d = math.Min(d, 24-d)
		return math.Exp(-d * d / (2 * width * width))
	}
	return 0.4 + 0.8*peak(11, 2) + 0.7*peak(20, 2.5)
}

// cooling is what is left of the warm-up at an age in seconds.
func (s *Service) cooling(age float64) float64 {
	if s.linger > 0 {
		return math.Pow(1+age/s.decay, -s.linger)
	}
	return math.Exp(-age / s.decay)
}

// below is the share of requests whose log-latency lies less than z above that of the median.
func (s *Service) below(z float64) float64 {
	if s.weibull > 0 {
		return -math.Expm1(-math.Ln2 * math.Exp(z*s.weibull))
	}
	return normal(z / s.sigma)
}

// wanderZones moves all zones by a tick.
func (g *run) wanderZones() {
	if !g.given.Other {
		return
	}
	for z := range g.zones {
		for k := range g.zones[z] {
			g.zones[z][k].next(g.rng)
		}
	}
}

// zone is how far a zone has wandered.
func (g *run) zone(z, k int) float64 {
	if !g.given.Other {
		return 0
	}
	return g.zones[z][k].v
}
