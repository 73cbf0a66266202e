package promql

import (
	"context"
	"time"

	"tocsin/series"
)

// Survey says what one instant of a source's signals consists of.
type Survey struct {
	At      time.Time
	Packs   []PackStatus
	Signals []SignalSurvey // In the order of Options.Queries.
}

// SignalSurvey says what one query gives.
type SignalSurvey struct {
	Signal string
	Pack   string
	State  SignalState // OK, MatchesNothing, Off, or Failing: Count is known at most.
	Reason string
	Count  int // Series that the source counts.
	Series int // Services that have the signal, those included that are zero beside another.
	Bytes  int64
	Took   time.Duration
}

// countedAs is the label that makes a service of a count.
const countedAs = "tocsin_counted"

// Survey asks the source what it would be asked at every tick, once, and counts. It is called
// instead of Run; nothing reaches the sink. The error is a *SourceError, or ctx's.
func (s *Source) Survey(ctx context.Context) (Survey, error) {
	s.metrics.begin(s.opts.Cluster)
	defer s.metrics.end(s.opts.Cluster)
	defer s.opts.Client.CloseIdleConnections()
	s.begin()
	interval := s.opts.Interval.Milliseconds()
	at := align(s.now().Add(-s.opts.Lag).UnixMilli(), interval)
	sp := span{from: at, step: interval, steps: 1}
	if f := s.probeAll(ctx, s.probes, at); f != nil {
		if ctx.Err() != nil {
			return Survey{}, context.Cause(ctx)
		}
		return Survey{}, s.sourceError("look for a signal pack", f)
	}
	out := Survey{At: sp.at(0), Signals: make([]SignalSurvey, len(s.queries))}
	for _, q := range s.queries { // Volumes come first: zeros are counted beside them.
		found, err := s.survey(ctx, q, sp)
		if err != nil {
			return Survey{}, err
		}
		out.Signals[q.number] = found
	}
	out.Packs = s.Status().Packs
	return out, nil
}

// survey counts what one query gives, and asks it.
func (s *Source) survey(ctx context.Context, q *query, sp span) (SignalSurvey, error) {
	out := SignalSurvey{Signal: q.Signal, Pack: q.Pack, State: Off}
	if q.probe != nil && !q.probe.found {
		out.Reason = "the source has no metrics of the pack"
		return out, nil
	}
	f := s.countSeries(ctx, q, sp, &out.Count)
	if f == nil {
		begin := time.Now()
		q.answer.reset(sp, maxInstant)
		f = s.api.ask(ctx, q.Expr, q.table, &q.answer)
		out.Took, out.Bytes = time.Since(begin), q.answer.bytes
	}
	q.fail = f
	switch {
	case ctx.Err() != nil:
		return out, context.Cause(ctx)
	case f != nil && final(f.result):
		return out, s.sourceError("count the series of "+q.Signal, f)
	case f != nil:
		out.State, out.Reason = Failing, f.reason
		return out, nil
	}
	if v := q.volume; v != nil && v.fail == nil && v.answer.span == sp {
		if err := q.table.zeros(&q.answer, &v.answer); err != nil {
			out.Reason = err.Error()
		}
	}
	out.State, out.Reason = q.state()
	out.Series = len(q.answer.refs)
	return out, nil
}

// countSeries has the source count the series of a query.
func (s *Source) countSeries(ctx context.Context, q *query, sp span, n *int) *failure {
	t := newTable(s.opts.Cluster, &Query{Service: []string{countedAs}}, series.NewRegistry(1))
	var a answer
	a.reset(sp, 1)
	f := s.api.ask(ctx, `label_replace(count(`+q.Expr+`), "`+countedAs+`", "all", "", "")`, t, &a)
	if f == nil && len(a.data) == 1 && !isAbsent(a.data[0]) {
		*n = int(a.data[0])
	}
	return f
}
