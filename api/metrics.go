package api

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter
	refused  *prometheus.CounterVec
}

// Reasons for which a change of state is refused.
const (
	refusedStranger  = "not_authenticated"
	refusedCrossSite = "cross_site"
)

// classes are the label values of the status codes.
var classes = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_api_requests_total",
			Help: "Requests by endpoint and class of status code.",
		}, []string{"handler", "code"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tocsin_api_request_duration_seconds",
			Help:    "How long requests took, by endpoint.",
			Buckets: []float64{.001, .005, .025, .1, .25, 1, 5, 30},
		}, []string{"handler"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_api_requests_in_flight",
			Help: "Requests that are being served.",
		}),
		panics: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_api_panics_total",
			Help: "Requests that ended in a panic, which is a bug.",
		}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_api_refused_changes_total",
			Help: "Requests to change state that were refused, by reason.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{refusedStranger, refusedCrossSite} {
		m.refused.WithLabelValues(reason)
	}
	return m
}

// preset makes the series of an endpoint.
func (m *metrics) preset(handler string) {
	for _, class := range classes {
		m.requests.WithLabelValues(handler, class)
	}
	m.duration.WithLabelValues(handler)
}
