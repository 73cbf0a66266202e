package sim

import (
	"fmt"
	"math"
	"time"

	"tocsin/fleet"
)

// Why a container ended, as the kubelet says it.
const (
	reasonError = "Error"
	reasonOOM   = "OOMKilled"
)

// The codes that responses have.
var codes = [...]string{"200", "404", "500", "503"}

const (
	codeOK = iota
	codeNotFound
	codeError
	codeUnavailable
)

// revision is one pod template of a service: that of a release, or what a bad release made of it.
type revision struct {
	number int
	fault  uint64 // Of the bad release; 0 is none.
}

// pod is one pod with one container, and the counters that it exposes.
type pod struct {
	name, uid, node, image, hash string
	revision                     revision
	ordinal                      int
	key                          uint64
	level                        levels
	factor                       levels // How the pod differs from others of its service, as long as it lives.
	share                        float64
	built                        trouble // What its image or revision does to it.
	crashing                     bool

	created, started float64 // Seconds; the container starts again and again.
	readyAt          float64
	downUntil        float64
	down             bool
	restarts, run    int // All restarts, and those since it last ran long.
	lastReason       string
	warnedAt         float64 // When the kubelet last said that it backs off.
	leaked           float64 // Share of the limit.
	noise            [3]wander

	counts    [][len(codes)]counter // For each caller, and last for those from outside.
	served    histogram
	failed    histogram
	cpu       float64
	cpuStep   float64
	periods   counter
	throttled counter
	memory    float64
	labels    *podLabels
}

const alphabet = "bcdfghjklmnpqrstvwxz2456789"

// suffix makes a name of n letters as Kubernetes does.
func suffix(key uint64, n int) string {
	r := stream{key}
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.next()%uint64(len(alphabet))]
	}
	return string(b)
}

// uid makes a UUID of version 4.
func uid(key uint64) string {
	r := stream{key}
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x",
		r.next()>>32, r.next()>>48, r.next()>>52, r.next()>>52, r.next()>>16)
}

func (s *service) hash(v revision) string {
	return suffix(subkey(subkey(s.levels, uint64(int64(v.number))), v.fault), 9)
}

func (s *service) tag(v revision) string {
	if v.fault > 0 {
		return fmt.Sprintf("%s:v%d.%d", s.image, 40+v.number, v.fault)
	}
	return fmt.Sprintf("%s:v%d", s.image, 40+v.number)
}

// newPod makes a pod of a revision that is created at an instant, which may be before 0.
func (s *service) newPod(v revision, ordinal int, seconds float64) *pod {
	key := subkey(s.key, uint64(s.born))
	s.born++
	p := &pod{revision: v, ordinal: ordinal, image: s.tag(v), hash: s.hash(v), level: s.level(v.number)}
	switch s.workload {
	case fleet.StatefulSet:
		p.name = fmt.Sprintf("%s-%d", s.name, ordinal)
	case fleet.DaemonSet:
		p.name = s.name + "-" + suffix(key, 5)
	default:
		p.name = s.name + "-" + p.hash + "-" + suffix(key, 5)
	}
	p.built, p.crashing = s.badRelease(v)
	s.settle(p, key, seconds)
	return p
}

// outsidePod makes a pod that somebody else runs.
func (s *service) outsidePod(given Pod, seconds float64) *pod {
	key := named(s.key, given.Name)
	p := &pod{name: given.Name, image: given.Image, hash: given.Revision, node: given.Node, level: s.level(0)}
	p.built, p.crashing = behaviour(given.Image)
	s.settle(p, key, seconds)
	return p
}

// settle draws what makes the pod an individual.
func (s *service) settle(p *pod, key uint64, seconds float64) {
	p.key = key
	r := stream{named(key, "pod")}
	p.factor = levels{
		latency: math.Exp(0.04 * r.normal()),
		cpu:     math.Exp(0.05 * r.normal()),
		errors:  math.Exp(0.20 * r.normal()),
		memory:  math.Exp(0.04 * r.normal()),
	}
	p.share = math.Exp(0.05 * r.normal())
	p.uid = uid(r.next())
	if p.node == "" {
		p.node = fmt.Sprintf("node-%02d", r.next()%12)
	}
	for i, what := range []string{"share", "errors", "cpu"} {
		p.noise[i] = newWander(named(key, what))
	}
	p.counts = make([][len(codes)]counter, len(s.called)+1)
	p.served, p.failed = newHistogram(), newHistogram()
	p.created, p.warnedAt = seconds, math.Inf(-1)
	p.start(seconds)
}

// start begins a container: all that it counts is 0 again.
func (p *pod) start(seconds float64) {
	p.started, p.down, p.leaked = seconds, false, 0
	p.readyAt = seconds + 3 + 5*uniform(subkey(p.key, uint64(p.restarts)))
	clear(p.counts)
	p.served.reset()
	p.failed.reset()
	p.cpu = 0
	p.periods, p.throttled = counter{}, counter{}
	p.forgetStep()
}

func (p *pod) forgetStep() {
	for i := range p.counts {
		for j := range p.counts[i] {
			p.counts[i][j].step = 0
		}
	}
	p.served.forgetStep()
	p.failed.forgetStep()
	p.cpuStep, p.periods.step, p.throttled.step = 0, 0, 0
}

// The kubelet waits before it starts a container again: not at first, then 10s, 20s and so on up to 5 minutes.
// A container that ran for ten minutes is forgiven.
const (
	firstDelay = 10.0
	maxDelay   = 300.0
	forgiven   = 600.0
)

// crash ends the container.
func (p *pod) crash(seconds float64, reason string) {
	if p.down {
		return
	}
	if seconds-p.started > forgiven {
		p.run = 0
	}
	delay := 1.0
	if p.run > 0 {
		delay = min(maxDelay, firstDelay*math.Exp2(float64(p.run-1)))
	}
	p.run++
	p.restarts++
	p.down, p.downUntil, p.lastReason = true, seconds+delay, reason
}

func (p *pod) ready(seconds float64) bool { return !p.down && seconds >= p.readyAt }

// live moves the container through its life: starts it, ends it if it has to.
func (p *pod) live(seconds float64) {
	switch {
	case p.down && seconds >= p.downUntil:
		p.start(seconds)
	case !p.down && p.crashing && seconds > p.started+2:
		p.crash(seconds, reasonError)
	case !p.down && p.leaked > 0 && p.memory >= 1:
		p.crash(seconds, reasonOOM)
	}
}

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
	chance := s.errors * p.level.errors * p.factor.errors * m.now.errors * (1 + 1.5*young)
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
	slow *= 1 + 0.5*p.warm(m.seconds, 30)
	s.latency.observe(r, n-allFailed, slow, m.trouble.tail, &p.served)
	s.latency.observe(r, allFailed, slow, m.trouble.tail, &p.failed)
}

// work uses CPU and memory. Kernels give CPU out in ten periods a second.
func (p *pod) work(s *service, m *moment, r *stream, n float64) {
	request := s.requestCPU * p.level.cpu * p.factor.cpu * m.now.cpu * m.trouble.cpu
	request *= math.Exp(0.03*p.noise[2].at(m.seconds)) * (1 + p.warm(m.seconds, 30))
	used := n*request + s.idleCPU*m.now.job*m.length*r.gamma(min(1, 0.02/m.length))
	if !p.ready(m.seconds) {
		used += 0.4 * s.cpuLimit * m.length // Starting is work.
	}
	used = min(used, s.cpuLimit*m.length)
	p.cpu += used
	p.cpuStep = used
	periods := uint64(10 * m.length)
	p.periods.add(periods)
	share := used / (s.cpuLimit * m.length)
	p.throttled.add(r.binomial(periods, 1/(1+math.Exp(-(share-0.8)/0.06))))
	p.leaked += m.trouble.leak * m.length
	full := s.memory / s.limit * p.level.memory * p.factor.memory * m.now.memory
	p.memory = min(1, full*(1-0.3*p.warm(m.seconds, 60))+p.leaked)
}

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
		length: age, share: 1 / float64(s.replicas), now: &now, trouble: noTrouble, number: math.MaxUint64,
	})
	p.forgetStep()
}
