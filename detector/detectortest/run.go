package detectortest

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/series"
)

// Point is what became of one series at one instant.
type Point struct {
	At                     time.Time
	Observed               float64
	Score, News            float32 // NaN: none.
	Expected, Lower, Upper float64
}

// Answer is what an engine said to a script.
type Answer struct {
	Points   map[series.ID][]Point
	Services map[fleet.Service][]float32
	Findings []detector.Finding // Every report, in order.
}

// Instant is all that comes at one instant.
type Instant struct {
	At      time.Time
	History bool
	Values  map[series.ID]float64 // Without those that have no sample.
}

// Instants plays the script without an engine. It is the same each time.
func (s *Script) Instants() []Instant {
	var out []Instant
	jumps := make(map[int]time.Duration)
	for _, l := range s.Lives {
		n := 0
		for i := range l.segments {
			g := &l.segments[i]
			if g.jump {
				jumps[n] += g.length
				continue
			}
			n += int(g.length / s.Step)
		}
		for len(out) < n {
			out = append(out, Instant{Values: make(map[series.ID]float64)})
		}
	}
	at := s.Start
	for i := range out {
		at = at.Add(s.Step + jumps[i])
		out[i].At = at
	}
	for _, l := range s.Lives {
		l.play(s, out)
	}
	return out
}

// play puts the values of l into the instants.
func (l *Life) play(s *Script, out []Instant) {
	l.rng, l.drift = rand.New(rand.NewPCG(l.seed, 7)), 0
	kind := s.kind(l.ID.Signal)
	n := 0
	for i := range l.segments {
		g := &l.segments[i]
		if g.jump {
			continue
		}
		for k := range int(g.length / s.Step) {
			in := &out[n]
			in.History = in.History || g.history
			if v := l.value(g, in.At, time.Duration(k)*s.Step, s.Step, kind); !g.gap {
				in.Values[l.ID] = v
			}
			n++
		}
	}
}

func (s *Script) kind(signal string) detector.Kind {
	for _, x := range s.Signals {
		if x.Name == signal {
			return x.Kind
		}
	}
	return detector.Gauge
}

// Options returns options for an engine that writes what it says into the answer.
func (s *Script) Options(registry *series.Registry) (detector.Options, *Answer) {
	a := &Answer{Points: make(map[series.ID][]Point), Services: make(map[fleet.Service][]float32)}
	return detector.Options{
		Signals:  s.Signals,
		Registry: registry,
		Tuning:   s.Tuning,
		Report:   func(f detector.Finding) { a.Findings = append(a.Findings, f) },
		Scores: func(x *detector.Scores) {
			for i, ref := range x.Refs {
				id, _ := registry.ID(ref)
				a.Points[id] = append(a.Points[id],
					Point{x.At, x.Observed[i], x.Score[i], x.News[i], x.Expected[i], x.Lower[i], x.Upper[i]})
			}
		},
		Services: func(x *detector.ServiceScores) {
			for i, service := range x.Services {
				a.Services[service] = append(a.Services[service], x.Score[i])
			}
		},
	}, a
}

// Feed appends the instants to sink, one batch for each signal, the last one final.
func (s *Script) Feed(
	ctx context.Context, sink series.Sink, registry *series.Registry, instants []Instant,
) error {
	for i := range instants {
		in := &instants[i]
		for k, signal := range s.Signals {
			b := series.Batch{
				Cluster: Cluster, Signal: signal.Name, At: in.At, Step: s.Step,
				History: in.History, Final: k == len(s.Signals)-1,
			}
			for _, l := range s.Lives {
				v, ok := in.Values[l.ID]
				if !ok || l.ID.Signal != signal.Name {
					continue
				}
				ref, err := registry.Ref(l.ID)
				if err != nil {
					return err
				}
				b.Refs, b.Values = append(b.Refs, ref), append(b.Values, v)
			}
			if err := sink.Append(ctx, &b); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run plays the script to a new engine.
func (s *Script) Run(ctx context.Context) (*Answer, error) {
	registry := series.NewRegistry(0)
	opts, answer := s.Options(registry)
	engine, err := detector.New(opts)
	if err != nil {
		return nil, err
	}
	return answer, Drive(ctx, engine, func() error {
		return s.Feed(ctx, engine, registry, s.Instants())
	})
}

// Drive runs engine while f works, and returns when the engine has finished all that f appended.
func Drive(ctx context.Context, engine *detector.Engine, f func() error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- engine.Run(ctx) }()
	err := f()
	stop()
	if ran := <-done; err == nil {
		err = ran
	}
	return err
}

// Highest returns the highest score of a series and when it was.
func (a *Answer) Highest(id series.ID) (float32, time.Time) {
	best, at := float32(math.Inf(-1)), time.Time{}
	for _, p := range a.Points[id] {
		if p.Score > best {
			best, at = p.Score, p.At
		}
	}
	return best, at
}
