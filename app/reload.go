package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"syscall"
	"time"

	"tocsin/config"
	"tocsin/store/journal"
)

// pollInterval is how often the content of the files is compared: a ConfigMap changes under a symbolic link, of
// which file notification does not tell reliably.
const pollInterval = 10 * time.Second

// reloadStatus says how the last reload went.
type reloadStatus struct {
	At      time.Time `json:"at,omitzero"` // Of the configuration in force.
	Hash    string    `json:"hash"`        // Of the content of its file.
	Error   string    `json:"error,omitempty"`
	Tried   time.Time `json:"tried,omitzero"`    // Of the reload that went wrong.
	Restart []string  `json:"restart,omitempty"` // Settings that changed in the file and take a restart.
}

// watchFiles reloads on SIGHUP, and when the content of a file on which the configuration depends has changed.
func (a *App) watchFiles(ctx context.Context) error {
	if a.opts.Settings.ConfigFile == "" {
		<-ctx.Done()
		return nil
	}
	hangup := make(chan os.Signal, 1) // Holds one: a second while it is handled changes nothing.
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	last := a.filesHash()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
			last = a.filesHash()
		case <-poll.C:
			now := a.filesHash()
			if now == last {
				continue
			}
			last = now
		}
		_ = a.Reload(ctx) // It has logged, counted and shown its error.
	}
}

// filesHash stands for the content of the configuration file, and of the kubeconfig files that name clusters.
func (a *App) filesHash() string {
	a.mu.RLock()
	files := []string{a.opts.Settings.ConfigFile}
	for _, from := range a.config.ClustersFrom {
		files = append(files, from.Kubeconfig)
	}
	a.mu.RUnlock()
	h := sha256.New()
	for _, name := range files {
		text, err := os.ReadFile(name)
		fmt.Fprintf(h, "%s %d %v\n", name, len(text), err)
		_, _ = h.Write(text) // Never fails.
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Reload reads the configuration again and puts it into force. On error the old one stays in force.
func (a *App) Reload(context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	restart, err := a.tryReload()
	now := time.Now()
	a.mu.Lock()
	if err == nil {
		a.reload = reloadStatus{At: now, Hash: a.reload.Hash, Restart: restart} // Of an earlier error nothing is left.
	} else {
		a.reload.Error, a.reload.Tried = err.Error(), now
	}
	a.mu.Unlock()
	if err != nil {
		a.metrics.reloadOK.Set(0)
		a.metrics.reloads.WithLabelValues("failure").Inc()
		a.logger.Error("Configuration is not reloaded; the old one stays in force", "err", err)
	} else {
		a.metrics.reloadOK.Set(1)
		a.metrics.reloadTime.SetToCurrentTime()
		a.metrics.reloads.WithLabelValues("success").Inc()
		a.logger.Info("Configuration is reloaded", "take_a_restart", restart)
	}
	a.journal.Record(journal.Entry{Kind: kindReload, Key: "config", At: now, Data: a.reloadStatus()})
	return err
}

func (a *App) reloadStatus() reloadStatus {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.reload
}

// tryReload does all that can fail first, and then swaps. It returns the settings that take a restart.
func (a *App) tryReload() ([]string, error) {
	if a.opts.Settings.ConfigFile == "" {
		return nil, errors.New("reload: the daemon was started without a configuration file")
	}
	hash := a.filesHash()
	c, err := config.Load(a.opts.Settings.ConfigFile)
	if err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	clusters, err := clusterList(c)
	if err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	policy, err := a.policy(c)
	if err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	acting, err := actionPolicy(c)
	if err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	specs, err := a.specs(c, clusters)
	if err != nil {
		return nil, fmt.Errorf("reload: %w", err)
	}
	if err := a.engine.SetSignals(detectorSignals(c)); err != nil { // Not of signals that config has checked.
		return nil, fmt.Errorf("reload: %w", err)
	}
	if err := a.engine.SetBudget(budget(c)); err != nil { // Nor of a budget.
		return nil, fmt.Errorf("reload: %w", err)
	}
	if err := a.actions.Apply(acting); err != nil { // Nor of a policy of actions.
		return nil, fmt.Errorf("reload: %w", err)
	}
	a.mu.Lock()
	old, oldLabels := a.config, a.labels
	a.config, a.labels = c, labelsOf(clusters)
	a.mu.Unlock()
	if err := a.remediation.Apply(policy); err != nil { // Nor of routes.
		a.mu.Lock()
		a.config, a.labels = old, oldLabels
		a.mu.Unlock()
		return nil, fmt.Errorf("reload: %w", err)
	}
	a.mu.Lock()
	a.reload.Hash = hash
	a.mu.Unlock()
	a.clusters.Apply(specs)
	return needRestart(old, c), nil
}

// needRestart names the settings that differ and are read at start only.
func needRestart(old, c *config.Config) []string {
	var out []string
	for _, s := range []struct {
		name     string
		old, new any
	}{
		{"web", old.Web, c.Web},
		{"log", old.Log, c.Log},
		{"storage", old.Storage, c.Storage},
		{"detection", old.Detection, c.Detection},
		{"releases", old.Releases, c.Releases},
		{"incidents.group_wait", old.Incidents.GroupWait, c.Incidents.GroupWait},
		{"incidents.related_window", old.Incidents.RelatedWindow, c.Incidents.RelatedWindow},
		{"incidents.hold", old.Incidents.Hold, c.Incidents.Hold},
		{"incidents.cause_window", old.Incidents.CauseWindow, c.Incidents.CauseWindow},
		{"global.max_series_per_cluster", old.Global.MaxSeriesPerCluster, c.Global.MaxSeriesPerCluster},
	} {
		if !reflect.DeepEqual(s.old, s.new) {
			out = append(out, s.name)
		}
	}
	return out
}
