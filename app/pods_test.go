package app

import (
	"testing"
	"time"

	"tocsin/collectors/promql"
	"tocsin/config"
)

func TestPodQueries(t *testing.T) {
	c, err := config.Parse("tocsin.yaml", []byte("clusters: [{name: eu, prometheus: {url: http://prometheus:9090}}]"))
	if err != nil {
		t.Fatal(err)
	}
	queries, err := podQueries(c, &c.Clusters[0])
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]int)
	for _, q := range queries {
		names[q.Name]++
		unit := time.Second
		if q.Set == "istio" || q.Set == "linkerd" || q.Set == "otel_http_milliseconds" {
			unit = time.Millisecond
		}
		if q.Unit != unit || len(q.Pod) == 0 || len(q.Namespace) == 0 || len(q.Metrics) == 0 || q.Probe == "" {
			t.Errorf("%+v: want the unit %s, labels, metrics and a probe", q, unit)
		}
		if q.Set == "istio" && q.NarrowService != "destination_workload" {
			t.Errorf("%s of istio is narrowed by %q", q.Name, q.NarrowService)
		}
	}
	for _, name := range []string{
		promql.PodRequests, promql.PodErrors, promql.PodLatency, promql.PodCPU, promql.PodMemory,
		promql.PodMemoryLimit, promql.PodRestarts,
	} {
		if names[name] == 0 {
			t.Errorf("no query for %s", name)
		}
	}
	if len(names) != 7 {
		t.Errorf("queries for %v, want the seven that are known", names)
	}
}
