package incident

import (
	"cmp"
	"slices"
	"time"

	"tocsin/fleet"
)

// Bounds of what is listed as a cause.
const (
	maxCauses   = 8
	maxSymptoms = 3
	leastScore  = 0.05
	likelyScore = 0.4 // From here on a cause is named in the title.
	halfLife    = 15 * time.Minute

	// A change this much after the start may still be the cause: clocks and windows differ.
	skew = time.Minute
)

// causes returns what may have caused g, likeliest first. What was found before stays, even if
// its change has been given up meanwhile.
func (m *Manager) causes(c *cluster, g *group) []Cause {
	byID := make(map[string]Cause)
	for _, cause := range g.incident.Causes {
		byID[cause.Change.ID] = cause
	}
	if lead := g.lead(); lead != nil && lead.info.Withdrawn != "" {
		delete(byID, lead.info.cause())
	}
	place := newPlace(c, g)
	for _, other := range m.clusters {
		for _, ch := range other.changes.list {
			if cause, ok := m.judge(place, ch); ok {
				byID[ch.ID] = cause
			}
		}
	}
	first := g.judgedCause(c)
	if first != nil {
		byID[first.Change.ID] = *first
	}
	out := make([]Cause, 0, len(byID))
	for _, cause := range byID {
		out = append(out, cause)
	}
	slices.SortFunc(out, func(a, b Cause) int {
		judged := func(x *Cause) bool { return first != nil && x.Change.ID == first.Change.ID }
		return cmp.Or(compareTrue(judged(&a), judged(&b)), cmp.Compare(b.Score, a.Score),
			compareChanges(b.Change, a.Change))
	})
	symptoms := 0
	out = slices.DeleteFunc(out, func(cause Cause) bool {
		if isSymptom(&cause) {
			symptoms++
		}
		return isSymptom(&cause) && symptoms > maxSymptoms
	})
	return out[:min(len(out), maxCauses)]
}

func isSymptom(c *Cause) bool { return c.Before < -skew }

// cause returns the ID of the change that a release is as a cause.
func (r *ReleaseInfo) cause() string { return cmp.Or(r.Change, r.ID) }

// judgedCause returns the release that was found to be bad as the cause of its incident; nil if
// there is none, or if the incident began before it.
func (g *group) judgedCause(c *cluster) *Cause {
	lead := g.lead()
	if lead == nil || g.storm {
		return nil
	}
	r := &lead.info
	if r.Withdrawn != "" || r.Start.After(g.start.Add(skew)) {
		return nil
	}
	cause := &Cause{
		Change: fleet.Change{
			ID: r.cause(), At: r.Start, Service: r.Service, Workload: r.Workload,
			Kind: fleet.Rollout, Summary: r.Name, Author: r.Author, Old: &r.Old, New: &r.New,
		},
		Before: g.start.Sub(r.Start),
		Score:  1,
		Why:    "the new pods were compared with the old ones: " + r.Effect,
	}
	if r.Images != "" {
		cause.Change.Summary = "image " + r.Images
	}
	for _, ch := range c.changes.list {
		if ch.ID == r.Change {
			cause.Change = ch
		}
	}
	if r.Suspected {
		cause.Score = 0.9
	}
	return cause
}

// sameCauses says whether two lists name the same changes in the same order.
func sameCauses(a, b []Cause) bool {
	return slices.EqualFunc(a, b, func(x, y Cause) bool { return x.Change.ID == y.Change.ID })
}

// place is where an incident is, as far as that says how changes relate to it.
type place struct {
	cluster    string
	start      time.Time
	services   map[fleet.Service]time.Time
	namespaces map[string]bool
	names      map[fleet.Service]bool // Without the cluster, to recognise them in others.
	images     map[string]bool        // That were rolled out to the services.
}

func newPlace(c *cluster, g *group) *place {
	p := &place{
		cluster:    c.name,
		start:      g.start,
		services:   g.starts(),
		namespaces: make(map[string]bool),
		names:      make(map[fleet.Service]bool),
		images:     make(map[string]bool),
	}
	for s := range p.services {
		p.namespaces[s.Namespace] = true
		p.names[anywhere(s)] = true
	}
	for _, ch := range c.changes.list {
		if _, ok := p.services[ch.Service]; ok && ch.New != nil {
			for _, image := range ch.New.Images {
				p.images[image] = true
			}
		}
	}
	return p
}

// anywhere returns a service without its cluster.
func anywhere(s fleet.Service) fleet.Service {
	s.Cluster = ""
	return s
}

// relation returns how near a change is to an incident, 0 to 1, and how, in words.
func (p *place) relation(ch *fleet.Change) (float64, string) {
	s := ch.Service
	if s.Cluster == p.cluster {
		if _, ok := p.services[s]; ok {
			return 1, "the same service"
		}
		if p.namespaces[s.Namespace] {
			return 0.5, "the same namespace"
		}
		return 0.15, "the same cluster"
	}
	if ch.Kind != fleet.Rollout {
		return 0, ""
	}
	if p.names[anywhere(s)] {
		return 0.35, "the same service in cluster " + s.Cluster
	}
	if ch.New != nil {
		for _, image := range ch.New.Images {
			if p.images[image] {
				return 0.3, "the same image " + image + " in cluster " + s.Cluster
			}
		}
	}
	return 0, ""
}

// mayExplain says whether a change that has come may be a cause of g, or a symptom. It only
// saves looking at incidents anew that a change is too late for.
func (m *Manager) mayExplain(c *cluster, g *group, ch *fleet.Change) bool {
	before := g.start.Sub(ch.At)
	switch {
	case before > m.opts.Cause:
		return false
	case ch.Service.Cluster != c.name:
		return ch.Kind == fleet.Rollout && before >= -skew
	}
	return before >= -skew || ch.Kind == fleet.Warning && c.services[ch.Service] == g
}

// weights says how often what kind of change breaks things.
var weights = map[fleet.ChangeKind]float64{
	fleet.Rollout:   1,
	fleet.Restarted: 0.7,
	fleet.Deleted:   0.7,
	fleet.Created:   0.6,
	fleet.Scaled:    0.6,
	fleet.Paused:    0.3,
	fleet.Resumed:   0.3,
	fleet.Warning:   0.25,
}

// judge says how likely it is that a change caused what is in a place.
//
//	score = relation · weight of the kind · 1 / (1 + before/15m)
//
// A warning that came after the start is a symptom and counts a tenth of that; other changes
// after it are reactions to it and not listed.
func (m *Manager) judge(p *place, ch fleet.Change) (Cause, bool) {
	relation, how := p.relation(&ch)
	before := p.start.Sub(ch.At)
	reaction := before < -skew && (ch.Kind != fleet.Warning || relation < 1)
	if relation == 0 || reaction || before > m.opts.Cause {
		return Cause{}, false
	}
	nearness := 1 / (1 + float64(before.Abs())/float64(halfLife))
	score := relation * weights[ch.Kind] * nearness
	why := how + ", " + PlainDuration(before) + " before"
	switch {
	case before < -skew:
		score /= 10
		why = how + ", a symptom: " + PlainDuration(-before) + " after it began"
	case before < time.Second:
		why = how + ", as it began"
	}
	// Three digits, so that no machine's rounding decides the order.
	score = float64(int64(score*1000+0.5)) / 1000
	return Cause{Change: ch, Before: before, Score: score, Why: why},
		score >= leastScore || before < -skew
}

// stormName stands for the services of a cluster that has too many incidents.
const stormName = "*"

// root guesses where a group began: the service that was rolled out last before it, or that began
// first, or that is worst.
func (m *Manager) root(c *cluster, g *group) fleet.Service {
	if g.storm {
		return fleet.Service{Cluster: c.name, Name: stormName}
	}
	if lead := g.lead(); lead != nil {
		return lead.info.Service
	}
	starts := g.starts()
	changed := make(map[fleet.Service]float64)
	for _, cause := range m.causes(c, g) {
		kind := cause.Change.Kind
		if (kind == fleet.Rollout || kind == fleet.Restarted) && cause.Score >= likelyScore {
			s := cause.Change.Service
			changed[s] = max(changed[s], cause.Score)
		}
	}
	var services []fleet.Service
	rank := make(map[fleet.Service]int)
	for i, f := range g.harm() {
		if _, ok := rank[f.Service]; !ok {
			rank[f.Service] = i
			services = append(services, f.Service)
		}
	}
	return slices.MinFunc(services, func(a, b fleet.Service) int {
		return cmp.Or(
			cmp.Compare(changed[b], changed[a]),
			starts[a].Compare(starts[b]),
			cmp.Compare(rank[a], rank[b]),
		)
	})
}
