package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/test/testbed"
)

// TestAKilledPrometheusIsNoIncident kills a real Prometheus and brings it back with a hole in its data. The cluster is
// stale within a minute and says why, and comes back; neither the silence nor the hole is taken for a fault.
func TestAKilledPrometheusIsNoIncident(t *testing.T) {
	t.Parallel()
	simulated, address := simulate(t, sim.Options{
		Clusters: 1, Services: 8, Pods: 3, Seed: 7, TimeScale: 1, ReleaseEvery: -1, Spikes: -1, Jobs: -1,
		Exporters: []sim.Exporter{sim.Istio, sim.CAdvisor, sim.Kube},
	})
	prometheus := testbed.StartPrometheus(t, testbed.PrometheusOptions{
		Targets: targets(simulated, address),
	})
	d := start(t, fmt.Sprintf(`
global: {interval: 1s, lag: 3s, window: 10s}
clusters:
  - {name: c, prometheus: {url: %q}}
detection: {warm_up: 60}
`, prometheus.URL), t.TempDir())
	testbed.Eventually(t, 3*time.Minute, "all series to be warm", func() error { return warm(d) })

	prometheus.Kill()
	testbed.Eventually(t, time.Minute, "the cluster to be stale", func() error {
		c, err := d.cluster("c")
		if err == nil && (!c.Stale || c.Reachable || !strings.Contains(c.Reason, "refused")) {
			err = fmt.Errorf("%+v", c)
		}
		return err
	})
	prometheus.Start()
	d.advanced("c", 20*time.Second) // Past the hole, and all windows that look back into it.
	for _, what := range []string{"incidents", "findings"} {
		all, err := get[[]any](d, "/api/tocsin/v1/"+what)
		if err != nil || len(all) > 0 {
			t.Errorf("the outage made %d %s, %v: %v", len(all), what, err, all)
		}
	}
}
