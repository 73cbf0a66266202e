package remediation

import (
	"time"

	"tocsin/incident"
)

// news says what there is to tell.
type news int

const (
	nothing  news = iota
	opening       // The receiver has not heard of it.
	update        // Something has changed.
	turn          // State, severity or acts have changed: that does not wait.
	reminder      // Nothing has changed, people are reminded.
	refresh       // Nothing has changed, the receiver wants it again.
)

// step is what becomes of a task. Its zero value passes it to the next stage.
type step struct {
	hold   bool      // Look at it again at the time, or if that is zero, when something happens.
	at     time.Time //
	finish bool      // There is nothing more to do.
	reason string    // Of a hold or a finish; empty: none worth a record.
}

// stage decides what becomes of a task whose news are known.
type stage func(l *lane, t *task, n news, now time.Time) step

// stages are what a task goes through until it is sent: each may hold it or finish it.
var stages = []stage{dedup, mute, pace, retry}

// decide takes a task through the stages.
func (l *lane) decide(t *task, now time.Time) (news, step) {
	n := l.news(t, now)
	for _, stage := range stages {
		if s := stage(l, t, n, now); s != (step{}) {
			return n, s
		}
	}
	return n, step{}
}

// news compares what is with what the receiver knows.
func (l *lane) news(t *task, now time.Time) news {
	switch {
	case !t.sent.told():
		return opening
	case t.sent.Partial:
		return turn
	case t.sent.State != t.incident.State || t.sent.Severity != t.incident.Severity ||
		t.sent.Acts != acts(&t.incident):
		return turn
	case t.sent.Digest != t.digest:
		return update
	case t.incident.State == incident.Resolved:
		return nothing
	}
	if at, ok := l.refreshAt(t); ok && !now.Before(at) {
		return refresh
	}
	if at, ok := l.remindAt(t); ok && !now.Before(at) {
		return reminder
	}
	return nothing
}

// refreshAt returns when the receiver wants the incident again without news.
func (l *lane) refreshAt(t *task) (time.Time, bool) {
	r, ok := l.notifier.(interface{ Refresh() time.Duration })
	if !ok || r.Refresh() <= 0 || t.incident.State == incident.Resolved {
		return time.Time{}, false
	}
	return t.refreshed.Add(r.Refresh()), true
}

// remindAt returns when people are to be reminded.
func (l *lane) remindAt(t *task) (time.Time, bool) {
	_, refreshes := l.refreshAt(t)
	if refreshes || t.route == nil || t.route.RepeatInterval <= 0 ||
		t.incident.State != incident.Open {
		return time.Time{}, false
	}
	return t.sent.At.Add(t.route.RepeatInterval), true
}

// dedup holds what the receiver knows already and finishes what it need not know.
func dedup(l *lane, t *task, n news, now time.Time) step {
	resolved := t.incident.State == incident.Resolved
	switch {
	case n == opening && resolved:
		return step{finish: true, reason: skippedResolved}
	case n == opening && t.route == nil:
		return step{finish: true, reason: skippedRerouted}
	case resolved && n == nothing:
		return step{finish: true}
	case resolved && !sendsResolved(l.notifier):
		return step{finish: true, reason: skippedUnwanted}
	case resolved && now.Sub(t.ended) > l.engine.opts.Expire:
		return step{finish: true, reason: skippedExpired}
	case n != nothing:
		return step{}
	}
	at, ok := l.refreshAt(t)
	if remind, also := l.remindAt(t); also && (!ok || remind.Before(at)) {
		at = remind
	}
	return step{hold: true, at: at}
}

func sendsResolved(n Notifier) bool {
	s, ok := n.(interface{ SendsResolved() bool })
	return !ok || s.SendsResolved()
}

// mute holds news while the route is muted. What a receiver wants again without news is no news.
func mute(l *lane, t *task, n news, now time.Time) step {
	if n == refresh || t.route == nil || !l.engine.policy.muted(t.route, now) {
		return step{}
	}
	next := now.Truncate(time.Minute).Add(time.Minute) // Intervals are made of minutes.
	return step{hold: true, at: next, reason: "mute interval"}
}

// pace holds the first message for the group wait, and edits so that they do not come too often.
func pace(l *lane, t *task, n news, now time.Time) step {
	var at time.Time
	switch n {
	case opening:
		at = t.opened.Add(t.route.GroupWait)
	case update:
		at = t.sent.At.Add(l.engine.opts.Update)
	}
	if now.Before(at) {
		return step{hold: true, at: at}
	}
	return step{}
}

// retry holds what has failed until it may be tried again, and what the receiver has refused
// until that is worth another attempt.
func retry(l *lane, t *task, _ news, now time.Time) step {
	if t.hopeless == t.rank() {
		over := t.incident.State == incident.Resolved
		return step{hold: !over, finish: over}
	}
	at := t.retry
	if l.paused.After(at) {
		at = l.paused
	}
	if now.Before(at) {
		return step{hold: true, at: at}
	}
	return step{}
}
