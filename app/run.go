package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/store/journal"
)

// part is a component that runs until its context is done.
type part struct {
	name     string
	run      func(context.Context) error
	patience time.Duration // How long it may take to stop.

	cancel context.CancelFunc
	done   chan struct{} // Closed when run has returned.
	err    error         // Of run; may be read when done is closed.
}

// Run runs the daemon until ctx is done or a part of it fails, then stops its parts in the reverse order of their
// start and closes the stores. It can be called once.
func (a *App) Run(ctx context.Context) error {
	parts := []*part{
		{name: "journal", run: a.journal.Run, patience: 5 * time.Second},
		{name: "score database", run: a.tsdb.Run, patience: 10 * time.Second},
		{name: "notification", run: a.remediation.Run, patience: 15 * time.Second},
		{name: "actions", run: a.actions.Run, patience: 15 * time.Second},
		{name: "recorder", run: a.recorder.Run, patience: 5 * time.Second},
		{name: "feedback", run: a.opinions.Run, patience: 5 * time.Second},
		{name: "detector", run: a.engine.Run, patience: 5 * time.Second},
		{name: "self-check", run: a.selfCheck, patience: 10 * time.Second},
		{name: "snapshots", run: a.snapshots, patience: 10 * time.Second},
		{name: "collectors", run: a.clusters.Run, patience: 5 * time.Second},
		{name: "reloader", run: a.watchFiles, patience: time.Second},
		{name: "API", run: a.server.Run, patience: 5 * time.Second},
	}
	failed := make(chan *part, len(parts)) // Each part ends once.
	for _, p := range parts {
		p.start(context.WithoutCancel(ctx), failed)
	}
	a.journal.Record(journal.Entry{Kind: kindStart, Key: "tocsin", Data: a.started()})
	err := a.watchClusters()
	a.setReady("app", "")
	a.logger.Info("Started", "clusters", len(a.opts.Config.Clusters), "address", a.opts.Settings.ListenAddress)
	if err == nil {
		select {
		case <-ctx.Done():
			a.logger.Info("Stopping", "reason", context.Cause(ctx))
		case p := <-failed:
			err = fmt.Errorf("%s ended: %w", p.name, p.err)
			a.logger.Error("Stopping", "err", err)
		}
	}
	return errors.Join(err, a.stop(parts))
}

// watchClusters starts the sources of the clusters.
func (a *App) watchClusters() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	clusters, err := clusterList(a.opts.Config)
	if err != nil {
		return err
	}
	specs, err := a.specs(a.opts.Config, clusters)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.labels = labelsOf(clusters)
	a.mu.Unlock()
	a.clusters.Apply(specs)
	return nil
}

func (p *part) start(ctx context.Context, failed chan<- *part) {
	ctx, p.cancel = context.WithCancel(ctx)
	p.done = make(chan struct{})
	go func() {
		p.err = p.run(ctx)
		close(p.done)
		if ctx.Err() == nil {
			failed <- p
		}
	}()
}

// stop stops the parts, the last one first, and closes the stores. A part that does not stop in time is named and left
// behind.
func (a *App) stop(parts []*part) error {
	a.setReady("app", "stopping")
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		began := time.Now()
		p.cancel()
		patience := time.NewTimer(p.patience)
		select {
		case <-p.done:
			if p.err != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", p.name, p.err))
			}
			a.logger.Info("Part stopped", "part", p.name, "took", time.Since(began))
		case <-patience.C:
			errs = append(errs, fmt.Errorf("stop %s: it did not within %s", p.name, p.patience))
		}
		patience.Stop()
	}
	errs = append(errs, a.close())
	err := errors.Join(errs...)
	if err == nil {
		a.logger.Info("Stopped")
	}
	return err
}
