//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"testing"

	"tocsin/collectors/kube"
	"tocsin/fleet"
	"tocsin/test/testbed"
)

// workload names one in namespace default.
func (w *watch) workload(name string) fleet.Service {
	return fleet.Service{Cluster: w.Status().Cluster, Namespace: "default", Name: name}
}

// looks waits until a look says what is wanted.
func (w *watch) looks(
	name string, kind fleet.Workload, want func(kube.Progress) bool,
) kube.Progress {
	w.t.Helper()
	var p kube.Progress
	testbed.Eventually(w.t, soon, "the pods of "+name, func() error {
		var err error
		if p, err = w.Look(w.t.Context(), w.workload(name), kind); err != nil {
			return err
		}
		if !want(p) {
			return fmt.Errorf("progress %+v", p)
		}
		return nil
	})
	return p
}

func complete(p kube.Progress) bool {
	return p.Old.Created == 0 && p.New.Available == p.Desired && len(p.New.Pods) == int(p.Desired)
}

func TestLooksTellOldPodsFromNew(t *testing.T) {
	c := testbed.StartCluster(t, testbed.ClusterOptions{Name: "looks"})
	services := map[string]fleet.Workload{
		"cart": fleet.Deployment, "db": fleet.StatefulSet, "agent": fleet.DaemonSet,
	}
	for name, kind := range services {
		apply(c, kind, name, name+":v1")
	}
	rolled(c, "deployment/cart", "statefulset/db", "daemonset/agent")
	w := startWatch(t, c, kube.Options{})
	for name, kind := range services {
		good := w.looks(name, kind, complete)
		c.Kubectl("set", "image", string(kind)+"/"+name, "main="+name+":crash")
		p := w.looks(name, kind, func(p kube.Progress) bool {
			return p.New.Created == 1 && len(p.New.Pods) == 1 && p.New.Pods[0].Terminated != ""
		})
		pod := p.New.Pods[0]
		if pod.Ready || pod.Waiting != "CrashLoopBackOff" || pod.Terminated != "Error" ||
			pod.Started.IsZero() || p.New.Ready != 0 {
			t.Errorf("%s: the new pod is %+v", name, pod)
		}
		if p.Old.Hash != good.New.Hash || p.New.Hash == p.Old.Hash || p.UID != good.UID ||
			len(p.Old.Pods) != int(p.Old.Created) {
			t.Errorf("%s: from %+v to %+v", name, good, p)
		}
		if re := regexp.MustCompile("^(?:" + p.New.Match + ")$"); kind == fleet.Deployment &&
			(!re.MatchString(pod.Name) || re.MatchString(p.Old.Pods[0].Name)) {
			t.Errorf("%q does not tell %s from %s", p.New.Match, pod.Name, p.Old.Pods[0].Name)
		}
		testbed.Eventually(t, soon, "the change", func() error {
			change := w.find(fleet.Rollout, name)
			if change == nil || change.Old.Hash != p.Old.Hash || change.New.Hash != p.New.Hash {
				return fmt.Errorf("change %+v, looks say %s -> %s", change, p.Old.Hash, p.New.Hash)
			}
			return nil
		})
	}
	if got := w.Rolling(); len(got) != len(services) {
		t.Errorf("rolling: %v", got)
	}

	// A watcher that starts now finds them. Then they are taken back.
	late := startWatch(t, c, kube.Options{})
	testbed.Eventually(t, soon, "the rollouts under way", func() error {
		if got := late.Rolling(); len(got) != len(services) {
			return fmt.Errorf("rolling: %v", got)
		}
		return nil
	})
	for name, kind := range services {
		c.Kubectl("rollout", "undo", string(kind)+"/"+name)
	}
	c.Kubectl("delete", "pod", "-l", "app=db", "--force") // It waits for a pod that will not start.
	for name, kind := range services {
		w.looks(name, kind, complete)
	}
	testbed.Eventually(t, soon, "the end", func() error {
		if got := late.Rolling(); len(got) != 0 {
			return fmt.Errorf("rolling: %v", got)
		}
		return nil
	})
	c.Kubectl("delete", "deployment", "cart")
	testbed.Eventually(t, soon, "a workload that is gone", func() error {
		_, err := w.Look(t.Context(), w.workload("cart"), fleet.Deployment)
		if !errors.Is(err, kube.ErrGone) {
			return fmt.Errorf("look: %w", err)
		}
		return nil
	})
}

func TestArgoRolloutsArriveAsChanges(t *testing.T) {
	s := newBed(t).story(t, kube.Rollout)
	s.definitions(t)
	s.create(resources[kube.Rollout], s.namespace, object{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": object{"name": "cart"},
		"spec": object{
			"replicas": int64(3), "selector": object{"matchLabels": object{"app": "cart"}},
			"template": object{
				"metadata": object{"labels": object{"app": "cart"}}, "spec": podSpec("cart:v1"),
			},
			"strategy": object{"canary": object{"steps": []any{object{"setWeight": int64(20)}}}},
		},
	})
	s.replicaSet("1", "cart:v1")
	s.report("1", "Healthy")
	w := startWatch(t, s.Cluster, kube.Options{})
	testbed.Eventually(t, soon, "the Rollout", func() error {
		if n := w.Status(); n.Workloads != 1 {
			return fmt.Errorf("status %+v", n)
		}
		return nil
	})
	s.patch(object{"spec": object{"template": object{"spec": podSpec("cart:v2")}}})
	s.replicaSet("2", "cart:v2")
	s.report("2", "Progressing")
	w.want("rollout cart: image cart:v1 -> cart:v2")
	change := w.find(fleet.Rollout, "cart")
	if change.Workload != kube.Rollout || change.Old.Hash != s.former("1") ||
		change.New.Hash != s.former("2") {
		t.Errorf("change %+v, from %+v to %+v", change, change.Old, change.New)
	}
	p, err := w.Look(t.Context(), change.Service, kube.Rollout)
	if err != nil || p.New.Hash != s.former("2") || p.Old.Hash != s.former("1") || p.Desired != 3 {
		t.Errorf("look %+v, %v", p, err)
	}
}
