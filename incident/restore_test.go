package incident_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

// restart returns a world that knows what a journal would: the last report of each incident, as
// JSON, the findings that are open, and the changes.
func (w *world) restart(open []detector.Finding, changes ...fleet.Change) *world {
	w.t.Helper()
	last := make(map[string]incident.Incident)
	for _, i := range w.reports {
		last[i.ID] = i
	}
	var incidents []incident.Incident
	for _, i := range last {
		text, err := json.Marshal(i)
		if err != nil {
			w.t.Fatal(err)
		}
		var back incident.Incident
		if err := json.Unmarshal(text, &back); err != nil {
			w.t.Fatal(err)
		}
		incidents = append(incidents, back)
	}
	for n := range open {
		open[n].State = detector.Open
	}
	next := newWorld(w.t, incident.Options{})
	next.now = w.now
	next.m.Restore(incidents, open, changes)
	return next
}

func TestRestartKeepsIncidents(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart, pay := service("shop", "cart"), service("shop", "pay")
	errs, slow := finding(cart, "errors", noon), finding(pay, "latency_p99", noon.Add(time.Minute))
	ch := rollout(cart, noon.Add(-time.Minute))
	w.m.Change(ch)
	w.open(errs, slow)
	w.pass(2 * time.Minute)
	before := w.last()

	after := w.restart([]detector.Finding{errs, slow}, ch)
	after.pass(10 * time.Minute)
	if len(after.reports) != 0 {
		t.Errorf("after a restart it was reported again: %s", cmp.Diff(before, after.last()))
	}
	after.wantOpen(1)
	worse := slow
	worse.Observed, worse.Score, worse.Peak = 30, 25, 25
	after.open(worse)
	after.pass(15 * time.Second)
	i := after.last()
	if i.ID != before.ID || len(i.Findings) != 2 || i.Effects[0].Observed != "30s" ||
		i.Effects[1] != before.Effects[0] {
		t.Errorf("after the restart: ID %s (was %s), %+v", i.ID, before.ID, i.Effects)
	}
	after.resolve(errs, worse)
	after.pass(6 * time.Minute)
	if i := after.last(); i.ID != before.ID || i.State != incident.Resolved ||
		i.Effects[1] == (incident.Effect{}) {
		t.Errorf("got %s, %s", i.ID, i.State)
	}
}

func TestRestartBeforeAnIncidentOpened(t *testing.T) {
	f := finding(service("shop", "cart"), "errors", noon)
	w := newWorld(t, incident.Options{})
	w.open(f)
	w.pass(15 * time.Second)
	after := w.restart([]detector.Finding{f})
	after.pass(time.Minute)
	after.wantOpen(1)
	whole := newWorld(t, incident.Options{})
	whole.open(f)
	whole.pass(time.Minute)
	if after.last().ID != whole.last().ID {
		t.Error("the restart has changed the ID")
	}
}

// The finding was journalled as over, the incident was not yet.
func TestRestartAfterAFindingResolved(t *testing.T) {
	f := finding(service("shop", "cart"), "errors", noon)
	w := newWorld(t, incident.Options{})
	w.open(f)
	w.pass(time.Minute)
	after := w.restart(nil)
	after.pass(6 * time.Minute)
	if i := after.last(); i.State != incident.Resolved || i.ID != w.last().ID {
		t.Errorf("got %s, %s", i.State, i.Reason)
	}
}

// The detector has lost its memory and never mentions the finding again.
func TestReconcile(t *testing.T) {
	cart := finding(service("shop", "cart"), "errors", noon)
	pay := finding(service("shop", "pay"), "errors", noon)
	w := newWorld(t, incident.Options{})
	w.open(cart, pay)
	w.pass(time.Minute)
	after := w.restart([]detector.Finding{cart, pay})
	after.m.Reconcile("prod-eu", []detector.Finding{pay}, after.now)
	after.pass(10 * time.Minute)
	after.wantOpen(1)
	after.m.Reconcile("prod-eu", nil, after.now)
	after.pass(6 * time.Minute)
	after.wantOpen(0)
}

func TestRestartKeepsWhatAPersonResolved(t *testing.T) {
	f := finding(service("shop", "cart"), "small", noon)
	w := newWorld(t, incident.Options{})
	w.open(f)
	w.pass(time.Minute)
	if _, err := w.m.Resolve(w.last().ID, "ann", w.now); err != nil {
		t.Fatal(err)
	}
	after := w.restart([]detector.Finding{f})
	after.pass(10 * time.Minute)
	if len(after.reports) != 0 {
		t.Errorf("reported %s", after.last().Title)
	}
}

func TestRestartKeepsOmittedFindings(t *testing.T) {
	w := newWorld(t, incident.Options{})
	var all []detector.Finding
	for n := range 150 {
		all = append(all, finding(service("shop", time.Duration(n).String()), "errors", noon))
	}
	w.open(all...)
	w.pass(time.Minute)
	after := w.restart(all)
	after.pass(time.Minute)
	after.wantOpen(1)
	after.resolve(all[:149]...)
	after.pass(10 * time.Minute)
	after.wantOpen(1)
	after.resolve(all...)
	after.pass(10 * time.Minute)
	after.wantOpen(0)
}
