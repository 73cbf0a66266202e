package sim

import (
	"math"
	"time"
)

// warm is how much of the warm-up is still to come: 1 for a new container, 0 for an old one.
func (p *pod) warm(seconds, scale float64) float64 {
	age := seconds - p.readyAt
	if age > 12*scale {
		return 0
	}
	return math.Exp(-max(0, age) / scale)
}

// weight says how much of the traffic a balancer gives to the pod.
func (p *pod) weight(seconds float64) float64 {
	if !p.ready(seconds) {
		return 0
	}
	return p.share * math.Exp(0.04*p.noise[0].at(seconds)) * (1 - 0.8*p.warm(seconds, 10))
}

// moment is a stretch of time to be simulated for a pod.
type moment struct {
	seconds float64 // Its begin.
	length  float64
	number  uint64
	share   float64 // Of the service's requests that the pod gets.
	now     *conditions
	trouble trouble
}

// advance lets the pod live through a moment.
func (p *pod) advance(s *service, m *moment) {
	p.forgetStep()
	r := stream{subkey(p.key, m.number)}
	var n uint64
	if m.share > 0 && m.now.rate > 0 {
		n = r.poisson(m.now.rate * m.share * m.length * r.gamma(min(1, s.uneven/m.length)))
		p.respond(s, m, &r, n)
	}
	if p.down {
		p.memory = 0
		return
	}
	p.work(s, m, &r, float64(n))
}

// respond answers n requests: which came from where, which failed, how long they took.
func (p *pod) respond(s *service, m *moment, r *stream, n uint64) {
	young := p.warm(m.seconds, 20)
	chance := s.errors * p.level.errors * p.factor.errors * m.now.errors * (1 + young)
	chance *= math.Exp(0.2*p.noise[1].at(m.seconds)) * r.gamma(min(1, 0.3/m.length))
	chance = min(1, chance+m.trouble.errors+m.now.excess)
	left, rest, allFailed := n, m.now.rate, uint64(0)
	for k := range p.counts {
		from := left
		if k < len(m.now.sources) {
			from = r.binomial(left, m.now.sources[k]/rest)
			rest -= m.now.sources[k]
		}
		left -= from
		failed := r.binomial(from, chance)
		unavailable := r.binomial(failed, 0.3)
		missing := r.binomial(from-failed, 0.006)
		p.counts[k][codeError].add(failed - unavailable)
		p.counts[k][codeUnavailable].add(unavailable)
		p.counts[k][codeNotFound].add(missing)
		p.counts[k][codeOK].add(from - failed - missing)
		allFailed += failed
	}
	slow := p.level.latency * p.factor.latency * m.now.latency * m.trouble.latency
	slow *= 1 + 0.3*p.warm(m.seconds, 20)
	s.latency.observe(r, n-allFailed, slow, m.trouble.tail, &p.served)
	s.latency.observe(r, allFailed, slow, m.trouble.tail, &p.failed)
}

// work uses CPU and memory. Kernels give CPU out in ten periods a second.
func (p *pod) work(s *service, m *moment, r *stream, n float64) {
	request := s.requestCPU * p.level.cpu * p.factor.cpu * m.now.cpu * m.trouble.cpu
	request *= math.Exp(0.03*p.noise[2].at(m.seconds)) * (1 + 0.6*p.warm(m.seconds, 20))
	used := n*request + s.idleCPU*m.now.job*m.length*r.gamma(min(1, 0.02/m.length))
	if !p.ready(m.seconds) {
		used += 0.3 * s.cpuLimit * m.length // Starting is work.
	}
	used = min(used, s.cpuLimit*m.length)
	p.cpu += used
	p.cpuStep = used
	periods := uint64(10 * m.length)
	p.periods.add(periods)
	share := used / (s.cpuLimit * m.length)
	p.throttled.add(r.binomial(periods, throttled(share)))
	p.leaked += m.trouble.leak * m.length
	full := s.memory / s.limit * p.level.memory * p.factor.memory * m.now.memory
	p.memory = min(1, full*(1-0.3*p.warm(m.seconds, 60))+p.leaked)
}

// throttled is the share of periods in which a container has to wait that uses that share of its
// limit.
func throttled(share float64) float64 { return 1 / (1 + math.Exp(-(share-0.8)/0.06)) }

// remember gives a pod that was there before the beginning the counts that it would have by then.
func (p *pod) remember(s *service) {
	const longest = 7 * 24 * time.Hour
	age := min(-p.started, longest.Seconds())
	if age <= 0 {
		return
	}
	now := conditions{rate: s.rate, errors: 1, latency: 1, cpu: 1, memory: 1, job: 1}
	for _, d := range s.called {
		now.sources = append(now.sources, d.rate)
	}
	p.advance(s, &moment{
		length:  age,
		share:   1 / float64(s.replicas),
		now:     &now,
		trouble: noTrouble,
		number:  math.MaxUint64,
	})
	p.forgetStep()
}
