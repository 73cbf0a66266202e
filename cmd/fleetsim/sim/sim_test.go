package sim

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// calm has no releases, spikes and jobs: what a test sees is what it asked for.
var calm = Options{
	Clusters: 1, Services: 6, ReleaseEvery: -1, Spikes: -1, Jobs: -1,
	Start: time.Date(2026, 1, 7, 14, 0, 0, 0, time.UTC),
}

func newFleet(t testing.TB, opts Options) *Fleet {
	t.Helper()
	f, err := New(opts)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return f
}

func advance(t testing.TB, f *Fleet, to time.Duration) {
	t.Helper()
	if err := f.Advance(t.Context(), to); err != nil {
		t.Fatalf("Advance: %v", err)
	}
}

func TestSameSeedSameFleet(t *testing.T) {
	opts := Options{
		Clusters:     2,
		Services:     12,
		TimeScale:    500,
		ReleaseEvery: 48 * time.Hour,
		Autoscale:    true,
		Faults: []Fault{
			{Kind: PodCrash, Service: "cart"},
			{Kind: Leak, Service: "search", PerMinute: 0.3},
		},
	}
	straight, stumbling := newFleet(t, opts), newFleet(t, opts)
	const end = 400*time.Second + 300*time.Millisecond
	advance(t, straight, end)
	for at := time.Duration(0); at < end; at += 7777 * time.Millisecond {
		advance(t, stumbling, at)
		page1(t, stumbling, "west")
	}
	advance(t, stumbling, end)
	for _, cluster := range []string{"east", "west"} {
		if page1(t, straight, cluster) != page1(t, stumbling, cluster) {
			t.Errorf("%s differs by when it was asked", cluster)
		}
	}
	opts.Seed = 7
	other := newFleet(t, opts)
	advance(t, other, end)
	if page1(t, straight, "east") == page1(t, other, "east") {
		t.Error("fleets of different seeds are the same")
	}
}

func TestCountersNeverFall(t *testing.T) {
	opts := calm
	opts.Services, opts.Exporters = 20, Exporters()
	f := newFleet(t, opts)
	advance(t, f, 10*time.Second)
	before := scrape(t, f, "east")
	for _, at := range []int{10001, 10250, 10900, 11000, 11999, 12000, 13500} {
		advance(t, f, time.Duration(at)*time.Millisecond)
		after := scrape(t, f, "east")
		old := values(before)
		for key, value := range values(after) {
			if value < old[key] {
				t.Errorf("at %dms %s falls from %v to %v", at, key, old[key], value)
			}
		}
		before = after
	}
}

func TestRatesAreSteady(t *testing.T) {
	f := newFleet(t, calm)
	var rates []float64
	advance(t, f, 10*time.Second)
	before := scrape(t, f, "east")
	for at := 20 * time.Second; at <= 5*time.Minute; at += 10 * time.Second {
		advance(t, f, at)
		after := scrape(t, f, "east")
		rates = append(rates,
			between(before, after, "http_requests_total", "service", "checkout")/10)
		before = after
	}
	mean, deviation := moments(rates)
	want := rateOf(f, "checkout")
	if math.Abs(mean/want-1) > 0.15 {
		t.Errorf("checkout has %.1f requests/s, the model says %.1f", mean, want)
	}
	if share := deviation / mean; share > 0.10 {
		t.Errorf("rates over 10s deviate by %.0f%% of their mean, a calm service by less than 10%%",
			100*share)
	}
}

func TestPodsAreOverdispersed(t *testing.T) {
	opts := calm
	opts.Pods = 16
	f := newFleet(t, opts)
	byPod := func() map[string]float64 {
		out := map[string]float64{}
		scrape(
			t,
			f,
			"east",
		).each("http_requests_total", []string{"service", "frontend"}, func(m *dto.Metric) {
			out[label(m, "pod")] += m.GetCounter().GetValue()
		})
		return out
	}
	first := byPod()
	advance(t, f, 10*time.Minute)
	last := byPod()
	var counts []float64
	for pod, n := range last {
		counts = append(counts, n-first[pod])
	}
	mean, deviation := moments(counts)
	if dispersion := deviation * deviation / mean; dispersion < 3 {
		t.Errorf(
			"requests of %d pods have %.1f times the variance of a Poisson, want much more than 1",
			len(counts),
			dispersion,
		)
	}
}

func TestRunLivesInRealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, calm)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		time.Sleep(30*time.Second + time.Millisecond)
		if got := f.Elapsed(); got != 30*time.Second+time.Millisecond {
			t.Errorf("Elapsed() = %v after 30s", got)
		}
		if got, want := f.Now(), calm.Start.Add(f.Elapsed()); !got.Equal(want) {
			t.Errorf("Now() = %v, want %v", got, want)
		}
		advanced := newFleet(t, calm)
		advance(t, advanced, f.Elapsed())
		running, standing := scrape(t, f, "east"), scrape(t, advanced, "east")
		if a, b := running.sum("http_requests_total"), standing.sum("http_requests_total"); a != b {
			t.Errorf("Run got to %v requests, Advance to %v", a, b)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestNewRefusesNonsense(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts Options
		want string
	}{
		{"pods", Options{Pods: 100000}, "pods: 100000"},
		{"services", Options{Services: 1e6}, "services: 1000000"},
		{"step", Options{Step: time.Hour}, "step: 1h0m0s"},
		{"scale", Options{TimeScale: 1e9}, "time scale: 1e+09"},
		{"exporter", Options{Exporters: []Exporter{"statsd"}}, `unknown "statsd"`},
		{"cluster", Options{Faults: []Fault{{Kind: Leak, Cluster: "eats"}}}, `"eats"; write east`},
		{"service", Options{Faults: []Fault{{Kind: Leak, Service: "chekout"}}}, `"chekout"; write checkout`},
		{"kind", Options{Faults: []Fault{{Kind: "fire"}}}, `unknown kind "fire"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := New(tc.opts); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New() = %v, want %s", err, tc.want)
			}
		})
	}
}

func TestManyClustersHaveDifferentNames(t *testing.T) {
	f := newFleet(t, Options{Clusters: 9, Services: 400, Pods: 1, Seed: 3})
	seen := map[string]bool{}
	for _, c := range f.Clusters() {
		seen[c] = true
	}
	for _, s := range f.State().Clusters[0].Services {
		seen[s.String()] = true
	}
	if len(seen) != 9+400 {
		t.Errorf("%d different names of 9 clusters and 400 services", len(seen))
	}
}
