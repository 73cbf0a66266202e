package kube

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/fleet"
)

// The outcomes of a request.
const (
	answered    = "answered"
	refused     = "refused"     // 401, 403
	throttled   = "throttled"   // 429
	broken      = "broken"      // 5xx
	unreachable = "unreachable" // No answer at all.
)

// Why an event is dropped.
const (
	otherObject = "other_object" // It is about a node, a volume, a job: about no workload.
	unmapped    = "unmapped"     // Its pod belongs to no workload that is known.
	overflow    = "overflow"     // Too many wait for their workload.
)

// Why a watch was started anew by us.
const (
	silent   = "silent"   // Nothing came, not even a bookmark.
	identity = "identity" // Another cluster answers.
	access   = "access"   // The credentials have changed.
	recovery = "recovery" // The API server answers again.
)

// metrics holds what is measured for one cluster in a registry of its own, so that a cluster can
// come, go and come back: Run registers the registry as a whole and takes it away again.
type metrics struct {
	registry *prometheus.Registry
	changes  *prometheus.CounterVec
	events   prometheus.Counter
	dropped  *prometheus.CounterVec
	requests *prometheus.CounterVec
	restarts *prometheus.CounterVec
	looks    *prometheus.CounterVec
}

func newMetrics(cluster string, w *Watcher) *metrics {
	reg := prometheus.NewRegistry()
	auto := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"cluster": cluster}, reg))
	counter := func(name, label, help string, values ...string) *prometheus.CounterVec {
		v := auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	gauge := func(name, help string, f func() float64) {
		auto.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	m := &metrics{registry: reg}
	m.changes = counter("tocsin_kube_changes_total", "kind",
		"Changes reported, groups of events included.",
		string(fleet.Rollout), string(fleet.Created), string(fleet.Deleted), string(fleet.Scaled),
		string(fleet.Paused), string(fleet.Resumed), string(fleet.Restarted), string(fleet.Warning))
	m.events = auto.NewCounter(prometheus.CounterOpts{
		Name: "tocsin_kube_events_total", Help: "Warning events received, each recurrence counted.",
	})
	m.dropped = counter("tocsin_kube_dropped_events_total", "reason",
		"Warning events not reported.",
		otherObject, unmapped, overflow)
	m.requests = counter("tocsin_kube_requests_total", "outcome", "Requests to the API server.",
		answered, refused, throttled, broken, unreachable)
	m.restarts = counter("tocsin_kube_watch_restarts_total", "reason",
		"Watches given up and started anew.",
		silent, identity, access, recovery)
	m.looks = counter("tocsin_kube_looks_total", "result", "Looks at rollouts.",
		lookSeen, lookGone, lookUnobserved, lookRefused, lookFailed)
	gauge("tocsin_kube_stale", "1 while what is known of the cluster may be out of date.",
		func() float64 { return truth(w.Status().State == Stale) })
	gauge("tocsin_kube_synced", "1 once every resource that is not refused was listed.",
		func() float64 { return truth(w.Status().Synced) })
	gauge("tocsin_kube_last_contact_timestamp_seconds",
		"When the API server last gave a sign of life; 0: never.",
		func() float64 { return seconds(w.Status().Contact) })
	sizes := func(f func(*memory) int) func() float64 {
		return func() float64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return float64(f(w.memory))
		}
	}
	gauge("tocsin_kube_workloads", "Workloads known.",
		sizes(func(m *memory) int { return len(m.workloads) }))
	gauge("tocsin_kube_event_groups", "Groups of events that still may grow.",
		sizes(func(m *memory) int { return len(m.groups) }))
	gauge("tocsin_kube_pending_events", "Events that wait for their workload to become known.",
		sizes(func(m *memory) int { return len(m.pending) }))
	return m
}

func seconds(at time.Time) float64 {
	if at.IsZero() {
		return 0
	}
	return float64(at.UnixNano()) / float64(time.Second)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
