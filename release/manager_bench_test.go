package release_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/release"
)

// herd is many releases of one cluster at once, each of ten old pods and two new ones.
type herd struct {
	manager *release.Manager
	keys    []release.Key
	now     time.Time
	samples []release.Sample
}

func newHerd(b *testing.B, releases int) *herd {
	b.Helper()
	m, err := release.NewManager(release.ManagerOptions{Report: func(release.Event) {}})
	if err != nil {
		b.Fatal(err)
	}
	h := &herd{manager: m, now: noon}
	bounds := []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, math.Inf(1)}
	for i := range releases {
		k := release.Key{
			Service:  fleet.Service{Cluster: "eu", Namespace: "prod", Name: fmt.Sprintf("shop-%d", i)},
			Workload: fleet.Deployment,
		}
		h.keys = append(h.keys, k)
		c := rollout(k, 0, "a", "b")
		c.ID = k.Service.Name
		m.Change(c)
		for pod := range 12 {
			name := fmt.Sprintf("%s-%s-%d", k.Service.Name, []string{"a", "b"}[pod/10], pod%10)
			h.samples = append(h.samples, release.Sample{
				Service: k.Service, Pod: name, MemoryLimit: 1e9,
				Bounds: bounds, Latency: make([]float64, 12),
			})
		}
	}
	return h
}

func (h *herd) progress(k release.Key) release.Progress {
	p := release.Progress{Key: k, At: h.now, UID: "u1", Strategy: release.RollingUpdate, Desired: 12}
	p.Old = release.Side{Hash: "a", Created: 10, Ready: 10, Available: 10}
	p.New = release.Side{Hash: "b", Created: 2, Ready: 2, Available: 2}
	for i := range 10 {
		p.Old.Pods = append(p.Old.Pods, release.Pod{
			Name: fmt.Sprintf("%s-a-%d", k.Service.Name, i), Ready: true, Started: noon.Add(-time.Hour),
		})
	}
	for i := range 2 {
		p.New.Pods = append(p.New.Pods, release.Pod{
			Name: fmt.Sprintf("%s-b-%d", k.Service.Name, i), Ready: true, Started: noon,
		})
	}
	return p
}

// tick is one of the daemon: looks, wants, samples, verdicts.
func (h *herd) tick() {
	h.now = h.now.Add(15 * time.Second)
	for i := range h.keys {
		h.manager.Observe(h.progress(h.keys[i]))
	}
	wants := h.manager.Wanted("eu", h.now)
	seconds := h.now.Unix()
	for i := range h.samples {
		s := &h.samples[i]
		n := float64(60 + (int(seconds)/15*7+i*13)%17)
		s.Requests += n
		s.Errors += float64((int(seconds)/15 + i) % 2)
		s.CPUSeconds += n / 100
		s.MemoryBytes = 3e8 + n
		for k := range s.Latency {
			s.Latency[k] += n * math.Min(float64(k)/8, 1)
		}
	}
	h.manager.Sample("eu", h.now, h.samples)
	for i := range wants {
		h.manager.Fetched(wants[i].Release, wants[i].Until)
	}
	h.manager.Advance("eu", h.now)
}

// BenchmarkManagerTick is one tick of 15 s for 500 releases at once, twenty minutes after their
// start.
func BenchmarkManagerTick(b *testing.B) {
	h := newHerd(b, 500)
	for range 80 {
		h.tick()
	}
	b.ReportAllocs()
	for b.Loop() {
		h.tick()
	}
}
