package kube

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// lookout is how often a cluster is asked whether it has got an extension.
	lookout = 2 * time.Minute

	// refusal is how long ReplicaSets are not asked for after that was refused.
	refusal = 5 * time.Minute
)

// anyRollout tells client-go which objects to expect.
func anyRollout() runtime.Object {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(rollouts.GroupVersion().WithKind(string(Rollout)))
	return o
}

// followOptional follows a resource whenever the cluster has it.
func (s *session) followOptional(ctx context.Context, r *resource, namespace string) {
	for s.await(ctx, r, namespace) {
		until, gone := context.WithCancel(ctx)
		s.reflect(until, r, namespace, gone)
		gone()
	}
}

// await waits until the cluster has a resource, and is false if ctx is done before. What was
// remembered of one that is taken away is gone; it is not believed at once, because an API server
// that has just started does not know all its extensions yet.
func (s *session) await(ctx context.Context, r *resource, namespace string) bool {
	scope, h := r.scope(namespace), s.watcher.health
	for missed := 1; ctx.Err() == nil; missed++ {
		known, err := s.serves(ctx, r)
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			h.failed(scope, err, time.Now())
		case known:
			h.absent(scope, false)
			return true
		default:
			h.absent(scope, true)
			if missed == 2 {
				s.nothing(ctx, r, namespace)
			}
		}
		pause(ctx, lookout)
	}
	return false
}

// serves asks whether the cluster has a resource. Unlike a list, this needs no rights.
func (s *session) serves(ctx context.Context, r *resource) (bool, error) {
	path := "/apis/" + r.expect.GetObjectKind().GroupVersionKind().GroupVersion().String()
	body, err := s.client.Discovery().RESTClient().Get().AbsPath(path).
		SetHeader("Accept", "application/json").Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	var list metav1.APIResourceList
	if err == nil {
		err = json.Unmarshal(body, &list)
	}
	for i := range list.APIResources {
		if list.APIResources[i].Name == r.name {
			return true, err
		}
	}
	return false, err
}

// nothing tells the Watcher that there are no objects of a resource.
func (s *session) nothing(ctx context.Context, r *resource, namespace string) {
	select {
	case s.watcher.inbox <- message{resource: r, namespace: namespace, listed: []any{}}:
	case <-ctx.Done():
	}
}

// rolloutReader digests Rollouts. Their templates leave out what the API server fills in for kinds
// of its own: what has a hash that compares is the template of the ReplicaSet that the controller
// has made of it. That one is read when it is a new one.
type rolloutReader struct {
	watcher *Watcher
	looker  *looker
	refused atomic.Int64 // Until when ReplicaSets are not asked for, in Unix seconds.
}

// see digests a Rollout.
func (r *rolloutReader) see(ctx context.Context, o *unstructured.Unstructured) (*sighting, error) {
	a := argo{o}
	s := sight(Rollout, o)
	s.rolling = a.underWay()
	if !a.observed() {
		s.unobserved = true
		return s, nil
	}
	s.Replicas, s.Paused = int32(a.count(1, "spec", "replicas")), a.truth("spec", "paused")
	s.Restarted, s.Number = a.text("spec", "restartAt"), revisionNumber(o)
	current := a.text("status", "currentPodHash")
	if known := r.watcher.known(s.key()); known != nil && known.UID == s.UID &&
		known.PodHash == current {
		s.Hash, s.PodHash, s.Template, s.Images = known.Hash, current, known.Template, known.Images
		return s, nil
	}
	template, err := r.template(ctx, o)
	if err == nil && template != nil {
		s.PodHash = current
		return s, s.asks(template)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s, s.asks(a.template())
}

// template returns the template of the ReplicaSet that a Rollout asks for, nil if it is not to be
// had. It tries as long as the API server does not answer: nothing can be watched meanwhile.
func (r *rolloutReader) template(
	ctx context.Context, o *unstructured.Unstructured,
) (*corev1.PodTemplateSpec, error) {
	if time.Now().Unix() < r.refused.Load() {
		return nil, nil
	}
	subject, err := rolloutSubject(o)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		template, err := r.looker.currentTemplate(ctx, subject)
		switch {
		case err == nil:
			return template, nil
		case apierrors.IsForbidden(err):
			r.refused.Store(time.Now().Add(refusal).Unix())
			r.watcher.logger.Warn("Rollouts are known by their own templates only", "err", err)
			return nil, err
		case ctx.Err() != nil, attempt == 5:
			return nil, err
		}
		pause(ctx, time.Duration(attempt)*time.Second)
	}
}

// currentTemplate returns the template of the ReplicaSet that a Rollout asks for, nil if there is
// none.
func (l *looker) currentTemplate(ctx context.Context, s *subject) (*corev1.PodTemplateSpec, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	list, err := l.typed.AppsV1().ReplicaSets(s.namespace).List(ctx, metav1.ListOptions{
		LabelSelector: s.label() + "=" + s.current,
	})
	if err != nil {
		return nil, missing(err, rule{"apps", "replicasets", "list"})
	}
	for i := range list.Items {
		if set := &list.Items[i]; controlled(set, s.uid) {
			return ownTemplate(set), nil
		}
	}
	return nil, nil
}
