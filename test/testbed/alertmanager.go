package testbed

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// AlertmanagerOptions configures an Alertmanager. The zero value receives alerts and tells nobody.
type AlertmanagerOptions struct {
	Config  string        // The whole configuration; empty: written from what follows.
	Webhook string        // URL that every alert goes to, and its resolution.
	GroupBy []string      // Labels; each alert is a group of its own.
	Wait    time.Duration // group_wait and group_interval; 1s.
	Args    []string      // Further flags.
}

// Alertmanager is a running Alertmanager without peers.
type Alertmanager struct {
	*Process
	URL string
}

// Alert is one alert as the Alertmanager's API v2 shows it.
type Alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	UpdatedAt    time.Time         `json:"updatedAt"`
	Fingerprint  string            `json:"fingerprint"`
	GeneratorURL string            `json:"generatorURL"`
	Status       struct {
		State string `json:"state"` // active, suppressed, unprocessed
	} `json:"status"`
}

// StartAlertmanager builds an Alertmanager if need be, starts it and waits until it is ready. After
// Stop or Kill, Start brings it back on the same port; it has then forgotten its alerts, as it does
// in production.
func StartAlertmanager(t testing.TB, opts AlertmanagerOptions) *Alertmanager {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	text := opts.Config
	if text == "" {
		text = alertmanagerConfig(opts)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatalf("testbed: configure Alertmanager: %v", err)
	}
	listen := address(Port(t))
	a := &Alertmanager{URL: "http://" + listen}
	a.Process = Start(t, ProcessOptions{
		Name: "alertmanager-" + strings.TrimPrefix(listen, "127.0.0.1:"),
		Path: filepath.Join(Tools(t, "alertmanager"), "alertmanager"),
		Args: append([]string{
			"--config.file=" + config,
			"--storage.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + listen,
			"--cluster.listen-address=",
			"--log.level=debug",
		}, opts.Args...),
		Ready: serves(http.DefaultClient, a.URL+"/-/ready", nil),
	})
	return a
}

// alertmanagerConfig writes JSON, which is YAML.
func alertmanagerConfig(opts AlertmanagerOptions) string {
	wait := opts.Wait
	if wait == 0 {
		wait = time.Second
	}
	by := opts.GroupBy
	if len(by) == 0 {
		by = []string{"..."}
	}
	receiver := map[string]any{"name": "test"}
	if opts.Webhook != "" {
		receiver["webhook_configs"] = []any{
			map[string]any{"url": opts.Webhook, "send_resolved": true},
		}
	}
	text, err := json.Marshal(map[string]any{
		"route": map[string]any{
			"receiver":        "test",
			"group_by":        by,
			"group_wait":      fmt.Sprintf("%dms", wait.Milliseconds()),
			"group_interval":  fmt.Sprintf("%dms", wait.Milliseconds()),
			"repeat_interval": "1h",
		},
		"receivers": []any{receiver},
	})
	if err != nil {
		panic(err) // Strings always marshal.
	}
	return string(text)
}

// Alerts returns the alerts that fire now; those that ended are not among them.
func (a *Alertmanager) Alerts() ([]Alert, error) {
	body, err := get(http.DefaultClient, a.URL+"/api/v2/alerts", nil)
	if err != nil {
		return nil, err
	}
	var alerts []Alert
	if err := json.Unmarshal(body, &alerts); err != nil {
		return nil, fmt.Errorf("read alerts: %w", err)
	}
	return alerts, nil
}

// labels writes a set of labels in one order, as PromQL does.
func labels(set map[string]string) string {
	parts := make([]string, 0, len(set))
	for _, name := range slices.Sorted(maps.Keys(set)) {
		parts = append(parts, fmt.Sprintf("%s=%q", name, set[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}
