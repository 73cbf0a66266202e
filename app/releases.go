package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"tocsin/api"
	"tocsin/config"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/store/journal"
)

// managerOptions returns what the file says about judging releases.
func managerOptions(c *config.Config) release.ManagerOptions {
	r := c.Releases
	return release.ManagerOptions{
		Judge:   release.Options{Alpha: r.Alpha, Ready: time.Duration(r.Ready)},
		Tracker: release.TrackerOptions{Soak: time.Duration(r.Soak), Deadline: time.Duration(r.Deadline)},
	}
}

// buildReleases makes what follows and judges releases.
func (a *App) buildReleases(c *config.Config) error {
	opts := managerOptions(c)
	opts.Report, opts.Logger, opts.Reg = a.reportRelease, a.opts.Logger, a.reg
	var err error
	if a.releases, err = release.NewManager(opts); err != nil {
		return fmt.Errorf("build the judgement of releases: %w", err)
	}
	a.following = newFollowMetrics(a.reg)
	return nil
}

// reportRelease implements release.ManagerOptions.Report: it is written down, told, and acted upon.
func (a *App) reportRelease(e release.Event) {
	a.journal.Record(journal.Entry{Kind: kindRelease, Key: e.Release.ID, At: e.At, Data: e})
	a.logger.Info("Release", "id", e.Release.ID, "service", e.Release.Service, "state", e.Release.State,
		"result", e.Verdict.Result, "tier", e.Verdict.Tier, "reason", e.Verdict.Reason)
	a.incidents.Release(e)
	a.actions.Release(e.Record)
}

// follows builds what follows the releases of a cluster.
func (a *App) follows(c *config.Config, s *sources) *follower {
	return &follower{
		cluster: s.cluster.Name, interval: time.Duration(c.Releases.Interval),
		watcher: s.kube, source: s.promql, manager: a.releases, vouch: a.vouch,
		metrics: a.following, logger: a.logger,
	}
}

// review reads the evidence of a release as of now, and judges it.
func (a *App) review(ctx context.Context, id string) (release.Record, error) {
	r, ok := a.releases.Record(id)
	if !ok {
		return release.Record{}, fmt.Errorf("review release %s: %w", id, release.ErrNotRunning)
	}
	a.mu.RLock()
	s := a.sources[r.Release.Service.Cluster]
	a.mu.RUnlock()
	if s == nil || s.follower == nil {
		return r, fmt.Errorf("review release %s: cluster %s is not followed any more", id,
			r.Release.Service.Cluster)
	}
	now := time.Now()
	s.follower.refresh(ctx, now)
	return a.releases.Review(id, now)
}

// vouch accepts the revision that ran before a release, if nobody has judged it because it was there
// before tocsin: it must have run for the soak time, and nothing may have been wrong with its service.
// Without it, the first release of a service could not be taken back.
func (a *App) vouch(id string, now time.Time) {
	r, ok := a.releases.Record(id)
	rel := &r.Release
	if !ok || !rel.State.Running() || rel.Seen == nil || rel.Old.Hash == "" {
		return
	}
	if _, known := a.releases.LastGood(rel.Key, rel.New.Hash); known {
		return
	}
	soak := a.soak()
	ran := rel.Start.Sub(a.since(rel))
	if ran < soak || !a.incidents.Recovered(rel.Service, rel.Start.Add(-soak)).OK {
		return
	}
	by := fmt.Sprintf("tocsin: it ran for %s, and nothing was wrong", incident.PlainDuration(ran))
	if err := a.mark(rel.Key, rel.Old.Hash, release.Accepted, by, now); err != nil {
		a.logger.Warn("Revision is not vouched for", "service", rel.Service, "err", err)
	}
}

func (a *App) soak() time.Duration {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return time.Duration(a.config.Releases.Soak)
}

// since returns since when the old revision of a release has run, as far as is known: since its
// oldest pod started, if there still is one, or since it was released, if that was seen, or since
// tocsin watches.
func (a *App) since(r *release.Release) time.Time {
	since := a.began
	for _, known := range a.releases.Ledger(r.Key) {
		if known.Hash == r.Old.Hash && !known.First.IsZero() {
			since = known.First
		}
	}
	if r.Seen.Old.Hash != r.Old.Hash {
		return since
	}
	for _, p := range r.Seen.Old.Pods {
		if !p.Started.IsZero() && p.Started.Before(since) {
			since = p.Started
		}
	}
	return since
}

// marking is what the journal keeps of a mark.
type marking struct {
	release.Key

	Hash     string           `json:"hash"`
	Standing release.Standing `json:"standing"`
	By       string           `json:"by"`
	At       time.Time        `json:"at"`
}

// mark puts the standing of a revision in force, and writes it down.
func (a *App) mark(k release.Key, hash string, s release.Standing, by string, at time.Time) error {
	if err := a.releases.Mark(k, hash, s, by, at); err != nil {
		return err
	}
	a.journal.Record(journal.Entry{
		Kind: kindMark, Key: hash, At: at, Data: marking{k, hash, s, by, at},
	})
	return nil
}

// releases shows releases to the API.
type releases struct {
	*release.Manager
	journal *journal.Journal
	actions *action.Engine
}

// Mark implements api.Releases.
func (r releases) Mark(
	ctx context.Context, k release.Key, hash string, s release.Standing, by string, at time.Time,
) error {
	known := slices.ContainsFunc(r.Ledger(k), func(x release.Known) bool { return x.Hash == hash })
	if !known {
		return fmt.Errorf("mark revision %s: %w", hash, release.ErrUnknownRevision)
	}
	err := r.journal.Append(ctx, journal.Entry{
		Kind: kindMark, Key: hash, At: at, Data: marking{k, hash, s, by, at},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrNotRecorded, err)
	}
	if err := r.Manager.Mark(k, hash, s, by, at); err != nil || s != release.Accepted {
		return err
	}
	for _, rec := range r.Records() {
		if rec.Release.Key == k && rec.Release.New.Hash == hash {
			err := r.actions.Forgive(ctx, k.Service, rec.Release.New.Images, by)
			if errors.Is(err, action.ErrUnknown) {
				return nil // They were held to be bad nowhere.
			}
			return err
		}
	}
	return nil
}

// releasesFile is where what is known of releases is kept between two runs.
func (a *App) releasesFile() string { return a.path("releases.json") }

// saveReleases saves what is known of releases. What happened since is in the journal.
func (a *App) saveReleases() {
	state, err := a.releases.State()
	if err == nil {
		err = writeJSON(a.releasesFile(), state)
	}
	if err != nil {
		a.logger.Error("What is known of releases is not saved", "err", err)
	}
}

// restoreReleases brings back what was known of releases: as it was saved last, and what the journal
// says has happened since.
func (a *App) restoreReleases(ctx context.Context) error {
	var state release.ManagerState
	text, err := os.ReadFile(a.releasesFile())
	if err == nil {
		if err = json.Unmarshal(text, &state); err == nil {
			err = a.releases.Restore(state)
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		a.logger.Warn("What was known of releases is refused: they are followed from now on", "err", err)
		state = release.ManagerState{}
	}
	since := state.At
	if since.IsZero() {
		since = a.began.Add(-24 * time.Hour)
	}
	for before := int64(0); ; {
		events, err := a.journal.Read(ctx, journal.Query{
			Kinds: []string{kindChange, kindMark, kindRelease}, Since: since.Add(-time.Minute),
			After: before, Limit: 1000,
		})
		if err != nil {
			return fmt.Errorf("read what happened to releases: %w", err)
		}
		for _, e := range events {
			if err := a.replayRelease(e); err != nil {
				return err
			}
			before = e.Seq
		}
		if len(events) < 1000 {
			break
		}
	}
	for _, r := range a.releases.Records() {
		a.actions.Release(r)
	}
	return nil
}

// replayRelease takes in what happened after the state was saved. A release that was called
// regressed stays so, whatever is fetched again.
func (a *App) replayRelease(e journal.Event) error {
	switch e.Kind {
	case kindChange:
		c, ok, err := recall[fleet.Change](a.archive, e, believe)
		if err == nil && ok {
			a.releases.Change(c)
		}
		return err
	case kindMark:
		m, ok, err := recall[marking](a.archive, e, doubt)
		if err == nil && ok {
			a.remark(m.Key, m.Hash, m.Standing, m.By, m.At)
		}
		return err
	}
	r, ok, err := recall[release.Event](a.archive, e, believe)
	if err == nil && ok && r.Verdict.Result == release.Regressed {
		a.remark(r.Release.Key, r.Release.New.Hash, release.Bad, "tocsin: "+r.Verdict.Reason, e.At)
	}
	return err
}

// remark marks a revision again. One that is forgotten needs none.
func (a *App) remark(k release.Key, hash string, s release.Standing, by string, at time.Time) {
	err := a.releases.Mark(k, hash, s, by, at)
	if err != nil && !errors.Is(err, release.ErrUnknownRevision) {
		a.logger.Warn("Standing of a revision is lost", "service", k.Service, "hash", hash, "err", err)
	}
}
