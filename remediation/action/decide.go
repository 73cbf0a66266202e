package action

import (
	"context"
	"errors"
	"slices"
	"time"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/rollback"
)

// decide finds out what is to be done about the release and asks the guards.
func (l *lane) decide(ctx context.Context, r *release.Record) time.Duration {
	e := l.engine
	pause, undo := e.get(newID(l.release, KindPause)), e.get(newID(l.release, KindRollback))
	if undo != nil && undo.acting() {
		return never // It is being taken back already.
	}
	open := undo
	if !open.open() {
		open = pause
	}
	if r == nil {
		if !open.open() {
			return rest
		}
		var over bool
		if r, over = l.look(ctx, open); over {
			return atOnce
		} else if r == nil {
			return e.opts.Recheck
		}
	}
	if !r.Release.State.Running() {
		return rest
	}
	switch kind := e.choose(r); {
	case kind.undoes() && kind != "":
		return l.takeBack(ctx, r, pause)
	case undo.open():
		return l.consider(ctx, undo) // Its evidence has gone: the guards say so.
	case kind == KindPause && undo == nil:
		pause = l.propose(ctx, r, KindPause)
	}
	if !pause.open() {
		return rest
	}
	return l.consider(ctx, pause)
}

// open says whether there is an action about which something may still be decided.
func (a *Action) open() bool { return a != nil && !a.over() && !a.acting() }

// takeBack asks the guards about taking the release back. Where they will not have it, a pause is
// better than nothing.
func (l *lane) takeBack(ctx context.Context, r *release.Record, pause *Action) time.Duration {
	e := l.engine
	undo := l.propose(ctx, r, KindRollback)
	wait := rest
	if undo.open() {
		if wait = l.consider(ctx, undo); wait == atOnce {
			return atOnce
		}
		undo = e.get(undo.ID)
	}
	hopeless := undo.hopeless()
	switch {
	case hopeless && pausable(&r.Release) && e.mayPause(r):
		pause = l.propose(ctx, r, KindPause)
	case !hopeless && pause.open():
		l.update(ctx, pause.ID, "outgrown", func(a *Action, now time.Time) {
			a.finish(now, Superseded, "the evidence is enough to take the release back")
		})
		return wait
	}
	if pause.open() {
		return sooner(wait, l.consider(ctx, pause))
	}
	return wait
}

// hopeless says whether an undo is wanted and cannot be: for lack of what it needs, and not because
// nobody wants it or it is none of tocsin's business.
func (a *Action) hopeless() bool {
	if a.State == Failed {
		return a.Written.IsZero()
	}
	return a.State == Refused && a.Final && !slices.ContainsFunc(a.Guards, func(g Guard) bool {
		return g.Final && g.Name != "help" && g.Name != "identity"
	})
}

// mayPause says whether policy allows a pause.
func (e *Engine) mayPause(r *release.Record) bool {
	e.mu.Lock()
	p := e.policy
	e.mu.Unlock()
	rel := &r.Release
	return p.rule(subject{rel.Service, rel.Workload, e.opts.Team(rel.Service)}).may(KindPause)
}

// look asks for a release of which nobody has told since the start.
func (l *lane) look(ctx context.Context, open *Action) (r *release.Record, over bool) {
	ctx, cancel := context.WithTimeout(ctx, l.engine.opts.Timeout)
	defer cancel()
	record, err := l.engine.opts.Review(ctx, l.release)
	if errors.Is(err, release.ErrNotRunning) {
		l.update(ctx, open.ID, "the release is not followed any more", func(a *Action, now time.Time) {
			if a.Tried {
				a.State = Running
				return
			}
			a.finish(now, Superseded, "the release is not followed any more")
		})
		return nil, true
	}
	if err != nil {
		return nil, false
	}
	return &record, false
}

// propose begins an action, unless it is known already.
func (l *lane) propose(ctx context.Context, r *release.Record, k Kind) *Action {
	e := l.engine
	id := newID(r.Release.ID, k)
	if a := e.get(id); a != nil {
		return a
	}
	rel := &r.Release
	v, pooled := counting(r)
	now := time.Now()
	a := &Action{
		ID: id, Release: rel.ID, Service: rel.Service, Workload: rel.Workload, Kind: k,
		Mode: Observe, State: Proposed, Reason: v.Reason,
		Bad: rel.New, Start: rel.Start, Verdict: v, Pooled: pooled, Attempt: 1,
		Proposed: now.UTC(), Changed: now.UTC(),
	}
	e.mu.Lock()
	a.Memory = e.known(r)
	e.actions[id] = a
	e.mu.Unlock()
	l.update(ctx, id, "proposed", func(a *Action, now time.Time) {
		a.step(now, "proposed to %s: %s", k, v.Reason)
	})
	return e.get(id)
}

// counting returns the verdict that counts: that of all clusters together if it is the one that
// says regressed.
func counting(r *release.Record) (v release.Verdict, pooled bool) {
	v = r.Verdict
	pooled = r.Basis == release.ByClusters
	if p := r.Pooled; p != nil && v.Result != release.Regressed && p.Result == release.Regressed {
		return *p, true
	}
	return v, pooled
}

// choose returns what the evidence asks for; nothing if it asks for nothing.
func (e *Engine) choose(r *release.Record) Kind {
	e.mu.Lock()
	p := e.policy
	held := p.HoldBadImages && e.known(r) != nil
	e.mu.Unlock()
	rel := &r.Release
	v, _ := counting(r)
	rule := p.rule(subject{rel.Service, rel.Workload, e.opts.Team(rel.Service)})
	bad := v.Result == release.Regressed && v.Tier >= release.RollBack
	weak := v.Tier >= release.Pause && v.Result != release.Healthy
	canPause := pausable(rel)
	switch {
	case bad && (rule.may(KindRollback) || rule.may(KindWebhook) || !rule.may(KindPause) || !canPause):
		return KindRollback
	case (bad || weak || held) && canPause:
		return KindPause
	}
	return ""
}

// pausable says whether a pause would keep old pods that serve.
func pausable(rel *release.Release) bool {
	seen := rel.Seen
	return slices.Contains(pausables, rel.Workload) && rel.State != release.Soaking && !rel.Paused &&
		seen != nil && !seen.Paused && seen.Old.Available > 0
}

// pausables are the workloads whose rollout can stand still.
var pausables = []fleet.Workload{fleet.Deployment, rollback.Rollout}
