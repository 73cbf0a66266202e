package kube

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

	"tocsin/fleet"
)

// Target names a workload: names are not unique across kinds.
type Target struct {
	Service  fleet.Service
	Workload fleet.Workload
}

// Rolling returns the workloads whose status says that a rollout is under way, in a stable order:
// which to look at after a start. Some of them may only be scaled.
func (w *Watcher) Rolling() []Target {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Target
	for _, known := range w.memory.workloads {
		if known.rolling {
			out = append(out, Target{known.service(w.opts.Cluster), known.Kind})
		}
	}
	slices.SortFunc(out, func(a, b Target) int {
		if c := a.Service.Compare(b.Service); c != 0 {
			return c
		}
		return strings.Compare(string(a.Workload), string(b.Workload))
	})
	return out
}

// underWay says whether the status of a workload tells of a rollout that has not come to its end.
func underWay(object any) bool {
	switch o := object.(type) {
	case *appsv1.Deployment:
		s := &o.Status
		for _, c := range s.Conditions {
			// Reasons that the controller gives until all new pods are available.
			if c.Reason == "ReplicaSetUpdated" || c.Reason == deadlineExceeded {
				return true
			}
		}
		return s.ObservedGeneration < o.Generation || s.UpdatedReplicas < s.Replicas ||
			s.UpdatedReplicas < replicas(o.Spec.Replicas)
	case *appsv1.StatefulSet:
		s := &o.Status
		return s.ObservedGeneration < o.Generation || s.UpdateRevision != s.CurrentRevision ||
			s.UpdatedReplicas < s.Replicas
	case *appsv1.DaemonSet:
		s := &o.Status
		return s.ObservedGeneration < o.Generation ||
			s.UpdatedNumberScheduled < s.DesiredNumberScheduled
	}
	return false
}
