package sim

import (
	"fmt"
	"math"

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
	factor                       levels // How the pod differs from others of its service.
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
	p := &pod{
		revision: v,
		ordinal:  ordinal,
		image:    s.tag(v),
		hash:     s.hash(v),
		level:    s.level(v.number),
	}
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
	p := &pod{
		name:  given.Name,
		image: given.Image,
		hash:  given.Revision,
		node:  given.Node,
		level: s.level(0),
	}
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
	p.readyAt = seconds + 6 + 8*uniform(subkey(p.key, uint64(p.restarts)))
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

// The kubelet waits before it starts a container again: not at first, then 10s, 20s and so on up to
// 5 minutes. A container that ran for ten minutes is forgiven.
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
