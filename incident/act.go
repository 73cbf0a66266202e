package incident

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
)

// Act is what tocsin does about a release, or would do. A newer one of the same ID takes the
// place of the older.
type Act struct {
	Release string    `json:"release"` // ID of the release that it is about.
	ID      string    `json:"id"`      // Of the action.
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"`            // rollback, pause, abort, webhook.
	State   string    `json:"state"`           // Of the action: a new one is news.
	Mode    string    `json:"mode,omitempty"`  // observe, ask, auto.
	Text    string    `json:"text"`            // One line for people; made up of the above if empty.
	By      string    `json:"by,omitempty"`    // Who approved or stopped it.
	Final   bool      `json:"final,omitempty"` // Nothing more will come of it.

	// The Manager adds what follows: whether a person should look now, as it asks for approval or did
	// not help; and the service of the release.
	Urgent  bool          `json:"urgent,omitempty"`
	Service fleet.Service `json:"service,omitzero"`
}

// notRecovered is the state of an action after which the service did not get well: a person must
// look.
const notRecovered = "not_recovered"

// maxActs bounds the acts of an incident: the newest are kept.
const maxActs = 20

// patience is how long an act of which nothing is heard keeps an incident open.
const patience = 6 * time.Hour

// pending says whether more is to come of an act that keeps its incident open.
func (a *Act) pending(now time.Time) bool {
	return !a.Final && now.Sub(a.At) < patience
}

// line returns the text of an act, whatever it came with.
func (a *Act) line() string {
	if a.Text != "" {
		return oneLine(a.Text)
	}
	text := strings.ReplaceAll(cmp.Or(a.Kind, "action"), "_", " ") + ": " +
		strings.ReplaceAll(a.State, "_", " ")
	if a.By != "" {
		text += " by " + a.By
	}
	if a.Mode != "" {
		text += " (" + a.Mode + " mode)"
	}
	return oneLine(text)
}

// with returns acts with a in it, and whether people should hear of that. What came before it is
// late.
func with(acts []Act, a Act) ([]Act, bool) {
	k := slices.IndexFunc(acts, func(b Act) bool { return b.ID == a.ID })
	out := slices.Clone(acts)
	switch {
	case k < 0:
		out = append(out, a)
		if n := len(out) - maxActs; n > 0 {
			out = slices.Delete(out, 0, n)
		}
		return out, true
	case a.At.Before(acts[k].At) || acts[k].Final && !a.Final || a == acts[k]:
		return acts, false
	}
	out[k] = a
	return out, true
}

// performs says whether something is done to a cluster.
func (a *Act) performs() bool {
	return a.Mode != "observe" && (a.State == "running" || a.State == "done")
}

// Act takes what tocsin does about a release, or would do: the release's incident shows it. One
// that comes after the end of the incident is noted in it, unless a person has ended it and tocsin
// does something all the same: then people hear of the release again.
func (m *Manager) Act(a Act) {
	m.mu.Lock()
	m.acted(a)
	m.mu.Unlock()
	m.deliver()
}

func (m *Manager) acted(a Act) {
	r := m.regressions[a.Release]
	if r == nil || r.group == nil && !a.performs() {
		m.actedLate(a)
		return
	}
	if r.group == nil {
		m.house(r, a.At)
	}
	g := r.group
	a.Service, a.Text = r.info.Service, a.line()
	a.Urgent = a.State == "waiting" || a.State == "failed" || a.State == notRecovered
	if g.incident.Release != nil && a.Service != g.incident.Release.Service {
		a.Text = a.Service.Cluster + "/" + a.Service.Name + ": " + a.Text
	}
	acts, news := with(g.incident.Acts, a)
	if !news {
		return
	}
	g.incident.Acts = acts
	m.metrics.acts.WithLabelValues(actShown).Inc()
	m.told(g, a.At)
}

// actedLate notes an act in an incident that is resolved. It is reported, so that it is written
// down; nobody is told of what is over.
func (m *Manager) actedLate(a Act) {
	for k := len(m.recent) - 1; k >= 0; k-- {
		i := &m.recent[k]
		if !i.about(a.Release) {
			continue
		}
		a.Service, a.Text = i.Release.Service, a.line()
		if acts, news := with(i.Acts, a); news {
			i.Acts = acts
			m.outbox = append(m.outbox, *i)
			m.metrics.acts.WithLabelValues(actLate).Inc()
		}
		return
	}
	m.metrics.acts.WithLabelValues(actUnknown).Inc()
	m.logger.Debug("Nothing is told of an action: its release has no incident",
		"release", a.Release, "action", a.ID, "state", a.State)
}

// about says whether an incident is about a release.
func (i *Incident) about(id string) bool {
	return i.Release != nil && (i.Release.ID == id ||
		slices.ContainsFunc(i.Releases, func(r ReleaseRef) bool { return r.ID == id }))
}
