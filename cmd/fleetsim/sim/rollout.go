package sim

import (
	"math"
	"slices"
	"time"

	"tocsin/fleet"
)

// desired is the revision that the service should run: a bad release holds the next good one up.
func (s *service) desired(seconds float64) revision {
	at, fault := seconds, uint64(0)
	for _, f := range s.faults {
		if f.Kind == BadRelease && f.active(seconds) {
			at, fault = f.At.Seconds(), f.id
		}
	}
	number, _ := s.releases.revision(at)
	return revision{number, fault}
}

// reconcile takes at most one step of a rollout or of scaling, as the controllers of Kubernetes do:
// a Deployment starts a new pod before it ends an old one, the others end the old one first.
func (s *service) reconcile(seconds float64) {
	if s.external {
		s.follow(seconds)
		return
	}
	want := s.desired(seconds)
	fresh, ready, pending := 0, 0, false
	for _, p := range s.pods {
		isReady := p.ready(seconds)
		if p.revision == want {
			fresh++
			pending = pending || !isReady
		}
		if isReady {
			ready++
		}
	}
	if s.workload == fleet.Deployment {
		s.roll(want, fresh, ready, pending, seconds)
	} else {
		s.replace(want, ready, seconds)
	}
}

func (s *service) roll(want revision, fresh, ready int, pending bool, seconds float64) {
	surge := s.replicas
	if fresh < len(s.pods) {
		surge++
	}
	switch {
	case len(s.pods) < s.replicas, fresh < s.replicas && len(s.pods) < surge && !pending:
		s.pods = append(s.pods, s.newPod(want, s.born, seconds))
	case len(s.pods) > s.replicas:
		s.end(want, ready, seconds)
	}
}

// end removes a pod that is too many: one of another revision if there is one, and one that is not
// ready rather than one that is; it leaves as many ready as there should be.
func (s *service) end(want revision, ready int, seconds float64) {
	worst, rank := -1, -1
	for i, p := range s.pods {
		r := 0
		if p.revision != want {
			r += 2
		}
		if !p.ready(seconds) {
			r++
		} else if ready <= s.replicas {
			continue
		}
		if r > rank {
			worst, rank = i, r
		}
	}
	if worst >= 0 && (rank >= 2 || len(s.pods) > s.replicas+1 || ready > s.replicas) {
		s.pods = slices.Delete(s.pods, worst, worst+1)
	}
}

func (s *service) replace(want revision, ready int, seconds float64) {
	if len(s.pods) < s.replicas {
		s.pods = append(s.pods, s.newPod(want, s.freeOrdinal(), seconds))
		return
	}
	if len(s.pods) > s.replicas {
		s.pods = slices.Delete(s.pods, len(s.pods)-1, len(s.pods))
		return
	}
	old, ordinal := -1, -1
	for i, p := range s.pods {
		if p.revision != want && p.ordinal > ordinal &&
			(ready == len(s.pods) || !p.ready(seconds)) {
			old, ordinal = i, p.ordinal
		}
	}
	if old >= 0 {
		s.pods = slices.Delete(s.pods, old, old+1)
	}
}

func (s *service) freeOrdinal() int {
	for i := 0; ; i++ {
		if !slices.ContainsFunc(s.pods, func(p *pod) bool { return p.ordinal == i }) {
			return i
		}
	}
}

// autoscale follows the traffic four times a minute, between half and twice the usual number of
// pods.
func (s *service) autoscale(seconds, step, rate float64, usual int) {
	const every = 15
	if s.external || s.workload != fleet.Deployment || math.Mod(seconds, every) >= step {
		return
	}
	perPod := s.rate / float64(usual)
	want := rate / perPod
	if math.Abs(want/float64(s.replicas)-1) < 0.2 {
		return
	}
	s.replicas = max(1, usual/2, min(2*usual, int(math.Ceil(want))))
}

// minCadence is how close releases of one service may come, however fast the simulated time runs: a
// rollout takes real time.
const minCadence = 5 * time.Minute
