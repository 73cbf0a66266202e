// Package simulation makes up releases, harmless and harmful, and measures judges by them.
//
// The generator is built to be unkind: pods differ for as long as they live, wander on their own and together,
// new pods warm up by an amount and for a time that differ from service to service and from release to
// release, traffic has a daily course, and harmless releases shift everything a little. The judge knows none
// of its constants.
package simulation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"tocsin/release/evidence"
)

// Class is an amount of traffic and a number of pods.
type Class struct {
	Name string
	Pods int
	RPS  float64 // Of the whole service.
}

// Style is the way in which new pods replace old ones.
type Style uint8

// The styles of a rollout.
const (
	Fixed       Style = iota // A sixth (two of twelve) of the pods, for as long as one looks.
	Progressive              // 20% at first, 80% after ten minutes.
	Rolling                  // All pods within five minutes.
	Swift                    // All pods within half a minute.
)

// String returns the name of a style.
func (s Style) String() string { return [...]string{"fixed", "progressive", "rolling", "swift"}[s] }

// Classes returns the amounts of traffic that judges are measured by.
func Classes() []Class {
	return []Class{
		{Name: "low", Pods: 3, RPS: 0.7}, {Name: "medium", Pods: 12, RPS: 60}, {Name: "high", Pods: 40, RPS: 1000},
	}
}

// Harm is what a release does to its service. The zero value is a harmless release.
type Harm struct {
	Name    string
	Errors  float64 // Added to the share of failed requests.
	Latency float64 // Factor; 0 stands for 1, as in the next two.
	Tail    float64 // Factor of the slowest requests.
	CPU     float64
	Leak    float64 // Growth of memory, as a share of the limit, in a minute.
}

// Harms returns the regressions that judges are measured by.
func Harms() []Harm {
	return []Harm{
		{Name: "errors +0.5%", Errors: 0.005},
		{Name: "errors +1%", Errors: 0.01},
		{Name: "errors +5%", Errors: 0.05},
		{Name: "errors +50%", Errors: 0.5},
		{Name: "latency x1.3", Latency: 1.3},
		{Name: "latency x2", Latency: 2},
		{Name: "tail x2", Tail: 2},
		{Name: "CPU +50%", CPU: 1.5},
	}
}

// Shape says how a release is made.
type Shape struct {
	Class   Class
	Style   Style
	Before  time.Duration // Of old pods alone.
	Watch   time.Duration // After the first new pod.
	Unruly  float64       // Multiplies all noise; 0 stands for 1.
	GapRate float64       // The share of samples that are lost.
	Other   bool          // Made by the other generator.
	Start   time.Time     // Of the release; zero draws one.
}

// Tick is the distance between samples.
const Tick = 15 * time.Second

// Bounds are those of the latency histograms, in seconds.
func Bounds() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, math.Inf(1)}
}

// Service is one made-up service: its own rates, noise and warm-up.
type Service struct {
	name   string
	given  Shape
	rng    *rand.Rand
	errors float64
	median float64 // Of latency, in seconds.
	sigma  float64 // Of its logarithm.
	cpu    float64 // Seconds for each request.

	pod, wander, shared, shift [3]float64 // Standard deviations of log errors, latency, CPU.
	warm                       [3]float64 // Log-ratio of a pod of age 0.
	decay                      float64    // Seconds in which it falls to a third.

	common *[3]float64 // What a release shifts in all clusters; nil: it has one alone.

	otherService
}

// NewService makes up a service. The same seed gives the same service.
func NewService(i int, seed uint64, s Shape) *Service {
	rng := rand.New(rand.NewPCG(seed, uint64(i)+1))
	if s.Unruly == 0 {
		s.Unruly = 1
	}
	between := func(a, b float64) float64 { return a * math.Exp(rng.Float64()*math.Log(b/a)) }
	svc := &Service{
		otherService: otherService{idle: 0.003},
		name:         fmt.Sprintf("s%d", i), given: s, rng: rng,
		errors: between(0.0005, 0.01), median: between(0.02, 0.2), sigma: between(0.4, 0.7), cpu: between(0.002, 0.02),
		decay: between(20, 80),
	}
	noisy := s.Unruly * between(0.7, 1.4)
	for k, sd := range [3][4]float64{ // pod, wander, shared, shift
		{0.10, 0.12, 0.25, 0.08}, {0.03, 0.03, 0.08, 0.02}, {0.05, 0.05, 0.08, 0.03},
	} {
		svc.pod[k], svc.wander[k] = noisy*sd[0], noisy*sd[1]
		svc.shared[k], svc.shift[k] = noisy*sd[2], noisy*sd[3]
		svc.warm[k] = [3]float64{0.6, 0.4, 0.8}[k] * between(0.4, 1.6)
	}
	if s.Other {
		svc.other(between)
	}
	return svc
}

// Name returns the service's name.
func (s *Service) Name() string { return s.name }

// ar is a wandering value: first order, with a standard deviation of one.
type ar struct{ v, keep float64 }

func newAR(rng *rand.Rand, memory time.Duration) ar {
	return ar{v: rng.NormFloat64(), keep: math.Exp(-Tick.Seconds() / memory.Seconds())}
}

func (a *ar) next(rng *rand.Rand) float64 {
	a.v = a.keep*a.v + math.Sqrt(1-a.keep*a.keep)*rng.NormFloat64()
	return a.v
}

// pod is one made-up pod.
type pod struct {
	name    string
	fresh   bool
	started time.Duration // Since the release began; long ago for old pods.
	ended   time.Duration
	own     [3]float64
	wander  [3]ar
	share   float64 // Of traffic, against the others.
	zone    int     // Pods of one zone wander together, in the other generator.
	memory  float64
}

// Release makes up one release and hands on its windows until see returns false. What see gets is only
// valid until it returns.
func (s *Service) Release(h Harm, see func(*evidence.Window) bool) {
	g := &run{Service: s, harm: h, start: s.given.Start}
	if g.start.IsZero() {
		g.start = time.Unix(1_700_000_000/15*15+s.rng.Int64N(86400/15)*15, 0).UTC()
	}
	g.begin()
	for at := -s.given.Before; at <= s.given.Watch; at += Tick {
		if w := g.tick(at); len(w.Pods) > 0 && !see(w) {
			return
		}
	}
}

// run is one release while it is being made up.
type run struct {
	*Service
	harm   Harm
	start  time.Time
	pods   []*pod
	shared [3]ar
	shift  [3]float64
	warm   float64
	window evidence.Window
	zones  [zones][3]ar
}

func (g *run) begin() {
	for k := range g.shared {
		g.shared[k] = newAR(g.rng, 10*time.Minute)
		g.shift[k] = g.Service.shift[k] * g.shifted(k)
	}
	g.warm = math.Exp(0.3 * g.rng.NormFloat64())
	for z := range g.zones {
		for k := range g.zones[z] {
			g.zones[z][k] = newAR(g.rng, 15*time.Minute)
		}
	}
	const ever = 1000 * time.Hour
	n := g.given.Class.Pods
	for i := range n {
		g.add(fmt.Sprintf("old-%d", i), false, -ever, ever)
	}
	switch g.given.Style {
	case Fixed:
		fresh := max(n/6, 1)
		if n >= 40 {
			fresh = 4
		}
		for i := range fresh {
			g.replace(i, 0)
		}
	case Progressive:
		first, all := max(n/5, 1), max(n*4/5, 1)
		for i := range all {
			at := time.Duration(0)
			if i >= first {
				at = time.Duration(i-first+1) * 10 * time.Minute / time.Duration(all-first)
			}
			g.replace(i, at.Truncate(Tick))
		}
	case Rolling, Swift:
		span := 5 * time.Minute
		if g.given.Style == Swift {
			span = 30 * time.Second
		}
		for i := range n {
			g.replace(i, (time.Duration(i) * span / time.Duration(n)).Truncate(Tick))
		}
	}
}

// replace ends an old pod when a new one starts.
func (g *run) replace(i int, at time.Duration) {
	g.pods[i].ended = at
	g.add(fmt.Sprintf("new-%d", i), true, at, 1000*time.Hour)
}

func (g *run) add(name string, fresh bool, started, ended time.Duration) {
	p := &pod{name: name, fresh: fresh, started: started, ended: ended}
	for k := range p.own {
		p.own[k] = g.pod[k] * g.draw()
		p.wander[k] = newAR(g.rng, g.memory())
	}
	p.zone = len(g.pods) % zones
	p.share = math.Exp(0.05 * g.rng.NormFloat64())
	p.memory = 3e8 * math.Exp(0.05*g.rng.NormFloat64())
	g.pods = append(g.pods, p)
}

// tick makes up one window.
func (g *run) tick(at time.Duration) *evidence.Window {
	g.window.At = g.start.Add(at)
	g.window.Pods = g.window.Pods[:0]
	var shared [3]float64
	for k := range shared {
		shared[k] = g.Service.shared[k] * g.shared[k].next(g.rng)
	}
	hour := float64(g.window.At.Unix()%86400) / 3600
	rps := g.given.Class.RPS * g.course(hour)
	g.wanderZones()
	var shares float64
	for _, p := range g.pods {
		if at > p.started && at <= p.ended {
			shares += p.share
		}
	}
	for _, p := range g.pods {
		switch {
		case p.fresh && at == p.started:
			g.window.Pods = append(g.window.Pods, evidence.PodSample{
				Pod: p.name, New: true, Started: g.window.At, MemoryBytes: p.memory, Errors: 0, Requests: 0,
				CPUSeconds: math.NaN(),
			})
		case at > p.started && at <= p.ended:
			if g.rng.Float64() < g.given.GapRate {
				continue
			}
			g.sample(p, at, shared, rps*p.share/shares)
		}
	}
	return &g.window
}

// sample makes up what one pod did.
func (g *run) sample(p *pod, at time.Duration, shared [3]float64, rps float64) {
	var log [3]float64
	age := (at - p.started).Seconds()
	for k := range log {
		log[k] = shared[k] + p.own[k] + g.wander[k]*(p.wander[k].next(g.rng)+g.zone(p.zone, k))
		if p.fresh {
			log[k] += g.shift[k] + g.Service.warm[k]*g.warm*g.cooling(age)
		}
	}
	h := Harm{}
	if p.fresh {
		h = g.harm
	}
	n := poisson(g.rng, rps*Tick.Seconds())
	s := evidence.PodSample{Pod: p.name, New: p.fresh, Requests: n}
	if p.fresh {
		s.Started = g.start.Add(p.started)
	}
	s.Errors = binomial(g.rng, n, math.Min(g.errors*math.Exp(log[0])+h.Errors, 1))
	s.CPUSeconds = 0
	if n > 0 {
		s.CPUSeconds = n * g.cpu * math.Exp(log[2]) * one(h.CPU) * math.Max(1+g.rng.NormFloat64()/math.Sqrt(n), 0.05)
	}
	s.CPUSeconds += g.idle * Tick.Seconds()
	s.Latency = g.latency(n, log[1]+math.Log(one(h.Latency)), one(h.Tail))
	minutes := math.Max(age, 0) / 60
	s.MemoryBytes = p.memory * (1 + 0.003*g.rng.NormFloat64())
	if p.fresh {
		s.MemoryBytes *= 1 - 0.2*math.Exp(-minutes/3)
		s.MemoryBytes += 6e8 * h.Leak * minutes
	}
	g.window.Pods = append(g.window.Pods, s)
}

func one(f float64) float64 {
	if f == 0 {
		return 1
	}
	return f
}

// slowShare of requests take slowFactor times as long.
const (
	slowShare  = 0.03
	slowFactor = 5
)

// latency makes up the buckets of n requests.
func (g *run) latency(n, log, tail float64) []float64 {
	bounds := Bounds()
	out := make([]float64, len(bounds))
	below, left := 0.0, n
	for i, le := range bounds {
		p := 1.0
		if !math.IsInf(le, 1) {
			z := math.Log(le/g.median) - log
			p = (1-slowShare)*g.below(z) + slowShare*g.below(z-math.Log(slowFactor*tail))
		}
		if left > 0 && p > below {
			out[i] = binomial(g.rng, left, math.Min((p-below)/(1-below), 1))
			left -= out[i]
			below = p
		}
	}
	return out
}

func normal(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// poisson and binomial draw counts, by inversion where they are small, else by their normal limits.
func poisson(rng *rand.Rand, mean float64) float64 {
	if mean > 30 {
		return math.Max(math.Round(mean+math.Sqrt(mean)*rng.NormFloat64()), 0)
	}
	u, p, n := rng.Float64(), math.Exp(-mean), 0.0
	for sum := p; u > sum && n < 200; sum += p {
		n++
		p *= mean / n
	}
	return n
}

func binomial(rng *rand.Rand, n, p float64) float64 {
	if p > 0.5 {
		return n - binomial(rng, n, 1-p)
	}
	mean := n * p
	if mean > 30 {
		v := math.Round(mean + math.Sqrt(mean*(1-p))*rng.NormFloat64())
		return math.Min(math.Max(v, 0), n)
	}
	u, q, k := rng.Float64(), math.Exp(n*math.Log1p(-p)), 0.0
	for sum := q; u > sum && k < n; sum += q {
		q *= (n - k) / (k + 1) * p / (1 - p)
		k++
	}
	return k
}
