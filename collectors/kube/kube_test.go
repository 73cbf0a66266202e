package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"

	"tocsin/fleet"
)

// TestMain takes away client-go's pause of a millisecond after the last error anywhere in the
// process: errors of another bubble, whose clock is another, would make it last for years.
func TestMain(m *testing.M) {
	utilruntime.ErrorHandlers = nil
	os.Exit(m.Run())
}

// bench is a Watcher on an apiServer, and what it has reported.
type bench struct {
	t       *testing.T
	api     *apiServer
	watcher *Watcher
	stop    func()

	mu  sync.Mutex // Guards got.
	got []fleet.Change
}

// start starts a Watcher in the bubble and waits until it has nothing to do.
func start(t *testing.T, api *apiServer, opts Options) *bench {
	b := &bench{t: t, api: api}
	opts.Cluster = "east"
	if opts.Load == nil {
		opts.Config = api.config()
	}
	opts.Report = func(c fleet.Change) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got = append(b.got, c)
	}
	w, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	b.watcher = w
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(b.stop)
	b.settle()
	return b
}

// settle lets the watcher start, or a second pass.
func (b *bench) settle() { b.pass(2 * time.Second) }

func (b *bench) pass(d time.Duration) {
	time.Sleep(d) // In a bubble this takes no time.
	synctest.Wait()
}

// take returns what was reported since it was called last.
func (b *bench) take() []fleet.Change {
	b.pass(time.Second)
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

// want takes the changes and checks their kinds and summaries.
func (b *bench) want(want ...string) []fleet.Change {
	b.t.Helper()
	changes := b.take()
	var got []string
	for _, c := range changes {
		got = append(got, string(c.Kind)+" "+c.Service.Namespace+"/"+c.Service.Name+": "+c.Summary)
	}
	if !slices.Equal(got, want) {
		b.t.Fatalf("changes:\n%q\nwant\n%q", got, want)
	}
	return changes
}

// edited returns the record of an edit as an API server keeps it.
func edited(
	manager string, op metav1.ManagedFieldsOperationType, sub string, at time.Time, fields string,
) metav1.ManagedFieldsEntry {
	when := metav1.NewTime(at.Truncate(time.Second))
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: op, Subresource: sub, Time: &when,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields),
	}
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: types.UID("uid-" + name), Generation: 1,
		CreationTimestamp: metav1.NewTime(time.Now().Truncate(time.Second)),
		ManagedFields: []metav1.ManagedFieldsEntry{edited("kubectl-create", "Update", "", time.Now(),
			`{"f:spec":{"f:replicas":{},"f:template":{}}}`)},
	}
}

func template(image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "main", Image: image,
			Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "canary-1"}},
		}}},
	}
}

func deployment(name, image string) *appsv1.Deployment {
	n := int32(3)
	return &appsv1.Deployment{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"}, ObjectMeta: meta(name),
		Spec: appsv1.DeploymentSpec{Replicas: &n, Template: template(image)},
	}
}

func statefulSet(name, image string) *appsv1.StatefulSet {
	n := int32(3)
	return &appsv1.StatefulSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, ObjectMeta: meta(name),
		Spec: appsv1.StatefulSetSpec{Replicas: &n, Template: template(image)},
	}
}

func daemonSet(name, image string) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "DaemonSet"}, ObjectMeta: meta(name),
		Spec: appsv1.DaemonSetSpec{Template: template(image)},
	}
}

// change returns a changed copy of a Deployment, with a new generation, written now by kubectl set.
func change(d *appsv1.Deployment, f func(*appsv1.Deployment)) *appsv1.Deployment {
	d = d.DeepCopy()
	d.Generation++
	d.ManagedFields = append(d.ManagedFields, edited("kubectl-set", "Update", "", time.Now(),
		`{"f:spec":{"f:template":{"f:spec":{}}}}`))
	f(d)
	return d
}

func image(name string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = name }
}

func TestARolloutIsReportedWithBothRevisions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d := deployment("cart", "cart:v1")
		d.Annotations = map[string]string{"deployment.kubernetes.io/revision": "4"}
		api.put(d, statefulSet("db", "db:v1"), daemonSet("agent", "agent:v1"))
		b := start(t, api, Options{})
		b.want() // What is there already is not news.

		b.pass(time.Minute)
		at := time.Now().Truncate(time.Second)
		api.put(change(d, image("cart:v2")))
		c := b.want("rollout shop/cart: image cart:v1 -> cart:v2")[0]
		if c.Author != "kubectl (set)" || !c.At.Equal(at) || c.Workload != fleet.Deployment {
			t.Errorf("author %q at %v of %s, want kubectl (set) at %v", c.Author, c.At, c.Workload, at)
		}
		if c.Old.Number != 4 || c.New.Number != 0 || c.Old.Hash == c.New.Hash {
			t.Errorf("revisions %+v -> %+v", c.Old, c.New)
		}
	})
}

func TestAllKindsOfChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d, s, ds := deployment("cart", "cart:v1"), statefulSet("db", "db:v1"), daemonSet("agent", "agent:v1")
		api.put(d, s, ds)
		b := start(t, api, Options{})
		b.want()

		s = s.DeepCopy()
		s.Generation++
		s.Spec.Template.Spec.Containers[0].Image = "db:v2"
		api.put(s)
		b.want("rollout shop/db: image db:v1 -> db:v2")

		ds = ds.DeepCopy()
		ds.Generation++
		ds.Spec.Template.Spec.Containers = append(ds.Spec.Template.Spec.Containers,
			corev1.Container{Name: "side", Image: "side:v1"})
		ds.Annotations = map[string]string{"kubernetes.io/change-cause": "ticket 7"}
		api.put(ds)
		b.want("rollout shop/agent: image agent:v1 -> images agent:v1, side:v1 (ticket 7)")

		five := int32(5)
		d = change(d, func(d *appsv1.Deployment) {
			d.Spec.Replicas = &five
			d.ManagedFields = append(d.ManagedFields[:1], edited("kube-controller-manager", "Update", "scale",
				time.Now(), `{"f:spec":{"f:replicas":{}}}`))
		})
		api.put(d)
		c := b.want("scaled shop/cart: scaled from 3 to 5")[0]
		if *c.Replicas != (fleet.Replicas{Old: 3, New: 5}) || c.Author != "kube-controller-manager (scale)" {
			t.Errorf("scaled by %q: %+v", c.Author, c.Replicas)
		}

		d = change(d, func(d *appsv1.Deployment) { d.Spec.Paused = true })
		api.put(d)
		paused := b.want("paused shop/cart: rollout paused")[0]
		d = change(d, func(d *appsv1.Deployment) { d.Spec.Paused = false })
		d.ManagedFields = d.ManagedFields[:1]
		api.put(d)
		b.want("resumed shop/cart: rollout resumed")
		d = change(d, func(d *appsv1.Deployment) { d.Spec.Paused = true })
		api.put(d)
		if again := b.want("paused shop/cart: rollout paused")[0]; again.ID == paused.ID {
			t.Error("two pauses have one ID")
		}

		d = change(d, func(d *appsv1.Deployment) {
			d.Spec.Paused = false
			d.Spec.Template.Annotations = map[string]string{restartedAt: "2026-01-02T03:04:05Z"}
		})
		api.put(d)
		b.want("resumed shop/cart: rollout resumed", "restarted shop/cart: pods restarted")

		api.put(deployment("new", "new:v1"))
		b.want("created shop/new: created with image new:v1")
		api.remove(d)
		if c := b.want("deleted shop/cart: deleted")[0]; c.Old == nil || c.Old.Images[0] != "cart:v1" {
			t.Errorf("old revision of a deleted workload: %+v", c.Old)
		}
	})
}

func TestARolloutOfOtherThanImagesNamesThemAndHidesValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d := deployment("cart", "cart:v1")
		api.put(d)
		b := start(t, api, Options{})
		d = change(d, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Env[0].Value = "canary-2"
			d.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64)
		})
		api.put(d)
		c := b.want("rollout shop/cart: pod template changed: " +
			"spec.containers[main].env[PASSWORD].value, spec.terminationGracePeriodSeconds")[0]
		state := encode(t, b.watcher.State())
		for _, text := range [][]byte{encode(t, c), state, c.New.Template, c.Old.Template} {
			if len(text) == 0 || strings.Contains(string(text), "canary") {
				t.Errorf("a value of the environment shows in %s", text)
			}
		}
	})
}

func TestWhatIsNoChangeIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d := deployment("cart", "cart:v1")
		api.put(d)
		b := start(t, api, Options{})

		status := d.DeepCopy()
		status.Status.ReadyReplicas = 3
		status.Annotations = map[string]string{"deployment.kubernetes.io/revision": "9"}
		api.put(status)
		b.want()

		same := change(status, func(d *appsv1.Deployment) {
			seconds := int32(9)
			d.Spec.ProgressDeadlineSeconds = &seconds
			d.Spec.Template.Labels["pod-template-hash"] = "abc"
		})
		api.put(same)
		b.want()

		api.put(change(same, image("cart:v2")))
		if c := b.want("rollout shop/cart: image cart:v1 -> cart:v2")[0]; c.Old.Number != 9 {
			t.Errorf("number of the old revision = %d, want 9", c.Old.Number)
		}
	})
}

func TestAWatcherGoesOnWhereAnotherEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		cart, db := deployment("cart", "cart:v1"), statefulSet("db", "db:v1")
		old := deployment("old", "old:v1")
		api.put(cart, db, old)
		first, second := start(t, api, Options{}), start(t, api, Options{})
		first.pass(time.Minute)
		state := first.watcher.State()
		first.stop()

		cart = change(cart, image("cart:v2"))
		api.put(cart)
		second.pass(time.Minute)
		two := int32(2)
		db = db.DeepCopy()
		db.Generation++
		db.Spec.Replicas = &two
		db.ManagedFields = append(db.ManagedFields,
			edited("hpa", "Update", "scale", time.Now(), `{"f:spec":{"f:replicas":{}}}`))
		api.put(db)
		second.pass(time.Minute)
		api.put(deployment("new", "new:v1"))
		second.pass(time.Minute)
		api.remove(old)
		saw := second.want("rollout shop/cart: image cart:v1 -> cart:v2", "scaled shop/db: scaled from 3 to 2",
			"created shop/new: created with image new:v1", "deleted shop/old: deleted")
		second.pass(time.Hour)

		var saved State
		if err := json.Unmarshal(encode(t, state), &saved); err != nil {
			t.Fatal(err)
		}
		third := start(t, api, Options{State: &saved})
		found := third.take() // In the order of the lists, and lists overtake each other.
		slices.SortStableFunc(found, func(a, b fleet.Change) int {
			return cmp.Compare(rank(saw, a), rank(saw, b))
		})
		if len(found) != len(saw) {
			t.Fatalf("found %+v, want what another saw: %+v", found, saw)
		}
		for i := range found {
			if found[i].ID != saw[i].ID || found[i].Summary != saw[i].Summary {
				t.Errorf("found %s, want %s of the same ID", found[i].Summary, saw[i].Summary)
			}
			if gone := found[i].Kind == fleet.Deleted; !gone && !found[i].At.Equal(saw[i].At) {
				t.Errorf("%s: at %v when found later, at %v when seen", found[i].Summary, found[i].At, saw[i].At)
			}
		}
		if len(found[0].Old.Template) == 0 {
			t.Error("the old template did not survive the restart")
		}
		third.stop()
		start(t, api, Options{State: third.watcher.State()}).want()
	})
}

// rank returns where in changes a change of c's kind is.
func rank(changes []fleet.Change, c fleet.Change) int {
	return slices.IndexFunc(changes, func(other fleet.Change) bool { return other.Kind == c.Kind })
}

func TestTheStateOfAnotherClusterIsVoid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(deployment("cart", "cart:v1"))
		b := start(t, api, Options{})
		state := b.watcher.State()
		b.stop()
		other := newAPIServer(t)
		other.uid = "cluster-2"
		other.put(deployment("else", "else:v1"))
		b = start(t, other, Options{State: state})
		b.want()
		if s := b.watcher.State(); s.ClusterUID != "cluster-2" || len(s.Workloads) != 1 {
			t.Errorf("state = %+v", s)
		}
	})
}

func TestAClusterThatIsReplacedBehindItsNameStartsAfresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d := deployment("cart", "cart:v1")
		api.put(d)
		b := start(t, api, Options{})
		api.change(func() { api.uid = "cluster-2" })
		b.pass(time.Minute)
		api.put(change(d, image("cart:v2")))
		b.want("rollout shop/cart: image cart:v1 -> cart:v2")
		if s := b.watcher.Status(); s.UID != "cluster-2" {
			t.Errorf("UID = %s", s.UID)
		}
	})
}

func TestOneNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		here, there := deployment("cart", "cart:v1"), deployment("cart", "cart:v1")
		there.Namespace, there.UID = "other", "uid-other"
		api.put(here, there)
		b := start(t, api, Options{Namespaces: []string{"shop"}})
		api.put(change(here, image("cart:v2")), change(there, image("cart:v3")))
		b.want("rollout shop/cart: image cart:v1 -> cart:v2")
	})
}

func TestSlotsAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(deployment("cart", "cart:v1"))
		slots := make(chan struct{}, 1)
		one, two := start(t, api, Options{Slots: slots}), start(t, api, Options{Slots: slots})
		one.settle()
		for _, b := range []*bench{one, two} {
			if s := b.watcher.Status(); !s.Synced {
				t.Errorf("status = %+v", s)
			}
		}
		if len(slots) != 0 {
			t.Error("a slot is still held")
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{
		{}, {Cluster: "east"}, {Cluster: "east", Config: &rest.Config{}}, {Report: func(fleet.Change) {}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("New(%+v) took it", o)
		}
	}
}
