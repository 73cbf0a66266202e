package incident

import (
	"fmt"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// Recovery says whether a service got well after an instant, such as that of an undo.
type Recovery struct {
	OK     bool   // Nothing harmful is open, and nothing has begun since.
	Known  bool   // The service has had scores since; without data nothing has recovered.
	Reason string // Why it is not OK, for people.
}

// Recovered says whether a service has got well since an instant. The caller decides how long
// after it that is asked.
func (m *Manager) Recovered(s fleet.Service, since time.Time) Recovery {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clusters[s.Cluster]
	if c == nil || !c.now.After(since) || !m.census.scoredNow(c, s) {
		return Recovery{Reason: "nothing was heard of it since"}
	}
	r := Recovery{Known: true}
	if f := m.worst(c, s, c.now); f != nil {
		r.Reason = fmt.Sprintf("%s %s (usually %s)", plainSignal(f.Signal),
			Plain(f.Observed, f.Unit, f.Kind), Plain(f.Expected, f.Unit, f.Kind))
		return r
	}
	if at := c.harmed[s]; at.After(since) {
		r.Reason = "something was wrong again, " + PlainDuration(at.Sub(since)) + " after it"
		return r
	}
	r.OK = true
	return r
}

// Failing returns those of some services that something is wrong with which began before an
// instant: a service that depends on one of them may fail for that reason.
func (m *Manager) Failing(services []fleet.Service, before time.Time) []fleet.Service {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []fleet.Service
	for _, s := range services {
		if c := m.clusters[s.Cluster]; c != nil && m.worst(c, s, before) != nil {
			out = append(out, s)
		}
	}
	return out
}

// worst returns the worst harmful finding of a service that is open and began before an instant;
// nil if there is none.
func (m *Manager) worst(c *cluster, s fleet.Service, before time.Time) *detector.Finding {
	var worst *detector.Finding
	look := func(f *detector.Finding) {
		harm := f.Service == s && f.Harmful && f.State == detector.Open && f.Start.Before(before)
		if harm && (worst == nil || f.Score > worst.Score ||
			f.Score == worst.Score && f.Signal < worst.Signal) {
			worst = f
		}
	}
	for i := range c.inbox {
		look(&c.inbox[i])
	}
	for _, g := range m.touching(c) {
		for _, mem := range g.members {
			look(&mem.latest)
		}
	}
	return worst
}

// remembered is how long it is known when a service suffered last.
const remembered = 24 * time.Hour

// note remembers when a service began to suffer last.
func (c *cluster) note(f *detector.Finding) {
	if f.Harmful && f.State == detector.Open && f.Start.After(c.harmed[f.Service]) {
		c.harmed[f.Service] = f.Start
	}
}

// forgive forgets what was before t.
func (c *cluster) forgive(t time.Time) {
	for s, at := range c.harmed {
		if at.Before(t) {
			delete(c.harmed, s)
		}
	}
}

// scoredNow says whether a service of a cluster has a score, or had one shortly before.
func (n *census) scoredNow(c *cluster, s fleet.Service) bool {
	for _, r := range n.runs[anywhere(s)] {
		if r.cluster == c {
			return r.covers(c.now)
		}
	}
	return false
}
