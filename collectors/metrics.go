package collectors

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	clusters *prometheus.GaugeVec
	failures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		clusters: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_collectors_clusters",
			Help: "Clusters by the state of their sources.",
		}, []string{"state"}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_collectors_failures_total",
			Help: "Times that the sources of a cluster could not be built, or ended by themselves.",
		}),
	}
	for _, s := range []State{Starting, Running, Failed} {
		m.clusters.WithLabelValues(string(s))
	}
	return m
}
