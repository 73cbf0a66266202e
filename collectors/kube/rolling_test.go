package kube

import (
	"slices"
	"testing"
	"testing/synctest"

	appsv1 "k8s.io/api/apps/v1"
)

func TestRolloutsUnderWayAreKnownFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d, quiet := deployment("cart", "cart:v1"), deployment("quiet", "quiet:v1")
		set, agent := statefulSet("db", "db:v1"), daemonSet("agent", "agent:v1")
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 4, UpdatedReplicas: 3}
		quiet.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 3, UpdatedReplicas: 3}
		set.Status = appsv1.StatefulSetStatus{
			ObservedGeneration: 1, Replicas: 3, UpdatedReplicas: 1,
			CurrentRevision: "db-1", UpdateRevision: "db-2",
		}
		agent.Status = appsv1.DaemonSetStatus{
			ObservedGeneration: 1, DesiredNumberScheduled: 5, UpdatedNumberScheduled: 4,
		}
		api.put(d, set, agent, quiet)
		b := start(t, api, Options{})
		want := func(names ...string) {
			t.Helper()
			b.pass(0)
			var got []string
			for _, target := range b.watcher.Rolling() {
				got = append(got, string(target.Workload)+" "+target.Service.String())
			}
			if !slices.Equal(got, names) {
				t.Errorf("rolling: %v, want %v", got, names)
			}
		}
		want("DaemonSet east/shop/agent", "Deployment east/shop/cart", "StatefulSet east/shop/db")

		// Two of them come to their end, which only their status tells; another one begins.
		d, agent = d.DeepCopy(), agent.DeepCopy()
		d.Status.Replicas, agent.Status.UpdatedNumberScheduled = 3, 5
		api.put(d, agent)
		want("StatefulSet east/shop/db")
		api.put(change(quiet, image("quiet:v2")))
		want("StatefulSet east/shop/db", "Deployment east/shop/quiet")
	})
}
