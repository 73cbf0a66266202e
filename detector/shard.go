package detector

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"tocsin/series"
)

// shard owns the clusters that hash to it. Only its goroutine touches them.
type shard struct {
	engine  *Engine
	metrics *metrics
	inbox   chan *series.Batch // Options.Inbox deep, so that a slow tick does not stop the senders.
	control chan func()        // Calls to make between batches.

	signals  map[string]*Signal
	budget   Budget
	clusters map[string]*cluster
	removed  map[string]bool           // Clusters whose snapshots are to be removed.
	slots    []int32                   // By Ref: its slot in its column, plus one; 0 is none.
	feedback map[seriesName][]Feedback // What people think.

	scores   Scores        // Handed to Options.Scores, again and again.
	services ServiceScores // The same for Options.Services.
	reports  []Finding     // Of the instant being closed.
	drops    [dropReasons]int
}

func newShard(e *Engine, signals []Signal) *shard {
	s := &shard{
		engine:   e,
		budget:   e.opts.Budget,
		metrics:  e.metrics,
		inbox:    make(chan *series.Batch, e.opts.Inbox),
		control:  make(chan func()),
		clusters: make(map[string]*cluster),
		removed:  make(map[string]bool),
	}
	s.setSignals(slices.Clone(signals))
	return s
}

func (s *shard) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			s.settle()
			return
		case b := <-s.inbox:
			s.take(b)
		case f := <-s.control:
			s.settle()
			f()
		}
	}
}

// settle works off what has arrived.
func (s *shard) settle() {
	for {
		select {
		case b := <-s.inbox:
			s.take(b)
		default:
			return
		}
	}
}

func (s *shard) take(b *series.Batch) {
	c := s.clusters[b.Cluster]
	if c == nil {
		c = newCluster(s, b.Cluster)
		s.clusters[b.Cluster] = c
		delete(s.removed, b.Cluster)
	}
	c.take(b)
	s.countDrops()
	b.Cluster, b.Signal = "", ""
	s.engine.batches.Put(b)
}

func (s *shard) countDrops() {
	for reason, n := range s.drops {
		if n > 0 {
			s.metrics.dropped[reason].Add(float64(n))
			s.drops[reason] = 0
		}
	}
}

// slot returns where ref is in its column, or -1.
func (s *shard) slot(ref series.Ref) int {
	if int(ref) >= len(s.slots) {
		return -1
	}
	return int(s.slots[ref]) - 1
}

func (s *shard) setSlot(ref series.Ref, slot int) {
	if int(ref) >= len(s.slots) {
		s.slots = append(s.slots, make([]int32, int(ref)+1-len(s.slots)+len(s.slots)/8)...)
	}
	s.slots[ref] = int32(slot + 1)
}

// forget gives up refs, here and in the registry.
func (s *shard) forget(refs ...series.Ref) {
	for _, ref := range refs {
		s.setSlot(ref, -1)
	}
	s.engine.opts.Registry.Forget(refs...)
}

func (s *shard) setSignals(signals []Signal) {
	next := make(map[string]*Signal, len(signals))
	for i := range signals {
		next[signals[i].Name] = &signals[i]
	}
	s.signals = next
	for _, name := range s.names() {
		s.clusters[name].setSignals()
	}
	s.flush()
}

func (s *shard) removeCluster(name string) {
	c := s.clusters[name]
	if c == nil {
		return
	}
	for _, col := range c.order {
		col.remove(clusterRemoved)
	}
	delete(s.clusters, name)
	s.engine.exchange.Forget(name)
	s.metrics.forgetBudget(name)
	s.removed[name] = true
	s.flush()
}

func (s *shard) names() []string { return slices.Sorted(maps.Keys(s.clusters)) }

// flush reports the findings of an instant, in an order that does not depend on that of the
// batches.
func (s *shard) flush() {
	if len(s.reports) == 0 {
		return
	}
	slices.SortStableFunc(s.reports, func(a, b Finding) int {
		return cmp.Or(a.Service.Compare(b.Service), cmp.Compare(a.Signal, b.Signal))
	})
	if report := s.engine.opts.Report; report != nil {
		for _, f := range s.reports {
			report(f)
		}
	}
	s.reports = s.reports[:0]
}
