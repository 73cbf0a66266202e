package journal

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	events   prometheus.Counter
	errors   *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	commit   prometheus.Histogram
	queue    *prometheus.GaugeVec
	damaged  prometheus.Gauge
	lastSeq  prometheus.Gauge
	verified prometheus.Gauge
	pruned   prometheus.Counter
}

// Reasons for which an append can fail or a recorded entry can be lost.
const (
	reasonFull       = "disk_full"
	reasonIO         = "io"
	reasonCorrupt    = "corrupt"
	reasonOther      = "other"
	reasonSuperseded = "superseded"
	reasonBuffer     = "buffer_full"
	reasonEncode     = "encode"
)

// Queues that may have a depth.
const (
	queueAppend = "append"
	queueRecord = "record"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		events: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_journal_events_total",
			Help: "Events written and synced.",
		}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_journal_write_errors_total",
			Help: "Transactions that failed, by reason.",
		}, []string{"reason"}),
		dropped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_journal_dropped_total",
			Help: "Recorded entries that were not written, by reason.",
		}, []string{"reason"}),
		commit: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tocsin_journal_commit_duration_seconds",
			Help:    "How long a transaction took, with its sync.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		queue: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_journal_queue_depth",
			Help: "Appends and recorded entries that wait for the disk.",
		}, []string{"queue"}),
		damaged: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_journal_damaged",
			Help: "1 while events are lost or changed and nobody has reconciled it.",
		}),
		lastSeq: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_journal_last_sequence",
			Help: "Number of the last event.",
		}),
		verified: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_journal_verified_timestamp_seconds",
			Help: "When the whole chain was walked the last time.",
		}),
		pruned: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_journal_pruned_events_total",
			Help: "Events that retention removed.",
		}),
	}
	for _, r := range []string{reasonFull, reasonIO, reasonCorrupt, reasonOther} {
		m.errors.WithLabelValues(r)
	}
	for _, r := range []string{reasonSuperseded, reasonBuffer, reasonEncode} {
		m.dropped.WithLabelValues(r)
	}
	for _, q := range []string{queueAppend, queueRecord} {
		m.queue.WithLabelValues(q)
	}
	return m
}
