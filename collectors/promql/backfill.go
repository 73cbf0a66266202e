package promql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

const (
	firstSteps  = 64   // Of the first stretch, whose cost is not known.
	fewestSteps = 16   // Shorter stretches cost more in queries than they save.
	blindSteps  = 1024 // While no series was seen.
	maxSplits   = 3    // How often a stretch that is too much for the source is halved.
)

var errBudget = errors.New("the time for it was over")

// backfill reads the source's history in order of time, a stretch of all signals after the
// other, each by range queries, and hands it to the sink instant by instant.
//
// Live ticks wait for it, since the sink takes no older instant after a newer one. So it has a
// budget of time, and what must go goes from the old end: after each stretch the cost of the
// rest is estimated from what this one took, and the next begins so late that it all fits.
// A stretch is as long as the memory for its values, the source's limit of points and the
// rate of queries allow. The first is short and is thrown away if the window shrinks past it.
type backfill struct {
	s       *Source
	queries []*query
	limiter *rate.Limiter
	end     time.Time // Of the budget.
	step    int64
	next    int64 // The first instant of the next stretch.
	last    int64 // The last instant of all.
	steps   int   // Of the next stretches.
	splits  int

	perStep cost // Of the newest stretch.
}

// cost is what one instant of history takes.
type cost struct {
	ask  time.Duration // The source, and the way from it.
	feed time.Duration // The sink.
}

// backfill reads what the sink does not have of Backfill.Window. An outage that short that it
// is caught up is left to the first tick: what happened in it may be news.
func (s *Source) backfill(ctx context.Context) error {
	o := &s.opts.Backfill
	step := o.Step.Milliseconds()
	last := align(s.now().Add(-s.opts.Lag).UnixMilli(), step)
	first := align(last-o.Window.Milliseconds(), step) + step
	if s.last > 0 {
		if last-s.last <= s.opts.CatchUp.Milliseconds() {
			first = last + step
		}
		first = max(first, align(s.last, step)+step)
	}
	if o.Window == 0 || first > last {
		s.metrics.backfill.WithLabelValues(s.opts.Cluster).Set(1)
		return nil
	}
	s.enter(Backfilling)
	b := &backfill{
		s: s, queries: s.active(), limiter: rate.NewLimiter(rate.Limit(o.MaxQueries), 1),
		end: time.Now().Add(o.Budget), step: step, next: first, last: last,
		steps: min(firstSteps, o.MaxPoints),
	}
	s.mu.Lock()
	s.status.Backfill = &BackfillStatus{
		From: time.UnixMilli(first).UTC(), To: time.UnixMilli(last).UTC(),
	}
	s.mu.Unlock()
	s.logger.Info("Backfill begins", "from", s.status.Backfill.From, "to", s.status.Backfill.To)
	err := b.run(ctx)
	s.release()
	if err == nil {
		b.done()
	}
	return err
}

// run reads stretch after stretch until all is read or the budget is spent. The error is the
// sink's or ctx's.
func (b *backfill) run(ctx context.Context) error {
	budget, cancel := context.WithDeadlineCause(ctx, b.end, errBudget)
	defer cancel()
	for first := true; b.next <= b.last && len(b.queries) > 0; {
		left := (b.last-b.next)/b.step + 1
		sp := span{from: b.next, step: b.step, steps: int(min(int64(b.steps), left))}
		again, err := b.stretch(ctx, budget, sp, first)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case budget.Err() != nil:
			b.limit("it ends early: " + errBudget.Error())
			return nil
		}
		first = first && again
	}
	return nil
}

// stretch reads one stretch and hands it on. It returns true if it must be tried again.
func (b *backfill) stretch(ctx, budget context.Context, sp span, first bool) (bool, error) {
	if gate := b.s.opts.Backfill.Gate; gate != nil {
		select {
		case gate <- struct{}{}:
			defer func() { <-gate }()
		case <-budget.Done():
			return true, nil
		}
	}
	if !b.read(budget, sp) {
		return true, nil
	}
	b.plan()
	if first && b.next > sp.to() {
		return false, nil // The window begins later by now.
	}
	begin := time.Now()
	if err := b.s.feed(ctx, sp, b.queries, true); err != nil {
		return false, err
	}
	b.perStep.feed = time.Since(begin) / time.Duration(sp.steps)
	b.progress(sp)
	b.next = max(b.next, sp.to()+b.step)
	b.shrink()
	return false, nil
}

// read asks all queries for a stretch. It returns false if the stretch must be tried again.
func (b *backfill) read(ctx context.Context, sp span) bool {
	s := b.s
	r := &round{
		s: s, span: sp, kind: kindRange, queries: b.queries, maxData: s.opts.Backfill.MaxValues,
		brief:   true,
		pace:    func(ctx context.Context, _ int) error { return b.limiter.Wait(ctx) },
		deliver: func(*query) error { return nil },
	}
	if err := r.run(ctx); err != nil || ctx.Err() != nil {
		return false
	}
	answers, fault := tally(b.queries)
	if answers == 0 && fault != nil {
		if tooMuch(fault.result) && b.split(sp) {
			return false
		}
		wait := calm // The budget ends before the next query may start.
		if !fault.unasked {
			s.unreached(fault)
			wait = max(s.down.NextBackOff(), fault.after)
		}
		_ = sleep(ctx, wait) // Whoever calls looks at ctx.
		return false
	}
	s.down.Reset()
	s.reached()
	for _, q := range b.queries {
		s.conclusion(q, time.Now())
		if q.fail != nil && q.fail.result != badQuery {
			q.retry = time.Time{} // It is asked for the next stretch in any case.
		}
		if q.fail != nil && tooMuch(q.fail.result) && b.split(sp) {
			return false
		}
	}
	b.queries = slices.DeleteFunc(b.queries, func(q *query) bool {
		return q.fail != nil && q.fail.result == badQuery
	})
	lone, busy := r.lone, r.busy.Load()
	atOnce := int64(max(min(s.opts.Concurrency, len(b.queries)-1), 1))
	b.perStep.ask = time.Duration((lone + (busy-lone)/atOnce) / int64(sp.steps))
	return true
}

// tooMuch reports whether a shorter stretch may be answered.
func tooMuch(r result) bool { return r == timedOut || r == failed || r == refused }

// split makes the next stretches shorter, and returns false if that has not helped.
func (b *backfill) split(sp span) bool {
	if b.splits == maxSplits || sp.steps/2 < fewestSteps {
		return false
	}
	b.splits++
	b.steps = sp.steps / 2
	return true
}

// plan decides how long the next stretches are: as long as the memory for values allows.
func (b *backfill) plan() {
	o := &b.s.opts.Backfill
	rows := 0
	for _, q := range b.queries {
		rows += len(q.answer.refs)
	}
	if b.splits == 0 {
		b.steps = min(blindSteps, o.MaxPoints)
		if rows > 0 {
			b.steps = min(max(o.MaxValues/rows, fewestSteps), o.MaxPoints)
		}
	}
	b.shrink()
}

// shrink makes the rest of the window begin so late that it fits into what is left of the
// budget, if it does not fit as it is.
func (b *backfill) shrink() {
	o := &b.s.opts.Backfill
	pace := time.Duration(float64(len(b.queries)) / o.MaxQueries * float64(time.Second))
	each := max(b.perStep.ask*time.Duration(b.steps), pace) +
		b.perStep.feed*time.Duration(b.steps)
	left := max(time.Until(b.end), 0) * 9 / 10
	rest := (b.last-b.next)/b.step + 1
	need := time.Duration((rest+int64(b.steps)-1)/int64(b.steps)) * max(each, 1)
	if rest <= 0 || need <= left {
		return
	}
	fit := int64(left/max(each, 1)) * int64(b.steps)
	if fit == 0 && pace < left {
		// Not a whole stretch, but a shorter one.
		fit = int64((left - pace) / max(b.perStep.ask+b.perStep.feed, 1))
	}
	if fit >= rest {
		return
	}
	earliest := b.last - fit*b.step + b.step
	b.limit(fmt.Sprintf("what lies between %s and %s did not fit into %s",
		time.UnixMilli(b.next).UTC().Format(time.RFC3339),
		time.UnixMilli(earliest-b.step).UTC().Format(time.RFC3339), o.Budget))
	b.next = earliest
}

// limit says why less is read than was wanted.
func (b *backfill) limit(reason string) {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.status.Backfill.Reason = reason
}

// progress shows that a stretch was handed on.
func (b *backfill) progress(sp span) {
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status.Backfill
	st.At = sp.at(sp.steps - 1)
	for _, q := range b.queries {
		if q.fail == nil {
			st.Values += q.answer.values
		}
	}
	all := st.To.Sub(st.From) + time.Duration(b.step)*time.Millisecond
	st.Ratio = 1 - float64(st.To.Sub(st.At))/float64(all)
	s.metrics.backfill.WithLabelValues(s.opts.Cluster).Set(st.Ratio)
}

// done shows that live ticks begin.
func (b *backfill) done() {
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status.Backfill
	st.Done = true
	s.metrics.backfill.WithLabelValues(s.opts.Cluster).Set(1)
	s.logger.Info("Backfill ends", "at", st.At, "values", st.Values, "reason", st.Reason)
}
