package incident

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// Alarm is something about tocsin's own actions that people must look at.
type Alarm struct {
	Kind    string // storm, breaker, reverted, no_help, bad_images, hold.
	At      time.Time
	Text    string        // One sentence for people.
	Release string        // ID of the release that it is about, if it is.
	Action  string        // ID of the action, if it is about one.
	Service fleet.Service // Zero: it is about all of them.
	Page    bool          // It is critical; else a warning.
}

// alarmActs are the kind of the acts that stand for alarms.
const alarmActs = "alarm"

// noHelp is the kind of alarm that says of an action what its last state says too.
const noHelp = "no_help"

// alarmLife is how long an alarm of which nothing more is heard stays open.
const alarmLife = 24 * time.Hour

// Alarm takes an alarm. It is shown in the incident of its release, else in the open one of its
// service; where there is none it is an incident of its own, one for each kind and service, which
// ends when a person says so, or after a day without news.
func (m *Manager) Alarm(a Alarm) {
	m.mu.Lock()
	m.alarm(a)
	m.mu.Unlock()
	m.deliver()
}

func (m *Manager) alarm(a Alarm) {
	if g := m.concerned(&a); g != nil {
		m.alarmed(g, &a)
		return
	}
	key := a.Kind + "/" + a.Service.String()
	g := m.alarms[key]
	if g == nil {
		g = m.newAlarm(&a)
		m.alarms[key] = g
	} else if !a.At.After(g.incident.Updated) {
		return
	}
	i := &g.incident
	i.Title, i.Updated = alarmTitle(&a), a.At
	if s := a.severity(); s.level() > i.Severity.level() {
		i.Severity = s
	}
	m.report(g)
}

// concerned returns the open incident that an alarm belongs to; nil if there is none.
func (m *Manager) concerned(a *Alarm) *group {
	if r := m.regressions[a.Release]; r != nil && r.group != nil {
		return r.group
	}
	if c := m.clusters[a.Service.Cluster]; c != nil {
		if g := c.services[a.Service]; g != nil && g.opened() && !g.storm {
			return g
		}
	}
	return nil
}

// alarmed shows an alarm in an incident. What an action has come to is shown there already.
func (m *Manager) alarmed(g *group, a *Alarm) {
	same := func(act Act) bool { return act.ID == a.Action }
	if k := slices.IndexFunc(g.incident.Acts, same); a.Kind == noHelp && k >= 0 {
		return
	}
	acts, news := with(g.incident.Acts, Act{
		Release: a.Release, ID: alarmActs + "/" + a.Kind, At: a.At, Kind: alarmActs, State: a.Kind,
		Text: oneLine(a.Text), Final: true, Urgent: a.Page, Service: a.Service,
	})
	if news {
		g.incident.Acts = acts
		m.told(g, a.At)
	}
}

func (m *Manager) newAlarm(a *Alarm) *group {
	fingerprint := hash(alarmActs, a.Kind, a.Service.String())
	g := &group{start: a.At, since: a.At, members: make(map[signalKey]*member)}
	g.incident = Incident{
		ID:          m.newID(fingerprint, a.At),
		Fingerprint: fingerprint,
		Alarm:       a.Kind,
		Service:     a.Service,
		State:       Open,
		Start:       a.At,
		Opened:      a.At,
		Services:    []fleet.Service{},
		Findings:    []detector.Finding{},
		Effects:     []Effect{},
		Causes:      []Cause{},
	}
	if a.Service != (fleet.Service{}) {
		g.incident.Services = []fleet.Service{a.Service}
	}
	m.metrics.opened.WithLabelValues(string(a.severity())).Inc()
	m.metrics.open.Inc()
	m.logger.Info("Incident opened", "id", g.incident.ID, "severity", a.severity(), "title", a.Text)
	return g
}

func (a *Alarm) severity() Severity {
	if a.Page {
		return Critical
	}
	return Warning
}

func alarmTitle(a *Alarm) string {
	if a.Service == (fleet.Service{}) {
		return oneLine(a.Text)
	}
	return oneLine(a.Service.Name + " in " + a.Service.Cluster + ": " + a.Text)
}

// reviewAlarms ends those of which nothing was heard for long.
func (m *Manager) reviewAlarms(now time.Time) {
	for _, g := range m.sortedAlarms() {
		if now.Sub(g.incident.Updated) >= alarmLife {
			m.calm(g, now, "nothing more was heard of it for "+PlainDuration(alarmLife))
			m.report(g)
		}
	}
}

// calm resolves the incident of an alarm.
func (m *Manager) calm(g *group, at time.Time, reason string) {
	for key, other := range m.alarms {
		if other == g {
			delete(m.alarms, key)
		}
	}
	m.close(g, at, at, reason)
}

// sortedAlarms returns the incidents of alarms, the oldest first.
func (m *Manager) sortedAlarms() []*group {
	var out []*group
	for _, g := range m.alarms {
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b *group) int {
		return cmp.Or(a.incident.Opened.Compare(b.incident.Opened),
			strings.Compare(a.incident.ID, b.incident.ID))
	})
	return out
}
