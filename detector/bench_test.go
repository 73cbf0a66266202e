package detector_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/series"
)

// benchFleet is a fleet whose every service has every signal.
type benchFleet struct {
	engine  *detector.Engine
	reg     *prometheus.Registry
	batches [][]series.Batch // By cluster and signal.
	at      time.Time
}

func newBenchFleet(b *testing.B, clusters, services, signals int) *benchFleet {
	b.Helper()
	registry := series.NewRegistry(0)
	rng := rand.New(rand.NewPCG(1, 1))
	kinds := []detector.Kind{detector.Rate, detector.Ratio, detector.Latency, detector.Saturation}
	var of []detector.Signal
	for i := range signals {
		of = append(of, detector.Signal{
			Name: fmt.Sprintf("signal%d", i), Kind: kinds[i%len(kinds)], Bad: detector.Up,
		})
	}
	f := &benchFleet{at: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), reg: prometheus.NewRegistry()}
	var err error
	f.engine, err = detector.New(detector.Options{
		Signals: of, Registry: registry, Inbox: clusters * signals,
		Scores: func(*detector.Scores) {}, Services: func(*detector.ServiceScores) {}, Reg: f.reg,
	})
	if err != nil {
		b.Fatal(err)
	}
	for c := range clusters {
		name := fmt.Sprintf("cluster%d", c)
		var batches []series.Batch
		for i, s := range of {
			x := series.Batch{Cluster: name, Signal: s.Name, Step: 15 * time.Second, Final: i == signals-1}
			for k := range services {
				ref, err := registry.Ref(series.ID{
					Signal:  s.Name,
					Service: fleet.Service{Cluster: name, Namespace: "shop", Name: fmt.Sprintf("service%d", k)},
				})
				if err != nil {
					b.Fatal(err)
				}
				x.Refs, x.Values = append(x.Refs, ref), append(x.Values, 0.5+0.1*rng.Float64())
			}
			batches = append(batches, x)
		}
		f.batches = append(f.batches, batches)
	}
	return f
}

// tick sends one instant of the whole fleet and waits until it is judged.
func (f *benchFleet) tick(b *testing.B) {
	f.at = f.at.Add(15 * time.Second)
	for _, cluster := range f.batches {
		for i := range cluster {
			cluster[i].At = f.at
			if err := f.engine.Append(context.Background(), &cluster[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, cluster := range f.batches[:min(len(f.batches), 64)] { // Enough to meet every shard.
		f.engine.LastAt(cluster[0].Cluster)
	}
}

// BenchmarkTick480k is one instant of 300 clusters with 200 services with 8 signals, from batches
// to scores.
func BenchmarkTick480k(b *testing.B) {
	const clusters, services, signals = 300, 200, 8
	values := float64(clusters * services * signals)
	before := heap()
	f := newBenchFleet(b, clusters, services, signals)
	fed := heap()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.engine.Run(ctx) }()
	for range 80 { // Until all are warm.
		f.tick(b)
	}
	b.ReportAllocs()
	for b.Loop() {
		f.tick(b)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/values, "ns/value")
	b.ReportMetric((float64(heap()-fed)+f.modelBytes(b))/values, "state-bytes/series")
	b.ReportMetric(float64(fed-before)/values, "feed-bytes/series")
	stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// modelBytes returns what the models take outside of the heap.
func (f *benchFleet) modelBytes(b *testing.B) float64 {
	b.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		b.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "tocsin_detector_model_bytes" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	b.Fatal("no metric of the models' memory")
	return 0
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSnapshot writes all that 48,000 series have taught.
func BenchmarkSnapshot(b *testing.B) {
	f := newBenchFleet(b, 30, 200, 8)
	for range 3 {
		f.tick(b)
	}
	dir := b.TempDir()
	for b.Loop() {
		if err := f.engine.Snapshot(context.Background(), dir); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/48000, "ns/series")
}
