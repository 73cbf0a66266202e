package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExpr(t *testing.T) {
	one := Signal{NamespaceLabels: []string{"ns"}, ServiceLabels: []string{"app"}}
	many := Signal{NamespaceLabels: []string{"namespace", "ns"}, ServiceLabels: []string{"app", "job"}}
	mapped := func(operand string) string {
		return `label_replace(label_replace(label_join(label_replace(label_join(` + operand +
			`, "tocsin_service", ";", "app", "job"), "tocsin_service", "$1", "tocsin_service", ";*([^;]*).*")` +
			`, "tocsin_namespace", ";", "namespace", "ns", "tocsin_service")` +
			`, "tocsin_namespace", "$1$2", "tocsin_namespace", ";*(?:([^;/]+);.*|(?:([^;/]*)/)?[^;]*)")` +
			`, "tocsin_service", "$1", "tocsin_service", ".*/([^/]+)")`
	}
	for _, tc := range []struct {
		name            string
		signal          Signal
		query, selector string
		want            string
	}{
		{
			name:   "placeholders",
			signal: one,
			query:  "sum by ($service, le) (rate(x[$window] offset $interval))",
			want:   "sum by (ns, app, le) (rate(x[2m] offset 15s))",
		},
		{
			name:     "the selector goes into every vector selector",
			signal:   one,
			query:    `rate(x{a="b"}[$window]) / on (app) y`,
			selector: `cluster="eu-1", env!="test"`,
			want:     `rate(x{a="b",cluster="eu-1",env!="test"}[2m]) / on (app) y{cluster="eu-1",env!="test"}`,
		},
		{
			name:     "but not twice",
			signal:   one,
			query:    `x{cluster="eu-1"}`,
			selector: `{cluster="eu-1"}`,
			want:     `x{cluster="eu-1"}`,
		},
		{
			name:   "several labels may hold the service",
			signal: many,
			query:  "sum by ($service) (rate(x[$window]))",
			want: "sum by (tocsin_namespace, tocsin_service) (" +
				mapped("sum by (namespace, ns, app, job) (rate(x[2m]))") + ")",
		},
		{
			name:   "an average is not an average of averages",
			signal: many,
			query:  "avg by ($service) (x)",
			want:   "avg by (tocsin_namespace, tocsin_service) (" + mapped("x") + ")",
		},
		{
			name:   "what is by service already has the labels",
			signal: many,
			query:  "max by ($service) (sum by ($service, pod) (x))",
			want: "max by (tocsin_namespace, tocsin_service) (sum by (tocsin_namespace, tocsin_service, pod) (" +
				mapped("sum by (namespace, ns, app, job, pod) (x)") + "))",
		},
		{
			name:   "nothing that only looks like a placeholder",
			signal: one,
			query:  `label_replace(x, "a", "$1", "b", "$window_")`,
			want:   `label_replace(x, "a", "$1", "b", "$window_")`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			selector, err := ParseSelector(tc.selector)
			if err != nil {
				t.Fatal(err)
			}
			s := tc.signal
			s.Query = tc.query
			got, err := s.Expr(selector, 2*time.Minute, 15*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Expr() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestQueriesOfACluster(t *testing.T) {
	c := parseOK(t, `clusters:
  - name: eu
    selector: cluster="eu-1"
    window: 4m
    prometheus: {url: http://mimir, tenant: shop}
    packs: {enabled: [istio]}
  - name: us
    prometheus: {url: http://p}
    packs: {disabled: [istio, resources]}
signals:
  - {name: queue, kind: gauge, bad: up, query: 'max by (namespace, app) (queue_length)'}
  - {name: istio_latency_p50, enabled: false}
`)
	queries, err := c.Queries(&c.Clusters[0])
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, q := range queries {
		names = append(names, q.Signal.Name)
		if !strings.Contains(q.Expr, `cluster="eu-1"`) || q.Probe != "" {
			t.Errorf("query %q, probe %q: want the selector, and no probe of a pack that was asked for", q.Expr, q.Probe)
		}
	}
	want := []string{"istio_requests", "istio_errors", "istio_latency_p99", "queue"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("signals (-want +got):\n%s", diff)
	}
	if want := `sum by (destination_workload_namespace, destination_workload) ` +
		`(rate(istio_requests_total{cluster="eu-1",reporter=~"destination|waypoint"}[4m]))`; queries[0].Expr != want {
		t.Errorf("query %q, want %q", queries[0].Expr, want)
	}
	if got := c.Clusters[0].Prometheus.Client().HTTPHeaders.Headers["X-Scope-OrgID"].Values; len(got) != 1 || got[0] != "shop" {
		t.Errorf("tenant %v, want shop", got)
	}

	queries, err = c.Queries(&c.Clusters[1])
	if err != nil {
		t.Fatal(err)
	}
	packs := make(map[string]string)
	for _, q := range queries {
		packs[q.Signal.Pack] = q.Probe
	}
	wantPacks := map[string]string{
		"":        "",
		"grpc":    `count({__name__=~"grpc_server_handled_total"})`,
		"http":    `count({__name__=~"http_requests_total|http_request_duration_seconds|http_request_duration_seconds_count"})`,
		"linkerd": `count({__name__=~"response_latency_ms_bucket|response_latency_ms"})`,
		"otel_http": `count({__name__=~"http_server_request_duration_seconds|` +
			`http_server_request_duration_seconds_count|http_server_duration_milliseconds_count"})`,
	}
	if diff := cmp.Diff(wantPacks, packs); diff != "" {
		t.Errorf("packs and their probes (-want +got):\n%s", diff)
	}
}

func TestClustersFromContexts(t *testing.T) {
	c := parseOK(t, `global: {interval: 30s}
clusters_from:
  - kubeconfig: /etc/kubeconfig
    contexts: ['prod-(..)', 'stage']
    name: c-${context}
    labels: {region: '${1}'}
    selector: cluster="${context}"
    prometheus: {url: 'http://prometheus.${context}.example.com', tenant: 't${1}'}
    namespaces_ignored: [kube-system]
`)
	got := c.ClustersFrom[0].Clusters([]string{"dev", "prod-eu", "prod-us", "prod-east", "stage"})
	var lines []string
	for _, k := range got {
		lines = append(lines, strings.Join([]string{
			k.Name, k.Labels["region"], k.Selector, string(k.Prometheus.URL), k.Prometheus.Tenant,
			k.Kubernetes.Kubeconfig, k.Kubernetes.Context, k.Kubernetes.NamespacesIgnored[0], k.Interval.String(),
		}, " "))
	}
	want := []string{
		`c-prod-eu eu cluster="prod-eu" http://prometheus.prod-eu.example.com teu /etc/kubeconfig prod-eu kube-system 30s`,
		`c-prod-us us cluster="prod-us" http://prometheus.prod-us.example.com tus /etc/kubeconfig prod-us kube-system 30s`,
		`c-stage  cluster="stage" http://prometheus.stage.example.com t /etc/kubeconfig stage kube-system 30s`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}
