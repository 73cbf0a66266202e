package app

import (
	"math"
	"sync"

	"tocsin/detector"
	"tocsin/fleet"
)

// rosters remembers which services each cluster had scores of. Mostly they are those of the instant
// before: then instants that wait to be recorded share one list, which is never changed.
type rosters struct {
	mu     sync.Mutex // Guards what follows.
	scored map[string][]fleet.Service
}

// of returns the services that have a score. Of one cluster it is called by one goroutine at a time.
func (r *rosters) of(s *detector.ServiceScores) []fleet.Service {
	r.mu.Lock()
	known := r.scored[s.Cluster]
	r.mu.Unlock()
	if isRoster(known, s) {
		return known
	}
	known = make([]fleet.Service, 0, len(s.Services))
	for i, service := range s.Services {
		if isScored(s, i) {
			known = append(known, service)
		}
	}
	r.mu.Lock()
	r.scored[s.Cluster] = known
	r.mu.Unlock()
	return known
}

// isRoster says whether the services that have a score are those of the list.
func isRoster(list []fleet.Service, s *detector.ServiceScores) bool {
	n := 0
	for i, service := range s.Services {
		if !isScored(s, i) {
			continue
		}
		if n == len(list) || list[n] != service {
			return false
		}
		n++
	}
	return n == len(list)
}

func isScored(s *detector.ServiceScores, i int) bool {
	return !math.IsNaN(float64(s.Score[i]))
}

func (r *rosters) remove(cluster string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.scored, cluster)
}
