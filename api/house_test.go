package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
	releases   *releases
	actions    *actions
	unwritable error // What giving and undoing feedback answers, if it is set.
	broken     error // What every source answers, if it is set.
}

func cart(n int) fleet.Service {
	return fleet.Service{Cluster: fmt.Sprintf("c%d", n%3), Namespace: "shop", Name: fmt.Sprintf("cart-%02d", n)}
}

// newHouse has 3 clusters of services, and of each kind of item 25 in the journal, the newest two
// of which are open.
func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{
		conditions: []Condition{{Name: "store"}, {Name: "detector"}},
		clusters:   []string{"c0", "c1", "c2"},
		releases:   &releases{},
		actions:    newActions(),
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
		h.released(t, n, at)
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

// Give puts feedback in force, and in the place of what its author has said of the same.
func (h *house) Give(_ context.Context, f Feedback) (Feedback, error) {
	if h.unwritable != nil {
		return Feedback{}, h.unwritable
	}
	for _, old := range h.feedback() {
		if old.State == FeedbackActive && old.By == f.By && old.Finding == f.Finding {
			old.State, old.Ended = FeedbackReplaced, f.At
			h.keep(old)
		}
	}
	f.ID, f.State = fmt.Sprintf("fb%d", len(h.records)), FeedbackActive
	h.keep(f)
	return f, nil
}

func (h *house) Undo(_ context.Context, id, by string, at time.Time) (Feedback, error) {
	if h.unwritable != nil {
		return Feedback{}, h.unwritable
	}
	for _, f := range h.feedback() {
		switch {
		case f.ID != id:
		case f.State != FeedbackActive:
			return f, fmt.Errorf("%s: %w", id, ErrFeedbackOver)
		default:
			f.State, f.Ended, f.EndedBy = FeedbackUndone, at, by
			h.keep(f)
			return f, nil
		}
	}
	return Feedback{}, ErrNoFeedback
}

// feedback returns what was given, as it is now.
func (h *house) feedback() []Feedback {
	var out []Feedback
	for _, r := range h.records {
		var f Feedback
		if strings.HasPrefix(r.Key, KindFeedback+" ") && json.Unmarshal(r.Data, &f) == nil {
			out = append(out, f)
		}
	}
	return out
}

// keep records feedback as it is now, and forgets how it was.
func (h *house) keep(f Feedback) {
	key := KindFeedback + " " + f.ID
	h.records = slices.DeleteFunc(h.records, func(r Record) bool { return r.Key == key })
	data, err := json.Marshal(f)
	if err != nil {
		panic(err) // It has a form in JSON.
	}
	last := h.records[len(h.records)-1]
	h.records = append(h.records, Record{Seq: last.Seq + 1, Key: key, Data: data})
}

// inside returns what is at a path of some JSON.
func inside(data any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		fields, _ := data.(map[string]any)
		data = fields[name]
	}
	return data
}

// Read does what the journal does.
func (h *house) Read(_ context.Context, q HistoryQuery) ([]Record, error) {
	var out []Record
	seen := make(map[string]bool)
	for _, r := range slices.Backward(h.records) {
		if seen[r.Key] && !q.All {
			continue
		}
		seen[r.Key] = true
		kind, key, _ := strings.Cut(r.Key, " ")
		r.Key = key
		if kind != q.Kind || q.Key != "" && q.Key != key ||
			q.Before > 0 && r.Seq >= q.Before || len(out) == q.Limit {
			continue
		}
		var data any
		if err := json.Unmarshal(r.Data, &data); err != nil {
			return nil, err
		}
		wanted := true
		for path, want := range q.Match {
			got, ok := inside(data, path).(string)
			wanted = wanted && ok && got == want
		}
		reported := map[string]string{KindIncident: "updated", KindRelease: "release.start"}
		at := inside(data, cmp.Or(reported[kind], "at"))
		when, err := time.Parse(time.RFC3339, fmt.Sprint(at))
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
		Opinions:  h,
		History:   h,
		Releases:  h.releases,
		Actions:   h.actions,
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
		Release json.RawMessage // A release, or the ID of one.
	}
	if err := json.Unmarshal(r.Data, &items); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
	out := []string{}
	for _, i := range items {
		var release struct{ ID string }
		if i.ID == "" && i.Release != nil {
			if err := json.Unmarshal(i.Release, &release); err != nil {
				t.Fatalf("%v: %s", err, r.body)
			}
		}
		out = append(out, cmp.Or(i.ID, release.ID, i.Name, i.Service.Name))
	}
	return out
}

const base = "/api/tocsin/v1/"
