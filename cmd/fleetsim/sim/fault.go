package sim

import (
	"path"
	"slices"
	"time"
)

// Kind says what sort of trouble a fault is.
type Kind string

// The kinds of fault.
const (
	ErrorBurst   Kind = "error_burst"   // Requests fail.
	LatencyShift Kind = "latency_shift" // Requests are slower.
	TrafficDrop  Kind = "traffic_drop"  // Requests stay away.
	Leak         Kind = "leak"          // Memory grows until the limit kills the container.
	BadRelease   Kind = "bad_release"   // A rollout to a revision that is worse, undone at the end.
	PodCrash     Kind = "pod_crash"     // Containers end and start again.
	ScrapeOutage Kind = "scrape_outage" // A cluster or the pods of a service have no metrics.
)

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{ErrorBurst, LatencyShift, TrafficDrop, Leak, BadRelease, PodCrash, ScrapeOutage}
}

// Fault is something that happens to services for a while. Times are real ones: a time scale does
// not compress them.
type Fault struct {
	Kind    Kind
	At      time.Duration // Since the fleet began.
	For     time.Duration // 0 is for ever.
	Ramp    time.Duration // It grows for this long, and fades as long after its end.
	Cluster string        // Name or glob; "" is every cluster.
	Service string        // Name or glob, of the service or of namespace/service; "" is all.

	Errors    float64       // Share of requests that fail; ErrorBurst, BadRelease.
	Latency   float64       // Factor on all latencies; LatencyShift, BadRelease.
	Tail      float64       // Factor on those of the slow tail; the same kinds.
	CPU       float64       // Factor on the CPU of a request; BadRelease.
	PerMinute float64       // Share of the limit that leaks; Leak, BadRelease.
	Crash     bool          // New containers end soon after their start; BadRelease.
	Drop      float64       // Share of requests that stay away; TrafficDrop.
	Every     time.Duration // Distance of crashes; PodCrash.
	Reason    string        // Error or OOMKilled; PodCrash.
	Pods      int           // How many pods have it; 0 is all. Not TrafficDrop, BadRelease.

	file string // Where it was written, for error messages.
	line int
	id   uint64 // Which of a fleet's faults this is, from 1.
}

// fields names, for each kind, the fields that shape it beyond those that all kinds have, and gives
// defaults.
var fields = map[Kind]struct {
	names    []string
	defaults Fault
}{
	ErrorBurst:   {[]string{"errors", "pods"}, Fault{Errors: 0.3}},
	LatencyShift: {[]string{"latency", "tail", "pods"}, Fault{Latency: 3, Tail: 1}},
	TrafficDrop:  {[]string{"drop"}, Fault{Drop: 0.8}},
	Leak:         {[]string{"per_minute", "pods"}, Fault{PerMinute: 0.1}},
	BadRelease: {
		[]string{"errors", "latency", "tail", "cpu", "per_minute", "crash"},
		Fault{Errors: 0.2, Latency: 1, Tail: 1, CPU: 1},
	},
	PodCrash: {
		[]string{"every", "reason", "pods"},
		Fault{Every: 30 * time.Second, Reason: reasonError, Pods: 1},
	},
	ScrapeOutage: {nil, Fault{}},
}

// commonFields are those of every kind.
var commonFields = []string{"kind", "at", "for", "ramp", "cluster", "service"}

// normalize puts 1 where a factor was left out, as a fault made in Go may.
func (f *Fault) normalize() {
	for _, factor := range []*float64{&f.Latency, &f.Tail, &f.CPU} {
		if *factor == 0 {
			*factor = 1
		}
	}
	if f.Kind == PodCrash {
		d := fields[PodCrash].defaults
		if f.Every == 0 {
			f.Every = d.Every
		}
		if f.Reason == "" {
			f.Reason = d.Reason
		}
	}
}

// matches says whether the fault is meant for that service; a pattern was checked before.
func (f *Fault) matches(cluster, namespace, service string) bool {
	return f.matchesCluster(cluster) &&
		(glob(f.Service, service) || glob(f.Service, namespace+"/"+service))
}

func (f *Fault) matchesCluster(cluster string) bool { return glob(f.Cluster, cluster) }

func glob(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, _ := path.Match(pattern, name)
	return ok
}

// wholeCluster says that the cluster has no metrics at all.
func (f *Fault) wholeCluster() bool { return f.Kind == ScrapeOutage && f.Service == "" }

// strength is 0 while the fault is not there, 1 when it is fully there, and between while it ramps.
func (f *Fault) strength(seconds float64) float64 {
	since := seconds - f.At.Seconds()
	if since < 0 {
		return 0
	}
	ramp := f.Ramp.Seconds()
	s := 1.0
	if since < ramp {
		s = since / ramp
	}
	if f.For > 0 && since >= f.For.Seconds() {
		after := since - f.For.Seconds()
		if after >= ramp {
			return 0
		}
		s = min(s, 1-after/ramp)
	}
	return s
}

// active says whether the fault is between its start and its end, whatever its ramp.
func (f *Fault) active(seconds float64) bool {
	since := seconds - f.At.Seconds()
	return since >= 0 && (f.For == 0 || since < f.For.Seconds())
}

// trouble is what faults, bad revisions and bad images do to one pod, or on average to a service.
type trouble struct {
	errors  float64 // Share of requests that fail beyond the ordinary.
	latency float64 // Factor.
	tail    float64 // Factor on the slow tail, on top of latency.
	cpu     float64 // Factor on the CPU of a request.
	leak    float64 // Share of the memory limit a second.
	keep    float64 // Share of the traffic that comes.
}

var noTrouble = trouble{latency: 1, tail: 1, cpu: 1, keep: 1}

// suffer adds a fault of that strength to t.
func (t *trouble) suffer(f *Fault, strength float64) {
	t.errors += strength * f.Errors
	t.latency *= 1 + strength*(f.Latency-1)
	t.tail *= 1 + strength*(f.Tail-1)
	t.cpu *= 1 + strength*(f.CPU-1)
	t.leak += strength * f.PerMinute / 60
	t.keep *= 1 - strength*f.Drop
}

// hits says whether the pod of that rank, counted from the oldest, has the fault.
func (f *Fault) hits(rank int) bool { return f.Pods == 0 || rank < f.Pods }

// behaviour is what an image of that tag does. Tests with pods of a real cluster choose it by
// image.
func behaviour(image string) (trouble, bool) {
	t := noTrouble
	crash := false
	switch tagWord(image) {
	case "bad":
		t.errors = 0.2
	case "slow":
		t.latency, t.tail = 2.5, 1.2
	case "leak":
		t.leak = 0.1 / 60
	case "crash":
		crash = true
	}
	return t, crash
}

// tagWord returns the part of an image's tag that says how it behaves: all of it, or what follows
// its last dash, so that shop:v7-bad is bad as shop:bad is.
func tagWord(image string) string {
	for i := len(image) - 1; i >= 0 && image[i] != '/'; i-- {
		if image[i] == ':' || image[i] == '-' {
			return image[i+1:]
		}
	}
	return ""
}

// uses says whether a fault of the kind has a field of that name.
func (k Kind) uses(field string) bool {
	return slices.Contains(commonFields, field) || slices.Contains(fields[k].names, field)
}
