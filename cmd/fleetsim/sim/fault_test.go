package sim

import (
	"testing"
	"time"
)

// view is what scrapes of a fleet show before a minute of calm, after it, and a minute into a fault
// of the checkout.
type view struct{ before, calm, during families }

// share is a value during the fault as a share of what it is in calm times.
func (v view) share(measure func(from, to families) float64) float64 {
	return measure(v.calm, v.during) / measure(v.before, v.calm)
}

// grown is by how much a sum has grown during the fault.
func (v view) grown(name string, labels ...string) float64 {
	return between(v.calm, v.during, name, append(labels, "container", "checkout")...)
}

// ended counts the pods whose container ended for a reason.
func (v view) ended(reason string) int {
	const name = "kube_pod_container_status_last_terminated_reason"
	return v.during.count(name, "reason", reason, "container", "checkout")
}

func checkoutLatency(from, to families) float64 { return meanLatency(from, to, "checkout") }

func checkoutTraffic(from, to families) float64 {
	return between(from, to, "istio_requests_total", "destination_workload", "checkout")
}

func TestFaultsAreSeen(t *testing.T) {
	const restarts = "kube_pod_container_status_restarts_total"
	for _, tc := range []struct {
		name  string
		fault Fault
		see   func(v view) (got float64, ok bool)
	}{
		{"error burst", Fault{Kind: ErrorBurst, Errors: 0.3}, func(v view) (float64, bool) {
			got := errorRatio(v.calm, v.during, "checkout")
			return got, got > 0.2 && got < 0.4 && errorRatio(v.before, v.calm, "checkout") < 0.03
		}},
		{"latency shift", Fault{Kind: LatencyShift, Latency: 3}, func(v view) (float64, bool) {
			got := v.share(checkoutLatency)
			return got, got > 2.4 && got < 3.6
		}},
		{"tail", Fault{Kind: LatencyShift, Tail: 5}, func(v view) (float64, bool) {
			got := v.share(checkoutLatency)
			return got, got > 1.2 && got < 2.5
		}},
		{"traffic drop", Fault{Kind: TrafficDrop, Drop: 0.8}, func(v view) (float64, bool) {
			got := v.share(checkoutTraffic)
			return got, got > 0.1 && got < 0.3
		}},
		{"leak", Fault{Kind: Leak, PerMinute: 0.1}, func(v view) (float64, bool) {
			limit := v.calm.sum("kube_pod_container_resource_limits",
				"container", "checkout", "resource", "memory")
			got := v.grown("container_memory_working_set_bytes") / limit
			return got, got > 0.08 && got < 0.12
		}},
		{"leak until death", Fault{Kind: Leak, PerMinute: 1, Pods: 1}, func(v view) (float64, bool) {
			got := v.grown(restarts)
			return got, got >= 1 && v.ended(reasonOOM) == 1
		}},
		{"crash", Fault{Kind: PodCrash, Every: 20 * time.Second, Pods: 2}, func(v view) (float64, bool) {
			got := v.grown(restarts)
			return got, got >= 4 && v.ended(reasonError) == 2
		}},
		{"scrape outage", Fault{Kind: ScrapeOutage}, func(v view) (float64, bool) {
			got := v.during.count("http_requests_total", "service", "checkout")
			alive := v.during.count("container_start_time_seconds", "container", "checkout")
			return float64(got), got == 0 && alive == 4
		}},
		{"bad release", Fault{Kind: BadRelease, Errors: 0.25}, func(v view) (float64, bool) {
			got := errorRatio(nil, v.during, "checkout") // Of the new pods: the old ones are gone.
			sets := v.during.count("kube_replicaset_owner", "owner_name", "checkout")
			pods := v.during.count("kube_pod_container_info", "image", "shop/checkout:v40.1")
			return got, got > 0.1 && sets == 1 && pods == 4
		}},
		{"crashing release", Fault{Kind: BadRelease, Crash: true}, func(v view) (float64, bool) {
			got := v.during.sum("kube_deployment_status_replicas_unavailable", "deployment", "checkout")
			old := v.during.sum("kube_deployment_status_replicas_available", "deployment", "checkout")
			return got, got == 1 && old == 4 && errorRatio(v.calm, v.during, "checkout") < 0.03
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := calm
			tc.fault.Service, tc.fault.At = "checkout", time.Minute
			opts.Faults = []Fault{tc.fault}
			f := newFleet(t, opts)
			v := view{before: scrape(t, f, "east")}
			advance(t, f, time.Minute)
			v.calm = scrape(t, f, "east")
			advance(t, f, 2*time.Minute)
			v.during = scrape(t, f, "east")
			if got, ok := tc.see(v); !ok {
				t.Errorf("it does not show: got %v", got)
			}
		})
	}
}

func TestFaultEnds(t *testing.T) {
	opts := calm
	opts.Faults = []Fault{{
		Kind: ErrorBurst, Service: "checkout", Errors: 0.5,
		At: 10 * time.Second, For: 20 * time.Second, Ramp: 10 * time.Second,
	}}
	f := newFleet(t, opts)
	advance(t, f, 45*time.Second)
	before := scrape(t, f, "east")
	advance(t, f, 2*time.Minute)
	if got := errorRatio(before, scrape(t, f, "east"), "checkout"); got > 0.03 {
		t.Errorf("%.0f%% of requests fail after the end", 100*got)
	}
	ramp := opts.Faults[0]
	for at, want := range map[float64]float64{9: 0, 15: 0.5, 25: 1, 35: 0.5, 40: 0} {
		if got := ramp.strength(at); got != want {
			t.Errorf("strength(%v) = %v, want %v", at, got, want)
		}
	}
}

func TestTroubleReachesCallers(t *testing.T) {
	opts := calm
	opts.Services = 20
	opts.Faults = []Fault{
		{Kind: ErrorBurst, Service: "checkout", Errors: 0.5, At: time.Minute},
	}
	for _, tc := range []struct {
		name        string
		propagation float64
		low, high   float64
	}{{"by default", 0, 0.02, 0.4}, {"not at all", -1, 0, 0.02}} {
		t.Run(tc.name, func(t *testing.T) {
			opts.Propagation = tc.propagation
			f := newFleet(t, opts)
			caller := f.State().Clusters[0].Services[1].Callers[0]
			advance(t, f, time.Minute)
			before := scrape(t, f, "east")
			advance(t, f, 3*time.Minute)
			got := errorRatio(before, scrape(t, f, "east"), caller)
			if got < tc.low || got > tc.high {
				t.Errorf("%s, which calls checkout, fails in %.3f of requests, want %.2f to %.2f",
					caller, got, tc.low, tc.high)
			}
		})
	}
}
