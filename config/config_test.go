package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// parseOK reads a file to which nothing may be wrong.
func parseOK(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("tocsin.yaml", []byte(text))
	if err != nil {
		t.Fatalf("Parse() =\n%v", err)
	}
	return c
}

func TestFiveLinesSuffice(t *testing.T) {
	c := parseOK(t, `clusters:
  - name: prod-eu
    prometheus:
      url: http://prometheus.monitoring:9090
`)
	want := Default()
	want.Clusters = []Cluster{{
		Name: "prod-eu",
		Prometheus: Prometheus{
			URL: "http://prometheus.monitoring:9090", HTTP: commonconfig.DefaultHTTPClientConfig,
		},
		Packs:      want.Packs,
		Collection: want.Global.Collection,
	}}
	if diff := cmp.Diff(want.String(), c.String()); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	queries, err := c.Queries(&c.Clusters[0])
	if err != nil || len(queries) < 20 {
		t.Errorf("Queries() = %d queries, %v; want those of all packs", len(queries), err)
	}
}

func TestClustersInheritFromGlobal(t *testing.T) {
	// What is inherited counts, wherever in the file it stands.
	c := parseOK(t, `clusters:
  - name: a
    prometheus: {url: http://a}
    interval: 30s
    backfill: {enabled: false}
  - name: b
    prometheus: {url: http://b}
    packs: {enabled: [istio]}
global:
  interval: 20s
  backfill: {window: 2d}
packs:
  disabled: [http]
`)
	a, b := c.Clusters[0], c.Clusters[1]
	if a.Interval != duration(30*time.Second) || b.Interval != duration(20*time.Second) {
		t.Errorf("intervals are %s and %s, want 30s and 20s", a.Interval, b.Interval)
	}
	if a.Backfill.Enabled || !b.Backfill.Enabled || a.Backfill.Window != duration(48*time.Hour) {
		t.Errorf("backfills are %+v and %+v, want one disabled, and windows of 2d", a.Backfill, b.Backfill)
	}
	if !a.Packs.Has("istio") || a.Packs.Has("http") || !b.Packs.Has("istio") || b.Packs.Has("grpc") {
		t.Errorf("packs are %+v and %+v, want all but http, and istio", a.Packs, b.Packs)
	}
}

func TestRoutesInherit(t *testing.T) {
	c := parseOK(t, head+`receivers: [{name: team}, {name: pager}]
route:
  repeat_interval: 1h
  receiver: team
  routes:
    - matchers: ['severity="critical"', 'team=~"shop|pay"']
      receiver: pager
      repeat_interval: 10m
      routes:
        - matchers: ['{namespace!="test",cluster="eu"}']
`)
	child := c.Route.Routes[0]
	grandchild := child.Routes[0]
	if grandchild.Receiver != "pager" || grandchild.RepeatInterval != child.RepeatInterval ||
		grandchild.GroupWait != duration(30*time.Second) {
		t.Errorf("the inner route is %+v, want what is around it", grandchild)
	}
	for _, tc := range []struct {
		set  model.LabelSet
		want bool
	}{
		{model.LabelSet{"severity": "critical", "team": "pay"}, true},
		{model.LabelSet{"severity": "critical"}, false},
	} {
		if got := child.Matchers.Matches(tc.set); got != tc.want {
			t.Errorf("Matches(%v) = %v, want %v", tc.set, got, tc.want)
		}
	}
	if !grandchild.Matchers.Matches(model.LabelSet{"cluster": "eu", "namespace": "shop"}) {
		t.Error("two matchers in one string do not match")
	}
}

func TestASignalChangesAShippedOne(t *testing.T) {
	c := parseOK(t, head+`signals:
  - name: istio_errors
    min_effect: 0.05
  - name: cpu
    enabled: false
  - name: queue
    kind: gauge
    bad: up
    query: max by ($service) (queue_length)
`)
	byName := make(map[string]Signal)
	for _, s := range c.AllSignals() {
		byName[s.Name] = s
	}
	errs := byName["istio_errors"]
	if errs.MinEffect != 0.05 || errs.Volume != "istio_requests" || errs.Pack != "istio" {
		t.Errorf("istio_errors is %+v, want the shipped one with another min_effect", errs)
	}
	if s := byName["cpu"]; s.Enabled || s.Kind != "gauge" {
		t.Errorf("cpu is %+v, want the shipped one, not enabled", s)
	}
	if s := byName["queue"]; s.Pack != "" || len(s.ServiceLabels) == 0 {
		t.Errorf("queue is %+v, want a signal of its own with the usual labels", s)
	}
}

func TestPrintingMasksSecrets(t *testing.T) {
	c := parseOK(t, `clusters:
  - name: prod
    prometheus:
      url: http://me:hunter2@prometheus:9090
      basic_auth: {username: me, password: hunter2}
      http_headers:
        X-Key: {secrets: [hunter2]}
      proxy_url: http://me:hunter2@proxy
receivers:
  - name: all
    slack_configs: [{token: hunter2, channel: '#x'}]
    webhook_configs: [{url: 'https://example.com/hunter2', secret: hunter2}]
    alertmanager_configs: [{urls: ['http://me:hunter2@am:9093'], authorization: {credentials: hunter2}}]
route: {receiver: all}
`)
	text := c.String()
	if strings.Contains(text, "hunter2") {
		t.Errorf("a secret is printed:\n%s", text)
	}
	for _, want := range []string{"http://me:xxxxx@prometheus:9090", "password: <secret>", "channel: '#x'"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not printed in\n%s", want, text)
		}
	}
	if c.Clusters[0].Prometheus.URL != "http://me:hunter2@prometheus:9090" {
		t.Error("the URL itself has lost its password")
	}
}

func TestWhatIsPrintedCanBeRead(t *testing.T) {
	c := parseOK(t, head+`receivers: [{name: a, slack_configs: [{token_file: t, channel: x}]}]
route:
  receiver: a
  routes: [{matchers: ['a=~"b.*"'], active_time_intervals: [day]}]
time_intervals:
  - name: day
    time_intervals: [{times: [{start_time: '09:00', end_time: '17:00'}], weekdays: ['monday:friday'], location: Europe/Berlin}]
storage: {min_free: 5%, detail: [['signal="x"']]}
signals: [{name: x, kind: gauge, bad: up, query: 'x'}]
`)
	again := parseOK(t, c.String())
	if diff := cmp.Diff(c.String(), again.String()); diff != "" {
		t.Errorf("printed, read and printed (-once +twice):\n%s", diff)
	}
}

func TestAnchorsAndMerges(t *testing.T) {
	c := parseOK(t, `clusters:
  - &first
    name: a
    labels: &labels {team: shop}
    interval: 30s
    prometheus: {url: http://a}
  - <<: *first
    name: b
    labels: {<<: *labels, tier: one}
`)
	b := c.Clusters[1]
	if b.Name != "b" || b.Interval != duration(30*time.Second) || b.Prometheus.URL != "http://a" {
		t.Errorf("the second cluster is %+v, want the first under another name", b)
	}
	if diff := cmp.Diff(map[string]string{"team": "shop", "tier": "one"}, b.Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
}

func TestHostileFiles(t *testing.T) {
	// Nine lists of nine aliases each stand for a milliard of values.
	bomb := "x0: &x0 [a]\n"
	for i := range 9 {
		n := string(rune('0' + i))
		m := string(rune('1' + i))
		bomb += "x" + m + ": &x" + m + " [" + strings.TrimSuffix(strings.Repeat("*x"+n+",", 9), ",") + "]\n"
	}
	routes := "&r1 [{receiver: a}]"
	for i := range 8 {
		n, m := string(rune('1'+i)), string(rune('2'+i))
		routes = "&r" + m + " [" + "{routes: " + routes + "}" + strings.Repeat(", {routes: *r"+n+"}", 8) + "]"
	}
	for _, tc := range []struct{ name, text, want string }{
		{"unknown fields full of aliases", bomb, "x9: unknown field"},
		{"routes full of aliases", head + "route: {receiver: a, routes: " + routes + "}\n", "more than 100000 values"},
		{"an alias of itself", head + "route: &r\n  routes: [*r]\n", "40 in one another"},
		{"merged into itself", head + "log: &l\n  <<: *l\n", ""},
		{"deep", head + "route: " + strings.Repeat("{routes: [", 60) + strings.Repeat("]}", 60), "40 in one another"},
		{"deeper", strings.Repeat("[", 20_000), "not YAML"},
		{"large", head + "#" + strings.Repeat("x", 2<<20), "larger than 1048576 bytes"},
		{"binary", "\x00\x01\xff", "not YAML"},
		{"many errors", head + "log:\n" + strings.Repeat("  x: 1\n", 1000), "and 950 more errors"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("x", []byte(tc.text))
			if tc.want == "" && err == nil {
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse() = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestLoadResolvesPathsAndMissesFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("ca.pem", "x")
	write("key", "x")
	path := write("tocsin.yaml", head+`      tls_config: {ca_file: ca.pem}
      http_headers: {X-Key: {files: [key]}}
storage: {path: data}
`)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	p := c.Clusters[0].Prometheus.HTTP
	if p.TLSConfig.CAFile != filepath.Join(dir, "ca.pem") ||
		p.HTTPHeaders.Headers["X-Key"].Files[0] != filepath.Join(dir, "key") {
		t.Errorf("files are %q and %v, want them in %s", p.TLSConfig.CAFile, p.HTTPHeaders.Headers, dir)
	}
	if c.Storage.Path != "data" {
		t.Errorf("storage.path = %q, want it as it is written", c.Storage.Path)
	}

	path = write("bad.yaml", head+`    kubernetes:
      kubeconfig: /nowhere/config
receivers: [{name: a, slack_configs: [{token_file: nowhere, channel: x}]}]
route: {receiver: a}
`)
	_, err = Load(path)
	want := path + ":6: clusters[0].kubernetes.kubeconfig: open /nowhere/config: no such file or directory; " +
		"write a path that begins at the folder of this file, or with /\n" +
		path + ":7: receivers[0].slack_configs[0].token_file: open " + dir + "/nowhere: no such file or directory; " +
		"write a path that begins at the folder of this file, or with /"
	var errs Errors
	if !errors.As(err, &errs) || err.Error() != want {
		t.Errorf("Load() = \n%v\nwant\n%s", err, want)
	}

	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load() of no file = %v, want that it does not exist", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head))
	f.Add([]byte(head + "signals:\n- {name: x, kind: gauge, bad: up, query: 'sum by ($service) (rate(x[$window]))'}\n"))
	f.Add([]byte(head + "route: {receiver: a, routes: [{matchers: ['a=\"b\"']}]}\nreceivers: [{name: a}]\n"))
	f.Add([]byte("clusters_from: [{kubeconfig: x, contexts: ['(.*)'], prometheus: {url: 'http://${1}'}}]"))
	f.Add([]byte(head + "time_intervals: [{name: x, time_intervals: [{weekdays: [monday], months: ['1:3']}]}]"))
	f.Add([]byte(head + "storage: {min_free: 5%, detail: [['signal=x']]}\nglobal: &g {<<: *g}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("x", text)
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxErrors+1 {
				t.Fatalf("error of %T: %v", err, err)
			}
			return
		}
		for i := range min(len(c.Clusters), 2) {
			if _, err := c.Queries(&c.Clusters[i]); err != nil {
				t.Fatalf("what was checked gives no queries: %v", err)
			}
		}
		for i := range c.ClustersFrom {
			c.ClustersFrom[i].Clusters([]string{"a", "prod-eu"})
		}
		if _, err := Parse("x", []byte(c.String())); err != nil && !strings.Contains(c.String(), "secret") {
			t.Fatalf("what was printed cannot be read: %v\n%s", err, c)
		}
	})
}
