package kube

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// silence is how long a watch may show nothing, not even the bookmark that an API server sends
// every minute, before it is given up and started anew.
const silence = 4 * time.Minute

// follower lists and watches one resource for a reflector and notes how that goes.
type follower struct {
	resource  *resource
	namespace string
	client    listWatcher
	health    *health
	metrics   *metrics
	gone      func() // Called if the API server does not know an optional resource any more.

	mu       sync.Mutex     // Guards stopped, and requests against a start after the end.
	stopped  bool           // By end.
	requests sync.WaitGroup // A reflector that is stopped does not wait for them.
}

// begin says whether a request may be made; it is over when done is called.
func (f *follower) begin() (done func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, false
	}
	f.requests.Add(1)
	return f.requests.Done, true
}

// end waits for the requests under way, whose context is done, and lets no other begin.
func (f *follower) end() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.requests.Wait()
}

func (f *follower) scope() string { return f.resource.scope(f.namespace) }

// listWatch returns f in the form that client-go wants.
func (f *follower) listWatch() *cache.ListWatch {
	return &cache.ListWatch{ListWithContextFunc: f.list, WatchFuncWithContext: f.watch}
}

// list lists the resource.
func (f *follower) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	done, ok := f.begin()
	if !ok {
		return nil, errStopped
	}
	defer done()
	list, err := f.client.list(ctx, o)
	if f.resource.optional && apierrors.IsNotFound(err) {
		f.gone()
		return nil, err
	}
	if err != nil && ctx.Err() == nil && !apierrors.IsResourceExpired(err) {
		f.health.failed(f.scope(), err, time.Now())
	}
	return list, err
}

// watch watches the resource. A server that does not know streaming lists refuses the request for
// one; a list follows then, and its result counts.
func (f *follower) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	w, err := f.client.watch(ctx, o)
	if err != nil {
		unknown := o.SendInitialEvents != nil && *o.SendInitialEvents && apierrors.IsInvalid(err)
		if ctx.Err() == nil && !unknown && !apierrors.IsResourceExpired(err) {
			f.health.failed(f.scope(), err, time.Now())
		}
		return nil, err
	}
	done, ok := f.begin()
	if !ok {
		w.Stop()
		return nil, errStopped
	}
	f.health.watching(f.scope(), time.Now())
	seen := &observed{Interface: w, result: make(chan watch.Event), stop: make(chan struct{})}
	go func() {
		defer done()
		f.pass(ctx, seen)
	}()
	return seen, nil
}

// observed is a watch that notes each event, and ends itself when none comes.
type observed struct {
	watch.Interface
	result chan watch.Event
	stop   chan struct{}
	once   sync.Once
}

// ResultChan returns the events.
func (o *observed) ResultChan() <-chan watch.Event { return o.result }

// Stop ends the watch.
func (o *observed) Stop() {
	o.once.Do(func() { close(o.stop) })
	o.Interface.Stop()
}

// pass hands events on until the watch ends or falls silent.
func (f *follower) pass(ctx context.Context, o *observed) {
	defer close(o.result)
	defer o.Interface.Stop()
	patience := time.NewTimer(silence)
	defer patience.Stop()
	for {
		var event watch.Event
		var ok bool
		select {
		case event, ok = <-o.Interface.ResultChan():
		case <-o.stop:
			return
		case <-patience.C:
			f.metrics.restarts.WithLabelValues(silent).Inc()
			return
		}
		if !ok {
			return
		}
		patience.Reset(silence)
		if ctx.Err() == nil { // Else the error is that we have left.
			f.note(event)
		}
		select {
		case o.result <- event:
		case <-o.stop:
			return
		}
	}
}

// note keeps the time of an event. That a version has expired is how an API server asks for a
// relist.
func (f *follower) note(event watch.Event) {
	if event.Type != watch.Error {
		f.health.active(f.scope(), time.Now())
		return
	}
	err := apierrors.FromObject(event.Object)
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		f.health.failed(f.scope(), err, time.Now())
	}
}
