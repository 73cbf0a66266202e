package action

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/remediation/rollback"
)

// verify watches an undo until it has rolled out, or has come to another end. Nobody calls that off:
// what is written is written.
func (l *lane) verify(ctx context.Context, a *Action) time.Duration {
	e := l.engine
	x, err := e.opts.Executor(a.Service.Cluster)
	if err != nil {
		return l.unanswered(ctx, a, err)
	}
	if a.Kind == KindWebhook {
		if wait, arrived := l.arrival(ctx, x, a); !arrived {
			return wait
		}
	}
	outcome, err := x.Verify(ctx, a.Request)
	if ctx.Err() != nil {
		return never // The next process goes on.
	}
	var refusal *rollback.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return l.unanswered(ctx, a, err)
	}
	l.since, l.pace = time.Time{}, 0
	l.update(ctx, a.ID, "verified", func(a *Action, now time.Time) {
		a.Outcome = outcome
		l.conclude(a, now, outcome, refusal)
	})
	return atOnce
}

// conclude draws from what became of a rollout what becomes of the action.
func (l *lane) conclude(
	a *Action, now time.Time, outcome *rollback.Outcome, refusal *rollback.Refusal,
) {
	switch {
	case refusal != nil && refusal.Code == rollback.Forbidden:
		a.finish(now, Failed, refusal.What+"; "+refusal.Next)
	case refusal != nil:
		a.finish(now, Superseded, refusal.What)
	case outcome.Result == rollback.Complete:
		a.State, a.Rolled, a.Reason = Verified, now.UTC(), "it has rolled out: "+outcome.Reason
		a.step(now, "verified: %s", a.Reason)
	case outcome.Result == rollback.Reverted:
		a.finish(now, NotRecovered, outcome.Reason+"; tocsin does not try again")
	case outcome.Result == rollback.Overtaken:
		a.finish(now, Superseded, outcome.Reason)
	default:
		a.finish(now, Failed, "the undo does not roll out: "+outcome.Reason)
	}
}

// automationTime is how long the user's own automation may take until the workload changes.
const automationTime = 30 * time.Minute

// arrival waits until the user's own automation has changed the workload.
func (l *lane) arrival(ctx context.Context, x Executor, a *Action) (time.Duration, bool) {
	within, cancel := context.WithTimeout(ctx, l.engine.opts.Timeout)
	facts, err := x.Inspect(within, a.Request)
	cancel()
	switch {
	case ctx.Err() != nil:
		return never, false
	case err == nil && facts.Hash != a.Bad.Hash:
		return atOnce, true
	case time.Since(a.Written) > automationTime:
		l.update(ctx, a.ID, "failed", func(a *Action, now time.Time) {
			a.finish(now, Failed, fmt.Sprintf(
				"the webhook was called, and the workload has not changed in %s", automationTime))
		})
		return atOnce, false
	}
	l.wait(ctx, l.engine.opts.Recheck)
	return atOnce, false
}

// soak watches the service for a while after an undo. Time is counted by the process's own clock,
// which does not jump; after a restart, at least a minute of it is watched again.
func (l *lane) soak(ctx context.Context, a *Action) time.Duration {
	e := l.engine
	e.mu.Lock()
	span, fresh := e.policy.Soak, e.policy.Freshness
	e.mu.Unlock()
	past := min(max(time.Since(a.Rolled), 0), span)
	over := time.Now().Add(max(span-past, min(span, time.Minute)))
	var last Health
	for grace := 0; ; {
		if s, ok := l.passedBy(a); ok {
			l.update(ctx, a.ID, "passed by", func(a *Action, now time.Time) {
				if s.hash == a.Bad.Hash {
					a.finish(now, NotRecovered,
						"somebody brought the bad revision back; tocsin does not try again")
					return
				}
				a.finish(now, Superseded, "another revision was released while its effect was watched")
			})
			return atOnce
		}
		now := time.Now()
		last = e.health(ctx, a)
		known := now.Sub(last.DataAt) <= fresh
		if !now.Before(over) {
			if !known && grace == 0 { // What a source that is away would have said is worth waiting for.
				grace, over = 1, now.Add(span)
				continue
			}
			return l.judge(ctx, a, last, known)
		}
		l.wait(ctx, min(over.Sub(now), e.opts.Recheck))
		if ctx.Err() != nil {
			return never
		}
	}
}

// health asks how the service of an action fares.
func (e *Engine) health(ctx context.Context, a *Action) Health {
	if e.opts.Health == nil {
		return Health{Reason: "nobody knows how it fares"}
	}
	ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	h, err := e.opts.Health(ctx, a.clone())
	if err != nil {
		return Health{Reason: "how it fares could not be read: " + err.Error()}
	}
	return h
}

// passedBy returns a release that has begun since an action was written and that is not its own.
func (l *lane) passedBy(a *Action) (sighting, bool) {
	e := l.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.newest[a.key()]
	later := s.release != "" && s.release != a.Release && s.start.After(a.Start) &&
		!s.start.Before(a.Written)
	return s, later && s.hash != a.Good.Hash
}

// judge says whether an undo has helped.
func (l *lane) judge(ctx context.Context, a *Action, h Health, known bool) time.Duration {
	l.update(ctx, a.ID, "soaked", func(a *Action, now time.Time) {
		switch {
		case known && h.Well:
			a.finish(now, Recovered, "the service is well again: "+h.Reason)
		case known:
			a.finish(now, NotRecovered, "the undo did not help: "+h.Reason+"; tocsin does not try again")
		default:
			a.finish(now, NotRecovered, "nobody knows whether the undo has helped: "+h.Reason)
		}
	})
	return atOnce
}

// giveBack gives an owner that was suspended back its work when its time is over.
func (l *lane) giveBack(ctx context.Context, a *Action) time.Duration {
	if a.Hold == nil {
		return rest
	}
	if left := time.Until(a.Hold.Until); left > 0 {
		return left
	}
	x, err := l.engine.opts.Executor(a.Service.Cluster)
	if err == nil {
		within, cancel := context.WithTimeout(ctx, l.engine.opts.Timeout)
		err = x.Restore(within, *a.Hold)
		cancel()
	}
	if ctx.Err() != nil {
		return never
	}
	if err != nil {
		if l.pace == 0 {
			l.engine.alarm(AlarmHold, a, fmt.Sprintf("%s stays suspended: %v", a.Hold.Owner, err))
		}
		return l.backoff()
	}
	l.pace = 0
	l.update(ctx, a.ID, "given back", func(a *Action, now time.Time) {
		a.step(now, "%s has its work back", a.Hold.Owner)
		a.Hold = nil
	})
	return atOnce
}

// holdOf returns the hold of an action that was found to be done.
func (l *lane) holdOf(ctx context.Context, x Executor, a *Action) *rollback.Hold {
	holds, err := x.Holds(ctx)
	if err != nil {
		l.engine.logger.Warn("Holds could not be read", "action", a.ID, "err", err)
	}
	for _, h := range holds {
		if h.Action == a.ID {
			return &h
		}
	}
	return a.Hold
}

// restoreHolds gives back at once what an action has suspended that was not done.
func (l *lane) restoreHolds(ctx context.Context, x Executor, a *Action) {
	h := l.holdOf(ctx, x, a)
	if h == nil {
		return
	}
	if err := x.Restore(ctx, *h); err != nil {
		l.engine.alarm(AlarmHold, a, fmt.Sprintf("%s stays suspended: %v", h.Owner, err))
	}
}
