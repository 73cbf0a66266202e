package app

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge
	reloads    *prometheus.CounterVec
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
	m.reloads.WithLabelValues("success")
	m.reloads.WithLabelValues("failure")
	m.reloadOK.Set(1)
	m.reloadTime.SetToCurrentTime()
	return m
}
