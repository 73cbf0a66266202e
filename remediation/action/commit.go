package action

import (
	"context"
	"fmt"
	"time"
)

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
