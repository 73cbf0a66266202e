package testbed

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Target is a page of metrics that a Prometheus scrapes.
type Target struct {
	Job     string            // tocsin.
	Address string            // host:port, required.
	Path    string            // /metrics.
	Labels  map[string]string // Added to every series.
}

// PrometheusOptions configures a Prometheus. The zero value scrapes nothing.
type PrometheusOptions struct {
	Config   string        // The whole configuration; empty: written from what follows.
	Targets  []Target      // What to scrape.
	Interval time.Duration // Between scrapes and rule evaluations; 1s.
	Data     string        // Folder of its database, with what is in it; a new one.
	Args     []string      // Further flags.
}

// Prometheus is a running Prometheus server.
type Prometheus struct {
	*Process
	URL string
}

// StartPrometheus builds a Prometheus if need be, starts it and waits until it is ready. After Stop
// or Kill, Start brings it back on the same port with its data.
func StartPrometheus(t testing.TB, opts PrometheusOptions) *Prometheus {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := opts.Config
	if text == "" {
		text = prometheusConfig(opts)
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatalf("testbed: configure Prometheus: %v", err)
	}
	data := opts.Data
	if data == "" {
		data = filepath.Join(dir, "data")
	}
	listen := address(Port(t))
	p := &Prometheus{URL: "http://" + listen}
	p.Process = Start(t, ProcessOptions{
		Name: "prometheus-" + strings.TrimPrefix(listen, "127.0.0.1:"),
		Path: filepath.Join(Tools(t, "prometheus"), "prometheus"),
		Args: append([]string{
			"--config.file=" + config,
			"--storage.tsdb.path=" + data,
			"--web.listen-address=" + listen,
			"--web.enable-lifecycle",
			"--log.level=warn",
		}, opts.Args...),
		Ready: serves(http.DefaultClient, p.URL+"/-/ready", nil),
	})
	return p
}

// prometheusConfig writes JSON, which is YAML.
func prometheusConfig(opts PrometheusOptions) string {
	interval := opts.Interval
	if interval == 0 {
		interval = time.Second
	}
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels,omitempty"`
	}
	type job struct {
		Name    string  `json:"job_name"`
		Path    string  `json:"metrics_path,omitempty"`
		Native  bool    `json:"scrape_native_histograms"`
		Classic bool    `json:"always_scrape_classic_histograms"`
		Static  []group `json:"static_configs"`
	}
	jobs := make([]job, 0, len(opts.Targets))
	for i, target := range opts.Targets {
		name := target.Job
		if name == "" {
			name = "tocsin"
		}
		labels := map[string]string{"job": name}
		for k, v := range target.Labels {
			labels[k] = v
		}
		jobs = append(jobs, job{ // Two of one name are refused; the label says what the name may not.
			Name: fmt.Sprintf("%s-%d", name, i), Path: target.Path, Native: true, Classic: true,
			Static: []group{{Targets: []string{target.Address}, Labels: labels}},
		})
	}
	text, err := json.Marshal(map[string]any{
		"global": map[string]string{
			"scrape_interval":     fmt.Sprintf("%dms", interval.Milliseconds()),
			"scrape_timeout":      fmt.Sprintf("%dms", interval.Milliseconds()),
			"evaluation_interval": fmt.Sprintf("%dms", interval.Milliseconds()),
		},
		"scrape_configs": jobs,
	})
	if err != nil {
		panic(err) // Strings and numbers always marshal.
	}
	return string(text)
}

// Query evaluates an instant vector or scalar now and returns the value of each series, keyed by
// its labels as PromQL writes them: `{job="api"}`, with the metric's name as __name__.
func (p *Prometheus) Query(expr string) (map[string]float64, error) {
	body, err := get(http.DefaultClient, p.URL+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	out := map[string]float64{}
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", expr, err)
		}
		out[labels(r.Metric)] = value
	}
	return out, nil
}
