package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var rollouts = schema.GroupVersionResource{
	Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts",
}

// argo reads fields of a Rollout. Its type would bring in the whole of Argo.
type argo struct{ *unstructured.Unstructured }

func (a argo) text(path ...string) string {
	s, _, _ := unstructured.NestedString(a.Object, path...)
	return s
}

func (a argo) truth(path ...string) bool {
	b, _, _ := unstructured.NestedBool(a.Object, path...)
	return b
}

// count returns a number, or otherwise if it is not there.
func (a argo) count(otherwise int64, path ...string) int64 {
	n, ok, err := unstructured.NestedInt64(a.Object, path...)
	if !ok || err != nil {
		return otherwise
	}
	return n
}

func (a argo) list(path ...string) []any {
	l, _, _ := unstructured.NestedSlice(a.Object, path...)
	return l
}

// observed says whether the status speaks of the newest specification. The generation is written as
// text.
func (a argo) observed() bool {
	n, err := strconv.ParseInt(a.text("status", "observedGeneration"), 10, 64)
	if err != nil {
		n = a.count(0, "status", "observedGeneration")
	}
	return n >= a.GetGeneration() && a.text("status", "currentPodHash") != ""
}

// underWay says whether the status tells of a rollout that has not come to its end.
func (a argo) underWay() bool {
	return !a.observed() || a.text("status", "currentPodHash") != a.text("status", "stableRS") ||
		a.count(0, "status", "updatedReplicas") < a.count(0, "status", "replicas")
}

// template returns the pod template as it was written; it is empty if it is that of another object.
func (a argo) template() *corev1.PodTemplateSpec {
	var t corev1.PodTemplateSpec
	raw, _, _ := unstructured.NestedMap(a.Object, "spec", "template")
	if runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &t) != nil {
		return &corev1.PodTemplateSpec{}
	}
	return &t
}

// ownTemplate returns the template of a ReplicaSet as its owner asks for it: Argo Rollouts adds
// labels and annotations for as long as the pods are canary or stable. It is changed.
func ownTemplate(set *appsv1.ReplicaSet) *corev1.PodTemplateSpec {
	t := &set.Spec.Template
	labels, annotations := Ephemeral(set)
	for _, name := range labels {
		delete(t.Labels, name)
	}
	for _, name := range annotations {
		delete(t.Annotations, name)
	}
	return t
}

// Ephemeral returns the names of labels and annotations that the template of a ReplicaSet of Argo
// Rollouts bears only as long as its pods are canary or stable.
func Ephemeral(set metav1.Object) (labels, annotations []string) {
	var added struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	}
	text := set.GetAnnotations()["rollout.argoproj.io/ephemeral-metadata"]
	if text == "" || json.Unmarshal([]byte(text), &added) != nil {
		return nil, nil
	}
	return slices.Sorted(maps.Keys(added.Labels)), slices.Sorted(maps.Keys(added.Annotations))
}

// rolloutSubject reads a Rollout. The API server does not fill in what its template leaves out:
// what has a hash that compares is the template of its ReplicaSet.
func rolloutSubject(o *unstructured.Unstructured) (*subject, error) {
	a := argo{o}
	if !a.observed() {
		return nil, ErrUnobserved
	}
	s := &subject{
		namespace: a.GetNamespace(), uid: a.GetUID(), replicas: true, observed: true,
		current: a.text("status", "currentPodHash"),
	}
	raw, _, _ := unstructured.NestedMap(o.Object, "spec", "selector")
	var selector metav1.LabelSelector
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector)
	if err == nil {
		s.selector, err = metav1.LabelSelectorAsSelector(&selector)
	}
	if err != nil {
		return nil, fmt.Errorf("read the selector: %w", err)
	}
	p := &s.progress
	p.Desired = int32(a.count(1, "spec", "replicas"))
	p.Paused = a.truth("spec", "paused") || len(a.list("status", "pauseConditions")) > 0
	p.Aborted = a.truth("status", "abort")
	p.Strategy = a.strategy()
	p.Weight, s.weighted = a.weight(s.current)
	p.Conditions = a.conditions()
	return s, nil
}

// strategy says how pods are replaced. A canary without steps is a rolling update; of a blue-green
// release all pods are there before they get any traffic.
func (a argo) strategy() Strategy {
	_, canary, _ := unstructured.NestedMap(a.Object, "spec", "strategy", "canary")
	if canary && len(a.list("spec", "strategy", "canary", "steps")) == 0 {
		return RollingUpdate
	}
	return Canary
}

// weight returns the percentage of the traffic that new pods get, if it does not follow from how
// many there are.
func (a argo) weight(current string) (percent int, given bool) {
	if _, ok, _ := unstructured.NestedMap(a.Object, "spec", "strategy", "blueGreen"); ok {
		if a.text("status", "blueGreen", "activeSelector") == current {
			percent = 100
		}
		return percent, true
	}
	n := a.count(-1, "status", "canary", "weights", "canary", "weight")
	return int(max(0, n)), n >= 0
}

// conditions returns what tells of trouble, under the names that Deployments have for it.
func (a argo) conditions() []WorkloadCondition {
	var out []WorkloadCondition
	for _, element := range a.list("status", "conditions") {
		raw, ok := element.(map[string]any)
		if !ok {
			continue
		}
		c := argo{&unstructured.Unstructured{Object: raw}}
		var reason string
		switch c.text("type") + " " + c.text("status") {
		case "Progressing False":
			if reason = c.text("reason"); reason != deadlineExceeded {
				continue // It is paused, or was aborted.
			}
		case "Available False":
			reason = unavailable
		case "ReplicaFailure True":
			reason = c.text("reason")
		default:
			continue
		}
		var since metav1.Time
		_ = since.UnmarshalQueryParameter(c.text("lastTransitionTime")) // Zero: not known.
		out = append(out, WorkloadCondition{reason, shorten(c.text("message"), 300), since.Time})
	}
	return out
}
