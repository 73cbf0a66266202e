package sim

import (
	"math"
	"sync"
)

// cluster is one simulated cluster. It advances in steps of the same length; what happens in a step
// depends on the seed and the step's number alone, so it does not matter who asks for it and when.
type cluster struct {
	name  string
	opts  *Options
	place place

	mu       sync.Mutex
	services []*service // All, those of SetPods last.
	model    *model
	own      []trouble
	faults   []*Fault
	steps    uint64 // Steps that are done.
	kube     *kubeAPI
}

func newCluster(name string, index int, opts *Options, list []blueprint) *cluster {
	c := &cluster{name: name, opts: opts, kube: newKubeAPI()}
	key := named(named(opts.Seed, "cluster"), name)
	r := stream{key}
	every := opts.ReleaseEvery.Seconds() / opts.TimeScale
	if every > 0 {
		every = max(every, minCadence.Seconds())
	}
	stagger := min(15*60/opts.TimeScale, every/float64(2*opts.Clusters))
	c.place = place{
		key: key, size: math.Exp(0.3 * r.normal()), zone: math.Round(12*r.uniform()) - 6,
		pods: opts.Pods, jobs: opts.Jobs, every: every, offset: stagger * float64(index),
	}
	for i, b := range list {
		c.services = append(c.services, newService(b, i, c.place))
	}
	c.wire()
	for _, s := range c.services {
		s.populate()
		c.report(s, 0)
	}
	return c
}

// wire joins the services to a model.
func (c *cluster) wire() {
	connect(c.services)
	c.model = newModel(c.services, c.opts.Propagation, c.opts.Spikes)
	c.own = make([]trouble, len(c.services))
	for i := range c.own {
		c.own[i] = noTrouble
	}
}

// populate gives the service the pods that it has at the beginning.
func (s *service) populate() {
	number, began := s.releases.revision(0)
	for i := range s.replicas {
		p := s.newPod(revision{number: number}, i, min(-120, began)+15*float64(i)-600)
		p.remember(s)
		s.pods = append(s.pods, p)
	}
}

// add puts a fault on the services that it matches.
func (c *cluster) add(f *Fault) {
	if !f.matchesCluster(c.name) {
		return
	}
	c.faults = append(c.faults, f)
	for _, s := range c.services {
		if !f.wholeCluster() && f.matches(c.name, s.namespace, s.name) {
			s.faults = append(s.faults, f)
		}
	}
}

// advance does all steps up to the one that seconds lies in.
func (c *cluster) advance(seconds float64) {
	target := uint64(math.Ceil(seconds / c.opts.Step.Seconds()))
	for c.steps < target {
		c.step()
	}
}

// seconds is when the step of that number begins.
func (c *cluster) seconds(step uint64) float64 { return float64(step) * c.opts.Step.Seconds() }

func (c *cluster) step() {
	now := c.seconds(c.steps)
	for i, s := range c.services {
		s.reconcile(now)
		s.crashByFault(now)
		for _, p := range s.pods {
			p.live(now)
		}
		c.own[i] = s.meanTrouble(now)
		c.report(s, now)
	}
	c.model.at(now, c.opts.calendar(now), c.own)
	for i, s := range c.services {
		s.serve(c, &c.model.now[i], now)
		if c.opts.Autoscale {
			s.autoscale(now, c.opts.Step.Seconds(), c.model.now[i].rate, c.opts.Pods)
		}
	}
	c.steps++
}

// serve deals the requests of a step out to the pods that are ready.
func (s *service) serve(c *cluster, now *conditions, seconds float64) {
	sum := 0.0
	weights := make([]float64, 0, 32)
	for _, p := range s.pods {
		w := p.weight(seconds)
		weights = append(weights, w)
		sum += w
	}
	for rank, p := range s.pods {
		m := moment{seconds: seconds, length: c.opts.Step.Seconds(), number: c.steps, now: now}
		if sum > 0 {
			m.share = weights[rank] / sum
		}
		m.trouble = s.trouble(seconds, rank, len(s.pods))
		m.trouble.add(p.built)
		p.advance(s, &m)
	}
}

// add joins two troubles.
func (t *trouble) add(u trouble) {
	t.errors += u.errors
	t.latency *= u.latency
	t.tail *= u.tail
	t.cpu *= u.cpu
	t.leak += u.leak
	t.keep *= u.keep
}

// meanTrouble is what callers of the service notice.
func (s *service) meanTrouble(seconds float64) trouble {
	mean := s.trouble(seconds, -1, len(s.pods))
	errors, latency, n := 0.0, 0.0, 0
	for _, p := range s.pods {
		if p.ready(seconds) {
			errors += p.built.errors
			latency += p.built.latency - 1
			n++
		}
	}
	if n > 0 {
		mean.errors += errors / float64(n)
		mean.latency *= 1 + latency/float64(n)
	}
	mean.errors = min(1, mean.errors)
	return mean
}

// badRelease returns what a revision that a fault made does to its pods.
func (s *service) badRelease(v revision) (trouble, bool) {
	t := noTrouble
	for _, f := range s.faults {
		if v.fault > 0 && f.id == v.fault {
			t.suffer(f, 1)
			return t, f.Crash
		}
	}
	return t, false
}

// crashByFault ends containers when a fault says so.
func (s *service) crashByFault(seconds float64) {
	for _, f := range s.faults {
		if f.Kind != PodCrash || !f.active(seconds) {
			continue
		}
		due := 1 + int((seconds-f.At.Seconds())/f.Every.Seconds())
		if s.crashes[f.id] >= due {
			continue
		}
		s.crashes[f.id] = due
		for rank, p := range s.pods {
			if f.hits(rank) {
				p.crash(seconds, f.Reason)
			}
		}
	}
}

// outage says whether a scrape finds nothing: of the whole cluster, or of one service.
func (c *cluster) outage(seconds float64) bool {
	for _, f := range c.faults {
		if f.wholeCluster() && f.active(seconds) {
			return true
		}
	}
	return false
}

func (s *service) outage(seconds float64) bool {
	for _, f := range s.faults {
		if f.Kind == ScrapeOutage && f.active(seconds) {
			return true
		}
	}
	return false
}
