package acceptance

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/collectors/promql"
	"tocsin/config"
	"tocsin/fleet"
	"tocsin/series"
	"tocsin/test/testbed"
)

// TestPods reads the counters of pods by every pack from real Prometheus servers: one with classic and native
// histograms, one with native ones only, and one whose series do not say which pod they are of. A fleet that exposes
// everything in all ways must count the same in all ways.
func TestPods(t *testing.T) {
	t.Parallel()
	fleet, address := simulate(t, sim.Options{Clusters: 1, Services: 8, Exporters: sim.Exporters()})
	all := podsPrometheus(t, fleet, address, "always_scrape_classic_histograms: true\n    scrape_native_histograms: true")
	native := podsPrometheus(t, fleet, address, "scrape_native_histograms: true")
	nameless := podsPrometheus(t, fleet, address, "metric_relabel_configs:\n"+
		"    - {source_labels: [pod, k8s_pod_name], separator: '', target_label: replica}\n"+
		"    - {action: labeldrop, regex: pod|k8s_pod_name}")
	for _, server := range []*testbed.Prometheus{all, native, nameless} {
		scraped(t, server, 35)
	}
	to := time.Now().Add(-2 * time.Second)

	count := make(map[string]map[string]float64) // By way and pod.
	for _, pack := range []string{"http", "istio", "linkerd", "otel_http", "grpc"} {
		for name, server := range map[string]*testbed.Prometheus{"classic": all, "native": native} {
			t.Run(pack+"/"+name, func(t *testing.T) {
				h := askPods(t, server, pack, promql.PodRange{From: to.Add(-20 * time.Second), To: to, Step: 5 * time.Second})
				count[pack+"/"+name] = checkPods(t, h)
			})
		}
		t.Run(pack+"/nameless", func(t *testing.T) {
			h := askPods(t, nameless, pack, promql.PodRange{From: to.Add(-20 * time.Second), To: to, Step: 5 * time.Second})
			checkTotals(t, h)
		})
	}
	want := count["http/classic"]
	if len(want) < 8 {
		t.Fatalf("requests of %d pods, want those of 8 services", len(want))
	}
	for way, got := range count {
		for pod, n := range want {
			slack := 30.0 // What the simulation rounds from one counter to another.
			if strings.HasSuffix(way, "native") {
				slack += 0.05 * n // The other server scrapes at other instants.
			}
			if !(math.Abs(got[pod]-n) <= slack) {
				t.Errorf("%s counts %g requests of %s, http/classic %g", way, got[pod], pod, n)
			}
		}
	}
}

func podsPrometheus(t *testing.T, fleet *sim.Fleet, address, scrape string) *testbed.Prometheus {
	t.Helper()
	return testbed.StartPrometheus(t, testbed.PrometheusOptions{Config: fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: fleet
    honor_labels: true
    metrics_path: /clusters/%s/metrics
    %s
    static_configs: [{targets: [%q]}]
`, fleet.Clusters()[0], scrape, address)})
}

// scraped waits until a server has scraped its target so often.
func scraped(t *testing.T, server *testbed.Prometheus, times float64) {
	t.Helper()
	testbed.Eventually(t, 2*time.Minute, "scrapes", func() error {
		got, err := server.Query("sum_over_time(up[5m])")
		for _, n := range got {
			if n >= times {
				return nil
			}
		}
		return fmt.Errorf("scrapes %v: %w", got, err)
	})
}

// askPods asks for the pods of all services of a fleet.
func askPods(t *testing.T, server *testbed.Prometheus, pack string, r promql.PodRange) promql.PodHistory {
	t.Helper()
	c, err := config.Parse("test.yaml", []byte(fmt.Sprintf(`
packs: {enabled: auto}
global: {interval: 5s, lag: 1s, window: 10s, backfill: {enabled: false}}
clusters: [{name: one, prometheus: {url: %q}}]
`, server.URL)))
	if err != nil {
		t.Fatal(err)
	}
	cluster := &c.Clusters[0]
	for _, p := range []string{"http", "istio", "linkerd", "otel_http", "grpc"} {
		if p != pack {
			cluster.Packs.Disabled = append(cluster.Packs.Disabled, p)
		}
	}
	r.Targets = podTargets(t, server)
	source := runSource(t, c, cluster)
	var h promql.PodHistory
	testbed.Eventually(t, 20*time.Second, "pods to be known", func() error {
		if h, err = source.Pods(t.Context(), r); err != nil {
			return err
		}
		if len(h.Failed) > 0 {
			return fmt.Errorf("failed: %v", h.Failed)
		}
		if len(h.Instants) == 0 {
			return fmt.Errorf("no instants of %d queries", h.Queries)
		}
		return nil
	})
	if again, err := source.Pods(t.Context(), r); err != nil || again.Queries > 12 {
		t.Errorf("%d queries the second time, want as many as there are metrics; %v", again.Queries, err)
	}
	return h
}

// podTargets are all pods that kube-state-metrics knows.
func podTargets(t *testing.T, server *testbed.Prometheus) []promql.PodTarget {
	t.Helper()
	info, err := server.Query(`count by (namespace, container) (kube_pod_container_info)`)
	if err != nil {
		t.Fatal(err)
	}
	var out []promql.PodTarget
	for _, labels := range slices.Sorted(maps.Keys(info)) {
		part := strings.Split(labels, `"`) // {container="cart", namespace="shop"}
		name := part[1]
		out = append(out, promql.PodTarget{
			Service: fleet.Service{Cluster: "one", Namespace: part[3], Name: name},
			Match:   []string{name + "-[a-z0-9]+(-[a-z0-9]+)?"},
		})
	}
	if len(out) < 8 {
		t.Fatalf("pods of %d services, want 8: %v", len(out), info)
	}
	return out
}

// discard is a sink.
type discard struct{}

func (discard) Append(context.Context, *series.Batch) error { return nil }

// runSource runs the source of a cluster as the daemon does.
func runSource(t *testing.T, c *config.Config, cluster *config.Cluster) *promql.Source {
	t.Helper()
	queries, err := c.PodQueries(cluster)
	if err != nil {
		t.Fatal(err)
	}
	o := promql.Options{
		Cluster: cluster.Name, URL: string(cluster.Prometheus.URL), Client: http.DefaultClient,
		Queries:  []promql.Query{{Signal: "up", Expr: "up", Service: []string{"job"}}},
		Registry: series.NewRegistry(0), Sink: discard{},
		Interval: time.Duration(cluster.Interval), Lag: time.Duration(cluster.Lag), Window: time.Duration(cluster.Window),
	}
	for _, q := range queries {
		pod := promql.PodQuery{
			Name: q.Metric, Set: q.Set.Name, Pack: q.Set.Pack, Expr: q.Expr, Total: q.Total, Probe: q.Probe,
			Metrics: q.Metrics, Namespace: q.Set.NamespaceLabels, Pod: q.Set.PodLabels,
			TotalNamespace: q.TotalNamespace, TotalService: q.TotalService,
		}
		if q.Set.LatencyUnit == "ms" {
			pod.Unit = time.Millisecond
		}
		o.Pods = append(o.Pods, pod)
	}
	source, err := promql.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1) // Holds what Run returns.
	go func() { done <- source.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run the source: %v", err)
		}
	})
	return source
}

// checkPods checks the newest sample of each pod, and returns its requests.
func checkPods(t *testing.T, h promql.PodHistory) map[string]float64 {
	t.Helper()
	out := make(map[string]float64)
	for _, p := range h.Instants[len(h.Instants)-1].Pods {
		out[p.Pod] = p.Requests
		switch n := len(p.Bounds); {
		case p.Pod == "" || p.Window != 0:
			t.Errorf("%s: a sample of the service as a whole", p.Service)
		case !p.ErrorsKnown || p.Errors > p.Requests || !(p.Requests >= 0):
			t.Errorf("%s: %g errors (known %t) of %g requests", p.Pod, p.Errors, p.ErrorsKnown, p.Requests)
		case !(p.CPUSeconds > 0 && p.MemoryBytes > 0 && p.MemoryLimit > p.MemoryBytes && p.Restarts >= 0):
			t.Errorf("%s: CPU %g, memory %g of %g, restarts %g", p.Pod, p.CPUSeconds, p.MemoryBytes, p.MemoryLimit, p.Restarts)
		case n < 2 || len(p.Latency) != n || !math.IsInf(p.Bounds[n-1], 1):
			t.Errorf("%s: bounds %v", p.Pod, p.Bounds)
		case !slices.IsSorted(p.Bounds) || !slices.IsSorted(p.Latency) || !(math.Abs(p.Latency[n-1]-p.Requests) <= 30):
			t.Errorf("%s: latency of %g, sorted %t, of %g requests",
				p.Pod, p.Latency[n-1], slices.IsSorted(p.Latency), p.Requests)
		case p.Requests > 100 && !(median(p) > 0.0005 && median(p) < 2):
			t.Errorf("%s: median %g s", p.Pod, median(p))
		}
	}
	return out
}

// checkTotals checks that services are known as a whole where pods are not.
func checkTotals(t *testing.T, h promql.PodHistory) {
	t.Helper()
	seen := make(map[string]int)
	for _, instant := range h.Instants {
		for _, p := range instant.Pods {
			seen[p.Service.Name]++
			if p.Pod != "" || p.Window != 10*time.Second || !(p.Requests >= 0) || !p.ErrorsKnown {
				t.Errorf("%+v: want increases of the service", p)
			}
		}
	}
	if len(seen) < 8 {
		t.Errorf("services %v, want 8", seen)
	}
}

// median returns the bound below which half of the requests are.
func median(p promql.PodSample) float64 {
	i := slices.IndexFunc(p.Latency, func(n float64) bool { return n >= p.Requests/2 })
	return p.Bounds[i]
}
