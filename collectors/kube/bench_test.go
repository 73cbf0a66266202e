package kube

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
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
