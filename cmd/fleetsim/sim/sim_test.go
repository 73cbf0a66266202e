package sim

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	prom "github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"tocsin/fleet"
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

// get asks the fleet's handler.
func get(t testing.TB, f *Fleet, method, url, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w
}

// families is what a scrape returned.
type families map[string]*dto.MetricFamily

func scrape(t testing.TB, f *Fleet, cluster string) families {
	t.Helper()
	w := get(t, f, http.MethodGet, "/clusters/"+cluster+"/metrics", "")
	if w.Code != http.StatusOK {
		t.Fatalf("scrape %s: %d %s", cluster, w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(prom.UTF8Validation)
	got, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatalf("parse scrape of %s: %v", cluster, err)
	}
	return got
}

// each yields the metrics of a family that have all these labels; a value that ends in * is a prefix.
func (fs families) each(name string, labels []string, visit func(*dto.Metric)) {
	family, ok := fs[name]
	if !ok {
		return
	}
metrics:
	for _, m := range family.Metric {
		for i := 0; i < len(labels); i += 2 {
			got := label(m, labels[i])
			prefix, isPrefix := strings.CutSuffix(labels[i+1], "*")
			if got != labels[i+1] && (!isPrefix || !strings.HasPrefix(got, prefix)) {
				continue metrics
			}
		}
		visit(m)
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func (fs families) sum(name string, labels ...string) float64 {
	sum := 0.0
	fs.each(name, labels, func(m *dto.Metric) {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	})
	return sum
}

func (fs families) count(name string, labels ...string) int {
	n := 0
	fs.each(name, labels, func(*dto.Metric) { n++ })
	return n
}

// between returns what happened to a sum from one scrape to the next.
func between(before, after families, name string, labels ...string) float64 {
	return after.sum(name, labels...) - before.sum(name, labels...)
}

// errorRatio is the share of a service's requests that failed between two scrapes.
func errorRatio(before, after families, service string) float64 {
	failed := between(before, after, "http_requests_total", "service", service, "code", "5*")
	return failed / between(before, after, "http_requests_total", "service", service)
}

// meanLatency of a service's requests between two scrapes.
func meanLatency(before, after families, service string) float64 {
	sum := func(fs families) (sum float64) {
		fs.each("http_request_duration_seconds", []string{"service", service}, func(m *dto.Metric) {
			sum += m.GetHistogram().GetSampleSum()
		})
		return sum
	}
	n := between(before, after, "http_request_duration_seconds", "service", service)
	return (sum(after) - sum(before)) / n
}

func page1(t *testing.T, f *Fleet, cluster string) string {
	t.Helper()
	return get(t, f, http.MethodGet, "/clusters/"+cluster+"/metrics", "").Body.String()
}

func TestSameSeedSameFleet(t *testing.T) {
	opts := Options{
		Clusters: 2, Services: 12, TimeScale: 500, ReleaseEvery: 48 * time.Hour, Autoscale: true,
		Faults: []Fault{{Kind: PodCrash, Service: "cart"}, {Kind: Leak, Service: "search", PerMinute: 0.3}},
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

// values returns all that should never fall by family, labels and bucket.
func values(fs families) map[string]float64 {
	out := map[string]float64{}
	for name, family := range fs {
		for _, m := range family.Metric {
			key := name
			for _, l := range m.Label {
				key += "," + l.GetName() + "=" + l.GetValue()
			}
			if m.Counter != nil {
				out[key] = m.Counter.GetValue()
			}
			for _, b := range m.GetHistogram().GetBucket() {
				out[key+",le="+expfmtNumber(b.GetUpperBound())] = float64(b.GetCumulativeCount())
			}
		}
	}
	return out
}

func expfmtNumber(x float64) string { return prom.SampleValue(x).String() }

func TestRatesAreSteady(t *testing.T) {
	f := newFleet(t, calm)
	var rates []float64
	advance(t, f, 10*time.Second)
	before := scrape(t, f, "east")
	for at := 20 * time.Second; at <= 5*time.Minute; at += 10 * time.Second {
		advance(t, f, at)
		after := scrape(t, f, "east")
		rates = append(rates, between(before, after, "http_requests_total", "service", "checkout")/10)
		before = after
	}
	mean, deviation := moments(rates)
	want := rateOf(f, "checkout")
	if math.Abs(mean/want-1) > 0.15 {
		t.Errorf("checkout has %.1f requests/s, the model says %.1f", mean, want)
	}
	if share := deviation / mean; share > 0.10 {
		t.Errorf("rates over 10s deviate by %.0f%% of their mean, a calm service by less than 10%%", 100*share)
	}
}

func rateOf(f *Fleet, service string) float64 {
	for _, s := range f.State().Clusters[0].Services {
		if s.Name == service {
			return s.Rate
		}
	}
	return math.NaN()
}

func moments(xs []float64) (mean, deviation float64) {
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		deviation += (x - mean) * (x - mean) / float64(len(xs)-1)
	}
	return mean, math.Sqrt(deviation)
}

func TestPodsAreOverdispersed(t *testing.T) {
	opts := calm
	opts.Pods = 16
	f := newFleet(t, opts)
	byPod := func() map[string]float64 {
		out := map[string]float64{}
		scrape(t, f, "east").each("http_requests_total", []string{"service", "frontend"}, func(m *dto.Metric) {
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
		t.Errorf("requests of %d pods have %.1f times the variance of a Poisson, want much more than 1",
			len(counts), dispersion)
	}
}

func TestFaultsAreSeen(t *testing.T) {
	type view struct{ before, calm, during families }
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
			got := meanLatency(v.calm, v.during, "checkout") / meanLatency(v.before, v.calm, "checkout")
			return got, got > 2.4 && got < 3.6
		}},
		{"tail", Fault{Kind: LatencyShift, Tail: 5}, func(v view) (float64, bool) {
			got := meanLatency(v.calm, v.during, "checkout") / meanLatency(v.before, v.calm, "checkout")
			return got, got > 1.2 && got < 2.5
		}},
		{"traffic drop", Fault{Kind: TrafficDrop, Drop: 0.8}, func(v view) (float64, bool) {
			got := between(v.calm, v.during, "istio_requests_total", "destination_workload", "checkout") /
				between(v.before, v.calm, "istio_requests_total", "destination_workload", "checkout")
			return got, got > 0.1 && got < 0.3
		}},
		{"leak", Fault{Kind: Leak, PerMinute: 0.1}, func(v view) (float64, bool) {
			got := between(v.calm, v.during, "container_memory_working_set_bytes", "container", "checkout") /
				v.calm.sum("kube_pod_container_resource_limits", "container", "checkout", "resource", "memory")
			return got, got > 0.08 && got < 0.12
		}},
		{"leak of one pod until it is killed", Fault{Kind: Leak, PerMinute: 1, Pods: 1}, func(v view) (float64, bool) {
			got := between(v.calm, v.during, "kube_pod_container_status_restarts_total", "container", "checkout")
			return got, got >= 1 && v.during.count("kube_pod_container_status_last_terminated_reason",
				"reason", "OOMKilled", "container", "checkout") == 1
		}},
		{"pod crash", Fault{Kind: PodCrash, Every: 20 * time.Second, Pods: 2}, func(v view) (float64, bool) {
			got := between(v.calm, v.during, "kube_pod_container_status_restarts_total", "container", "checkout")
			return got, got >= 4 && v.during.count("kube_pod_container_status_last_terminated_reason",
				"reason", "Error", "container", "checkout") == 2
		}},
		{"scrape outage", Fault{Kind: ScrapeOutage}, func(v view) (float64, bool) {
			n := v.during.count("http_requests_total", "service", "checkout")
			return float64(n), n == 0 && v.during.count("container_start_time_seconds", "container", "checkout") == 4
		}},
		{"bad release", Fault{Kind: BadRelease, Errors: 0.25, Latency: 2}, func(v view) (float64, bool) {
			got := errorRatio(nil, v.during, "checkout") // Of the new pods: the old ones are gone.
			return got, got > 0.1 && v.during.count("kube_replicaset_owner", "owner_name", "checkout") == 1 &&
				v.during.count("kube_pod_container_info", "image", "shop/checkout:v40.1") == 4
		}},
		{"crashing release", Fault{Kind: BadRelease, Crash: true}, func(v view) (float64, bool) {
			got := v.during.sum("kube_deployment_status_replicas_unavailable", "deployment", "checkout")
			return got, got == 1 && v.during.sum("kube_deployment_status_replicas_available",
				"deployment", "checkout") == 4 && errorRatio(v.calm, v.during, "checkout") < 0.03
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
	opts.Faults = []Fault{{Kind: ErrorBurst, Service: "checkout", Errors: 0.5, At: time.Minute}}
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

func TestReleaseRollsOutPodByPod(t *testing.T) {
	opts := calm
	opts.Services, opts.ReleaseEvery, opts.TimeScale = 6, 24*time.Hour, 200 // A release in seven minutes.
	f := newFleet(t, opts)
	most, seen, before := 0, map[string]bool{}, -1
	for at := time.Duration(0); at < 20*time.Minute; at += 2 * time.Second {
		advance(t, f, at)
		for _, s := range f.State().Clusters[0].Services {
			if s.Name != "checkout" {
				continue
			}
			revisions, ready := map[string]bool{}, 0
			for _, p := range s.Pods {
				revisions[p.Revision] = true
				seen[p.Revision] = true
				if p.Ready {
					ready++
				}
			}
			most = max(most, len(revisions))
			if ready < 4 || len(s.Pods) > 5 {
				t.Fatalf("at %v %d of %d pods are ready, want 4 at least, and one more at most", at, ready, len(s.Pods))
			}
			before = ready
		}
	}
	if len(seen) < 3 || most != 2 || before != 4 {
		t.Errorf("saw %d revisions, %d at a time, %d ready pods; want 3 or more, 2, 4", len(seen), most, before)
	}
}

func TestStatefulSetKeepsItsNames(t *testing.T) {
	opts := calm
	opts.Faults = []Fault{{Kind: BadRelease, Service: "orders-db", At: 10 * time.Second}}
	f := newFleet(t, opts)
	names := func() (string, []PodState) {
		var list []string
		service := f.State().Clusters[0].Services[5]
		for _, p := range service.Pods {
			list = append(list, p.Name)
		}
		return strings.Join(list, " "), service.Pods
	}
	if got, _ := names(); got != "orders-db-0 orders-db-1 orders-db-2 orders-db-3" {
		t.Errorf("pods are %s", got)
	}
	advance(t, f, 3*time.Minute)
	got, pods := names()
	if got != "orders-db-3 orders-db-2 orders-db-1 orders-db-0" {
		t.Errorf("after a release from the last pod to the first they are %s", got)
	}
	for _, p := range pods {
		if p.Image != "data/orders-db:v40.1" || !p.Ready {
			t.Errorf("%s runs %s, ready %v", p.Name, p.Image, p.Ready)
		}
	}
}

func TestAutoscaleFollowsTraffic(t *testing.T) {
	opts := calm
	opts.Autoscale = true
	opts.Faults = []Fault{{Kind: TrafficDrop, Service: "frontend", Drop: 0.9}}
	f := newFleet(t, opts)
	advance(t, f, 5*time.Minute)
	if got := len(f.State().Clusters[0].Services[0].Pods); got != 2 {
		t.Errorf("frontend has %d pods at a tenth of its traffic, want 2", got)
	}
}

func TestOutsidePods(t *testing.T) {
	opts := calm
	opts.Services = -1
	f := newFleet(t, opts)
	set := func(pods ...Pod) {
		t.Helper()
		err := f.SetPods(Outside{Service: fleet.Service{Cluster: "east", Namespace: "ns", Name: "web"}, Pods: pods})
		if err != nil {
			t.Fatalf("SetPods: %v", err)
		}
	}
	good := []Pod{{Name: "web-a", Image: "x/web:v1", Revision: "a"}, {Name: "web-b", Image: "x/web:v1", Revision: "a"}}
	set(good...)
	advance(t, f, time.Minute)
	start := scrape(t, f, "east")
	if n := start.sum("http_requests_total", "pod", "web-a"); n < 500 {
		t.Errorf("web-a answered %v requests in a minute, want some 1000", n)
	}
	set(append(good[:1:1],
		Pod{Name: "web-bad", Image: "x/web:v2-bad", Revision: "b"},
		Pod{Name: "web-slow", Image: "x/web:slow", Revision: "c"},
		Pod{Name: "web-leak", Image: "x/web:leak", Revision: "d"},
		Pod{Name: "web-crash", Image: "registry:5000/x/web:crash", Revision: "e"})...)
	advance(t, f, 4*time.Minute)
	now := scrape(t, f, "east")
	ratio := func(pod string) float64 {
		return now.sum("http_requests_total", "pod", pod, "code", "5*") / now.sum("http_requests_total", "pod", pod)
	}
	if bad, ok := ratio("web-bad"), ratio("web-a"); bad < 0.1 || ok > 0.05 {
		t.Errorf("errors: bad %.3f, good %.3f", bad, ok)
	}
	mean := func(pod string) (mean float64) {
		now.each("http_request_duration_seconds", []string{"pod", pod}, func(m *dto.Metric) {
			mean = m.Histogram.GetSampleSum() / float64(m.Histogram.GetSampleCount())
		})
		return mean
	}
	if slow, ok := mean("web-slow"), mean("web-a"); slow < 2*ok {
		t.Errorf("latency: slow %.3fs, good %.3fs", slow, ok)
	}
	leak := now.sum("container_memory_working_set_bytes", "pod", "web-leak", "container", "web")
	if ok := now.sum("container_memory_working_set_bytes", "pod", "web-a", "container", "web"); leak < 1.2*ok {
		t.Errorf("memory: leak %.0f, good %.0f", leak, ok)
	}
	if n := now.sum("kube_pod_container_status_restarts_total", "pod", "web-crash"); n < 3 {
		t.Errorf("web-crash started again %v times, want 3 or more", n)
	}
	if now.count("http_requests_total", "pod", "web-b") > 0 || now.count("http_requests_total", "pod", "web-crash") > 0 {
		t.Error("pods that are gone or never ready answer requests")
	}
	if n := now.sum("http_requests_total", "pod", "web-a"); n <= start.sum("http_requests_total", "pod", "web-a") {
		t.Error("the pod that stayed began anew")
	}
	err := f.SetPods(Outside{Service: fleet.Service{Cluster: "nowhere", Namespace: "ns", Name: "web"}})
	if !errors.Is(err, ErrUnknownCluster) {
		t.Errorf("SetPods of an unknown cluster: %v", err)
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
