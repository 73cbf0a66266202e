package sim

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// scrapeProtobuf asks as a Prometheus does that wants native histograms.
func scrapeProtobuf(t *testing.T, f *Fleet) families {
	t.Helper()
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	w := get(t, f, http.MethodGet, "/clusters/east/metrics", "", "Accept", string(format))
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	out := families{}
	for {
		var family dto.MetricFamily
		err := decoder.Decode(&family)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		out[family.GetName()] = &family
	}
}

func TestEveryFamilyIsServed(t *testing.T) {
	opts := calm
	opts.Exporters = Exporters()
	opts.Services = 20
	opts.Faults = []Fault{{Kind: PodCrash, Service: "cart", Every: 5 * time.Second}}
	f := newFleet(t, opts)
	advance(t, f, 12*time.Second)
	got := scrape(t, f, "east")
	for _, name := range []string{
		"istio_requests_total", "istio_request_duration_milliseconds",
		"http_requests_total", "http_request_duration_seconds",
		"container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_memory_rss",
		"container_cpu_cfs_periods_total", "container_cpu_cfs_throttled_periods_total",
		"container_spec_memory_limit_bytes", "container_start_time_seconds",
		"kube_pod_info", "kube_pod_owner", "kube_pod_created", "kube_pod_status_phase", "kube_pod_status_ready",
		"kube_replicaset_owner", "kube_replicaset_spec_replicas", "kube_pod_container_info",
		"kube_pod_container_status_restarts_total", "kube_pod_container_status_last_terminated_reason",
		"kube_pod_container_status_waiting_reason", "kube_pod_container_status_ready",
		"kube_pod_container_resource_limits", "kube_pod_container_resource_requests",
		"kube_deployment_spec_replicas", "kube_deployment_status_replicas_unavailable",
		"kube_deployment_status_replicas_available", "kube_statefulset_replicas",
		"kube_statefulset_status_replicas_ready", "kube_daemonset_status_number_unavailable",
		"response_total", "response_latency_ms", "http_server_request_duration_seconds",
		"grpc_server_handled_total", "grpc_server_started_total", "grpc_server_handling_seconds",
	} {
		if got[name] == nil || len(got[name].Metric) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	opts.Exporters = []Exporter{HTTP}
	few := scrape(t, newFleet(t, opts), "east")
	if few["http_requests_total"] == nil || len(few) != 2 {
		t.Errorf("with one exporter %d families are served, want 2", len(few))
	}
}

func TestSeriesAreUnique(t *testing.T) {
	opts := calm
	opts.Services, opts.Exporters = 60, Exporters()
	opts.Faults = []Fault{{Kind: BadRelease, Service: "*"}, {Kind: PodCrash, Service: "*"}}
	f := newFleet(t, opts)
	advance(t, f, 15*time.Second)
	w := get(t, f, http.MethodGet, "/clusters/east/metrics", "", "Accept",
		"application/openmetrics-text;version=1.0.0")
	parser, err := textparse.New(w.Body.Bytes(), w.Header().Get("Content-Type"),
		labels.NewSymbolTable(), textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("OpenMetrics after %d series: %v", len(seen), err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		series, _, _ := parser.Series()
		if seen[string(series)] {
			t.Fatalf("%s is there twice", series)
		}
		seen[string(series)] = true
	}
	if len(seen) < 10000 {
		t.Errorf("only %d series", len(seen))
	}
}

func TestNativeAndClassicHistogramsAgree(t *testing.T) {
	f := newFleet(t, calm)
	advance(t, f, 30*time.Second+700*time.Millisecond)
	for name, perSecond := range map[string]float64{
		"http_request_duration_seconds": 1, "istio_request_duration_milliseconds": 1000,
	} {
		family := scrapeProtobuf(t, f)[name]
		if family == nil {
			t.Fatalf("%s is missing", name)
		}
		for _, m := range family.Metric {
			compareHistograms(t, name, m.Histogram, perSecond)
		}
	}
}

// compareHistograms checks that the native buckets hold as many as the classic ones, as far as
// their ends allow to say.
func compareHistograms(t *testing.T, name string, h *dto.Histogram, perSecond float64) {
	t.Helper()
	if h.GetSchema() != schema || h.GetCreatedTimestamp() == nil {
		t.Fatalf("%s: schema %d, created %v", name, h.GetSchema(), h.GetCreatedTimestamp())
	}
	total, upTo := uint64(0), map[int]uint64{}
	index, i, n := 0, 0, int64(0)
	for _, span := range h.PositiveSpan {
		index += int(span.GetOffset())
		for range span.GetLength() {
			n += h.PositiveDelta[i]
			total += uint64(n)
			upTo[index] = total
			index, i = index+1, i+1
		}
	}
	if total != h.GetSampleCount() || total == 0 {
		t.Fatalf("%s: native buckets hold %d, the count is %d", name, total, h.GetSampleCount())
	}
	for _, b := range h.Bucket {
		at := 8 * math.Log2(b.GetUpperBound())
		low, high := cumulativeAt(upTo, int(math.Floor(at))), cumulativeAt(upTo, int(math.Ceil(at)))
		if got := b.GetCumulativeCount(); got < low || got > high {
			t.Errorf("%s: le=%v holds %d, native buckets say %d to %d", name, b.GetUpperBound(),
				got, low, high)
		}
	}
	mean := h.GetSampleSum() / float64(total) / perSecond
	if mean < 0.0005 || mean > 2 {
		t.Errorf("%s: the mean is %vs", name, mean)
	}
}

// cumulativeAt returns how many are in native buckets up to that index.
func cumulativeAt(upTo map[int]uint64, index int) uint64 {
	n := uint64(0)
	for i, c := range upTo {
		if i <= index {
			n = max(n, c)
		}
	}
	return n
}

func TestDiscoveryAndIndex(t *testing.T) {
	f := newFleet(t, Options{Clusters: 2, Services: 3})
	w := get(t, f, http.MethodGet, "http://sim:9980/sd", "")
	var targets []struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &targets); err != nil {
		t.Fatal(err)
	}
	if len(targets) != 2 || targets[1].Targets[0] != "sim:9980" ||
		targets[1].Labels["cluster"] != "west" ||
		targets[1].Labels["__metrics_path__"] != "/clusters/west/metrics" {
		t.Errorf("targets are %+v", targets)
	}
	if w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("content type %q, which Prometheus refuses", w.Header().Get("Content-Type"))
	}
	if body := get(t, f, http.MethodGet, "/",
		"").Body.String(); !strings.Contains(body, "/clusters/west/metrics") {
		t.Errorf("the index does not lead to the clusters: %s", body)
	}
	for _, path := range []string{"/clusters/nowhere/metrics", "/favicon.ico"} {
		if w := get(t, f, http.MethodGet, path, ""); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, w.Code)
		}
	}
}

func TestScenarioOverHTTP(t *testing.T) {
	f := newFleet(t, calm)
	advance(t, f, time.Minute)
	for _, tc := range []struct {
		body string
		code int
		want string
	}{
		{`[{"kind": "error_burst", "service": "cart", "for": "30s", "errors": 0.4}]`, 200, `{"faults":1}`},
		{"- {kind: scrape_outage, cluster: east, at: 10s}\n", 200, `{"faults":1}`},
		{"- {kind: error_brust, service: cart}\n", 400, `request:1: [0].kind: unknown kind "error_brust"; write error_burst`},
		{"- {kind: leak, service: cart}\n- {kind: leak, service: carts}\n", 400, `request:2: service: no service is called "carts"`},
		{strings.Repeat("#", maxBody+1), 400, "too large"},
	} {
		w := get(t, f, http.MethodPost, "/api/scenario", tc.body)
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("POST %.60s: %d %s, want %d %s", tc.body, w.Code, w.Body, tc.code, tc.want)
		}
	}
	faults := f.State().Faults
	if len(faults) != 2 || !faults[0].Active || faults[1].Active || faults[1].At != "1m10s" {
		t.Errorf("faults are %+v", faults)
	}
	advance(t, f, 71*time.Second)
	if w := get(t, f, http.MethodGet, "/clusters/east/metrics",
		""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("during the outage a scrape returns %d, want 503", w.Code)
	}
	if w := get(t, f, http.MethodDelete, "/api/scenario", ""); w.Code != http.StatusNoContent {
		t.Errorf("DELETE: %d", w.Code)
	}
	if n := len(scrape(t, f, "east")); n == 0 || len(f.State().Faults) != 0 {
		t.Errorf("%d families and %d faults after the faults were deleted", n,
			len(f.State().Faults))
	}
}

func TestPodsOverHTTP(t *testing.T) {
	f := newFleet(t, calm)
	for _, tc := range []struct {
		body string
		code int
	}{
		{`{"cluster":"east","namespace":"ns","service":"web","workload":"StatefulSet","rate":10,
		  "pods":[{"name":"web-0","image":"web:v1","revision":"r1"}]}`, 204},
		{`{"cluster":"nowhere","namespace":"ns","service":"web","pods":[]}`, 404},
		{`{"cluster":"east","service":"web","pods":[]}`, 400},
		{`{"cluster":"east","namespace":"ns","service":"web","pod":[]}`, 400},
		{`[`, 400},
	} {
		if w := get(t, f, http.MethodPost, "/api/pods", tc.body); w.Code != tc.code {
			t.Errorf("POST %s: %d %s, want %d", tc.body, w.Code, w.Body, tc.code)
		}
	}
	advance(t, f, time.Minute)
	var state State
	if err := json.Unmarshal(get(t, f, http.MethodGet, "/api/state", "").Body.Bytes(),
		&state); err != nil {
		t.Fatal(err)
	}
	services := state.Clusters[0].Services
	web := services[len(services)-1]
	if web.Name != "web" || web.Workload != "StatefulSet" || len(web.Pods) != 1 ||
		!web.Pods[0].Ready {
		t.Errorf("the service is %+v", web)
	}
	if n := scrape(t, f, "east").count("kube_statefulset_replicas", "statefulset", "web"); n != 1 {
		t.Errorf("kube-state-metrics knows %d StatefulSets called web", n)
	}
}
