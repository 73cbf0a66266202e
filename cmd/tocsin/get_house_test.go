package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/api"
	"tocsin/detector"
	"tocsin/detector/budget"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
)

var (
	noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cart = fleet.Service{Cluster: "eu", Namespace: "shop", Name: "cart"}
	mail = fleet.Service{Cluster: "eu", Namespace: "shop", Name: "mail"}
)

// house is a daemon with a real API in front of parts that hold what the tests put there.
type house struct {
	URL string

	mu        sync.Mutex // Guards what follows.
	away      bool       // The daemon does not answer.
	incidents []incident.Incident
	findings  []detector.Finding
	journal   []api.Record
	records   []release.Record
	ledger    []release.Known // Of every workload.
	engine    engine
}

// startHouse starts a daemon that has an open incident of cart, one that is over of mail, as many
// findings, a release of cart that has regressed and waits for an approval to be taken back, and
// one of mail that cannot be judged.
func startHouse(t *testing.T) *house {
	t.Helper()
	return startHouseWith(t, func(*api.Options) {})
}

// startHouseWith starts it after change has seen the options of its API.
func startHouseWith(t *testing.T, change func(*api.Options)) *house {
	t.Helper()
	h := &house{}
	h.fill(t)
	options := h.options()
	change(&options)
	s, err := api.New(options)
	if err != nil {
		t.Fatal(err)
	}
	handler := s.Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		away := h.away
		h.mu.Unlock()
		if away {
			http.Error(w, "no upstream", http.StatusBadGateway)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	h.URL = server.URL
	return h
}

func (h *house) fill(t *testing.T) {
	t.Helper()
	found := detector.Finding{
		ID: "f1", Service: cart, Signal: "http_errors", Unit: "%", Kind: detector.Ratio,
		State: detector.Open, Start: noon, At: noon.Add(time.Minute), Harmful: true,
		Peak: 7.4, Threshold: 4.6, Observed: 0.124, Expected: 0.003,
	}
	over := found
	over.ID, over.Service, over.State = "f2", mail, detector.Resolved
	over.End, over.Reason = noon.Add(3*time.Minute), "back to normal"
	h.findings = []detector.Finding{found}
	open := incident.Incident{
		ID: "1a2b", Service: cart, State: incident.Open, Severity: incident.Critical,
		Title: "cart: errors 12.4% instead of 0.3%", Start: noon, Opened: noon.Add(45 * time.Second),
		Updated: noon.Add(time.Minute), Services: []fleet.Service{cart, mail},
		Findings: []detector.Finding{found},
		Effects: []incident.Effect{{
			Service: cart, Signal: "http errors", Harmful: true, Open: true,
			Observed: "12.4%", Expected: "0.3%", Difference: "+12.1 points (41 times)",
		}},
		Release: &incident.ReleaseInfo{
			ID: "8c1d2f", Service: cart, Workload: fleet.Deployment,
			Name: "v42", Images: "cart:v41 -> cart:v42",
			State: release.Rolling, Start: noon.Add(-40 * time.Second),
			Evidence: incident.Evidence{
				Tier: release.RollBack, After: 82 * time.Second, Effect: "errors +4.8 points",
				Interval: "+3.1 to +6.9 points", Chance: "at most one in 4,100 looks so",
			},
		},
		Acts: []incident.Act{{
			Release: "8c1d2f", ID: "undo-5b0d", At: noon.Add(50 * time.Second), Kind: "rollback",
			State: "waiting", Text: "waits for an approval",
		}},
		Causes: []incident.Cause{{
			Change: fleet.Change{
				ID: "eu/shop/cart/rollout/42", At: noon.Add(-40 * time.Second), Service: cart,
				Kind: fleet.Rollout, Summary: "image cart:v41 -> cart:v42", Author: "argocd",
			},
			Before: 40 * time.Second, Score: 0.93, Why: "the same service, 40s before",
		}},
	}
	ended := incident.Incident{
		ID: "1aff", Service: mail, State: incident.Resolved, Severity: incident.Warning,
		Title: "mail: slow", Start: noon.Add(-time.Hour), Opened: noon.Add(-time.Hour),
		Updated: noon.Add(-30 * time.Minute), End: noon.Add(-30 * time.Minute),
		Reason: "quiet for 5m", Services: []fleet.Service{mail}, AcknowledgedBy: "ann",
	}
	h.incidents = []incident.Incident{open}
	h.record(t, api.KindFinding, over.ID, over)
	h.record(t, api.KindFinding, found.ID, found)
	h.record(t, api.KindIncident, ended.ID, ended)
	h.record(t, api.KindIncident, open.ID, open)
	h.released(t)
}

// record puts something into the journal.
func (h *house) record(t *testing.T, kind, key string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	seq := int64(len(h.journal) + 1)
	h.journal = append(h.journal, api.Record{Seq: seq, Key: kind + " " + key, Data: data})
}

// Read does what the journal does.
func (h *house) Read(_ context.Context, q api.HistoryQuery) ([]api.Record, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []api.Record
	seen := make(map[string]bool)
	for _, r := range slices.Backward(h.journal) {
		if seen[r.Key] && !q.All {
			continue
		}
		seen[r.Key] = true
		kind, key, _ := strings.Cut(r.Key, " ")
		fits := kind == q.Kind && (q.Key == "" || q.Key == key) && (q.Before == 0 || r.Seq < q.Before)
		for path, want := range q.Match {
			fits = fits && at(r.Data, path) == want
		}
		if fits && len(out) < q.Limit {
			out = append(out, api.Record{Seq: r.Seq, Key: key, Data: r.Data})
		}
	}
	return out, nil
}

// at returns the string at a path of some JSON.
func at(text json.RawMessage, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(text, &fields); err != nil {
			return ""
		}
		text = fields[name]
	}
	var value string
	_ = json.Unmarshal(text, &value) // What is no string agrees with nothing.
	return value
}

func (h *house) Incidents() []incident.Incident {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.incidents)
}

func (h *house) Acknowledge(id, by string, at time.Time) (incident.Incident, error) {
	return h.care(id, func(i *incident.Incident) {
		i.State, i.AcknowledgedBy, i.AcknowledgedAt = incident.Acknowledged, by, at
	})
}

func (h *house) Resolve(id, by string, at time.Time) (incident.Incident, error) {
	return h.care(id, func(i *incident.Incident) {
		i.State, i.ResolvedBy, i.End = incident.Resolved, by, at
	})
}

func (h *house) care(id string, change func(*incident.Incident)) (incident.Incident, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := range h.incidents {
		if i := &h.incidents[n]; i.ID == id {
			if i.State == incident.Resolved {
				return *i, incident.ErrResolved
			}
			change(i)
			return *i, nil
		}
	}
	return incident.Incident{}, incident.ErrUnknown
}

func (h *house) Findings(context.Context) ([]detector.Finding, error) { return h.findings, nil }

func (h *house) Services(_ context.Context, cluster string) ([]detector.ServiceStatus, error) {
	if cluster != cart.Cluster {
		return nil, nil
	}
	return []detector.ServiceStatus{{
		Service: cart, At: noon, Score: 5.2,
		Budget: &budget.Status{Unit: "shop/cart", Asked: 0.5, Achieved: 0.33, Threshold: 4.62},
		Signals: []detector.SeriesStatus{
			{
				Signal: "http_errors", Kind: detector.Ratio, Unit: "%", State: detector.Finds, Seen: noon,
				Score: 6.1, Observed: 0.124, Expected: 0.003, Upper: 0.011, Finding: "f1", Threshold: 4.62,
			},
			{Signal: "cpu", State: detector.Warming, Reason: "2h of 24h of history"},
		},
	}, {Service: mail, At: noon, Score: 0.4}}, nil
}

func (h *house) Give(context.Context, api.Feedback) (api.Feedback, error) {
	return api.Feedback{}, api.ErrNotRecorded
}

func (h *house) Undo(context.Context, string, string, time.Time) (api.Feedback, error) {
	return api.Feedback{}, api.ErrNoFeedback
}

func (h *house) options() api.Options {
	return api.Options{
		Gatherer: prometheus.NewRegistry(),
		Query:    http.NotFoundHandler(),
		Ready:    func() []api.Condition { return nil },
		Reload:   func(context.Context) error { return nil },
		Status:   func(context.Context) (api.Status, error) { return api.Status{}, nil },
		Clusters: func(context.Context) ([]api.Cluster, error) {
			return []api.Cluster{
				{Name: "eu", Reachable: true, Newest: noon, Services: 2, Series: 9, Warm: 9, Backfill: 1},
				{Name: "us", Reason: "connection refused"},
			}, nil
		},
		Services:  h,
		Findings:  h,
		Incidents: h,
		Opinions:  h,
		History:   h,
		Releases:  h,
		Actions:   &h.engine,
	}
}

// tocsin runs a command against the daemon.
func (h *house) tocsin(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	out, code, _ = run(t, nil, append(args, "--url", h.URL)...)
	return out, code
}

// says checks how a command ends and that it prints some things.
func (h *house) says(t *testing.T, code int, args []string, want ...string) string {
	t.Helper()
	out, got := h.tocsin(t, args...)
	if got != code {
		t.Errorf("tocsin %s: exit %d, want %d: %s", strings.Join(args, " "), got, code, out)
	}
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("tocsin %s: printed\n%s\nwant %q in it", strings.Join(args, " "), out, w)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Errorf("tocsin %s: printed %q: it can steer the terminal", strings.Join(args, " "), out)
	}
	return out
}
