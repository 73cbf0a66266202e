package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"tocsin/app"
	"tocsin/cmd/fleetsim/sim"
	"tocsin/detector"
	"tocsin/series"
)

// options says what to run.
type options struct {
	clusters, services, signals, days int

	step         time.Duration
	budget       float64
	per          string
	faults       string // scripted, unscripted, or a file.
	seed         uint64
	releaseEvery time.Duration
	spikes, jobs float64

	progress io.Writer // Told of each day.
}

const aDay = 24 * time.Hour

// start is when the fleet begins: a Monday.
var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// columns names the shipped signals that the columns of sim.Signals stand for, in their order.
var columns = [...]string{
	"istio_requests", "istio_errors", "istio_latency_p50", "istio_latency_p99",
	"cpu", "memory_of_limit", "cpu_throttled", "unavailable_replicas",
}

func (o *options) validate() error {
	switch {
	case o.clusters < 1 || o.services < 1 || o.days < 2:
		return errors.New("want a cluster, a service and two days at least")
	case o.signals < 1 || o.signals > len(columns):
		return fmt.Errorf("signals: %d is not between 1 and %d", o.signals, len(columns))
	case o.step < time.Second || aDay%o.step != 0:
		return fmt.Errorf("step: %v does not divide a day", o.step)
	}
	return nil
}

// learning is the time at the beginning in which nothing is judged.
func (o *options) learning() time.Duration { return min(7*aDay, time.Duration(o.days)*aDay/2) }

// run runs a fleet. The same options give the same findings.
func run(ctx context.Context, o options) (*result, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	faults, err := o.script()
	if err != nil {
		return nil, err
	}
	simulated, err := sim.New(sim.Options{
		Clusters: o.clusters, Services: o.services, Seed: o.seed, Start: start, Faults: faults,
		ReleaseEvery: o.releaseEvery, Spikes: o.spikes, Jobs: o.jobs,
	})
	if err != nil {
		return nil, fmt.Errorf("make the fleet: %w", err)
	}
	r := &result{options: o}
	if r.generation, err = measureGeneration(simulated, o.step); err != nil {
		return nil, err
	}
	e, err := newEnsemble(simulated, &o, faults)
	if err != nil {
		return nil, err
	}
	if err := e.play(ctx, r); err != nil {
		return nil, err
	}
	return r, e.report(r)
}

// measureGeneration returns the nanoseconds of a processor that a value takes to be simulated.
func measureGeneration(f *sim.Fleet, step time.Duration) (float64, error) {
	names := f.Clusters()
	values, from := 0, cpuTime()
	for i := 0; i < len(names); i += max(len(names)/4, 1) {
		h, err := f.History(names[i], step)
		if err != nil {
			return 0, err
		}
		for at := step; at <= min(288*step, aDay); at += step {
			values += len(h.At(at).Services) * len(columns)
		}
	}
	return float64(cpuTime()-from) / float64(values), nil
}

// ensemble is all that takes part in a run.
type ensemble struct {
	options   *options
	metrics   *prometheus.Registry
	engine    *detector.Engine
	players   []*player
	witnesses map[string]*witness // By cluster.
}

// player sends the signals of one cluster.
type player struct {
	cluster string
	history *sim.History
	batches []series.Batch // By signal.
}

func newEnsemble(f *sim.Fleet, o *options, faults []sim.Fault) (*ensemble, error) {
	e := &ensemble{
		options: o, metrics: prometheus.NewRegistry(), witnesses: make(map[string]*witness),
	}
	registry := series.NewRegistry(0)
	detection, grouping, pages := app.DefaultDetection()
	for _, name := range f.Clusters() {
		p, err := newPlayer(f, name, registry, o)
		if err != nil {
			return nil, err
		}
		e.players = append(e.players, p)
		e.witnesses[name], err = newWitness(name, o, faults, grouping, pages)
		if err != nil {
			return nil, err
		}
	}
	detection.Budget.PagesPerWeek, detection.Budget.Per = o.budget, detector.Per(o.per)
	detection.Budget.Clusters, detection.Registry = o.clusters, registry
	detection.Reg = e.metrics
	detection.Scores = func(s *detector.Scores) { e.witnesses[s.Cluster].scores(s) }
	detection.Services = func(s *detector.ServiceScores) { e.witnesses[s.Cluster].instant(s.At) }
	detection.Report = func(f detector.Finding) { e.witnesses[f.Service.Cluster].find(f) }
	var err error
	e.engine, err = detector.New(detection)
	return e, err
}

func newPlayer(f *sim.Fleet, cluster string, r *series.Registry, o *options) (*player, error) {
	h, err := f.History(cluster, o.step)
	if err != nil {
		return nil, err
	}
	p := &player{cluster: cluster, history: h}
	services := h.At(o.step).Services
	for _, signal := range columns[:o.signals] {
		b := series.Batch{Cluster: cluster, Signal: signal, Step: o.step}
		for _, s := range services {
			ref, err := r.Ref(series.ID{Service: s, Signal: signal})
			if err != nil {
				return nil, err
			}
			b.Refs = append(b.Refs, ref)
		}
		p.batches = append(p.batches, b)
	}
	p.batches[o.signals-1].Final = true
	return p, nil
}

// play lets the days pass, all clusters of one before the next, as those that share a budget must.
func (e *ensemble) play(ctx context.Context, r *result) error {
	ctx, now := context.WithoutCancel(ctx), ctx // A day that has begun is played to its end.
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1) // Holds what Run returns.
	go func() { done <- e.engine.Run(running) }()
	r.restHeap, r.restMemory = heap(), memory()
	began, cpu := time.Now(), cpuTime()
	var err error
	for r.days = 0; r.days < e.options.days && now.Err() == nil && err == nil; r.days++ {
		err = e.day(ctx, time.Duration(r.days)*aDay)
		fmt.Fprintf(e.options.progress, "day %d of %d ended after %v\n", r.days+1, e.options.days,
			time.Since(began).Round(time.Second))
	}
	stop()
	err = errors.Join(err, <-done)
	r.wall, r.cpu, r.peakMemory = time.Since(began), cpuTime()-cpu, peakMemory()
	r.heap, r.models = heap(), e.modelBytes()
	return err
}

// heap returns the bytes that live, after it has given back all others.
func heap() int {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// modelBytes returns what the models take, which do not lie in the heap.
func (e *ensemble) modelBytes() int {
	families, err := e.metrics.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() == "tocsin_detector_model_bytes" {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	return 0
}

// day plays a day of all clusters, as many at a time as there are processors.
func (e *ensemble) day(ctx context.Context, from time.Duration) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range e.players {
		g.Go(func() error {
			for at := from + e.options.step; at <= from+aDay; at += e.options.step {
				if err := p.instant(ctx, e.engine, at); err != nil {
					return err
				}
			}
			e.engine.LastAt(p.cluster) // It waits until the day is judged.
			return nil
		})
	}
	return g.Wait()
}

// instant sends the values of the step that ends so long after the fleet's beginning.
func (p *player) instant(ctx context.Context, sink series.Sink, at time.Duration) error {
	values := p.history.At(at).Columns()
	for i := range p.batches {
		b := &p.batches[i]
		b.At, b.Values = start.Add(at), values[i].Values
		if err := sink.Append(ctx, b); err != nil {
			return err
		}
	}
	return nil
}
