package config

import (
	"slices"
	"testing"
)

func TestPodQueries(t *testing.T) {
	c, err := Parse("tocsin.yaml", []byte(`
clusters:
  - name: eu
    prometheus: {url: http://prometheus:9090}
    selector: cluster="eu"
    window: 1m
    packs: {enabled: auto, disabled: [grpc]}
pods:
  - {name: istio, errors: 'sum by ($pod) (istio_requests_total{response_flags!="-", $selector})'}
  - {name: linkerd, enabled: false}
  - name: orders
    requests: sum by ($pod) (orders_total{$selector} unless on ($pod) test_orders_total)
    latency: sum by ($pod, le) (order_duration_bucket{$selector})
    pod_labels: [replica]
    service_namespace_labels: [ns]
    service_labels: [app]
`))
	if err != nil {
		t.Fatal(err)
	}
	queries, err := c.PodQueries(&c.Clusters[0])
	if err != nil {
		t.Fatal(err)
	}
	find := func(set, metric string) (int, PodQuery) {
		i := slices.IndexFunc(queries, func(q PodQuery) bool {
			return q.Set.Name == set && q.Metric == metric
		})
		if i < 0 {
			return i, PodQuery{}
		}
		return i, queries[i]
	}
	i, orders := find("orders", "requests")
	if i != 0 || orders.Probe != "" {
		t.Errorf("own set is at %d with probe %q, want it before all and always asked", i, orders.Probe)
	}
	want := `sum by ($pod) (orders_total{cluster="eu",$selector} unless on ($pod) test_orders_total{cluster="eu"})`
	if orders.Expr != want {
		t.Errorf("requests of orders: %s, want %s", orders.Expr, want)
	}
	_, latency := find("orders", "latency")
	want = `sum by (ns, app, le) (increase(order_duration_bucket{cluster="eu",$selector}[1m]))`
	if latency.Total != want {
		t.Errorf("latency of the service: %s, want %s", latency.Total, want)
	}
	if !slices.Equal(latency.Metrics, []string{"order_duration_count"}) {
		t.Errorf("metrics %v, want the count of the histogram", latency.Metrics)
	}
	_, istio := find("istio", "errors")
	want = `sum by ($pod) (istio_requests_total{cluster="eu",response_flags!="-",$selector})`
	if istio.Expr != want || istio.Probe == "" {
		t.Errorf("errors of istio: %s with probe %q, want %s and the pack's",
			istio.Expr, istio.Probe, want)
	}
	if _, requests := find("istio", "requests"); requests.Expr == "" {
		t.Error("a set that changes one query has lost another")
	}
	for _, gone := range []string{"linkerd", "grpc"} {
		if i, _ := find(gone, "requests"); i >= 0 {
			t.Errorf("%s is asked for, and should not be", gone)
		}
	}
}
