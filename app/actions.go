package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"tocsin/collectors/kube"
	"tocsin/config"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
	"tocsin/store/journal"
)

// buildActions makes what acts on releases.
func (a *App) buildActions(c *config.Config) error {
	policy, err := actionPolicy(c)
	if err != nil {
		return err
	}
	a.hands = &hands{app: a, executors: make(map[string]*hand)}
	a.actions, err = action.New(context.Background(), action.Options{
		Policy:   policy,
		Executor: a.hands.of,
		Review:   a.review,
		Context:  a.circumstances,
		Team:     a.team,
		LastGood: a.releases.LastGood,
		Health:   a.health,
		Webhook:  a.revert,
		Ledger:   actionLedger{a.journal, a.archive},
		Report:   a.reportAction,
		Alarm:    a.reportAlarm,
		Logger:   a.opts.Logger,
		Reg:      a.reg,
	})
	if err != nil {
		return fmt.Errorf("build actions: %w", err)
	}
	return nil
}

// team implements action.Options.Team.
func (a *App) team(s fleet.Service) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.config.Alerting.Team(s.Namespace)
}

// reportAction implements action.Options.Report. The ledger has written it down already.
func (a *App) reportAction(act action.Action) {
	a.incidents.Act(incident.Act{
		Release: act.Release, ID: act.ID, At: act.Changed, Kind: string(act.Kind),
		State: string(act.State), Mode: string(act.Mode), Text: act.Sentence(), By: act.Approver,
		Final: act.Over(),
	})
}

// reportAlarm implements action.Options.Alarm.
func (a *App) reportAlarm(alarm action.Alarm) {
	a.journal.Record(journal.Entry{Kind: kindAlarm, Key: string(alarm.Kind), At: alarm.At, Data: alarm})
	a.logger.Error("Alarm", "kind", alarm.Kind, "service", alarm.Service, "text", alarm.Text)
	a.incidents.Alarm(incident.Alarm{
		Kind: string(alarm.Kind), At: alarm.At, Text: alarm.Text, Release: alarm.Release,
		Action: alarm.Action, Service: alarm.Service, Page: alarm.Kind != action.AlarmBadImages,
	})
}

// Where trouble of many is no longer a matter of one release: so many other services, and so large
// a share of the cluster's.
const (
	manyServices = 5
	manyShare    = 0.1
)

// circumstances implements action.Options.Context: what may have caused the trouble of a release
// other than the release.
func (a *App) circumstances(ctx context.Context, r *release.Record) action.Context {
	a.mu.RLock()
	c := a.config
	s := a.sources[r.Release.Service.Cluster]
	a.mu.RUnlock()
	service, start := r.Release.Service, r.Release.Start
	var out action.Context
	if len(a.incidents.Failing([]fleet.Service{service}, start)) > 0 {
		out.Before = "something was wrong with the service before the release began"
	}
	if down := a.incidents.Failing(calls(c, service), time.Now()); len(down) > 0 {
		out.Dependency = fmt.Sprintf("it calls %s, which fails", down[0])
	}
	inCluster := -1
	if engine, err := a.engine.Status(ctx); err == nil {
		for _, cluster := range engine.Clusters {
			out.Services += cluster.Services
			if cluster.Cluster == service.Cluster {
				inCluster = cluster.Services
			}
		}
	}
	out.FleetWide, out.Related = a.around(r, inCluster)
	if n := a.recorder.troubled(service, start.Add(-5*time.Minute)); n >= 3 {
		out.Nodes = fmt.Sprintf("Kubernetes tells of trouble with nodes for %d other services of the cluster", n)
	}
	if err := a.journal.Damaged(); err != nil {
		out.Doubt = "the journal is damaged: " + err.Error()
	} else if s != nil {
		out.Doubt = s.clockDoubt()
	}
	return out
}

// calls returns what a service calls, as far as the configuration says.
func calls(c *config.Config, s fleet.Service) []fleet.Service {
	var out []fleet.Service
	for _, name := range c.Remediation.Calls(s.Namespace, s.Name) {
		namespace, service, ok := strings.Cut(name, "/")
		if !ok {
			namespace, service = s.Namespace, name
		}
		out = append(out, fleet.Service{Cluster: s.Cluster, Namespace: namespace, Name: service})
	}
	return out
}

// around says whether so many other services have trouble since the release began that it is hardly
// the cause, and which services of its namespace the incident of the release touches: they may be of
// one chain of calls. All is how many services the cluster has; -1: that is not known.
func (a *App) around(r *release.Record, all int) (wide string, related []fleet.Service) {
	service := r.Release.Service
	others := make(map[fleet.Service]bool)
	for _, i := range a.incidents.Incidents() {
		if i.State == incident.Resolved || i.Service.Cluster != service.Cluster {
			continue
		}
		if i.Release != nil && i.Release.ID == r.Release.ID {
			for _, s := range i.Services {
				if s.Namespace == service.Namespace && s != service {
					related = append(related, s)
				}
			}
			if i.Peers.FleetWide() && len(r.Clusters) == 0 {
				wide = "the same is wrong in other clusters: " + i.Peers.String()
			}
			continue
		}
		if i.Release == nil && i.Start.After(r.Release.Start.Add(-5*time.Minute)) {
			for _, s := range i.Services {
				others[s] = true
			}
		}
	}
	delete(others, service)
	if n := len(others); all >= 0 && n >= manyServices && float64(n) >= manyShare*float64(all) {
		wide = fmt.Sprintf("%d of %d services of the cluster have had trouble since", n, all)
	}
	return wide, related
}

// clockDoubt says whether the clocks of a cluster's source and of tocsin differ.
func (s *sources) clockDoubt() string {
	if p := s.promql.Status(); strings.Contains(p.Reason, "clock") {
		return p.Reason
	}
	return ""
}

// health implements action.Options.Health: what detection knows of the service since the release was
// taken back.
func (a *App) health(_ context.Context, act action.Action) (action.Health, error) {
	r := a.incidents.Recovered(act.Service, act.Written)
	if !r.Known && act.Verdict.Metric != "" && act.Verdict.EValue <= 1 {
		// Kubernetes alone spoke against the release, of a service without metrics: that its pods are
		// well again is known since the rollout was verified.
		return action.Health{Well: true, Reason: "its pods are well", DataAt: time.Now()}, nil
	}
	if r.OK {
		r.Reason = "nothing is wrong with it"
	}
	return action.Health{Well: r.OK, Reason: r.Reason, DataAt: a.engine.LastAt(act.Service.Cluster)}, nil
}

// hands are what acts on clusters. Each is made when it is needed first, and made anew when the
// configuration of its cluster has changed.
type hands struct {
	app *App

	mu        sync.Mutex // Guards what follows.
	executors map[string]*hand
}

type hand struct {
	*rollback.Executor
	kubeconfig, context string
}

// of implements action.Options.Executor.
func (h *hands) of(cluster string) (action.Executor, error) {
	h.app.mu.RLock()
	s := h.app.sources[cluster]
	h.app.mu.RUnlock()
	if s == nil || s.cluster.Kubernetes == nil {
		return nil, fmt.Errorf("cluster %s: %w: it has no `kubernetes`", cluster, action.ErrNoExecutor)
	}
	kubeconfig, name := s.cluster.Kubernetes.Writer()
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.executors[cluster]; e != nil {
		if e.kubeconfig == kubeconfig && e.context == name {
			return e, nil
		}
		e.Close()
		delete(h.executors, cluster)
	}
	to, err := kube.Config(kubeconfig, name)
	if err != nil {
		return nil, fmt.Errorf("act on cluster %s: %w", cluster, err)
	}
	e, err := rollback.New(rollback.Options{
		Cluster: cluster, Config: to,
		Note:   h.app.actions.Note,
		Logger: h.app.opts.Logger, Reg: h.app.reg,
	})
	if err != nil {
		return nil, fmt.Errorf("act on cluster %s: %w", cluster, err)
	}
	h.executors[cluster] = &hand{e, kubeconfig, name}
	return h.executors[cluster], nil
}

// drop closes the connections to a cluster that is not watched any more.
func (h *hands) drop(cluster string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.executors[cluster]; e != nil {
		e.Close()
		delete(h.executors, cluster)
	}
}

// close closes all connections.
func (h *hands) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.executors {
		e.Close()
	}
	clear(h.executors)
}

// actionLedger keeps in the journal what is done about releases.
type actionLedger struct {
	journal *journal.Journal
	archive *archive
}

// Load implements action.Ledger. An action that cannot be shown to be as it was written is left out: the
// annotation on the target says whether it has happened. What keeps actions from being done is believed.
func (l actionLedger) Load(ctx context.Context) (action.Memory, error) {
	var m action.Memory
	for kind, f := range map[string]faith{kindAction: doubt, kindPause: believe, kindBad: believe} {
		entries, err := latest[action.Entry](ctx, l.archive, kind, f)
		if err != nil {
			return action.Memory{}, err
		}
		for _, e := range entries {
			switch {
			case e.Action != nil:
				m.Actions = append(m.Actions, *e.Action)
			case e.Pause != nil:
				m.Pauses = append(m.Pauses, *e.Pause)
			case e.Bad != nil:
				m.Bad = append(m.Bad, *e.Bad)
			}
		}
	}
	return m, nil
}

// Append implements action.Ledger.
func (l actionLedger) Append(ctx context.Context, e action.Entry) error {
	entry := journal.Entry{At: e.At, Data: e}
	switch {
	case e.Action != nil:
		entry.Kind, entry.Key = kindAction, e.Action.ID
	case e.Pause != nil:
		entry.Kind, entry.Key = kindPause, e.Pause.ID
	case e.Bad != nil:
		entry.Kind, entry.Key = kindBad, e.Bad.Key()
	default:
		return errors.New("write down what is done about releases: the entry is empty")
	}
	return l.journal.Append(ctx, entry)
}
