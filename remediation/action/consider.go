package action

import (
	"context"
	"slices"
	"time"

	"tocsin/remediation/rollback"
)

// consider asks all guards about an action, and does what they let pass.
func (l *lane) consider(ctx context.Context, a *Action) time.Duration {
	e := l.engine
	forced, now := l.forced, time.Now()
	switch {
	case a.State == Waiting && !now.Before(a.Deadline):
		l.update(ctx, a.ID, "expired", func(a *Action, now time.Time) {
			a.finish(now, Expired, "nobody approved it in time")
		})
		return atOnce
	case a.State == Refused && a.Final && !forced:
		return never
	case !forced && now.Before(l.due[a.ID]):
		return l.due[a.ID].Sub(now)
	}
	thorough := forced || a.State == Proposed || a.Approver != ""
	q := l.inquire(ctx, a, thorough)
	if ctx.Err() != nil {
		return atOnce
	}
	if f := q.survey.facts; f != nil && f.Action == a.ID && !q.halfDone() {
		return l.found(ctx, a)
	}
	l.interrogate(ctx, q)
	verdict := q.outcome()
	if !thorough && verdict == Running || verdict != a.State && verdict != Refused && !thorough {
		q = l.inquire(ctx, a, true) // Nothing new is begun on what was known a while ago.
		l.interrogate(ctx, q)
		verdict = q.outcome()
	}
	if ctx.Err() != nil {
		return atOnce
	}
	again := q.again(verdict, e.opts.Recheck)
	l.due[a.ID] = time.Now().Add(again)
	if verdict == Running {
		return l.execute(ctx, q)
	}
	l.settleOn(ctx, q, verdict)
	return again
}

// again returns when guards are asked the next time.
func (q *inquiry) again(s State, recheck time.Duration) time.Duration {
	switch s {
	case Waiting:
		return 4 * recheck // People are slower.
	case Proposed:
		return max(q.policy.Confirm-q.stood(), time.Second)
	}
	return recheck
}

// halfDone says whether an abort was claimed and is yet to be carried out.
func (q *inquiry) halfDone() bool {
	return q.action.Kind == KindAbort && q.survey.plan != nil &&
		q.survey.plan.State == rollback.Planned
}

// interrogate asks all guards, in their order.
func (l *lane) interrogate(ctx context.Context, q *inquiry) {
	if q.action.Kind.undoes() && l.engine.wantsWebhook(q) {
		q.action.Kind = KindWebhook
	}
	q.action.Guards = make([]Guard, 0, len(guards))
	for _, g := range guards {
		said := g.ask(l.engine, q)
		said.Name = g.name
		q.action.Guards = append(q.action.Guards, said)
		if g.name == "verdict" && said.Passed && q.action.Kind.undoes() {
			l.engine.brace(ctx, q)
		}
	}
}

// wantsWebhook says whether the user's own automation is to take the release back: policy allows
// nothing else, or the owner of the workload would not let it stay.
func (e *Engine) wantsWebhook(q *inquiry) bool {
	if !q.rule.may(KindWebhook) || e.opts.Webhook == nil {
		return false
	}
	if !q.rule.may(KindRollback) {
		return true
	}
	f := q.survey.facts
	return f != nil && slices.ContainsFunc(f.Refusals, func(r *rollback.Refusal) bool {
		switch r.Code {
		case rollback.OwnedByHelm, rollback.OwnedByFlux, rollback.OwnedByArgoCD, rollback.OwnedByOther,
			rollback.OwnerMissing:
			return true
		}
		return false
	})
}

// brace counts a bad release, and stops everything if there are too many.
func (e *Engine) brace(ctx context.Context, q *inquiry) {
	e.mu.Lock()
	p := e.weather(q)
	e.mu.Unlock()
	if p == nil {
		return
	}
	e.stop(ctx, *p, AlarmStorm, q.now)
}

// stop stops all actions for a reason of tocsin's own, and tells people.
func (e *Engine) stop(ctx context.Context, p Pause, kind AlarmKind, now time.Time) {
	if _, err := e.Suspend(ctx, p); err != nil {
		e.logger.Error("Pause is not written down", "err", err)
	}
	e.opts.Alarm(Alarm{Kind: kind, At: now.UTC(), Text: "all actions are stopped: " + p.Why})
}

// outcome is what follows from what the guards said.
func (q *inquiry) outcome() State {
	refused, asks, early := false, false, false
	for _, g := range q.action.Guards {
		switch {
		case g.Passed:
		case g.Code == codeNeedsApproval:
			asks = true
		case g.Code == codeUnconfirmed:
			early = true
		default:
			refused = true
		}
	}
	switch {
	case refused:
		return Refused
	case early:
		return Proposed
	case q.action.Mode == Observe:
		return Would
	case asks:
		return Waiting
	}
	return Running
}

// settleOn has an action be in a state in which nothing is done for now.
func (l *lane) settleOn(ctx context.Context, q *inquiry, s State) {
	l.since, l.pace = time.Time{}, 0 // The cluster is not what it waits for.
	reason, final := q.reason(s)
	now := l.engine.get(q.action.ID)
	if now.State == s && now.Reason == reason {
		return // Nothing that is worth a line in the journal.
	}
	if g := q.says("once"); g.Code == codeReverted && now.State != Refused && now.Kind.undoes() {
		l.engine.alarm(AlarmReverted, now, g.Reason)
	}
	l.update(ctx, q.action.ID, string(s), func(a *Action, now time.Time) {
		if a.State == Aborted {
			return // A person was faster.
		}
		q.fill(a)
		if s == Would {
			a.Decided = now.UTC()
			a.finish(now, Would, reason)
			return
		}
		if s == Waiting && a.Deadline.IsZero() {
			a.Decided = now.UTC()
			a.Deadline = now.Add(q.policy.Approval).UTC()
			a.step(now, "waits for an approval until %s", a.Deadline.Format(time.RFC3339))
		}
		if s == Refused && a.State != Refused {
			a.step(now, "refused: %s", reason)
		}
		a.State, a.Reason, a.Final = s, reason, final
		if l.expiredBy(a, now) {
			a.finish(now, Expired, "its approval was not used in time: "+reason)
		}
	})
}

// expiredBy says whether the time to approve an action, or to use its approval, is over.
func (l *lane) expiredBy(a *Action, now time.Time) bool {
	return a.State == Refused && !a.Deadline.IsZero() && !now.Before(a.Deadline)
}

// reason says in one sentence why an action is in a state, and whether that is for good.
func (q *inquiry) reason(s State) (string, bool) {
	if s == Would {
		return "it would have been done: " + q.verdict.Reason, false
	}
	first, final := "", false
	for _, g := range q.action.Guards {
		if g.Passed || g.Code == codeNeedsApproval && s != Waiting ||
			g.Code == codeUnconfirmed && s != Proposed {
			continue
		}
		if first == "" {
			first = g.Reason
		}
		final = final || g.Final
	}
	return first, final
}

// says returns what a guard said.
func (q *inquiry) says(name string) Guard {
	for _, g := range q.action.Guards {
		if g.Name == name {
			return g
		}
	}
	return Guard{}
}

// fill takes over what was found out.
func (q *inquiry) fill(a *Action) {
	n := q.action
	a.Kind, a.Mode, a.Team, a.Good = n.Kind, n.Mode, n.Team, n.Good
	a.Guards, a.Request = n.Guards, n.Request
	a.Verdict, a.Pooled = n.Verdict, n.Pooled
}
