package rollback

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Values of the label result.
const (
	resultDone    = "done"
	resultRefused = "refused"
	resultUnknown = "unsettled"
	resultFailed  = "failed"
)

// Why a write is tried again.
const (
	retryConflict = "conflict"
	retryLost     = "reply_lost"
	retryBusy     = "busy"
)

// metrics holds what is measured for one cluster in a registry of its own, so that a cluster can
// come, go and come back.
type metrics struct {
	registry *prometheus.Registry
	actions  *prometheus.CounterVec
	refusals *prometheus.CounterVec
	retries  *prometheus.CounterVec
	deleted  prometheus.Counter
	outcomes *prometheus.CounterVec
}

func newMetrics(cluster string) *metrics {
	reg := prometheus.NewRegistry()
	f := promauto.With(prometheus.WrapRegistererWith(prometheus.Labels{"cluster": cluster}, reg))
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: reg,
		actions: vec("tocsin_rollback_actions_total",
			"Actions that were asked for, by what became of them.", "verb", "result"),
		refusals: vec("tocsin_rollback_refusals_total", "Actions that were refused, by reason.", "code"),
		retries: vec("tocsin_rollback_retries_total",
			"Writes that were tried again, by reason.", "reason"),
		deleted: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_rollback_pods_deleted_total",
			Help: "Pods of a bad revision that held up an undo and were deleted.",
		}),
		outcomes: vec("tocsin_rollback_outcomes_total",
			"Actions that were watched to their end.", "result"),
	}
	for _, v := range []verb{undo, pause, resume, abort} {
		for _, result := range []string{resultDone, resultRefused, resultUnknown, resultFailed} {
			m.actions.WithLabelValues(string(v), result)
		}
	}
	for _, c := range Codes() {
		m.refusals.WithLabelValues(string(c))
	}
	for _, reason := range []string{retryConflict, retryLost, retryBusy} {
		m.retries.WithLabelValues(reason)
	}
	for _, r := range []Result{Unverified, Complete, Reverted, Overtaken, Failed} {
		m.outcomes.WithLabelValues(string(r))
	}
	return m
}

// count notes what became of an action.
func (m *metrics) count(v verb, err error) {
	result := resultDone
	if _, ok := asRefusal(err); ok {
		result = resultRefused
	} else if errors.Is(err, ErrUnsettled) {
		result = resultUnknown
	} else if err != nil {
		result = resultFailed
	}
	m.actions.WithLabelValues(string(v), result).Inc()
}
