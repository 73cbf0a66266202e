package app

import (
	"time"

	"github.com/prometheus/alertmanager/timeinterval"

	"tocsin/config"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
)

// actionPolicy says what may be done about releases that have regressed.
func actionPolicy(c *config.Config) (action.Policy, error) {
	r := &c.Remediation
	p := action.Policy{
		Default: actionRule(&config.RemediationRule{
			Mode: r.Mode, MaxMode: r.MaxMode, Actions: r.Actions, Owners: r.Owners,
		}),
		Intervals:   make(map[string][]timeinterval.TimeInterval),
		Freeze:      actionWindows(r.Freeze),
		Maintenance: actionWindows(r.Maintenance),

		Approval:  time.Duration(r.ApprovalExpiry),
		Confirm:   time.Duration(r.Confirm),
		Freshness: time.Duration(r.EvidenceAge),
		Soak:      time.Duration(r.Soak),
		CoolDown:  time.Duration(r.CoolDown),
		Relapse:   time.Duration(r.Relapse),
		Limits:    action.Limits(r.Limits),
		Storm: action.Storm{
			Releases: r.Storm.Releases, Share: r.Storm.Share,
			Window: time.Duration(r.Storm.Window), Freeze: time.Duration(r.Storm.Freeze),
		},
		Breaker: r.Breaker,

		HoldBadImages: r.HoldBadImages,
		Dependencies:  r.Dependencies,
		KillSwitch:    action.Switch(r.KillSwitch),
	}
	for i := range r.Rules {
		p.Rules = append(p.Rules, actionRule(&r.Rules[i]))
	}
	for _, t := range c.TimeIntervals {
		p.Intervals[t.Name] = t.TimeIntervals
	}
	return p, p.Check()
}

func actionRule(r *config.RemediationRule) action.Rule {
	out := action.Rule{
		Scope: actionScope(&r.Match),
		Mode:  action.Mode(r.Mode), MaxMode: action.Mode(r.MaxMode),
		Owners: rollback.Ways{
			Helm: way(r.Owners.Helm), Flux: way(r.Owners.Flux), ArgoCD: way(r.Owners.ArgoCD),
		},
		Hold: time.Duration(r.Owners.Hold),
	}
	for _, kind := range r.Actions {
		out.Actions = append(out.Actions, action.Kind(kind))
	}
	return out
}

// way is what config calls a way of the executor: to ask is to have none.
func way(name string) rollback.Way {
	switch name {
	case string(rollback.Drift), string(rollback.Suspend):
		return rollback.Way(name)
	}
	return rollback.Ask
}

func actionScope(w *config.Where) action.Scope {
	return action.Scope{
		Clusters: w.Clusters, Namespaces: w.Namespaces, Teams: w.Teams, Services: w.Services,
		Workloads: w.Kinds,
	}
}

func actionWindows(windows []config.Window) []action.Window {
	var out []action.Window
	for i := range windows {
		w := &windows[i]
		out = append(out, action.Window{Scope: actionScope(&w.Match), Intervals: w.Intervals, Why: w.Why})
	}
	return out
}
