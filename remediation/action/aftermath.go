package action

import (
	"context"
	"fmt"
	"time"
)

// moved draws the consequences of an action's new state. The caller holds mu.
func (e *Engine) moved(before, a *Action, now time.Time) {
	e.metrics.count(before, a)
	e.gauge(now)
	if !a.Written.IsZero() && before.Written.IsZero() && a.Kind.undoes() {
		e.undone[a.key()] = undone{a.Bad.Hash, a.Written}
	}
	if a.over() && !before.over() {
		e.tally(a)
	}
}

// tally counts actions in a row that failed or did not help. The caller holds mu.
func (e *Engine) tally(a *Action) {
	switch {
	case !a.Kind.undoes():
	case a.State == Recovered:
		e.failed = 0
	case a.State == Failed, a.State == NotRecovered:
		e.failed++
	}
}

// aftermath tells people of what went wrong, and stops all actions if too much does.
func (e *Engine) aftermath(ctx context.Context, before, a *Action, now time.Time) {
	if !a.over() || before.over() {
		return
	}
	switch a.State {
	case Failed, NotRecovered:
		kind := AlarmNoHelp
		if a.Outcome != nil && a.Outcome.By != "" {
			kind = AlarmReverted
		}
		e.alarm(kind, a, a.Reason)
	default:
		return
	}
	e.trip(ctx, now)
}

// trip stops all actions if too many in a row failed or did not help.
func (e *Engine) trip(ctx context.Context, now time.Time) {
	e.mu.Lock()
	n := e.failed
	broken := n >= e.policy.Breaker && e.paused(subject{}, now, ByBreaker) == nil
	e.mu.Unlock()
	if broken {
		e.stop(ctx, Pause{
			Cause: ByBreaker, By: "tocsin",
			Why: fmt.Sprintf("%d actions in a row failed or did not help", n),
		}, AlarmBreaker, now)
	}
}

// alarm tells people of what they must look at.
func (e *Engine) alarm(kind AlarmKind, a *Action, text string) {
	e.opts.Alarm(Alarm{
		Kind: kind, At: time.Now().UTC(), Text: text, Release: a.Release, Action: a.ID,
		Service: a.Service,
	})
}
