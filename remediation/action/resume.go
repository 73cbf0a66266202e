package action

import (
	"context"
	"errors"
	"strings"
	"time"

	"tocsin/release"
	"tocsin/remediation/rollback"
)

// paused says whether tocsin has stopped a rollout and nobody has let it go on.
func (a *Action) paused() bool {
	return a.Kind == KindPause && a.State == Verified && a.Resumed.IsZero()
}

// resume lets a rollout go on that tocsin has stopped, once its release has turned out to be
// healthy: nobody else may know that it waits.
func (l *lane) resume(ctx context.Context, a *Action) time.Duration {
	e := l.engine
	now := time.Now()
	e.mu.Lock()
	stopped := e.paused(a.subject(), now, ByPeople) != nil
	fresh := e.policy.Freshness
	e.mu.Unlock()
	within, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	defer cancel()
	r, err := e.opts.Review(within, a.Release)
	switch {
	case ctx.Err() != nil:
		return never
	case errors.Is(err, release.ErrNotRunning):
		return rest
	case err != nil || stopped || time.Since(r.DataAt) > fresh:
		return e.opts.Recheck
	case r.Verdict.Result != release.Healthy:
		return rest
	}
	x, err := e.opts.Executor(a.Service.Cluster)
	if err == nil {
		request := a.Request
		request.Action = strings.Replace(a.ID, string(KindPause), "resume", 1)
		_, err = x.Resume(within, request)
	}
	var refusal *rollback.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return e.opts.Recheck
	}
	l.update(ctx, a.ID, "resumed", func(a *Action, now time.Time) {
		a.Resumed = now.UTC()
		if refusal != nil {
			a.step(now, "not resumed: %s", refusal.What)
			return
		}
		a.finish(now, Recovered, "the rollout goes on: "+r.Verdict.Reason)
	})
	return rest
}
