package action

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"tocsin/remediation/rollback"
)

// Codes of guards, besides those of refusals of the cluster.
const (
	codeObserve       = "observe" // A remark: it passes.
	codeOptedOut      = string(rollback.OptedOut)
	codeNotAllowed    = "not_allowed"
	codePaused        = "paused"
	codeKillSwitch    = "kill_switch"
	codeSwitchUnread  = "kill_switch_unread"
	codeFreeze        = "freeze"
	codeMaintenance   = "maintenance"
	codeUnread        = "unread"
	codeDoubt         = "doubt"
	codeStale         = "stale"
	codeClock         = "clock"
	codeInconclusive  = "inconclusive"
	codeWeak          = "weak"
	codeUnconfirmed   = "unconfirmed"
	codeUnrecorded    = "unrecorded"
	codeBefore        = "before"
	codeFleetWide     = "fleet_wide"
	codeDependency    = "dependency"
	codeNodes         = "nodes"
	codeNoGood        = "no_good_revision"
	codeGoodIsBad     = "good_revision_bad"
	codeNoExecutor    = "no_executor"
	codeUnreachable   = "unreachable"
	codeAborted       = "aborted"
	codeOver          = "over"
	codeUndoOfUndo    = "undo_of_undo"
	codeReverted      = "reverted"
	codeCoolDown      = "cool_down"
	codeStorm         = "storm"
	codeBreaker       = "breaker"
	codeChain         = "chain"
	codeClusterLimit  = "cluster_limit"
	codeTeamLimit     = "team_limit"
	codeFleetLimit    = "fleet_limit"
	codeNeedsApproval = string(rollback.NeedsApproval)
	codeApprovalOver  = "approval_over"
	codeUnrehearsed   = "unrehearsed"
)

// guardCodes are what each guard may say against an action.
func guardCodes() map[string][]string {
	var help, identity []string
	for _, c := range rollback.Codes() {
		switch {
		case c == rollback.OptedOut || c == rollback.NeedsApproval:
		case identityCode(c):
			identity = append(identity, string(c))
		default:
			help = append(help, string(c))
		}
	}
	return map[string][]string{
		"mode":   {codeOptedOut, codeNotAllowed},
		"switch": {codePaused, codeKillSwitch, codeSwitchUnread, codeFreeze, codeMaintenance},
		"verdict": {
			codeUnread, codeDoubt, codeStale, codeClock, codeInconclusive, codeWeak, codeUnconfirmed,
			codeUnrecorded,
		},
		"cause":    {codeUnread, codeBefore, codeFleetWide, codeDependency, codeNodes},
		"help":     append(help, codeNoGood, codeGoodIsBad, codeNoExecutor, codeUnreachable),
		"once":     {codeAborted, codeOver, codeUndoOfUndo, codeReverted, codeCoolDown},
		"blast":    {codeStorm, codeBreaker, codeChain, codeClusterLimit, codeTeamLimit, codeFleetLimit},
		"approval": {codeNeedsApproval, codeApprovalOver},
		"identity": append(identity, codeUnrehearsed),
	}
}

type metrics struct {
	actions  *prometheus.CounterVec
	refusals *prometheus.CounterVec
	running  prometheus.Gauge
	waiting  prometheus.Gauge
	pauses   *prometheus.GaugeVec
	holds    prometheus.Gauge
	unsaved  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		actions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_action_actions_total",
			Help: "Actions that came to a state, by kind and mode.",
		}, []string{"kind", "mode", "state"}),
		refusals: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_action_refusals_total",
			Help: "Actions that a guard began to speak against.",
		}, []string{"guard", "code"}),
		running: gauge("tocsin_action_running", "Actions between their claim and their end."),
		waiting: gauge("tocsin_action_waiting", "Actions that wait for a person to approve."),
		pauses: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tocsin_action_pauses",
			Help: "Pauses in force, by who stops actions: people, a storm, the circuit breaker.",
		}, []string{"cause"}),
		holds: gauge("tocsin_action_holds", "Owners of workloads that are suspended."),
		unsaved: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_action_ledger_failures_total",
			Help: "Entries that the ledger did not take.",
		}),
	}
	for _, k := range Kinds() {
		for _, mode := range Modes() {
			for _, s := range States() {
				m.actions.WithLabelValues(string(k), string(mode), string(s))
			}
		}
	}
	for name, codes := range guardCodes() {
		for _, c := range codes {
			m.refusals.WithLabelValues(name, c)
		}
	}
	for _, c := range []Cause{ByPeople, ByStorm, ByBreaker} {
		m.pauses.WithLabelValues(string(c))
	}
	return m
}

// count notes the new state of an action, and which guards have begun to speak against it.
func (m *metrics) count(before, a *Action) {
	if a.State != before.State {
		m.actions.WithLabelValues(string(a.Kind), string(a.Mode), string(a.State)).Inc()
	}
	if a.State != Refused {
		return
	}
	for _, g := range a.Guards {
		known := slices.ContainsFunc(before.Guards, func(b Guard) bool {
			return before.State == Refused && b.Name == g.Name && b.Code == g.Code && !b.Passed
		})
		if !g.Passed && !known {
			m.refusals.WithLabelValues(g.Name, g.Code).Inc()
		}
	}
}

// gauge counts what there is. The caller holds mu.
func (e *Engine) gauge(now time.Time) {
	var running, waiting, holds int
	for _, a := range e.actions {
		if a.acting() {
			running++
		}
		if a.State == Waiting {
			waiting++
		}
		if a.Hold != nil {
			holds++
		}
	}
	e.metrics.running.Set(float64(running))
	e.metrics.waiting.Set(float64(waiting))
	e.metrics.holds.Set(float64(holds))
	count := map[Cause]int{ByPeople: 0, ByStorm: 0, ByBreaker: 0}
	for _, p := range e.pauses {
		if p.active(now) {
			count[p.Cause]++
		}
	}
	for c, n := range count {
		e.metrics.pauses.WithLabelValues(string(c)).Set(float64(n))
	}
}
