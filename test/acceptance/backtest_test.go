package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"tocsin/app"
	"tocsin/cmd/fleetsim/sim"
	"tocsin/config"
	"tocsin/fleet"
	"tocsin/test/testbed"
)

// counters writes what a Prometheus would have scraped of a simulated cluster every minute:
// requests and failures as counters, and the 99th percentile of latency. Scrapes come 7 s after the
// minute, and are missing where lost says so.
type counters struct {
	app    storage.Appender
	refs   map[string]storage.SeriesRef
	counts map[string]float64
}

func (c *counters) add(metric string, s fleet.Service, at time.Time, value float64) error {
	key := metric + " " + s.String()
	ref, err := c.app.Append(c.refs[key], labels.FromStrings("__name__", metric, "cluster", s.Cluster,
		"namespace", s.Namespace, "service", s.Name), at.UnixMilli(), value)
	c.refs[key] = ref
	return err
}

func (c *counters) count(metric string, s fleet.Service, at time.Time, by float64) error {
	if math.IsNaN(by) {
		return nil
	}
	key := metric + " " + s.String()
	c.counts[key] += math.Round(by)
	return c.add(metric, s, at, c.counts[key])
}

// fill writes the history of a cluster into a folder for a Prometheus.
func fill(t *testing.T, dir string, f *sim.Fleet, begin time.Time, length time.Duration,
	lost func(time.Time) bool,
) {
	t.Helper()
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = 0 // For ever.
	db, err := tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.History(f.Clusters()[0], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c := &counters{refs: make(map[string]storage.SeriesRef), counts: make(map[string]float64)}
	for n := 1; n <= int(length/time.Minute); n++ {
		if c.app == nil {
			c.app = db.Appender(t.Context())
		}
		past := time.Duration(n) * time.Minute
		at := begin.Add(past + 7*time.Second)
		if lost(at) {
			continue
		}
		s := h.At(past)
		for i, service := range s.Services {
			requests := s.Traffic[i] * 60
			err := errors.Join(
				c.count("shop_requests_total", service, at, requests),
				c.count("shop_failures_total", service, at, requests*s.Errors[i]),
				c.add("shop_latency_p99", service, at, s.P99[i]),
			)
			if err != nil {
				t.Fatal(err)
			}
		}
		if n%60 == 0 {
			if err := c.app.Commit(); err != nil {
				t.Fatal(err)
			}
			c.app = nil
		}
	}
	if c.app != nil {
		if err := c.app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBacktestAgainstPrometheus asks a real Prometheus for three days, in which a service fails for
// twenty minutes and Prometheus was away for two hours.
func TestBacktestAgainstPrometheus(t *testing.T) {
	t.Parallel()
	const length = 3 * 24 * time.Hour
	begin := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	start, end := begin.Add(length/2), begin.Add(length)
	bad, away := start.Add(20*time.Hour), start.Add(30*time.Hour)
	options := sim.Options{
		Clusters: 1, Services: 8, Seed: 5, Start: begin, Spikes: -1, ReleaseEvery: 1000 * time.Hour,
	}
	quiet, err := sim.New(options)
	if err != nil {
		t.Fatal(err)
	}
	h, err := quiet.History(quiet.Clusters()[0], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s := h.At(12 * time.Hour)
	victim := s.Services[slices.Index(s.Traffic, slices.Max(s.Traffic))]
	options.Faults = []sim.Fault{{
		Kind: sim.ErrorBurst, Errors: 0.3, At: bad.Sub(begin), For: 20 * time.Minute,
		Service: victim.Namespace + "/" + victim.Name,
	}}
	sick, err := sim.New(options)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	fill(t, data, sick, begin, length, func(at time.Time) bool {
		return at.After(away) &&
			at.Before(away.Add(2*time.Hour))
	})
	prom := testbed.StartPrometheus(t, testbed.PrometheusOptions{
		Data: data, Args: []string{"--storage.tsdb.retention.time=100y"},
	})
	labelled := filepath.Join(dir, "labels.csv")
	row := fmt.Sprintf("cluster,namespace,service,start,end\n%s,%s,%s,%s,%s\n", victim.Cluster,
		victim.Namespace, victim.Name,
		bad.Format(time.RFC3339), bad.Add(20*time.Minute).Format(time.RFC3339))
	if err := os.WriteFile(labelled, []byte(row), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("tocsin.yaml", []byte(backtestConfig(victim.Cluster, prom.URL)))
	if err != nil {
		t.Fatal(err)
	}
	opts := app.BacktestOptions{Config: c, Start: start, End: end, Labels: labelled}
	report, err := app.Backtest(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	text := written(t, report)
	l := report.Labels[0]
	if l.Incident == nil || l.Delay <= 0 || l.Delay > 10*time.Minute || l.Incident.Service != victim {
		t.Errorf("label: %s, %+v", l.Outcome(), l)
	}
	for _, want := range []string{
		"0 of 1 missed", "of the warm-up of 14d",
		"no data from " + away.Format("2006-01-02T15:"),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not say %q", want)
		}
	}
	if o := report.Clusters[0].Observed; o < 34*time.Hour || o > 34*time.Hour+10*time.Minute {
		t.Errorf("%s of 36h were observed, and 2h were not there", o)
	}
	again, err := app.Backtest(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if text2 := written(t, again); text2 != text {
		t.Errorf("the second time it says:\n%s", text2)
	}
	checkInstants(t, prom, report)
}

func backtestConfig(cluster, url string) string {
	return fmt.Sprintf(`
global: {interval: 1m, window: 4m, backfill: {max_queries_per_second: 1000}}
packs: {enabled: []}
clusters:
- {name: %s, selector: 'cluster=%q', prometheus: {url: %q}}
signals:
- name: shop_requests
  query: sum by ($service) (rate(shop_requests_total[$window]))
  kind: rate
  bad: down
  min_effect_relative: 0.3
- name: shop_errors
  query: |-
    sum by ($service) (rate(shop_failures_total[$window]))
    / sum by ($service) (rate(shop_requests_total[$window]))
  kind: ratio
  bad: up
  unit: "%%"
  volume: shop_requests
  min_effect: 0.01
- name: shop_latency_p99
  query: avg by ($service) (shop_latency_p99)
  kind: latency
  bad: up
  unit: s
  min_effect_relative: 0.2
`, cluster, cluster, url)
}

// written returns a report as text and, behind it, as a page.
func written(t *testing.T, r *app.BacktestReport) string {
	t.Helper()
	var b bytes.Buffer
	if err := errors.Join(r.WriteText(&b), r.WriteHTML(&b)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checkInstants compares what the detector heard with what Prometheus answers for the instant
// alone, as the daemon would have asked it.
func checkInstants(t *testing.T, prom *testbed.Prometheus, report *app.BacktestReport) {
	t.Helper()
	checked := 0
	for _, b := range report.Incidents {
		for _, trace := range b.Traces {
			if trace.ID.Signal != "shop_requests" && trace.ID.Signal != "shop_latency_p99" &&
				trace.ID.Signal != "shop_errors" {
				continue
			}
			for i := 0; i < len(trace.Points); i += 1 + len(trace.Points)/8 {
				p := trace.Points[i]
				want := evaluate(t, prom, trace.ID.Signal, trace.ID.Service, p.At)
				if got := float64(p.Observed); math.Abs(got-want) > 1e-6*math.Abs(want) {
					t.Errorf("%s at %d: the detector heard %g, Prometheus says %g", trace.ID, p.At, got, want)
				}
				checked++
			}
		}
	}
	if checked == 0 {
		t.Error("no instant could be compared")
	}
}

// evaluate asks for the query of a signal for one service at one instant.
func evaluate(t *testing.T, prom *testbed.Prometheus, signal string, s fleet.Service,
	at int64,
) float64 {
	t.Helper()
	match := fmt.Sprintf(`{namespace=%q, service=%q}`, s.Namespace, s.Name)
	expr := map[string]string{
		"shop_requests": `sum(rate(shop_requests_total` + match + `[4m]))`,
		"shop_errors": `sum(rate(shop_failures_total` + match +
			`[4m])) / sum(rate(shop_requests_total` + match + `[4m]))`,
		"shop_latency_p99": `shop_latency_p99` + match,
	}[signal]
	resp, err := http.Get(fmt.Sprintf("%s/api/v1/query?time=%.3f&query=%s", prom.URL,
		float64(at)/1000, url.QueryEscape(expr)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Data struct{ Result []sample }
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Data.Result) != 1 {
		t.Fatalf("%s at %d: %v: %s", expr, at, err, body)
	}
	var v float64
	if _, err := fmt.Sscan(answer.Data.Result[0].Value[1].(string), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
