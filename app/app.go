// Package app builds the daemon from its configuration, starts and stops its parts in order, and reloads it.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	promcollectors "github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/collectors/version"

	"tocsin/api"
	"tocsin/collectors"
	"tocsin/collectors/kube"
	"tocsin/config"
	"tocsin/detector"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/remediation"
	"tocsin/remediation/action"
	"tocsin/series"
	"tocsin/store/journal"
	"tocsin/store/tsdb"
)

// Options configures an App. Zero values of optional fields stand for the defaults given here.
type Options struct {
	Config   *config.Config // Required.
	Settings config.Settings
	Logger   *slog.Logger            // Discards.
	Observe  func(incident.Incident) // Told of every incident as it opens, changes and resolves; nobody.
}

// App is the daemon.
type App struct {
	opts    Options
	logger  *slog.Logger
	reg     *prometheus.Registry
	metrics *metrics
	began   time.Time

	journal     *journal.Journal
	archive     *archive
	tsdb        *tsdb.DB
	registry    *series.Registry
	engine      *detector.Engine
	incidents   *incident.Manager
	remediation *remediation.Engine
	releases    *release.Manager
	following   *followMetrics
	actions     *action.Engine
	hands       *hands
	recorder    *recorder
	opinions    *opinions
	clusters    *collectors.Manager
	server      *api.Server

	reloading  sync.Mutex         // Held during a reload; guards what follows.
	applied    map[string]applied // By cluster.
	generation int                // Of sources; each set of them has its own.

	mu      sync.RWMutex // Guards what follows.
	config  *config.Config
	labels  map[string]map[string]string // Of clusters, by name.
	sources map[string]*sources          // By cluster, the newest.
	reload  reloadStatus
	ready   map[string]string // What readiness waits for, and why.
}

// New builds the daemon: it opens the stores and reads back what was known, and starts nothing.
func New(opts Options) (_ *App, err error) {
	if opts.Config == nil {
		return nil, errors.New("app: no configuration")
	}
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		promcollectors.NewGoCollector(),
		promcollectors.NewProcessCollector(promcollectors.ProcessCollectorOpts{}),
		version.NewCollector("tocsin"),
	)
	a := &App{
		opts:     opts,
		logger:   opts.Logger.With("component", "app"),
		reg:      reg,
		metrics:  newMetrics(reg),
		began:    time.Now(),
		config:   opts.Config,
		registry: series.NewRegistry(opts.Config.Global.MaxSeriesPerCluster),
		applied:  make(map[string]applied),
		sources:  make(map[string]*sources),
		ready:    map[string]string{"app": "starting"},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	a.reload = reloadStatus{At: a.began, Hash: a.filesHash()}
	kube.Logs(opts.Logger)
	if err := a.openStores(); err != nil {
		return nil, err
	}
	if err := a.build(); err != nil {
		return nil, err
	}
	if err := a.restore(context.Background()); err != nil {
		return nil, err
	}
	return a, nil
}

// path returns the place of something below the folder of all that is kept.
func (a *App) path(elem ...string) string {
	return filepath.Join(append([]string{a.opts.Settings.StoragePath}, elem...)...)
}

func (a *App) openStores() error {
	if err := os.MkdirAll(a.path(), 0o750); err != nil {
		return fmt.Errorf("make the folder of all that is kept: %w", err)
	}
	c := a.opts.Config.Storage
	var err error
	a.journal, err = journal.Open(journal.Options{
		Path:      a.path("journal.db"),
		Retention: time.Duration(c.JournalRetention),
		Keep:      keepEvent,
		Logger:    a.opts.Logger.With("component", "journal"),
		Reg:       a.reg,
	})
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	a.archive = &archive{a.journal, a.logger, a.metrics.suspect}
	a.tsdb, err = tsdb.Open(a.tsdbOptions(a.opts.Config, a.reg, a.opts.Logger))
	if err != nil {
		return fmt.Errorf("open the score database: %w", err)
	}
	return nil
}

// build makes everything between the stores and the network.
func (a *App) build() error {
	c := a.opts.Config
	policy, err := a.policy(c)
	if err != nil {
		return err
	}
	a.remediation, err = remediation.New(context.Background(), remediation.Options{
		Policy: policy,
		Labels: a.clusterLabels,
		Link:   a.link,
		Ledger: ledger{a.journal, a.archive},
		Record: a.recordNotification,
		Logger: a.opts.Logger,
		Reg:    a.reg,
	})
	if err != nil {
		return fmt.Errorf("build notification: %w", err)
	}
	grouping := incidentOptions(c)
	grouping.Report, grouping.Logger, grouping.Reg = a.reportIncident, a.opts.Logger, a.reg
	if a.incidents, err = incident.New(grouping); err != nil {
		return fmt.Errorf("build incidents: %w", err)
	}
	if err := a.buildReleases(c); err != nil {
		return err
	}
	if err := a.buildActions(c); err != nil {
		return err
	}
	a.recorder = newRecorder(a.journal, a.incidents, a.releases, a.opts.Logger.With("component", "recorder"), a.reg)
	detection := detectorOptions(c)
	detection.Registry, detection.Logger, detection.Reg = a.registry, a.opts.Logger, a.reg
	detection.Scores, detection.Services, detection.Report = a.tsdbScores, a.recorder.advance, a.reportFinding
	if a.engine, err = detector.New(detection); err != nil {
		return fmt.Errorf("build the detector: %w", err)
	}
	a.opinions = newOpinions(a.archive, a.engine.SetFeedback, a.opts.Logger, a.reg)
	a.clusters = collectors.NewManager(collectors.ManagerOptions{
		Removed: a.removeCluster,
		Logger:  a.opts.Logger,
		Reg:     a.reg,
	})
	serve, err := a.apiOptions()
	if err != nil {
		return err
	}
	if a.server, err = api.New(serve); err != nil {
		return fmt.Errorf("build the API: %w", err)
	}
	return nil
}

// tsdbScores hands the scores of a tick to the score database.
func (a *App) tsdbScores(s *detector.Scores) { a.tsdb.WriteScores(s, a.registry.ID) }

// reportFinding implements detector.Options.Report.
func (a *App) reportFinding(f detector.Finding) {
	a.tsdb.SetDetail(series.ID{Service: f.Service, Signal: f.Signal}, f.State == detector.Open)
	a.recorder.find(f)
}

// reportIncident implements incident.Options.Report: it is written down, and then told.
func (a *App) reportIncident(i incident.Incident) {
	a.journal.Record(journal.Entry{Kind: kindIncident, Key: i.ID, At: i.Updated, Data: i})
	a.logger.Info("Incident", "id", i.ID, "state", i.State, "severity", i.Severity, "title", i.Title)
	a.remediation.Incident(i)
	if a.opts.Observe != nil {
		a.opts.Observe(i)
	}
}

// removeCluster forgets a cluster that the configuration no longer has.
func (a *App) removeCluster(name string) {
	a.mu.Lock()
	delete(a.sources, name)
	a.mu.Unlock()
	if err := a.engine.RemoveCluster(name); err != nil {
		a.logger.Error("Cluster is not forgotten", "cluster", name, "err", err)
	}
	a.recorder.remove(name)
	a.releases.Remove(name, time.Now())
	a.hands.drop(name)
}

// close closes the stores.
func (a *App) close() error {
	var errs []error
	if a.hands != nil {
		a.hands.close()
	}
	if a.tsdb != nil {
		errs = append(errs, a.tsdb.Close())
	}
	if a.journal != nil {
		errs = append(errs, a.journal.Close())
	}
	return errors.Join(errs...)
}
