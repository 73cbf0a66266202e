package acceptance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/test/testbed"
)

// TestAFaultIsToldOnce is what tocsin is for. A fleet lives beside a real Prometheus and a real Alertmanager; the
// checkout of one cluster is deployed and begins to fail; one incident names it and the deployment, one alert
// fires and resolves, one Slack message is posted and edited, and nothing else is told.
func TestAFaultIsToldOnce(t *testing.T) {
	t.Parallel()
	simulated, address := simulate(t, sim.Options{
		Clusters: 2, Services: 8, Pods: 3, Seed: 7, TimeScale: 1, ReleaseEvery: -1, Spikes: -1, Jobs: -1,
		Propagation: -1, // Only the victim suffers.
		Exporters:   []sim.Exporter{sim.Istio, sim.CAdvisor, sim.Kube},
	})
	prometheus := testbed.StartPrometheus(t, testbed.PrometheusOptions{Targets: targets(simulated, address)})
	told := testbed.StartReceiver(t)
	alertmanager := testbed.StartAlertmanager(t, testbed.AlertmanagerOptions{Webhook: told.URL})
	board := testbed.StartSlack(t)
	api := startKubeAPI(t)
	clusters := simulated.Clusters()
	victim := victimOf(t, simulated, clusters[0])
	api.deploy(victim.Namespace, victim.Name, "shop/"+victim.Name+":v41", "argocd-controller")

	d := start(t, fmt.Sprintf(`
global: {interval: 1s, lag: 3s, window: 10s}
clusters:
  - name: %[1]s
    prometheus: {url: %[3]q}
    selector: cluster=%[1]q
    kubernetes: {kubeconfig: %[4]q}
  - name: %[2]s
    prometheus: {url: %[3]q}
    selector: cluster=%[2]q
detection: {warm_up: 60}
incidents: {related_window: 10s, hold: 10s}
route: {receiver: everybody, group_wait: 1s}
receivers:
  - name: everybody
    alertmanager_configs: [{urls: [%[5]q]}]
    slack_configs: [{token: xoxb-test, channel: "#sre", api_url: %[6]q}]
`, clusters[0], clusters[1], prometheus.URL, api.kubeconfig(t), alertmanager.URL, board.URL), t.TempDir())

	testbed.Eventually(t, 3*time.Minute, "all series to be warm", func() error { return warm(d) })
	api.deploy(victim.Namespace, victim.Name, "shop/"+victim.Name+":v42", "argocd-controller")
	if err := simulated.Inject(sim.Fault{
		Kind: sim.ErrorBurst, At: simulated.Elapsed() + 3*time.Second, For: 25 * time.Second,
		Cluster: clusters[0], Service: victim.Name, Errors: 0.4,
	}); err != nil {
		t.Fatal(err)
	}

	testbed.Eventually(t, time.Minute, "the alert to fire", func() error { return notified(told, "firing") })
	checkIncident(t, d, victim)
	checkScores(t, d, victim)
	testbed.Eventually(t, 2*time.Minute, "the alert to be resolved", func() error { return notified(told, "resolved") })

	checkAlerts(t, told, victim)
	testbed.Eventually(t, time.Minute, "the end in Slack", func() error {
		calls := board.Calls()
		if last := lastEdit(calls); !strings.Contains(strings.ToLower(last.Text), "resolved") {
			return fmt.Errorf("last edit is %q", last.Text)
		}
		return nil
	})
	checkSlack(t, board)
	all, err := get[[]incident.Incident](d, "/api/tocsin/v1/incidents")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].State != incident.Resolved {
		t.Errorf("%d incidents, want one, resolved:", len(all))
		for _, i := range all {
			t.Errorf("  %s %s", i.State, i.Title)
		}
	}
}

// victimOf returns the service that is to fail.
func victimOf(t *testing.T, f *sim.Fleet, cluster string) fleet.Service {
	t.Helper()
	for _, c := range f.State().Clusters {
		for _, s := range c.Services {
			if c.Name == cluster && s.Name == "checkout" {
				return fleet.Service{Cluster: cluster, Namespace: s.Namespace, Name: s.Name}
			}
		}
	}
	t.Fatalf("the fleet has no checkout in %s", cluster)
	return fleet.Service{}
}

// warm tells whether the daemon scores all that it knows, and knows all services.
func warm(d *daemon) error {
	type status struct {
		Detector struct {
			Series, Warm, Warming int
		} `json:"detector"`
		Clusters []struct{ Services int } `json:"clusters"`
	}
	s, err := get[status](d, "/api/tocsin/v1/status")
	if err != nil {
		return err
	}
	for _, c := range s.Clusters {
		if c.Services != 8 {
			return fmt.Errorf("a cluster with %d services", c.Services)
		}
	}
	if s.Detector.Warming > 0 || s.Detector.Warm == 0 {
		return fmt.Errorf("%d of %d series are warm", s.Detector.Warm, s.Detector.Series)
	}
	return nil
}

func notified(r *testbed.Receiver, status string) error {
	for _, n := range r.Notifications() {
		for _, a := range n.Alerts {
			if a.Status == status {
				return nil
			}
		}
	}
	return fmt.Errorf("%d notifications, none is %s", len(r.Notifications()), status)
}

// checkIncident wants one open incident that names the victim and the change before it.
func checkIncident(t *testing.T, d *daemon, victim fleet.Service) {
	t.Helper()
	open, err := get[[]incident.Incident](d, "/api/tocsin/v1/incidents?state=open")
	if err != nil {
		t.Fatal(err)
	}
	if len(open) != 1 {
		t.Fatalf("%d open incidents, want 1: %+v", len(open), open)
	}
	i := open[0]
	if i.Service != victim {
		t.Errorf("the incident is of %s, want %s", i.Service, victim)
	}
	if i.Severity != incident.Critical {
		t.Errorf("severity is %s, want critical", i.Severity)
	}
	if len(i.Causes) == 0 {
		t.Fatal("the incident names no change")
	}
	c := i.Causes[0].Change
	if c.Kind != fleet.Rollout || c.Service != victim || !strings.Contains(c.Summary, "v42") {
		t.Errorf("the likeliest cause is %s of %s: %q; want the rollout of v42", c.Kind, c.Service, c.Summary)
	}
	if !slices.ContainsFunc(i.Findings, func(f detector.Finding) bool {
		return f.Signal == "istio_errors" && f.Observed > 10*f.Expected && f.Harmful
	}) {
		text, _ := json.Marshal(i.Findings)
		t.Errorf("no finding says that errors rose: %s", text)
	}
}

// checkScores wants the score of the errors to be served as a series, as Grafana would ask for it. After
// two minutes of life no value can be as improbable as one in a thousand.
func checkScores(t *testing.T, d *daemon, victim fleet.Service) {
	t.Helper()
	testbed.Eventually(t, 30*time.Second, "the score to be served", func() error {
		got, err := d.query(fmt.Sprintf(`max_over_time(tocsin_score{cluster=%q,service=%q,signal="istio_errors"}[1m]) > 1.9`,
			victim.Cluster, victim.Name))
		if err != nil {
			return err
		}
		if len(got) != 1 || got[0].Metric["namespace"] != victim.Namespace {
			return fmt.Errorf("got %v, want one series above 1.9", got)
		}
		return nil
	})
}

// checkAlerts wants one alert, of the victim, firing and then resolved.
func checkAlerts(t *testing.T, r *testbed.Receiver, victim fleet.Service) {
	t.Helper()
	seen := map[string][]string{}
	for _, n := range r.Notifications() {
		for _, a := range n.Alerts {
			if was := seen[a.Fingerprint]; len(was) == 0 || was[len(was)-1] != a.Status {
				seen[a.Fingerprint] = append(was, a.Status)
			}
			if a.Labels["cluster"] != victim.Cluster || a.Labels["service"] != victim.Name {
				t.Errorf("an alert of %s/%s: %s", a.Labels["cluster"], a.Labels["service"], a.Annotations["summary"])
			}
		}
	}
	for f, states := range seen {
		if len(seen) != 1 || !slices.Equal(states, []string{"firing", "resolved"}) {
			t.Errorf("alert %s: %v; want one alert, firing and then resolved", f, states)
		}
	}
}

// lastEdit returns the newest state of the first message.
func lastEdit(calls []testbed.SlackCall) testbed.SlackCall {
	var last testbed.SlackCall
	for _, c := range calls {
		if c.Thread == "" {
			last = c
		}
	}
	return last
}

// checkSlack wants one message, edited in place, with its history in its thread.
func checkSlack(t *testing.T, b *testbed.Slack) {
	t.Helper()
	var messages []string
	edits, replies := 0, 0
	for _, c := range b.Calls() {
		switch {
		case c.Edit:
			edits++
			if len(messages) == 0 || c.TS != messages[0] {
				t.Errorf("an edit of %s, which is not the message", c.TS)
			}
		case c.Thread != "":
			replies++
			if len(messages) == 0 || c.Thread != messages[0] {
				t.Errorf("a reply to %s, which is not the message", c.Thread)
			}
		default:
			messages = append(messages, c.TS)
		}
	}
	if len(messages) != 1 || edits == 0 || replies == 0 {
		t.Errorf("%d messages, %d edits, %d replies; want one message, edited, with replies", len(messages), edits, replies)
	}
}
