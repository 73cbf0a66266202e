package incident

import (
	"slices"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// Restore brings back what was known before a restart, before anything else is called: the last
// report of every incident, the findings that are open, and the changes of the cause window.
// Nothing is reported; incidents keep their IDs. What an incident believes open and is not among
// findings ended while nobody looked; an open finding that belongs to no incident will open one
// when its cluster advances.
func (m *Manager) Restore(
	incidents []Incident, findings []detector.Finding, changes []fleet.Change,
) {
	m.mu.Lock()
	defer m.mu.Unlock()
	incidents = slices.Clone(incidents)
	slices.SortFunc(incidents, func(a, b Incident) int { return a.Updated.Compare(b.Updated) })
	for _, i := range incidents {
		m.restore(i)
	}
	if n := len(m.recent) - maxRecent; n > 0 {
		m.recent = slices.Delete(m.recent, 0, n)
	}
	for _, ch := range changes {
		m.cluster(ch.Service.Cluster).changes.add(ch, m.opts.MaxChanges, m.metrics)
	}
	open := make(map[string][]detector.Finding)
	findings = slices.Clone(findings)
	sortFindings(findings)
	for _, f := range findings {
		if f.State == detector.Open {
			open[f.Service.Cluster] = append(open[f.Service.Cluster], f)
		}
	}
	for _, c := range m.clusters {
		m.settle(c, open[c.name], time.Time{})
	}
	for name, fs := range open {
		m.restoreFindings(m.cluster(name), fs)
	}
}

// restoreFindings gives open findings back to their incidents. The others wait for the cluster to
// advance.
func (m *Manager) restoreFindings(c *cluster, fs []detector.Finding) {
	for _, f := range fs {
		m.census.report(c, &f)
		c.note(&f)
		g := c.services[f.Service]
		if k := slices.IndexFunc(c.closed, func(g *group) bool { return g.owns(&f) }); k >= 0 {
			g = c.closed[k]
		}
		if g != nil {
			g.restoreFinding(f)
			continue
		}
		c.inbox = append(c.inbox, f)
		m.metrics.inbox.Inc()
	}
}

// restore brings back one incident. One that a person resolved while findings were open goes on
// as it was.
func (m *Manager) restore(i Incident) {
	g := &group{
		incident: i,
		storm:    i.Service.Name == stormName,
		members:  make(map[signalKey]*member),
		start:    i.Start,
		since:    i.Opened,
	}
	for n, f := range i.Findings {
		mem := &member{latest: f, worst: f}
		if n < len(i.Effects) {
			mem.restored = &i.Effects[n]
			mem.worst.Harmful, mem.worst.Score = i.Effects[n].Harmful, f.Peak
		}
		mem.settle()
		g.members[keyOf(&f)] = mem
		m.cluster(f.Service.Cluster).note(&f)
	}
	if i.Alarm != "" {
		m.restoreAlarm(g)
		return
	}
	c := m.cluster(i.Service.Cluster)
	m.restoreReleases(g)
	if i.State == Resolved {
		m.recent = append(m.recent, i)
		if i.ResolvedBy != "" && g.suffering() {
			for _, touched := range m.touched(c, g) {
				touched.closed = append(touched.closed, g)
			}
		}
		m.leave(g)
		return
	}
	c.groups = append(c.groups, g)
	for _, s := range i.Services {
		if s != i.Service || !g.storm {
			m.cluster(s.Cluster).services[s] = g
		}
	}
	m.metrics.open.Inc()
}

func (m *Manager) restoreAlarm(g *group) {
	if g.incident.State == Resolved {
		m.recent = append(m.recent, g.incident)
		return
	}
	m.alarms[g.incident.Alarm+"/"+g.incident.Service.String()] = g
	m.metrics.open.Inc()
}

// restoreReleases gives a group the bad releases of its incident. Of all but the first little is
// known until they are heard of again.
func (m *Manager) restoreReleases(g *group) {
	lead := g.incident.Release
	if lead == nil {
		return
	}
	known := []ReleaseInfo{*lead}
	for _, ref := range g.incident.Releases {
		if ref.ID == lead.ID {
			continue
		}
		other := *lead
		other.ID, other.Service = ref.ID, ref.Service
		other.Name, other.State = ref.Name, ref.State
		other.Suspected = ref.Severity != Critical
		if other.Withdrawn = ""; ref.Over && ref.State.Running() {
			other.Withdrawn = "not held to be bad any more"
		}
		known = append(known, other)
	}
	for _, info := range known {
		if m.regressions[info.ID] == nil {
			m.metrics.releases.Inc()
		}
		r := &regression{info: info, group: g, known: g.incident.Updated}
		m.regressions[info.ID] = r
		g.releases = append(g.releases, r)
	}
}

// restoreFinding brings an open finding back into an incident: it is newer than what the incident
// has of it, or was omitted there.
func (g *group) restoreFinding(f detector.Finding) {
	mem := g.members[keyOf(&f)]
	if mem != nil && mem.latest.ID == f.ID && !f.At.After(mem.latest.At) {
		return
	}
	g.take(f)
}

// Reconcile says which findings of a cluster the detector holds open, once it has started. Others
// that the Manager believes open will never be heard of again, because what the detector knew of
// them is lost: they are over.
func (m *Manager) Reconcile(name string, open []detector.Finding, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cluster(name)
	m.settle(c, open, now)
	known := idsOf(open)
	m.census.drop(c, func(id string, _ *deviation) bool { return !known[id] })
	n := len(c.inbox)
	c.inbox = slices.DeleteFunc(c.inbox, func(f detector.Finding) bool { return !known[f.ID] })
	m.metrics.inbox.Sub(float64(n - len(c.inbox)))
}

// settle ends the findings of a cluster that are not among those that are open. Without a time they end with
// their last report.
func (m *Manager) settle(c *cluster, open []detector.Finding, now time.Time) {
	known := idsOf(open)
	lost := func(f *detector.Finding) bool {
		return f.State == detector.Open && !known[f.ID] && f.Service.Cluster == c.name
	}
	for _, g := range m.touching(c) {
		for _, mem := range g.members {
			if !lost(&mem.latest) {
				continue
			}
			mem.latest.State, mem.latest.End = detector.Resolved, now
			if now.IsZero() {
				mem.latest.End = mem.latest.At
			}
			mem.latest.Reason = "over at a restart"
			mem.settle()
			g.dirty = true
		}
	}
	for key, f := range c.harmless {
		if lost(&f) {
			delete(c.harmless, key)
		}
	}
}

func idsOf(fs []detector.Finding) map[string]bool {
	ids := make(map[string]bool, len(fs))
	for _, f := range fs {
		ids[f.ID] = true
	}
	return ids
}
