package sim

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkHistory measures one minute of a cluster of 200 services with 8 signals.
func BenchmarkHistory(b *testing.B) {
	h, err := newFleet(b, Options{Clusters: 1, Services: 200}).History("east", time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	at := time.Duration(0)
	for b.Loop() {
		at += time.Minute
		h.At(at)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200/8, "ns/value")
}

// BenchmarkStep measures one second of a cluster.
func BenchmarkStep(b *testing.B) {
	f := newFleet(b, Options{Clusters: 1, Services: 200})
	at := time.Duration(0)
	for b.Loop() {
		at += time.Second
		advance(b, f, at)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/800, "ns/pod")
}

// BenchmarkGather measures a scrape before it is written.
func BenchmarkGather(b *testing.B) {
	for _, services := range []int{20, 200} {
		b.Run(fmt.Sprintf("services=%d", services), func(b *testing.B) {
			f := newFleet(b, Options{Clusters: 1, Services: services})
			advance(b, f, 10*time.Second)
			for b.Loop() {
				f.clusters[0].gather(f)
			}
		})
	}
}
