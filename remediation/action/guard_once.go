package action

import (
	"time"

	"tocsin/release"
)

// onceGuard sees to it that a release is taken back once, by one step, and that nobody is fought.
func onceGuard(e *Engine, q *inquiry) Guard {
	a, rel := q.action, &q.record.Release
	switch {
	case q.blocked != "":
		return deny(codeAborted, "tocsin retry "+a.ID, "%s", q.blocked)
	case q.unread == nil && !rel.State.Running():
		return deny(codeOver, "nothing is left to do", "the release is %s", rel.State)
	case q.unread == nil && (rel.New.Hash != a.Bad.Hash || rel.Key != a.key()):
		return deny(codeOver, "nothing is left to do", "it is the release of another revision by now")
	case rel.Back || rel.Undoes != "":
		return deny(codeUndoOfUndo, "decide by hand which revision is to run",
			"it goes back to an older revision itself: tocsin takes no undo back")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.newest[a.key()]; s.release != "" && s.release != a.Release && s.start.After(a.Start) {
		return deny(codeOver, "the newer release is judged by itself", "a newer release has begun")
	}
	u := e.undone[a.key()]
	if back := a.Start.Sub(u.at); u.hash == a.Bad.Hash && back < q.policy.Relapse {
		return deny(codeReverted, "find out who brings it back: a reconciler, most likely",
			"the bad revision was taken back at %s and is back after %s",
			u.at.UTC().Format(time.RFC3339), max(back, 0).Round(time.Second))
	}
	if !a.Kind.undoes() {
		return pass("the rollout has not been stopped by tocsin before")
	}
	if at := e.lastUndo(a); !at.IsZero() && q.now.Sub(at) < q.policy.CoolDown {
		return wait(codeCoolDown, "undo it by hand", "it was taken back at %s, and not again before %s",
			at.UTC().Format(time.RFC3339), at.Add(q.policy.CoolDown).UTC().Format(time.RFC3339))
	}
	return pass("it has not been taken back, and nothing else of it lately")
}

// lastUndo returns when a workload was last taken back by another action. The caller holds mu.
func (e *Engine) lastUndo(a *Action) time.Time {
	var last time.Time
	for id, c := range e.claims {
		if id != a.ID && c.key == (release.Key{Service: a.Service, Workload: a.Workload}) &&
			c.at.After(last) {
			last = c.at
		}
	}
	return last
}
