package sim

import (
	"fmt"
	"math"
	"time"

	"tocsin/fleet"
)

// Signals is what a Prometheus would answer about the services of a cluster at one instant, column
// by column, each as long as Services. NaN is no sample.
type Signals struct {
	Services    []fleet.Service
	Traffic     []float64 // Requests a second.
	Errors      []float64 // Share of requests that failed.
	P50         []float64 // Seconds.
	P99         []float64 // Seconds.
	CPU         []float64 // Cores.
	Memory      []float64 // Share of the limit.
	Throttled   []float64 // Share of the CPU's periods.
	Unavailable []float64 // Pods.
}

// Columns returns the signals by name, in a fixed order.
func (s *Signals) Columns() []Column {
	return []Column{
		{"traffic", s.Traffic},
		{"errors", s.Errors},
		{"p50", s.P50},
		{"p99", s.P99},
		{"cpu", s.CPU},
		{"memory", s.Memory},
		{"throttled", s.Throttled},
		{"unavailable", s.Unavailable},
	}
}

// Column is the values of one signal.
type Column struct {
	Signal string
	Values []float64
}

// History computes the signals of one cluster without its pods: weeks of them in seconds. They
// follow the same calendar, noise, call graph, releases and faults as the pods do, but chance has
// its say once for a service and not for each of its pods. A History belongs to one goroutine;
// those of several clusters may run at once.
type History struct {
	opts     *Options
	cluster  *cluster
	step     float64
	services []*service
	model    *model
	own      []trouble
	reigns   []reign
	signals  Signals
}

// reign is the release that a service runs and the one before.
type reign struct {
	number   int
	known    bool
	old, new levels
	q99      float64 // Position of the 99th percentile, in powers of two above the median.
	density  float64 // There.
	tail     float64 // Factor on the tail for which these hold.
}

// rolloutPerPod is about how long a rollout takes for each pod, in seconds.
const rolloutPerPod = 11

// History returns the signals of a cluster, each over a step of that length. It sees the faults
// that the fleet has by now.
func (f *Fleet) History(cluster string, step time.Duration) (*History, error) {
	c, err := f.cluster(cluster)
	if err != nil {
		return nil, err
	}
	if step < time.Second {
		return nil, fmt.Errorf("step: %v is less than 1s", step)
	}
	h := &History{opts: &f.opts, cluster: c, step: step.Seconds()}
	list := newCatalogue(f.opts.Seed, f.opts.Services)
	for i, b := range list {
		s := newService(b, i, c.place)
		h.services = append(h.services, s)
		h.signals.Services = append(h.signals.Services, s.id(c.name))
	}
	c.mu.Lock()
	for i, s := range h.services {
		s.faults = append(s.faults, c.services[i].faults...)
	}
	c.mu.Unlock()
	connect(h.services)
	h.model = newModel(h.services, f.opts.Propagation, f.opts.Spikes)
	h.own = make([]trouble, len(list))
	h.reigns = make([]reign, len(list))
	h.allocate(len(list))
	return h, nil
}

func (h *History) allocate(n int) {
	s := &h.signals
	for _, column := range []*[]float64{
		&s.Traffic, &s.Errors, &s.P50, &s.P99, &s.CPU, &s.Memory, &s.Throttled, &s.Unavailable,
	} {
		*column = make([]float64, n)
	}
}

// At returns the signals over the step that ends at that distance of real time from the fleet's
// beginning. They are overwritten by the next call. Going forward step by step is the fastest way,
// but any order gives the same.
func (h *History) At(end time.Duration) *Signals {
	now := end.Seconds() - h.step/2
	for i, s := range h.services {
		h.own[i] = noTrouble
		if len(s.faults) > 0 {
			h.own[i] = s.historicTrouble(now)
		}
	}
	h.model.at(now, h.opts.calendar(now), h.own)
	for i, s := range h.services {
		r := stream{subkey(named(s.key, "history"), uint64(int64(end)))}
		h.observe(i, s, now, &r)
		if len(s.faults) > 0 && s.outage(now) {
			h.blank(i)
		}
	}
	return &h.signals
}

// historicTrouble is what faults do to the mean pod of a service, with a bad release in proportion
// to its rollout.
func (s *service) historicTrouble(seconds float64) trouble {
	t := s.trouble(seconds, -1, s.replicas)
	for _, f := range s.faults {
		if f.Kind != BadRelease {
			continue
		}
		rollout := *f
		rollout.Ramp = time.Duration(rolloutPerPod * s.replicas * int(time.Second))
		if strength := rollout.strength(seconds); strength > 0 && !f.Crash {
			t.suffer(f, strength)
		}
	}
	t.errors = min(1, t.errors)
	return t
}

// level blends the releases while one follows the other.
func (h *History) level(i int, s *service, seconds float64) (now levels, share float64) {
	number, began := s.releases.revision(seconds)
	g := &h.reigns[i]
	if !g.known || g.number != number {
		g.old, g.new = s.level(number-1), s.level(number)
		g.number, g.known = number, true
	}
	share = 1.0
	if since := seconds - began; since < rolloutPerPod*float64(s.replicas) {
		share = since / (rolloutPerPod * float64(s.replicas))
	}
	if share >= 1 {
		return g.new, 1
	}
	mix := func(old, new float64) float64 { return old + share*(new-old) }
	return levels{
		latency: mix(g.old.latency, g.new.latency),
		cpu:     mix(g.old.cpu, g.new.cpu),
		errors:  mix(g.old.errors, g.new.errors),
		memory:  mix(g.old.memory, g.new.memory),
	}, share
}

func (h *History) observe(i int, s *service, seconds float64, r *stream) {
	now, own, out := &h.model.now[i], &h.own[i], &h.signals
	level, rolled := h.level(i, s, seconds)
	n := r.poisson(now.rate * h.step * r.lump(s.uneven/h.step))
	count := float64(n)
	out.Traffic[i] = count / h.step

	chance := s.errors * level.errors * now.errors * r.lump(0.3/h.step)
	failed := r.binomial(n, min(1, chance+own.errors+now.excess))
	slow := s.latency.median * level.latency * now.latency * own.latency
	if n == 0 {
		out.Errors[i], out.P50[i], out.P99[i] = math.NaN(), math.NaN(), math.NaN()
	} else {
		out.Errors[i] = float64(failed) / count
		g := h.quantile(i, s, own.tail)
		blur := 1 / math.Sqrt(count)
		out.P50[i] = slow * math.Exp2(min(1, 1.25*s.latency.spread*blur)*r.normal())
		out.P99[i] = slow * math.Exp2(g.q99+min(1, 0.0995*blur/g.density)*r.normal())
	}

	pods := float64(s.replicas)
	request := s.requestCPU * level.cpu * now.cpu * own.cpu * math.Exp(0.02*r.normal())
	cpu := pods*s.idleCPU*now.job + out.Traffic[i]*request
	out.CPU[i] = min(cpu, pods*s.cpuLimit)
	share := out.CPU[i] / (pods * s.cpuLimit)
	periods := uint64(10 * h.step * pods)
	out.Throttled[i] = float64(r.binomial(periods, throttled(share))) / float64(periods)
	out.Memory[i] = s.memory / s.limit * level.memory * now.memory
	out.Unavailable[i] = 0
	if rolled < 1 {
		out.Unavailable[i] = 1
	}
	if len(s.faults) > 0 {
		h.ail(i, s, seconds)
	}
}

// lump is gamma for small variances, where a normal is as good and cheaper.
func (r *stream) lump(variance float64) float64 {
	if variance > 0.02 {
		return r.gamma(min(1, variance))
	}
	return 1 + math.Sqrt(variance)*r.normal()
}

// ail adds what leaks, crashes and crashing releases do to a service.
func (h *History) ail(i int, s *service, seconds float64) {
	out := &h.signals
	for _, f := range s.faults {
		since := seconds - f.At.Seconds()
		switch {
		case since < 0:
		case f.PerMinute > 0 && (f.active(seconds) || f.Kind == Leak):
			out.Memory[i] = f.leaked(since, out.Memory[i], s.replicas)
		case f.Kind == PodCrash && f.active(seconds):
			out.Unavailable[i] = max(out.Unavailable[i], float64(min(f.Pods, s.replicas)))
		case f.Crash && f.active(seconds):
			out.Unavailable[i] = max(out.Unavailable[i], 1)
		}
	}
}

// leaked is the mean share of the limit in use so long after the leak began: it grows until the
// container is killed and starts again. What has leaked by the end of the fault stays.
func (f *Fault) leaked(since, usual float64, pods int) float64 {
	if f.For > 0 {
		since = min(since, f.For.Seconds())
	}
	full := math.Mod(since*f.PerMinute/60, max(0.01, 1-usual))
	share := 1.0
	if f.Pods > 0 {
		share = min(1, float64(f.Pods)/float64(pods))
	}
	return usual + share*full
}

func (h *History) blank(i int) {
	for _, column := range h.signals.Columns() {
		column.Values[i] = math.NaN()
	}
}

// quantile finds the 99th percentile of a service's latencies for a factor on the tail.
func (h *History) quantile(i int, s *service, tail float64) *reign {
	g := &h.reigns[i]
	if g.tail == tail {
		return g
	}
	l := s.latency
	l.tail *= tail
	low, high := 0.0, 16.0
	for range 40 {
		g.q99 = (low + high) / 2
		if l.above(g.q99) > 0.01 {
			low = g.q99
		} else {
			high = g.q99
		}
	}
	const eps = 0.01
	g.density = (l.above(g.q99-eps) - l.above(g.q99+eps)) / (2 * eps)
	g.tail = tail
	return g
}

// above is the share of requests that take longer than so many powers of two above the median.
func (l *latency) above(powers float64) float64 {
	over := func(x float64) float64 { return math.Erfc(x/(l.spread*math.Sqrt2)) / 2 }
	return (1-l.slow)*over(powers) + l.slow*over(powers-math.Log2(l.tail))
}
