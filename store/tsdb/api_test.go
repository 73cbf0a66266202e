package tsdb

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// filled has scores of three services for ten minutes.
func filled(t testing.TB, opts Options) *bench {
	t.Helper()
	b := start(t, opts)
	for i := range 41 {
		b.write(b.scores("errors", epoch.Add(time.Duration(i)*15*time.Second), map[string]float64{
			"cart": float64(i), "pay": 1, "search": 2,
		}))
	}
	b.clock.set(epoch.Add(10 * time.Minute))
	return b
}

func TestQueryAPI(t *testing.T) {
	b := filled(t, Options{Version: "1.2.3", Config: func() string { return "clusters: []\n" }})
	ctx := t.Context()
	end := epoch.Add(10 * time.Minute)

	v, warnings, _, err := b.api.QueryRange(ctx, `max by (service) (tocsin_score)`, v1.Range{
		Start: epoch, End: end, Step: time.Minute,
	})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("query_range: %v, %v", err, warnings)
	}
	m := v.(model.Matrix)
	if len(m) != 3 || len(m[0].Values) != 11 || m[0].Values[10].Value != 40 {
		t.Errorf("query_range = %v", m)
	}

	names, _, _, err := b.api.LabelNames(ctx, nil, epoch, end)
	if err != nil || fmt.Sprint(names) != "__name__, cluster, namespace, service, signal" {
		t.Errorf("labels = %v, %v", names, err)
	}
	values, _, _, err := b.api.LabelValues(ctx, "service", []string{`tocsin_score`}, epoch, end)
	if err != nil || fmt.Sprint(values) != "[cart pay search]" {
		t.Errorf("label values = %v, %v", values, err)
	}
	sets, _, _, err := b.api.Series(ctx, []string{`tocsin_score{service=~"c.*"}`}, epoch, end)
	if err != nil || len(sets) != 1 || sets[0]["cluster"] != "eu-1" {
		t.Errorf("series = %v, %v", sets, err)
	}
	if meta, err := b.api.Metadata(ctx, "", ""); err != nil || len(meta) != 0 {
		t.Errorf("metadata = %v, %v", meta, err)
	}
	info, err := b.api.Buildinfo(ctx)
	if err != nil || info.Version != upstreamVersion || !strings.Contains(info.Revision, "1.2.3") {
		t.Errorf("buildinfo = %v, %v", info, err)
	}
	run, err := b.api.Runtimeinfo(ctx)
	if err != nil || !run.StartTime.Equal(epoch) || run.StorageRetention != "360h0m0s" {
		t.Errorf("runtimeinfo = %+v, %v", run, err)
	}
	if st, err := b.api.TSDB(ctx); err != nil || st.HeadStats.NumSeries != 15 {
		t.Errorf("tsdb = %+v, %v", st, err)
	}
	if c, err := b.api.Config(ctx); err != nil || c.YAML != "clusters: []\n" {
		t.Errorf("config = %+v, %v", c, err)
	}
	if rules, err := b.api.Rules(ctx, nil); err != nil || len(rules.Groups) != 0 {
		t.Errorf("rules = %+v, %v", rules, err)
	}
	if alerts, err := b.api.Alerts(ctx); err != nil || len(alerts.Alerts) != 0 {
		t.Errorf("alerts = %+v, %v", alerts, err)
	}
	if e, err := b.api.QueryExemplars(ctx, "tocsin_score", epoch, end); err != nil || len(e) != 0 {
		t.Errorf("exemplars = %+v, %v", e, err)
	}
	q, err := b.api.FormatQuery(ctx, "sum  (tocsin_score)")
	if err != nil || !strings.Contains(q, "sum(tocsin_score)") {
		t.Errorf("format_query = %q, %v", q, err)
	}
	if replay, err := b.api.WalReplay(ctx); err != nil {
		t.Errorf("walreplay = %+v, %v", replay, err)
	}
}

// get asks the handler and returns the code and the body.
func (b *bench) get(method, target, form string) (int, string) {
	b.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form))
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	b.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestGrafanaAsks(t *testing.T) {
	b := filled(t, Options{})
	begin, now := fmt.Sprint(epoch.Unix()), fmt.Sprint(epoch.Add(10*time.Minute).Unix())
	for _, tc := range []struct{ method, target, form string }{
		{"GET", "/api/v1/status/buildinfo", ""},
		{"POST", "/api/v1/query", "query=1%2B1&time=" + now},
		{"POST", "/api/v1/query_range", "query=tocsin_score&step=15&start=" + begin + "&end=" + now},
		{"POST", "/api/v1/labels", "match[]=tocsin_score"},
		{"POST", "/api/v1/series", "match[]=tocsin_score"},
		{"GET", "/api/v1/label/__name__/values?match[]=%7Bservice%3D%22cart%22%7D", ""},
		{"GET", "/api/v1/metadata?limit_per_metric=1", ""},
		{"GET", "/api/v1/rules", ""},
		{"GET", "/api/v1/status/flags", ""},
	} {
		code, body := b.get(tc.method, tc.target, tc.form)
		var answer struct{ Status string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 || answer.Status != "success" {
			t.Errorf("%s %s: %d: %s", tc.method, tc.target, code, body)
		}
	}
}

func TestNothingCanBeChanged(t *testing.T) {
	b := filled(t, Options{})
	for _, path := range []string{
		"admin/tsdb/delete_series", "admin/tsdb/clean_tombstones", "admin/tsdb/snapshot", "write", "read",
		"otlp/v1/metrics", "targets", "scrape_pools", "notifications/live", "status/tsdb/blocks",
		"search/metric_names", "openapi.yaml", "query/", "../query", "status", "",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			if code, _ := b.get(method, "http://tocsin/api/v1/"+path, ""); code < 400 || code >= 500 {
				t.Errorf("%s %s: %d", method, path, code)
			}
		}
	}
}

func TestQueryLimits(t *testing.T) {
	b := filled(t, Options{MaxSamples: 50})
	target := func(query string, more ...string) string {
		v := url.Values{"query": {query}, "time": {fmt.Sprint(epoch.Add(10 * time.Minute).Unix())}}
		for i := 0; i < len(more); i += 2 {
			v.Set(more[i], more[i+1])
		}
		return "/api/v1/query?" + v.Encode()
	}
	for _, tc := range []struct {
		target, want string
		code         int
	}{
		{target("tocsin_score[10m]"), "too many samples", 422},
		{target("tocsin_score{"), "parse error", 400},
		{target("tocsin_score", "timeout", "0.000000001"), "timed out", 503},
		{target("tocsin_score", "time", "yesterday"), "cannot parse", 400},
		{"/api/v1/query_range?query=1&start=0&end=1e9&step=1", "exceeded maximum resolution", 400},
		{"/api/v1/label/%2e/values?match[]=%7B%7D", "must contain at least one", 400},
	} {
		if code, body := b.get("GET", tc.target, ""); code != tc.code || !strings.Contains(body, tc.want) {
			t.Errorf("%s: %d: %s\nwant %d: %s", tc.target, code, body, tc.code, tc.want)
		}
	}
	large := "query=" + strings.Repeat("1%2B", 1<<20) + "1"
	if code, _ := b.get("POST", "/api/v1/query", large); code < 400 {
		t.Errorf("a body of %d bytes: %d", len(large), code)
	}
}

// TestConcurrency holds all places, so that a query waits until its time is up.
func TestConcurrency(t *testing.T) {
	l := limit(make(chan struct{}, 2))
	for range 2 {
		if _, err := l.Insert(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Insert(ctx, "1"); err == nil || !strings.Contains(err.Error(), "one of 2 queries") {
		t.Errorf("Insert() = %v", err)
	}
	l.Delete(0)
	if _, err := l.Insert(t.Context(), "1"); err != nil {
		t.Errorf("Insert() with a free place = %v", err)
	}
	if l.GetMaxConcurrent() != 2 || l.Close() != nil {
		t.Error("limit does not say what it is")
	}
}

func TestRange(t *testing.T) {
	b := filled(t, Options{})
	got, err := b.Range(t.Context(), `tocsin_score{service="cart"}`,
		epoch, epoch.Add(time.Minute), 30*time.Second)
	if err != nil || len(got) != 1 || len(got[0].Points) != 3 || got[0].Labels["service"] != "cart" {
		t.Fatalf("Range() = %v, %v", got, err)
	}
	if p := got[0].Points[2]; !p.At.Equal(epoch.Add(time.Minute)) || p.Value != 4 {
		t.Errorf("point = %v", p)
	}
	if _, err := b.Range(t.Context(), `{`, epoch, epoch, time.Second); err == nil {
		t.Error("a mistyped query has an answer")
	}
}

func FuzzQueryAPI(f *testing.F) {
	b := filled(f, Options{MaxSamples: 10_000, Timeout: time.Second})
	f.Add("GET", "query?query=tocsin_score&time=1772366400", "")
	f.Add("POST", "query_range", "query=rate(tocsin_score[1m])&start=0&end=100&step=10")
	f.Add("GET", "label/service/values?match[]=up", "")
	f.Add("POST", "series", "match[]=%7B__name__%3D~%22.%2B%22%7D")
	f.Fuzz(func(t *testing.T, method, path, form string) {
		r, err := http.NewRequest(method, "http://tocsin/api/v1/"+path, strings.NewReader(form))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		b.Handler().ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s %s: %d: %s", method, path, w.Code, w.Body)
		}
	})
}
