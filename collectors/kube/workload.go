package kube

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"tocsin/fleet"
)

// resource is a kind of object that is watched.
type resource struct {
	kind     fleet.Workload // Empty: Warning events.
	group    string
	name     string
	expect   runtime.Object
	client   func(clients, string) listWatcher // For a namespace.
	optional bool                              // Of an extension that few clusters have.
}

// clients are those of a session.
type clients struct {
	kubernetes.Interface
	objects dynamic.Interface // Of kinds that are not built in.
}

// resources are the kinds of object that are watched: the workloads, then the events, which belong
// to workloads.
var resources = []resource{
	{
		kind: fleet.Deployment, group: "apps", name: "deployments", expect: &appsv1.Deployment{},
		client: func(c clients, ns string) listWatcher {
			return typed[*appsv1.DeploymentList]{client: c.AppsV1().Deployments(ns)}
		},
	},
	{
		kind: fleet.StatefulSet, group: "apps", name: "statefulsets", expect: &appsv1.StatefulSet{},
		client: func(c clients, ns string) listWatcher {
			return typed[*appsv1.StatefulSetList]{client: c.AppsV1().StatefulSets(ns)}
		},
	},
	{
		kind: fleet.DaemonSet, group: "apps", name: "daemonsets", expect: &appsv1.DaemonSet{},
		client: func(c clients, ns string) listWatcher {
			return typed[*appsv1.DaemonSetList]{client: c.AppsV1().DaemonSets(ns)}
		},
	},
	{
		kind: Rollout, group: rollouts.Group, name: rollouts.Resource, expect: anyRollout(),
		client: func(c clients, ns string) listWatcher {
			client := c.objects.Resource(rollouts).Namespace(ns)
			return typed[*unstructured.UnstructuredList]{client: client}
		},
		optional: true,
	},
	{
		name: "events", expect: &corev1.Event{},
		client: func(c clients, ns string) listWatcher {
			return typed[*corev1.EventList]{client: c.CoreV1().Events(ns), fields: "type=Warning"}
		},
	},
}

func (r *resource) scope(namespace string) string { return scopeOf(r.kind, namespace) }

// String returns the resource as kubectl names it: deployments.apps.
func (r *resource) String() string {
	if r.group == "" {
		return r.name
	}
	return r.name + "." + r.group
}

// listWatcher lists and watches one resource.
type listWatcher interface {
	list(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

// typed is a listWatcher on one of client-go's typed clients.
type typed[L runtime.Object] struct {
	client interface {
		List(context.Context, metav1.ListOptions) (L, error)
		Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
	}
	fields string // Field selector.
}

func (t typed[L]) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	o.FieldSelector = t.fields
	return t.client.List(ctx, o)
}

func (t typed[L]) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	o.FieldSelector = t.fields
	return t.client.Watch(ctx, o)
}

// sighting is a workload as it was just seen: its digest and, for the case that it has changed, by
// whom.
type sighting struct {
	Workload

	created, deleted time.Time
	template, scale  edit // Who wrote the pod template last, and the replicas.
	spec             edit // Who wrote anything of the specification last.
	owner            string
	cause            string
	unobserved       bool // Its controller has not come to it: nothing but its name is known.
}

// edit is who changed something, and when, as far as the API server says.
type edit struct {
	by string
	at time.Time
}

// GetObjectMeta lets client-go keep a sighting in place of the object: it asks for the name and the
// version.
func (s *sighting) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}
}

// see digests a workload. The object is changed.
func see(object any) (*sighting, error) {
	var s *sighting
	var template *corev1.PodTemplateSpec
	switch o := object.(type) {
	case *appsv1.Deployment:
		s, template = sight(fleet.Deployment, &o.ObjectMeta), &o.Spec.Template
		s.Replicas, s.Paused = replicas(o.Spec.Replicas), o.Spec.Paused
		s.Number = revisionNumber(o)
	case *appsv1.StatefulSet:
		s, template = sight(fleet.StatefulSet, &o.ObjectMeta), &o.Spec.Template
		s.Replicas = replicas(o.Spec.Replicas)
	case *appsv1.DaemonSet:
		s, template = sight(fleet.DaemonSet, &o.ObjectMeta), &o.Spec.Template
	default:
		return nil, fmt.Errorf("digest a workload: %T is none", object)
	}
	s.rolling = underWay(object)
	s.Restarted = strings.Clone(template.Annotations[restartedAt])
	return s, s.asks(template)
}

// asks takes in which pods a workload asks for. The template is changed.
func (s *sighting) asks(template *corev1.PodTemplateSpec) error {
	s.Images = nil
	for _, c := range template.Spec.Containers {
		s.Images = append(s.Images, strings.Clone(c.Image))
	}
	hash, text, err := digest(template)
	if err != nil {
		return fmt.Errorf("digest %s %s/%s: %w", s.Kind, s.Namespace, s.Name, err)
	}
	s.Hash, s.Template = hash, deflate(text)
	return nil
}

// sight reads the metadata. Strings are cloned because those of a decoded object share its memory.
func sight(kind fleet.Workload, m metav1.Object) *sighting {
	fields := m.GetManagedFields()
	s := &sighting{
		Workload: Workload{
			Kind: kind, Namespace: strings.Clone(m.GetNamespace()), Name: strings.Clone(m.GetName()),
			UID: strings.Clone(string(m.GetUID())), Generation: m.GetGeneration(),
		},
		created:  m.GetCreationTimestamp().Time,
		template: lastEdit(fields, "f:template"),
		scale:    lastEdit(fields, "f:replicas"),
		spec:     lastEdit(fields, "f:spec"),
		owner:    OwnerOf(m).String(),
		cause:    shorten(m.GetAnnotations()["kubernetes.io/change-cause"], 120),
	}
	if at := m.GetDeletionTimestamp(); at != nil {
		s.deleted = at.Time
	}
	s.TemplateAt, s.ScaledAt, s.SpecAt = s.template.at, s.scale.at, s.spec.at
	s.TemplateBy, s.ScaledBy, s.SpecBy = s.template.by, s.scale.by, s.spec.by
	return s
}

func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

func revisionNumber(m metav1.Object) int64 {
	all := m.GetAnnotations()
	text := cmp.Or(all["deployment.kubernetes.io/revision"], all["rollout.argoproj.io/revision"])
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0 // Not set yet: the controller numbers a revision a moment after it appeared.
	}
	return n
}

// lastEdit returns the newest edit by a manager that owns field. Those of the status do not count.
func lastEdit(entries []metav1.ManagedFieldsEntry, field string) edit {
	var last edit
	for _, e := range entries {
		if e.Subresource == "status" || e.Time == nil || e.Time.Time.Before(last.at) {
			continue
		}
		if e.FieldsV1 == nil || !strings.Contains(e.FieldsV1.GetRawString(), `"`+field+`"`) {
			continue
		}
		last = edit{by: manager(e), at: e.Time.Time}
	}
	return last
}

// LastWriter returns who wrote a field of the specification last, f:template for one, and when, as
// far as the API server says.
func LastWriter(m metav1.Object, field string) (by string, at time.Time) {
	e := lastEdit(m.GetManagedFields(), field)
	return e.by, e.at
}

// manager returns the name of a field manager for people. That of kubectl tells the command.
func manager(e metav1.ManagedFieldsEntry) string {
	name, how := e.Manager, e.Subresource
	if command, ok := strings.CutPrefix(name, "kubectl-"); ok {
		name, how = "kubectl", strings.TrimPrefix(command, "client-side-")
	} else if e.Operation == metav1.ManagedFieldsOperationApply {
		how = "apply"
	}
	if how == "" {
		return strings.Clone(name)
	}
	return name + " (" + how + ")"
}

// shorten cuts text to at most size bytes, and says so by an ellipsis.
func shorten(text string, size int) string {
	if len(text) <= size {
		return strings.Clone(text)
	}
	return strings.ToValidUTF8(text[:size-3], "") + "..."
}
