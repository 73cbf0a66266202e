package incident

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// refresh brings what people see up to date.
func (m *Manager) refresh(c *cluster, g *group) {
	i := &g.incident
	i.Updated = c.now
	g.recheck = false
	harm := g.harm()
	g.show()
	for _, s := range []Severity{severityOf(harm), g.severity()} {
		if s.level() > i.Severity.level() {
			i.Severity = s
		}
	}
	i.Services = g.order(i.Service)
	i.Findings, i.Effects, i.Omitted = g.list()
	i.Causes = m.causes(c, g)
	if title := titleOf(g, harm); title != "" {
		i.Title = title
	}
}

// order returns all affected services: the root, then the others as they began to suffer.
func (g *group) order(root fleet.Service) []fleet.Service {
	starts := g.starts()
	for _, s := range g.incident.Services { // Those that are known from before a restart.
		if _, ok := starts[s]; !ok {
			starts[s] = time.Time{}
		}
	}
	delete(starts, root)
	out := []fleet.Service{root}
	for s := range starts {
		out = append(out, s)
	}
	slices.SortFunc(out[1:], func(a, b fleet.Service) int {
		return cmp.Or(starts[a].Compare(starts[b]), a.Compare(b))
	})
	return out
}

// maxListed bounds how many findings an incident carries.
const maxListed = 100

// list returns the newest report of each signal, the worst first, and what it did at its worst.
func (g *group) list() (fs []detector.Finding, es []Effect, omitted int) {
	fs, es = []detector.Finding{}, []Effect{}
	all := g.sorted()
	if len(all) > maxListed {
		omitted = len(all) - maxListed
		all = all[:maxListed]
	}
	for _, mem := range all {
		fs = append(fs, mem.latest)
		es = append(es, mem.effect())
	}
	return fs, es, omitted
}

// sorted returns all signals of a group: the harmful first, of these what users feel, then by the
// peak.
func (g *group) sorted() []*member {
	out := make([]*member, 0, len(g.members))
	for _, mem := range g.members {
		out = append(out, mem)
	}
	slices.SortFunc(out, func(a, b *member) int {
		return cmp.Or(
			compareTrue(a.worst.Harmful, b.worst.Harmful),
			compareTrue(aspectOf(&a.worst).facesUsers(), aspectOf(&b.worst).facesUsers()),
			cmp.Compare(b.worst.Peak, a.worst.Peak),
			a.worst.Start.Compare(b.worst.Start),
			keyOf(&a.worst).compare(keyOf(&b.worst)),
		)
	})
	return out
}

// compareTrue puts what is true first.
func compareTrue(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func (k signalKey) compare(other signalKey) int {
	return cmp.Or(k.service.Compare(other.service), strings.Compare(k.signal, other.signal))
}
