package kube

import (
	"context"
	"errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"
)

// errStopped means that the session of a store is over.
var errStopped = errors.New("the watch is stopped")

// store is where a reflector of client-go puts what it lists and watches: it keeps nothing and
// hands everything to the Watcher. A call returns when the Watcher has taken the message, which
// slows a watch down to the pace at which its changes are reported.
type store struct {
	resource  *resource
	namespace string
	inbox     chan<- message
	done      <-chan struct{} // Of the session.
	see       func(any) (*sighting, error)
}

var (
	_ cache.ReflectorStore    = (*store)(nil)
	_ cache.TransformingStore = (*store)(nil)
)

func (s *store) send(m message) error {
	m.resource, m.namespace = s.resource, s.namespace
	select {
	case s.inbox <- m:
		return nil
	case <-s.done:
		return errStopped
	}
}

// Add takes an object that has appeared.
func (s *store) Add(object any) error { return s.Update(object) }

// Update takes an object that was modified. Those of kinds that are built in are digested later, if
// it is more than their status that has changed.
func (s *store) Update(object any) error {
	if _, ok := object.(*unstructured.Unstructured); ok {
		var err error
		if object, err = s.digest(object); err != nil {
			return err
		}
	}
	return s.send(message{object: object})
}

// Delete takes an object that is gone.
func (s *store) Delete(object any) error { return s.send(message{object: object, deleted: true}) }

// Replace takes all objects that there are.
func (s *store) Replace(objects []any, _ string) error {
	if objects == nil {
		objects = []any{} // None is something else than no list.
	}
	for i, object := range objects {
		if _, ok := object.(*unstructured.Unstructured); ok {
			var err error
			if objects[i], err = s.digest(object); err != nil {
				return err
			}
		}
	}
	return s.send(message{listed: objects})
}

// Resync does nothing: nothing is kept that could be sent again.
func (s *store) Resync() error { return nil }

// Transformer digests workloads while they stream in, so that a list is never held as a whole.
func (s *store) Transformer() cache.TransformFunc {
	if s.resource.kind == "" {
		return nil
	}
	return s.digest
}

// digest digests a workload, unless that is done already.
func (s *store) digest(object any) (any, error) {
	switch object.(type) {
	case *sighting:
		return object, nil
	case metav1.ObjectMetaAccessor, *unstructured.Unstructured:
		return s.see(object)
	}
	return object, nil
}

// identified tells the Watcher which cluster answers.
func identified(ctx context.Context, inbox chan<- message, uid string) {
	select {
	case inbox <- message{identity: uid}:
	case <-ctx.Done():
	}
}
