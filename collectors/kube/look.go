package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"tocsin/fleet"
)

// ErrGone means that there is no such workload.
var ErrGone = errors.New("no such workload")

// ErrUnobserved means that the controller has not come to what was written last: which pods are new
// is not known yet. It passes by itself.
var ErrUnobserved = errors.New("the controller has not seen the newest specification yet")

var (
	errNotConnected = errors.New("the cluster has not answered yet")
	errNoWorkload   = errors.New("nobody looks at objects of this kind")
)

// The limits of looks. Three or four requests are a look: 200 releases in a cluster can be looked
// at every 15 seconds.
const (
	lookTimeout = 15 * time.Second
	lookQPS     = 50 // Of all looks at a cluster.
	lookBurst   = 100
)

// The results of a look.
const (
	lookSeen       = "seen"
	lookGone       = "gone"
	lookUnobserved = "unobserved"
	lookRefused    = "refused"
	lookFailed     = "failed"
)

// Look reads how far the rollout of a workload is. It asks the API server, and nothing of what it
// says is kept. The error wraps ErrGone if there is no such workload.
func (w *Watcher) Look(
	ctx context.Context, service fleet.Service, kind fleet.Workload,
) (Progress, error) {
	p, err := w.look(ctx, service, kind)
	w.metrics.looks.WithLabelValues(lookResult(err)).Inc()
	if err != nil {
		return Progress{}, fmt.Errorf("look at %s %s: %w", kind, service, err)
	}
	return p, nil
}

func lookResult(err error) string {
	switch {
	case err == nil:
		return lookSeen
	case errors.Is(err, ErrGone):
		return lookGone
	case errors.Is(err, ErrUnobserved):
		return lookUnobserved
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return lookRefused
	}
	return lookFailed
}

func (w *Watcher) look(
	ctx context.Context, service fleet.Service, kind fleet.Workload,
) (Progress, error) {
	if service.Cluster != w.opts.Cluster {
		return Progress{}, fmt.Errorf("it is not in cluster %s", w.opts.Cluster)
	}
	l := w.looker.Load()
	if l == nil {
		return Progress{}, errNotConnected
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	at := time.Now().UTC()
	s, err := l.subject(ctx, service, kind)
	if err != nil {
		return Progress{}, err
	}
	p := s.progress
	p.Service, p.Workload, p.At, p.UID = service, kind, at, string(s.uid)
	revisions, err := l.revisions(ctx, s)
	if err != nil {
		return Progress{}, err
	}
	p.New.Hash = s.hash
	if err := l.sides(ctx, s, revisions, &p); err != nil {
		return Progress{}, err
	}
	s.conclude(&p)
	return p, nil
}

// looker reads workloads and what belongs to them for the length of a session.
type looker struct {
	typed   kubernetes.Interface
	objects dynamic.Interface
}

// newLooker returns a looker. Its requests are none of the watches' business: it has limits of its
// own, and what it is refused says nothing about them.
func newLooker(w *Watcher, config *rest.Config) (*looker, *http.Client, error) {
	c := prepare(config)
	c.RateLimiter = w.looks
	c.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return newLookTransport(next, w.health, w.metrics)
	})
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, nil, err
	}
	l := &looker{}
	if l.typed, err = kubernetes.NewForConfigAndClient(c, client); err != nil {
		return nil, nil, err
	}
	l.objects, err = dynamic.NewForConfigAndClient(c, client)
	return l, client, err
}

func newLookLimit() flowcontrol.RateLimiter {
	return flowcontrol.NewTokenBucketRateLimiter(lookQPS, lookBurst)
}

// missing makes of the API server's answer that there is no such object one that callers know, and
// says of a refusal which rule would help.
func missing(err error, r rule) error {
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("add to the role of its user the rule "+
			"{apiGroups: [%q], resources: [%q], verbs: [%s]}: %w", r.group, r.resource, r.verb, err)
	}
	return err
}

// rule is a right.
type rule struct{ group, resource, verb string }
