package app

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/api"
	"tocsin/detector"
)

type metrics struct {
	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge
	reloads    *prometheus.CounterVec
	suspect    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		reloadOK: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_config_last_reload_successful",
			Help: "Whether the last reload of the configuration worked.",
		}),
		reloadTime: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in force was loaded.",
		}),
		reloads: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_config_reloads_total",
			Help: "Reloads of the configuration, by result.",
		}, []string{"result"}),
	}
	m.suspect = f.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_app_suspect_events_total",
		Help: "Events read back from the journal that cannot be shown to be as they were written.",
	}, []string{"kind"})
	for _, kind := range []string{
		kindChange, kindFeedback, kindFinding, kindIncident, kindSent,
	} {
		m.suspect.WithLabelValues(kind)
	}
	m.reloads.WithLabelValues("success")
	m.reloads.WithLabelValues("failure")
	m.reloadOK.Set(1)
	m.reloadTime.SetToCurrentTime()
	return m
}

// What happens to opinions, in metrics.
const (
	opinionGiven     = "given"
	opinionUnwritten = "not_recorded"
)

// everyOpinion lists the opinions that there are.
var everyOpinion = [...]detector.Opinion{detector.Useful, detector.NotUseful, detector.Expected}

type opinionMetrics struct {
	inForce *prometheus.GaugeVec
	events  *prometheus.CounterVec
}

func newOpinionMetrics(reg prometheus.Registerer) *opinionMetrics {
	f := promauto.With(reg)
	m := &opinionMetrics{
		inForce: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_app_feedback_in_force",
			Help: "People's feedback that moves thresholds, by opinion.",
		}, []string{"opinion"}),
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_app_feedback_events_total",
			Help: "What became of people's feedback.",
		}, []string{"event"}),
	}
	for _, opinion := range everyOpinion {
		m.inForce.WithLabelValues(string(opinion))
	}
	for _, event := range []string{
		opinionGiven, opinionUnwritten,
		string(api.FeedbackReplaced), string(api.FeedbackUndone), string(api.FeedbackExpired),
	} {
		m.events.WithLabelValues(event)
	}
	return m
}
