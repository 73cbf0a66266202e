package app

import (
	"math"
	"time"

	"tocsin/detector"
	"tocsin/series"
)

const (
	leadTime   = time.Hour        // Of a trace, before its finding opens,
	leadPoints = 60               // in so many points at most.
	tailTime   = 15 * time.Minute // After it is resolved.
	maxTrace   = 512              // Points; then every other one is given up.
	maxTraces  = 4096             // Of one cluster.
	maxPlots   = 3                // Of one incident.
)

// Trace is what one series did around a finding.
type Trace struct {
	ID       series.ID
	Unit     string
	Kind     detector.Kind
	Start    time.Time // Of the finding.
	Opened   time.Time
	Resolved time.Time // Zero: it was open at the end.
	// The score that opened it.
	Threshold float64
	Points    []TracePoint
}

// TracePoint is one value of a series and what was thought of it. NaN: nothing.
type TracePoint struct {
	At                               int64 // Unix milliseconds.
	Score                            float32
	Observed, Expected, Lower, Upper float32
}

// tracer keeps the newest points of every series, thinned out, so that a finding can be shown with
// what led to it, and all points while it is open. It costs 1.9 kB for each series.
type tracer struct {
	registry *series.Registry
	stride   int // Ticks between the points of leads.
	tail     int // Points after the end.

	signals  map[string]*traced
	ended    map[string]*Trace // By the finding's ID.
	count    int
	untraced int // Findings beyond maxTraces.
}

// traced is what is kept of one signal.
type traced struct {
	ticks  int
	leads  map[series.Ref]*lead
	active map[series.Ref]*tracing
}

// lead is the newest points of a series.
type lead struct {
	next   int // Where the next point goes, round and round.
	points [leadPoints]TracePoint
}

// tracing is a trace that goes on.
type tracing struct {
	*Trace
	finding string
	kept    int // Points of Trace that are older than the finding.
	stride  int // Ticks for each point,
	ticks   int // and how many have passed since the last.
	left    int // Points to come after the end; 0: the finding is open.
}

func newTracer(step time.Duration, registry *series.Registry) *tracer {
	stride := max(int(leadTime/leadPoints/step), 1)
	return &tracer{
		registry: registry, stride: stride,
		tail:    max(int(tailTime/(time.Duration(stride)*step)), 6),
		signals: make(map[string]*traced), ended: make(map[string]*Trace),
	}
}

func (t *tracer) signal(name string) *traced {
	s := t.signals[name]
	if s == nil {
		s = &traced{leads: make(map[series.Ref]*lead), active: make(map[series.Ref]*tracing)}
		t.signals[name] = s
	}
	return s
}

// scores implements detector.Options.Scores.
func (t *tracer) scores(s *detector.Scores) {
	kept := t.signal(s.Signal)
	kept.ticks++
	keep := kept.ticks%t.stride == 0
	if !keep && len(kept.active) == 0 {
		return
	}
	at := s.At.UnixMilli()
	for i, ref := range s.Refs {
		n := kept.active[ref]
		if n == nil && !keep {
			continue
		}
		p := TracePoint{
			At: at, Score: s.Score[i], Observed: float32(s.Observed[i]), Expected: float32(s.Expected[i]),
			Lower: float32(s.Lower[i]), Upper: float32(s.Upper[i]),
		}
		if n != nil && n.follow(p) {
			t.end(kept, ref)
		}
		if keep {
			l := kept.leads[ref]
			if l == nil {
				l = &lead{}
				kept.leads[ref] = l
			}
			l.points[l.next%leadPoints] = p
			l.next++
		}
	}
}

// find takes a report of a finding. It returns true if it opens.
func (t *tracer) find(f *detector.Finding) bool {
	ref, err := t.registry.Ref(series.ID{Service: f.Service, Signal: f.Signal})
	if err != nil {
		return false // It was forgotten, and there is no room any more.
	}
	kept := t.signal(f.Signal)
	now := kept.active[ref]
	switch {
	case now != nil && now.finding == f.ID:
		if f.State == detector.Resolved {
			now.Resolved, now.left, now.stride = f.End, t.tail, max(now.stride, t.stride)
		}
		return false
	case f.State == detector.Resolved:
		return false // It opened before the start.
	case now != nil: // The next one begins while the last one fades.
		t.end(kept, ref)
	}
	if t.count++; t.count > maxTraces {
		t.untraced++
		return true
	}
	kept.active[ref] = newTracing(f, kept.leads[ref])
	return true
}

// newTracing begins with what led to a finding; nothing, if lead is nil.
func newTracing(f *detector.Finding, lead *lead) *tracing {
	n := &tracing{
		finding: f.ID, stride: 1,
		Trace: &Trace{
			ID:   series.ID{Service: f.Service, Signal: f.Signal},
			Unit: f.Unit, Kind: f.Kind, Start: f.Start, Opened: f.At, Threshold: f.Threshold,
		},
	}
	at := f.At.UnixMilli()
	if lead != nil {
		for i := max(lead.next-leadPoints, 0); i < lead.next; i++ {
			p := lead.points[i%leadPoints]
			if p.At < at && at-p.At <= 2*leadTime.Milliseconds() {
				n.Points = append(n.Points, p)
			}
		}
	}
	n.kept = len(n.Points)
	n.Points = append(n.Points, TracePoint{
		At: at, Score: float32(f.Score), Observed: float32(f.Observed), Expected: float32(f.Expected),
		Lower: float32(f.Lower), Upper: float32(f.Upper),
	})
	return n
}

// follow adds a point to a trace. It returns true if that was the last one.
func (n *tracing) follow(p TracePoint) bool {
	if n.ticks++; n.ticks < n.stride {
		return false
	}
	n.ticks = 0
	n.Points = append(n.Points, p)
	if len(n.Points) > maxTrace {
		n.thin()
	}
	if n.left > 0 {
		n.left--
		return n.left == 0
	}
	return false
}

// thin keeps, of each two points since the finding opened, the one with the higher score.
func (n *tracing) thin() {
	out := n.Points[:n.kept]
	for i := n.kept; i < len(n.Points); i += 2 {
		p := n.Points[i]
		if i+1 < len(n.Points) && !(p.Score >= n.Points[i+1].Score) {
			p = n.Points[i+1]
		}
		out = append(out, p)
	}
	n.Points = out
	n.stride *= 2
}

// end puts a trace away.
func (t *tracer) end(kept *traced, ref series.Ref) {
	t.ended[kept.active[ref].finding] = kept.active[ref].Trace
	delete(kept.active, ref)
}

// of returns the traces of the worst findings of an incident.
func (t *tracer) of(b *BacktestIncident) []*Trace {
	for _, kept := range t.signals { // Those that have not ended yet.
		for ref := range kept.active {
			t.end(kept, ref)
		}
	}
	var out []*Trace
	for i := range b.Findings {
		if tr := t.ended[b.Findings[i].ID]; tr != nil && len(out) < maxPlots {
			out = append(out, tr)
		}
	}
	return out
}

// finite reports whether v can be drawn.
func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
