package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// house is a daemon that is nothing but what the server sees of it.
type house struct {
	conditions []Condition
	reload     error
	clusters   []string
	findings   []detector.Finding
	open       []incident.Incident
	records    []Record
	broken     error // What every source answers, if it is set.
}

func cart(n int) fleet.Service {
	return fleet.Service{Cluster: fmt.Sprintf("c%d", n%3), Namespace: "shop", Name: fmt.Sprintf("cart-%02d", n)}
}

// newHouse has 3 clusters of services, and of each kind of item 25 in the journal, the newest two of which are open.
func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{
		conditions: []Condition{{Name: "store"}, {Name: "detector"}},
		clusters:   []string{"c0", "c1", "c2"},
	}
	for n := range 25 {
		at := epoch.Add(time.Duration(n) * time.Minute)
		f := detector.Finding{
			ID: fmt.Sprintf("f%d", n), Service: cart(n), Signal: "errors", State: detector.Resolved, Start: at, At: at,
		}
		i := incident.Incident{
			ID: fmt.Sprintf("i%d", n), Service: cart(n), State: incident.Resolved, Severity: incident.Warning,
			Title: "as the journal has it", Opened: at, Updated: at,
		}
		c := fleet.Change{ID: fmt.Sprintf("a/b/%d", n), Service: cart(n), Kind: fleet.Rollout, At: at}
		if n >= 23 {
			f.State, i.State = detector.Open, incident.Open
			h.findings = append(h.findings, f)
			now := i
			now.Title = "as it is now"
			h.open = append(h.open, now)
		}
		h.record(t, KindFinding, f.ID, f)
		h.record(t, KindIncident, i.ID, i)
		h.record(t, KindChange, c.ID, c)
	}
	return h
}

func (h *house) record(t testing.TB, kind, key string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	h.records = append(h.records, Record{Seq: int64(len(h.records) + 1), Key: kind + " " + key, Data: data})
}

func (h *house) Services(_ context.Context, cluster string) ([]detector.ServiceStatus, error) {
	var out []detector.ServiceStatus
	for n := range 25 {
		if s := cart(n); s.Cluster == cluster {
			out = append(out, detector.ServiceStatus{Service: s, At: epoch, Score: 1, Signals: []detector.SeriesStatus{
				{Signal: "errors", State: detector.Normal},
				{Signal: "latency", State: detector.Warming},
			}})
		}
	}
	return out, h.broken
}

func (h *house) Findings(context.Context) ([]detector.Finding, error) { return h.findings, h.broken }

func (h *house) Incidents() []incident.Incident { return h.open }

func (h *house) Acknowledge(id, by string, at time.Time) (incident.Incident, error) {
	return h.set(id, func(i *incident.Incident) {
		i.State, i.AcknowledgedBy, i.AcknowledgedAt = incident.Acknowledged, by, at
	})
}

func (h *house) Resolve(id, by string, at time.Time) (incident.Incident, error) {
	return h.set(id, func(i *incident.Incident) {
		i.State, i.ResolvedBy, i.End = incident.Resolved, by, at
	})
}

func (h *house) set(id string, change func(*incident.Incident)) (incident.Incident, error) {
	if h.broken != nil {
		return incident.Incident{}, h.broken
	}
	for n := range h.open {
		if i := &h.open[n]; i.ID == id {
			if i.State == incident.Resolved {
				return *i, incident.ErrResolved
			}
			change(i)
			return *i, nil
		}
	}
	return incident.Incident{}, fmt.Errorf("incident %s: %w", id, incident.ErrUnknown)
}

// Read does what the journal does, for flat paths of two levels.
func (h *house) Read(_ context.Context, q HistoryQuery) ([]Record, error) {
	var out []Record
	for _, r := range slices.Backward(h.records) {
		kind, key, _ := strings.Cut(r.Key, " ")
		r.Key = key
		if kind != q.Kind || q.Key != "" && q.Key != key || q.Before > 0 && r.Seq >= q.Before || len(out) == q.Limit {
			continue
		}
		var data map[string]any
		if err := json.Unmarshal(r.Data, &data); err != nil {
			return nil, err
		}
		service := data["service"].(map[string]any)
		wanted := true
		for path, want := range q.Match {
			got, ok := data[path].(string)
			if name, is := strings.CutPrefix(path, "service."); is {
				got, ok = service[name].(string)
			}
			wanted = wanted && ok && got == want
		}
		at := cmp.Or(fmt.Sprint(data["updated"]), "")
		if kind != KindIncident {
			at = fmt.Sprint(data["at"])
		}
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return nil, err
		}
		if wanted && !when.Before(q.Since) && (q.Until.IsZero() || when.Before(q.Until)) {
			out = append(out, r)
		}
	}
	return out, h.broken
}

func (h *house) options() Options {
	return Options{
		Version:  "1.2.3",
		Gatherer: prometheus.NewRegistry(),
		Query: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/v1/panic" {
				panic("at the disco")
			}
			fmt.Fprintf(w, "queried %s", r.URL.Path)
		}),
		Ready:  func() []Condition { return h.conditions },
		Reload: func(context.Context) error { return h.reload },
		Status: func(context.Context) (Status, error) {
			return Status{Started: epoch, Roles: []string{"all"}}, h.broken
		},
		Clusters: func(context.Context) ([]Cluster, error) {
			var out []Cluster
			for _, name := range h.clusters {
				out = append(out, Cluster{Name: name, Reachable: true})
			}
			return out, h.broken
		},
		Services:  h,
		Findings:  h,
		Incidents: h,
		History:   h,
	}
}

// server returns a server of h after change has seen its options.
func (h *house) server(t testing.TB, change func(*Options)) *Server {
	t.Helper()
	o := h.options()
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// response is a Response as a client reads it.
type response struct {
	code      int
	header    http.Header
	body      string
	Status    string          `json:"status"`
	Data      json.RawMessage `json:"data"`
	Next      string          `json:"next"`
	ErrorType string          `json:"errorType"`
	Error     string          `json:"error"`
}

// ask sends a request from this host.
func ask(t testing.TB, s *Server, method, target, body string, header ...string) response {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:40000"
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if remote := r.Header.Get("test-remote"); remote != "" {
		r.RemoteAddr = remote
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	out := response{code: w.Code, header: w.Result().Header, body: string(text)}
	if strings.HasPrefix(out.header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatalf("%s: %v: %s", target, err, text)
		}
	}
	return out
}

// ids returns the IDs or the names of what a list holds.
func (r response) ids(t testing.TB) []string {
	t.Helper()
	var items []struct {
		ID      string
		Name    string
		Service fleet.Service
	}
	if err := json.Unmarshal(r.Data, &items); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	out := []string{}
	for _, i := range items {
		out = append(out, cmp.Or(i.ID, i.Name, i.Service.Name))
	}
	return out
}

const base = "/api/tocsin/v1/"

func TestPages(t *testing.T) {
	s := newHouse(t).server(t, nil)
	for _, list := range []string{"clusters", "services", "findings", "incidents", "changes"} {
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
		{"findings?zzzzzzzz=1", `known are cluster, cursor, limit, namespace, service, signal, since, state, until`},
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
			if r.code != 400 || r.Status != "error" || r.ErrorType != "bad_data" || !strings.Contains(r.Error, tc.want) {
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
	if r := ask(t, s, "GET", "/-/ready", ""); r.code != 200 || r.body != "store: ready\ndetector: ready\ntocsin is ready\n" {
		t.Errorf("%d: %q", r.code, r.body)
	}
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

func TestReload(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	for _, method := range []string{"POST", "PUT"} {
		if r := ask(t, s, method, "/-/reload", ""); r.code != 200 {
			t.Errorf("%s: %d: %s", method, r.code, r.body)
		}
	}
	if r := ask(t, s, "GET", "/-/reload", ""); r.code != 405 || r.header.Get("Allow") != "POST, PUT" {
		t.Errorf("GET: %d, Allow %q", r.code, r.header.Get("Allow"))
	}
	h.reload = errors.New("tocsin.yaml:3: clusters: mistyped")
	if r := ask(t, s, "POST", "/-/reload", ""); r.code != 500 || !strings.Contains(r.body, "tocsin.yaml:3") {
		t.Errorf("%d: %s", r.code, r.body)
	}
}

func TestAcknowledgeAndResolve(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	send := func(target, body string, header ...string) response {
		t.Helper()
		return ask(t, s, "POST", base+target, body, append([]string{"Content-Type", "application/json"}, header...)...)
	}
	r := send("incidents/i24/acknowledge", `{"by": "ann"}`)
	if r.code != 200 || h.open[1].AcknowledgedBy != "ann" || !strings.Contains(r.body, `"acknowledged_by":"ann"`) {
		t.Errorf("%d: %s", r.code, r.body)
	}
	basic := "Basic " + "Ym9iOnNlY3JldA==" // bob:secret
	if r := send("incidents/i23/acknowledge", `{}`, "Authorization", basic); r.code != 200 || h.open[0].AcknowledgedBy != "bob" {
		t.Errorf("%d: %s", r.code, r.body)
	}
	if r := send("incidents/i24/resolve", `{"by": "ann"}`); r.code != 200 || h.open[1].State != incident.Resolved {
		t.Errorf("%d: %s", r.code, r.body)
	}
	if r := send("incidents/i24/resolve", `{"by": "ann"}`); r.code != 409 || r.ErrorType != "conflict" {
		t.Errorf("resolve twice: %d: %s", r.code, r.body)
	}
	if r := send("incidents/i99/resolve", `{"by": "ann"}`); r.code != 404 {
		t.Errorf("unknown: %d: %s", r.code, r.body)
	}
	for _, body := range []string{``, `{}`, `{"by":""}`, `{"by":"  "}`, `{"by":7}`, `[]`, `{"by":"a","at":"now"}`} {
		if r := send("incidents/i23/resolve", body); r.code != 400 {
			t.Errorf("body %s: %d: %s", body, r.code, r.body)
		}
	}
	if r := send("incidents/i23/resolve", `{"by":"`+strings.Repeat("a", 2<<20)+`"}`); r.code != 413 {
		t.Errorf("large body: %d: %s", r.code, r.body)
	}
	r = ask(t, s, "POST", base+"incidents/i23/resolve", "by=ann", "Content-Type", "application/x-www-form-urlencoded")
	if r.code != 415 {
		t.Errorf("form: %d: %s", r.code, r.body)
	}
	if r := send("incidents/i23/resolve", `{"by": "ann", "note": "x"}`); r.code != 400 {
		t.Errorf("note: %d: %s", r.code, r.body)
	}
	if r := send("incidents/i23/resolve?now=1", `{"by": "ann"}`); r.code != 400 {
		t.Errorf("parameter: %d: %s", r.code, r.body)
	}
	h.broken = errors.New("no")
	if r := send("incidents/i23/resolve", `{"by": "ann"}`); r.code != 500 {
		t.Errorf("broken: %d: %s", r.code, r.body)
	}
}

func TestReconcile(t *testing.T) {
	var got []string
	s := newHouse(t).server(t, func(o *Options) {
		o.Reconcile = func(_ context.Context, by, note string) error {
			got = append(got, by, note)
			return nil
		}
	})
	for body, code := range map[string]int{
		`{"by":"ann","note":" nothing was lost "}`: 200,
		`{"by":"ann"}`:            400,
		`{"note":"no name"}`:      400,
		`{"by":"ann","note":" "}`: 400,
	} {
		r := ask(t, s, "POST", base+"journal/reconcile", body, "Content-Type", "application/json")
		if r.code != code {
			t.Errorf("%s: %d, want %d: %s", body, r.code, code, r.body)
		}
	}
	if want := []string{"ann", "nothing was lost"}; !slices.Equal(got, want) {
		t.Errorf("reconciled %q, want %q", got, want)
	}
}

func TestStrangersChangeNothing(t *testing.T) {
	h := newHouse(t)
	external, err := url.Parse("https://tocsin.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		header []string
		open   bool
		want   int
	}{
		{"on this host", nil, false, 200},
		{"on this host, IPv6", []string{"test-remote", "[::1]:4000"}, false, 200},
		{"elsewhere", []string{"test-remote", "192.0.2.1:4000"}, false, 403},
		{"elsewhere, but all may", []string{"test-remote", "192.0.2.1:4000"}, true, 200},
		{"behind a proxy on this host", []string{"X-Forwarded-For", "192.0.2.1"}, false, 403},
		{"a page of another site", []string{"Sec-Fetch-Site", "cross-site"}, false, 403},
		{"a page of another site, though all may", []string{"Sec-Fetch-Site", "cross-site"}, true, 403},
		{"a page of another origin", []string{"Origin", "https://evil.example"}, false, 403},
		{"a page of the external URL", []string{"Origin", "https://tocsin.example"}, false, 200},
		{"a page of its own", []string{"Sec-Fetch-Site", "same-origin"}, false, 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := h.server(t, func(o *Options) { o.Anonymous, o.ExternalURL = tc.open, external })
			for _, target := range []string{"/-/reload", base + "incidents/i24/acknowledge"} {
				r := ask(t, s, "POST", target, `{"by":"ann"}`, append(tc.header, "Content-Type", "application/json")...)
				if r.code != tc.want {
					t.Errorf("%s: %d, want %d: %s", target, r.code, tc.want, r.body)
				}
			}
		})
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
	if r := ask(t, s, "GET", "/ops/tocsin/", ""); !strings.Contains(r.body, `href="/ops/tocsin/api/tocsin/v1/status"`) {
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
