package promql

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tocsin/series"
)

// tick asks for instant at, and for those before it that an outage has kept from the sink. It
// is over when the next one is due, answered or not. The error is the sink's or ctx's.
func (s *Source) tick(ctx context.Context, at int64) error {
	s.tried = at
	queries := s.active()
	if len(queries) == 0 {
		return nil // Silence is not an answer: nothing is closed.
	}
	sp := s.missing(at)
	end := s.due(at + s.opts.Interval.Milliseconds()).Sub(s.now())
	bounded, cancel := context.WithTimeoutCause(ctx, end, errCut)
	defer cancel()
	if s.isDown && !s.knock(bounded, at, queries) {
		return ctx.Err()
	}
	r := &round{s: s, span: sp, kind: kindInstant, queries: queries, maxData: maxInstant}
	r.pace = spread(time.Now(), min(s.opts.Spread, end/2), len(queries))
	r.deliver = func(q *query) error { return s.deliver(ctx, q, sp) }
	if sp.steps > 1 {
		r.kind = kindRange
		r.deliver = func(*query) error { return nil } // Instants come before signals.
	}
	if err := r.run(bounded); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !s.account(queries) {
		if sp.steps > 1 {
			s.catchUp /= 2 // It may be that so many instants are too much for the source.
		}
		return nil
	}
	return s.conclude(ctx, sp, queries)
}

// knock asks a source that was down a single query for a single instant, and reports whether
// it is back. The answer is not used: what the sink lacks is asked for next.
func (s *Source) knock(ctx context.Context, at int64, queries []*query) bool {
	sp := span{from: at, step: s.opts.Interval.Milliseconds(), steps: 1}
	f := s.look(ctx, newProbe(queries[0].Expr, s.opts.Registry), sp)
	if f == nil || !f.ofSource() {
		return true
	}
	s.metrics.ticks.WithLabelValues(s.opts.Cluster, missed).Inc()
	s.silent(time.Now(), f, queries)
	return false
}

// active returns the queries to be asked now. While the source is down another one goes first
// each time, so that one bad query cannot hide that it is back.
func (s *Source) active() []*query {
	now := time.Now()
	var out []*query
	for _, q := range s.queries {
		if q.active(now) {
			out = append(out, q)
		}
	}
	if s.isDown && len(out) > 0 {
		s.turn++
		i := s.turn % len(out)
		out = slices.Concat(out[i:], out[:i])
	}
	return out
}

// missing returns the instants that end with at and begin behind the newest that the sink has.
// Of an outage that was too long only the end is asked for.
func (s *Source) missing(at int64) span {
	interval := s.opts.Interval.Milliseconds()
	sp := span{from: at, step: interval, steps: 1}
	if s.last == 0 || at-s.last <= interval {
		return sp
	}
	back := min(at-s.last-1, s.catchUp.Milliseconds()) / interval
	sp.steps += int(min(back, int64(s.opts.Backfill.MaxPoints-1)))
	sp.from = at - int64(sp.steps-1)*interval
	return sp
}

// spread lets query i of n start with the others at equal distances.
func spread(begin time.Time, over time.Duration, n int) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		slot := over / time.Duration(n) * time.Duration(i)
		return sleep(ctx, slot-time.Since(begin))
	}
}

// deliver hands the answer of one instant to the sink. The tick's end does not hurry it: a
// sink that is behind slows the source down.
func (s *Source) deliver(ctx context.Context, q *query, sp span) error {
	b := q.batch(&s.opts, s.opts.Interval, false)
	q.answer.batch(&b, 0, &s.scratch)
	return s.append(ctx, &b)
}

// append hands a batch that holds something to the sink.
func (s *Source) append(ctx context.Context, b *series.Batch) error {
	if len(b.Refs) == 0 && !b.Final {
		return nil
	}
	if err := s.opts.Sink.Append(ctx, b); err != nil {
		return fmt.Errorf("hand on %s of cluster %s: %w", b.At.Format(time.RFC3339), b.Cluster, err)
	}
	return nil
}

// feed hands all instants of answers to the sink, each with all its signals and closed. The
// instants of a span that is fed were not seen by the sink before.
func (s *Source) feed(ctx context.Context, sp span, queries []*query, history bool) error {
	step := time.Duration(sp.step) * time.Millisecond
	for i := range sp.steps {
		for _, q := range queries {
			if q.fail != nil {
				continue
			}
			b := q.batch(&s.opts, step, history)
			q.answer.batch(&b, i, &s.scratch)
			if err := s.append(ctx, &b); err != nil {
				return err
			}
		}
		if err := s.closeInstant(ctx, sp, i, history); err != nil {
			return err
		}
	}
	return nil
}

// closeInstant tells the sink that instant i of sp has all that it will ever have.
func (s *Source) closeInstant(ctx context.Context, sp span, i int, history bool) error {
	b := series.Batch{
		Cluster: s.opts.Cluster, At: sp.at(i), Step: time.Duration(sp.step) * time.Millisecond,
		Window: s.opts.Window, History: history, Final: true,
	}
	if err := s.append(ctx, &b); err != nil {
		return err
	}
	s.last = b.At.UnixMilli()
	return nil
}

// conclude closes what a tick has got.
func (s *Source) conclude(ctx context.Context, sp span, queries []*query) error {
	if s.last > 0 {
		if gap := (sp.from-s.last)/sp.step - 1; gap > 0 {
			s.metrics.skipped.WithLabelValues(s.opts.Cluster, skippedGap).Add(float64(gap))
		}
	}
	var err error
	if sp.steps == 1 {
		err = s.closeInstant(ctx, sp, 0, false)
	} else {
		err = s.feed(ctx, sp, queries, false)
		s.release()
	}
	if err != nil {
		return err
	}
	s.catchUp = s.opts.CatchUp
	lag := s.now().Sub(sp.at(sp.steps - 1))
	s.metrics.lag.WithLabelValues(s.opts.Cluster).Set(lag.Seconds())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.LastTick, s.status.LagSeconds = sp.at(sp.steps-1), lag.Seconds()
	return nil
}

// release gives up the memory that answers of many instants took.
func (s *Source) release() {
	for _, q := range s.queries {
		q.answer = answer{}
	}
}

// account draws conclusions from a round that is over, and reports whether the source has
// answered. What has failed while others were answered is left out for a while; if nothing was
// answered, the source is.
func (s *Source) account(queries []*query) bool {
	answers, fault := tally(queries)
	now := time.Now()
	result := complete
	if answers < len(queries) {
		result = partial
	}
	if answers == 0 && fault != nil {
		s.metrics.ticks.WithLabelValues(s.opts.Cluster, missed).Inc()
		s.silent(now, fault, queries)
		return false
	}
	s.metrics.ticks.WithLabelValues(s.opts.Cluster, result).Inc()
	s.isDown = false
	s.down.Reset()
	for _, q := range queries {
		s.conclusion(q, now)
	}
	s.reached()
	return true
}

// tally counts the queries that were answered, and returns the failure that says most about
// the source, nil if each was the query's own.
func tally(queries []*query) (answers int, fault *failure) {
	for _, q := range queries {
		switch {
		case q.fail == nil:
			answers++
		case fault == nil && q.fail.ofSource():
			fault = q.fail
		}
	}
	return answers, fault
}

// conclusion updates one query of a round in which the source has answered something.
func (s *Source) conclusion(q *query, now time.Time) {
	if q.fail == nil {
		q.fails, q.retry = 0, time.Time{}
		state, reason := q.state()
		s.note(q, state, reason)
		return
	}
	q.backOff(now, &s.opts)
	if q.fail.result == throttled {
		s.retry = now.Add(q.fail.after)
	}
	state := Failing
	if q.fail.result == badQuery {
		state = Off
	}
	s.note(q, state, q.fail.reason)
}

// silent puts off the next attempt at a source that has not answered at all.
func (s *Source) silent(now time.Time, f *failure, queries []*query) {
	s.isDown = true
	s.retry = now.Add(max(s.down.NextBackOff(), f.after))
	for _, q := range queries {
		s.note(q, Failing, f.reason)
	}
	s.unreached(f)
}
