//go:build e2e

// Package e2e tests tocsin against whole Kubernetes control planes.
package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/collectors/kube"
	"tocsin/fleet"
	"tocsin/test/testbed"
)

// soon bounds how long a change may take to arrive: generous, because the machine may be busy with
// all else.
const soon = 2 * time.Minute

// watch is a running Watcher and what it reported.
type watch struct {
	*kube.Watcher
	t    *testing.T
	stop func()

	mu  sync.Mutex // Guards got.
	got []fleet.Change
}

// startWatch starts a Watcher on a cluster and waits until it has listed it.
func startWatch(t *testing.T, c *testbed.Cluster, opts kube.Options) *watch {
	t.Helper()
	w := &watch{t: t}
	opts.Cluster = c.Name
	opts.Reg = prometheus.NewRegistry()
	opts.Repeat = time.Second
	if opts.Config == nil {
		config, err := kube.Config(c.Kubeconfig, "")
		if err != nil {
			t.Fatal(err)
		}
		opts.Config = config
	}
	opts.Report = func(change fleet.Change) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.got = append(w.got, change)
	}
	watcher, err := kube.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	w.Watcher = watcher
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(w.stop)
	w.fresh()
	return w
}

// fresh waits until the watcher knows its cluster.
func (w *watch) fresh() {
	w.t.Helper()
	testbed.Eventually(w.t, soon, "a fresh cluster", func() error {
		if s := w.Status(); s.State != kube.Fresh || !s.Synced {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
}

// changes returns what was reported so far but groups of events, as "kind service: summary".
func (w *watch) changes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, c := range w.got {
		if c.Kind != fleet.Warning {
			out = append(out, fmt.Sprintf("%s %s: %s", c.Kind, c.Service.Name, c.Summary))
		}
	}
	return out
}

// find returns the newest report of a kind about a service, or nil.
func (w *watch) find(kind fleet.ChangeKind, service string) *fleet.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range slices.Backward(w.got) {
		if c.Kind == kind && c.Service.Name == service {
			return &c
		}
	}
	return nil
}

// want waits until exactly these changes were reported, in any order.
func (w *watch) want(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	testbed.Eventually(w.t, soon, "the changes", func() error {
		got := w.changes()
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("changes\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
}

// ids returns the IDs of all changes but groups of events, in the order of their summaries.
func (w *watch) ids() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := slices.Clone(w.got)
	slices.SortStableFunc(got, func(a, b fleet.Change) int {
		return cmp.Or(a.Service.Compare(b.Service), strings.Compare(a.Summary, b.Summary))
	})
	var ids []string
	for _, c := range got {
		if c.Kind != fleet.Warning {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// apply creates a workload of one container named main.
func apply(c *testbed.Cluster, kind fleet.Workload, name, image string) {
	spec := map[string]any{
		"selector": map[string]any{"matchLabels": map[string]string{"app": name}},
		"template": map[string]any{
			"metadata": map[string]any{"labels": map[string]string{"app": name}},
			"spec": map[string]any{
				"terminationGracePeriodSeconds": 0,
				"containers":                    []any{map[string]string{"name": "main", "image": image}},
			},
		},
	}
	if kind != fleet.DaemonSet {
		spec["replicas"] = 2
	}
	c.Apply(map[string]any{
		"apiVersion": "apps/v1", "kind": kind, "spec": spec,
		"metadata": map[string]string{"name": name, "namespace": "default"},
	})
}

// rolled waits until a rollout is complete.
func rolled(c *testbed.Cluster, workloads ...string) {
	for _, w := range workloads {
		c.Kubectl("rollout", "status", w, "--timeout=120s")
	}
}

func TestRolloutsArriveAsChanges(t *testing.T) {
	c := testbed.StartCluster(t, testbed.ClusterOptions{Name: "rollouts"})
	apply(c, fleet.Deployment, "cart", "cart:v1")
	apply(c, fleet.StatefulSet, "db", "db:v1")
	apply(c, fleet.DaemonSet, "agent", "agent:v1")
	rolled(c, "deployment/cart", "statefulset/db", "daemonset/agent")
	w := startWatch(t, c, kube.Options{})
	if s := w.Status(); s.UID == "" || s.Version != "v1.37.1" || s.Workloads != 3 {
		t.Errorf("status %+v", s)
	}

	before := time.Now().Truncate(time.Second)
	c.Kubectl("set", "image", "deployment/cart", "main=cart:v2")
	c.Kubectl("set", "image", "statefulset/db", "main=db:v2")
	c.Kubectl("set", "image", "daemonset/agent", "main=agent:v2")
	rolled(c, "deployment/cart", "statefulset/db", "daemonset/agent")
	want := []string{
		"rollout cart: image cart:v1 -> cart:v2", "rollout db: image db:v1 -> db:v2",
		"rollout agent: image agent:v1 -> agent:v2",
	}
	w.want(want...)
	for _, name := range []string{"cart", "db", "agent"} {
		r := w.find(fleet.Rollout, name)
		if r.Author != "kubectl (set)" || r.At.Before(before) || r.At.After(time.Now()) {
			t.Errorf("%s: by %q at %v", name, r.Author, r.At)
		}
		if r.Old.Hash == r.New.Hash || len(r.Old.Template) == 0 || len(r.New.Template) == 0 {
			t.Errorf("%s: revisions %+v -> %+v", name, r.Old, r.New)
		}
	}

	c.Kubectl("scale", "deployment/cart", "--replicas=4")
	c.Kubectl("rollout", "pause", "deployment/cart")
	c.Kubectl("rollout", "resume", "deployment/cart")
	c.Kubectl("rollout", "restart", "deployment/cart")
	rolled(c, "deployment/cart")
	c.Kubectl("rollout", "undo", "deployment/cart", "--to-revision=1")
	rolled(c, "deployment/cart")
	c.Kubectl("delete", "statefulset/db")
	apply(c, fleet.Deployment, "late", "late:v1")
	w.want(append(want, "scaled cart: scaled from 2 to 4", "paused cart: rollout paused",
		"resumed cart: rollout resumed", "restarted cart: pods restarted",
		"rollout cart: image cart:v2 -> cart:v1", "deleted db: deleted",
		"created late: created with image late:v1")...)
}

func TestACrashLoopArrivesAsOneChange(t *testing.T) {
	c := testbed.StartCluster(t, testbed.ClusterOptions{Name: "crash"})
	apply(c, fleet.Deployment, "cart", "cart:v1")
	apply(c, fleet.StatefulSet, "db", "db:v1")
	apply(c, fleet.DaemonSet, "agent", "agent:v1")
	rolled(c, "deployment/cart", "statefulset/db", "daemonset/agent")
	w := startWatch(t, c, kube.Options{})
	c.Kubectl("set", "image", "deployment/cart", "main=cart:bad")
	c.Kubectl("set", "image", "statefulset/db", "main=db:crash")
	c.Kubectl("set", "image", "daemonset/agent", "main=agent:bad-2")
	for _, name := range []string{"cart", "db", "agent"} {
		testbed.Eventually(t, soon, "the crash loop of "+name, func() error {
			crash := w.find(fleet.Warning, name)
			if crash == nil || crash.Event.Count < 5 {
				return fmt.Errorf("got %+v", crash)
			}
			if crash.Event.Reason != "BackOff" || crash.Event.First.After(crash.Event.Last) {
				return fmt.Errorf("event %+v", crash.Event)
			}
			return nil
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, counts := map[string]bool{}, map[string]int{}
	for _, g := range w.got {
		if g.Kind != fleet.Warning || g.Event.Reason != "BackOff" {
			continue
		}
		ids[g.ID] = true
		if g.Event.Count <= counts[g.ID] {
			t.Errorf("%s: count %d after %d", g.Service.Name, g.Event.Count, counts[g.ID])
		}
		counts[g.ID] = g.Event.Count
	}
	if len(ids) != 3 {
		t.Errorf("%d crash loops, want one for each workload", len(ids))
	}
}

func TestNothingIsLostOrDoubledWhenTheAPIServerIsKilled(t *testing.T) {
	c := testbed.StartCluster(t, testbed.ClusterOptions{Name: "killed"})
	for i := range 5 {
		apply(c, fleet.Deployment, fmt.Sprint("svc-", i), "app:v1")
	}
	stays, leaves := startWatch(t, c, kube.Options{}), startWatch(t, c, kube.Options{})
	c.Kubectl("set", "image", "deployment/svc-0", "main=app:v2")
	want := []string{"rollout svc-0: image app:v1 -> app:v2"}
	stays.want(want...)
	leaves.want(want...)
	leaves.stop()
	state, err := json.Marshal(leaves.State())
	if err != nil {
		t.Fatal(err)
	}

	for round := range 3 {
		c.KillAPIServer()
		c.StartAPIServer()
		image := fmt.Sprint("app:r", round)
		c.Kubectl("set", "image", "deployment/svc-1", "main="+image) // Likely before the watch is back.
		last := "app:v1"
		if round > 0 {
			last = fmt.Sprint("app:r", round-1)
		}
		want = append(want, fmt.Sprintf("rollout svc-1: image %s -> %s", last, image))
		stays.want(want...)
	}
	c.Kubectl("scale", "deployment/svc-2", "--replicas=5")
	c.Kubectl("delete", "deployment/svc-3")
	want = append(want, "scaled svc-2: scaled from 2 to 5", "deleted svc-3: deleted")
	stays.want(want...)
	stays.fresh()

	var saved kube.State
	if err := json.Unmarshal(state, &saved); err != nil {
		t.Fatal(err)
	}
	resumed := startWatch(t, c, kube.Options{State: &saved})
	resumed.want("rollout svc-1: image app:v1 -> app:r2",
		"scaled svc-2: scaled from 2 to 5", "deleted svc-3: deleted")
	known := stays.ids()
	for _, id := range resumed.ids() {
		if !slices.Contains(known, id) {
			t.Errorf("change %s has another ID for who saw it", id)
		}
	}
	resumed.stop()
	again := startWatch(t, c, kube.Options{State: resumed.State()})
	again.want()
	stays.want(want...)
}

func TestRightsThatAreMissingAreNamed(t *testing.T) {
	c := testbed.StartCluster(t, testbed.ClusterOptions{Name: "rights", Users: []string{"reader"}})
	c.Kubectl("create", "clusterrole", "reader", "--verb=list,watch", "--resource=deployments.apps,events")
	c.Kubectl("create", "clusterrolebinding", "reader", "--clusterrole=reader", "--user=reader")
	config, err := kube.Config(c.KubeconfigOf("reader"), "")
	if err != nil {
		t.Fatal(err)
	}
	apply(c, fleet.Deployment, "cart", "cart:v1")
	w := startWatch(t, c, kube.Options{Config: config})
	for _, r := range w.Status().Resources {
		if r.State == kube.Absent {
			continue // Of an extension that this cluster does not have.
		}
		granted := r.Resource == "deployments.apps" || r.Resource == "events"
		if granted != (r.State == kube.Fresh) || !granted && !strings.Contains(r.Reason, "resources: [") {
			t.Errorf("%s: %s, %q", r.Resource, r.State, r.Reason)
		}
	}
	c.Kubectl("set", "image", "deployment/cart", "main=cart:v2")
	w.want("rollout cart: image cart:v1 -> cart:v2")
}

func TestAHungAPIServerIsStaleAndComesBack(t *testing.T) {
	c := testbed.StartCluster(t, testbed.ClusterOptions{Name: "hung"})
	apply(c, fleet.Deployment, "cart", "cart:v1")
	w := startWatch(t, c, kube.Options{Stale: 9 * time.Second})
	c.APIServer.Signal(syscall.SIGSTOP)
	testbed.Eventually(t, soon, "a stale cluster", func() error {
		s := w.Status()
		if s.State != kube.Stale || !strings.Contains(s.Reason, "did not answer") {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	c.APIServer.Signal(syscall.SIGCONT)
	c.Kubectl("set", "image", "deployment/cart", "main=cart:v2")
	w.want("rollout cart: image cart:v1 -> cart:v2")
	w.fresh()
}
