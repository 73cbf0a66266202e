package action

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Approve lets an action that waits go on: its evidence is read once more, and it is done if no
// guard speaks against it until the approval expires. A note is kept.
func (e *Engine) Approve(ctx context.Context, id, by, note string) (Action, error) {
	return e.command(ctx, "approve", id, by, true, func(_ *lane, a *Action, now time.Time) error {
		switch {
		case a.State == Expired, a.State == Waiting && !now.Before(a.Deadline):
			return ErrExpired
		case a.acting(), a.over():
			return fmt.Errorf("%w: it is %s", ErrOver, a.State)
		case a.State != Waiting:
			return fmt.Errorf("%w: it is %s: %s", ErrNotWaiting, a.State, a.Reason)
		}
		a.Approver, a.Approved = by, now.UTC()
		a.step(now, "%s", said("approved", by, note))
		return nil
	})
}

// Abort calls an action off that has not been written yet, and with it all that would be done about
// its release until somebody retries it.
func (e *Engine) Abort(ctx context.Context, id, by, why string) (Action, error) {
	a, err := e.command(ctx, "abort", id, by, false, func(l *lane, a *Action, now time.Time) error {
		switch {
		case a.over():
			return fmt.Errorf("%w: it is %s", ErrOver, a.State)
		case a.State == Done || a.State == Verified:
			return fmt.Errorf("%w at %s; undo it by hand", ErrTooLate,
				a.Written.Format(time.RFC3339))
		}
		reason := said("called off", by, why)
		e.mu.Lock()
		l.blocked = reason
		if l.cancel != nil {
			l.cancel(errCalledOff)
		}
		e.mu.Unlock()
		a.step(now, "%s", reason)
		if a.State != Running { // Else whoever does it finds out how far it came.
			a.finish(now, Aborted, reason)
		}
		return nil
	})
	return a, err
}

// Retry has an action judged once more that was refused, failed, expired or called off, if nothing
// of it was written.
func (e *Engine) Retry(ctx context.Context, id, by, note string) (Action, error) {
	return e.command(ctx, "retry", id, by, true, func(l *lane, a *Action, now time.Time) error {
		switch a.State {
		case Refused, Failed, Expired, Aborted:
		case Proposed, Waiting, Running:
			return fmt.Errorf("%w: it is %s", ErrInvalid, a.State)
		default:
			return fmt.Errorf("%w: it is %s", ErrOver, a.State)
		}
		if a.Tried || !a.Written.IsZero() {
			return fmt.Errorf("%w: an action is written once at most", ErrTooLate)
		}
		a.Attempt++
		a.State, a.Final, a.Reason = Proposed, false, said("retried", by, note)
		a.Approver, a.Approved, a.Deadline = "", time.Time{}, time.Time{}
		a.Decided, a.Ended, a.Claimed = time.Time{}, time.Time{}, time.Time{}
		a.step(now, "%s", a.Reason)
		e.mu.Lock()
		l.blocked = ""
		e.mu.Unlock()
		return nil
	})
}

// said is what a person did, and why.
func said(what, by, why string) string {
	text := what + " by " + by
	if why != "" {
		text += ": " + why
	}
	return text
}

// command does what a person asks for. What must be kept is not done if it cannot be; what need not
// is done, and the error says that a restart forgets it.
func (e *Engine) command(
	ctx context.Context, verb, id, by string, must bool,
	change func(l *lane, a *Action, now time.Time) error,
) (Action, error) {
	wrap := func(err error) error { return fmt.Errorf("%s %s: %w", verb, id, err) }
	if strings.TrimSpace(by) == "" {
		return Action{}, wrap(fmt.Errorf("%w: nobody says who asks for it", ErrInvalid))
	}
	e.mu.Lock()
	a := e.actions[id]
	if a == nil {
		e.mu.Unlock()
		return Action{}, wrap(ErrUnknown)
	}
	l := e.lane(a.Release, a.key())
	e.mu.Unlock()
	a, err := l.commit(ctx, id, verb+" by "+by, must, func(a *Action, now time.Time) error {
		return change(l, a, now)
	})
	if err != nil && (must || a == nil) {
		return a.orNone(), wrap(err)
	}
	e.mu.Lock()
	l.force = true
	e.start(l)
	e.mu.Unlock()
	if err != nil {
		return a.clone(), wrap(err)
	}
	return a.clone(), nil
}

func (a *Action) orNone() Action {
	if a == nil {
		return Action{}
	}
	return a.clone()
}
