// Package evidence weighs what the pods of a release did: new pods against old ones in the same interval,
// as e-values that may be looked at after every sample.
//
// A Ledger adds up increments per pod. Each metric becomes cells: new pods of one age against old pods within
// five minutes, with a likelihood of the log-ratio between them. Counts are compared conditionally on their sum
// (so that traffic and shared trouble cancel), latency and CPU as Gaussians on the log scale; both are blunted
// by what pods differ and wander without any release. The e-value is a Bayes factor: harmful log-ratios
// against the log-ratios that harmless releases of this service have shown (Model).
//
// Everything is a ratio, so no result depends on the units of a metric. Sources: Vovk and Wang, "E-values:
// calibration, combination and applications" (2021); Howard and others, "Time-uniform confidence sequences" (2021).
package evidence

import (
	"math"
	"time"
)

// Metric is a property of pods that a release can worsen.
type Metric uint8

// The metrics. ErrorLevel and Memory are judged on their own scales, the others as log-ratios.
const (
	Errors     Metric = iota // Share of requests that fail.
	Latency                  // Mean of the logarithm of latency.
	Slow                     // Share of requests above the old pods' 90th percentile.
	Tail                     // Share of requests above the old pods' 98.5th percentile.
	P99                      // The 99th percentile of latency.
	CPU                      // CPU seconds for each request.
	ErrorLevel               // Share of requests that fail against an absolute level.
	Memory                   // Growth of memory with the age of a pod.
	Metrics                  // How many there are.

	ratios = int(CPU) + 1 // The metrics that are log-ratios come first.
)

// String returns the metric's name as verdicts show it.
func (m Metric) String() string {
	return [...]string{
		"errors", "latency", "latency_p90", "latency_p98.5", "latency_p99", "cpu", "error_level", "memory", "none",
	}[min(m, Metrics)]
}

// counts reports whether a metric counts events.
func (m Metric) counts() bool { return m == Errors || m == Slow || m == Tail }

// PodSample is what one pod did during a window. NaN in a field means that there was no sample of it.
type PodSample struct {
	Pod         string
	New         bool      // Of the new revision.
	Started     time.Time // Zero: long ago.
	Requests    float64   // Increments during the window, as the next two.
	Errors      float64
	CPUSeconds  float64
	MemoryBytes float64   // At its end.
	Latency     []float64 // Increments of each bucket, not cumulative; nil if there is none.
}

// Window is what the pods of one release did until At, since the window before.
type Window struct {
	At   time.Time
	Pods []PodSample
}

// ages are the lower bounds of the age groups: pods warm up, so like is compared with like.
var ages = [...]time.Duration{
	0, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute,
}

// Groups is the number of age groups; grown is the first group whose pods count as warmed up, settling the first
// that tells what a release comes to.
const (
	Groups   = len(ages)
	grown    = 4
	settling = 3
)

// youngest is the first age group that counts for a metric: what comes before tells of compilers and caches, not of
// the release.
var youngest = [ratios]int{Slow: 2, Tail: 2, P99: 2, CPU: 3}

// group returns the age group of a pod; pods of unknown age are old.
func group(started, at time.Time) int {
	if started.IsZero() {
		return Groups - 1
	}
	age := at.Sub(started)
	g := 0
	for g+1 < Groups && age >= ages[g+1] {
		g++
	}
	return g
}

// Known reports whether there was a sample.
func Known(v float64) bool { return !math.IsNaN(v) }
