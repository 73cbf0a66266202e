package incident

import (
	"fmt"
	"strings"
	"time"

	"tocsin/detector"
)

// Peers compares an incident with the other clusters that run its root: the service of the same
// namespace and name. One that scores it, and in which nothing harmful of the kind goes on, is
// normal. The zero value says that there is nothing to compare with, or not yet.
type Peers struct {
	Clusters  int      `json:"clusters"`          // Others that score the service; what follows is of these.
	Deviating int      `json:"deviating"`         // In which one of its signals went the same way about then.
	Unknown   int      `json:"unknown,omitempty"` // Beside Clusters: nothing was heard of them lately.
	Names     []string `json:"names,omitempty"`   // Of those that deviate, at most five.
}

// Bounds of what is said of peers.
const (
	maxPeerNames   = 5
	leastFleet     = 3 // Fewer peers are no fleet.
	leastSettled   = time.Minute
	leastFreshness = 5 * time.Minute
)

// FleetWide says that what is wrong here is wrong in at least half of at least three peers. What
// changed in one cluster alone is then hardly the cause.
func (p Peers) FleetWide() bool {
	return p.Clusters >= leastFleet && 2*p.Deviating >= p.Clusters
}

// String says it in one line for people; it is empty if there is nothing to compare with.
func (p Peers) String() string {
	missing := ""
	if p.Unknown > 0 {
		missing = fmt.Sprintf("%d not heard of", p.Unknown)
	}
	switch {
	case p.Clusters == 0:
		return ""
	case p.Deviating == 0:
		normal := "1 other runs it and is normal"
		if p.Clusters > 1 {
			normal = fmt.Sprintf("%d others run it and are normal", p.Clusters)
		}
		return "only in this cluster (" + join(normal, missing) + ")"
	}
	names := strings.Join(p.Names, ", ")
	if more := p.Deviating - len(p.Names); more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	text := fmt.Sprintf("also in %d of %s", p.Deviating, count(p.Clusters, "other cluster"))
	if p.FleetWide() {
		text += ": fleet-wide"
	}
	return text + " (" + join(names, missing) + ")"
}

func join(a, b string) string {
	if b == "" {
		return a
	}
	return a + "; " + b
}

// standing is what a comparison comes to. People are told when it changes, not of every number.
func (p Peers) standing() string {
	switch {
	case p.Clusters == 0:
		return "unknown"
	case p.Deviating == 0:
		return "here only"
	case p.FleetWide():
		return "fleet-wide"
	}
	return "elsewhere too"
}

// settled is how long what is reported of an instant is waited for. Clusters report one after the
// other, and find the same at slightly different times: they are compared as they were that long
// ago, so that it does not matter which one was first.
func (c *cluster) settled() time.Duration { return max(leastSettled, 2*c.pace()) }

// fresh is how long a service may have no score and is still there.
func (c *cluster) fresh() time.Duration { return max(leastFreshness, 3*c.pace()) }

// pace is the distance between instants; a gap does not count.
func (c *cluster) pace() time.Duration { return min(c.steps[0], c.steps[1]) }

// asOf returns t, or how late it is in the cluster if that is earlier.
func (c *cluster) asOf(t time.Time) time.Time {
	if c.now.Before(t) {
		return c.now
	}
	return t
}

// compare brings the peers of an open incident up to date, and says whether people should see
// that. When nothing harmful of the root is open any more, it stays as it was.
func (m *Manager) compare(c *cluster, g *group) bool {
	at := c.now.Add(-c.settled())
	if g.storm || at.Before(g.incident.Opened) || at.Before(c.began.Add(c.settled())) {
		return false
	}
	root, directions := g.incident.Service, make(map[string]detector.Direction)
	for key, mem := range g.members {
		if key.service == root && mem.suffers() {
			directions[key.signal] = mem.latest.Direction
		}
	}
	if len(directions) == 0 {
		return false
	}
	before := g.incident.Peers
	g.incident.Peers = m.peers(c, g, directions, at)
	return g.incident.Peers.standing() != before.standing()
}

// peers counts the peers of an incident as they were at an instant.
func (m *Manager) peers(
	c *cluster, g *group, directions map[string]detector.Direction, at time.Time,
) (p Peers) {
	root := g.incident.Service
	mark := m.census.deviating(root, directions, g.start.Add(-m.opts.Peers), at)
	for _, r := range m.census.runs[anywhere(root)] {
		then := r.cluster.asOf(at)
		late := max(m.opts.Peers, 2*r.cluster.pace())
		switch {
		case r.cluster == c || !r.covers(then):
		case r.cluster.mark == mark:
			p.Clusters++
			p.Deviating++
			if len(p.Names) < maxPeerNames {
				p.Names = append(p.Names, r.cluster.name)
			}
		case then.Before(g.incident.Opened) || then.Before(at.Add(-late)):
			p.Unknown++
		default:
			p.Clusters++
		}
	}
	return p
}
