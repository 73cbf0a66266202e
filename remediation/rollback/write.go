package rollback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// op is an operation of a JSON patch.
type op struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`

	text string // Instead of the value, for people.
}

// String writes the operation for people.
func (o op) String() string {
	text := o.text
	if text == "" && o.Value != nil {
		text = fmt.Sprint(o.Value)
	}
	return strings.TrimSpace(o.Op + " " + o.Path + " " + text)
}

// guarded begins every patch: it fails if the object is another one, or another version of it, than
// the one that was judged.
func guarded(w *workload, more ...op) []op {
	return append([]op{
		{Op: "test", Path: "/metadata/uid", Value: string(w.GetUID())},
		{Op: "test", Path: "/metadata/resourceVersion", Value: w.GetResourceVersion()},
	}, more...)
}

// annotate sets an annotation.
func annotate(w *workload, ops []op, key, value string) []op {
	path := "/metadata/annotations/" + strings.ReplaceAll(key, "/", "~1")
	return append(ops, op{Op: "add", Path: path, Value: value})
}

// ops are the write that an action is.
func (d *deed) ops(w *workload) []op {
	ops := guarded(w)
	if w.GetAnnotations() == nil {
		ops = append(ops, op{
			Op: "add", Path: "/metadata/annotations", Value: map[string]any{}, text: "none",
		})
	}
	ops = annotate(w, ops, ActionAnnotation, d.request.Action)
	switch {
	case d.verb == pause:
		ops = append(ops, op{Op: "add", Path: "/spec/paused", Value: true})
	case d.verb != abort && w.truth("spec", "paused"):
		ops = append(ops, op{Op: "remove", Path: "/spec/paused"})
	}
	if d.verb == undo {
		text := "by that of " + d.to.String()
		ops = append(ops, op{Op: "replace", Path: "/spec/template", Value: d.to.raw, text: text})
	}
	if d.effect.Drift {
		ops = annotate(w, ops, DriftAnnotation, d.effect.Owner.String()+", by "+d.request.Action)
	}
	return ops
}

// abortOps set what Argo Rollouts takes for the wish to abort.
func abortOps(w *workload) []op {
	return guarded(w, op{Op: "add", Path: "/status/abort", Value: true})
}

// patch sends a JSON patch.
func (d *deed) patch(ctx context.Context, ops []op, dryRun bool, subresources ...string) error {
	body, err := json.Marshal(ops)
	if err != nil {
		return fmt.Errorf("write a patch: %w", err)
	}
	options := metav1.PatchOptions{FieldManager: fieldManager}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	t := d.request.Target
	_, err = d.objects.Resource(kinds[t.Kind].resource).Namespace(t.Namespace).
		Patch(ctx, t.Name, types.JSONPatchType, body, options, subresources...)
	return err
}

// write sends the patch and finds out what became of it. An error that is no refusal asks for
// another attempt, which begins by reading.
func (d *deed) write(ctx context.Context, w *workload, ops []op, subresources ...string) error {
	d.effect.Writes = nil
	for _, o := range ops {
		d.effect.Writes = append(d.effect.Writes, o.String())
	}
	if err := d.note(ctx, Writing, strings.Join(d.effect.Writes, "; ")); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // Somebody has called it off while the step was recorded.
	}
	d.effect.Attempts++
	err := d.patch(ctx, ops, false, subresources...)
	if err == nil {
		d.effect.State, d.unsettled = Done, false
		d.tell(ctx, Written, "")
		return nil
	}
	return d.failed(ctx, w, err, subresources...)
}

// failed judges the error that answers a write or its rehearsal.
func (d *deed) failed(ctx context.Context, w *workload, err error, subresources ...string) error {
	switch fateOf(err) {
	case lost:
		d.unsettled = true
		d.metrics.retries.WithLabelValues(retryLost).Inc()
		d.tell(ctx, Unsettled, err.Error())
		return err
	case busy:
		d.metrics.retries.WithLabelValues(retryBusy).Inc()
		return err
	case refused:
		if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
			break
		}
		// A test that fails is answered as a patch that makes no sense: the version tells them apart.
		now, readErr := d.read(ctx, d.request)
		if readErr != nil {
			return readErr
		}
		if now.GetResourceVersion() == w.GetResourceVersion() {
			break
		}
		fallthrough
	case conflict:
		d.metrics.retries.WithLabelValues(retryConflict).Inc()
		return fmt.Errorf("somebody else changed it meanwhile: %w", err)
	}
	resource := w.kind.resource
	resource.Resource = strings.Join(append([]string{resource.Resource}, subresources...), "/")
	return d.request.explain(err, "patch", resource, d.request.Target.Namespace)
}

// rehearse has the API server judge the write without doing it: schema, admission, quota.
func (d *deed) rehearse(ctx context.Context, w *workload) error {
	ops := d.ops(w)
	d.effect.Writes = nil
	for _, o := range ops {
		d.effect.Writes = append(d.effect.Writes, o.String())
	}
	err := d.patch(ctx, ops, true)
	switch f := fateOf(err); {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "does not support dry run"):
		d.effect.Warnings = append(d.effect.Warnings, "a webhook of the cluster allows no rehearsal")
		return nil
	case f == lost, f == busy: // Nothing was to be written.
		return fmt.Errorf("rehearse the write: %w", err)
	}
	return d.failed(ctx, w, err)
}

// mayWrite asks the API server for our rights, because its answer to that names what is missing
// before anything is tried.
func (d *deed) mayWrite(ctx context.Context, w *workload) error {
	r := d.request
	if err := d.may(ctx, "patch", w.kind.resource, "", r.Target.Namespace, r.Target.Name); err != nil {
		return err
	}
	if d.verb == abort {
		return d.may(ctx, "patch", w.kind.resource, "status", r.Target.Namespace, r.Target.Name)
	}
	if d.verb != undo || !w.ordered() {
		return nil
	}
	if err := d.may(ctx, "list", core("pods"), "", r.Target.Namespace, ""); err != nil {
		return err
	}
	return d.may(ctx, "delete", core("pods"), "", r.Target.Namespace, "")
}

// may refuses what our identity has no right to.
func (d *deed) may(
	ctx context.Context, verb string, resource schema.GroupVersionResource,
	sub, namespace, name string,
) error {
	review, err := d.typed.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx,
		&authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: verb, Group: resource.Group, Version: resource.Version,
				Resource: resource.Resource, Subresource: sub, Name: name,
			},
		}}, metav1.CreateOptions{})
	switch {
	case err == nil && review.Status.Allowed, apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return nil // Whoever may not ask is told by the rehearsal.
	case err != nil:
		return fmt.Errorf("ask for our rights: %w", err)
	}
	if sub != "" {
		resource.Resource += "/" + sub
	}
	return d.request.forbidden(verb, resource, namespace)
}

// errNote means that a step could not be kept, and so must not be done.
var errNote = errors.New("the step could not be recorded")

// note has a step kept before it is done.
func (d *deed) note(ctx context.Context, s Stage, detail string) error {
	if err := d.record(ctx, d.request, d.verb, s, detail); err != nil {
		return fmt.Errorf("%w: %w", errNote, err)
	}
	return nil
}

// tell has a step kept that is done. That this fails changes nothing of it.
func (d *deed) tell(ctx context.Context, s Stage, detail string) {
	if err := d.record(ctx, d.request, d.verb, s, detail); err != nil {
		d.logger.Error("Recording a step failed", "target", d.request.Target, "stage", s, "err", err)
	}
}

func (e *Executor) record(ctx context.Context, r *Request, v verb, s Stage, detail string) error {
	return e.opts.Note(context.WithoutCancel(ctx), Step{
		Action: r.Action, Target: r.Target, Verb: string(v), Stage: s, Detail: detail, At: time.Now(),
	})
}
