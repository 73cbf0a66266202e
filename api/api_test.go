package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestPages(t *testing.T) {
	s := newHouse(t).server(t, nil)
	for _, list := range []string{
		"clusters", "services", "findings", "incidents", "changes", "releases", "actions", "pauses",
	} {
		for _, limit := range []int{1, 2, 7, 25, 100} {
			t.Run(fmt.Sprintf("%s by %d", list, limit), func(t *testing.T) {
				all := ask(t, s, "GET", base+list, "").ids(t)
				var paged []string
				next := ""
				for range 30 {
					r := ask(t, s, "GET", fmt.Sprintf("%s%s?limit=%d&cursor=%s", base, list, limit, next), "")
					if next == "" {
						r = ask(t, s, "GET", fmt.Sprintf("%s%s?limit=%d", base, list, limit), "")
					}
					paged = append(paged, r.ids(t)...)
					if next = r.Next; next == "" {
						break
					}
				}
				if !slices.Equal(all, paged) {
					t.Errorf("pages hold %v, want %v", paged, all)
				}
			})
		}
	}
}

func TestFilters(t *testing.T) {
	s := newHouse(t).server(t, nil)
	for _, tc := range []struct {
		query string
		want  []string
	}{
		{"clusters?cluster=c1", []string{"c1"}},
		{"services?cluster=c1&limit=2", []string{"cart-01", "cart-04"}},
		{"services?service=cart-05", []string{"cart-05"}},
		{"services?service=cart-05&namespace=other", []string{}},
		{"services?cluster=none", []string{}},
		{"services?cluster=c2&signal=none", []string{}},
		{"findings?state=open", []string{"f24", "f23"}},
		{"findings?state=open&limit=1", []string{"f24"}},
		{"findings?state=open&cluster=c0", []string{"f24"}},
		{"findings?state=resolved&limit=2", []string{"f22", "f21"}},
		{"findings?limit=3", []string{"f24", "f23", "f22"}},
		{"findings?cluster=c1&service=cart-04&signal=errors", []string{"f4"}},
		{"findings?since=2026-03-01T12:22:00Z", []string{"f24", "f23", "f22"}},
		{"findings?until=1772366520", []string{"f1", "f0"}},
		{"findings?state=open&since=2026-03-01T12:24:00Z", []string{"f24"}},
		{"incidents?state=open", []string{"i24", "i23"}},
		{"incidents?state=acknowledged", []string{}},
		{"incidents?severity=critical", []string{}},
		{"incidents?severity=warning&service=cart-03", []string{"i3"}},
		{"changes?kind=rollout&namespace=shop&limit=1", []string{"a/b/24"}},
		{"changes?kind=scaled", []string{}},
		{"releases?state=rolling", []string{"r24", "r23"}},
		{"releases?state=rolling&result=regressed", []string{"r24"}},
		{"releases?state=done&limit=2", []string{"r22", "r21"}},
		{"releases?cluster=c1&service=cart-04", []string{"r4"}},
		{"releases?result=regressed", []string{"r24"}},
		{"actions?state=waiting", []string{"undo-24"}},
		{"actions?cluster=c2&limit=1", []string{"undo-23"}},
		{"actions?release=r3", []string{"undo-3"}},
		{"actions?kind=pause", []string{}},
		{"pauses?limit=1", []string{"p1"}},
	} {
		t.Run(tc.query, func(t *testing.T) {
			r := ask(t, s, "GET", base+tc.query, "")
			if r.code != 200 || r.Status != "success" {
				t.Fatalf("%d: %s", r.code, r.body)
			}
			if got := r.ids(t); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestOpenItemsAreAsTheirOwnerKnowsThem(t *testing.T) {
	s := newHouse(t).server(t, nil)
	for _, target := range []string{"incidents?limit=1", "incidents?state=open&limit=1", "incidents/i24"} {
		if r := ask(t, s, "GET", base+target, ""); !strings.Contains(r.body, "as it is now") {
			t.Errorf("%s: %s", target, r.body)
		}
	}
	if r := ask(t, s, "GET", base+"incidents/i3", ""); !strings.Contains(r.body, "as the journal has it") {
		t.Errorf("%s", r.body)
	}
}

func TestOne(t *testing.T) {
	s := newHouse(t).server(t, nil)
	for target, code := range map[string]int{
		"services/c1/shop/cart-04": 200,
		"services/c2/shop/cart-04": 404,
		"findings/f24":             200,
		"findings/f2":              200,
		"findings/f99":             404,
		"incidents/i99":            404,
		"changes/a/b/7":            200,
		"changes/a/b/99":           404,
		"releases/r24":             200,
		"releases/r3":              200,
		"releases/r99":             404,
		"actions/undo-24":          200,
		"actions/undo-99":          404,
		"nothing":                  404,
	} {
		if r := ask(t, s, "GET", base+target, ""); r.code != code {
			t.Errorf("%s: %d, want %d: %s", target, r.code, code, r.body)
		}
	}
}

func TestBadRequests(t *testing.T) {
	s := newHouse(t).server(t, nil)
	first := ask(t, s, "GET", base+"findings?limit=1", "")
	for _, tc := range []struct {
		target, want string
	}{
		{"findings?clutser=c1", `unknown parameter "clutser"; write cluster`},
		{"findings?sate=open", `unknown parameter "sate"; write state`},
		{
			"findings?zzzzzzzz=1",
			`known are cluster, cursor, limit, namespace, service, signal, since, state, until`,
		},
		{"status?limit=1", `unknown parameter "limit"; there are none here`},
		{"findings?state=opened", `state "opened": write one of open, resolved`},
		{"incidents?state=closed", `write one of open, acknowledged, resolved`},
		{"services?state=bad", `write one of warming, normal, finding, silent`},
		{"findings?limit=0", `limit "0": write a number from 1 to 1000`},
		{"findings?limit=1001", `write a number from 1 to 1000`},
		{"findings?limit=x", `write a number from 1 to 1000`},
		{"findings?since=yesterday", `since "yesterday": write a time as 2026-03-01T12:00:00Z`},
		{"findings?until=NaN", `until "NaN": write a time`},
		{"findings?cursor=%21", `is none of this list`},
		{"findings?cursor=eHh4", `is none of this list`},
		{"incidents?cursor=" + first.Next, `is none of this list`},
		{"findings?state=open&cursor=" + first.Next, `is none of this list`},
		{"findings?cluster=a&cluster=b", `cluster is given 2 times`},
		{"findings?cluster=%zz", `query string cannot be read`},
	} {
		t.Run(tc.target, func(t *testing.T) {
			r := ask(t, s, "GET", base+tc.target, "")
			if r.code != 400 || r.Status != "error" || r.ErrorType != "bad_data" ||
				!strings.Contains(r.Error, tc.want) {
				t.Errorf("%d: %s\nwant 400: %s", r.code, r.body, tc.want)
			}
		})
	}
}

func TestSourcesFail(t *testing.T) {
	h := newHouse(t)
	h.broken = errors.New("the journal is on holiday")
	s := h.server(t, nil)
	for _, target := range []string{
		"status", "clusters", "services", "services/c0/shop/cart-00", "findings", "findings/f1", "incidents",
		"incidents/i1", "changes", "changes/a/b/1",
	} {
		r := ask(t, s, "GET", base+target, "")
		if r.code != 500 || r.ErrorType != "internal" || !strings.Contains(r.Error, "holiday") {
			t.Errorf("%s: %d: %s", target, r.code, r.body)
		}
	}
}

func TestReady(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	ready := "store: ready\ndetector: ready\ntocsin is ready\n"
	if r := ask(t, s, "GET", "/-/ready", ""); r.code != 200 || r.body != ready {
		t.Errorf("%d: %q", r.code, r.body)
	}
	h.conditions[0].Warning = "the journal is damaged"
	warned := "store: ready, but the journal is damaged\ndetector: ready\ntocsin is ready\n"
	if r := ask(t, s, "GET", "/-/ready", ""); r.code != 200 || r.body != warned {
		t.Errorf("with a warning: %d: %s", r.code, r.body)
	}
	h.conditions[0].Warning = ""
	h.conditions[1].Reason = "2 of 3 clusters have no data yet"
	r := ask(t, s, "GET", "/-/ready", "")
	want := "store: ready\ndetector: not ready: 2 of 3 clusters have no data yet\ntocsin is not ready\n"
	if r.code != 503 || r.body != want {
		t.Errorf("%d: %q", r.code, r.body)
	}
	if r := ask(t, s, "GET", "/-/healthy", ""); r.code != 200 {
		t.Errorf("healthy: %d", r.code)
	}
	var st Status
	if err := json.Unmarshal(ask(t, s, "GET", base+"status", "").Data, &st); err != nil {
		t.Fatal(err)
	}
	if st.Ready || st.Version != "1.2.3" || len(st.Conditions) != 2 {
		t.Errorf("status = %+v", st)
	}
}

func TestPanic(t *testing.T) {
	h := newHouse(t)
	reg := prometheus.NewRegistry()
	s := h.server(t, func(o *Options) { o.Reg = reg })
	if r := ask(t, s, "GET", "/api/v1/panic", ""); r.code != 500 || strings.Contains(r.body, "disco") {
		t.Errorf("%d: %s", r.code, r.body)
	}
	if r := ask(t, s, "GET", "/api/v1/query", ""); r.code != 200 || r.body != "queried /api/v1/query" {
		t.Errorf("%d: %s", r.code, r.body)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tocsin_api_panics_total" && f.GetMetric()[0].GetCounter().GetValue() != 1 {
			t.Errorf("panics = %v, want 1", f)
		}
	}
}

func TestExternalURL(t *testing.T) {
	external, err := url.Parse("https://example.org/ops/tocsin/")
	if err != nil {
		t.Fatal(err)
	}
	s := newHouse(t).server(t, func(o *Options) { o.ExternalURL = external })
	for target, code := range map[string]int{
		"/":                             302,
		"/ops/tocsin/":                  200,
		"/ops/tocsin/-/ready":           200,
		"/ops/tocsin" + base + "status": 200,
		"/-/ready":                      404,
	} {
		if r := ask(t, s, "GET", target, ""); r.code != code {
			t.Errorf("%s: %d, want %d", target, r.code, code)
		}
	}
	link := `href="/ops/tocsin/api/tocsin/v1/status"`
	if r := ask(t, s, "GET", "/ops/tocsin/", ""); !strings.Contains(r.body, link) {
		t.Errorf("index: %s", r.body)
	}
}

func FuzzRequest(f *testing.F) {
	s := newHouse(f).server(f, nil)
	f.Add("GET", "findings?limit=3&cursor=ZmluZGluZ3M6NDI&state=open", "")
	f.Add("GET", "services/c1/shop/cart-04", "")
	f.Add("GET", "incidents?since=1e9&until=2026-03-01T12:00:00Z", "")
	f.Add("POST", "incidents/i24/acknowledge", `{"by":"ann"}`)
	f.Add("POST", "journal/reconcile", `{"by":"ann","note":"x"}`)
	f.Add("PUT", "../../../-/reload", "")
	f.Fuzz(func(t *testing.T, method, target, body string) {
		r, err := http.NewRequest(method, "http://tocsin"+base+target, strings.NewReader(body))
		if err != nil {
			return
		}
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code >= 500 && !strings.Contains(w.Body.String(), "there is no journal") {
			t.Errorf("%s %s: %d: %s", method, target, w.Code, w.Body)
		}
	})
}
