package promql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/fleet"
)

// What is asked of pods.
const (
	PodRequests    = "requests" // Counters, as the next two.
	PodErrors      = "errors"
	PodLatency     = "latency"
	PodCPU         = "cpu"
	PodMemory      = "memory"
	PodMemoryLimit = "memory_limit"
	PodRestarts    = "restarts"
)

// PodQuery says how one metric of pods is asked for.
type PodQuery struct {
	// Name is one of the above. Those of one Set count the same requests: of the sets that give
	// requests for a service, one is chosen for its requests, errors and latency. Sets stand in
	// order of preference, the queries of each together.
	Name string
	Set  string
	Pack string // Name of the pack; empty for one of the user's own.

	// Expr is PromQL that gives raw counters, or gauges, by $pod, which stands for the labels of
	// pods; latency has le besides, or native histograms. $selector stands for matchers.
	Expr string
	// Total is PromQL for services whose series do not say which pod they are of: increments over
	// Options.Window, by the labels in TotalNamespace and TotalService. Empty: there is none.
	Total string

	Probe   string        // PromQL that gives something if the source has the pack; empty: always.
	Metrics []string      // A source with none of these has no use for Expr. Empty: always asked.
	Unit    time.Duration // Of latencies; a second.

	// Labels that may hold the namespace and the name of a pod; of each, the first that a series
	// has counts.
	Namespace []string
	Pod       []string

	TotalNamespace []string // The same for the services of Total's answer.
	TotalService   []string

	// Labels of the series that Total adds up. One that has them belongs to no other namespace,
	// or service. Empty: Total is not narrowed to what is wanted.
	NarrowNamespace string
	NarrowService   string
}

// PodRange says what is wanted of pods: instants on the grid of Step between From and To, both
// included. What is not closed yet is left for later.
type PodRange struct {
	From, To time.Time
	Step     time.Duration // 15s.
	Targets  []PodTarget
}

// PodTarget names pods of a service.
type PodTarget struct {
	Service fleet.Service
	Pods    []string // Exact names.
	Match   []string // Regular expressions (RE2) that match whole names.
}

// PodHistory is what a source knows of pods.
type PodHistory struct {
	Instants []PodInstant // In order of time; those that nothing is known of are absent.
	Queries  int          // How many it took.
	Samples  int          // In Instants.
	Dropped  int          // Samples of pods that no target names.
	Failed   []PodFailure

	// Until is the newest instant that was asked for. It is earlier than was wanted if that is not
	// closed yet, or if so much does not fit into one answer: then ask again from there.
	Until time.Time
}

// PodFailure says that something was not answered for a service: what is absent is not known.
type PodFailure struct {
	Service fleet.Service
	Metric  string // One of those above.
	Reason  string // For people.
	Retry   bool   // Asking again may help: the source failed, and not the query.
}

// PodInstant is what is known of one instant.
type PodInstant struct {
	At   time.Time
	Pods []PodSample
}

// PodSample is the state of one pod's counters, as they stand at the source. NaN stands for what
// is not known. Slices are shared between samples and must not be changed.
type PodSample struct {
	Service fleet.Service

	// Pod is empty for the service as a whole, where series do not say which pod they are of. The
	// counters of such a sample are increments over the Window before the instant: a sum over pods
	// that come and go is no counter.
	Pod    string
	Window time.Duration // 0: counters count from the start of the pod.

	Requests float64
	Errors   float64

	// ErrorsKnown says that the source was asked for errors and answered: then there are none
	// where Errors is NaN and Requests is not.
	ErrorsKnown bool

	CPUSeconds  float64
	MemoryBytes float64
	MemoryLimit float64
	Restarts    float64

	Bounds  []float64 // Of buckets of latency, in seconds, ascending; the last is +Inf.
	Latency []float64 // Requests up to each bound; nil if not known.
}

// ErrNoPodQueries means that nothing is configured to ask pods for.
var ErrNoPodQueries = errors.New("no queries for pods")

// Pods asks for the counters of pods. It is asked for all targets of a cluster at once: the number
// of queries does not depend on how many they are, but for what makes a query too long. The error
// is a *SourceError if nothing was answered, or ctx's.
func (s *Source) Pods(ctx context.Context, r PodRange) (PodHistory, error) {
	if len(s.opts.Pods) == 0 {
		return PodHistory{}, fmt.Errorf("ask cluster %s: %w", s.opts.Cluster, ErrNoPodQueries)
	}
	return s.pods.ask(ctx, r)
}
