package acceptance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/app"
	"tocsin/incident"
	"tocsin/remediation/webhook"
	"tocsin/test/testbed"
)

// source behaves as the query API of a Prometheus with six services, whose one signal is in the past as it is now.
type source struct {
	URL string

	mu     sync.Mutex
	broken bool               // Answers 500 to everything.
	factor map[string]float64 // By service: what its value is multiplied with from now on.
	since  map[string]time.Time
}

func startSource(t *testing.T) *source {
	t.Helper()
	s := &source{factor: map[string]float64{}, since: map[string]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/query", s.query)
	mux.HandleFunc("/api/v1/query_range", s.queryRange)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// set multiplies the value of a service from now on.
func (s *source) set(service string, factor float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.factor[service], s.since[service] = factor, time.Now()
}

func (s *source) fail(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// value is what a service has at an instant: 100 and some noise that is the same whenever it is asked for.
func (s *source) value(service string, at time.Time) float64 {
	x := math.Sin(float64(at.Unix())*12.9898+float64(service[1])) * 43758.5453
	v := 100 + 4*(x-math.Floor(x)-0.5)
	if f, ok := s.factor[service]; ok && !at.Before(s.since[service]) {
		v *= f
	}
	return v
}

var services = []string{"s0", "s1", "s2", "s3", "s4", "s5"}

// refused answers what is wrong with a request, if something is.
func (s *source) refused(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case s.broken:
		http.Error(w, "out of order", http.StatusInternalServerError)
	case strings.Contains(r.FormValue("query"), "no_such_function"):
		w.WriteHeader(http.StatusBadRequest)
		answer(w, map[string]any{
			"status": "error", "errorType": "bad_data", "error": "parse error: unknown function with name no_such_function",
		})
	default:
		return false
	}
	return true
}

func (s *source) query(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused(w, r) {
		return
	}
	at := instant(r.FormValue("time"))
	result := []any{}
	if strings.Contains(r.FormValue("query"), "depth") {
		for _, name := range services {
			result = append(result, map[string]any{
				"metric": map[string]string{"namespace": "shop", "service": name},
				"value":  []any{at.Unix(), fmt.Sprint(s.value(name, at))},
			})
		}
	}
	success(w, "vector", result)
}

func (s *source) queryRange(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused(w, r) {
		return
	}
	step, _ := strconv.ParseFloat(r.FormValue("step"), 64)
	result := []any{}
	for _, name := range services {
		values := []any{}
		for at := instant(r.FormValue("start")); step > 0 && !at.After(instant(r.FormValue("end"))); {
			values = append(values, []any{at.Unix(), fmt.Sprint(s.value(name, at))})
			at = at.Add(time.Duration(step * float64(time.Second)))
		}
		result = append(result, map[string]any{
			"metric": map[string]string{"namespace": "shop", "service": name}, "values": values,
		})
	}
	success(w, "matrix", result)
}

func success(w http.ResponseWriter, kind string, result []any) {
	answer(w, map[string]any{"status": "success", "data": map[string]any{"resultType": kind, "result": result}})
}

// instant reads a time as clients of the API write it.
func instant(text string) time.Time {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return time.Now().Truncate(time.Second)
	}
	return time.UnixMilli(int64(seconds * 1000))
}

// hook keeps the incidents that a webhook was told of.
type hook struct {
	URL string
	mu  sync.Mutex
	got []told
}

type told struct {
	Key      string // Idempotency-Key.
	Event    webhook.Event
	Incident incident.Incident
}

func startHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m webhook.Message
		err := json.NewDecoder(r.Body).Decode(&m)
		h.mu.Lock()
		defer h.mu.Unlock()
		if err != nil {
			t.Errorf("read a message: %v", err)
		}
		h.got = append(h.got, told{r.Header.Get(webhook.IdempotencyHeader), m.Event, m.Incident})
	}))
	t.Cleanup(server.Close)
	h.URL = server.URL
	return h
}

func (h *hook) all() []told {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// cluster is the configuration of one cluster at url.
func cluster(name, url string) string {
	return fmt.Sprintf("  - name: %s\n    prometheus: {url: %q}\n", name, url)
}

// configuration asks clusters for one signal of our own each second.
func configuration(clusters ...string) string {
	return `
global:
  interval: 1s
  lag: 1s
  window: 5s
  backfill: {window: 10m}
packs: {enabled: []}
signals:
  - {name: depth, query: "depth", kind: gauge, bad: up, unit: jobs, namespace_labels: [namespace], service_labels: [service]}
incidents: {related_window: 5s, hold: 5s, min_severity: info}
clusters:
` + strings.Join(clusters, "")
}

type clusterView struct {
	Name      string
	Reachable bool
	Stale     bool
	Reason    string
	Series    int
	Warm      int
	Metrics   struct {
		Signals []struct{ Signal, State, Reason string }
	}
}

func (d *daemon) cluster(name string) (clusterView, error) {
	all, err := get[[]clusterView](d, "/api/tocsin/v1/clusters?cluster="+url.QueryEscape(name))
	if err != nil {
		return clusterView{}, err
	}
	if len(all) != 1 {
		return clusterView{}, fmt.Errorf("%d clusters are named %s", len(all), name)
	}
	return all[0], nil
}

// scored waits until all services of a cluster are scored.
func (d *daemon) scored(name string) {
	d.t.Helper()
	testbed.Eventually(d.t, 2*time.Minute, name+" to be scored", func() error {
		c, err := d.cluster(name)
		if err == nil && (c.Warm != len(services) || !c.Reachable) {
			err = fmt.Errorf("%+v", c)
		}
		return err
	})
}

func TestAnUnreachableClusterKeepsNobodyFromWorking(t *testing.T) {
	t.Parallel()
	healthy := startSource(t)
	d := start(t, configuration(cluster("good", healthy.URL), cluster("gone", "http://127.0.0.1:1")), t.TempDir())
	d.scored("good")
	testbed.Eventually(t, 30*time.Second, "the unreachable cluster to say why", func() error {
		c, err := d.cluster("gone")
		if err == nil && (c.Reachable || !strings.Contains(c.Reason, "refused")) {
			err = fmt.Errorf("%+v", c)
		}
		return err
	})
	testbed.Eventually(t, 30*time.Second, "readiness", func() error {
		if text, err := d.text("/-/ready"); err != nil || !strings.Contains(text, "tocsin is ready") {
			return fmt.Errorf("%s, %w", text, err)
		}
		return nil
	})
}

func TestABadQueryIsOffAndSaysSo(t *testing.T) {
	t.Parallel()
	s := startSource(t)
	text := strings.Replace(configuration(cluster("c", s.URL)), "incidents:",
		"  - {name: odd, query: 'label_replace(no_such_function, \"a\", \"b\", \"c\", \"d\")', kind: gauge, bad: up,"+
			" namespace_labels: [namespace], service_labels: [service]}\nincidents:", 1)
	d := start(t, text, t.TempDir())
	d.scored("c")
	testbed.Eventually(t, 30*time.Second, "the signal to be off", func() error {
		c, err := d.cluster("c")
		if err != nil {
			return err
		}
		for _, sig := range c.Metrics.Signals {
			if sig.Signal == "odd" && sig.State == "off" && strings.Contains(sig.Reason, "no_such_function") {
				return nil
			}
		}
		return fmt.Errorf("signals are %+v", c.Metrics.Signals)
	})
	if err := d.metric(`tocsin_promql_signals{cluster="c",state="off"} 1`); err != nil {
		t.Error(err)
	}
	type status struct {
		Unmatched []struct{ Cluster, Signal, Reason string } `json:"unmatched_signals"`
	}
	st, err := get[status](d, "/api/tocsin/v1/status")
	if err != nil || len(st.Unmatched) != 1 || st.Unmatched[0].Cluster != "c" || st.Unmatched[0].Signal != "odd" ||
		!strings.Contains(st.Unmatched[0].Reason, "no_such_function") {
		t.Errorf("status lists %+v, %v; want the signal that is off", st.Unmatched, err)
	}
}

func TestReloadAddsAndRemovesClusters(t *testing.T) {
	t.Parallel()
	s := startSource(t)
	d := start(t, configuration(cluster("one", s.URL)), t.TempDir())
	d.scored("one")
	d.rewrite(configuration(cluster("one", s.URL), cluster("two", s.URL)))
	if code := d.post("/-/reload"); code != http.StatusOK {
		t.Fatalf("reload answers %d", code)
	}
	d.scored("two")
	d.rewrite("clusters: [{nam: two}]")
	if code := d.post("/-/reload"); code < 400 {
		t.Errorf("a reload of a bad file answers %d", code)
	}
	type status struct {
		Config struct{ Error string }
	}
	if st, err := get[status](d, "/api/tocsin/v1/status"); err != nil || !strings.Contains(st.Config.Error, "clusters[0].nam") {
		t.Errorf("status says %q, %v; want what is wrong with the file", st.Config.Error, err)
	}
	d.scored("two") // As before.
	d.rewrite(configuration(cluster("two", s.URL)))
	if code := d.post("/-/reload"); code != http.StatusOK {
		t.Fatalf("reload answers %d", code)
	}
	testbed.Eventually(t, 30*time.Second, "the first cluster to be gone", func() error {
		if _, err := d.cluster("one"); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
	d.scored("two")
}

// rewrite replaces the configuration file.
func (d *daemon) rewrite(text string) {
	d.t.Helper()
	if err := os.WriteFile(d.file, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) post(path string) int {
	d.t.Helper()
	resp, err := http.Post(d.URL+path, "application/json", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	s, h, dir := startSource(t), startHook(t), t.TempDir()
	text := configuration(cluster("c", s.URL)) + fmt.Sprintf(`
route: {receiver: hook, group_wait: 1s}
receivers: [{name: hook, webhook_configs: [{url: %q}]}]
`, h.URL)
	d := start(t, text, dir)
	d.scored("c")
	s.set("s3", 5)
	testbed.Eventually(t, 2*time.Minute, "the incident to be told", func() error {
		if len(h.all()) == 0 {
			return errors.New("nobody was told")
		}
		return nil
	})
	first := h.all()[0]
	d.end()

	d = start(t, text, dir)
	testbed.Eventually(t, 10*time.Second, "the series to be as warm as before", func() error {
		c, err := d.cluster("c")
		if err == nil && c.Warm != len(services) {
			err = fmt.Errorf("%d of %d are warm", c.Warm, len(services))
		}
		return err
	})
	open, err := get[[]incident.Incident](d, "/api/tocsin/v1/incidents?state=open")
	if err != nil || len(open) != 1 || open[0].ID != first.Incident.ID {
		t.Fatalf("after the restart there are %d open incidents, %v; want that of before", len(open), err)
	}
	s.set("s3", 1)
	testbed.Eventually(t, 2*time.Minute, "the end to be told", func() error {
		got := h.all()
		if last := got[len(got)-1]; last.Incident.State != incident.Resolved {
			return fmt.Errorf("the last message is %s", last.Incident.State)
		}
		return nil
	})
	opened := 0
	for _, m := range h.all() {
		if m.Incident.ID != first.Incident.ID {
			t.Errorf("another incident was told: %s", m.Incident.Title)
		}
		if m.Key == first.Key {
			opened++
		}
	}
	if opened != 1 {
		t.Errorf("the opening was told %d times", opened)
	}
	testbed.Eventually(t, 10*time.Second, "the incident to be in the history", func() error {
		past, err := get[[]incident.Incident](d, "/api/tocsin/v1/incidents?state=resolved")
		if err == nil && len(past) != 1 {
			err = fmt.Errorf("%d resolved incidents", len(past))
		}
		return err
	})
}

func TestAnOutageOfTheSourceIsNoIncident(t *testing.T) {
	t.Parallel()
	s := startSource(t)
	d := start(t, configuration(cluster("c", s.URL)), t.TempDir())
	d.scored("c")
	s.fail(true)
	testbed.Eventually(t, 90*time.Second, "the cluster to be stale", func() error {
		c, err := d.cluster("c")
		if err == nil && (!c.Stale || !strings.Contains(c.Reason, "500")) {
			err = fmt.Errorf("%+v", c)
		}
		return err
	})
	s.fail(false)
	testbed.Eventually(t, 90*time.Second, "the cluster to be back", func() error {
		c, err := d.cluster("c")
		if err == nil && (c.Stale || !c.Reachable) {
			err = fmt.Errorf("%+v", c)
		}
		return err
	})
	for _, what := range []string{"incidents", "findings"} {
		if all, err := get[[]any](d, "/api/tocsin/v1/"+what); err != nil || len(all) > 0 {
			t.Errorf("the outage made %d %s, %v", len(all), what, err)
		}
	}
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	const canary = "canary-7d1c"
	s, dir := startSource(t), t.TempDir()
	text := strings.Replace(configuration(fmt.Sprintf(
		"  - name: c\n    prometheus: {url: %q, basic_auth: {username: u, password: %s-1}}\n", s.URL, canary)),
		"clusters:", fmt.Sprintf(`route: {receiver: all}
receivers:
  - name: all
    slack_configs: [{token: xoxb-%[1]s-2, channel: "#x", api_url: "http://127.0.0.1:1/"}]
    webhook_configs: [{url: "http://127.0.0.1:1/%[1]s-3", secret: %[1]s-4}]
clusters:`, canary), 1)
	d := start(t, text, dir)
	d.scored("c")
	s.set("s1", 5)
	testbed.Eventually(t, 2*time.Minute, "a notification to fail", func() error {
		text, err := d.text("/api/tocsin/v1/status")
		if err == nil && !strings.Contains(text, "refused") {
			err = errors.New("none has failed")
		}
		return err
	})
	for _, path := range []string{
		"/api/v1/status/config", "/api/tocsin/v1/status", "/api/tocsin/v1/clusters", "/metrics", "/",
	} {
		if text, err := d.text(path); err != nil || strings.Contains(text, canary) {
			t.Errorf("%s shows a secret, or fails: %v", path, err)
		}
	}
	d.end()
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), canary) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// text reads a page as it is.
func (d *daemon) text(path string) (string, error) {
	resp, err := http.Get(d.URL + path)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), errors.Join(err, resp.Body.Close())
}

func TestASecondDaemonIsRefusedTheFolder(t *testing.T) {
	t.Parallel()
	s, dir := startSource(t), t.TempDir()
	d := start(t, configuration(cluster("c", s.URL)), dir)
	d.scored("c")
	c := d.config
	settings := d.settings
	settings.ListenAddress = fmt.Sprintf("127.0.0.1:%d", testbed.Port(t))
	if _, err := app.New(app.Options{Config: c, Settings: settings}); err == nil {
		t.Error("a second daemon got the same folder")
	}
	d.scored("c") // And the first one goes on.
}

func TestATornSnapshotIsRefusedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	s, dir := startSource(t), t.TempDir()
	text := configuration(cluster("one", s.URL), cluster("two", s.URL))
	d := start(t, text, dir)
	d.scored("one")
	d.scored("two")
	d.end()
	files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("snapshots are %v, %v; want two", files, err)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	d = start(t, text, dir)
	d.scored("one")
	d.scored("two")
	page, err := d.text("/metrics")
	if err != nil || !strings.Contains(page, "tocsin_detector_snapshots_refused_total 1") {
		t.Errorf("no metric tells of the refused snapshot, %v", err)
	}
}
