package app

import (
	"context"
	"fmt"
	"time"

	"tocsin/collectors/promql"
	"tocsin/release"
	"tocsin/store/journal"
)

// The self-check takes pieces of a workload's quiet history for releases, and sees how many of them
// are called regressed.
const (
	checkHistory = 4 * time.Hour    // What it is done with.
	checkStep    = 30 * time.Second // The judge's own windows.
	checkPause   = 20 * time.Second // Between two of them: each takes seconds of a core.
)

// selfCheck checks one workload after the other until ctx is done, each once in
// releases.check_every if there are not too many.
func (a *App) selfCheck(ctx context.Context) error {
	for {
		a.mu.RLock()
		every := time.Duration(a.config.Releases.CheckEvery)
		a.mu.RUnlock()
		due := a.dueChecks(time.Now())
		for _, d := range due {
			if !pause(ctx, max(every/time.Duration(len(due)), checkPause)) {
				return nil
			}
			a.checkOne(ctx, d.follower, d.key)
		}
		if len(due) == 0 && !pause(ctx, time.Hour) {
			return nil
		}
	}
}

// pause waits; it returns false if ctx is done before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// dueCheck is a workload to be checked, and who knows its pods.
type dueCheck struct {
	follower *follower
	key      release.Key
}

func (a *App) dueChecks(now time.Time) []dueCheck {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var out []dueCheck
	for name, s := range a.sources {
		if s.follower == nil {
			continue
		}
		for _, k := range a.releases.Quiet(name, now, checkHistory+time.Hour) {
			out = append(out, dueCheck{s.follower, k})
		}
	}
	return out
}

// checkOne checks a workload. One that cannot be checked is checked another time.
func (a *App) checkOne(ctx context.Context, f *follower, k release.Key) {
	history, err := f.history(ctx, k, time.Now())
	if err != nil || len(history) == 0 {
		a.logger.Debug("Judge is not checked", "service", k.Service, "err", err)
		return
	}
	checked, err := a.releases.Check(k, history)
	if err != nil {
		a.logger.Debug("Judge is not checked", "service", k.Service, "err", err)
		return
	}
	a.journal.Record(journal.Entry{
		Kind: kindCheck, Key: k.Service.String(), At: time.Now(), Data: checked,
	})
}

// history returns what the pods of a workload did of late.
func (f *follower) history(ctx context.Context, k release.Key, now time.Time) ([]release.Instant, error) {
	p, err := f.watcher.Look(ctx, k.Service, k.Workload)
	if err != nil {
		return nil, err
	}
	target := promql.PodTarget{Service: k.Service}
	for _, pod := range p.New.Pods {
		target.Pods = append(target.Pods, pod.Name)
	}
	if len(target.Pods) == 0 {
		return nil, nil
	}
	r := promql.PodRange{
		From: now.Add(-checkHistory), To: now, Step: checkStep, Targets: []promql.PodTarget{target},
	}
	var out []release.Instant
	for range 100 { // Stretches: no answer is that small.
		h, err := f.source.Pods(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("ask for the pods of %s: %w", k.Service, err)
		}
		if h.Until.IsZero() {
			break
		}
		for _, i := range h.Instants {
			out = append(out, release.Instant{At: i.At, Samples: samples(i.Pods)})
		}
		r.From = h.Until.Add(time.Millisecond)
	}
	return out, nil
}
