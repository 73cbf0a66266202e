package release

import "tocsin/fleet"

// Sample is the state of one pod's counters at an instant. NaN means that there was no sample of
// it. The manager keeps nothing of it.
type Sample struct {
	Service fleet.Service
	Pod     string // Empty: the service as a whole; its samples name no pods.

	Requests      float64 // Since the pod started, as the next three.
	Errors        float64 // NaN beside known requests: there were none yet, unless ErrorsUnknown.
	ErrorsUnknown bool    // Nobody asks for errors, or the question failed.
	CPUSeconds    float64
	Restarts      float64
	MemoryBytes   float64
	MemoryLimit   float64
	Bounds        []float64 // Upper bounds of the buckets of latency in seconds, ascending to +Inf.
	Latency       []float64 // Cumulative over buckets, too; nil where there is none.
}
