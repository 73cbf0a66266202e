package incident

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tocsin/release"
)

// regression is a release that was called bad, as far as incidents care. It is forgotten once it
// is over and so is its incident.
type regression struct {
	info  ReleaseInfo
	heard time.Time // Time of the newest event.
	known time.Time // When it was heard of last, also before a restart.
	group *group    // Its incident; nil: that is resolved.
	told  Severity  // How much it mattered then.
}

// Release takes news of a release. One that is called bad opens an incident of its service, or
// joins the one that is open; it keeps it open until it is over. News that come twice or late
// change nothing.
func (m *Manager) Release(e release.Event) {
	m.mu.Lock()
	m.release(infoOf(&e), e.Verdict.Result, e.At)
	m.mu.Unlock()
	m.deliver()
}

func (m *Manager) release(info ReleaseInfo, result release.Result, at time.Time) {
	r := m.regressions[info.ID]
	bad := info.Metric != "" && info.Withdrawn == ""
	if r == nil {
		if !bad || info.Over() || m.finished(info.ID) {
			return
		}
		r = &regression{}
		m.regressions[info.ID] = r
		m.metrics.releases.Inc()
	}
	ended := r.info.ID != "" && !r.info.State.Running()
	if info.State.Running() && (ended || at.Before(r.heard)) {
		return // Late. The end is not: it may be told with the time of what was noticed late.
	}
	before := r.info
	at = later(r.heard, at)
	r.info, r.heard, r.known = before.update(info, result), at, at
	switch {
	case r.group != nil:
		m.progressed(r, &before, at)
	case !r.info.State.Running():
		m.forget(r)
		m.endedLate(r)
	case bad && r.info.Severity().level() > r.told.level():
		m.house(r, at)
	}
}

// finished says whether a release is known to have ended by an incident that is resolved.
func (m *Manager) finished(id string) bool {
	return slices.ContainsFunc(m.recent, func(i Incident) bool {
		return i.about(id) && (i.Release.ID == id && !i.Release.State.Running() ||
			slices.ContainsFunc(i.Releases, func(r ReleaseRef) bool {
				return r.ID == id && !r.State.Running()
			}))
	})
}

// update returns what is known of a release after more was heard of it. The strongest evidence
// against it is what people are told, of one metric as long as it does not grow stronger.
func (r *ReleaseInfo) update(next ReleaseInfo, result release.Result) ReleaseInfo {
	if r.ID == "" {
		return next
	}
	if result == release.Healthy && next.Metric == "" && r.Suspected && next.Withdrawn == "" {
		next.Withdrawn = "healthy after all"
	}
	next.Suspected = r.Suspected && (next.Suspected || next.Metric == "")
	if next.Tier < r.Tier ||
		next.Tier == r.Tier && (next.Metric != r.Metric || next.Evidence.At.Before(r.At)) {
		next.Evidence = r.Evidence
	}
	next.Clusters = r.Clusters
	return next
}

// house gives a bad release an incident: that of its service; or the one that is open for the
// same image of the service in another cluster; or a related one; or its own.
func (m *Manager) house(r *regression, at time.Time) {
	s := r.info.Service
	c := m.cluster(s.Cluster)
	own := c.services[s]
	if own == nil || !own.opened() {
		if g := m.elsewhere(&r.info); g != nil {
			m.fold(c, r, g)
			m.told(g, at)
			return
		}
	}
	g := own
	if g == nil {
		g = m.related(c, &r.info)
	}
	if g == nil {
		g = m.newGroup(c)
	}
	g.attach(r)
	c.services[s] = g
	if g.opened() {
		m.told(g, at)
		return
	}
	if g.start.IsZero() || r.info.Start.Before(g.start) {
		g.start = r.info.Start
	}
	m.open(c, g, at)
}

// elsewhere returns the open incident of another cluster that is about the same image of the same
// service, released at about the same time; nil if there is none.
func (m *Manager) elsewhere(info *ReleaseInfo) *group {
	var found *group
	for _, r := range m.regressions {
		g := r.group
		if g == nil || g.storm || r.info.Service.Cluster == info.Service.Cluster ||
			r.info.Withdrawn != "" || !r.info.sameAs(info, m.opts.Pool) {
			continue
		}
		if found == nil || g.earlier(found) {
			found = g
		}
	}
	return found
}

// earlier orders incidents by when they opened.
func (g *group) earlier(other *group) bool {
	return cmp.Or(g.incident.Opened.Compare(other.incident.Opened),
		strings.Compare(g.incident.ID, other.incident.ID)) < 0
}

// sameAs says whether two releases bring the same images to the same service within a window.
func (r *ReleaseInfo) sameAs(other *ReleaseInfo, window time.Duration) bool {
	same := r.New.Hash == other.New.Hash
	if r.Images != "" || other.Images != "" {
		same = r.Images != "" && other.Images != "" && slices.Equal(r.New.Images, other.New.Images)
	}
	return same && r.Workload == other.Workload &&
		anywhere(r.Service) == anywhere(other.Service) &&
		r.Start.Sub(other.Start).Abs() <= window
}

// fold gives a release, and what is wrong with its service, to an incident of another cluster.
func (m *Manager) fold(c *cluster, r *regression, g *group) {
	s := r.info.Service
	if own := c.services[s]; own != nil {
		for key, mem := range own.members {
			if key.service == s {
				g.members[key] = mem
				delete(own.members, key)
			}
		}
		if len(own.starts()) == 0 {
			c.drop(own)
			m.metrics.groups.WithLabelValues(groupJoined).Inc()
		}
	}
	g.attach(r)
	c.services[s] = g
}

// related returns the group of a service of the same namespace that began to suffer at about the
// time of a release, unless it is about another release.
func (m *Manager) related(c *cluster, info *ReleaseInfo) *group {
	for _, g := range c.groups {
		after := !g.start.Before(info.Start.Add(-skew))
		if len(g.releases) == 0 && after && g.inNamespace(info.Service.Namespace) &&
			m.near(g, info.Service.Namespace, info.Start) {
			return g
		}
	}
	return nil
}

// told reports an incident that news of a release have changed.
func (m *Manager) told(g *group, at time.Time) {
	c := m.cluster(g.incident.Service.Cluster)
	m.refresh(c, g)
	g.incident.Updated = later(g.incident.Updated, at)
	m.report(g)
}

// progressed brings the incident of a release up to date, and reports it if that says something
// else now. An incident that is about releases only, none of which is held to be bad any more, is
// over at once.
func (m *Manager) progressed(r *regression, before *ReleaseInfo, at time.Time) {
	g := r.group
	c := m.cluster(g.incident.Service.Cluster)
	if sameNews(before, &r.info) {
		g.show()
		return
	}
	if g.cleared() {
		m.refresh(c, g)
		m.resolve(g, at, at, r.info.ending())
		m.report(g)
		return
	}
	m.told(g, at)
}

// forget drops a release that nothing more is to be said of.
func (m *Manager) forget(r *regression) {
	if m.regressions[r.info.ID] == r {
		delete(m.regressions, r.info.ID)
		m.metrics.releases.Dec()
	}
}

// endedLate notes in resolved incidents how a release ended, which is reported so that it is
// written down: a restart must not take the release for one that runs.
func (m *Manager) endedLate(r *regression) {
	for k := range m.recent {
		if i := &m.recent[k]; i.about(r.info.ID) {
			i.ended(&r.info)
			m.outbox = append(m.outbox, *i)
		}
	}
}

// ended notes how a release ended.
func (i *Incident) ended(r *ReleaseInfo) {
	if i.Release.ID == r.ID {
		info := *i.Release
		info.State, info.End, info.EndedBy = r.State, r.End, r.EndedBy
		i.Release = &info
	}
	i.Releases = slices.Clone(i.Releases)
	for k := range i.Releases {
		if ref := &i.Releases[k]; ref.ID == r.ID {
			ref.State, ref.Over = r.State, true
		}
	}
}

// unheard is after how long a release of which nothing is heard counts no more. News of one that
// runs come every few minutes.
const unheard = 12 * time.Hour

// forgetUnheard forgets the releases of a cluster whose end was never told.
func (m *Manager) forgetUnheard(c *cluster) {
	for _, r := range m.regressions {
		here := r.info.Service.Cluster == c.name
		if r.group == nil && here && c.now.Sub(r.known) > unheard {
			m.forget(r)
		}
	}
}

// leave lets go of the releases of a group whose incident is resolved. Those that run are
// remembered, lest they open another one.
func (m *Manager) leave(g *group) {
	for _, r := range g.releases {
		r.group, r.told = nil, r.info.Severity()
		if !r.info.State.Running() {
			m.forget(r)
		}
	}
}

// adopt gives a group that opens the bad releases of its services whose incidents a person has
// resolved.
func (m *Manager) adopt(c *cluster, g *group) {
	var found []*regression
	for _, r := range m.regressions {
		if r.group == nil && !r.info.Over() && c.services[r.info.Service] == g {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *regression) int { return strings.Compare(a.info.ID, b.info.ID) })
	for _, r := range found {
		g.attach(r)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
