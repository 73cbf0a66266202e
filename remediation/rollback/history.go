package rollback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tocsin/collectors/kube"
)

// Revision is a template of the workload that the cluster still has.
type Revision struct {
	Hash    string    `json:"hash"`
	Name    string    `json:"name"`   // Of the ReplicaSet or ControllerRevision.
	Number  int64     `json:"number"` // The controller's own count.
	Images  []string  `json:"images,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Action  string    `json:"action,omitempty"` // The workload's when it ran.

	pods     string         // Label that a Rollout gives to its pods.
	raw      map[string]any // The template, without what the controller adds.
	template *corev1.PodTemplateSpec
}

// String names the revision for people.
func (r *Revision) String() string {
	return fmt.Sprintf("revision %d (%s, %v)", r.Number, r.Name, r.Images)
}

// history reads the revisions of a workload, newest first.
func (e *Executor) history(ctx context.Context, r *Request, w *workload) ([]Revision, error) {
	selector, err := w.selector()
	if err != nil {
		return nil, err
	}
	list, err := e.objects.Resource(w.kind.history).Namespace(r.Target.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, r.explain(err, "list", w.kind.history, r.Target.Namespace)
	}
	var out []Revision
	for i := range list.Items {
		o := &list.Items[i]
		if c := metav1.GetControllerOfNoCopy(o); c == nil || c.UID != w.GetUID() {
			continue
		}
		revision, err := newRevision(w.kind, o)
		if err != nil {
			return nil, fmt.Errorf("read %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		out = append(out, *revision)
	}
	slices.SortFunc(out, func(a, b Revision) int { return int(b.Number - a.Number) })
	return out, nil
}

// newRevision reads a ReplicaSet or a ControllerRevision.
func newRevision(k kind, o *unstructured.Unstructured) (*Revision, error) {
	r := &Revision{
		Name: o.GetName(), Created: o.GetCreationTimestamp().Time,
		Action: o.GetAnnotations()[ActionAnnotation],
		pods:   o.GetLabels()["rollouts-pod-template-hash"],
	}
	path := []string{"data", "spec", "template"}
	if k.number != "" {
		path = path[1:]
		r.Number, _ = strconv.ParseInt(o.GetAnnotations()[k.number], 10, 64)
	} else {
		r.Number, _, _ = unstructured.NestedInt64(o.Object, "revision")
	}
	raw, ok, err := unstructured.NestedMap(o.Object, path...)
	if err != nil || !ok {
		return nil, errors.New("it has no pod template")
	}
	strip(raw, o)
	r.raw = raw
	if r.template, err = decode(raw); err != nil {
		return nil, err
	}
	for _, c := range r.template.Spec.Containers {
		r.Images = append(r.Images, c.Image)
	}
	r.Hash, err = kube.TemplateHash(r.template)
	return r, err
}

// strip takes from the former template that an object holds what its controller has added.
func strip(raw map[string]any, o *unstructured.Unstructured) {
	delete(raw, "$patch") // Of a ControllerRevision: it replaces the template, as we do.
	labels, annotations := kube.Ephemeral(o)
	labels = append(labels, "pod-template-hash", "rollouts-pod-template-hash")
	for field, names := range map[string][]string{"labels": labels, "annotations": annotations} {
		values, ok, err := unstructured.NestedMap(raw, "metadata", field)
		if !ok || err != nil {
			continue
		}
		for _, name := range names {
			delete(values, name)
		}
		_ = unstructured.SetNestedMap(raw, values, "metadata", field) // The path was there.
	}
}

// errUnobserved means that a controller has not yet come to what was written.
var errUnobserved = errors.New("the controller has not seen it yet")

// resolve finds the hash of a Rollout's template. The API server fills in what a template of its own
// kinds leaves out, but not that of a Rollout: what is comparable is the ReplicaSet's that its
// controller has made of it, once it has.
func (e *Executor) resolve(ctx context.Context, r *Request, w *workload) error {
	if r.Target.Kind != Rollout {
		return nil
	}
	w.hash = ""
	if w.observed() < w.GetGeneration() {
		return errUnobserved
	}
	revisions, err := e.history(ctx, r, w)
	if err != nil {
		return err
	}
	current := w.text("status", "currentPodHash")
	for i := range revisions {
		if current != "" && revisions[i].pods == current {
			w.hash = revisions[i].Hash
			return nil
		}
	}
	return errUnobserved
}

// find returns the newest revision with a hash, or nil. Several may have it: a restart makes a
// revision of the same hash.
func find(all []Revision, hash string) *Revision {
	for i := range all {
		if all[i].Hash == hash {
			return &all[i]
		}
	}
	return nil
}
