package action

import (
	"errors"

	"tocsin/remediation/rollback"
)

// switchGuard asks whether people have stopped all actions, or these at this time.
func switchGuard(e *Engine, q *inquiry) Guard {
	x := q.action.subject()
	e.mu.Lock()
	p := e.paused(x, q.now, ByPeople)
	e.mu.Unlock()
	if p != nil {
		return wait(codePaused, "tocsin resume "+p.ID, "%s", p)
	}
	if why := q.survey.stopped; why != "" {
		return wait(codeKillSwitch, "write paused: \"false\" there", "%s", why)
	}
	if err := q.survey.switchErr; err != nil {
		return wait(codeSwitchUnread, next(err), "whether the cluster's kill switch is on is not known: %v", err)
	}
	if w := q.policy.within(q.policy.Freeze, x, q.now); w != nil {
		return wait(codeFreeze, "wait, or act by hand", "%s", w.reason("a freeze"))
	}
	if w := q.policy.within(q.policy.Maintenance, x, q.now); w != nil {
		return wait(codeMaintenance, "wait, or act by hand", "%s", w.reason("maintenance"))
	}
	return pass("nobody has stopped actions on it")
}

// reason says what window is open.
func (w *Window) reason(what string) string {
	text := what + " of " + w.Scope.String() + " is going on"
	if w.Why != "" {
		text += ": " + w.Why
	}
	return text
}

// next returns what a refusal among err's causes says that people can do.
func next(err error) string {
	var r *rollback.Refusal
	if errors.As(err, &r) {
		return r.Next
	}
	return "see that the cluster answers"
}
