package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tocsin/api"
	"tocsin/collectors/kube"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/remediation/action"
	"tocsin/store/journal"
)

// restore brings back what was known before the last stop or crash: what was learnt from snapshots, and what happened
// from the journal.
func (a *App) restore(ctx context.Context) error {
	if err := a.engine.Restore(a.path("snapshots")); err != nil {
		// The other snapshots are in use; what this one held is learnt again from the source's history.
		a.logger.Warn("What was learnt of some clusters is refused", "err", err)
	}
	if err := a.opinions.restore(ctx); err != nil {
		return err
	}
	incidents, err := latest[incident.Incident](ctx, a.archive, kindIncident, believe)
	if err != nil {
		return err
	}
	var known []incident.Incident
	for _, i := range incidents {
		known = append(known, i)
	}
	changes, err := a.recentChanges(ctx)
	if err != nil {
		return err
	}
	open, err := a.openFindings(ctx)
	if err != nil {
		return err
	}
	a.incidents.Restore(known, open, changes)
	if err := a.restoreReleases(ctx); err != nil {
		return err
	}
	for _, i := range known {
		if i.State != incident.Resolved || a.began.Sub(i.End) < 24*time.Hour {
			a.remediation.Incident(i)
		}
	}
	return nil
}

// recentChanges reads the changes that may have caused an incident.
func (a *App) recentChanges(ctx context.Context) ([]fleet.Change, error) {
	since := a.began.Add(-2 * time.Duration(a.opts.Config.Incidents.CauseWindow))
	events, err := a.journal.Read(ctx, journal.Query{
		Kinds: []string{kindChange}, Since: since, Latest: true, Newest: true, Limit: 10_000,
	})
	if err != nil {
		return nil, fmt.Errorf("read recent changes: %w", err)
	}
	var out []fleet.Change
	for _, e := range events {
		c, ok, err := recall[fleet.Change](a.archive, e, believe)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		a.recorder.seen.add(c.ID, e.At)
		out = append(out, c)
	}
	return out, nil
}

// openFindings returns the findings that are open in the detector as it was restored, and writes down the end of
// those that only the journal takes for open: their series were not in a snapshot, so nobody would ever close them.
func (a *App) openFindings(ctx context.Context) ([]detector.Finding, error) {
	open, err := a.engine.Findings(ctx)
	if err != nil {
		return nil, fmt.Errorf("list open findings: %w", err)
	}
	alive := make(map[string]bool)
	for _, f := range open {
		alive[f.ID] = true
	}
	journaled, err := latest[detector.Finding](ctx, a.archive, kindFinding, believe)
	if err != nil {
		return nil, err
	}
	for _, f := range journaled {
		if f.State != detector.Open || alive[f.ID] {
			continue
		}
		f.State, f.Reason, f.End = detector.Resolved, "lost at a restart", f.At
		a.journal.Record(journal.Entry{Kind: kindFinding, Key: f.ID, At: f.At, Data: f})
	}
	return open, nil
}

// keepEvent implements journal.Options.Keep: what is open or in force outlives the retention.
func keepEvent(e journal.Event) bool {
	switch e.Kind {
	case kindIncident:
		i, err := journal.Decode[incident.Incident](e)
		return err == nil && i.State != incident.Resolved
	case kindFinding:
		f, err := journal.Decode[detector.Finding](e)
		return err == nil && f.State == detector.Open
	case kindFeedback:
		f, err := journal.Decode[api.Feedback](e)
		return err == nil && f.State == api.FeedbackActive
	case kindAction:
		x, err := journal.Decode[action.Entry](e)
		return err == nil && x.Action != nil && !x.Action.Over()
	case kindPause:
		x, err := journal.Decode[action.Entry](e)
		return err == nil && x.Pause != nil && x.Pause.Active(time.Now())
	}
	return false
}

// snapshots saves what was learnt until ctx is done, and then once more.
func (a *App) snapshots(ctx context.Context) error {
	every := time.NewTicker(time.Duration(a.opts.Config.Storage.SnapshotInterval))
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			a.snapshot(context.WithoutCancel(ctx))
			return nil
		case <-every.C:
			a.snapshot(ctx)
		}
	}
}

func (a *App) snapshot(ctx context.Context) {
	if err := a.engine.Snapshot(ctx, a.path("snapshots")); err != nil {
		a.logger.Error("What was learnt is not saved", "err", err)
	}
	a.saveWatchers(ctx)
	a.saveReleases()
}

// saveWatchers saves what the watchers remember, once the changes that they remember to have told are recorded: a crash
// in between makes them tell again, never be silent.
func (a *App) saveWatchers(ctx context.Context) {
	a.mu.RLock()
	states := make(map[string]*kube.State)
	for name, s := range a.sources {
		if s.kube != nil {
			states[name] = s.kube.State()
		}
	}
	a.mu.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := a.recorder.settle(ctx); err != nil {
		a.logger.Error("What is known of the workloads is not saved: changes wait to be recorded", "err", err)
		return
	}
	for name, state := range states {
		if err := writeJSON(a.watcherFile(name), state); err != nil {
			a.logger.Error("What is known of the workloads is not saved", "cluster", name, "err", err)
		}
	}
}

// writeJSON writes a file as a whole or not at all.
func writeJSON(path string, v any) (err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp.Name()))
	}
	return nil
}
