package incident

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector"
	"tocsin/fleet"
)

// What Acknowledge and Resolve may answer.
var (
	ErrUnknown  = errors.New("no such incident")
	ErrResolved = errors.New("the incident is resolved")
)

// maxRecent bounds how many resolved incidents are kept in memory.
const maxRecent = 200

// Options configures a Manager. Zero values of optional fields stand for the defaults given here.
type Options struct {
	// Report is handed an incident when it opens, changes, is acknowledged and is resolved.
	// Required. It is called by one goroutine at a time and in order; it may ask for Incidents
	// and call no other method.
	Report func(Incident)

	Group      time.Duration // What related findings are waited for; 15s.
	Related    time.Duration // What begins within this in a namespace is one; 5m.
	Hold       time.Duration // How long an incident must be quiet before it is resolved; 5m.
	Cause      time.Duration // How long before an incident a change may have caused it; 1h.
	Peers      time.Duration // How long before it the same may have begun in other clusters; 10m.
	Pool       time.Duration // Bad releases of one image in several clusters so close are one; 2h.
	MaxOpen    int           // Incidents of a cluster; the rest is one storm; 50.
	MaxChanges int           // Changes kept for one cluster; 1000.

	Reg    prometheus.Registerer // Nil keeps the metrics private.
	Logger *slog.Logger          // Discards.
}

func (o *Options) validate() error {
	if o.Report == nil {
		return errors.New("incident: Report is required")
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"Group", &o.Group, 15 * time.Second},
		{"Related", &o.Related, 5 * time.Minute},
		{"Hold", &o.Hold, 5 * time.Minute},
		{"Cause", &o.Cause, time.Hour},
		{"Peers", &o.Peers, 10 * time.Minute},
		{"Pool", &o.Pool, 2 * time.Hour},
	} {
		if *d.value < 0 {
			return fmt.Errorf("incident: %s is negative", d.name)
		}
		if *d.value == 0 {
			*d.value = d.standard
		}
	}
	if o.MaxOpen <= 0 {
		o.MaxOpen = 50
	}
	if o.MaxChanges <= 0 {
		o.MaxChanges = 1000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Manager owns all incidents. Its methods may be called concurrently.
//
// It has no clock: what happens, happens when Advance says how late it is in a cluster. A cluster
// that sends nothing stands still, and its incidents stay as they are, because no data is not
// recovery.
type Manager struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics

	delivery sync.Mutex // Held while reports are handed over, in order. Locked before mu.

	mu       sync.Mutex // Guards what follows.
	clusters map[string]*cluster
	census   *census
	recent   []Incident // Resolved ones, oldest first.
	outbox   []Incident // Not yet handed to Report.

	regressions map[string]*regression // Bad releases, by ID.
	alarms      map[string]*group      // Incidents that are nothing but alarms, by kind and service.
}

// New returns a Manager that knows of nothing yet.
func New(o Options) (*Manager, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	metrics := newMetrics(o.Reg)
	return &Manager{
		opts:     o,
		logger:   o.Logger.With("component", "incident"),
		metrics:  metrics,
		clusters: make(map[string]*cluster),
		census:   newCensus(metrics),

		regressions: make(map[string]*regression),
		alarms:      make(map[string]*group),
	}, nil
}

// Find takes a report of a finding. It is looked at when its cluster advances.
func (m *Manager) Find(f detector.Finding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.metrics.found(&f)
	if f.State == detector.Resolved && m.clusters[f.Service.Cluster] == nil {
		return // Of a cluster that has been removed.
	}
	c := m.cluster(f.Service.Cluster)
	c.inbox = append(c.inbox, finite(f))
	m.metrics.inbox.Inc()
}

// finite replaces numbers that are none: an incident with one of them could be neither written
// down nor sent.
func finite(f detector.Finding) detector.Finding {
	for _, v := range []*float64{&f.Score, &f.Peak, &f.Observed, &f.Expected, &f.Lower, &f.Upper} {
		if math.IsNaN(*v) || math.IsInf(*v, 0) {
			*v = 0
		}
	}
	return f
}

// Change takes something that happened to a service. One with a known ID replaces the older
// report.
func (m *Manager) Change(ch fleet.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cluster(ch.Service.Cluster).changes.add(ch, m.opts.MaxChanges, m.metrics)
	for _, c := range m.clusters {
		for _, g := range c.groups {
			g.recheck = g.recheck || m.mayExplain(c, g, &ch)
		}
	}
}

// Advance says that all findings of a cluster up to now have been handed to Find.
func (m *Manager) Advance(name string, now time.Time) {
	m.mu.Lock()
	m.advance(m.cluster(name), now)
	m.mu.Unlock()
	m.deliver()
}

// Acknowledge notes that a person looks after an incident: reminders of it end.
func (m *Manager) Acknowledge(id, by string, at time.Time) (Incident, error) {
	return m.act(id, "acknowledge", func(_ *cluster, g *group) {
		g.incident.State = Acknowledged
		g.incident.AcknowledgedBy, g.incident.AcknowledgedAt = by, at
		g.incident.Updated = at
	})
}

// Resolve ends an incident because a person says that it is over. Findings that it still has stay
// silent, unless they become so much worse that the severity rises: then they open a new
// incident.
func (m *Manager) Resolve(id, by string, at time.Time) (Incident, error) {
	return m.act(id, "resolve", func(c *cluster, g *group) {
		g.incident.ResolvedBy = by
		if c == nil {
			m.calm(g, at, "resolved by "+by)
			return
		}
		m.resolve(g, at, at, "resolved by "+by)
		for _, touched := range m.touched(c, g) {
			touched.closed = append(touched.closed, g)
		}
	})
}

// act does what a person asks for to an open incident and reports it.
func (m *Manager) act(id, what string, do func(*cluster, *group)) (Incident, error) {
	m.mu.Lock()
	c, g := m.find(id)
	if g == nil {
		defer m.mu.Unlock()
		for _, i := range m.recent {
			if i.ID == id {
				return i, fmt.Errorf("%s %s: %w", what, id, ErrResolved)
			}
		}
		return Incident{}, fmt.Errorf("%s %s: %w", what, id, ErrUnknown)
	}
	do(c, g)
	m.report(g)
	i := g.incident
	m.mu.Unlock()
	m.deliver()
	return i, nil
}

// find returns the open incident with the given ID and its cluster, nil for that of an alarm.
func (m *Manager) find(id string) (*cluster, *group) {
	for _, c := range m.clusters {
		for _, g := range c.groups {
			if g.opened() && g.incident.ID == id {
				return c, g
			}
		}
	}
	for _, g := range m.alarms {
		if g.incident.ID == id {
			return nil, g
		}
	}
	return nil, nil
}

// Incidents returns what is open or acknowledged, and the newest of what is resolved; the newest
// first.
func (m *Manager) Incidents() []Incident {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.recent)
	for _, c := range m.clusters {
		for _, g := range c.groups {
			if g.opened() {
				out = append(out, g.incident)
			}
		}
	}
	for _, g := range m.alarms {
		out = append(out, g.incident)
	}
	slices.SortFunc(out, func(a, b Incident) int {
		if n := b.Opened.Compare(a.Opened); n != 0 {
			return n
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Remove forgets a cluster that is no longer watched: its incidents are resolved, as nothing will
// be heard of them again.
func (m *Manager) Remove(name string) {
	m.mu.Lock()
	if c := m.clusters[name]; c != nil {
		m.desert(c)
		var homeless []*regression
		for _, g := range slices.Clone(c.groups) {
			if g.opened() {
				homeless = append(homeless, g.elsewhere(name)...)
				m.resolve(g, c.now, c.now, unwatched)
				m.report(g)
			}
		}
		m.metrics.inbox.Sub(float64(len(c.inbox)))
		m.metrics.changes.Sub(float64(len(c.changes.list)))
		m.census.remove(c)
		delete(m.clusters, name)
		m.rehouse(homeless)
	}
	m.mu.Unlock()
	m.deliver()
}

func (m *Manager) cluster(name string) *cluster {
	c := m.clusters[name]
	if c == nil {
		c = newCluster(name)
		m.clusters[name] = c
	}
	return c
}

// report puts an incident into the outbox as it is now.
func (m *Manager) report(g *group) {
	g.dirty = false
	m.outbox = append(m.outbox, g.incident)
}

// deliver hands over what is in the outbox. When it returns, the caller's own reports have been
// handed over.
func (m *Manager) deliver() {
	m.delivery.Lock()
	defer m.delivery.Unlock()
	m.mu.Lock()
	out := m.outbox
	m.outbox = nil
	m.mu.Unlock()
	for _, i := range out {
		m.opts.Report(i)
	}
}
