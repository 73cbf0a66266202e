package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tocsin/app"
	"tocsin/cmd/fleetsim/sim"
	"tocsin/test/testbed"
)

// TestAPlanIsWhatTheDaemonHas compares a plan with a daemon that runs on the same configuration.
func TestAPlanIsWhatTheDaemonHas(t *testing.T) {
	t.Parallel()
	simulated, address := simulate(t, sim.Options{
		Clusters: 2, Services: 6, Pods: 2, ReleaseEvery: -1, Spikes: -1, Jobs: -1,
	})
	prom := testbed.StartPrometheus(t, testbed.PrometheusOptions{Targets: targets(simulated, address)})
	var text strings.Builder
	text.WriteString("global: {interval: 2s, lag: 1s, window: 8s, backfill: {enabled: false}}\n" +
		"clusters:\n")
	for _, name := range simulated.Clusters() {
		fmt.Fprintf(&text, "- {name: %s, selector: 'cluster=%q', prometheus: {url: %q}}\n",
			name, name, prom.URL)
	}
	d := start(t, text.String(), t.TempDir())
	type cluster struct {
		Name   string `json:"name"`
		Series int    `json:"series"`
	}
	testbed.Eventually(t, 2*time.Minute, "a plan that is what the daemon has", func() error {
		clusters, err := get[[]cluster](d, "/api/tocsin/v1/clusters")
		if err != nil {
			return err
		}
		plan, err := app.MakePlan(t.Context(), app.PlanOptions{Config: d.config, Costs: &app.PlanCosts{}})
		if err != nil {
			return err
		}
		for i, c := range clusters {
			p := plan.Clusters[i]
			if p.Name != c.Name || p.Series != c.Series || p.Series < 6*8 ||
				p.BytesPerRound < int64(50*p.Series) {
				return fmt.Errorf("the plan says %+v, the daemon %+v", p.PlanNeed, c)
			}
		}
		if plan.Total.Series == 0 || len(clusters) != 2 {
			return fmt.Errorf("%d series of %d clusters", plan.Total.Series, len(clusters))
		}
		return nil
	})
}
