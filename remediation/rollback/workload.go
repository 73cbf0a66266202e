package rollback

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tocsin/collectors/kube"
	"tocsin/fleet"
)

func apps(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resource}
}

func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

func argo(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: resource}
}

// kind says how a kind of workload is kept by the API server.
type kind struct {
	resource schema.GroupVersionResource
	history  schema.GroupVersionResource // Objects that hold its former templates.
	number   string                      // Annotation with the number of a ReplicaSet.
	pausable bool
}

var kinds = map[fleet.Workload]kind{
	fleet.Deployment: {
		apps("deployments"), apps("replicasets"), "deployment.kubernetes.io/revision", true,
	},
	fleet.StatefulSet: {apps("statefulsets"), apps("controllerrevisions"), "", false},
	fleet.DaemonSet:   {apps("daemonsets"), apps("controllerrevisions"), "", false},
	Rollout:           {argo("rollouts"), apps("replicasets"), "rollout.argoproj.io/revision", true},
}

// workload is an object as it was just read. It is kept as the API server wrote it: a type of ours
// would lose the fields that a newer server knows.
type workload struct {
	*unstructured.Unstructured
	kind kind
	hash string // Of its template.
}

// read reads the target as it is now.
func (e *Executor) read(ctx context.Context, r *Request) (*workload, error) {
	k := kinds[r.Target.Kind]
	object, err := e.objects.Resource(k.resource).Namespace(r.Target.Namespace).
		Get(ctx, r.Target.Name, metav1.GetOptions{})
	if err != nil {
		return nil, r.explain(err, "get", k.resource, r.Target.Namespace)
	}
	return newWorkload(k, object)
}

func newWorkload(k kind, object *unstructured.Unstructured) (*workload, error) {
	w := &workload{Unstructured: object, kind: k}
	raw, _, _ := unstructured.NestedMap(object.Object, "spec", "template")
	template, err := decode(raw)
	if err != nil {
		return nil, err
	}
	w.hash, err = kube.TemplateHash(template)
	return w, err
}

// decode reads a pod template.
func decode(raw map[string]any) (*corev1.PodTemplateSpec, error) {
	var t corev1.PodTemplateSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &t); err != nil {
		return nil, fmt.Errorf("read a pod template: %w", err)
	}
	return &t, nil
}

func (w *workload) text(path ...string) string {
	s, _, _ := unstructured.NestedString(w.Object, path...)
	return s
}

func (w *workload) truth(path ...string) bool {
	b, _, _ := unstructured.NestedBool(w.Object, path...)
	return b
}

// count returns a number, or otherwise if it is not there.
func (w *workload) count(otherwise int64, path ...string) int64 {
	n, ok, err := unstructured.NestedInt64(w.Object, path...)
	if !ok || err != nil {
		return otherwise
	}
	return n
}

// face is what people and controllers have asked for: all that is judged. The version changes with
// every report of a controller, which nobody needs to judge anew.
func (w *workload) face() string {
	owners, _, _ := unstructured.NestedSlice(w.Object, "metadata", "ownerReferences")
	return fmt.Sprint(w.GetUID(), w.GetGeneration(), w.GetAnnotations(), w.GetLabels(), owners,
		w.text("metadata", "deletionTimestamp"))
}

func (w *workload) action() string { return w.GetAnnotations()[ActionAnnotation] }

// strategy returns how pods are replaced, by the name that the kind gives it.
func (w *workload) strategy() string {
	switch w.GetKind() {
	case string(fleet.Deployment):
		return w.text("spec", "strategy", "type")
	case string(Rollout):
		for _, s := range []string{"canary", "blueGreen"} {
			if _, ok, _ := unstructured.NestedMap(w.Object, "spec", "strategy", s); ok {
				return s
			}
		}
	}
	return w.text("spec", "updateStrategy", "type")
}

// ordered says whether the controller waits for each pod of a StatefulSet before it touches the
// next, also for one that never becomes ready.
func (w *workload) ordered() bool {
	policy := w.text("spec", "podManagementPolicy")
	return w.GetKind() == string(fleet.StatefulSet) && policy != "Parallel"
}

// referring says whether a Rollout takes its template from another workload.
func (w *workload) referring() bool { return w.text("spec", "workloadRef", "name") != "" }

func (w *workload) partition() int64 {
	return w.count(0, "spec", "updateStrategy", "rollingUpdate", "partition")
}

// selector returns which pods, ReplicaSets and ControllerRevisions may be the workload's.
func (w *workload) selector() (string, error) {
	raw, _, _ := unstructured.NestedMap(w.Object, "spec", "selector")
	var s metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &s); err != nil {
		return "", fmt.Errorf("read the selector: %w", err)
	}
	selector, err := metav1.LabelSelectorAsSelector(&s)
	if err != nil {
		return "", fmt.Errorf("read the selector: %w", err)
	}
	return selector.String(), nil
}

// deadline is how long a rollout may make no progress. A Deployment's controller heeds it only if
// the revision is new: it never gives up on one that it has had before, as that of an undo is.
func (w *workload) deadline(otherwise time.Duration) time.Duration {
	if n := w.count(0, "spec", "progressDeadlineSeconds"); n > 0 && n < 1<<31-1 {
		return time.Duration(n) * time.Second
	}
	return otherwise
}

// progress says how far a rollout is.
type progress struct {
	complete bool
	failed   string // Why it has come to its end without success.
	text     string // For people.
}

// progress judges the status as kubectl rollout status does. A status that is older than the
// specification says nothing.
func (w *workload) progress() progress {
	if w.observed() < w.GetGeneration() {
		return progress{text: "the controller has not seen it yet"}
	}
	switch w.GetKind() {
	case string(fleet.StatefulSet):
		return w.statefulProgress()
	case string(fleet.DaemonSet):
		return w.daemonProgress()
	}
	wanted := w.count(1, "spec", "replicas")
	updated := w.count(0, "status", "updatedReplicas")
	all := w.count(0, "status", "replicas")
	available := w.count(0, "status", "availableReplicas")
	p := progress{
		complete: updated == wanted && all == wanted && available == wanted,
		text: fmt.Sprintf("%d of %d pods updated, %d available, %d in all",
			updated, wanted, available, all),
	}
	if phase := w.text("status", "phase"); w.GetKind() == string(Rollout) {
		p.complete = p.complete && phase == "Healthy"
		p.text += ", phase " + phase
	}
	if reason := w.condition("ReplicaFailure", "True"); reason != "" {
		p.text += "; pods cannot be created: " + reason
	}
	if strings.HasPrefix(w.condition("Progressing", "False"), "ProgressDeadlineExceeded") {
		p.failed = "it made no progress for as long as its specification allows: " + p.text
	}
	return p
}

// observed returns the generation that the status speaks of. Argo Rollouts write it as text.
func (w *workload) observed() int64 {
	if n, err := strconv.ParseInt(w.text("status", "observedGeneration"), 10, 64); err == nil {
		return n
	}
	return w.count(0, "status", "observedGeneration")
}

func (w *workload) statefulProgress() progress {
	wanted := w.count(1, "spec", "replicas")
	updated := w.count(0, "status", "updatedReplicas")
	ready := w.count(0, "status", "readyReplicas")
	due := max(0, wanted-w.partition())
	whole := w.partition() > 0 ||
		w.text("status", "updateRevision") == w.text("status", "currentRevision")
	return progress{
		complete: updated >= due && ready == wanted && whole,
		text:     fmt.Sprintf("%d of %d pods updated, %d of %d ready", updated, due, ready, wanted),
	}
}

func (w *workload) daemonProgress() progress {
	wanted := w.count(0, "status", "desiredNumberScheduled")
	updated := w.count(0, "status", "updatedNumberScheduled")
	available := w.count(0, "status", "numberAvailable")
	return progress{
		complete: updated == wanted && available == wanted,
		text:     fmt.Sprintf("%d of %d pods updated, %d available", updated, wanted, available),
	}
}

// condition returns reason and message of a condition that has a status, or nothing.
func (w *workload) condition(name, status string) string {
	conditions, _, _ := unstructured.NestedSlice(w.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == name && m["status"] == status {
			return fmt.Sprintf("%v: %v", m["reason"], m["message"])
		}
	}
	return ""
}

// writer returns who wrote the template last, for people.
func (w *workload) writer() (by string, at time.Time) { return writer(w.Unstructured) }

// intruder returns who wrote the template last besides ourselves: who brings a revision back within
// the second of our own write cannot be told apart from us by time.
func (w *workload) intruder() (by string, at time.Time) {
	others := slices.DeleteFunc(w.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == fieldManager
	})
	return writer(&metav1.ObjectMeta{ManagedFields: others})
}

func writer(m metav1.Object) (by string, at time.Time) {
	by, at = kube.LastWriter(m, "f:template")
	if by == "" {
		by = "somebody"
	}
	return by, at
}
