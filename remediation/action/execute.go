package action

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/remediation/rollback"
)

// errCalledOff means that people have stopped an action that is under way.
var errCalledOff = errors.New("it was called off")

// execute claims an action and has it done. Before it is done that is written down; whoever comes
// after a crash asks the cluster how far it came.
func (l *lane) execute(ctx context.Context, q *inquiry) time.Duration {
	e := l.engine
	id := q.action.ID
	doing, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	doing, expire := context.WithTimeout(doing, q.policy.Freshness) // Older evidence does not count.
	defer expire()
	a, err := l.claim(ctx, q, cancel)
	defer l.disarm(id)
	if err != nil {
		return l.unclaimed(ctx, q, err)
	}
	var effect *rollback.Effect
	if a.Kind == KindWebhook {
		err = e.callWebhook(doing, a)
	} else {
		effect, err = l.perform(doing, q.survey.executor, a.Kind, a.Request)
	}
	var refusal *rollback.Refusal
	switch {
	case err == nil:
		return l.done(ctx, a, effect)
	case errors.As(err, &refusal):
		return l.refused(ctx, a, refusal)
	}
	l.update(ctx, id, "no answer", func(a *Action, now time.Time) {
		a.Reason = "the cluster gave no answer that counts: " + err.Error()
		a.step(now, "%s", a.Reason)
	})
	return atOnce // Whether it was done is asked next.
}

// errBeaten means that something has come between the guards and the claim.
var errBeaten = errors.New("something has come in between")

// claim makes an action Running, unless what bounds actions has changed meanwhile. From here on
// people can call it off by cancel.
func (l *lane) claim(
	ctx context.Context, q *inquiry, cancel context.CancelCauseFunc,
) (*Action, error) {
	e := l.engine
	return l.commit(ctx, q.action.ID, "claimed", true, func(a *Action, now time.Time) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		q.now = now
		if l.blocked != "" || a.State == Aborted ||
			e.paused(a.subject(), now, ByPeople, ByStorm, ByBreaker) != nil {
			return errBeaten
		}
		if !e.bounded(q).Passed {
			return errBeaten
		}
		q.fill(a)
		a.Request.Approved = a.Approver != "" // The cluster asks the annotation once more.
		if a.Decided.IsZero() {
			a.Decided = now.UTC()
		}
		a.State, a.Final, a.Claimed = Running, false, now.UTC()
		a.Reason = "it is being done"
		a.step(now, "claimed: %s of %s from %s to %s", a.Kind, a.Request.Target, short(a.Bad.Hash),
			short(a.Good.Hash))
		if a.Kind.undoes() {
			e.claims[a.ID] = claimOf(a)
		}
		l.cancel = cancel
		return nil
	})
}

// disarm ends the time in which an action can be called off.
func (l *lane) disarm(id string) {
	e := l.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	l.cancel = nil
	if a := e.actions[id]; a == nil || !a.acting() && !a.Tried && a.Written.IsZero() {
		delete(e.claims, id)
	}
}

// unclaimed says why an action was not begun after all.
func (l *lane) unclaimed(ctx context.Context, q *inquiry, err error) time.Duration {
	if errors.Is(err, errBeaten) {
		return atOnce // The guards will say what it was.
	}
	l.update(ctx, q.action.ID, "not recorded", func(a *Action, now time.Time) {
		if a.State == Aborted {
			return
		}
		q.fill(a)
		for i := range a.Guards {
			if a.Guards[i].Name == "verdict" {
				a.Guards[i] = wait(codeUnrecorded, "see that the journal can be written", "%v", err)
				a.Guards[i].Name = "verdict"
			}
		}
		a.State, a.Reason, a.Final = Refused, err.Error(), false
	})
	return l.engine.opts.Recheck
}

// done notes that the cluster has accepted an action.
func (l *lane) done(ctx context.Context, a *Action, effect *rollback.Effect) time.Duration {
	l.update(ctx, a.ID, "done", func(a *Action, now time.Time) {
		a.State, a.Reason, a.Tried = Done, "the cluster has accepted it", true
		if a.Written.IsZero() {
			a.Written = now.UTC()
		}
		if effect != nil {
			a.Effect, a.Hold = effect, effect.Hold
			for _, w := range effect.Warnings {
				a.step(now, "warning: %s", w)
			}
		}
		a.step(now, "done: %s", a.Reason)
		if a.Kind == KindPause {
			a.State, a.Reason, a.Ended = Verified, "the rollout stands still, the old pods serve", now.UTC()
			a.step(now, "verified: %s", a.Reason)
		}
	})
	l.since, l.pace = time.Time{}, 0
	return atOnce
}

// refused notes that the cluster will not have an action.
func (l *lane) refused(ctx context.Context, a *Action, r *rollback.Refusal) time.Duration {
	l.due[a.ID] = time.Now().Add(l.engine.opts.Backoff)
	l.update(ctx, a.ID, "refused by the cluster", func(a *Action, now time.Time) {
		if r.Code == rollback.NeedsApproval { // The annotation has changed: the guards know what to do.
			delete(l.surveys, a.ID)
			a.State, a.Reason, a.Tried = Proposed, r.What, false
			a.step(now, "%s", r.What)
			return
		}
		g := refusedBy(r)
		g.Name = "help"
		if identityCode(r.Code) {
			g.Name = "identity"
		}
		for i := range a.Guards {
			if a.Guards[i].Name == g.Name {
				a.Guards[i] = g
			}
		}
		switch r.Code {
		case rollback.Superseded, rollback.Undone, rollback.Replaced, rollback.Terminating,
			rollback.NotFound, rollback.Repeated:
			a.finish(now, Superseded, r.What)
			return
		}
		a.State, a.Reason, a.Final, a.Tried = Refused, r.What, true, false
		a.step(now, "refused by the cluster: %s; %s", r.What, r.Next)
	})
	return atOnce
}

// found notes that the workload says the action was done: by another tocsin, or by this one before
// it could write that down.
func (l *lane) found(ctx context.Context, a *Action) time.Duration {
	l.update(ctx, a.ID, "found", func(a *Action, now time.Time) {
		if a.over() {
			return
		}
		a.State, a.Reason, a.Tried = Running, "the workload says that it was done", true
		if a.Claimed.IsZero() {
			a.Claimed = now.UTC()
		}
		a.step(now, "%s", a.Reason)
	})
	return atOnce
}

// settle finds out whether an action that was begun was done: after a crash, a lost reply, or when
// it was called off. It writes nothing; what was not done goes through all guards again.
func (l *lane) settle(ctx context.Context, a *Action) time.Duration {
	e := l.engine
	if a.Kind == KindWebhook { // Its ID makes it happen once, and the guards are to be asked before.
		return l.undoneYet(ctx, a, "whether the webhook was called is not known")
	}
	x, err := e.opts.Executor(a.Service.Cluster)
	var effect *rollback.Effect
	if err == nil {
		within, cancel := context.WithTimeout(ctx, e.opts.Timeout)
		r := a.Request
		r.DryRun = true
		effect, err = l.perform(within, x, a.Kind, r)
		cancel()
	}
	var refusal *rollback.Refusal
	switch {
	case ctx.Err() != nil:
		return never
	case err == nil && effect.State == rollback.Planned:
		l.restoreHolds(ctx, x, a)
		return l.undoneYet(ctx, a, "it was not written")
	case err == nil:
		effect.Hold = l.holdOf(ctx, x, a)
		return l.done(ctx, a, effect)
	case errors.As(err, &refusal):
		l.restoreHolds(ctx, x, a)
		return l.refused(ctx, a, refusal)
	}
	return l.unanswered(ctx, a, err)
}

// undoneYet sends an action that was not done back to the guards, unless it was called off or the
// cluster has not answered for too long.
func (l *lane) undoneYet(ctx context.Context, a *Action, why string) time.Duration {
	e := l.engine
	e.mu.Lock()
	blocked := l.blocked
	delete(e.claims, a.ID)
	e.mu.Unlock()
	now := time.Now()
	if l.since.IsZero() {
		l.since = now
	}
	tooLong := now.Sub(l.since) > e.opts.Patience
	if tooLong || blocked != "" {
		l.since, l.pace = time.Time{}, 0 // Whoever retries it begins anew.
	}
	l.update(ctx, a.ID, "not done", func(a *Action, now time.Time) {
		a.Tried = false
		switch {
		case blocked != "":
			a.finish(now, Aborted, blocked)
		case tooLong:
			a.finish(now, Failed, fmt.Sprintf("it could not be done in %s: %s", e.opts.Patience, a.Reason))
		default:
			a.State, a.Reason = Proposed, why
			a.step(now, "%s; the guards are asked again", why)
		}
	})
	l.due[a.ID] = now.Add(l.backoff())
	return atOnce
}

// unanswered waits for a cluster of which nobody knows what was done there.
func (l *lane) unanswered(ctx context.Context, a *Action, err error) time.Duration {
	if l.pace == 0 {
		l.update(ctx, a.ID, "unsettled", func(a *Action, now time.Time) {
			a.Reason = "whether it was done is not known: " + err.Error()
			a.step(now, "%s", a.Reason)
		})
	}
	l.wait(ctx, l.backoff())
	return atOnce
}

// backoff returns how long to wait before a cluster is asked again.
func (l *lane) backoff() time.Duration {
	l.pace = min(max(2*l.pace, l.engine.opts.Backoff), time.Minute)
	return l.pace
}

// callWebhook has the user's own automation take a release back.
func (e *Engine) callWebhook(ctx context.Context, a *Action) error {
	if e.opts.Webhook == nil {
		return errors.New("there is no webhook any more")
	}
	if err := e.note(ctx, a.ID, rollback.Writing, "calls the webhook"); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	return e.opts.Webhook(ctx, a.clone())
}
