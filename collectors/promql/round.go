package promql

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// calm is the least time between two queries to a source that may be down.
const calm = time.Second

// round asks queries for the same instants and hands on what is answered.
type round struct {
	s       *Source
	span    span
	kind    string
	queries []*query
	maxData int
	brief   bool                                   // A first query without an answer is the last one.
	pace    func(ctx context.Context, i int) error // Returns when query i may start.
	deliver func(q *query) error                   // Called for each answer, volumes first.

	halt atomic.Pointer[failure] // Why no more queries are started.
	busy atomic.Int64            // Nanoseconds that queries took together,
	lone int64                   // and those of them in which no other was under way.
}

// run asks the first query alone until one was answered: a source that hangs must not hold
// one request for each signal. The rest is asked concurrently. It returns when all queries
// are settled; the error is that of deliver.
func (r *round) run(ctx context.Context) error {
	for _, q := range r.s.queries {
		q.settled, q.emitted = true, true // Unless it is asked now.
	}
	for _, q := range r.queries {
		q.settled, q.emitted = false, false
		q.fail = (&failure{result: cut, reason: errCut.Error()}).spare()
	}
	asked, answers := r.scout(ctx)
	r.lone = r.busy.Load()
	for _, q := range r.queries[:asked] {
		if err := r.settle(q); err != nil {
			return err
		}
	}
	rest := r.queries[asked:]
	if !answers {
		for _, q := range rest {
			q.fail = r.queries[asked-1].fail.spare()
		}
		return nil
	}
	return r.fan(ctx, asked, rest)
}

// scout asks queries one after the other until the source has answered one. It returns how
// many it asked.
func (r *round) scout(ctx context.Context) (asked int, answers bool) {
	for i, q := range r.queries {
		if i > 0 {
			if sleep(ctx, calm) != nil {
				return i, false
			}
		}
		if r.pace(ctx, i) != nil {
			return max(i, 1), false // The first fails as if it had been cut.
		}
		r.ask(ctx, q)
		switch {
		case q.fail == nil || !q.fail.ofSource():
			return i + 1, true
		case r.brief, final(q.fail.result):
			return i + 1, false
		}
	}
	return len(r.queries), false
}

// final reports whether a failure says that any other query would fail alike.
func final(r result) bool {
	switch r {
	case cut, unauthorized, misdirected, throttled, unreachable, wrongClock:
		return true
	}
	return false
}

// fan asks the rest of the queries, the first of which has number first, some at a time.
func (r *round) fan(ctx context.Context, first int, rest []*query) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan *query, len(rest)) // Holds all: no query waits for the loop.
	go func() {
		defer close(results)
		var g errgroup.Group
		g.SetLimit(r.s.opts.Concurrency)
		for i, q := range rest {
			if r.pace(ctx, first+i) != nil {
				break
			}
			g.Go(func() error {
				if f := r.halt.Load(); f != nil {
					q.fail = f.spare()
				} else {
					r.ask(ctx, q)
				}
				results <- q
				return nil
			})
		}
		_ = g.Wait() // The failures are in the queries.
	}()
	var err error
	for q := range results {
		if err == nil {
			if err = r.settle(q); err != nil {
				cancel()
			}
		}
	}
	for _, q := range rest {
		if err == nil && !q.settled {
			err = r.settle(q)
		}
	}
	return err
}

// ask asks one query. Its outcome is in q.fail and q.answer.
func (r *round) ask(ctx context.Context, q *query) {
	q.answer.reset(r.span, r.maxData)
	var took time.Duration
	took, q.fail = r.s.ask(ctx, r.kind, q.Expr, q.table, &q.answer)
	r.busy.Add(int64(took))
	if q.fail != nil && q.fail.result == throttled {
		r.halt.CompareAndSwap(nil, q.fail)
	}
}

// ask asks one query of a kind and measures it.
func (s *Source) ask(
	ctx context.Context, kind, expr string, t rows, a *answer,
) (took time.Duration, f *failure) {
	gauge := s.metrics.inFlight.WithLabelValues(s.opts.Cluster)
	gauge.Inc()
	begin := time.Now()
	f = s.api.ask(ctx, expr, t, a)
	took = time.Since(begin)
	gauge.Dec()
	s.metrics.duration.WithLabelValues(kind).Observe(took.Seconds())
	result := answered
	switch {
	case f != nil:
		result = f.result
	case a.series == 0:
		result = nothing
	}
	s.metrics.queries.WithLabelValues(s.opts.Cluster, result.String()).Inc()
	return took, f
}

// settle hands on what is complete now that it is known how q ended.
func (r *round) settle(q *query) error {
	q.settled = true
	if q.volume != nil && !q.volume.emitted {
		return nil
	}
	return r.emit(q)
}

// emit hands on q, and what has waited for it.
func (r *round) emit(q *query) error {
	q.emitted = true
	if q.fail == nil {
		if v := q.volume; v != nil && v.fail == nil && v.answer.span == r.span {
			if err := q.table.zeros(&q.answer, &v.answer); err != nil {
				q.fail = &failure{result: refused, reason: err.Error()}
			}
		}
	}
	if q.fail == nil {
		r.s.count(&q.answer)
		if err := r.deliver(q); err != nil {
			return err
		}
	}
	for _, d := range q.dependents {
		if d.settled && !d.emitted {
			if err := r.emit(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// count adds what an answer gave to the metrics.
func (s *Source) count(a *answer) {
	s.metrics.values.WithLabelValues(s.opts.Cluster).Add(float64(a.values))
	s.countDrops(a)
}

func (s *Source) countDrops(a *answer) {
	for d := kept + 1; d < dropReasons; d++ {
		if a.drops[d] > 0 {
			s.metrics.drops.WithLabelValues(s.opts.Cluster, d.String()).Add(float64(a.drops[d]))
		}
	}
}
