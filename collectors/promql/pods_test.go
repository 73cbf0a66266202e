package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/fleet"
	"tocsin/series"
)

// nowhere is a sink.
type nowhere struct{}

func (nowhere) Append(context.Context, *series.Batch) error { return nil }

// askPods asks for pods and fails the test if that fails.
func askPods(t *testing.T, s *Source, r PodRange) PodHistory {
	t.Helper()
	h, err := s.Pods(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// byPod returns the samples of one instant by service/pod.
func byPod(i PodInstant) map[string]PodSample {
	out := make(map[string]PodSample)
	for _, p := range i.Pods {
		out[p.Service.Name+"/"+p.Pod] = p
	}
	return out
}

func TestPodsOfAllTargetsAreAskedForTogether(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests, PodErrors, PodCPU, PodMemory))
	var targets []PodTarget
	for i := range 20 {
		name := fmt.Sprintf("s%d", i)
		targets = append(targets, shop(name, name+"-a", name+"-b"))
		for _, pod := range []string{name + "-a", name + "-b"} {
			fake.counter("web_requests", 10, "namespace", "shop", "pod", pod)
			fake.counter("web_errors", 1, "namespace", "shop", "pod", pod)
			fake.counter("web_cpu", 0.5, "namespace", "shop", "pod", pod)
			megabyte := func(time.Time) float64 { return 1 << 20 }
			fake.add("web_memory", megabyte, "namespace", "shop", "pod", pod)
		}
	}
	r := podRange(3, targets...)
	h := askPods(t, source, r)
	if got := fake.queries(); len(got) != 4 || h.Queries != 4+3 {
		t.Errorf("%d queries and %d in all, want 4 for pods and 3 that look for labels",
			len(got), h.Queries)
	}
	if len(h.Instants) != 3 || h.Samples != 3*40 || !h.Until.Equal(r.To) {
		t.Fatalf("%d instants with %d samples until %s", len(h.Instants), h.Samples, h.Until)
	}
	for i, instant := range h.Instants {
		if want := r.From.Add(time.Duration(i) * 15 * time.Second); !instant.At.Equal(want) {
			t.Errorf("instant %d is %s, want %s", i, instant.At, want)
		}
		age := float64(instant.At.Unix() - podEpoch)
		p := byPod(instant)["s7/s7-b"]
		if p.Requests != 10*age || p.Errors != age || p.CPUSeconds != age/2 || p.MemoryBytes != 1<<20 {
			t.Errorf("%+v at age %g", p, age)
		}
		if known(p.Restarts) || known(p.MemoryLimit) || p.Latency != nil || p.Window != 0 {
			t.Errorf("%+v knows what was not asked for", p)
		}
	}
	if h = askPods(t, source, r); h.Queries != 4 {
		t.Errorf("%d queries the second time, want 4", h.Queries)
	}
}

func TestPodsThatNobodyNamedAreDropped(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests))
	for _, pod := range []string{"cart-1", "cart-x", "cart-api-1", "cart.1"} {
		fake.counter("web_requests", 1, "namespace", "shop", "pod", pod)
	}
	fake.counter("web_requests", 1, "namespace", "other", "pod", "cart-1")
	fake.counter("web_requests", 1, "pod", "cart-9")
	cart := shop("cart", "cart-1", "cart-9")
	cart.Match = []string{"cart-[0-9]"}
	h := askPods(t, source, podRange(1, cart))
	var got []string
	for _, p := range h.Instants[0].Pods {
		got = append(got, p.Pod)
	}
	if !slices.Equal(got, []string{"cart-1", "cart-9"}) || h.Dropped != 1 {
		t.Errorf("pods %v and %d dropped, want cart-1, cart-9 and that of the other namespace",
			got, h.Dropped)
	}
	if got := fake.queries(); len(got) != 1 || !strings.Contains(got[0], `pod=~"cart-[0-9]"`) {
		t.Errorf("asked %q, want the expression, which covers the names", got)
	}
}

const tooManySamples = `{"status":"error","errorType":"execution","error":"too many samples"}`

func TestAbsentErrorsAreZeroOnlyIfTheyWereAskedFor(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests, PodErrors))
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "cart-1")
	p := askPods(t, source, podRange(1, shop("cart", "cart-1"))).Instants[0].Pods[0]
	if known(p.Errors) || !p.ErrorsKnown {
		t.Errorf("%+v: want no error counter, known to be none", p)
	}
	fault := says(http.StatusUnprocessableEntity, tooManySamples)
	fake.change(func() { fake.fail["web_errors"] = fault })
	h := askPods(t, source, podRange(1, shop("cart", "cart-1")))
	p = h.Instants[0].Pods[0]
	if !known(p.Requests) || known(p.Errors) || p.ErrorsKnown {
		t.Errorf("%+v: want requests, and errors not known", p)
	}
	want := PodFailure{Service: shop("cart").Service, Metric: PodErrors}
	want.Reason = "execution: too many samples"
	if !slices.Equal(h.Failed, []PodFailure{want}) {
		t.Errorf("failed %+v, want the errors of cart, which asking again does not help", h.Failed)
	}
	_, source = newPodSource(t, podSetOf("web", PodRequests))
	if h = askPods(t, source, podRange(1, shop("cart", "cart-1"))); len(h.Instants) != 0 {
		t.Errorf("%+v: want nothing of what does not exist", h)
	}
}

func TestOneSetIsChosenAndKept(t *testing.T) {
	web, mesh := podSetOf("web", PodRequests, PodErrors), podSetOf("mesh", PodRequests, PodErrors)
	fake, source := newPodSource(t, web, mesh)
	gap := false
	whole := func(at time.Time) float64 {
		if gap {
			return math.NaN()
		}
		return 5
	}
	fake.add("web_requests", whole, "namespace", "shop", "pod", "cart-1")
	fake.counter("mesh_requests", 1, "namespace", "shop", "pod", "cart-1")
	fake.counter("mesh_errors", 1, "namespace", "shop", "pod", "cart-1")
	// Of api, web knows one pod of two.
	fake.counter("web_requests", 3, "namespace", "shop", "pod", "api-1")
	fake.counter("mesh_requests", 1, "namespace", "shop", "pod", "api-1")
	fake.counter("mesh_requests", 1, "namespace", "shop", "pod", "api-2")
	r := podRange(1, shop("cart", "cart-1"), shop("api", "api-1", "api-2"))
	age := float64(r.From.Unix() - podEpoch)

	got := byPod(askPods(t, source, r).Instants[0])
	if p := got["cart/cart-1"]; p.Requests != 5 || known(p.Errors) {
		t.Errorf("cart: %+v, want the first set and nothing of the other", p)
	}
	if got["api/api-1"].Requests != age || got["api/api-2"].Requests != age {
		t.Errorf("api: %+v, want the set that knows both pods", got)
	}
	fake.queries()
	fake.change(func() { gap = true })
	if got = byPod(askPods(t, source, r).Instants[0]); len(got) != 2 {
		t.Errorf("in a gap: %+v, want nothing of cart", got)
	}
	for _, q := range fake.queries() {
		if strings.HasPrefix(q, "web") == strings.Contains(q, "api") {
			t.Errorf("%s: want each service in the queries of its set only", q)
		}
	}
	r.From, r.To = r.From.Add(20*time.Minute), r.To.Add(20*time.Minute)
	askPods(t, source, r)
	if got = byPod(askPods(t, source, r).Instants[0]); got["cart/cart-1"].Requests != age+1200 {
		t.Errorf("after 20 minutes: %+v, want the other set", got["cart/cart-1"])
	}
}

func TestNothingIsChosenInDoubt(t *testing.T) {
	web, mesh := podSetOf("web", PodRequests), podSetOf("mesh", PodRequests, PodCPU)
	fake, source := newPodSource(t, web, mesh)
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "cart-1")
	fake.counter("mesh_requests", 2, "namespace", "shop", "pod", "cart-1")
	fake.counter("mesh_cpu", 1, "namespace", "shop", "pod", "cart-1")
	fake.change(func() { fake.fail["web_requests"] = says(http.StatusBadGateway, "") })
	r := podRange(1, shop("cart", "cart-1"))
	h := askPods(t, source, r)
	if p := h.Instants[0].Pods[0]; known(p.Requests) || !known(p.CPUSeconds) {
		t.Errorf("%+v: want CPU only, as the preferred set was not answered", p)
	}
	if len(h.Failed) != 1 || h.Failed[0].Metric != PodRequests || !h.Failed[0].Retry {
		t.Errorf("failed %+v, want the requests, which may come", h.Failed)
	}
	fake.change(func() { delete(fake.fail, "web_requests") })
	age := float64(r.From.Unix() - podEpoch)
	if p := askPods(t, source, r).Instants[0].Pods[0]; p.Requests != age {
		t.Errorf("%+v: want those of the preferred set", p)
	}
	// A query that the source calls bad is no reason to wait for it.
	fake, source = newPodSource(t, podSetOf("web", PodRequests), podSetOf("mesh", PodRequests))
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "cart-1")
	fake.counter("mesh_requests", 2, "namespace", "shop", "pod", "cart-1")
	bad := says(http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"no"}`)
	fake.change(func() { fake.fail["web_requests"] = bad })
	if p := askPods(t, source, r).Instants[0].Pods[0]; p.Requests != 2*age {
		t.Errorf("%+v: want those of the set that works", p)
	}
	fake.queries()
	askPods(t, source, podRange(1, shop("cart", "cart-1"), shop("api", "api-1")))
	for _, q := range fake.queries() {
		if strings.HasPrefix(q, "web") {
			t.Errorf("asked %q, which is bad", q)
		}
	}
}

func TestPodsByAnotherLabel(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests))
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "cart-1", "pod_name", "ignored")
	fake.counter("web_requests", 2, "namespace", "shop", "pod_name", "cart-2")
	got := byPod(askPods(t, source, podRange(1, shop("cart", "cart-1", "cart-2"))).Instants[0])
	if len(got) != 2 || got["cart/cart-2"].Requests != 2*got["cart/cart-1"].Requests {
		t.Errorf("%+v, want both pods", got)
	}
	for _, q := range fake.queries() {
		if strings.Contains(q, "pod_name=~") && !strings.Contains(q, `pod="",`) {
			t.Errorf("%s: want what has no label before it only", q)
		}
	}
}

func TestMetricsThatComeLaterAreFound(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests))
	r := podRange(1, shop("cart", "cart-1"))
	if h := askPods(t, source, r); h.Samples != 0 || h.Queries != 3 {
		t.Errorf("%d samples by %d queries, want three that look for metrics", h.Samples, h.Queries)
	}
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "cart-1")
	if h := askPods(t, source, r); h.Samples != 0 || h.Queries != 0 {
		t.Errorf("%d samples by %d queries, want none before it is time to look again",
			h.Samples, h.Queries)
	}
	source.pods.looked = source.pods.looked.Add(-source.opts.Interval)
	if h := askPods(t, source, r); h.Samples != 1 || h.Queries != 4 {
		t.Errorf("%d samples by %d queries, want the pod's", h.Samples, h.Queries)
	}
}

func TestServiceWithoutPods(t *testing.T) {
	queries := podSetOf("web", PodRequests, PodErrors, PodLatency, PodCPU)
	for i := range queries[:3] {
		q := &queries[i]
		by := "namespace, workload"
		if q.Name == PodLatency {
			by += ", le"
		}
		q.Total = q.Metrics[0] + "_total by (" + by + ") {$selector}"
		q.TotalNamespace, q.TotalService = []string{"namespace"}, []string{"workload"}
		q.NarrowNamespace, q.NarrowService = "namespace", "workload"
	}
	fake, source := newPodSource(t, queries)
	constant := func(v float64) func(time.Time) float64 { return func(time.Time) float64 { return v } }
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "api-1")
	fake.counter("web_latency", 1, "namespace", "shop", "pod", "api-1", "le", "+Inf")
	for _, name := range []string{"api", "cart", "other"} {
		fake.add("web_requests_total", constant(60), "namespace", "shop", "workload", name)
	}
	fake.add("web_latency_total", constant(20), "namespace", "shop", "workload", "cart", "le", "0.5")
	fake.add("web_latency_total", constant(60), "namespace", "shop", "workload", "cart", "le", "+Inf")
	fake.counter("web_cpu", 1, "namespace", "shop", "pod", "cart-1")
	h := askPods(t, source, podRange(9, shop("cart", "cart-1"), shop("api", "api-1")))
	var at []time.Time
	for _, instant := range h.Instants {
		got := byPod(instant)
		if p := got["cart/cart-1"]; known(p.Requests) || !known(p.CPUSeconds) {
			t.Errorf("%+v: want CPU of the pod", p)
		}
		if p, ok := got["cart/"]; ok {
			at = append(at, instant.At)
			want := PodSample{
				Service: shop("cart").Service, Window: time.Minute, Requests: 60, Errors: math.NaN(),
				ErrorsKnown: true, CPUSeconds: math.NaN(), MemoryBytes: math.NaN(), MemoryLimit: math.NaN(),
				Restarts: math.NaN(), Bounds: []float64{0.5, math.Inf(1)}, Latency: []float64{20, 60},
			}
			if diff := cmp.Diff(want, p, cmp.Comparer(equal)); diff != "" {
				t.Errorf("the service as a whole:\n%s", diff)
			}
		}
		if _, ok := got["api/"]; ok {
			t.Errorf("%+v: a service whose pods are known is there as a whole too", got["api/"])
		}
	}
	if len(at) != 2 || at[0].Second() != 0 {
		t.Errorf("as a whole at %s, want both full minutes", at)
	}
	fake.queries()
	if h = askPods(t, source, podRange(1, shop("api", "api-1"))); len(h.Failed) > 0 {
		t.Errorf("failed %+v", h.Failed)
	}
	for _, q := range fake.queries() {
		if strings.Contains(q, "_total") {
			t.Errorf("%s is asked, though the pods of all targets are known", q)
		}
	}
}

func equal(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestBucketsThatAReleaseChanges(t *testing.T) {
	queries := podSetOf("web", PodRequests, PodLatency)
	queries[1].Unit = time.Millisecond
	fake, source := newPodSource(t, queries)
	for pod, bounds := range map[string][]string{
		"old": {"100", "250", "1000", "+Inf"}, "new": {"50", "250.0", "1000", "+Inf"},
	} {
		fake.counter("web_requests", 4, "namespace", "shop", "pod", pod)
		for i, le := range bounds {
			fake.counter("web_latency", float64(i+1), "namespace", "shop", "pod", pod, "le", le)
		}
	}
	r := podRange(2, shop("cart", "old", "new"))
	h := askPods(t, source, r)
	for _, p := range h.Instants[1].Pods {
		age := float64(r.To.Unix() - podEpoch)
		if want := []float64{0.25, 1, math.Inf(1)}; !slices.Equal(p.Bounds, want) {
			t.Errorf("%s: bounds %v, want %v", p.Pod, p.Bounds, want)
		}
		if want := []float64{2 * age, 3 * age, 4 * age}; !slices.Equal(p.Latency, want) {
			t.Errorf("%s: latency %v, want %v", p.Pod, p.Latency, want)
		}
	}
}

func TestNativeHistograms(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests, PodLatency))
	fine := `{"count":"10","sum":"3","buckets":[[3,"-1e-38","1e-38","1"],` +
		`[0,"0.5","0.5452538663326288","2"],[0,"0.9170040432046711","1","4"],` +
		`[0,"1","1.0905077326652577","3"]]}`
	coarse := `{"count":"10","sum":"3","buckets":[[3,"-1e-38","1e-38","1"],` +
		`[0,"0.5","1","6"],[0,"1","2","3"]]}`
	for pod, h := range map[string]string{"old": fine, "new": coarse} {
		fake.counter("web_requests", 1, "namespace", "shop", "pod", pod)
		set := map[string]string{"__name__": "web_latency", "namespace": "shop", "pod": pod}
		one := podCounter{labels: set, native: func(time.Time) string { return h }}
		fake.series = append(fake.series, one)
	}
	for _, steps := range []int{1, 3} { // As a vector, and as a matrix.
		h := askPods(t, source, podRange(steps, shop("cart", "old", "new")))
		got := byPod(h.Instants[steps-1])
		for pod, want := range map[string]map[float64]float64{
			"cart/old": {0.001: 1, 0.5: 1, 0.6: 3, 1: 7, 1.2: 10, 2: 10, math.Inf(1): 10},
			"cart/new": {0.001: 1, 0.5: 1, 0.6: 1, 1: 7, 1.2: 7, 2: 10, math.Inf(1): 10},
		} {
			for bound, n := range want {
				// The last bound of the grid up to this one.
				i := len(got[pod].Bounds) - 1
				for i > 0 && got[pod].Bounds[i] > bound {
					i--
				}
				if got[pod].Latency == nil || got[pod].Latency[i] != n {
					t.Errorf("%s: %v up to %g, want %g", pod, got[pod].Latency, bound, n)
				}
			}
		}
	}
}

func TestQueriesOfManyPodsAreCut(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests, PodErrors))
	var names []string
	for i := range 1500 {
		names = append(names, fmt.Sprintf("cart-7d9f8c6b5-%05d", i))
	}
	for _, name := range names {
		fake.counter("web_requests", 1, "namespace", "shop", "pod", name)
	}
	h := askPods(t, source, podRange(1, shop("cart", names...)))
	if h.Samples != len(names) || fake.longest > maxPodQuery {
		t.Errorf("%d samples by queries of up to %d bytes", h.Samples, fake.longest)
	}
	if got := len(fake.queries()); got != 2*3 {
		t.Errorf("%d queries, want 3 parts of each", got)
	}
	// A part that fails takes the service's errors with it, and says so once for each part.
	fake.change(func() { fake.fail["web_errors"] = says(http.StatusUnprocessableEntity, "{}") })
	h = askPods(t, source, podRange(1, shop("cart", names...)))
	if h.Samples != len(names) || h.Instants[0].Pods[0].ErrorsKnown || len(h.Failed) != 1 {
		t.Errorf("%d samples, failed %+v", h.Samples, h.Failed)
	}
}

func TestLongRangesComeInParts(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests))
	source.opts.Backfill.MaxPoints = 100
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "cart-1")
	r := podRange(250, shop("cart", "cart-1"))
	want, seen := r.From, 0
	for calls := 0; !want.After(r.To); calls++ {
		h := askPods(t, source, PodRange{From: want, To: r.To, Targets: r.Targets})
		if calls > 3 || h.Until.Before(want) {
			t.Fatalf("call %d is answered until %s", calls, h.Until)
		}
		for _, i := range h.Instants {
			if !i.At.Equal(want) {
				t.Fatalf("instant %s, want %s", i.At, want)
			}
			want, seen = want.Add(15*time.Second), seen+1
		}
	}
	if seen != 250 {
		t.Errorf("%d instants, want 250", seen)
	}
}

func TestOnlyClosedInstantsAreAskedFor(t *testing.T) {
	fake, source := newPodSource(t, podSetOf("web", PodRequests))
	now := time.Unix(podEpoch, 0).Truncate(time.Minute).Add(time.Hour + 22*time.Second)
	source.now = func() time.Time { return now }
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "cart-1")
	r := PodRange{From: now.Add(-time.Minute), To: now.Add(time.Hour)}
	r.Targets = []PodTarget{shop("cart", "cart-1")}
	h := askPods(t, source, r)
	if want := now.Truncate(time.Minute); !h.Until.Equal(want) {
		t.Errorf("until %s, want %s: the lag is 10 s", h.Until, want)
	}
	fake.queries()
	r.From = now
	if h = askPods(t, source, r); !h.Until.IsZero() || len(fake.queries()) > 0 {
		t.Errorf("until %s, want nothing asked for", h.Until)
	}
}

func TestSourcesThatDoNotAnswer(t *testing.T) {
	r := podRange(1, shop("cart", "cart-1"))
	fake, source := newPodSource(t, podSetOf("web", PodRequests, PodErrors))
	fake.counter("web_requests", 1, "namespace", "shop", "pod", "cart-1")
	throttle := says(http.StatusTooManyRequests, "", "Retry-After", "60")
	fake.change(func() { fake.fail["web_requests"], fake.fail["web_errors"] = throttle, throttle })
	var fault *SourceError
	_, err := source.Pods(t.Context(), r)
	if !errors.As(err, &fault) || !strings.Contains(fault.Reason, "429") {
		t.Errorf("error %v, want the source's", err)
	}
	fake.queries()
	if _, err := source.Pods(t.Context(), r); !errors.As(err, &fault) || len(fake.queries()) > 0 {
		t.Errorf("error %v, want the source left alone", err)
	}
	_, source = newPodSource(t, podSetOf("web", PodRequests))
	source.unreached(&failure{result: unreachable, reason: "connection refused"})
	_, err = source.Pods(t.Context(), r)
	if !errors.As(err, &fault) || fault.Reason != "connection refused" {
		t.Errorf("error %v, want why the ticks do not reach it", err)
	}
	_, source = newPodSource(t)
	if _, err := source.Pods(t.Context(), r); !errors.Is(err, ErrNoPodQueries) {
		t.Errorf("error %v, want %v", err, ErrNoPodQueries)
	}
	_, source = newPodSource(t, podSetOf("web", PodRequests))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.Pods(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	bad := r
	bad.Targets = []PodTarget{{Service: fleet.Service{Name: "x"}, Match: []string{"("}}}
	_, err = source.Pods(t.Context(), bad)
	if err == nil || !strings.Contains(err.Error(), "missing closing") {
		t.Errorf("error %v, want that of the expression", err)
	}
}

// FuzzDecodePods holds that no answer breaks what reads pods, and that only JSON is taken.
func FuzzDecodePods(f *testing.F) {
	f.Add(vectorOf(`{"metric":{"namespace":"shop","pod":"a","le":"0.5"},"value":[1,"1"]}`), false)
	f.Add(vectorOf(`{"metric":{"pod":"a"},"histogram":`+
		`[1,{"count":"3","sum":"1","buckets":[[0,"0.5","1","3"]]}]}`), true)
	f.Add(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},`+
		`"values":[[1,"NaN"]],"histograms":[[16,{"buckets":[[3,"-1","1","2"],`+
		`[1,"-2","+Inf","1e300"]],"count":"-1"}]]}]}}`, true)
	targets, err := newPodTargets([]PodTarget{shop("cart", "a", "b")}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string, native bool) {
		q := podQuery{PodQuery: podSetOf("web", PodLatency)[0], grid: newNativeGrid(time.Second)}
		table := newPodTable(q.podKey(0))
		got := podAnswer{targets: targets}
		if native {
			got.grid = &q.grid
		}
		table.to = &got
		var a answer
		a.reset(span{from: 1000, step: 15_000, steps: 2}, 1000)
		var d decoder
		if err := d.decode(strings.NewReader(body), 1<<20, table, &a); err != nil {
			return
		}
		if !json.Valid([]byte(body)) {
			t.Fatalf("took what is not JSON: %q", body)
		}
		g := newPodGather(a.span, targets)
		g.take(&podJob{q: &q, got: got})
		g.sort()
		records := make([]podRecord, len(g.of[0]))
		for i := range records {
			records[i] = podRecord{span: g.span, scale: 1}
		}
		g.latencies(records, &q, 0)
		for i := range records {
			if s, ok := records[i].at(1000); ok && len(s.Latency) != len(s.Bounds) {
				t.Errorf("%d counts up to %d bounds", len(s.Latency), len(s.Bounds))
			}
		}
	})
}
