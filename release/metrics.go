package release

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	running  *prometheus.GaugeVec
	pods     prometheus.Gauge
	begun    prometheus.Counter
	ended    *prometheus.CounterVec
	looks    prometheus.Counter
	verdicts *prometheus.CounterVec
	decided  *prometheus.CounterVec
	ignored  *prometheus.CounterVec
	samples  prometheus.Counter
	dropped  *prometheus.CounterVec
	refills  prometheus.Counter
	learnt   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		running: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_release_running", Help: "Releases that are running, by state.",
		}, []string{"state"}),
		pods: f.NewGauge(prometheus.GaugeOpts{
			Name: "tocsin_release_pods", Help: "Pods of running releases whose samples are followed.",
		}),
		begun: counter("tocsin_release_begun_total", "Releases that began to be followed."),
		ended: vec("tocsin_release_ended_total", "Releases that are over, by their last state.", "state",
			string(Done), string(Superseded), string(RolledBack), string(Deleted), string(Lost)),
		looks: counter("tocsin_release_looks_total", "How often samples of releases were weighed."),
		verdicts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_release_verdicts_total", Help: "Verdicts on releases, by result and tier.",
		}, []string{"result", "tier"}),
		decided: vec("tocsin_release_decided_total",
			"Releases that were called regressed, by what that rests on.", "basis",
			string(ByPods), string(ByService), string(ByClusters), string(ByFacts)),
		ignored: vec("tocsin_release_ignored_total",
			"What was not followed as a release, by reason.", "reason",
			string(ScaleOnly), string(RestartOnly), string(SameTemplate), string(Duplicate), string(Late),
			string(Malformed), string(TooManyReleases), string(TooManyWorkloads), string(TooManyWarnings)),
		samples: counter("tocsin_release_samples_total", "Samples of pods that came in."),
		dropped: vec("tocsin_release_samples_dropped_total",
			"Samples that were not taken in, by reason.", "reason",
			dropUnknown, dropStranger, dropLate, dropTwice, dropTooMany, dropWhole, dropBounds),
		refills: counter("tocsin_release_refills_total",
			"How often the samples of a release were asked for anew, from its beginning."),
		learnt: counter("tocsin_release_learnt_total", "Accepted releases that models learnt from."),
	}
	for _, s := range [...]State{Rolling, Stalled, Soaking} {
		m.running.WithLabelValues(string(s))
	}
	for r := Inconclusive; r <= Regressed; r++ {
		for t := Watch; t <= AtOnce; t++ {
			m.verdicts.WithLabelValues(r.String(), t.String())
		}
	}
	return m
}

// gauges counts what runs.
func (m *Manager) gauges() {
	states := map[State]int{Rolling: 0, Stalled: 0, Soaking: 0}
	for id := range m.running {
		if f := m.tracker.running[id]; f != nil {
			states[f.Running.State]++
		}
	}
	for s, n := range states {
		m.metrics.running.WithLabelValues(string(s)).Set(float64(n))
	}
	m.metrics.pods.Set(float64(m.counting))
}
