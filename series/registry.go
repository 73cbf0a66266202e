package series

import (
	"fmt"
	"slices"
	"sync"
)

// ErrFull says that a cluster has as many series as it may have.
type ErrFull struct {
	Cluster string
	Limit   int
}

func (e *ErrFull) Error() string {
	return fmt.Sprintf("cluster %s has reached its limit of %d series", e.Cluster, e.Limit)
}

// Registry gives Refs to IDs. Its methods may be called concurrently.
type Registry struct {
	limit int // Series per cluster.

	mu       sync.RWMutex // Guards what follows.
	refs     map[ID]Ref
	ids      []ID // By Ref; the first is unused. A forgotten one is zero.
	clusters map[string]int
}

// NewRegistry returns a registry that admits up to limit series for each cluster; 0 stands for 50,000.
func NewRegistry(limit int) *Registry {
	if limit == 0 {
		limit = 50_000
	}
	return &Registry{
		limit:    limit,
		refs:     make(map[ID]Ref),
		ids:      make([]ID, 1),
		clusters: make(map[string]int),
	}
}

// Ref returns the number of id, a new one if it has none yet. The error is an *ErrFull.
func (r *Registry) Ref(id ID) (Ref, error) {
	r.mu.RLock()
	ref, ok := r.refs[id]
	r.mu.RUnlock()
	if ok {
		return ref, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if ref, ok := r.refs[id]; ok {
		return ref, nil
	}
	cluster := id.Service.Cluster
	if r.clusters[cluster] >= r.limit {
		return 0, &ErrFull{Cluster: cluster, Limit: r.limit}
	}
	ref = Ref(len(r.ids))
	r.ids = append(r.ids, id)
	r.refs[id] = ref
	r.clusters[cluster]++
	return ref, nil
}

// ID returns what ref stands for, and false if nobody has it or it was forgotten.
func (r *Registry) ID(ref Ref) (ID, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if int(ref) >= len(r.ids) || r.ids[ref] == (ID{}) {
		return ID{}, false
	}
	return r.ids[ref], true
}

// Forget gives up refs: their IDs get new Refs should they come back. Those that hold Refs
// must ask again when ID answers false.
func (r *Registry) Forget(refs ...Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ref := range refs {
		if int(ref) >= len(r.ids) || r.ids[ref] == (ID{}) {
			continue
		}
		id := r.ids[ref]
		delete(r.refs, id)
		r.ids[ref] = ID{}
		if r.clusters[id.Service.Cluster]--; r.clusters[id.Service.Cluster] == 0 {
			delete(r.clusters, id.Service.Cluster)
		}
	}
}

// Len returns how many series each cluster has.
func (r *Registry) Len() map[string]int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	n := make(map[string]int, len(r.clusters))
	for c, k := range r.clusters {
		n[c] = k
	}
	return n
}

// All returns the IDs of a cluster, or of all clusters if it is "", ordered by service and signal.
func (r *Registry) All(cluster string) []ID {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []ID
	for id := range r.refs {
		if cluster == "" || id.Service.Cluster == cluster {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, ID.Compare)
	return out
}
