package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// session is one stretch of watching with one set of credentials.
type session struct {
	watcher *Watcher
	config  *rest.Config
	client  clients

	rollouts rolloutReader
}

// sessions holds one session after the other until ctx is done.
func (w *Watcher) sessions(ctx context.Context) {
	for ctx.Err() == nil {
		config, err := w.opts.Load()
		if err == nil {
			err = w.session(ctx, config)
		}
		if err != nil {
			w.health.unusable(err)
			pause(ctx, w.opts.Stale/3)
		}
	}
}

// session watches until ctx is done, the credentials have changed, or another cluster answers.
func (w *Watcher) session(ctx context.Context, config *rest.Config) error {
	c := prepare(config)
	c.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return newTransport(next, w.health, w.metrics)
	})
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		return err
	}
	defer utilnet.CloseIdleConnectionsFor(client.Transport)
	s := &session{watcher: w, config: config}
	if s.client.Interface, err = kubernetes.NewForConfigAndClient(c, client); err != nil {
		return err
	}
	if s.client.objects, err = dynamic.NewForConfigAndClient(c, client); err != nil {
		return err
	}
	l, looking, err := newLooker(w, config)
	if err != nil {
		return err
	}
	defer utilnet.CloseIdleConnectionsFor(looking.Transport)
	w.looker.Store(l)
	s.rollouts.watcher, s.rollouts.looker = w, l
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	uid, ok := s.greet(ctx)
	if !ok {
		return nil
	}
	identified(ctx, w.inbox, uid)
	wg.Go(func() { s.watch(ctx) })
	s.probe(ctx, uid)
	return nil
}

// greet asks who the cluster is until it answers, and returns its UID; nothing if that may not be
// asked. It is not ok if there is reason to end the session.
func (s *session) greet(ctx context.Context) (uid string, ok bool) {
	for ctx.Err() == nil {
		uid, _, err := s.identity(ctx)
		if err == nil {
			return uid, true
		}
		s.watcher.health.probed(err)
		if s.moved() {
			return "", false
		}
		pause(ctx, s.watcher.opts.Stale/9)
	}
	return "", false
}

// probe asks from time to time, because a watch does not tell a quiet cluster from a dead one,
// until ctx is done or there is reason to begin anew.
func (s *session) probe(ctx context.Context, uid string) {
	tick := time.NewTicker(s.watcher.opts.Stale / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, recovered, err := s.identity(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.watcher.health.probed(err)
			if s.moved() {
				s.watcher.metrics.restarts.WithLabelValues(access).Inc()
				return
			}
		case now != uid:
			s.watcher.metrics.restarts.WithLabelValues(identity).Inc()
			return
		case recovered: // The watches may still wait a minute and a half before they try again.
			s.watcher.metrics.restarts.WithLabelValues(recovery).Inc()
			return
		}
	}
}

// identity returns the UID of namespace kube-system, which serves as the cluster's, and nothing if
// that is refused. The version comes along as a sign of life that needs no rights. Recovered says
// that watches are to be taken up again.
func (s *session) identity(ctx context.Context) (uid string, recovered bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.watcher.opts.Stale/3)
	defer cancel()
	root, core := s.client.Discovery().RESTClient(), s.client.CoreV1().RESTClient()
	body, err := root.Get().AbsPath("/version").MaxRetries(0).Do(ctx).Raw()
	if err != nil && !apierrors.IsForbidden(err) {
		return "", false, err
	}
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err == nil {
		if err := json.Unmarshal(body, &version); err != nil {
			return "", false, err
		}
	}
	var ns corev1.Namespace
	err = core.Get().Resource("namespaces").Name("kube-system").MaxRetries(0).Do(ctx).Into(&ns)
	if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) {
		return "", false, err
	}
	recovered = s.watcher.health.known(string(ns.UID), version.GitVersion, time.Now())
	return string(ns.UID), recovered, nil
}

// moved says whether the cluster is reached otherwise by now: a new token in a kubeconfig, a new
// address.
func (s *session) moved() bool {
	config, err := s.watcher.opts.Load()
	if err != nil {
		s.watcher.health.unusable(err)
		return false
	}
	return !sameAccess(config, s.config)
}

// watch follows the workloads, and the events once it is known whose they can be, until ctx is
// done.
func (s *session) watch(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	release := s.slot(ctx)
	defer release()
	follow := func(events bool) {
		for i := range resources {
			if r := &resources[i]; (r.kind == "") == events {
				for _, ns := range s.watcher.opts.Namespaces {
					wg.Go(func() { s.follow(ctx, r, ns) })
				}
			}
		}
	}
	follow(false)
	s.settle(ctx, false)
	follow(true)
	s.settle(ctx, true)
}

// slot waits for a place among the clusters that list for the first time, and returns how to leave
// it.
func (s *session) slot(ctx context.Context) (release func()) {
	slots := s.watcher.opts.Slots
	if slots == nil {
		return func() {}
	}
	select {
	case slots <- struct{}{}:
		return func() { <-slots }
	case <-ctx.Done():
		return func() {}
	}
}

// settle waits until each workload resource, or each resource, has been listed or has failed; half
// a minute at most.
func (s *session) settle(ctx context.Context, events bool) {
	for range 300 {
		if ctx.Err() != nil || s.watcher.health.settled(events) {
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// follow follows one resource until ctx is done.
func (s *session) follow(ctx context.Context, r *resource, namespace string) {
	if r.optional {
		s.followOptional(ctx, r, namespace)
		return
	}
	s.reflect(ctx, r, namespace, func() {})
}

// reflect lists and watches one resource until ctx is done. It calls gone if the API server does
// not know an optional one any more.
func (s *session) reflect(ctx context.Context, r *resource, namespace string, gone func()) {
	f := &follower{
		resource: r, namespace: namespace, client: r.client(s.client, namespace),
		health: s.watcher.health, metrics: s.watcher.metrics, gone: gone,
	}
	logger := klog.FromContext(ctx)
	to := &store{
		resource: r, namespace: namespace, inbox: s.watcher.inbox, done: ctx.Done(),
		see: func(object any) (*sighting, error) { return s.see(ctx, object) },
	}
	reflector := cache.NewReflectorWithOptions(f.listWatch(), r.expect, to, cache.ReflectorOptions{
		Name: r.scope(namespace), Logger: &logger,
	})
	reflector.RunWithContext(ctx)
	f.end()
}

// see digests a workload, which is changed.
func (s *session) see(ctx context.Context, object any) (*sighting, error) {
	if o, ok := object.(*unstructured.Unstructured); ok {
		return s.rollouts.see(ctx, o)
	}
	return see(object)
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
