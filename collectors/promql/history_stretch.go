package promql

import (
	"context"
	"slices"
)

// read asks all queries for a stretch. It returns true if that is too much at once: a shorter one
// is to be asked for.
func (r *replay) read(ctx context.Context, sp span) (again bool, err error) {
	tooLong := false
	err = r.attempt(ctx, "ask for history", func() *failure {
		rd := &round{
			s: r.s, span: sp, kind: kindRange, queries: r.queries,
			maxData: r.s.opts.Backfill.MaxValues, brief: true,
			pace:    func(ctx context.Context, _ int) error { return r.limiter.Wait(ctx) },
			deliver: func(*query) error { return nil },
		}
		if err := rd.run(ctx); err != nil {
			return explain(ctx, err)
		}
		var f *failure
		f, tooLong = r.examine(sp)
		return f
	})
	if err == nil && tooLong {
		r.longest = max(sp.steps/2, 1)
		r.steps = r.longest
	}
	return tooLong, err
}

// examine decides what the failures of a round mean: that the stretch is too long, or that it is
// to be tried again because of one of them. A query that the source does not understand is left
// out from now on, as live ticks would leave it out.
func (r *replay) examine(sp span) (worst *failure, tooLong bool) {
	for _, q := range r.queries {
		f := q.fail
		if f != nil && !f.unasked {
			r.past.Queries++
		}
		switch {
		case f == nil:
			r.past.Queries++
			r.past.Bytes += q.answer.bytes
		case f.result == badQuery:
			r.signals[q].State, r.signals[q].Reason = Off, f.reason
		case tooMuch(f.result) && sp.steps > 1:
			return nil, true
		case worst == nil || worst.unasked:
			worst = f
		}
	}
	r.queries = slices.DeleteFunc(r.queries, func(q *query) bool {
		return q.fail != nil && q.fail.result == badQuery
	})
	return worst, false
}

// feed hands the instants of a stretch to the sink. One without any value is a gap: a source that
// is down closes nothing, and neither does its past.
func (r *replay) feed(ctx context.Context, sp span) error {
	s := r.s
	for i := range sp.steps {
		values := 0
		for _, q := range r.queries {
			b := q.batch(&s.opts, r.h.Step, false)
			q.answer.batch(&b, i, &s.scratch)
			values += len(b.Refs)
			if err := s.append(ctx, &b); err != nil {
				return err
			}
		}
		if values == 0 {
			r.miss(sp, i)
			continue
		}
		if err := s.closeInstant(ctx, sp, i, false); err != nil {
			return err
		}
		r.past.Values += values
		r.past.Instants++
		r.past.Last = sp.at(i)
		if r.past.First.IsZero() {
			r.past.First = r.past.Last
		}
	}
	r.count()
	return nil
}

// miss notes an instant of which the source has nothing.
func (r *replay) miss(sp span, i int) {
	at := sp.at(i)
	if n := len(r.past.Gaps); n > 0 && r.past.Gaps[n-1].To.Add(r.h.Step).Equal(at) {
		r.past.Gaps[n-1].To = at
		r.past.Gaps[n-1].Instants++
		return
	}
	r.past.Gaps = append(r.past.Gaps, Gap{From: at, To: at, Instants: 1})
}

// count adds what a stretch had of each signal.
func (r *replay) count() {
	for _, q := range r.queries {
		st := r.signals[q]
		st.Series = max(st.Series, len(q.answer.refs))
		st.Values += q.answer.values
		switch state, reason := q.state(); {
		case state == OK && (st.State != OK || reason != ""):
			st.State, st.Reason = OK, reason
		case st.State != OK:
			st.State, st.Reason = state, reason
		}
	}
}

// plan decides how long the next stretch is: as long as the memory for values allows.
func (r *replay) plan() {
	rows := 0
	for _, q := range r.queries {
		rows += len(q.answer.refs)
	}
	switch {
	case r.past.Instants == 0:
		r.steps = r.longest // Before its history begins, answers are short.
	case rows == 0:
		r.steps = min(blindSteps, r.longest)
	default:
		r.steps = min(max(r.s.opts.Backfill.MaxValues/rows, 1), r.longest)
	}
}
