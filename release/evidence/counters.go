package evidence

import (
	"math"
	"time"
)

// Sample is the state of one pod's counters at an instant. NaN in a field means that there was no sample of it.
type Sample struct {
	Pod         string
	New         bool
	Requests    float64 // Since the pod started, as the next two.
	Errors      float64
	CPUSeconds  float64
	MemoryBytes float64
	Latency     []float64 // Cumulative over buckets, too; NaN or nil where there is none.
}

// Counters turns the counters of the pods of one release into increments, pod by pod, before anything is
// added up: resets are restarts, gaps stay gaps, and a counter that is born beside live traffic began at zero.
type Counters struct {
	begun bool // The first window has ended: pods that appear now have just started.
	pods  map[string]*counter
}

type counter struct {
	last    Sample
	started time.Time
	errors  bool // The pod has shown an error counter.
}

// NewCounters returns counters that know no pod.
func NewCounters() *Counters { return &Counters{pods: map[string]*counter{}} }

// EndWindow says that the samples of one instant are complete.
func (c *Counters) EndWindow() { c.begun = true }

// Add returns what a pod did since its sample before. It keeps nothing of s.
func (c *Counters) Add(at time.Time, s *Sample) PodSample {
	k, known := c.pods[s.Pod]
	if !known {
		k = c.admit(at, s)
	}
	out := PodSample{Pod: s.Pod, New: s.New, MemoryBytes: s.MemoryBytes}
	if known && (s.Requests < k.last.Requests || s.CPUSeconds < k.last.CPUSeconds) {
		k.started = at // It restarted, and warms up again.
	}
	out.Started = k.started
	out.Requests = increment(k.last.Requests, s.Requests)
	out.CPUSeconds = increment(k.last.CPUSeconds, s.CPUSeconds)
	out.Errors = k.failed(s)
	out.Latency = k.latency(s.Latency)
	k.last.Requests, k.last.Errors, k.last.CPUSeconds = s.Requests, s.Errors, s.CPUSeconds
	k.last.Latency = append(k.last.Latency[:0], s.Latency...)
	return out
}

// admit starts to follow a pod. One that appears in mid-recording is young: its counters began at zero.
func (c *Counters) admit(at time.Time, s *Sample) *counter {
	nan := math.NaN()
	k := &counter{last: Sample{Requests: nan, Errors: nan, CPUSeconds: nan}}
	if c.begun || s.New {
		k.started = at
	}
	if c.begun && s.New {
		k.last.Requests, k.last.Errors, k.last.CPUSeconds = 0, 0, 0
		k.last.Latency = make([]float64, len(s.Latency))
	}
	c.pods[s.Pod] = k
	return k
}

// failed returns the increment of errors. A pod that has never shown an error counter has had no errors, as far as its
// requests are known.
func (k *counter) failed(s *Sample) float64 {
	if !Known(s.Errors) {
		if k.errors || !Known(s.Requests) || !Known(k.last.Requests) {
			return math.NaN()
		}
		return 0
	}
	if !k.errors && !Known(k.last.Errors) && Known(k.last.Requests) {
		k.errors = true
		return s.Errors
	}
	k.errors = true
	return increment(k.last.Errors, s.Errors)
}

// latency returns the increments of the single buckets.
func (k *counter) latency(now []float64) []float64 {
	if len(now) == 0 || len(now) != len(k.last.Latency) {
		return nil
	}
	reset := now[len(now)-1] < k.last.Latency[len(now)-1]
	out := make([]float64, len(now))
	below := 0.0
	for i, v := range now {
		before := k.last.Latency[i]
		if reset {
			before = 0
		}
		if !Known(v) || !Known(before) {
			return nil
		}
		out[i] = math.Max(v-before-below, 0)
		below = v - before
	}
	return out
}

// increment is NaN unless both ends are known. A counter that fell began again at zero.
func increment(before, now float64) float64 {
	if now < before {
		return now
	}
	return now - before
}
