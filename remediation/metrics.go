package remediation

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// integrations are the kinds of notifier that metrics tell apart.
var integrations = []string{"slack", "alertmanager", "webhook", otherIntegration}

const otherIntegration = "other"

// Reasons for which a notification is no longer needed.
const (
	skippedResolved = "resolved before anybody was told"
	skippedUnwanted = "receiver does not want to hear of the end"
	skippedRerouted = "no longer routed to the receiver"
	skippedRemoved  = "receiver removed"
	skippedExpired  = "too late"
)

// skipLabels are the values of the label reason for them.
var skipLabels = map[string]string{
	skippedResolved: "resolved_untold",
	skippedUnwanted: "end_unwanted",
	skippedRerouted: "rerouted",
	skippedRemoved:  "receiver_removed",
	skippedExpired:  "expired",
}

type metrics struct {
	notifications *prometheus.CounterVec
	skipped       *prometheus.CounterVec
	retries       *prometheus.CounterVec
	muted         *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	depth         *prometheus.GaugeVec
	unsaved       prometheus.Counter
}

// Values of the label result.
const (
	resultSent    = "sent"
	resultFailed  = "failed"
	resultGivenUp = "given_up"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: name, Help: help}
	}
	m := &metrics{
		notifications: f.NewCounterVec(opts("tocsin_remediation_notifications_total",
			"Attempts to notify, by result."), []string{"integration", "result"}),
		skipped: f.NewCounterVec(opts("tocsin_remediation_notifications_skipped_total",
			"Notifications that were not needed any more, by reason."), []string{"reason"}),
		retries: f.NewCounterVec(opts("tocsin_remediation_retries_total",
			"Attempts that followed a failed one."), []string{"integration"}),
		muted: f.NewCounterVec(opts("tocsin_remediation_muted_total",
			"Notifications that were held by a mute interval."), []string{"integration"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tocsin_remediation_notification_duration_seconds",
			Help:    "How long attempts to notify took.",
			Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30},
		}, []string{"integration"}),
		depth: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_remediation_queue_depth",
			Help: "Notifications that are due and have not been sent.",
		}, []string{"integration"}),
		unsaved: f.NewCounter(opts("tocsin_remediation_ledger_failures_total",
			"Notifications that were sent but not saved: a restart may send them again.")),
	}
	for _, integration := range integrations {
		for _, result := range []string{resultSent, resultFailed, resultGivenUp} {
			m.notifications.WithLabelValues(integration, result)
		}
		m.retries.WithLabelValues(integration)
		m.muted.WithLabelValues(integration)
		m.duration.WithLabelValues(integration)
		m.depth.WithLabelValues(integration)
	}
	for _, reason := range skipLabels {
		m.skipped.WithLabelValues(reason)
	}
	return m
}
