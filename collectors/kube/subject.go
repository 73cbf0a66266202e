package kube

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"tocsin/fleet"
)

// subject is a workload that is looked at, in a form that all kinds share.
type subject struct {
	namespace string
	uid       types.UID
	selector  labels.Selector
	hash      string // Of its template; of a Rollout, of the one that its ReplicaSet has.
	current   string // Of a Rollout: the label of the pods that it asks for.
	replicas  bool   // Its revisions are ReplicaSets, else ControllerRevisions.
	observed  bool   // Its status speaks of the newest specification.
	mixed     bool   // Its status does not exclude pods of other revisions.
	held      int32  // Pods that the partition of a StatefulSet holds back.
	weighted  bool   // A router of traffic decides on the weight of a canary.
	minReady  time.Duration
	progress  Progress
}

// label is by which pods tell their revision.
func (s *subject) label() string {
	switch {
	case s.current != "":
		return "rollouts-pod-template-hash"
	case s.replicas:
		return "pod-template-hash"
	}
	return "controller-revision-hash"
}

// subject reads a workload.
func (l *looker) subject(
	ctx context.Context, service fleet.Service, kind fleet.Workload,
) (*subject, error) {
	ns, name, get := service.Namespace, service.Name, metav1.GetOptions{}
	apps := l.typed.AppsV1()
	switch kind {
	case fleet.Deployment:
		d, err := apps.Deployments(ns).Get(ctx, name, get)
		if err != nil {
			return nil, missing(err, rule{"apps", "deployments", "get"})
		}
		return deploymentSubject(d)
	case fleet.StatefulSet:
		set, err := apps.StatefulSets(ns).Get(ctx, name, get)
		if err != nil {
			return nil, missing(err, rule{"apps", "statefulsets", "get"})
		}
		return statefulSubject(set)
	case fleet.DaemonSet:
		set, err := apps.DaemonSets(ns).Get(ctx, name, get)
		if err != nil {
			return nil, missing(err, rule{"apps", "daemonsets", "get"})
		}
		return daemonSubject(set)
	case Rollout:
		o, err := l.objects.Resource(rollouts).Namespace(ns).Get(ctx, name, get)
		if err != nil {
			return nil, missing(err, rule{"argoproj.io", "rollouts", "get"})
		}
		return rolloutSubject(o)
	}
	return nil, errNoWorkload
}

// newSubject reads what all kinds that are built in share. The template is changed.
func newSubject(
	m *metav1.ObjectMeta, selector *metav1.LabelSelector, template *corev1.PodTemplateSpec,
) (*subject, error) {
	s := &subject{namespace: m.Namespace, uid: m.UID}
	var err error
	if s.selector, err = metav1.LabelSelectorAsSelector(selector); err != nil {
		return nil, fmt.Errorf("read the selector: %w", err)
	}
	s.hash, err = hashTemplate(template)
	return s, err
}

func deploymentSubject(d *appsv1.Deployment) (*subject, error) {
	s, err := newSubject(&d.ObjectMeta, d.Spec.Selector, &d.Spec.Template)
	if err != nil {
		return nil, err
	}
	s.replicas, s.observed = true, d.Status.ObservedGeneration >= d.Generation
	p := &s.progress
	p.Desired, p.Paused, p.Strategy = replicas(d.Spec.Replicas), d.Spec.Paused, RollingUpdate
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		p.Strategy = Recreate
	}
	for _, c := range d.Status.Conditions {
		trouble := c.Type == appsv1.DeploymentProgressing && c.Reason == deadlineExceeded ||
			c.Type == appsv1.DeploymentAvailable && c.Reason == unavailable
		if trouble && c.Status == corev1.ConditionFalse ||
			c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			p.Conditions = append(p.Conditions,
				WorkloadCondition{c.Reason, shorten(c.Message, 300), c.LastTransitionTime.Time})
		}
	}
	return s, nil
}

func statefulSubject(set *appsv1.StatefulSet) (*subject, error) {
	s, err := newSubject(&set.ObjectMeta, set.Spec.Selector, &set.Spec.Template)
	if err != nil {
		return nil, err
	}
	status := &set.Status
	s.observed = status.ObservedGeneration >= set.Generation
	s.mixed = !s.observed || status.UpdatedReplicas < status.Replicas
	s.minReady = time.Duration(set.Spec.MinReadySeconds) * time.Second
	s.progress.Desired, s.progress.Strategy = replicas(set.Spec.Replicas), RollingUpdate
	update := set.Spec.UpdateStrategy
	if update.Type == appsv1.OnDeleteStatefulSetStrategyType {
		s.progress.Strategy = OnDelete
	} else if r := update.RollingUpdate; r != nil && r.Partition != nil && *r.Partition > 0 {
		s.progress.Strategy, s.held = Canary, *r.Partition
	}
	return s, nil
}

func daemonSubject(set *appsv1.DaemonSet) (*subject, error) {
	s, err := newSubject(&set.ObjectMeta, set.Spec.Selector, &set.Spec.Template)
	if err != nil {
		return nil, err
	}
	status := &set.Status
	s.observed = status.ObservedGeneration >= set.Generation
	s.mixed = !s.observed || status.UpdatedNumberScheduled < status.CurrentNumberScheduled
	s.minReady = time.Duration(set.Spec.MinReadySeconds) * time.Second
	s.progress.Desired, s.progress.Strategy = status.DesiredNumberScheduled, RollingUpdate
	if set.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		s.progress.Strategy = OnDelete
	}
	return s, nil
}

// conclude fills in what follows from the pods.
func (s *subject) conclude(p *Progress) {
	mixed := p.Old.Created > 0
	switch {
	case p.Strategy == OnDelete:
		p.Paused = mixed // It waits for somebody.
	case s.held > 0:
		p.Paused = mixed && p.New.Created >= p.Desired-s.held
	}
	ready := p.Old.Ready + p.New.Ready
	if p.Strategy == Canary && p.Weight == 0 && ready > 0 && !s.weighted {
		p.Weight = int(100 * p.New.Ready / ready) // The traffic goes where pods are.
	}
}
