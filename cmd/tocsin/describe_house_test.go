package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"tocsin/api"
	"tocsin/fleet"
	"tocsin/release"
	"tocsin/release/evidence"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
)

// released adds the releases, and what is done about them.
func (h *house) released(t *testing.T) {
	t.Helper()
	bad := badRelease()
	h.records = []release.Record{bad, {
		Release: release.Release{
			Key: release.Key{Service: mail, Workload: fleet.StatefulSet}, ID: "8c77aa",
			Old:   fleet.Revision{Hash: "0a", Images: []string{"registry.example/mail:1"}},
			New:   fleet.Revision{Hash: "0b", Images: []string{"registry.example/mail:2"}},
			State: release.Soaking, Start: noon, Complete: noon.Add(2 * time.Minute),
		},
		Verdict: release.Verdict{
			At: noon.Add(3 * time.Minute), Elapsed: 3 * time.Minute, EValue: 0.4,
			Metric: "errors", Lower: math.Inf(-1), Upper: math.Inf(1),
			Reason:  "errors may be worse by up to +3.1%",
			Missing: release.Missing{Requests: 3400, Time: 7 * time.Minute},
		},
		Basis: release.ByService, Looks: 4,
	}}
	over := bad
	over.Release.ID, over.Release.State, over.Release.EndedBy = "77ffee", release.RolledBack, "bob"
	over.Verdict = release.Verdict{Reason: "the new pods are gone"}
	h.record(t, api.KindRelease, over.Release.ID, over)
	begun := release.Event{
		Record: bad, At: bad.Release.Start,
		Transition: &release.Transition{At: bad.Release.Start, To: release.Rolling, Step: 1},
	}
	crash := release.Event{Record: bad, At: noon, Transition: &release.Transition{
		At: bad.Release.Facts[0].First, From: release.Rolling, To: release.Rolling,
		Fact: release.CrashLoop, Step: 2,
	}}
	for _, e := range []release.Event{begun, crash, {Record: bad, At: bad.Verdict.At}} {
		h.record(t, api.KindRelease, bad.Release.ID, e)
	}
	quiet := h.records[1]
	judged := release.Event{Record: quiet, At: quiet.Verdict.At}
	h.record(t, api.KindRelease, quiet.Release.ID, judged)
	h.ledger = []release.Known{
		{Hash: "77c1", Standing: release.Accepted, Last: noon.Add(-24 * time.Hour), By: "ann"},
		{Hash: "d09e", Standing: release.Bad, Last: noon, Release: "8c1d2f"},
	}
	h.engine.all = []action.Action{rollbackOf(&bad)}
	h.engine.all[0].Steps = []action.Step{
		{At: noon.Add(50 * time.Second), What: "waits for an approval"},
	}
}

func badRelease() release.Record {
	start := noon.Add(-40 * time.Second)
	v := release.Verdict{
		Result: release.Regressed, Tier: release.RollBack, At: start.Add(85 * time.Second),
		Elapsed: 82 * time.Second, EValue: 4120, Metric: "errors",
		Effect: 0.048, Lower: 0.031, Upper: 0.069, Reason: "errors worse by +4.80% of requests",
		Metrics: []evidence.Finding{
			{
				Name: "errors", LogE: 9.7, Effect: 0.048, Lower: 0.031, Upper: 0.069, New: 1320, Old: 5210,
				NewEvents: 67, OldEvents: 15, Usual: 0.21, Material: true,
			},
			{Name: "cpu", Lower: math.Inf(-1), Upper: math.Inf(1)},
		},
	}
	return release.Record{
		Release: release.Release{
			Key: release.Key{Service: cart, Workload: fleet.Deployment}, ID: "8c1d2f", Author: "argocd",
			Old:   fleet.Revision{Hash: "77c1", Images: []string{"registry.example/cart:v41"}},
			New:   fleet.Revision{Hash: "d09e", Images: []string{"registry.example/cart:v42"}},
			State: release.Rolling, Start: start, FirstPod: start.Add(3 * time.Second),
			Result: release.Regressed,
			Facts: []release.Fact{{
				Kind: release.CrashLoop, First: start.Add(30 * time.Second), Last: start.Add(time.Minute),
				Pods: []string{"cart-7d9f8-abcde", "cart-7d9f8-xyz"}, Message: "back-off\x1b[31m restarting",
			}},
			Seen: &release.Progress{Desired: 12, New: release.Side{Created: 4, Available: 3}},
		},
		Verdict: v, Decided: &v, Basis: release.ByPods, DecidedBy: release.ByPods, Bound: 1000,
		OldPods: 8, NewPods: 4, DataAt: v.At, Looks: 6,
		Smallest: &release.Smallest{Within: 30 * time.Minute, Effects: []release.SmallestEffect{
			{Metric: "errors", Visible: true, Effect: 0.004}, {Metric: "cpu"},
		}},
	}
}

func rollbackOf(r *release.Record) action.Action {
	x := &r.Release
	return action.Action{
		ID: "undo-5b0d", Release: x.ID, Service: x.Service, Workload: x.Workload, Start: x.Start,
		Kind: action.KindRollback, Mode: action.Ask, State: action.Waiting,
		Reason: "a person is to approve it", Bad: x.New, Good: x.Old, Verdict: r.Verdict, Attempt: 1,
		Proposed: r.Verdict.At, Decided: r.Verdict.At.Add(time.Second), Changed: r.Verdict.At,
		Deadline: time.Now().Add(30 * time.Minute),
		Guards: []action.Guard{
			{Name: "mode", Passed: true, Reason: "the mode is ask"},
			{
				Name: "config", Code: "config_changed", Reason: "ConfigMap cart has changed since",
				Next: "compare it and act by hand", Final: true,
			},
			{Name: "approval", Reason: "a person is to approve it", Next: "tocsin approve undo-5b0d"},
		},
		Effect: &rollback.Effect{
			State: rollback.Planned, Writes: []string{"patch Deployment cart"},
		},
	}
}

func (h *house) Records() []release.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.records)
}

func (h *house) Ledger(release.Key) []release.Known {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ledger)
}

func (h *house) Mark(
	_ context.Context, _ release.Key, hash string, s release.Standing, by string, at time.Time,
) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.ledger {
		if k := &h.ledger[i]; k.Hash == hash {
			k.Standing, k.By, k.At = s, by, at
			return nil
		}
	}
	return release.ErrUnknownRevision
}

// engine is an action.Engine in which nothing happens but what people ask for.
type engine struct {
	mu     sync.Mutex // Guards what follows.
	all    []action.Action
	paused []action.Pause
}

func (e *engine) Actions() []action.Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.all)
}

func (e *engine) Pauses() []action.Pause {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.paused)
}

// change has a person bring an action from one state into another.
func (e *engine) change(
	id string, from, to action.State, otherwise error, step string,
) (action.Action, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.all, func(a action.Action) bool { return a.ID == id })
	if i < 0 {
		return action.Action{}, action.ErrUnknown
	}
	a := &e.all[i]
	if a.State != from {
		return *a, fmt.Errorf("%w: it is %s", otherwise, a.State)
	}
	a.State, a.Reason = to, step
	a.Steps = append(a.Steps, action.Step{At: time.Now(), What: step})
	return *a, nil
}

func (e *engine) Approve(_ context.Context, id, by, note string) (action.Action, error) {
	return e.change(id, action.Waiting, action.Running, action.ErrNotWaiting,
		fmt.Sprintf("approved by %s: %s", by, note))
}

func (e *engine) Abort(_ context.Context, id, by, why string) (action.Action, error) {
	return e.change(id, action.Running, action.Aborted, action.ErrOver,
		fmt.Sprintf("called off by %s: %s", by, why))
}

func (e *engine) Retry(_ context.Context, id, by, note string) (action.Action, error) {
	return e.change(id, action.Aborted, action.Proposed, action.ErrTooLate,
		fmt.Sprintf("retried by %s: %s", by, note))
}

func (e *engine) Suspend(_ context.Context, p action.Pause) (action.Pause, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p.ID, p.At = fmt.Sprintf("pause-%d", len(e.paused)), time.Now()
	e.paused = append(e.paused, p)
	return p, nil
}

func (e *engine) Continue(_ context.Context, id, by string) (action.Pause, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.paused {
		if p := &e.paused[i]; p.ID == id && p.Active(time.Now()) {
			p.Lifted, p.LiftedBy = time.Now(), by
			return *p, nil
		}
	}
	return action.Pause{}, action.ErrUnknown
}

func (e *engine) Weekly(from, to time.Time) action.Report {
	return action.Report{From: from, To: to, Total: action.Total{Would: 1}, Lines: []action.Line{{
		Action: "undo-5b0d", Service: cart.String(), Kind: action.KindRollback, Mode: action.Observe,
		State: action.Would, At: noon, Reason: "errors\x1b[31m worse",
	}}}
}
