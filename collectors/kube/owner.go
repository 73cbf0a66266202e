package kube

import (
	"strings"

	"tocsin/fleet"
)

// safe are the letters that Kubernetes makes random names of.
const safe = "bcdfghjklmnpqrstvwxz2456789"

// mostGenerated is the length at which a generated name loses the end of what comes before its
// random suffix.
const mostGenerated = 63

// owner returns the workload that an event is about, or nil if none is known. Possible is false if
// it can be about none at all, like a node's. Pods and ReplicaSets are not watched, but their names
// tell whose they are.
func (m *memory) owner(e warning) (w *Workload, possible bool) {
	find := func(kind fleet.Workload, name string) *Workload {
		return m.workloads[key{kind, e.namespace, name}]
	}
	replicated := func(name string) *Workload {
		if w := find(Rollout, name); w != nil {
			return w // A Deployment of that name lends it its template.
		}
		return find(fleet.Deployment, name)
	}
	switch e.kind {
	case string(fleet.Deployment), string(fleet.StatefulSet), string(fleet.DaemonSet), string(Rollout):
		return find(fleet.Workload(e.kind), e.object), true
	case "ReplicaSet":
		return replicated(dropSuffix(e.object, isHash)), true
	case "Pod":
		if w := find(fleet.StatefulSet, dropSuffix(e.object, isOrdinal)); w != nil {
			return w, true
		}
		base := dropSuffix(e.object, isRandom)
		if w := find(fleet.DaemonSet, base); w != nil {
			return w, true
		}
		if w := replicated(dropSuffix(base, isHash)); w != nil {
			return w, true
		}
		if len(e.object) == mostGenerated {
			return m.truncated(e.namespace, strings.TrimSuffix(base, "-")), true
		}
		return nil, true
	}
	return nil, false
}

// truncated finds the owner of a pod whose name was cut: the workload of the longest name that
// begins alike.
func (m *memory) truncated(namespace, base string) *Workload {
	var best *Workload
	for k, w := range m.workloads {
		begins := strings.HasPrefix(k.name, base) || strings.HasPrefix(base, k.name+"-")
		if k.namespace != namespace || k.kind == fleet.StatefulSet || !begins {
			continue
		}
		if best == nil || len(best.Name) < len(w.Name) {
			best = w
		}
	}
	return best
}

// dropSuffix returns name without its last part after a hyphen if that is of the kind asked for,
// else nothing.
func dropSuffix(name string, is func(string) bool) string {
	i := strings.LastIndexByte(name, '-')
	if i < 0 || !is(name[i+1:]) {
		return ""
	}
	return name[:i]
}

func isOrdinal(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// isRandom says whether s is the suffix that a controller gives to a pod.
func isRandom(s string) bool { return len(s) == 5 && strings.Trim(s, safe) == "" }

// isHash says whether s is the hash of a pod template in a ReplicaSet's name.
func isHash(s string) bool { return s != "" && len(s) <= 10 && strings.Trim(s, safe) == "" }
