package promql

import (
	"context"
	"slices"
	"time"

	"tocsin/series"
)

// probe finds out whether a source has use for the queries that share its expression.
type probe struct {
	expr   string
	table  *table
	asked  bool // It was answered at least once.
	found  bool
	reason string // Why it is not known.
}

// newProbes gives each query and each set for pods its probe; those with one expression share one.
func newProbes(queries []*query, p *pods, r *series.Registry) []*probe {
	var out []*probe
	of := func(expr string) *probe {
		if expr == "" {
			return nil
		}
		i := slices.IndexFunc(out, func(p *probe) bool { return p.expr == expr })
		if i < 0 {
			i = len(out)
			out = append(out, newProbe(expr, r))
		}
		return out[i]
	}
	for _, q := range queries {
		q.probe = of(q.Probe)
	}
	for _, set := range p.sets {
		set.probe = of(set.expr)
	}
	return out
}

// newProbe returns a probe of a table without labels that name services: nothing that it
// finds is registered.
func newProbe(expr string, r *series.Registry) *probe {
	return &probe{expr: expr, table: newTable("", &Query{}, r)}
}

// arrive asks until the source answers and there is something to ask it for. One that has
// just started may have no metrics yet.
func (s *Source) arrive(ctx context.Context) error {
	s.probeWait = s.opts.Interval
	for turn := 0; ; turn++ {
		probes := s.probes
		if len(probes) == 0 {
			// Another one each time: a query that fails must not hide that the source is there.
			expr := s.queries[turn%len(s.queries)].Expr
			probes = []*probe{newProbe(expr, s.opts.Registry)}
		}
		at := align(s.now().Add(-s.opts.Lag).UnixMilli(), s.opts.Interval.Milliseconds())
		wait := min(max(s.probeWait, time.Second), maxSilence)
		f := s.probeAll(ctx, probes, at)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case f != nil:
			wait = max(s.down.NextBackOff(), f.after)
		case len(s.active()) > 0:
			s.down.Reset()
			return nil
		}
		for ; wait > 0; wait -= glance {
			if err := sleep(ctx, min(wait, glance)); err != nil {
				return err
			}
			s.refresh()
		}
	}
}

// probeIfDue looks again for packs, between ticks, so that nothing waits for it: it ends when
// the next tick is due. What is new in a source may come soon after its start.
func (s *Source) probeIfDue(ctx context.Context, at int64) {
	if s.isDown || len(s.probes) == 0 || time.Now().Before(s.probeAt) {
		return
	}
	rest := s.due(at + s.opts.Interval.Milliseconds()).Sub(s.now())
	ctx, cancel := context.WithTimeoutCause(ctx, rest, errCut)
	defer cancel()
	_ = s.probeAll(ctx, s.probes, at) // The status says it; the next tick finds out by itself.
}

// probeAll asks probes one after the other. It ends with the first failure that others would
// share. A probe that is not answered leaves its packs as they were.
func (s *Source) probeAll(ctx context.Context, probes []*probe, at int64) *failure {
	defer s.notePacks()
	sp := span{from: at, step: s.opts.Interval.Milliseconds(), steps: 1}
	for _, p := range probes {
		f := s.look(ctx, p, sp)
		if f == nil || !f.ofSource() {
			s.reached()
			continue
		}
		if f.result != cut && ctx.Err() == nil {
			s.unreached(f)
		}
		return f
	}
	s.probeAt = time.Now().Add(s.probeWait)
	s.probeWait = min(2*s.probeWait, max(s.opts.ProbeEvery, s.opts.Interval))
	if len(s.active()) == 0 {
		s.probeWait = min(s.probeWait, maxSilence)
		s.idle()
	}
	return nil
}

// look asks a probe.
func (s *Source) look(ctx context.Context, p *probe, sp span) *failure {
	var a answer
	a.reset(sp, maxInstant)
	begin := time.Now()
	f := s.api.ask(ctx, p.expr, p.table, &a)
	s.metrics.duration.WithLabelValues(kindProbe).Observe(time.Since(begin).Seconds())
	result := answered
	switch {
	case f != nil:
		result, p.reason = f.result, f.reason
	case a.series == 0:
		result = nothing
		fallthrough
	default:
		p.asked, p.found, p.reason = true, a.series > 0, ""
	}
	s.metrics.queries.WithLabelValues(s.opts.Cluster, result.String()).Inc()
	return f
}

// notePacks shows which packs the source has, and that the queries of others are off.
func (s *Source) notePacks() {
	packs := []PackStatus{}
	for _, q := range s.queries {
		p := q.probe
		if p == nil {
			continue
		}
		reason := p.absence()
		packs = notePack(packs, q.Pack, p)
		switch state := s.state(q); {
		case !p.found && p.asked:
			s.note(q, Off, reason)
		case p.found && state == Off && q.fails == 0:
			s.note(q, Waiting, "")
		}
	}
	for _, set := range s.pods.sets {
		if set.probe != nil {
			packs = notePack(packs, set.pack, set.probe)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Packs = packs
}

// absence returns why a pack is not there, empty if it is.
func (p *probe) absence() string {
	switch {
	case p.reason != "" || p.found:
		return p.reason
	case !p.asked:
		return "not looked for yet"
	}
	return "the source has no metrics of it"
}

// notePack adds what a probe found out of a pack. One probe that found it is enough.
func notePack(packs []PackStatus, pack string, p *probe) []PackStatus {
	i := slices.IndexFunc(packs, func(have PackStatus) bool { return have.Pack == pack })
	if i < 0 {
		return append(packs, PackStatus{pack, p.found, p.absence()})
	}
	if p.found && !packs[i].Found {
		packs[i] = PackStatus{pack, true, ""}
	}
	return packs
}

func (s *Source) state(q *query) SignalState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.Signals[q.number].State
}
