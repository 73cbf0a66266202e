package sim

import (
	"time"

	"tocsin/fleet"
)

// What follows is made from the pods that there are, when somebody asks.

const podsResource = "pods"

// makers returns what makes the objects of a service, by resource.
func (c *collection) makers() map[string]func(*service, epoch, float64) []kubeObject {
	k := c.cluster.kube
	return map[string]func(*service, epoch, float64) []kubeObject{
		"replicasets":         k.replicaSets,
		"controllerrevisions": k.controllerRevisions,
		podsResource:          k.pods,
	}
}

type replicaSetObject struct {
	typeMeta
	Metadata objectMeta     `json:"metadata"`
	Spec     workloadSpec   `json:"spec"`
	Status   workloadStatus `json:"status"`
}

func (o *replicaSetObject) meta() *objectMeta { return &o.Metadata }

type controllerRevisionObject struct {
	typeMeta
	Metadata objectMeta     `json:"metadata"`
	Data     map[string]any `json:"data"`
	Revision int            `json:"revision"`
}

func (o *controllerRevisionObject) meta() *objectMeta { return &o.Metadata }

type podObject struct {
	typeMeta
	Metadata objectMeta `json:"metadata"`
	Spec     struct {
		NodeName   string      `json:"nodeName"`
		Containers []container `json:"containers"`
	} `json:"spec"`
	Status podStatus `json:"status"`
}

func (o *podObject) meta() *objectMeta { return &o.Metadata }

type podStatus struct {
	Phase             string            `json:"phase"`
	StartTime         time.Time         `json:"startTime"`
	Conditions        []podCondition    `json:"conditions"`
	ContainerStatuses []containerStatus `json:"containerStatuses"`
}

type podCondition struct {
	Type               string    `json:"type"`
	Status             string    `json:"status"`
	LastTransitionTime time.Time `json:"lastTransitionTime"`
}

type containerStatus struct {
	Name         string                    `json:"name"`
	Image        string                    `json:"image"`
	Ready        bool                      `json:"ready"`
	RestartCount int                       `json:"restartCount"`
	State        map[string]containerState `json:"state"`
	LastState    map[string]containerState `json:"lastState,omitempty"`
}

// containerState has the fields of all states of a container.
type containerState struct {
	Reason    string     `json:"reason,omitempty"`
	ExitCode  int        `json:"exitCode,omitempty"`
	StartedAt *time.Time `json:"startedAt,omitempty"`
}

// part returns the metadata of an object that a controller has made.
func (s *service) part(name, id string, created time.Time, by ownerReference) objectMeta {
	by.APIVersion, by.Controller = "apps/v1", true
	return objectMeta{
		Name: name, Namespace: s.namespace, UID: id, ResourceVersion: "1",
		CreationTimestamp: &created, Labels: map[string]string{"app": s.name},
		OwnerReferences: []ownerReference{by},
	}
}

func (s *service) reference() ownerReference {
	return ownerReference{Kind: string(s.workload), Name: s.name, UID: uid(s.key)}
}

// revisionUID is that of the ReplicaSet or ControllerRevision of a template.
func (s *service) revisionUID(hash string) string { return uid(named(s.key, "revision "+hash)) }

// replicaSets renders those of a Deployment: also of former revisions, which have no pods.
func (k *kubeAPI) replicaSets(s *service, at epoch, now float64) []kubeObject {
	if s.workload != fleet.Deployment {
		return nil
	}
	var out []kubeObject
	for _, f := range k.former[s.index] {
		hash := s.hash(f.revision)
		o := &replicaSetObject{
			typeMeta: typeMeta{"ReplicaSet", "apps/v1"},
			Metadata: s.part(s.revisionName(f.revision), s.revisionUID(hash), at.at(f.at), s.reference()),
		}
		o.Metadata.Labels["pod-template-hash"] = hash
		o.Metadata.Annotations = revisionNumber(f.number)
		o.Spec.Selector.MatchLabels = o.Metadata.Labels
		o.Spec.Template = s.template(f.revision)
		o.Spec.Template.Metadata.Labels["pod-template-hash"] = hash
		n := 0
		for _, p := range s.pods {
			if p.revision != f.revision {
				continue
			}
			n++
			if p.ready(now) {
				o.Status.ReadyReplicas++
			}
		}
		o.Spec.Replicas, o.Status.Replicas = &n, n
		o.Status.AvailableReplicas = o.Status.ReadyReplicas
		out = append(out, o)
	}
	return out
}

// controllerRevisions renders those of a StatefulSet or DaemonSet.
func (k *kubeAPI) controllerRevisions(s *service, at epoch, _ float64) []kubeObject {
	if s.workload == fleet.Deployment {
		return nil
	}
	label := "controller-revision-hash"
	if s.workload == fleet.StatefulSet {
		label = "controller.kubernetes.io/hash"
	}
	var out []kubeObject
	for _, f := range k.former[s.index] {
		hash, t := s.hash(f.revision), s.template(f.revision)
		o := &controllerRevisionObject{
			typeMeta: typeMeta{"ControllerRevision", "apps/v1"},
			Metadata: s.part(s.revisionName(f.revision), s.revisionUID(hash), at.at(f.at), s.reference()),
			Revision: f.number,
			Data: map[string]any{"spec": map[string]any{"template": map[string]any{
				"$patch": "replace", "metadata": t.Metadata, "spec": t.Spec,
			}}},
		}
		o.Metadata.Labels[label] = hash
		out = append(out, o)
	}
	return out
}

// pods renders the pods of a service.
func (k *kubeAPI) pods(s *service, at epoch, now float64) []kubeObject {
	out := make([]kubeObject, 0, len(s.pods))
	for _, p := range s.pods {
		by, label, value := s.reference(), "controller-revision-hash", p.hash
		switch s.workload {
		case fleet.Deployment:
			label = "pod-template-hash"
			by.Kind, by.Name, by.UID = "ReplicaSet", s.name+"-"+p.hash, s.revisionUID(p.hash)
		case fleet.StatefulSet:
			value = s.name + "-" + p.hash
		}
		o := &podObject{
			typeMeta: typeMeta{"Pod", "v1"},
			Metadata: s.part(p.name, p.uid, at.at(p.created), by),
			Status:   p.status(s.name, at, now),
		}
		o.Metadata.Labels[label] = value
		o.Spec.NodeName, o.Spec.Containers = p.node, s.template(p.revision).Spec.Containers
		out = append(out, o)
	}
	return out
}

// status renders what the kubelet reports.
func (p *pod) status(container string, at epoch, now float64) podStatus {
	ready := podCondition{Type: "Ready", Status: "False", LastTransitionTime: at.at(p.started)}
	c := containerStatus{
		Name: container, Image: p.image, Ready: p.ready(now), RestartCount: p.restarts,
		State: map[string]containerState{}, LastState: map[string]containerState{},
	}
	if c.Ready {
		ready.Status, ready.LastTransitionTime = "True", at.at(p.readyAt)
	}
	end := containerState{Reason: p.lastReason, ExitCode: 1}
	if p.lastReason == reasonOOM {
		end.ExitCode = 137
	}
	began := at.at(p.started)
	switch {
	case !p.down:
		c.State["running"] = containerState{StartedAt: &began}
	case p.backsOff(now):
		c.State["waiting"] = containerState{Reason: "CrashLoopBackOff"}
	default:
		c.State["terminated"] = end
	}
	if p.restarts > 0 {
		c.LastState["terminated"] = end
	}
	return podStatus{
		Phase: "Running", StartTime: at.at(p.created),
		Conditions: []podCondition{ready}, ContainerStatuses: []containerStatus{c},
	}
}

// backsOff says whether the kubelet waits before it starts the container again.
func (p *pod) backsOff(seconds float64) bool { return p.down && p.downUntil-seconds > 2 }
