package incident

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// signalKey names a signal of a service. It has at most one open finding.
type signalKey struct {
	service fleet.Service
	signal  string
}

func keyOf(f *detector.Finding) signalKey { return signalKey{f.Service, f.Signal} }

// cluster is what goes on in one cluster. The Manager's mutex guards it.
type cluster struct {
	name    string
	began   time.Time          // When it first was heard of since the start.
	now     time.Time          // As Advance said.
	steps   [2]time.Duration   // Before now, newest first.
	inbox   []detector.Finding // Since the last Advance.
	changes changeLog

	groups   []*group                 // Pending and open, in the order in which they began.
	services map[fleet.Service]*group // The one of groups that has the service.
	closed   []*group                 // Resolved by a person while findings were open.
	harmless map[signalKey]detector.Finding

	harmed map[fleet.Service]time.Time // Start of the newest harmful finding of a service.

	deviations map[string]*deviation // Harmful findings by ID, also those that ended lately.
	mark       uint64                // See census.deviating.
}

func newCluster(name string) *cluster {
	return &cluster{
		name:     name,
		services: make(map[fleet.Service]*group),
		harmless: make(map[signalKey]detector.Finding),
		harmed:   make(map[fleet.Service]time.Time),

		deviations: make(map[string]*deviation),
	}
}

// tick notes how late it is.
func (c *cluster) tick(now time.Time) {
	if c.began.IsZero() || now.Before(c.began) {
		c.began = now
	} else if now.After(c.now) {
		c.steps = [2]time.Duration{now.Sub(c.now), c.steps[0]}
	}
	c.now = now
}

// sortFindings puts reports into one order, whatever the order in which shards handed them over.
func sortFindings(fs []detector.Finding) {
	slices.SortFunc(fs, func(a, b detector.Finding) int {
		return cmp.Or(
			a.Start.Compare(b.Start),
			a.Service.Compare(b.Service),
			strings.Compare(a.Signal, b.Signal),
			strings.Compare(a.ID, b.ID),
			a.At.Compare(b.At),
			strings.Compare(string(a.State), string(b.State)), // Open before resolved.
		)
	})
}

// admit gives a report to the group that it belongs to.
func (m *Manager) admit(c *cluster, f detector.Finding) {
	key := keyOf(&f)
	for _, g := range c.closed {
		if g.owns(&f) {
			g.take(f)
			return
		}
	}
	if g := c.services[f.Service]; g != nil {
		g.take(f)
		return
	}
	switch {
	case f.State == detector.Resolved:
		if c.harmless[key].ID == f.ID {
			delete(c.harmless, key)
		}
	case !f.Harmful:
		c.harmless[key] = f
	default:
		m.join(c, m.home(c, &f), f)
	}
}

// join gives a harmful finding of a service that has no group to g, with what else is known of
// the service.
func (m *Manager) join(c *cluster, g *group, f detector.Finding) {
	g.take(f)
	c.services[f.Service] = g
	for key, context := range c.harmless {
		if key.service == f.Service {
			if key.signal != f.Signal {
				g.take(context)
			}
			delete(c.harmless, key)
		}
	}
}

// home returns the group for a harmful finding of a service that has none: a related one, into
// which other related ones that nobody has been told of are merged; or a new one; or the storm,
// if there are too many.
func (m *Manager) home(c *cluster, f *detector.Finding) *group {
	var best *group
	for _, g := range c.groups {
		better := best == nil || g.opened() && !best.opened()
		if better && m.near(g, f.Service.Namespace, f.Start) {
			best = g
		}
	}
	if best == nil {
		return m.newGroup(c)
	}
	for _, g := range slices.Clone(c.groups) {
		if g != best && !g.opened() && m.near(g, f.Service.Namespace, f.Start) {
			m.merge(c, best, g)
		}
	}
	return best
}

// near says whether something that began at start in a namespace belongs to g: it began together
// with g, or nearly so and in a namespace that g is in.
func (m *Manager) near(g *group, namespace string, start time.Time) bool {
	if g.storm {
		return false
	}
	d := g.start.Sub(start).Abs()
	return d <= m.opts.Related/10 || d <= m.opts.Related && g.inNamespace(namespace)
}

func (m *Manager) newGroup(c *cluster) *group {
	storm := len(c.groups) >= m.opts.MaxOpen
	if storm {
		for _, g := range c.groups {
			if g.storm {
				return g
			}
		}
		m.logger.Warn("Too many incidents, the rest becomes a fleet storm",
			"cluster", c.name, "limit", m.opts.MaxOpen)
	}
	g := &group{
		storm:   storm,
		since:   c.now,
		members: make(map[signalKey]*member),
	}
	c.groups = append(c.groups, g)
	return g
}

// merge moves all that a group has, of which nobody has been told, into another one.
func (m *Manager) merge(c *cluster, into, from *group) {
	for key, mem := range from.members {
		into.members[key] = mem
		into.started(&mem.worst)
		c.services[key.service] = into
	}
	if from.since.Before(into.since) {
		into.since = from.since
	}
	into.dirty = true
	c.drop(from)
	m.metrics.groups.WithLabelValues(groupJoined).Inc()
}

// drop takes a group out of the cluster. Harmless findings that are still open are kept, should
// the service begin to suffer again.
func (c *cluster) drop(g *group) {
	c.groups = slices.DeleteFunc(c.groups, func(other *group) bool { return other == g })
	for key, mem := range g.members {
		if c.services[key.service] != g {
			continue
		}
		if mem.latest.State == detector.Open && !mem.worst.Harmful {
			c.harmless[key] = mem.latest
		}
	}
	for s, other := range c.services {
		if other == g {
			delete(c.services, s)
		}
	}
}
