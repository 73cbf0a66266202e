package tsdb

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Reasons for which values are not written.
const (
	dropQueue      = "queue_full"   // The writer is behind.
	dropDisk       = "disk_low"     // The guard has stopped appends.
	dropHistory    = "history"      // From before the time that is kept of history.
	dropOld        = "too_old"      // An hour behind the newest sample, or in a finished block.
	dropOrder      = "out_of_order" // Older than the newest sample of its own series.
	dropDuplicate  = "duplicate"    // Another value for the same time.
	dropFuture     = "future"       // Far ahead of the clock; it would shut everything else out.
	dropUnknown    = "unknown_ref"  // Forgotten meanwhile.
	dropWriteError = "write_error"
)

type metrics struct {
	samples  prometheus.Counter
	stale    prometheus.Counter
	dropped  map[string]prometheus.Counter
	queue    prometheus.Gauge
	commit   prometheus.Histogram
	signals  prometheus.Gauge
	detailed prometheus.Gauge
	free     prometheus.Gauge
	writable prometheus.Gauge
	mended   prometheus.Counter
	queries  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		samples: counter("tocsin_tsdb_samples_total", "Samples written."),
		stale:   counter("tocsin_tsdb_staleness_markers_total", "Markers written where values ended."),
		dropped: make(map[string]prometheus.Counter),
		queue:   gauge("tocsin_tsdb_queue_depth", "Values that wait to be written."),
		commit: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tocsin_tsdb_commit_duration_seconds",
			Help:    "How long a commit took with its appends.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		signals:  gauge("tocsin_tsdb_signals", "Signals that have a score series."),
		detailed: gauge("tocsin_tsdb_detailed_signals", "Signals that have all five series."),
		free:     gauge("tocsin_tsdb_free_bytes", "Free space of the file system."),
		writable: gauge("tocsin_tsdb_writable", "0 while appends are stopped."),
		mended:   counter("tocsin_tsdb_repairs_total", "Damages found at the start and repaired."),
		queries:  gauge("tocsin_tsdb_queries", "Queries under way or waiting."),
	}
	drops := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_tsdb_dropped_total",
		Help: "Values that were not written, by reason.",
	}, []string{"reason"})
	for _, reason := range []string{
		dropQueue, dropDisk, dropHistory, dropOld, dropOrder, dropDuplicate, dropFuture,
		dropUnknown, dropWriteError,
	} {
		m.dropped[reason] = drops.WithLabelValues(reason)
	}
	return m
}

func (m *metrics) drop(reason string, n int) { m.dropped[reason].Add(float64(n)) }
