package release

import (
	"math"
	"slices"
	"time"

	"tocsin/fleet"
	"tocsin/release/evidence"
)

// Sample is the state of one pod's counters at an instant. NaN means that there was no sample of
// it. The manager keeps nothing of it.
type Sample struct {
	Service fleet.Service
	Pod     string // Empty: the service as a whole; its samples name no pods.
	// Window is set for the service as a whole, whose counters are increments over it: a sum over
	// pods that come and go is no counter. Zero: since the start of the pod.
	Window time.Duration

	Requests      float64
	Errors        float64 // NaN beside known requests: there were none yet, unless ErrorsUnknown.
	ErrorsUnknown bool    // Nobody asks for errors, or there was no answer.
	CPUSeconds    float64
	Restarts      float64
	MemoryBytes   float64
	MemoryLimit   float64
	Bounds        []float64 // Upper bounds of the buckets of latency in seconds, ascending to +Inf.
	Latency       []float64 // Cumulative over buckets, too; nil where there is none.
}

// Why a sample is not taken in.
const (
	dropUnknown  = "unknown service" // No release of it is running.
	dropStranger = "unknown pod"     // Of neither side.
	dropLate     = "late"
	dropTwice    = "twice"
	dropTooMany  = "too many pods"
	dropWhole    = "service as a whole" // While its pods are known, or between the sides.
	dropBounds   = "bounds"             // Latency only: buckets that others do not have.
)

// The distances in time that matter to samples.
const (
	gap    = 90 * time.Second // Without samples of a pod: what it did meanwhile is not known.
	served = 5 * time.Minute  // A new pod that ran for so long before its first sample has served.
)

// Sample takes in the samples of one instant. Those of each release come in the order of time;
// releases that are caught up on may be behind the others.
func (m *Manager) Sample(cluster string, at time.Time, samples []Sample) {
	at = at.UTC()
	m.do(func() {
		m.touched = m.touched[:0]
		for i := range samples {
			s := &samples[i]
			m.metrics.samples.Inc()
			dossiers := m.services[s.Service]
			if s.Service.Cluster != cluster || len(dossiers) == 0 {
				m.drop(dropUnknown)
				continue
			}
			for _, d := range dossiers {
				if why := m.take(d, at, s); why != "" {
					m.drop(why)
				}
			}
		}
		for _, d := range m.touched {
			m.endWindow(d, at)
		}
	})
}

func (m *Manager) drop(why string) { m.metrics.dropped.WithLabelValues(why).Inc() }

// Fetched says that all samples of a release up to a time have been handed over, however few there
// were. Without it, they are asked for again.
func (m *Manager) Fetched(release string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.running[release]; d != nil && until.After(d.cursor) {
		d.cursor = until.UTC()
	}
}

// take folds one sample into the window at hand, or says why not.
func (m *Manager) take(d *dossier, at time.Time, s *Sample) string {
	f := m.tracker.running[d.id]
	switch {
	case f == nil:
		return dropUnknown
	case !at.After(d.cursor):
		return dropLate
	case s.Pod == "":
		return m.takeWhole(d, f.Running, at, s)
	}
	side, ok := d.side(f.Running, s.Pod, at)
	if !ok {
		return dropStranger
	}
	m.open(d, at)
	serves := evidence.Known(s.Requests) || len(s.Latency) > 0
	if serves {
		d.again = d.again || d.basis == ByService // By pods, from its beginning.
		d.basis = ByPods
	}
	name := s.Pod
	if side.again {
		name += " again" // The old pod of this name is another pod.
	}
	k := d.counted[name]
	if k != nil && k.last.Equal(at) {
		return dropTwice
	}
	if d.inWindow[sideIndex(side.fresh)] >= mostPods || k == nil && m.counting >= m.opts.Pods {
		return dropTooMany
	}
	if k == nil {
		m.counting++
	}
	d.inWindow[sideIndex(side.fresh)]++
	d.served = d.served || serves && side.fresh
	buckets, why := d.project(s)
	d.window.Pods = append(d.window.Pods, d.count(at, s, name, side, buckets))
	return why
}

// open begins the window of an instant.
func (m *Manager) open(d *dossier, at time.Time) {
	if d.windowOpen {
		return
	}
	d.windowOpen, d.inWindow, d.served = true, [2]int{}, false
	d.window.At, d.window.Pods = at, d.window.Pods[:0]
	m.touched = append(m.touched, d)
}

func sideIndex(fresh bool) int {
	if fresh {
		return 1
	}
	return 0
}

// counted is a pod whose counters are followed.
type counted struct {
	last      time.Time // Newest sample.
	started   time.Time // When the counters were first seen, as they say themselves.
	restarted time.Time // Since then.
	late      bool      // It served before its first sample: its age is that of its start.
	restarts  float64
}

// count turns the state of a pod's counters into what it did since its sample before.
func (d *dossier) count(
	at time.Time, s *Sample, name string, side podSide, buckets []float64,
) evidence.PodSample {
	now := evidence.Sample{
		Pod: name, New: side.fresh, Requests: s.Requests, Errors: s.Errors, CPUSeconds: s.CPUSeconds,
		MemoryBytes: s.MemoryBytes, Latency: buckets,
	}
	k := d.counted[name]
	if k == nil {
		k = &counted{restarts: math.NaN(), late: !side.fresh || d.late(at, side)}
		d.counted[name] = k
		if side.fresh && (side.again || k.late) {
			d.pause(at, name, side.fresh) // Its counters hold more than the last few seconds.
		}
	} else if at.Sub(k.last) > gap {
		d.pause(at, name, side.fresh)
	}
	out := d.counters.Add(at, &now)
	if s.ErrorsUnknown {
		out.Errors = math.NaN()
	}
	if k.last.IsZero() {
		k.started = out.Started
	}
	if !out.Started.Equal(k.started) {
		k.restarted = out.Started
	}
	if s.Restarts > k.restarts {
		k.restarted = at
	}
	if evidence.Known(s.Restarts) {
		k.restarts = s.Restarts
	}
	k.last = at
	switch {
	case !k.restarted.IsZero():
		out.Started = k.restarted // It warms up again.
	case k.late && !side.started.IsZero() && !side.started.After(at):
		out.Started = side.started
	}
	return out
}

// late reports whether a new pod may have served before its first sample. Most have not: they are
// scraped as soon as they are ready, and warm up from then on, however long that took.
func (d *dossier) late(at time.Time, side podSide) bool {
	if at.Sub(d.windowAt) > gap {
		return true // Nobody was looking.
	}
	return !side.started.IsZero() && at.Sub(side.started) > served
}

// pause says that what a pod did up to now is not known.
func (d *dossier) pause(at time.Time, name string, fresh bool) {
	nan := math.NaN()
	d.counters.Add(at, &evidence.Sample{
		Pod: name, New: fresh, Requests: nan, Errors: nan, CPUSeconds: nan, MemoryBytes: nan,
	})
}

// endWindow hands the window of one instant to the trial.
func (m *Manager) endWindow(d *dossier, at time.Time) {
	d.windowOpen = false
	if d.again {
		m.refill(d)
		return
	}
	d.cursor = at
	if len(d.window.Pods) == 0 {
		return
	}
	d.counters.EndWindow()
	d.windowAt = at
	if d.trial == nil {
		d.trial = m.judge.Begin(modelName(d.key), d.bounds)
	}
	d.trial.Observe(&d.window)
	d.news = true
	if at.After(d.sampleAt) {
		d.sampleAt = at
	}
	if at.After(d.freshAt) && d.served {
		d.freshAt = at
	}
	d.record.OldPods, d.record.NewPods = d.inWindow[0], d.inWindow[1]
}

// takeWhole folds in a sample of a service whose requests name no pods: it is the old revision
// until the first new pod, and the new one when most pods are new. What is mixed says nothing.
// Memory may be known by pods nevertheless.
func (m *Manager) takeWhole(d *dossier, r *Release, at time.Time, s *Sample) string {
	if d.basis == ByPods || s.Window <= 0 {
		return dropWhole
	}
	from := at.Add(-s.Window)
	if from.Before(d.wholeAt) {
		return "" // It overlaps the one before: nothing new.
	}
	first := r.Start
	if !r.FirstPod.IsZero() && r.FirstPod.Before(first) {
		first = r.FirstPod
	}
	fresh := !d.mostly.IsZero() && !from.Before(d.mostly)
	if !fresh && at.After(first) {
		return dropWhole
	}
	d.basis, d.wholeAt = ByService, at
	m.open(d, at)
	buckets, why := d.project(s)
	p := evidence.PodSample{
		Pod: "old", New: fresh, Requests: s.Requests, Errors: s.Errors, CPUSeconds: s.CPUSeconds,
		MemoryBytes: math.NaN(), Latency: single(buckets),
	}
	if fresh {
		p.Pod, p.Started = "new", d.mostly
	}
	if !evidence.Known(s.Errors) && !s.ErrorsUnknown && evidence.Known(s.Requests) {
		p.Errors = 0
	}
	d.served = d.served || fresh
	d.window.Pods = append(d.window.Pods, p)
	return why
}

// single turns buckets that are cumulative over bounds into what is in each.
func single(buckets []float64) []float64 {
	out := slices.Clone(buckets)
	for i := len(out) - 1; i > 0; i-- {
		out[i] = math.Max(out[i]-out[i-1], 0)
	}
	return out
}
