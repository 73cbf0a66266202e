package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/rollback"
)

// lane is all that is done about one release.
type lane struct {
	engine  *Engine
	release string // Its ID.
	key     release.Key
	nudge   chan struct{} // Holds one: something has changed.

	order sync.Mutex // Held while an action is changed and that is kept; taken before Engine.mu.

	// Guarded by Engine.mu.
	record  *release.Record         // The newest; nil: none has come in this process.
	active  bool                    // Run works on it, or will.
	force   bool                    // All guards are to be asked anew, and the cluster too.
	blocked string                  // A person has called off what was to be done.
	cancel  context.CancelCauseFunc // Calls off what is under way; nil: nothing is.

	// Of the goroutine that runs it.
	surveys map[string]survey    // What the cluster said last, by action.
	due     map[string]time.Time // When what is open is looked at again, by action.
	forced  bool                 // In this step.
	since   time.Time            // When the cluster began not to answer.
	pace    time.Duration        // Of asking it again.
	warned  bool                 // People know that its images are bad elsewhere.
}

// poke has the lane look at what there is to do.
func (l *lane) poke() {
	select {
	case l.nudge <- struct{}{}:
	default:
	}
}

// Waits that step returns besides times.
const (
	atOnce time.Duration = 0
	never  time.Duration = -1 // Only when something happens.
	rest   time.Duration = -2 // Nothing is open.
)

// run works on the lane until nothing is open or ctx is done.
func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := l.step(ctx)
		if wait == rest && l.stop() {
			return
		}
		if wait != atOnce {
			l.wait(ctx, wait)
		}
	}
}

// stop ends the lane's goroutine unless something has happened.
func (l *lane) stop() bool {
	e := l.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(l.nudge) > 0 {
		return false
	}
	l.active = false
	return true
}

// wait returns after a time, or when something has happened. It says whether the time was up.
func (l *lane) wait(ctx context.Context, d time.Duration) bool {
	var up <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		up = timer.C
	}
	select {
	case <-ctx.Done():
	case <-l.nudge:
	case <-up:
		return true
	}
	return false
}

// step does what is due, and returns how long to wait.
func (l *lane) step(ctx context.Context) time.Duration {
	e := l.engine
	e.mu.Lock()
	r := l.record
	l.forced, l.force = l.force, false
	e.mu.Unlock()
	if r != nil {
		l.remember(ctx, r)
		l.ended(ctx, r)
	}
	next := rest
	for _, a := range l.actions() {
		var wait time.Duration
		switch {
		case a.State == Running:
			wait = l.settle(ctx, a)
		case a.State == Done:
			wait = l.verify(ctx, a)
		case a.State == Verified && a.acting():
			wait = l.soak(ctx, a)
		case a.paused() && r != nil && r.Verdict.Result == release.Healthy:
			wait = l.resume(ctx, a)
		default:
			wait = l.giveBack(ctx, a)
		}
		next = sooner(next, wait)
	}
	if next == atOnce {
		return atOnce
	}
	return sooner(next, l.decide(ctx, r))
}

// sooner returns the shorter of two waits.
func sooner(a, b time.Duration) time.Duration {
	switch {
	case a == rest || a == never && b != rest:
		return b
	case b == rest || b == never:
		return a
	}
	return min(a, b)
}

// actions returns what there is about the release, a pause before what takes it back.
func (l *lane) actions() []*Action {
	var out []*Action
	for _, k := range []Kind{KindPause, KindRollback} {
		if a := l.engine.get(newID(l.release, k)); a != nil {
			out = append(out, a)
		}
	}
	return out
}

// ended ends what is open of a release that is over. What has been tried is asked for first: it may
// be what ended the release.
func (l *lane) ended(ctx context.Context, r *release.Record) {
	rel := &r.Release
	if rel.State.Running() {
		return
	}
	end := ReleaseEnd{State: rel.State, At: rel.End, By: rel.EndedBy, Reason: rel.Reason}
	for _, a := range l.actions() {
		if a.End != nil && a.End.State == end.State && (a.over() || a.acting()) {
			continue
		}
		l.update(ctx, a.ID, "the release has ended", func(a *Action, now time.Time) {
			a.End = &end
			switch {
			case a.over() || a.acting():
			case a.Tried:
				a.State, a.Reason = Running, "the release has ended, perhaps by this action"
			default:
				a.finish(now, Superseded, "the release is over: "+describe(end))
			}
		})
	}
}

// describe says for people how a release ended.
func describe(end ReleaseEnd) string {
	text := string(end.State)
	if end.By != "" {
		text += " by " + end.By
	}
	if end.Reason != "" {
		text += " (" + end.Reason + ")"
	}
	return text
}

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

// update changes an action, has it kept, and tells of it. That it cannot be kept does not change
// what has happened.
func (l *lane) update(
	ctx context.Context, id, why string, change func(a *Action, now time.Time),
) *Action {
	a, err := l.commit(ctx, id, why, false, func(a *Action, now time.Time) error {
		change(a, now)
		return nil
	})
	if err != nil {
		l.engine.logger.Error("Action is not written down", "action", id, "why", why, "err", err)
	}
	return a
}

// commit changes an action and has it kept. If it must be kept and cannot, nothing has changed.
func (l *lane) commit(
	ctx context.Context, id, why string, must bool, change func(a *Action, now time.Time) error,
) (*Action, error) {
	e := l.engine
	l.order.Lock()
	defer l.order.Unlock()
	before := e.get(id)
	if before == nil {
		return nil, ErrUnknown
	}
	now := time.Now()
	a := before.clone()
	if err := change(&a, now); err != nil {
		return before, err
	}
	if a.State != before.State {
		a.Changed = now.UTC()
	}
	err := e.keep(ctx, Entry{At: now.UTC(), Why: why, Action: &a})
	if err != nil && must {
		return before, err
	}
	e.mu.Lock()
	e.actions[id] = &a
	if a.State != before.State {
		e.moved(before, &a, now)
	}
	e.gauge(now)
	e.mu.Unlock()
	if a.State != before.State {
		e.logger.Info("Action", "id", a.ID, "kind", a.Kind, "state", a.State, "mode", a.Mode,
			"service", a.Service, "reason", a.Reason)
	}
	e.opts.Report(a.clone())
	e.aftermath(ctx, before, &a, now)
	return &a, err
}

// keep hands an entry to the ledger. Who has begun to write does not stop for ctx.
func (e *Engine) keep(ctx context.Context, entry Entry) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.Timeout)
	defer cancel()
	if err := e.opts.Ledger.Append(ctx, entry); err != nil {
		e.metrics.unsaved.Inc()
		return fmt.Errorf("%w: %w", ErrNotRecorded, err)
	}
	return nil
}

// finish gives an action its last state.
func (a *Action) finish(now time.Time, s State, reason string) {
	a.State, a.Reason, a.Ended = s, reason, now.UTC()
	a.step(now, "%s: %s", s, reason)
}

// pausables are the workloads whose rollout can stand still.
var pausables = []fleet.Workload{fleet.Deployment, rollback.Rollout}
