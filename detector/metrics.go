package detector

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/detector/kernel/arena"
)

// The reasons for which values are dropped.
const (
	dropBehind    = iota // Append gave up: the shard was behind.
	dropLate             // Of an instant that is closed already.
	dropUnknown          // Of a signal that is not configured, or of a Ref of something else.
	dropInfinite         // Infinite.
	dropNegative         // Below zero where that cannot be.
	dropDuplicate        // A second value of one series at one instant.
	dropReasons
)

var dropNames = [dropReasons]string{
	"behind", "late", "unknown", "infinite", "negative", "duplicate",
}

type findingEvent int

// What happens to findings.
const (
	opened findingEvent = iota
	worsened
	resolved
	findingEvents
)

var eventNames = [findingEvents]string{"opened", "worsened", "resolved"}

// The states of a series.
const (
	seriesWarming = iota
	seriesWarm
	seriesStates
)

var stateNames = [seriesStates]string{"warming", "warm"}

type metrics struct {
	ticks          prometheus.Counter
	tickSeconds    prometheus.Histogram
	values         prometheus.Counter
	series         [seriesStates]prometheus.Gauge
	open           prometheus.Gauge
	findings       [findingEvents]prometheus.Counter
	dropped        [dropReasons]prometheus.Counter
	rewinds        prometheus.Counter
	snapshotTime   prometheus.Histogram
	snapshotBytes  prometheus.Gauge
	snapshotErrors prometheus.Counter
	restored       prometheus.Counter
	refused        prometheus.Counter
	budget         [budgetGauges]*prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		ticks: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_detector_ticks_total",
			Help: "Instants of one signal of one cluster that were scored.",
		}),
		tickSeconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tocsin_detector_instant_seconds",
			Help:    "Time that one instant of one cluster took, from its last batch to its last report.",
			Buckets: prometheus.ExponentialBuckets(1e-5, 4, 10),
		}),
		values: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_detector_values_total",
			Help: "Values that were taken.",
		}),
		open: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_detector_open_findings",
			Help: "Findings that are open.",
		}),
		rewinds: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_detector_clock_rewinds_total",
			Help: "How often the clock of a source went back and stayed there.",
		}),
		snapshotTime: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tocsin_detector_snapshot_seconds",
			Help:    "Time that writing a snapshot of all clusters took.",
			Buckets: prometheus.ExponentialBuckets(0.01, 3, 9),
		}),
		snapshotBytes: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_detector_snapshot_bytes",
			Help: "Size of the newest snapshot of all clusters.",
		}),
		snapshotErrors: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_detector_snapshot_errors_total",
			Help: "Snapshots of a cluster that could not be written.",
		}),
		restored: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_detector_snapshots_restored_total",
			Help: "Snapshots of a cluster that were found and used.",
		}),
		refused: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_detector_snapshots_refused_total",
			Help: "Snapshots of a cluster that were found and not used.",
		}),
	}
	for i, g := range budgetNames {
		m.budget[i] = f.NewGaugeVec(prometheus.GaugeOpts{
			Name: g.name, Help: g.help,
		}, []string{"cluster"})
	}
	states := f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tocsin_detector_series",
		Help: "Series that are known.",
	}, []string{"state"})
	for i, name := range stateNames {
		m.series[i] = states.WithLabelValues(name)
	}
	findings := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_detector_findings_total",
		Help: "Reports of findings.",
	}, []string{"event"})
	for i, name := range eventNames {
		m.findings[i] = findings.WithLabelValues(name)
	}
	drops := f.NewCounterVec(prometheus.CounterOpts{
		Name: "tocsin_detector_dropped_values_total",
		Help: "Values that were not used.",
	}, []string{"reason"})
	for i, name := range dropNames {
		m.dropped[i] = drops.WithLabelValues(name)
	}
	return m
}

// watchInboxes exports how many batches wait in the inboxes together.
func (m *metrics) watchInboxes(reg prometheus.Registerer, shards []*shard) {
	promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_detector_inbox_batches",
		Help: "Batches that wait for a shard.",
	}, func() float64 {
		n := 0
		for _, s := range shards {
			n += len(s.inbox)
		}
		return float64(n)
	})
}

// watchMemory exports how much the columns of all models take.
func (m *metrics) watchMemory(reg prometheus.Registerer, memory *arena.Pool) {
	promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_detector_model_bytes",
		Help: "Memory that the models of all series take, outside of the heap.",
	}, func() float64 { return float64(memory.Used()) })
}

// What is exported of the budget of a cluster.
const (
	budgetAsked = iota
	budgetAchieved
	budgetThreshold
	budgetOverspent
	budgetGauges
)

var budgetNames = [budgetGauges]struct{ name, help string }{
	{
		"tocsin_detector_budget_asked_pages_per_week",
		"Pages that all units of a cluster may cost together.",
	},
	{
		"tocsin_detector_budget_achieved_pages_per_week",
		"Pages that all units of a cluster cost together, over the last weeks.",
	},
	{
		"tocsin_detector_budget_threshold",
		"Score that opens a finding: the median of the units of a cluster.",
	},
	{
		"tocsin_detector_budget_overspent_units",
		"Units of a cluster that cost more than twice what they may, by more than a page.",
	},
}

// showBudget exports the budget of a cluster.
func (m *metrics) showBudget(c *cluster) {
	b := c.budgetStatus()
	for i, v := range [budgetGauges]float64{b.Asked, b.Achieved, b.Threshold, float64(b.Overspent)} {
		m.budget[i].WithLabelValues(c.name).Set(v)
	}
}

// forgetBudget ends the series of a cluster that was removed.
func (m *metrics) forgetBudget(cluster string) {
	for _, g := range m.budget {
		g.DeleteLabelValues(cluster)
	}
}
