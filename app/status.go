package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/version"

	"tocsin/api"
	"tocsin/collectors/kube"
	"tocsin/collectors/promql"
	"tocsin/config"
	"tocsin/incident"
	"tocsin/series"
	"tocsin/store/journal"
	"tocsin/store/tsdb"
)

// apiOptions shows the daemon to the API.
func (a *App) apiOptions() (api.Options, error) {
	external := &url.URL{Path: "/"}
	if text := a.opts.Settings.ExternalURL; text != "" {
		var err error
		if external, err = url.Parse(text); err != nil {
			return api.Options{}, fmt.Errorf("--web.external-url: %w", err)
		}
	}
	return api.Options{
		Addresses:   []string{a.opts.Settings.ListenAddress},
		WebConfig:   a.opts.Settings.WebConfigFile,
		ExternalURL: external,
		Version:     version.Version,
		Gatherer:    a.reg,
		Query:       a.tsdb.Handler(),
		Ready:       a.conditions,
		Reload:      a.Reload,
		Status:      a.status,
		Clusters:    a.clusterStatus,
		Services:    a.engine,
		Findings:    a.engine,
		Incidents:   a.incidents,
		Opinions:    a.opinions,
		Releases:    releases{a.releases, a.journal, a.actions},
		Actions:     a.actions,
		History:     history{a.journal},
		Reconcile:   a.journal.Reconcile,
		Logger:      a.opts.Logger.With("component", "api"),
		Reg:         a.reg,
	}, nil
}

// history shows the journal to the API.
type history struct{ journal *journal.Journal }

// Read implements api.History.
func (h history) Read(ctx context.Context, q api.HistoryQuery) ([]api.Record, error) {
	events, err := h.journal.Read(ctx, journal.Query{
		Kinds: []string{q.Kind}, Key: q.Key, Match: q.Match, Since: q.Since, Until: q.Until,
		Before: q.Before, Limit: q.Limit, Newest: true, Latest: !q.All,
	})
	if err != nil {
		return nil, err
	}
	out := make([]api.Record, len(events))
	for i, e := range events {
		out[i] = api.Record{Seq: e.Seq, Key: e.Key, Data: e.Data}
	}
	return out, nil
}

// setReady notes why the daemon is not ready; empty: this is no reason any more.
func (a *App) setReady(what, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready[what] = reason
}

// conditions says what readiness depends on: that all parts are started, and that every cluster has had a tick or has
// said why not.
func (a *App) conditions() []api.Condition {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := []api.Condition{{Name: "daemon", Reason: a.ready["app"]}}
	waiting := 0
	var first string
	for name, s := range a.sources {
		if st := s.promql.Status(); st.State == promql.Starting && st.Reason == "" || st.State == promql.Backfilling {
			waiting++
			if first == "" || name < first {
				first = name
			}
		}
	}
	c := api.Condition{Name: "clusters"}
	if waiting > 0 {
		c.Reason = fmt.Sprintf("%d of %d have not had a tick yet, %s among them", waiting, len(a.sources), first)
	}
	return append(out, c, a.journalCondition())
}

// journalCondition warns while the journal is damaged: nothing automatic may rely on it then, but people are told all
// the same.
func (a *App) journalCondition() api.Condition {
	c := api.Condition{Name: "journal"}
	if err := a.journal.Damaged(); err != nil {
		c.Warning = err.Error() + "; compare what was lost and reconcile it"
	}
	return c
}

// status says how the daemon is.
func (a *App) status(ctx context.Context) (api.Status, error) {
	clusters, err := a.clusterStatus(ctx)
	if err != nil {
		return api.Status{}, err
	}
	engine, err := a.engine.Status(ctx)
	if err != nil {
		return api.Status{}, err
	}
	engine.Clusters = nil
	out := api.Status{
		Started:          a.began,
		UptimeSeconds:    time.Since(a.began).Seconds(),
		Roles:            []string{"all"},
		Config:           a.configStatus(),
		UnmatchedSignals: a.unmatched(),
		Detector:         engine,
		Journal:          a.journal.Status(),
		Scores:           a.tsdb.Status(),
		Notifications:    a.remediation.Status(),
	}
	for _, c := range clusters {
		c.Metrics, c.Workloads = nil, nil
		out.Clusters = append(out.Clusters, c)
	}
	return out, nil
}

func (a *App) configStatus() api.ConfigStatus {
	r := a.reloadStatus()
	return api.ConfigStatus{
		File: a.opts.Settings.ConfigFile, Hash: r.Hash, Loaded: r.At, Failed: r.Tried, Error: r.Error,
	}
}

// unmatched lists the signals that a cluster was asked for in vain: nothing matches, or the source refuses the query. A
// pack that has what another pack has too, such as errors by gRPC, may well lack a signal; it is listed all the same,
// because silence is worse. Packs that a source has no metrics of are not listed.
func (a *App) unmatched() []api.UnmatchedSignal {
	a.mu.RLock()
	defer a.mu.RUnlock()
	out := []api.UnmatchedSignal{}
	for name, s := range a.sources {
		st := s.promql.Status()
		for _, sig := range st.Signals {
			refused := sig.State == promql.Off && (sig.Pack == "" || found(st.Packs, sig.Pack))
			if sig.State == promql.MatchesNothing || refused {
				out = append(out, api.UnmatchedSignal{Cluster: name, Signal: sig.Signal, Reason: sig.Reason})
			}
		}
	}
	slices.SortFunc(out, func(x, y api.UnmatchedSignal) int {
		return strings.Compare(x.Cluster+"\x00"+x.Signal, y.Cluster+"\x00"+y.Signal)
	})
	return out
}

// found says whether a source has the metrics of a pack.
func found(packs []promql.PackStatus, name string) bool {
	return slices.ContainsFunc(packs, func(p promql.PackStatus) bool { return p.Pack == name && p.Found })
}

// clusterStatus says how well each cluster is known, by name.
func (a *App) clusterStatus(ctx context.Context) ([]api.Cluster, error) {
	engine, err := a.engine.Status(ctx)
	if err != nil {
		return nil, err
	}
	open := make(map[string]int)
	for _, i := range a.incidents.Incidents() {
		if i.State != incident.Resolved {
			open[i.Service.Cluster]++
		}
	}
	byName := make(map[string]api.Cluster)
	for _, c := range a.clusters.Status() {
		// The manager knows those, too, of which the sources cannot be built.
		byName[c.Name] = api.Cluster{Name: c.Name, Reason: c.Reason, Incidents: open[c.Name]}
	}
	a.mu.RLock()
	for name, s := range a.sources {
		if c, ok := byName[name]; ok {
			byName[name] = s.show(c)
		}
	}
	a.mu.RUnlock()
	for _, d := range engine.Clusters {
		c, ok := byName[d.Cluster]
		if !ok {
			continue
		}
		c.Newest, c.Services, c.Series = d.At, d.Services, d.Series
		c.Warm, c.Warming, c.Silent, c.Findings = d.Warm, d.Warming, d.Silent, d.Findings
		c.Budget = d.Budget
		byName[d.Cluster] = c
	}
	out := make([]api.Cluster, 0, len(byName))
	for _, c := range byName {
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y api.Cluster) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

// show adds to c what the sources say.
func (s *sources) show(c api.Cluster) api.Cluster {
	p := s.promql.Status()
	c.Metrics = p
	c.Reachable = p.Reachable
	c.Stale = p.State == promql.Stale
	reasons := []string{}
	if c.Reason != "" {
		reasons = append(reasons, c.Reason)
	}
	if p.Reason != "" {
		reasons = append(reasons, "metrics: "+p.Reason)
	}
	c.Backfill = 1
	if p.Backfill != nil && !p.Backfill.Done {
		c.Backfill = p.Backfill.Ratio
	}
	if s.kube != nil {
		k := s.kube.Status()
		c.Workloads = k
		c.Stale = c.Stale || k.State == kube.Stale
		if k.Reason != "" {
			reasons = append(reasons, "workloads: "+k.Reason)
		}
	}
	c.Reason = strings.Join(reasons, "; ")
	return c
}

// tsdbOptions says how scores are kept.
func (a *App) tsdbOptions(c *config.Config, reg prometheus.Registerer, logger *slog.Logger) tsdb.Options {
	opts := tsdb.Options{
		Dir:       a.path("tsdb"),
		Retention: time.Duration(c.Storage.Retention),
		MinFree:   -1,
		Detail:    c.Storage.DetailSignals,
		Match: func(id series.ID) bool {
			return c.Storage.Details(model.LabelSet{
				"cluster":   model.LabelValue(id.Service.Cluster),
				"namespace": model.LabelValue(id.Service.Namespace),
				"service":   model.LabelValue(id.Service.Name),
				"signal":    model.LabelValue(id.Signal),
			})
		},
		Version: version.Version,
		Config:  func() string { a.mu.RLock(); defer a.mu.RUnlock(); return a.config.String() },
		Flags: map[string]string{
			"config.file":        a.opts.Settings.ConfigFile,
			"storage.path":       a.opts.Settings.StoragePath,
			"web.listen-address": a.opts.Settings.ListenAddress,
		},
		Logger: logger.With("component", "tsdb"),
		Reg:    reg,
	}
	if opts.Detail == 0 {
		opts.Detail = -1 // Nobody wants any; 0 stands for the default there.
	}
	opts.MinFreeShare = -1
	if free := c.Storage.MinFree; free.Percent > 0 {
		opts.MinFreeShare = free.Percent / 100
	}
	if free := c.Storage.MinFree; free.Bytes > 0 {
		opts.MinFree = free.Bytes
	}
	return opts
}

// started is what the journal keeps of a start.
func (a *App) started() map[string]any {
	return map[string]any{
		"version": version.Version, "revision": version.Revision,
		"config": a.opts.Settings.ConfigFile, "hash": a.reloadStatus().Hash,
	}
}
