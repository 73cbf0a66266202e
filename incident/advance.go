package incident

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"tocsin/detector"
)

// advance brings a cluster to now: takes what has come in, then looks at every group.
func (m *Manager) advance(c *cluster, now time.Time) {
	c.tick(now)
	inbox := c.inbox
	c.inbox = nil
	m.metrics.inbox.Sub(float64(len(inbox)))
	sortFindings(inbox)
	for _, f := range inbox {
		m.census.report(c, &f)
		c.note(&f)
		m.admit(c, f)
	}
	m.reviewClosed(c)
	for _, g := range slices.Clone(c.groups) {
		if !slices.Contains(c.groups, g) {
			continue // Merged into one that came before it.
		}
		if g.opened() {
			m.reviewOpen(c, g)
		} else {
			m.reviewPending(c, g)
		}
	}
	c.changes.prune(now.Add(-m.opts.Cause), m.metrics)
	m.census.drop(c, func(_ string, d *deviation) bool {
		return !d.closed.IsZero() && d.closed.Before(now.Add(-m.opts.Peers-c.settled()))
	})
	c.forgive(now.Add(-remembered))
	m.forgetUnheard(c)
	m.reviewAlarms(now)
}

// reviewPending opens a group once what belongs to it had time to arrive. One that is over by
// then has passed.
func (m *Manager) reviewPending(c *cluster, g *group) {
	if c.now.Before(g.since) { // The cluster's clock was set back.
		g.since = c.now
	}
	if !g.suffering() {
		c.drop(g)
		m.metrics.groups.WithLabelValues(groupPassed).Inc()
		return
	}
	if c.now.Sub(g.since) < m.opts.Group {
		return
	}
	for _, other := range c.groups {
		if other != g && m.relatedGroups(g, other) {
			m.merge(c, other, g)
			return
		}
	}
	m.open(c, g, c.now)
}

// relatedGroups says whether two groups, of which nobody has been told of the first, are one.
func (m *Manager) relatedGroups(g, other *group) bool {
	if g.storm || other.storm {
		return false
	}
	for s := range g.starts() {
		if m.near(other, s.Namespace, g.start) {
			return true
		}
	}
	return false
}

func (m *Manager) open(c *cluster, g *group, at time.Time) {
	m.adopt(c, g)
	root := m.root(c, g)
	fingerprint := hash(root.String())
	g.incident = Incident{
		ID:          m.newID(fingerprint, g.start),
		Fingerprint: fingerprint,
		Service:     root,
		State:       Open,
		Start:       g.start,
		Opened:      later(c.now, at),
	}
	m.refresh(c, g)
	g.incident.Updated = g.incident.Opened
	m.report(g)
	m.metrics.groups.WithLabelValues(groupOpened).Inc()
	m.metrics.opened.WithLabelValues(string(g.incident.Severity)).Inc()
	m.metrics.open.Inc()
	m.logger.Info("Incident opened", "id", g.incident.ID, "severity", g.incident.Severity,
		"title", g.incident.Title)
}

// newID is made of place and start, so that every replica and every replay has the same. Only
// where a person had resolved an incident that goes on is there a second one of the same start.
func (m *Manager) newID(fingerprint string, start time.Time) string {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(start.UnixNano()))
	id := hash(fingerprint, string(at[:]))
	for m.taken(id) {
		id = hash(id, "again")
	}
	return id
}

func (m *Manager) taken(id string) bool {
	_, g := m.find(id)
	return g != nil || slices.ContainsFunc(m.recent, func(i Incident) bool { return i.ID == id })
}

// hash returns 16 hexadecimal digits that stand for parts.
func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// reviewOpen resolves an incident that has been quiet for long enough, and reports one that has
// changed.
func (m *Manager) reviewOpen(c *cluster, g *group) {
	switch {
	case g.suffering() || g.blamed(c.now) || g.acting(c.now):
		g.quiet = time.Time{}
	case g.quiet.IsZero() || c.now.Before(g.quiet):
		g.quiet = c.now
	case c.now.Sub(g.quiet) >= m.opts.Hold:
		end, reason := g.ending()
		m.refresh(c, g)
		m.resolve(g, c.now, end, reason)
		m.report(g)
		return
	}
	if m.compare(c, g) {
		g.dirty = true
	}
	if !g.dirty && !g.recheck {
		return
	}
	causes := g.incident.Causes
	m.refresh(c, g)
	if g.dirty || !sameCauses(causes, g.incident.Causes) {
		m.report(g)
	}
}

// ending returns when the last harmful finding ended and why they did.
func (g *group) ending() (time.Time, string) {
	end, reasons := g.start, []string(nil)
	for _, mem := range g.members {
		if !mem.worst.Harmful {
			continue
		}
		if mem.over.After(end) {
			end = mem.over
		}
		reasons = append(reasons, cmp.Or(mem.reason, "back to normal"))
	}
	for _, r := range g.releases {
		end = later(end, r.info.End)
		reasons = append(reasons, r.info.ending())
	}
	slices.Sort(reasons)
	return end, strings.Join(slices.Compact(reasons), ", ")
}

// resolve ends an incident: at is when that is noticed, end when it was over.
func (m *Manager) resolve(g *group, at, end time.Time, reason string) {
	for _, touched := range m.clusters {
		touched.drop(g)
	}
	m.leave(g)
	m.close(g, at, end, reason)
}

// close notes that an incident is over.
func (m *Manager) close(g *group, at, end time.Time, reason string) {
	i := &g.incident
	i.State, i.Reason, i.Updated, i.End = Resolved, reason, at, end
	m.recent = append(m.recent, *i)
	if n := len(m.recent) - maxRecent; n > 0 {
		m.recent = slices.Delete(m.recent, 0, n)
	}
	by := resolvedByItself
	if i.ResolvedBy != "" {
		by = resolvedByPerson
	}
	m.metrics.resolved.WithLabelValues(by).Inc()
	m.metrics.open.Dec()
	m.logger.Info("Incident resolved", "id", i.ID, "reason", reason, "title", i.Title)
}

// reviewClosed looks at what people have resolved while it went on. Once that is over it is
// forgotten; if it gets so bad that it matters more than when it was resolved, it opens a new
// incident.
func (m *Manager) reviewClosed(c *cluster) {
	for _, g := range slices.Clone(c.closed) {
		worse := severityOf(g.harm()).level() > g.incident.Severity.level()
		if !worse && g.suffering() {
			continue
		}
		c.closed = slices.DeleteFunc(c.closed, func(other *group) bool { return other == g })
		for _, mem := range g.sorted() {
			here := mem.latest.Service.Cluster == c.name
			if here && mem.latest.State == detector.Open && mem.worst.Harmful {
				m.admit(c, mem.latest)
			}
		}
	}
}
