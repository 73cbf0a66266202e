package promql

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"
)

// History is a part of a source's past that is to be replayed.
type History struct {
	From, To time.Time                      // Instants are the multiples of Step from From to To.
	Step     time.Duration                  // Whole intervals; Options.Interval.
	Progress func(at time.Time, values int) // Told after each stretch of time; nobody.
}

// Past says what a source had of the history that it was asked for. What it did not have is a gap,
// never a zero.
type Past struct {
	First, Last time.Time // Instants with a value; zero if there is none.
	Step        time.Duration
	Instants    int // With a value.
	Values      int
	Queries     int
	Bytes       int64 // Of the answers.
	Gaps        []Gap // In order of time: also before First, and after Last.
	Signals     []SignalPast
}

// Gap is a stretch of time of which a source has no value of any signal.
type Gap struct {
	From, To time.Time // The first and the last instant.
	Instants int
}

// SignalPast says what a source had of one signal.
type SignalPast struct {
	Signal string
	Pack   string
	State  SignalState // OK, MatchesNothing or Off.
	Absent bool        // It is off because the source has no metrics of its pack.
	Reason string
	Series int // The most services in one answer.
	Values int
}

// SourceError is why a source cannot be asked, and what to do about it.
type SourceError struct {
	Cluster string
	URL     string // Without a password.
	Doing   string
	Reason  string
	Advice  string
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("cluster %s: %s at %s: %s; %s", e.Cluster, e.Doing, e.URL, e.Reason, e.Advice)
}

// sourceError wraps a failure.
func (s *Source) sourceError(doing string, f *failure) *SourceError {
	return &SourceError{
		Cluster: s.opts.Cluster, URL: s.api.base.Redacted(), Doing: doing, Reason: f.reason,
		Advice: f.result.advice(),
	}
}

// advice says what a person can do about a failure.
func (r result) advice() string {
	switch r {
	case unauthorized:
		return "check the credentials of the cluster's prometheus section"
	case misdirected, malformed:
		return "check prometheus.url of the cluster: the address of the API, without /api/v1"
	case throttled:
		return "lower backfill.max_queries_per_second of the cluster, or come again later"
	case timedOut, failed, refused, cut:
		return "raise query_timeout of the cluster, or ask for longer steps"
	case badQuery:
		return "correct the query of the signal"
	case wrongClock:
		return "compare the clocks"
	}
	return "check prometheus.url of the cluster, that the server runs, and that it can be " +
		"reached from here"
}

const (
	maxAttempts = 3   // At one stretch, before its failure ends the replay.
	probePoints = 100 // At which packs are looked for.
	day         = 24 * time.Hour
)

// Replay hands a part of the source's past to the sink, instant by instant, as live ticks would
// have: the same queries at the same instants. It asks range queries, in order of time and no
// faster than Options.Backfill allows. None spans midnight UTC: sources of a fleet that wait for
// each other in Progress can so be kept to the same day. Unlike Run it gives up when the source
// does not answer: the error is a *SourceError then, or the sink's, or ctx's. It is called instead
// of Run.
func (s *Source) Replay(ctx context.Context, h History) (Past, error) {
	fill(&h.Step, s.opts.Interval)
	if h.Step < s.opts.Interval || h.Step%s.opts.Interval != 0 {
		return Past{}, fmt.Errorf("replay cluster %s by %s: want whole intervals of %s",
			s.opts.Cluster, h.Step, s.opts.Interval)
	}
	step := h.Step.Milliseconds()
	r := &replay{
		s: s, h: h, step: step, next: align(h.From.UnixMilli()+step-1, step),
		last: align(h.To.UnixMilli(), step), past: Past{Step: h.Step},
		limiter: rate.NewLimiter(rate.Limit(s.opts.Backfill.MaxQueries), 1),
	}
	r.longest = s.opts.Backfill.MaxPoints
	r.steps = min(firstSteps, r.longest)
	s.metrics.begin(s.opts.Cluster)
	defer s.metrics.end(s.opts.Cluster)
	defer s.opts.Client.CloseIdleConnections()
	defer s.release()
	s.begin()
	err := r.run(ctx)
	return r.result(), err
}

// Reach asks the source a single query, to find out whether it answers. The error is a
// *SourceError, or ctx's.
func (s *Source) Reach(ctx context.Context) error {
	interval := s.opts.Interval.Milliseconds()
	at := align(s.now().Add(-s.opts.Lag).UnixMilli(), interval)
	sp := span{from: at, step: interval, steps: 1}
	f := s.look(ctx, newProbe(s.queries[0].Expr, s.opts.Registry), sp)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case f != nil && f.ofSource():
		return s.sourceError("ask whether it answers", f)
	}
	return nil
}

// replay is a replay under way.
type replay struct {
	s       *Source
	h       History
	queries []*query
	limiter *rate.Limiter
	step    int64
	next    int64 // The first instant of the next stretch.
	last    int64 // The last instant of all.
	steps   int   // Of the next stretch,
	longest int   // and the most it may have.

	past    Past
	signals map[*query]*SignalPast
}

func (r *replay) run(ctx context.Context) error {
	s := r.s
	r.signals = make(map[*query]*SignalPast, len(s.queries))
	for _, q := range s.queries {
		r.signals[q] = &SignalPast{
			Signal: q.Signal, Pack: q.Pack, State: MatchesNothing, Reason: "no series",
		}
	}
	if r.next > r.last {
		return nil
	}
	if err := r.findPacks(ctx); err != nil {
		return err
	}
	for r.next <= r.last && len(r.queries) > 0 {
		sp := span{from: r.next, step: r.step, steps: int(min(int64(r.steps), r.today()))}
		again, err := r.read(ctx, sp)
		switch {
		case err != nil:
			return err
		case again:
			continue
		}
		if err := r.feed(ctx, sp); err != nil {
			return err
		}
		r.next = sp.to() + r.step
		r.plan()
		if r.next > r.last || r.next/day.Milliseconds() != sp.to()/day.Milliseconds() {
			s.release() // Nobody knows how long Progress blocks.
		}
		if r.h.Progress != nil {
			r.h.Progress(sp.at(sp.steps-1), r.past.Values)
		}
	}
	return nil
}

// today returns how many instants are left of the day.
func (r *replay) today() int64 {
	end := min(align(r.next, day.Milliseconds())+day.Milliseconds()-1, r.last)
	return (end-r.next)/r.step + 1
}

// findPacks looks for the packs in the whole stretch of time: one that has come or gone meanwhile
// counts.
func (r *replay) findPacks(ctx context.Context) error {
	s := r.s
	every := max((r.last-r.next)/probePoints/r.step, 1) * r.step
	sp := span{from: r.next, step: every, steps: int((r.last-r.next)/every) + 1}
	for _, p := range s.probes {
		err := r.attempt(ctx, "look for a signal pack", func() *failure {
			if err := r.limiter.Wait(ctx); err != nil {
				return explain(ctx, err)
			}
			r.past.Queries++
			return s.look(ctx, p, sp)
		})
		if err != nil {
			return err
		}
	}
	for _, q := range s.queries {
		if q.probe == nil || q.probe.found {
			r.queries = append(r.queries, q)
			continue
		}
		st := r.signals[q]
		st.State, st.Absent, st.Reason = Off, true, "the source has no metrics of the pack"
	}
	return nil
}

// attempt does something until it does not fail, a few times.
func (r *replay) attempt(ctx context.Context, doing string, do func() *failure) error {
	wait := calm
	for n := 1; ; n++ {
		f := do()
		switch {
		case f == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case n == maxAttempts, !f.passing():
			return r.s.sourceError(doing, f)
		}
		if err := sleep(ctx, max(wait, f.after)); err != nil {
			return err
		}
		wait *= 2
	}
}

// passing reports whether the same query may be answered a little later.
func (f *failure) passing() bool {
	switch f.result {
	case badQuery, unauthorized, misdirected, wrongClock:
		return false
	}
	return true
}

// result returns what the source had, with the signals in the order of the options.
func (r *replay) result() Past {
	out := r.past
	for _, q := range r.s.queries {
		if r.signals[q] != nil {
			out.Signals = append(out.Signals, *r.signals[q])
		}
	}
	slices.SortFunc(out.Signals, func(a, b SignalPast) int {
		return r.s.order(a.Signal) - r.s.order(b.Signal)
	})
	return out
}

// order returns which of Options.Queries asks for a signal.
func (s *Source) order(signal string) int {
	return slices.IndexFunc(s.opts.Queries, func(q Query) bool { return q.Signal == signal })
}
