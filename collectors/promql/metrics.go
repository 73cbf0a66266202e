package promql

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of all sources that share a registerer; what differs has the label
// cluster.
type metrics struct {
	queries  *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	duration *prometheus.HistogramVec
	values   *prometheus.CounterVec
	drops    *prometheus.CounterVec
	ticks    *prometheus.CounterVec
	skipped  *prometheus.CounterVec
	lag      *prometheus.GaugeVec
	stale    *prometheus.GaugeVec
	backfill *prometheus.GaugeVec
	signals  *prometheus.GaugeVec
	series   *prometheus.GaugeVec

	podQueries *prometheus.CounterVec
	podSamples *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return shared(reg, prometheus.NewCounterVec(
			prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return shared(reg, prometheus.NewGaugeVec(
			prometheus.GaugeOpts{Name: name, Help: help}, labels))
	}
	return &metrics{
		queries: counter("tocsin_promql_queries_total",
			"Queries by how they ended.", "cluster", "result"),
		inFlight: gauge("tocsin_promql_queries_in_flight",
			"Queries that wait for their answer.", "cluster"),
		duration: shared(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tocsin_promql_query_duration_seconds",
			Help:    "From sending a query to the end of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, []string{"kind"})),
		values: counter("tocsin_promql_values_total",
			"Values handed to the detector.", "cluster"),
		drops: counter("tocsin_promql_dropped_total",
			"Samples of answers that were not taken, by reason.", "cluster", "reason"),
		ticks: counter("tocsin_promql_ticks_total",
			"Ticks by what became of them: complete, partial, or missed for want of any answer.",
			"cluster", "result"),
		skipped: counter("tocsin_promql_instants_skipped_total",
			"Instants that were never asked for, by reason.", "cluster", "reason"),
		lag: gauge("tocsin_promql_tick_lag_seconds",
			"How old the newest instant was when all of it had been handed on.", "cluster"),
		stale: gauge("tocsin_promql_stale",
			"Whether the source has not answered for too long.", "cluster"),
		backfill: gauge("tocsin_promql_backfill_progress_ratio",
			"How much of the history has been read, 1 when it is done.", "cluster"),
		signals: gauge("tocsin_promql_signals",
			"Signals by state.", "cluster", "state"),
		series: gauge("tocsin_promql_signal_series",
			"Services in the last answer for a signal that is asked for; 0: it matches nothing.",
			"cluster", "signal"),
		podQueries: counter("tocsin_promql_pod_queries_total",
			"Of the queries, those for pods of releases.", "cluster"),
		podSamples: counter("tocsin_promql_pod_samples_total",
			"Samples of pods of releases that were handed on.", "cluster"),
	}
}

// shared registers c, or returns the equal collector that another source has registered.
// promauto would panic, and a registerer for each cluster could not be reloaded.
func shared[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	var twice prometheus.AlreadyRegisteredError
	switch err := reg.Register(c); {
	case errors.As(err, &twice):
		if other, ok := twice.ExistingCollector.(C); ok {
			return other
		}
		panic(err)
	case err != nil:
		panic(err)
	}
	return c
}

// What becomes of a tick, why an instant is skipped, and what kinds of query there are.
const (
	complete = "complete"
	partial  = "partial"
	missed   = "missed"

	skippedGap   = "gap"   // An outage was longer than what is caught up.
	skippedClock = "clock" // The clock went back to instants that were already sent.

	kindInstant = "instant"
	kindRange   = "range"
	kindProbe   = "probe"
	kindPods    = "pods"
)

// begin makes all metrics of a cluster exist.
func (m *metrics) begin(cluster string) {
	for r := range results {
		m.queries.WithLabelValues(cluster, r.String())
	}
	for d := kept + 1; d < dropReasons; d++ {
		m.drops.WithLabelValues(cluster, d.String())
	}
	for _, result := range []string{complete, partial, missed} {
		m.ticks.WithLabelValues(cluster, result)
	}
	for _, reason := range []string{skippedGap, skippedClock} {
		m.skipped.WithLabelValues(cluster, reason)
	}
	for _, state := range states {
		m.signals.WithLabelValues(cluster, string(state))
	}
	for _, kind := range []string{kindInstant, kindRange, kindProbe, kindPods} {
		m.duration.WithLabelValues(kind)
	}
	for _, c := range []*prometheus.CounterVec{m.values, m.podQueries, m.podSamples} {
		c.WithLabelValues(cluster)
	}
	for _, g := range []*prometheus.GaugeVec{m.inFlight, m.lag, m.stale, m.backfill} {
		g.WithLabelValues(cluster).Set(0)
	}
}

// end forgets the metrics of a cluster that is not watched any more.
func (m *metrics) end(cluster string) {
	labels := prometheus.Labels{"cluster": cluster}
	for _, c := range []*prometheus.CounterVec{
		m.queries, m.values, m.drops, m.ticks, m.skipped, m.podQueries, m.podSamples,
	} {
		c.DeletePartialMatch(labels)
	}
	for _, g := range []*prometheus.GaugeVec{
		m.inFlight, m.lag, m.stale, m.backfill, m.signals, m.series,
	} {
		g.DeletePartialMatch(labels)
	}
}
