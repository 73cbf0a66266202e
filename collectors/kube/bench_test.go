package kube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"tocsin/fleet"
)

// bigDeployment returns a Deployment of about 12.4 KB of JSON, as they are in clusters whose owners
// like sidecars.
func bigDeployment(i int) *appsv1.Deployment {
	d := deployment(fmt.Sprint("service-", i), fmt.Sprintf("registry.test/team/service-%d:v%d", i, i%7))
	d.UID = types.UID(fmt.Sprint("uid-", i))
	for c := range 3 {
		side := corev1.Container{Name: fmt.Sprint("side-", c), Image: fmt.Sprintf("registry.test/side-%d:v3", c)}
		for e := range 20 {
			side.Env = append(side.Env, corev1.EnvVar{
				Name: fmt.Sprintf("SETTING_%d_%d", c, e), Value: fmt.Sprintf("value-%d-%d-%d", i, c, e),
			})
			side.VolumeMounts = append(side.VolumeMounts, corev1.VolumeMount{
				Name: fmt.Sprint("volume-", e), MountPath: fmt.Sprint("/etc/service/config-", e),
			})
		}
		d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, side)
	}
	fields := `{"f:spec":{"f:replicas":{},"f:template":{` + strings.Repeat(`"f:some-field":{},`, 100) + `"f:spec":{}}}}`
	d.ManagedFields = append(d.ManagedFields, edited("helm", "Update", "", time.Now(), fields))
	d.Annotations = map[string]string{"description": strings.Repeat("x", 3300)}
	return d
}

// BenchmarkClusterMemory reports the heap that a watched cluster of 200 such Deployments takes, its
// connections, reflectors and registries included.
func BenchmarkClusterMemory(b *testing.B) {
	const clusters, services = 20, 200
	api := newAPIServer(b)
	for i := range services {
		api.put(bigDeployment(i))
	}
	for b.Loop() {
		before := heap()
		var watchers []*Watcher
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, clusters)
		for i := range clusters {
			w, err := New(Options{
				Cluster: fmt.Sprint("c", i), Config: api.config(), Report: func(fleet.Change) {},
			})
			if err != nil {
				b.Fatal(err)
			}
			go func() { ended <- w.Run(ctx) }()
			watchers = append(watchers, w)
		}
		for _, w := range watchers {
			for s := w.Status(); !s.Synced || s.Workloads != services; s = w.Status() {
				time.Sleep(10 * time.Millisecond)
			}
		}
		b.ReportMetric(float64(heap()-before)/clusters, "heap-B/cluster")
		b.ReportMetric(float64(len(encode(b, bigDeployment(0)))), "object-B")
		cancel()
		for range watchers {
			if err := <-ended; err != nil {
				b.Error(err)
			}
		}
	}
}

func heap() uint64 {
	var m goruntime.MemStats
	goruntime.GC()
	goruntime.GC()
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkDigest measures what a new generation of a workload costs.
func BenchmarkDigest(b *testing.B) {
	d := bigDeployment(0)
	for b.Loop() {
		if _, err := see(d.DeepCopy()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStatusUpdate measures what an update that changes nothing costs: most are of this sort.
func BenchmarkStatusUpdate(b *testing.B) {
	w, err := New(Options{
		Cluster: "c", Config: (&apiServer{listener: &pipes{}}).config(),
		Report: func(fleet.Change) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	d := bigDeployment(0)
	w.put(d.DeepCopy(), time.Now())
	m := message{resource: &resources[0], object: metav1.Object(d)}
	for b.Loop() {
		w.handle(m, time.Time{})
	}
}

// canned answers requests with what was encoded before, as an API server sends it: with protobuf.
type canned map[string][]byte

func (c canned) put(b *testing.B, path string, object runtime.Object) {
	text, err := runtime.Encode(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), object)
	if err != nil {
		b.Fatal(err)
	}
	c[path] = text
}

// RoundTrip answers; old pods are those that are not of a revision.
func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	path := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if strings.Contains(r.URL.Query().Get("labelSelector"), "notin") {
		path = "old " + path
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(bytes.NewReader(c[path])),
		Header: http.Header{"Content-Type": {"application/vnd.kubernetes.protobuf"}},
	}, nil
}

// BenchmarkLook measures a look at a rollout of 200 big pods, without what the API server does.
func BenchmarkLook(b *testing.B) {
	const pods = 200
	answers := canned{}
	now := bigDeployment(0)
	now.Name, now.UID, now.Spec.Selector = "cart", "uid-cart", appX
	before := now.DeepCopy()
	before.Spec.Template.Spec.Containers[0].Image = "before"
	var sets appsv1.ReplicaSetList
	for i, path := range []string{"old pods", "pods"} {
		template := []*appsv1.Deployment{before, now}[i].Spec.Template
		hash := fmt.Sprint("hash", i)
		set := replicaSet(hash, "", i, pods/2, pods/2, pods/2)
		set.Spec.Template = template
		sets.Items = append(sets.Items, *set)
		var list corev1.PodList
		for n := range pods / 2 {
			p := setPod(hash, fmt.Sprintf("%05d", n), time.Hour, true)
			p.Spec = template.Spec
			list.Items = append(list.Items, *p)
		}
		answers.put(b, path, &list)
	}
	answers.put(b, "cart", now)
	answers.put(b, "replicasets", &sets)
	w, err := New(Options{
		Cluster: "east", Report: func(fleet.Change) {},
		Config: &rest.Config{Host: "http://cluster.test", Transport: answers},
	})
	if err != nil {
		b.Fatal(err)
	}
	w.looks = flowcontrol.NewFakeAlwaysRateLimiter()
	l, _, err := newLooker(w, w.opts.Config)
	if err != nil {
		b.Fatal(err)
	}
	w.looker.Store(l)
	b.ReportAllocs()
	for b.Loop() {
		p, err := w.Look(b.Context(), cart, fleet.Deployment)
		if err != nil || len(p.New.Pods) != pods/2 || len(p.Old.Pods) != pods/2 {
			b.Fatalf("%+v, %v", p, err)
		}
	}
	b.ReportMetric(float64(len(answers["pods"])+len(answers["old pods"]))/pods, "B/pod")
}
