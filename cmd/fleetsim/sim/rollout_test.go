package sim

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"tocsin/fleet"
)

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
				t.Fatalf("at %v %d of %d pods are ready, want 4 at least, and one more at most", at,
					ready, len(s.Pods))
			}
			before = ready
		}
	}
	if len(seen) < 3 || most != 2 || before != 4 {
		t.Errorf("saw %d revisions, %d at a time, %d ready pods; want 3 or more, 2, 4", len(seen),
			most, before)
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
		err := f.SetPods(
			Outside{
				Service: fleet.Service{Cluster: "east", Namespace: "ns", Name: "web"},
				Pods:    pods,
			},
		)
		if err != nil {
			t.Fatalf("SetPods: %v", err)
		}
	}
	good := []Pod{
		{Name: "web-a", Image: "x/web:v1", Revision: "a"},
		{Name: "web-b", Image: "x/web:v1", Revision: "a"},
	}
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
		return now.sum("http_requests_total", "pod", pod, "code",
			"5*") / now.sum("http_requests_total", "pod", pod)
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
	if ok := now.sum("container_memory_working_set_bytes", "pod", "web-a", "container",
		"web"); leak < 1.2*ok {
		t.Errorf("memory: leak %.0f, good %.0f", leak, ok)
	}
	if n := now.sum("kube_pod_container_status_restarts_total", "pod", "web-crash"); n < 3 {
		t.Errorf("web-crash started again %v times, want 3 or more", n)
	}
	if now.count("http_requests_total", "pod", "web-b") > 0 ||
		now.count("http_requests_total", "pod", "web-crash") > 0 {
		t.Error("pods that are gone or never ready answer requests")
	}
	if n := now.sum("http_requests_total", "pod",
		"web-a"); n <= start.sum("http_requests_total", "pod", "web-a") {
		t.Error("the pod that stayed began anew")
	}
	err := f.SetPods(
		Outside{Service: fleet.Service{Cluster: "nowhere", Namespace: "ns", Name: "web"}},
	)
	if !errors.Is(err, ErrUnknownCluster) {
		t.Errorf("SetPods of an unknown cluster: %v", err)
	}
}

func TestHarmlessReleasesHardlyShow(t *testing.T) {
	opts := calm
	opts.ReleaseEvery, opts.TimeScale, opts.Propagation = 24*time.Hour, 200, -1 // Every 7 minutes.
	f := newFleet(t, opts)
	quietest, slowest := math.Inf(1), 0.0
	before := scrape(t, f, "east")
	for at := time.Minute; at <= 15*time.Minute; at += time.Minute {
		advance(t, f, at)
		after := scrape(t, f, "east")
		latency := p50(before, after, "checkout")
		quietest, slowest = min(quietest, latency), max(slowest, latency)
		before = after
	}
	if slowest > 1.3*quietest {
		t.Errorf("the median goes from %.4fs to %.4fs within a minute of a harmless release",
			quietest, slowest)
	}
}

// p50 estimates the median of what pods counted from one scrape to the next; what a pod counted
// before its first scrape counts too.
func p50(before, after families, service string) float64 {
	old := map[string]float64{}
	key := func(m *dto.Metric, b *dto.Bucket) string {
		return label(m, "pod") + expfmtNumber(b.GetUpperBound())
	}
	labels := []string{"service", service}
	before.each("http_request_duration_seconds", labels, func(m *dto.Metric) {
		for _, b := range m.Histogram.Bucket {
			old[key(m, b)] = float64(b.GetCumulativeCount())
		}
	})
	upTo := map[float64]float64{}
	after.each("http_request_duration_seconds", labels, func(m *dto.Metric) {
		for _, b := range m.Histogram.Bucket {
			upTo[b.GetUpperBound()] += float64(b.GetCumulativeCount()) - old[key(m, b)]
		}
	})
	lower, below := 0.0, 0.0
	for _, upper := range slices.Concat(httpUnit.bounds, []float64{math.Inf(1)}) {
		if upTo[upper] >= upTo[math.Inf(1)]/2 {
			return lower + (upper-lower)*(upTo[math.Inf(1)]/2-below)/(upTo[upper]-below)
		}
		lower, below = upper, upTo[upper]
	}
	return math.NaN()
}
