package rollback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"tocsin/collectors/kube"
)

// checkOwner refuses what would be fought over or forgotten, unless the request allows a way.
func (e *Executor) checkOwner(ctx context.Context, r *Request, w *workload, f *Facts) error {
	o, way := f.Owner, r.Owners[f.Owner.Kind]
	switch o.Kind {
	case kube.Nobody:
		return nil
	case kube.Operator:
		return r.ownedByOperator(o)
	case kube.HelmRelease:
		if err := e.checkHelm(ctx, r, w, f); err != nil || way == Drift {
			return err
		}
		return r.refuse(OwnedByHelm, "it is part of "+o.String()+", which an undo would drift from",
			"run helm rollback "+o.Name+", or let policy allow drift for Helm")
	}
	if way != Suspend {
		code := OwnedByFlux
		if o.Kind == kube.ArgoApplication {
			code = OwnedByArgoCD
		}
		return r.refuse(code, fmt.Sprintf("%s would bring the bad revision back within seconds", o),
			"revert it in git, or let policy allow to suspend the owner")
	}
	_, err := e.readOwner(ctx, r, o)
	return err
}

func (r *Request) ownedByOperator(o kube.Owner) *Refusal {
	return r.refuse(OwnedByOther, o.Name+" controls it and would write over any change",
		"change the object that controls it")
}

// checkHelm refuses while Helm is at work. Its Secrets say so in their labels; where we may not
// read them, nobody does.
func (e *Executor) checkHelm(ctx context.Context, r *Request, _ *workload, f *Facts) error {
	namespace := f.Owner.Namespace
	if namespace == "" {
		namespace = r.Target.Namespace
	}
	secrets, err := e.metadata.Resource(core("secrets")).Namespace(namespace).
		List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=" + f.Owner.Name})
	if err != nil {
		if apierrors.IsForbidden(err) {
			f.Warnings = append(f.Warnings, "whether Helm is at work could not be read")
			return nil
		}
		return fmt.Errorf("read the state of %s: %w", f.Owner, err)
	}
	newest, status := -1, ""
	for i := range secrets.Items {
		labels := secrets.Items[i].Labels
		if n, err := strconv.Atoi(labels["version"]); err == nil && n > newest {
			newest, status = n, labels["status"]
		}
	}
	if strings.HasPrefix(status, "pending-") || status == "uninstalling" {
		what := fmt.Sprintf("%s is %s: Helm is at work on it, or was interrupted", f.Owner, status)
		return r.refuse(HelmPending, what, "wait for it, or run helm rollback "+f.Owner.Name)
	}
	return nil
}

// What tocsin writes on an owner that it suspends.
const (
	HoldLabel      = "tocsin/hold"       // ID of the action. A label, so that holds can be found.
	HoldAnnotation = "tocsin/hold-until" // When it is over.
	skipReconcile  = "argocd.argoproj.io/skip-reconcile"
	standardHold   = time.Hour
	suspendByHand  = "suspend it by hand, or tell tocsin where its objects are"
)

// owners says where the objects of owners are kept that can be suspended.
var owners = map[kube.OwnerKind]schema.GroupVersionResource{
	kube.FluxHelmRelease: {
		Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases",
	},
	kube.FluxKustomization: {
		Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations",
	},
	kube.ArgoApplication: argo("applications"),
}

// Hold is an owner that was told to leave its workloads alone.
type Hold struct {
	Action string     `json:"action"`
	Owner  kube.Owner `json:"owner"`
	Until  time.Time  `json:"until"`           // The caller gives it back then, or earlier.
	Found  bool       `json:"found,omitempty"` // Somebody else had suspended it.
}

// locate fills in the namespace that a workload may leave out.
func (e *Executor) locate(r *Request, o kube.Owner) kube.Owner {
	switch {
	case o.Namespace != "":
	case o.Kind == kube.ArgoApplication:
		o.Namespace = e.opts.ArgoNamespace
	default:
		o.Namespace = r.Target.Namespace
	}
	return o
}

func (e *Executor) readOwner(
	ctx context.Context, r *Request, o kube.Owner,
) (*unstructured.Unstructured, error) {
	o = e.locate(r, o)
	object, err := e.hub.Resource(owners[o.Kind]).Namespace(o.Namespace).
		Get(ctx, o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		what := fmt.Sprintf("%s is not in namespace %s", o, o.Namespace)
		return nil, r.refuse(OwnerMissing, what, suspendByHand)
	}
	return object, r.explain(err, "get", owners[o.Kind], o.Namespace)
}

// suspended says whether an owner leaves its workloads alone.
func suspended(o *unstructured.Unstructured) bool {
	flux, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
	return flux || o.GetAnnotations()[skipReconcile] == "true"
}

// hold suspends the owner of the workload if the request allows it, and sees that it stays so: what
// manages the owner may bring it back at once.
func (d *deed) hold(ctx context.Context) error {
	r, o := d.request, d.effect.Owner
	if _, can := owners[o.Kind]; !can || r.DryRun {
		return nil
	}
	span := r.Hold
	if span <= 0 {
		span = standardHold
	}
	until := time.Now().Add(span).UTC().Truncate(time.Second)
	h := Hold{Action: r.Action, Owner: d.locate(r, o), Until: until}
	for range d.opts.Attempts {
		object, err := d.readOwner(ctx, r, o)
		if err != nil {
			return err
		}
		by := object.GetLabels()[HoldLabel]
		if suspended(object) && (by == "" || by == r.Action) {
			h.Found = by == ""
			if at := heldUntil(object); !at.IsZero() { // It was held before a crash.
				h.Until = at
			}
			d.effect.Hold = &h
			return nil
		}
		if err := d.note(ctx, Holding, o.String()+" until "+until.Format(time.RFC3339)); err != nil {
			return err
		}
		err = d.mark(ctx, h, object.GetResourceVersion(), r.Action)
		if err != nil && fateOf(err) == refused {
			return r.explain(err, "patch", owners[o.Kind], h.Owner.Namespace)
		}
		if err == nil {
			err = errUnseen
		}
		if err := d.wait(ctx, 0, err); err != nil {
			return err
		}
	}
	what := o.String() + " does not stay suspended: something manages it"
	return r.refuse(OwnerMissing, what, suspendByHand)
}

// heldUntil returns when a hold is over. One that cannot be read is over.
func heldUntil(o *unstructured.Unstructured) time.Time {
	at, err := time.Parse(time.RFC3339, o.GetAnnotations()[HoldAnnotation])
	if err != nil {
		return time.Time{}
	}
	return at
}

// errUnseen says that a hold is not yet known to last.
var errUnseen = errors.New("the owner was suspended and not read again")

// letGo gives back what an action that was refused has suspended.
func (d *deed) letGo(ctx context.Context) {
	if d.effect.Hold == nil {
		return
	}
	if err := d.Restore(context.WithoutCancel(ctx), *d.effect.Hold); err != nil {
		d.logger.Error("An owner stays suspended", "owner", d.effect.Hold.Owner, "err", err)
	}
}

// mark suspends an owner for an action, or with none gives it back its work.
func (e *Executor) mark(ctx context.Context, h Hold, version, action string) error {
	var label, until, skip, suspend any // Null takes a field away.
	if action != "" {
		label, until, skip, suspend = action, h.Until.Format(time.RFC3339), "true", true
	}
	annotations := map[string]any{HoldAnnotation: until}
	change := map[string]any{"metadata": map[string]any{
		"resourceVersion": version,
		"labels":          map[string]any{HoldLabel: label},
		"annotations":     annotations,
	}}
	if h.Owner.Kind == kube.ArgoApplication {
		annotations[skipReconcile] = skip
	} else {
		change["spec"] = map[string]any{"suspend": suspend}
	}
	body, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("write a patch: %w", err)
	}
	options := metav1.PatchOptions{FieldManager: fieldManager}
	_, err = e.hub.Resource(owners[h.Owner.Kind]).Namespace(h.Owner.Namespace).
		Patch(ctx, h.Owner.Name, types.MergePatchType, body, options)
	return err
}

// Holds returns the owners that tocsin has suspended, those of earlier processes as well.
func (e *Executor) Holds(ctx context.Context) ([]Hold, error) {
	var out []Hold
	var errs []error
	for kind, resource := range owners {
		list, err := e.hub.Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: HoldLabel})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			continue // It is not installed, or not ours to suspend.
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s: %w", resource.Resource, err))
			continue
		}
		for i := range list.Items {
			o := &list.Items[i]
			out = append(out, Hold{
				Action: o.GetLabels()[HoldLabel], Until: heldUntil(o),
				Owner: kube.Owner{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()},
			})
		}
	}
	return out, errors.Join(errs...)
}

// Restore gives a suspended owner back its work, unless another action has suspended it since.
func (e *Executor) Restore(ctx context.Context, h Hold) error {
	if h.Found {
		return nil
	}
	r := &Request{
		Action: h.Action, Target: Target{Cluster: e.opts.Cluster, Namespace: h.Owner.Namespace},
	}
	var last error
	for n := range e.opts.Attempts {
		object, err := e.readOwner(ctx, r, h.Owner)
		if refusal, ok := asRefusal(err); ok {
			if refusal.Code == OwnerMissing {
				return nil
			}
			return fmt.Errorf("restore %s: %w", h.Owner, err)
		}
		if err == nil && object.GetLabels()[HoldLabel] != h.Action {
			return nil
		}
		if err == nil {
			if err = e.record(ctx, r, resume, Restoring, h.Owner.String()); err != nil {
				return fmt.Errorf("restore %s: %w: %w", h.Owner, errNote, err)
			}
			if err = e.mark(ctx, h, object.GetResourceVersion(), ""); err == nil {
				return nil
			}
		}
		if fateOf(err) == refused {
			err = r.explain(err, "patch", owners[h.Owner.Kind], h.Owner.Namespace)
			return fmt.Errorf("restore %s: %w", h.Owner, err)
		}
		last = err
		if err := e.wait(ctx, n, err); err != nil {
			return fmt.Errorf("restore %s: %w", h.Owner, err)
		}
	}
	return fmt.Errorf("restore %s: %w", h.Owner, last)
}
