package kube

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tocsin/fleet"
)

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
func edited(manager string, op metav1.ManagedFieldsOperationType, sub string, at time.Time, fields string) metav1.ManagedFieldsEntry {
	when := metav1.NewTime(at.Truncate(time.Second))
	return metav1.ManagedFieldsEntry{
		Manager: manager, Operation: op, Subresource: sub, Time: &when,
		FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)},
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
