//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/test/testbed"
)

// old is how long v1 runs before the release.
const old = 5*time.Minute + 10*time.Second

// patient is how long a release may take to be judged, taken back and seen to be well.
const patient = 8 * time.Minute

// stage is a control plane whose pods serve metrics as their images have it, with a tocsin that may act.
type stage struct {
	*bed
	tocsin *daemon
	slack  *testbed.Slack
	alerts *testbed.Receiver
}

// newStage sets a stage. Tocsin has the rights that the chart gives it, and no others. Of remediation,
// text says what the configuration says.
func newStage(t *testing.T, remediation string) *stage {
	t.Helper()
	b := newBed(t)
	b.definitions(t)
	prometheus := testbed.StartPrometheus(t, testbed.PrometheusOptions{Targets: []testbed.Target{b.metrics(t)}})
	account := filepath.Join(t.TempDir(), "kubeconfig")
	install(t, b.Cluster, map[string]any{
		"rbac": map[string]any{"remediation": map[string]any{"enabled": true, "owners": true}},
	})
	writeAccount(t, b.Cluster, account)
	s := &stage{bed: b, slack: testbed.StartSlack(t), alerts: testbed.StartReceiver(t)}
	alertmanager := testbed.StartAlertmanager(t, testbed.AlertmanagerOptions{Webhook: s.alerts.URL})
	s.tocsin = runDaemon(t, fmt.Sprintf(`
global: {interval: 2s, lag: 2s, window: 10s, backfill: {enabled: false}}
clusters:
  - name: %s
    prometheus: {url: %q}
    kubernetes: {kubeconfig: %q}
releases: {interval: 2s, ready: 1m, soak: 5m, deadline: 1m}
incidents: {hold: 10s, related_window: 1s}
route: {receiver: everybody, group_wait: 1s}
receivers:
  - name: everybody
    alertmanager_configs: [{urls: [%q]}]
    slack_configs: [{token: xoxb-test, channel: "#sre", api_url: %q}]
remediation:
%s`, b.Name, prometheus.URL, account, alertmanager.URL, s.slack.URL, remediation))
	return s
}

// runDaemon runs tocsin on a configuration.
func runDaemon(t *testing.T, text string) *daemon {
	t.Helper()
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "tocsin.yaml"), text)
	program := testbed.Build(t, "tocsin")
	checkConfig(t, program, file)
	address := fmt.Sprintf("127.0.0.1:%d", testbed.Port(t))
	d := &daemon{URL: "http://" + address, t: t}
	d.Process = testbed.Start(t, testbed.ProcessOptions{
		Name: "tocsin", Path: program,
		Args: []string{
			"run", "--config.file=" + file, "--storage.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + address, "--web.external-url=http://" + address,
		},
		Ready: func() error {
			_, err := d.get("/-/ready")
			return err
		},
	})
	return d
}

// metrics serves the metrics of the pods of cart in all namespaces, as long as the test runs.
func (b *bed) metrics(t *testing.T) testbed.Target {
	t.Helper()
	f, err := sim.New(sim.Options{Clusters: 1, Services: -1, ReleaseEvery: -1, Spikes: -1, Jobs: -1})
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(b.config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(f.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2) // Holds what both goroutines return.
	go func() { ended <- f.Run(ctx) }()
	go func() { ended <- tell(ctx, client, f) }()
	t.Cleanup(func() {
		cancel()
		server.Close()
		for range 2 {
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("serve the metrics of pods: %v", err)
			}
		}
	})
	return testbed.Target{
		Job: "fleet", Address: strings.TrimPrefix(server.URL, "http://"),
		Path: "/clusters/" + f.Clusters()[0] + "/metrics",
	}
}

// tell tells the fleet which pods of cart there are.
func tell(ctx context.Context, client kubernetes.Interface, f *sim.Fleet) error {
	last := map[string]sim.Outside{}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: "app=cart"})
		if err != nil {
			continue // The API server is away in some tests; the pods stay as they were.
		}
		now := map[string]sim.Outside{}
		for i := range pods.Items {
			add(now, f.Clusters()[0], &pods.Items[i])
		}
		for namespace, o := range now {
			if reflect.DeepEqual(last[namespace], o) {
				continue
			}
			if err := f.SetPods(o); err != nil {
				return err
			}
		}
		last = now
	}
}

func add(to map[string]sim.Outside, cluster string, pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return
	}
	o, ok := to[pod.Namespace]
	if !ok {
		o = sim.Outside{
			Service:  fleet.Service{Cluster: cluster, Namespace: pod.Namespace, Name: "cart"},
			Workload: fleet.Deployment, Rate: 90,
		}
	}
	revision := pod.Labels["pod-template-hash"]
	if revision == "" {
		revision = pod.Labels["controller-revision-hash"]
		o.Workload = fleet.Workload(pod.OwnerReferences[0].Kind)
	}
	ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	o.Pods = append(o.Pods, sim.Pod{
		Name: pod.Name, Image: pod.Spec.Containers[0].Image, Revision: revision,
		Node: pod.Spec.NodeName, NotReady: !ready,
	})
	to[pod.Namespace] = o
}

// tale is what happens to a release of cart that tocsin watches.
type tale struct {
	*story
	tocsin   *daemon
	slack    *testbed.Slack
	alerts   *testbed.Receiver
	released time.Time
}

// tale begins a tale: cart has run as v1 for longer than the soak time, and tocsin knows how it does.
func (s *stage) tale(t *testing.T, kind fleet.Workload, change ...func(spec object)) *tale {
	t.Helper()
	x := &tale{story: s.bed.story(t, kind), tocsin: s.tocsin, slack: s.slack, alerts: s.alerts}
	x.healthy(append(change, func(spec object) {
		if kind != fleet.DaemonSet {
			spec["replicas"] = int64(6)
		}
		spec["minReadySeconds"] = int64(5)
	})...)
	x.ripe()
	return x
}

// ripe waits until tocsin scores cart, and v1 has run for the soak time. Pods that are young tell
// little of what is usual.
func (x *tale) ripe() {
	x.t.Helper()
	since := time.Now()
	testbed.Eventually(x.t, patient, "tocsin to know cart", func() error {
		_, err := read[map[string]any](x.tocsin, "/api/tocsin/v1/services/"+x.Name+"/"+x.namespace+"/cart")
		if left := old - time.Since(since); err == nil && left > 0 {
			err = fmt.Errorf("v1 is to run for %s more", left)
		}
		return err
	})
	x.log("tocsin knows cart")
}

// roll releases an image.
func (x *tale) roll(image string) {
	x.t.Helper()
	x.release(image)
	x.released = time.Now()
}

// after writes a line of the timeline, in seconds since the release.
func (x *tale) after(format string, args ...any) {
	x.t.Logf("+%5.1f s  %s", time.Since(x.released).Seconds(), fmt.Sprintf(format, args...))
}

// record returns what tocsin knows of the release of an image.
func (x *tale) record(image string) (release.Record, error) {
	query := url.Values{"cluster": {x.Name}, "namespace": {x.namespace}, "service": {"cart"}}
	all, err := read[[]release.Record](x.tocsin, "/api/tocsin/v1/releases?"+query.Encode())
	if err != nil {
		return release.Record{}, err
	}
	for _, r := range all {
		if slices.Contains(r.Release.New.Images, image) {
			return r, nil
		}
	}
	return release.Record{}, fmt.Errorf("no release of %s among %d", image, len(all))
}

// judged waits for a verdict on the release of an image.
func (x *tale) judged(image string, want release.Result) release.Record {
	x.t.Helper()
	var got release.Record
	testbed.Eventually(x.t, patient, image+" to be judged "+want.String(), func() error {
		r, err := x.record(image)
		if err == nil && r.Release.Result != want {
			err = fmt.Errorf("it is %s: %s", r.Release.Result, r.Verdict.Reason)
		}
		got = r
		return err
	})
	x.after("judged %s: %s", got.Verdict.Result, got.Verdict.Reason)
	return got
}

// actions returns what was done about the releases of cart.
func (x *tale) actions() ([]action.Action, error) {
	query := url.Values{"cluster": {x.Name}, "namespace": {x.namespace}, "service": {"cart"}}
	return read[[]action.Action](x.tocsin, "/api/tocsin/v1/actions?"+query.Encode())
}

// ends waits until what takes the release back has come to a state, and returns it.
func (x *tale) ends(want ...action.State) action.Action {
	x.t.Helper()
	var got action.Action
	testbed.Eventually(x.t, patient, fmt.Sprintf("the rollback to be %v", want), func() error {
		all, err := x.actions()
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(a action.Action) bool { return a.Kind == action.KindPause })
		if len(all) != 1 {
			return fmt.Errorf("there are %d", len(all))
		}
		if got = all[0]; !slices.Contains(want, got.State) {
			return fmt.Errorf("it is %s: %s", got.State, got.Reason)
		}
		return nil
	})
	for _, step := range got.Steps {
		x.t.Logf("+%5.1f s  %s", step.At.Sub(x.released).Seconds(), step.What)
	}
	return got
}

// takenBack is the tale of a bad release: it is judged, rolled back, verified and told once.
func takenBack(image string) func(x *tale) {
	return func(x *tale) {
		x.roll(image)
		x.judged(image, release.Regressed)
		a := x.ends(action.Recovered)
		x.want("cart:v1")
		if got := x.get().GetAnnotations()["tocsin/action"]; got != a.ID {
			x.t.Errorf("cart bears the action %q, want %q", got, a.ID)
		}
		x.toldOnce()
	}
}

// toldOnce wants one message in Slack and one alert, which ends. Releases of other tales that went bad
// at the same moment may share them.
func (x *tale) toldOnce() {
	x.t.Helper()
	id := x.incident()
	testbed.Eventually(x.t, patient, "the alert to be resolved", func() error {
		states := x.alert(id)
		if len(states) != 1 {
			return fmt.Errorf("%d alerts", len(states))
		}
		for _, s := range states {
			if !slices.Equal(s, []string{"firing", "resolved"}) {
				return fmt.Errorf("the alert was %v", s)
			}
		}
		return nil
	})
	messages := 0
	for _, c := range x.slack.Calls() {
		if !c.Edit && c.Thread == "" && strings.Contains(c.Text+c.Blocks, id) {
			messages++
		}
	}
	if messages != 1 {
		x.t.Errorf("%d messages in Slack, want 1", messages)
	}
	x.after("told once")
}

// incident returns the ID of the incident that the release is part of, and wants it to be in no other.
func (x *tale) incident() string {
	x.t.Helper()
	all, err := read[[]incident.Incident](x.tocsin, "/api/tocsin/v1/incidents")
	if err != nil {
		x.t.Fatal(err)
	}
	var ids []string
	for _, i := range all {
		if slices.ContainsFunc(i.Acts, func(a incident.Act) bool { return a.Service.Namespace == x.namespace }) {
			ids = append(ids, i.ID)
		}
	}
	if len(ids) != 1 {
		x.t.Fatalf("the release is in the incidents %v, want one", ids)
	}
	return ids[0]
}

// alert returns the states of each alert of an incident, in their order.
func (x *tale) alert(id string) map[string][]string {
	states := map[string][]string{}
	for _, n := range x.alerts.Notifications() {
		for _, a := range n.Alerts {
			if a.Annotations["incident_id"] != id {
				continue
			}
			if was := states[a.Fingerprint]; len(was) == 0 || was[len(was)-1] != a.Status {
				states[a.Fingerprint] = append(was, a.Status)
			}
		}
	}
	return states
}

// untouched is the tale of a good release: it is judged healthy, accepted, and nothing is done.
func untouched(x *tale) {
	x.roll("cart:v2")
	x.judged("cart:v2", release.Healthy)
	testbed.Eventually(x.t, patient, "the release to be done", func() error {
		r, err := x.record("cart:v2")
		if err == nil && r.Release.State != release.Done {
			err = fmt.Errorf("it is %s", r.Release.State)
		}
		return err
	})
	x.after("accepted")
	if all, err := x.actions(); err != nil || len(all) > 0 {
		x.t.Errorf("%d actions, %v; want none", len(all), err)
	}
	x.want("cart:v2")
	for _, n := range x.alerts.Notifications() {
		for _, a := range n.Alerts {
			if a.Labels["namespace"] == x.namespace {
				x.t.Errorf("an alert: %s", a.Annotations["summary"])
			}
		}
	}
}

// automatic is a policy that lets tocsin take releases back by itself.
const automatic = `
  mode: auto
  soak: 1m
  limits_per_hour: {cluster: 100, team: 100, fleet: 100}
  storm: {releases: 100, share: 1}
  owners: {argo_cd: suspend}
  rules:
    - match: {namespaces: [ask-*]}
      mode: ask
    - match: {namespaces: [observe]}
      mode: observe
`

// TestReleasesAreJudgedAndTakenBack plays releases on a real control plane, by image.
func TestReleasesAreJudgedAndTakenBack(t *testing.T) {
	s := newStage(t, automatic)
	t.Run("tales", func(t *testing.T) {
		for _, tc := range []struct {
			name string
			kind fleet.Workload
			play func(x *tale)
		}{
			{"good deployment", fleet.Deployment, untouched},
			{"deployment fails", fleet.Deployment, takenBack("cart:v2-bad")},
			{"statefulset fails", fleet.StatefulSet, takenBack("cart:v2-bad")},
			{"daemonset fails", fleet.DaemonSet, takenBack("cart:v2-bad")},
			{"deployment is slow", fleet.Deployment, takenBack("cart:v2-slow")},
			{"statefulset is slow", fleet.StatefulSet, takenBack("cart:v2-slow")},
			{"daemonset crashes", fleet.DaemonSet, takenBack("cart:crash")},
			{"deployment crashes", fleet.Deployment, takenBack("cart:crash")},
			{"deployment leaks", fleet.Deployment, takenBack("cart:v2-leak")},
			{"statefulset crashes", fleet.StatefulSet, takenBack("cart:crash")},
			{"statefulset leaks", fleet.StatefulSet, takenBack("cart:v2-leak")},
			{"daemonset is slow", fleet.DaemonSet, takenBack("cart:v2-slow")},
			{"daemonset leaks", fleet.DaemonSet, takenBack("cart:v2-leak")},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				tc.play(s.tale(t, tc.kind))
			})
		}
		for _, tc := range guarded {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				tc.play(s, t)
			})
		}
	})
}
