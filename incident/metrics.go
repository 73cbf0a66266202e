package incident

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/detector"
)

// Values of labels.
const (
	groupOpened = "opened" // Became an incident.
	groupJoined = "joined" // Merged into another before anybody was told.
	groupPassed = "passed" // Was over before anybody was told.

	resolvedByItself = "quiet"
	resolvedByPerson = "person"

	droppedFull = "full"
	droppedOld  = "old"

	actShown   = "shown"
	actLate    = "late"    // Its incident was resolved: it is written down only.
	actUnknown = "unknown" // Its release has no incident.
)

type metrics struct {
	findings *prometheus.CounterVec
	groups   *prometheus.CounterVec
	opened   *prometheus.CounterVec
	resolved *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	acts     *prometheus.CounterVec
	open     prometheus.Gauge
	inbox    prometheus.Gauge
	changes  prometheus.Gauge
	scored   prometheus.Gauge
	releases prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	return &metrics{
		findings: counter("tocsin_incident_findings_total",
			"Reports of findings that came in, by whether they are harmful.", "harmful",
			"true", "false"),
		groups: counter("tocsin_incident_groups_total",
			"Groups of findings, by what became of them.", "result",
			groupOpened, groupJoined, groupPassed),
		opened: counter("tocsin_incident_opened_total",
			"Incidents that opened, by the severity that they had then.", "severity",
			string(Info), string(Warning), string(Critical)),
		resolved: counter("tocsin_incident_resolved_total",
			"Incidents that were resolved, by whom.", "by", resolvedByItself, resolvedByPerson),
		dropped: counter("tocsin_incident_changes_dropped_total",
			"Changes that are no longer kept as possible causes, by reason.", "reason",
			droppedFull, droppedOld),
		acts: counter("tocsin_incident_acts_total",
			"News of actions on releases, by what became of them.", "result",
			actShown, actLate, actUnknown),
		open: gauge("tocsin_incident_open_incidents", "Incidents that are open or acknowledged."),
		inbox: gauge("tocsin_incident_inbox_findings",
			"Reports of findings that wait for their cluster to advance."),
		changes: gauge("tocsin_incident_kept_changes",
			"Changes that are kept as possible causes."),
		scored: gauge("tocsin_incident_scored_services",
			"Services of all clusters that have a score, to compare clusters."),
		releases: gauge("tocsin_incident_bad_releases",
			"Releases that are held to be bad and run, or whose incident is open."),
	}
}

// found counts a report.
func (m *metrics) found(f *detector.Finding) {
	harmful := "false"
	if f.Harmful {
		harmful = "true"
	}
	m.findings.WithLabelValues(harmful).Inc()
}
