package app

import (
	"cmp"
	"fmt"
	"time"

	"tocsin/collectors/promql"
	"tocsin/config"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/series"
)

// witness listens to the detector, and has the incident manager, of one cluster in a backtest. All
// but result is called by the goroutine of the shard that has the cluster.
type witness struct {
	name      string
	registry  *series.Registry
	start     time.Time
	pages     incident.Severity // From this on, people are told.
	incidents *incident.Manager
	tracer    *tracer

	seen     map[string]*BacktestIncident // By ID; those that opened since start.
	instants int                          // Since start.
	step     time.Duration
	findings int // Opened since start.
}

// backtestCluster is what a backtest has found out about one cluster.
type backtestCluster struct {
	name      string
	past      promql.Past
	incidents []*BacktestIncident // In no order.
	observed  time.Duration       // Since start.
	findings  int
	untraced  int
	services  []fleet.Service // That it has.
}

func newWitness(
	cluster *config.Cluster, o *BacktestOptions, registry *series.Registry,
) (*witness, error) {
	step := cmp.Or(o.Step, time.Duration(cluster.Interval))
	w := &witness{
		name: cluster.Name, registry: registry, start: o.Start, step: step,
		pages:  incident.Severity(o.Config.Incidents.MinSeverity),
		tracer: newTracer(step, registry),
		seen:   make(map[string]*BacktestIncident),
	}
	options := incidentOptions(o.Config)
	options.Report = w.incident
	var err error
	if w.incidents, err = incident.New(options); err != nil {
		return nil, fmt.Errorf("build incidents: %w", err)
	}
	return w, nil
}

// find implements detector.Options.Report.
func (w *witness) find(f detector.Finding) {
	w.incidents.Find(f)
	if f.At.Before(w.start) {
		return
	}
	if w.tracer.find(&f) {
		w.findings++
	}
}

// instant implements detector.Options.Services: as in the daemon, what was found at an instant
// comes before it.
func (w *witness) instant(s *detector.ServiceScores) {
	if !s.At.Before(w.start) {
		w.instants++
	}
	w.incidents.Advance(s.Cluster, s.At)
}

// incident implements incident.Options.Report.
func (w *witness) incident(i incident.Incident) {
	if i.Opened.Before(w.start) {
		return // It belongs to the warm-up.
	}
	b := w.seen[i.ID]
	if b == nil {
		b = &BacktestIncident{Since: make(map[fleet.Service]time.Time)}
		w.seen[i.ID] = b
	}
	b.Incident = i
	for _, s := range i.Services {
		if _, ok := b.Since[s]; !ok {
			b.Since[s] = i.Updated
		}
	}
	if b.Paged.IsZero() && i.Severity.AtLeast(w.pages) {
		b.Paged = i.Updated
	}
}

// result is called when the engine has ended.
func (w *witness) result(past promql.Past) *backtestCluster {
	out := &backtestCluster{
		name: w.name, past: past, observed: time.Duration(w.instants) * w.step, findings: w.findings,
		untraced: w.tracer.untraced,
	}
	for _, id := range w.registry.All(w.name) { // Ordered by service.
		if n := len(out.services); n == 0 || out.services[n-1] != id.Service {
			out.services = append(out.services, id.Service)
		}
	}
	for _, b := range w.seen {
		for i := range b.Findings {
			b.Peak = max(b.Peak, b.Findings[i].Peak)
		}
		b.Traces = w.tracer.of(b)
		out.incidents = append(out.incidents, b)
	}
	return out
}
