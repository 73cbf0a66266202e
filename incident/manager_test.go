package incident_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// world drives a Manager as detector and collectors do, and remembers what it reported.
type world struct {
	t       *testing.T
	m       *incident.Manager
	now     time.Time
	reports []incident.Incident
}

func newWorld(t *testing.T, o incident.Options) *world {
	t.Helper()
	w := &world{t: t, now: noon}
	o.Report = func(i incident.Incident) { w.reports = append(w.reports, i) }
	m, err := incident.New(o)
	if err != nil {
		t.Fatal(err)
	}
	w.m = m
	return w
}

// pass lets cluster prod-eu advance by d in steps of 15s.
func (w *world) pass(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(15 * time.Second)
		w.m.Advance("prod-eu", w.now)
	}
}

// open reports findings as open from now on.
func (w *world) open(fs ...detector.Finding) {
	for _, f := range fs {
		f.State = detector.Open
		w.m.Find(f)
	}
}

// resolve reports findings as over.
func (w *world) resolve(fs ...detector.Finding) {
	for _, f := range fs {
		f.State, f.At, f.End, f.Reason = detector.Resolved, w.now, w.now, "back to normal"
		f.Observed = f.Expected
		w.m.Find(f)
	}
}

// last returns the newest report.
func (w *world) last() incident.Incident {
	w.t.Helper()
	if len(w.reports) == 0 {
		w.t.Fatal("nothing was reported")
	}
	return w.reports[len(w.reports)-1]
}

// opened returns the incidents that are open or acknowledged.
func (w *world) opened() []incident.Incident {
	return slices.DeleteFunc(w.m.Incidents(), func(i incident.Incident) bool {
		return i.State == incident.Resolved
	})
}

func (w *world) wantOpen(n int) {
	w.t.Helper()
	if got := len(w.opened()); got != n {
		w.t.Fatalf("%d incidents are open, want %d: %v", got, n, titles(w.opened()))
	}
}

func titles(all []incident.Incident) []string {
	var out []string
	for _, i := range all {
		out = append(out, i.Title)
	}
	return out
}

func service(namespace, name string) fleet.Service {
	return fleet.Service{Cluster: "prod-eu", Namespace: namespace, Name: name}
}

// finding returns one of the signals that the tests use.
func finding(s fleet.Service, signal string, start time.Time) detector.Finding {
	f := detector.Finding{
		ID:      fmt.Sprintf("%s/%s/%d", s, signal, start.Unix()),
		Service: s, Signal: signal, Start: start, At: start,
		Direction: detector.Up, Harmful: true, Score: 9, Peak: 9,
	}
	switch signal {
	case "errors":
		f.Kind, f.Unit, f.Observed, f.Expected = detector.Ratio, "%", 0.124, 0.003
	case "latency_p99":
		f.Kind, f.Unit, f.Observed, f.Expected = detector.Latency, "s", 2.1, 0.18
	case "cpu":
		f.Kind, f.Unit, f.Observed, f.Expected = detector.Saturation, "%", 0.93, 0.41
	case "requests":
		f.Kind, f.Unit, f.Observed, f.Expected = detector.Rate, "requests/s", 40, 160
		f.Direction = detector.Down
	case "small":
		f.Signal = "latency_p50"
		f.Kind, f.Unit, f.Observed, f.Expected = detector.Latency, "s", 0.11, 0.1
	}
	return f
}

func rollout(s fleet.Service, at time.Time) fleet.Change {
	return fleet.Change{
		ID: s.String() + at.String(), At: at, Service: s, Workload: fleet.Deployment,
		Kind:    fleet.Rollout,
		Summary: "image shop:v41 -> shop:v42",
		Old:     &fleet.Revision{Hash: "a", Images: []string{"shop:v41"}, Template: []byte(`{"a":1}`)},
		New:     &fleet.Revision{Hash: "b", Images: []string{"shop:v42"}, Template: []byte(`{"a":2}`)},
	}
}

func TestIncidentOfOneService(t *testing.T) {
	w := newWorld(t, incident.Options{})
	checkout := service("shop", "checkout")
	w.m.Change(rollout(checkout, noon.Add(-40*time.Second)))
	errs, latency := finding(checkout, "errors", noon), finding(checkout, "latency_p99", noon)
	w.open(errs)
	w.pass(15 * time.Second)
	w.wantOpen(0)
	w.open(latency)
	w.pass(30 * time.Second)

	if len(w.reports) != 1 {
		t.Fatalf("got %d reports, want one for all findings", len(w.reports))
	}
	i := w.last()
	want := "checkout in prod-eu: errors 12.4% (usually 0.3%), latency p99 2.1s (usually 180ms) " +
		"after rollout shop:v41 -> shop:v42"
	if i.Title != want {
		t.Errorf("title is\n%s, want\n%s", i.Title, want)
	}
	if i.State != incident.Open || i.Severity != incident.Critical || !i.Start.Equal(noon) {
		t.Errorf("got %s, %s, began %s", i.State, i.Severity, i.Start)
	}
	if i.Service != checkout || len(i.Services) != 1 || len(i.Findings) != 2 {
		t.Errorf("got services %v and %d findings", i.Services, len(i.Findings))
	}
	if len(i.Causes) != 1 || i.Causes[0].Why != "the same service, 40s before" ||
		i.Causes[0].Score < 0.9 {
		t.Errorf("got causes %+v", i.Causes)
	}
	if i.Causes[0].Change.New.Template != nil {
		t.Error("an incident carries whole pod templates")
	}
	effect := incident.Effect{
		Service: checkout, Signal: "errors", Harmful: true, Open: true,
		Observed: "12.4%", Expected: "0.3%", Difference: "+12.1 points (41.3 times)",
	}
	if diff := cmp.Diff(effect, i.Effects[0]); diff != "" {
		t.Errorf("effect (-want +got):\n%s", diff)
	}

	w.pass(time.Minute)
	if len(w.reports) != 1 {
		t.Fatal("an incident in which nothing happened was reported again")
	}
	w.resolve(errs, latency)
	ended := w.now
	w.pass(5 * time.Minute)
	w.wantOpen(1) // Quiet since the advance after that.
	w.pass(15 * time.Second)
	w.wantOpen(0)
	over := w.last()
	if over.ID != i.ID || over.State != incident.Resolved || !over.End.Equal(ended) ||
		over.Reason != "back to normal" {
		t.Errorf("got %s, %s, end %s, %q", over.ID, over.State, over.End, over.Reason)
	}
	if over.Effects[0].Observed != "12.4%" || over.Effects[0].Open || over.Title != i.Title {
		t.Errorf("what it was at its worst is lost: %+v, %s", over.Effects[0], over.Title)
	}
}

func TestFindingsBelongTogether(t *testing.T) {
	soon, near, later := noon.Add(20*time.Second), noon.Add(4*time.Minute), noon.Add(20*time.Minute)
	cart, pay, db := service("shop", "cart"), service("shop", "pay"), service("bank", "db")
	for _, tc := range []struct {
		name  string
		other detector.Finding
		want  int
	}{
		{"another signal of the service, much later", finding(cart, "cpu", later), 1},
		{"another service of the namespace", finding(pay, "errors", near), 1},
		{"another service of the namespace, much later", finding(pay, "errors", later), 2},
		{"another namespace at once", finding(db, "errors", soon), 1},
		{"another namespace later", finding(db, "errors", near), 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, incident.Options{})
			w.open(finding(service("shop", "cart"), "errors", noon))
			w.pass(max(tc.other.Start.Sub(noon), 30*time.Second))
			w.open(tc.other)
			w.pass(time.Minute)
			w.wantOpen(tc.want)
			first := w.m.Incidents()[len(w.m.Incidents())-1]
			if len(first.Findings) != 3-tc.want {
				t.Errorf("the first incident has %d findings", len(first.Findings))
			}
		})
	}
}

// Two services whose findings come within the group window, and then a third that belongs to
// both.
func TestGroupsMergeBeforeAnybodyIsTold(t *testing.T) {
	w := newWorld(t, incident.Options{Group: time.Minute})
	w.pass(3 * time.Minute)
	w.open(finding(service("a", "one"), "errors", noon))
	w.open(finding(service("b", "two"), "errors", noon.Add(3*time.Minute)))
	w.pass(30 * time.Second)
	bridge := finding(service("b", "three"), "latency_p99", noon.Add(15*time.Second))
	w.open(bridge)
	w.pass(2 * time.Minute)
	w.wantOpen(1)
	if len(w.reports) != 1 {
		t.Errorf("%d reports, want 1: a merged group must not notify", len(w.reports))
	}
	want := []fleet.Service{service("a", "one"), service("b", "three"), service("b", "two")}
	if diff := cmp.Diff(want, w.last().Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
}

func TestRootIsWhatChangedOrBeganFirst(t *testing.T) {
	front, db := service("shop", "front"), service("shop", "db")
	for _, tc := range []struct {
		name   string
		change []fleet.Change
		want   fleet.Service
	}{
		{"the first to suffer", nil, front},
		{"the one that was rolled out", []fleet.Change{rollout(db, noon.Add(-time.Minute))}, db},
		{"not one of long ago", []fleet.Change{rollout(db, noon.Add(-50*time.Minute))}, front},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, incident.Options{})
			for _, ch := range tc.change {
				w.m.Change(ch)
			}
			w.open(finding(db, "errors", noon.Add(15*time.Second)), finding(front, "errors", noon))
			w.pass(time.Minute)
			if i := w.last(); i.Service != tc.want || i.Services[0] != tc.want || len(i.Services) != 2 {
				t.Errorf("root is %s of %s, want %s", i.Service, i.Services, tc.want)
			}
		})
	}
}

func TestSeverity(t *testing.T) {
	s := service("shop", "cart")
	half := finding(s, "errors", noon)
	half.Observed = 0.02
	tiny := finding(s, "errors", noon)
	tiny.Observed = 0.008
	for _, tc := range []struct {
		name     string
		findings []detector.Finding
		want     incident.Severity
	}{
		{"many errors", []detector.Finding{finding(s, "errors", noon)}, incident.Critical},
		{"some errors", []detector.Finding{half}, incident.Warning},
		{"few errors", []detector.Finding{tiny}, incident.Info},
		{"slow", []detector.Finding{finding(s, "latency_p99", noon)}, incident.Critical},
		{"a little slower", []detector.Finding{finding(s, "small", noon)}, incident.Info},
		{"a little slower and busy", []detector.Finding{
			finding(s, "small", noon),
			finding(s, "cpu", noon),
		}, incident.Warning},
		{"traffic gone", []detector.Finding{finding(s, "requests", noon)}, incident.Critical},
		{"busy", []detector.Finding{finding(s, "cpu", noon)}, incident.Warning},
		{"three services a little slower", []detector.Finding{
			finding(s, "small", noon),
			finding(service("shop", "a"), "small", noon),
			finding(service("shop", "b"), "small", noon),
		}, incident.Critical},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, incident.Options{})
			w.open(tc.findings...)
			w.pass(30 * time.Second)
			if got := w.last().Severity; got != tc.want {
				t.Errorf("severity is %s, want %s", got, tc.want)
			}
		})
	}
}

func TestSeverityNeverFalls(t *testing.T) {
	w := newWorld(t, incident.Options{})
	s := service("shop", "cart")
	slow, errs := finding(s, "small", noon), finding(s, "errors", noon.Add(time.Minute))
	w.open(slow)
	w.pass(time.Minute)
	if got := w.last().Severity; got != incident.Info {
		t.Fatalf("severity is %s, want info", got)
	}
	w.open(errs)
	w.pass(15 * time.Second)
	w.resolve(errs)
	w.pass(time.Minute)
	if got := w.last().Severity; got != incident.Critical || len(w.reports) != 3 {
		t.Errorf("severity is %s after %d reports, want critical after 3", got, len(w.reports))
	}
}

func TestHarmlessFindingsAreContext(t *testing.T) {
	w := newWorld(t, incident.Options{})
	s := service("shop", "cart")
	fewer := finding(s, "cpu", noon)
	fewer.Harmful, fewer.Direction = false, detector.Down
	w.open(fewer)
	w.pass(10 * time.Minute)
	if len(w.reports) != 0 {
		t.Fatalf("a harmless finding was reported: %s", w.last().Title)
	}
	errs := finding(s, "errors", w.now)
	w.open(errs)
	w.pass(30 * time.Second)
	if n := len(w.last().Findings); n != 2 || w.last().Effects[1].Harmful {
		t.Errorf("incident has %d findings, want the harmful one and then its context", n)
	}
	w.resolve(errs)
	w.pass(6 * time.Minute)
	w.wantOpen(0) // Although the harmless one goes on.
}

func TestBlipOpensNothing(t *testing.T) {
	w := newWorld(t, incident.Options{Group: time.Minute})
	f := finding(service("shop", "cart"), "errors", noon)
	w.open(f)
	w.pass(30 * time.Second)
	w.resolve(f)
	w.pass(10 * time.Minute)
	if len(w.reports) != 0 {
		t.Errorf("reported %s", w.last().Title)
	}
}

func TestFlappingIsOneIncident(t *testing.T) {
	w := newWorld(t, incident.Options{})
	var id string
	for n := range 20 {
		f := finding(service("shop", "cart"), "errors", w.now)
		w.open(f)
		w.pass(time.Minute)
		if n == 0 {
			id = w.last().ID
		}
		w.resolve(f)
		w.pass(4 * time.Minute)
		w.wantOpen(1)
		if i := w.opened()[0]; i.ID != id || len(i.Findings) != 1 {
			t.Fatalf("round %d: ID %s (was %s), %d findings", n, i.ID, id, len(i.Findings))
		}
	}
	w.pass(2 * time.Minute)
	w.wantOpen(0)
}

func TestNextOccurrenceHasAnotherIDAndTheSameFingerprint(t *testing.T) {
	w := newWorld(t, incident.Options{})
	var seen []incident.Incident
	for range 2 {
		f := finding(service("shop", "cart"), "errors", w.now)
		w.open(f)
		w.pass(time.Minute)
		w.resolve(f)
		w.pass(6 * time.Minute)
		seen = append(seen, w.last())
	}
	if seen[0].ID == seen[1].ID || seen[0].Fingerprint != seen[1].Fingerprint {
		t.Errorf("IDs %s and %s, fingerprints %s and %s",
			seen[0].ID, seen[1].ID, seen[0].Fingerprint, seen[1].Fingerprint)
	}
	replica := newWorld(t, incident.Options{Group: time.Second})
	replica.open(finding(service("shop", "cart"), "errors", noon))
	replica.pass(time.Minute)
	if got := replica.last(); got.ID != seen[0].ID || got.Fingerprint != seen[0].Fingerprint {
		t.Errorf("a replica has ID %s and fingerprint %s", got.ID, got.Fingerprint)
	}
}

func TestSilentClusterKeepsItsIncidents(t *testing.T) {
	w := newWorld(t, incident.Options{})
	f := finding(service("shop", "cart"), "errors", noon)
	w.open(f)
	w.pass(time.Minute)
	w.resolve(f)
	for at := noon; at.Before(noon.Add(time.Hour)); at = at.Add(time.Minute) {
		w.m.Advance("prod-us", at)
	}
	w.wantOpen(1)
	w.m.Remove("prod-eu")
	w.wantOpen(0)
	if got := w.last().Reason; got != "the cluster is no longer watched" {
		t.Errorf("reason is %q", got)
	}
}

func TestAcknowledge(t *testing.T) {
	w := newWorld(t, incident.Options{})
	f := finding(service("shop", "cart"), "errors", noon)
	w.open(f)
	w.pass(time.Minute)
	id := w.last().ID
	if _, err := w.m.Acknowledge("no such", "ann", w.now); !errors.Is(err, incident.ErrUnknown) {
		t.Errorf("acknowledging what is not there: %v", err)
	}
	if _, err := w.m.Acknowledge(id, "ann", w.now); err != nil {
		t.Fatal(err)
	}
	if i := w.last(); i.State != incident.Acknowledged || i.AcknowledgedBy != "ann" {
		t.Errorf("reported %s by %q", i.State, i.AcknowledgedBy)
	}
	w.open(finding(service("shop", "cart"), "latency_p99", w.now))
	w.pass(15 * time.Second)
	if i := w.last(); i.State != incident.Acknowledged || len(i.Findings) != 2 {
		t.Errorf("reported %s with %d findings", i.State, len(i.Findings))
	}
	if _, err := w.m.Resolve(id, "ann", w.now); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.Acknowledge(id, "bob", w.now); !errors.Is(err, incident.ErrResolved) {
		t.Errorf("acknowledging what is resolved: %v", err)
	}
}

func TestResolvedByAPerson(t *testing.T) {
	w := newWorld(t, incident.Options{})
	s := service("shop", "cart")
	busy := finding(s, "cpu", noon)
	w.open(busy)
	w.pass(time.Minute)
	first, err := w.m.Resolve(w.last().ID, "ann", w.now)
	if err != nil || first.State != incident.Resolved || first.Reason != "resolved by ann" {
		t.Fatalf("resolved: %v, %s, %q", err, first.State, first.Reason)
	}
	reports := len(w.reports)
	busy.Score, busy.Observed = 10, 0.95
	w.open(busy)
	other := finding(s, "small", noon.Add(30*time.Second))
	other.Signal = "latency_p90"
	w.open(other)
	w.pass(10 * time.Minute)
	if len(w.reports) != reports {
		t.Fatalf("what a person resolved was reported again: %s", w.last().Title)
	}
	w.open(finding(s, "errors", w.now))
	w.pass(time.Minute)
	if i := w.last(); i.ID == first.ID || i.State != incident.Open {
		t.Errorf("what began later is %s in incident %s", i.State, i.ID)
	}
}

func TestResolvedByAPersonButWorse(t *testing.T) {
	w := newWorld(t, incident.Options{})
	slow := finding(service("shop", "cart"), "small", noon)
	w.open(slow)
	w.pass(time.Minute)
	first, err := w.m.Resolve(w.last().ID, "ann", w.now)
	if err != nil {
		t.Fatal(err)
	}
	slow.Observed, slow.Score, slow.Peak = 1.5, 20, 20
	w.open(slow)
	w.pass(time.Minute)
	w.wantOpen(1)
	if i := w.last(); i.ID == first.ID || i.Severity != incident.Critical {
		t.Errorf("ID %s (was %s), severity %s", i.ID, first.ID, i.Severity)
	}
}

func TestTitlesAreOneLine(t *testing.T) {
	w := newWorld(t, incident.Options{})
	ch := rollout(service("shop", "cart"), noon.Add(-time.Minute))
	ch.Summary = "image\n" + strings.Repeat("registry.example.com/a/very/long/name ", 50)
	w.m.Change(ch)
	w.open(finding(service("shop", "cart"), "errors", noon))
	w.pass(time.Minute)
	title := w.last().Title
	if strings.ContainsAny(title, "\n\t") || utf8.RuneCountInString(title) != 300 {
		t.Errorf("the title has %d characters: %q", utf8.RuneCountInString(title), title)
	}
}

// The detector gives up what it knew of a cluster that is removed, and says so last.
func TestRemovedClusterStaysRemoved(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	w := newWorld(t, incident.Options{Reg: reg})
	f := finding(service("shop", "cart"), "errors", noon)
	w.open(f)
	w.pass(time.Minute)
	w.m.Remove("prod-eu")
	w.resolve(f)
	want := `
# HELP tocsin_incident_inbox_findings Reports of findings that wait for their cluster to advance.
# TYPE tocsin_incident_inbox_findings gauge
tocsin_incident_inbox_findings 0
`
	err := testutil.GatherAndCompare(reg, strings.NewReader(want), "tocsin_incident_inbox_findings")
	if err != nil {
		t.Error(err)
	}
	w.m.Remove("prod-eu")
	if n := len(w.reports); n != 2 {
		t.Errorf("%d reports, want two", n)
	}
}

func TestStorm(t *testing.T) {
	w := newWorld(t, incident.Options{MaxOpen: 3})
	for n := range 10 {
		f := finding(service(fmt.Sprintf("ns%d", n), "svc"), "errors", w.now)
		w.open(f)
		w.pass(10 * time.Minute)
	}
	w.wantOpen(4)
	storm := w.last()
	if !strings.HasPrefix(storm.Title, "fleet storm in cluster prod-eu: 7 services") ||
		len(storm.Findings) != 7 || len(storm.Services) != 8 {
		t.Errorf("got %q with %d findings of %d services", storm.Title, len(storm.Findings),
			len(storm.Services))
	}
}

func TestLongListsAreCut(t *testing.T) {
	w := newWorld(t, incident.Options{})
	for n := range 150 {
		w.open(finding(service("shop", fmt.Sprintf("svc%03d", n)), "errors", noon))
	}
	w.pass(time.Minute)
	i := w.last()
	if len(i.Findings) != 100 || len(i.Effects) != 100 || i.Omitted != 50 || len(i.Services) != 150 {
		t.Errorf("%d findings, %d effects, %d omitted, %d services",
			len(i.Findings), len(i.Effects), i.Omitted, len(i.Services))
	}
}

func TestClockJumps(t *testing.T) {
	w := newWorld(t, incident.Options{})
	f := finding(service("shop", "cart"), "errors", noon)
	w.open(f)
	w.pass(time.Minute)
	w.now = w.now.Add(time.Hour)
	w.pass(time.Minute)
	w.now = w.now.Add(-2 * time.Hour)
	w.pass(time.Minute)
	w.wantOpen(1)
	w.resolve(f)
	w.pass(6 * time.Minute)
	w.wantOpen(0)
	w.now = w.now.Add(-3 * time.Hour)
	w.open(finding(service("shop", "cart"), "errors", w.now))
	w.pass(time.Minute)
	w.wantOpen(1)
}

func TestNumbersThatAreNone(t *testing.T) {
	w := newWorld(t, incident.Options{})
	f := finding(service("shop", "cart"), "errors", noon)
	f.Lower, f.Upper = math.Inf(-1), math.NaN()
	w.open(f)
	w.pass(time.Minute)
	if _, err := json.Marshal(w.last()); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	w := newWorld(t, incident.Options{Reg: reg})
	w.m.Change(rollout(service("shop", "cart"), noon))
	f := finding(service("shop", "cart"), "errors", noon)
	w.open(f)
	w.pass(time.Minute)
	want := `
# HELP tocsin_incident_groups_total Groups of findings, by what became of them.
# TYPE tocsin_incident_groups_total counter
tocsin_incident_groups_total{result="joined"} 0
tocsin_incident_groups_total{result="opened"} 1
tocsin_incident_groups_total{result="passed"} 0
# HELP tocsin_incident_inbox_findings Reports of findings that wait for their cluster to advance.
# TYPE tocsin_incident_inbox_findings gauge
tocsin_incident_inbox_findings 0
# HELP tocsin_incident_kept_changes Changes that are kept as possible causes.
# TYPE tocsin_incident_kept_changes gauge
tocsin_incident_kept_changes 1
# HELP tocsin_incident_open_incidents Incidents that are open or acknowledged.
# TYPE tocsin_incident_open_incidents gauge
tocsin_incident_open_incidents 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "tocsin_incident_groups_total",
		"tocsin_incident_inbox_findings", "tocsin_incident_kept_changes",
		"tocsin_incident_open_incidents"); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	if _, err := incident.New(incident.Options{}); err == nil {
		t.Error("no Report is accepted")
	}
	o := incident.Options{Report: func(incident.Incident) {}, Hold: -time.Second}
	if _, err := incident.New(o); err == nil || !strings.Contains(err.Error(), "Hold") {
		t.Errorf("a negative Hold: %v", err)
	}
}
