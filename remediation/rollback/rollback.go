// Package rollback acts on the workloads of a cluster: it takes a bad revision back or holds it
// up, once, and says why when it does not.
//
// That a write happens once is decided by the API server, not by a lock. Each write demands the
// version of the object that was judged, and leaves the ID of its action on the object. Whoever
// does not know whether a write has arrived, because the reply was lost or the process was killed,
// reads that ID before it does anything else.
package rollback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// What tocsin writes on objects, and what people write for it.
const (
	ActionAnnotation    = "tocsin/action"    // ID of the last action on a workload.
	DriftAnnotation     = "tocsin/drift"     // The release that a workload no longer equals.
	ModeAnnotation      = "tocsin/rollback"  // never, ask or auto: what people allow.
	MigrationAnnotation = "tocsin/migration" // A release that cannot be taken back.
)

// fieldManager is the name under which the API server keeps what tocsin wrote.
const fieldManager = "tocsin"

// Options configures an Executor. Zero values of optional fields stand for the defaults given here.
type Options struct {
	Cluster string       // Name of the cluster: required.
	Config  *rest.Config // How to reach it, as who may write: required.
	Hub     *rest.Config // Where the objects of Argo CD and Flux are; Config.

	ArgoNamespace string // Of applications that do not say theirs; argocd.

	// Note is told of each step, and has kept it when it returns: what was about to be written is
	// known to whoever comes after a crash. An error stops an action that has not written yet.
	// Nobody is told.
	Note func(context.Context, Step) error

	Timeout  time.Duration // Of one request; 10s.
	Attempts int           // After conflicts, lost replies and failures; 10.
	Backoff  time.Duration // Before the second attempt, doubled for each further one up to 2s; 50ms.
	Poll     time.Duration // Between two looks at a rollout; 1s.
	Patience time.Duration // For a pod that holds up a StatefulSet, before it is deleted; 10s.
	Stall    time.Duration // Without progress until a rollout has failed, if it does not say; 10m.

	Logger *slog.Logger          // Discards.
	Reg    prometheus.Registerer // Nil keeps the metrics private.
}

func (o *Options) validate() error {
	switch {
	case o.Cluster == "":
		return errors.New("act on a cluster: Cluster is empty")
	case o.Config == nil:
		return fmt.Errorf("act on cluster %s: Config is nil", o.Cluster)
	}
	if o.Hub == nil {
		o.Hub = o.Config
	}
	if o.ArgoNamespace == "" {
		o.ArgoNamespace = "argocd"
	}
	if o.Note == nil {
		o.Note = func(context.Context, Step) error { return nil }
	}
	if o.Attempts <= 0 {
		o.Attempts = 10
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.Timeout, 10 * time.Second},
		{&o.Backoff, 50 * time.Millisecond},
		{&o.Poll, time.Second},
		{&o.Patience, 10 * time.Second},
		{&o.Stall, 10 * time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Reg == nil {
		o.Reg = prometheus.NewRegistry()
	}
	return nil
}

// Executor acts on one cluster. Its methods may be called concurrently, and by several processes at
// the same time.
type Executor struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics

	http     *http.Client         // Of the clients that follow, but hub.
	objects  dynamic.Interface    // Whole objects, as the API server has them.
	metadata metadata.Interface   // Of Secrets, whose values are not read.
	typed    kubernetes.Interface // Pods, nodes, Jobs, access reviews.
	hub      dynamic.Interface    // Objects of Argo CD and Flux.
}

// New returns an Executor, to be closed when it is no longer needed. It does not connect yet.
func New(opts Options) (*Executor, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	e := &Executor{
		opts:    opts,
		logger:  opts.Logger.With("component", "rollback", "cluster", opts.Cluster),
		metrics: newMetrics(opts.Cluster),
	}
	if err := e.connect(); err != nil {
		return nil, fmt.Errorf("act on cluster %s: %w", opts.Cluster, err)
	}
	if err := opts.Reg.Register(e.metrics.registry); err != nil {
		return nil, fmt.Errorf("act on cluster %s: register metrics: %w", opts.Cluster, err)
	}
	return e, nil
}

// Close takes the metrics away and closes idle connections. Actions under way go on.
func (e *Executor) Close() {
	e.opts.Reg.Unregister(e.metrics.registry)
	e.http.CloseIdleConnections()
}

func (e *Executor) connect() error {
	config := prepare(e.opts.Config, e.opts.Timeout)
	var err error
	if e.http, err = rest.HTTPClientFor(config); err != nil {
		return err
	}
	if e.objects, err = dynamic.NewForConfigAndClient(config, e.http); err != nil {
		return err
	}
	if e.metadata, err = metadata.NewForConfigAndClient(config, e.http); err != nil {
		return err
	}
	if e.typed, err = kubernetes.NewForConfigAndClient(config, e.http); err != nil {
		return err
	}
	e.hub, err = dynamic.NewForConfig(prepare(e.opts.Hub, e.opts.Timeout))
	return err
}

// prepare returns config with what an action needs and its owner does not care about.
func prepare(config *rest.Config, timeout time.Duration) *rest.Config {
	c := rest.CopyConfig(config)
	c.QPS, c.Burst = 50, 100 // An action is some ten requests, and several may go on.
	c.Timeout = timeout
	c.ContentType = runtime.ContentTypeJSON // One form for all, also of kinds that are not built in.
	c.AcceptContentTypes = runtime.ContentTypeJSON
	c.WarningHandler = rest.NoWarnings{}
	if c.UserAgent == "" {
		c.UserAgent = "tocsin"
	}
	return c
}
