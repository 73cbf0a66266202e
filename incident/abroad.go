package incident

import (
	"cmp"
	"slices"
	"strings"

	"tocsin/detector"
)

// An incident lives in one cluster. Only that of a bad release may have to do with others, into
// which the same image was released.

// touching returns the groups that findings of a cluster may be in.
func (m *Manager) touching(c *cluster) []*group {
	out := slices.Concat(c.groups, c.closed)
	for _, other := range m.clusters {
		for _, g := range other.groups {
			if other != c && g.abroad(c.name) {
				out = append(out, g)
			}
		}
	}
	return out
}

// abroad says whether a release of a cluster belongs to the group.
func (g *group) abroad(cluster string) bool {
	return slices.ContainsFunc(g.releases, func(r *regression) bool {
		return r.info.Service.Cluster == cluster
	})
}

// touched returns the clusters that a group has to do with, its own first.
func (m *Manager) touched(c *cluster, g *group) []*cluster {
	out := []*cluster{c}
	for _, other := range m.clusters {
		if other != c && g.abroad(other.name) {
			out = append(out, other)
		}
	}
	return out
}

// unwatched is why what is known of a cluster ends that was taken out of the configuration.
const unwatched = "the cluster is no longer watched"

// desert ends what a cluster that is no longer watched has in incidents of others, and its
// releases.
func (m *Manager) desert(c *cluster) {
	for _, g := range m.touching(c) {
		for key, mem := range g.members {
			if key.service.Cluster == c.name && mem.latest.State == detector.Open &&
				!slices.Contains(c.groups, g) {
				mem.latest.State, mem.latest.End = detector.Resolved, c.now
				mem.latest.Reason = unwatched
				mem.settle()
				g.dirty = true
			}
		}
	}
	for _, g := range m.sortedAlarms() {
		if g.incident.Service.Cluster == c.name && c.name != "" {
			m.calm(g, c.now, unwatched)
			m.report(g)
		}
	}
	for _, r := range m.regressions {
		if r.info.Service.Cluster != c.name {
			continue
		}
		r.info.Withdrawn = unwatched
		if r.group != nil {
			r.group.dirty = true
		} else {
			m.forget(r)
		}
	}
}

// elsewhere returns the bad releases of a group that run in other clusters than one.
func (g *group) elsewhere(cluster string) []*regression {
	var out []*regression
	for _, r := range g.releases {
		if r.info.Service.Cluster != cluster && !r.info.Over() {
			out = append(out, r)
		}
	}
	return out
}

// rehouse gives the bad releases that run and whose incident was that of a cluster that is no
// longer watched another one.
func (m *Manager) rehouse(of []*regression) {
	slices.SortFunc(of, func(a, b *regression) int {
		return cmp.Or(a.heard.Compare(b.heard), strings.Compare(a.info.ID, b.info.ID))
	})
	for _, r := range of {
		m.house(r, r.heard)
	}
}
