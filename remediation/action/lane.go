package action

import (
	"context"
	"sync"
	"time"

	"tocsin/release"
)

// lane is all that is done about one release.
type lane struct {
	engine  *Engine
	release string // Its ID.
	key     release.Key
	nudge   chan struct{} // Holds one: something has changed.

	order sync.Mutex // Held while an action is changed and that is kept; taken before Engine.mu.

	// Guarded by Engine.mu.
	record  *release.Record         // The newest; nil: none has come in this process.
	active  bool                    // Run works on it, or will.
	force   bool                    // All guards are to be asked anew, and the cluster too.
	blocked string                  // A person has called off what was to be done.
	cancel  context.CancelCauseFunc // Calls off what is under way; nil: nothing is.

	// Of the goroutine that runs it.
	surveys map[string]survey    // What the cluster said last, by action.
	due     map[string]time.Time // When what is open is looked at again, by action.
	forced  bool                 // In this step.
	since   time.Time            // When the cluster began not to answer.
	pace    time.Duration        // Of asking it again.
	warned  bool                 // People know that its images are bad elsewhere.
}

// poke has the lane look at what there is to do.
func (l *lane) poke() {
	select {
	case l.nudge <- struct{}{}:
	default:
	}
}

// Waits that step returns besides times.
const (
	atOnce time.Duration = 0
	never  time.Duration = -1 // Only when something happens.
	rest   time.Duration = -2 // Nothing is open.
)

// run works on the lane until nothing is open or ctx is done.
func (l *lane) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := l.step(ctx)
		if wait == rest && l.stop() {
			return
		}
		if wait != atOnce {
			l.wait(ctx, wait)
		}
	}
}

// stop ends the lane's goroutine unless something has happened.
func (l *lane) stop() bool {
	e := l.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(l.nudge) > 0 {
		return false
	}
	l.active = false
	return true
}

// wait returns after a time, or when something has happened. It says whether the time was up.
func (l *lane) wait(ctx context.Context, d time.Duration) bool {
	var up <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		up = timer.C
	}
	select {
	case <-ctx.Done():
	case <-l.nudge:
	case <-up:
		return true
	}
	return false
}

// step does what is due, and returns how long to wait.
func (l *lane) step(ctx context.Context) time.Duration {
	e := l.engine
	e.mu.Lock()
	r := l.record
	l.forced, l.force = l.force, false
	e.mu.Unlock()
	if r != nil {
		l.remember(ctx, r)
		l.ended(ctx, r)
	}
	next := rest
	for _, a := range l.actions() {
		var wait time.Duration
		switch {
		case a.State == Running:
			wait = l.settle(ctx, a)
		case a.State == Done:
			wait = l.verify(ctx, a)
		case a.State == Verified && a.acting():
			wait = l.soak(ctx, a)
		case a.paused() && r != nil && r.Verdict.Result == release.Healthy:
			wait = l.resume(ctx, a)
		default:
			wait = l.giveBack(ctx, a)
		}
		next = sooner(next, wait)
	}
	if next == atOnce {
		return atOnce
	}
	return sooner(next, l.decide(ctx, r))
}

// sooner returns the shorter of two waits.
func sooner(a, b time.Duration) time.Duration {
	switch {
	case a == rest || a == never && b != rest:
		return b
	case b == rest || b == never:
		return a
	}
	return min(a, b)
}

// actions returns what there is about the release, a pause before what takes it back.
func (l *lane) actions() []*Action {
	var out []*Action
	for _, k := range []Kind{KindPause, KindRollback} {
		if a := l.engine.get(newID(l.release, k)); a != nil {
			out = append(out, a)
		}
	}
	return out
}

// ended ends what is open of a release that is over. What has been tried is asked for first: it may
// be what ended the release.
func (l *lane) ended(ctx context.Context, r *release.Record) {
	rel := &r.Release
	if rel.State.Running() {
		return
	}
	end := ReleaseEnd{State: rel.State, At: rel.End, By: rel.EndedBy, Reason: rel.Reason}
	for _, a := range l.actions() {
		if a.End != nil && a.End.State == end.State && (a.over() || a.acting()) {
			continue
		}
		l.update(ctx, a.ID, "the release has ended", func(a *Action, now time.Time) {
			a.End = &end
			switch {
			case a.over() || a.acting():
			case a.Tried:
				a.State, a.Reason = Running, "the release has ended, perhaps by this action"
			default:
				a.finish(now, Superseded, "the release is over: "+describe(end))
			}
		})
	}
}

// describe says for people how a release ended.
func describe(end ReleaseEnd) string {
	text := string(end.State)
	if end.By != "" {
		text += " by " + end.By
	}
	if end.Reason != "" {
		text += " (" + end.Reason + ")"
	}
	return text
}
