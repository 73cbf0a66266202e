package action

import (
	"context"
	"fmt"
	"time"

	"tocsin/remediation/rollback"
)

// Note writes down a step of an executor, for rollback.Options.Note. Just before a write it looks
// once more whether people have stopped the action: its error keeps the write from happening.
func (e *Engine) Note(ctx context.Context, s rollback.Step) error {
	return e.note(ctx, s.Action, s.Stage, s.Detail)
}

func (e *Engine) note(ctx context.Context, id string, stage rollback.Stage, detail string) error {
	e.mu.Lock()
	a := e.actions[id]
	var l *lane
	if a != nil {
		l = e.lanes[a.Release]
	}
	e.mu.Unlock()
	if l == nil || a.State != Running && a.State != Done || stage == rollback.Rehearsed ||
		stage == rollback.Judged || stage == rollback.Verified {
		return nil // A rehearsal, or what the action notes itself.
	}
	if stage == rollback.Writing {
		if why := e.halted(ctx, a); why != "" {
			return fmt.Errorf("%w: %s", errCalledOff, why)
		}
	}
	must := stage == rollback.Writing || stage == rollback.Holding || stage == rollback.Deleting
	_, err := l.commit(ctx, id, string(stage), must, func(a *Action, now time.Time) error {
		if stage == rollback.Writing {
			e.mu.Lock()
			blocked := l.blocked
			e.mu.Unlock()
			if blocked != "" {
				return fmt.Errorf("%w: %s", errCalledOff, blocked)
			}
			a.Tried = true
		}
		text := string(stage)
		if detail != "" {
			text += ": " + detail
		}
		a.step(now, "%s", text)
		return nil
	})
	if err != nil && !must {
		e.logger.Error("Step is not written down", "action", id, "stage", stage, "err", err)
		return nil
	}
	return err
}

// halted says why people have stopped an action that is about to be written.
func (e *Engine) halted(ctx context.Context, a *Action) string {
	e.mu.Lock()
	p := e.paused(a.subject(), time.Now(), ByPeople, ByStorm, ByBreaker)
	at := e.policy.KillSwitch
	e.mu.Unlock()
	if p != nil {
		return p.String()
	}
	if at.Name == "" {
		return ""
	}
	x, err := e.opts.Executor(a.Service.Cluster)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, e.opts.Timeout)
		defer cancel()
		var why string
		if why, err = x.Stopped(ctx, at.Namespace, at.Name); err == nil {
			return why
		}
	}
	return "whether the cluster's kill switch is on is not known: " + err.Error()
}
