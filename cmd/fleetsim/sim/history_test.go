package sim

import (
	"errors"
	"math"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"
)

func history(t *testing.T, opts Options, step time.Duration) *History {
	t.Helper()
	h, err := newFleet(t, opts).History("east", step)
	if err != nil {
		t.Fatalf("History: %v", err)
	}
	return h
}

func TestHistoryIsTheSameInAnyOrder(t *testing.T) {
	opts := Options{Clusters: 1, Services: 40, Spikes: 20}
	forth, once := history(t, opts, time.Minute), history(t, opts, time.Minute)
	const end = 30 * time.Hour
	for at := time.Minute; at < end; at += time.Minute {
		forth.At(at)
	}
	want := once.At(end).Columns()
	for i, column := range forth.At(end).Columns() {
		for j, value := range column.Values {
			if other := want[i].Values[j]; value != other &&
				!(math.IsNaN(value) && math.IsNaN(other)) {
				t.Errorf("%s of service %d is %v in order, %v at once", column.Signal, j, value,
					other)
			}
		}
	}
}

// TestHistoryAgreesWithPods compares the means of ten minutes.
func TestHistoryAgreesWithPods(t *testing.T) {
	opts := calm
	opts.Services = 12
	opts.Faults = []Fault{
		{Kind: ErrorBurst, Service: "cart", Errors: 0.2},
		{Kind: LatencyShift, Service: "search", Latency: 2},
	}
	f := newFleet(t, opts)
	h, err := f.History("east", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	first := scrape(t, f, "east")
	const minutes = 10
	mean := map[string][]float64{}
	for minute := 1; minute <= minutes; minute++ {
		for _, column := range h.At(time.Duration(minute) * time.Minute).Columns() {
			mean[column.Signal] = append(
				mean[column.Signal],
				make([]float64, 12-len(mean[column.Signal]))...)
			for i, value := range column.Values {
				mean[column.Signal][i] += value / minutes
			}
		}
	}
	advance(t, f, minutes*time.Minute)
	last := scrape(t, f, "east")
	for i, s := range h.At(time.Minute).Services {
		rate := between(first, last, "http_requests_total", "service", s.Name) / (60 * minutes)
		cpu := between(first, last, "container_cpu_usage_seconds_total", "container",
			s.Name) / (60 * minutes)
		memory := last.sum("container_memory_working_set_bytes", "container", s.Name) /
			last.sum("kube_pod_container_resource_limits", "container", s.Name, "resource",
				"memory")
		closeTo(t, s.Name+" traffic", mean["traffic"][i], rate, 0.1)
		closeTo(t, s.Name+" cpu", mean["cpu"][i], cpu, 0.25)
		closeTo(t, s.Name+" memory", mean["memory"][i], memory, 0.15)
		if failing := errorRatio(first, last, s.Name); failing > 0.05 {
			closeTo(t, s.Name+" errors", mean["errors"][i], failing, 0.15)
		}
	}
}

func closeTo(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*want {
		t.Errorf("%s is %v in the history and %v in the pods", what, got, want)
	}
}

func TestHistoryFollowsTheCalendar(t *testing.T) {
	h := history(t, calm, time.Hour)
	days := make([][]float64, 14)
	for i := range 14 * 24 {
		days[i/24] = append(days[i/24], h.At(time.Duration(i+1) * time.Hour).Traffic[0])
	}
	if c := stat.Correlation(days[0], days[1], nil); c < 0.9 {
		t.Errorf("one day correlates by %.2f with the next, want more than 0.9", c)
	}
	if c := stat.Correlation(days[2], days[9], nil); c < 0.9 {
		t.Errorf("one day correlates by %.2f with that a week later, want more than 0.9", c)
	}
}

func TestHistoryShowsFaults(t *testing.T) {
	opts := calm
	fault := func(kind Kind, service string, change func(*Fault)) {
		f := Fault{Kind: kind, Service: service, At: time.Hour, For: time.Hour}
		change(&f)
		opts.Faults = append(opts.Faults, f)
	}
	fault(BadRelease, "frontend", func(f *Fault) { f.Errors = 0.4 })
	fault(LatencyShift, "checkout", func(f *Fault) { f.Tail = 4 })
	fault(TrafficDrop, "cart", func(f *Fault) { f.Drop = 0.9 })
	fault(Leak, "catalog", func(f *Fault) { f.PerMinute = 0.005 })
	fault(PodCrash, "payment", func(f *Fault) { f.Pods = 2 })
	fault(ScrapeOutage, "orders-db", func(*Fault) {})
	h := history(t, opts, time.Minute)
	before := *h.At(30 * time.Minute)
	var old [6]float64
	copy(old[:], []float64{
		before.Errors[0],
		before.P99[1],
		before.Traffic[2],
		before.Memory[3],
		before.Unavailable[4],
		before.Traffic[5],
	})
	now := h.At(90 * time.Minute)
	for name, ok := range map[string]bool{
		"bad release":   old[0] < 0.1 && now.Errors[0] > 0.3,
		"latency shift": now.P99[1] > 2*old[1],
		"traffic drop":  now.Traffic[2] < 0.3*old[2],
		"leak":          now.Memory[3] > old[3]+0.1,
		"pod crash":     old[4] == 0 && now.Unavailable[4] == 2,
		"scrape outage": old[5] > 0 && math.IsNaN(now.Traffic[5]) && math.IsNaN(now.Memory[5]),
	} {
		if !ok {
			t.Errorf("%s does not show", name)
		}
	}
}

func TestHistoryRefuses(t *testing.T) {
	f := newFleet(t, calm)
	if _, err := f.History("nowhere", time.Minute); !errors.Is(err, ErrUnknownCluster) {
		t.Errorf("History of an unknown cluster: %v", err)
	}
	if _, err := f.History("east", time.Millisecond); err == nil {
		t.Error("History accepts a step of 1ms")
	}
}

// TestOrdinaryPeaksHarmNobody looks at a week with a release of every service each day.
func TestOrdinaryPeaksHarmNobody(t *testing.T) {
	h := history(t, Options{Clusters: 1, Services: 100, ReleaseEvery: 24 * time.Hour}, time.Hour)
	for at := time.Hour; at < 7*day; at += time.Hour {
		now := h.At(at)
		for i, s := range now.Services {
			if now.Throttled[i] > 0.05 || now.Memory[i] > 0.85 || now.Errors[i] > 0.2 && now.Traffic[i] > 1 {
				t.Errorf("%s after %v: throttled %.2f, memory %.2f, errors %.2f",
					s.Name, at, now.Throttled[i], now.Memory[i], now.Errors[i])
			}
		}
	}
}
