package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/release/evidence"
	"tocsin/remediation/action"
)

// releases is a release.Manager that holds what it was given.
type releases struct {
	records []release.Record
	ledger  []release.Known // Of every workload.
	broken  error           // What Mark answers, if it is set.
}

func (m *releases) Records() []release.Record { return slices.Clone(m.records) }

func (m *releases) Ledger(k release.Key) []release.Known {
	if !slices.ContainsFunc(m.records, func(r release.Record) bool { return r.Release.Key == k }) {
		return nil
	}
	return slices.Clone(m.ledger)
}

func (m *releases) Mark(
	_ context.Context, _ release.Key, hash string, s release.Standing, by string, at time.Time,
) error {
	if m.broken != nil {
		return m.broken
	}
	for i := range m.ledger {
		if k := &m.ledger[i]; k.Hash == hash {
			k.Standing, k.By, k.At = s, by, at
			return nil
		}
	}
	return fmt.Errorf("mark %s: %w", hash, release.ErrUnknownRevision)
}

// released adds the release of a cart and what was done about it. The last two run, and the last
// one has regressed.
func (h *house) released(t testing.TB, n int, at time.Time) {
	t.Helper()
	r := release.Record{Release: release.Release{
		Key: release.Key{Service: cart(n), Workload: fleet.Deployment}, ID: fmt.Sprintf("r%d", n),
		Old: fleet.Revision{Hash: "77c1"}, New: fleet.Revision{Hash: "d09e"},
		State: release.Done, Start: at, Result: release.Healthy,
	}}
	a := action.Action{
		ID: fmt.Sprintf("undo-%d", n), Release: r.Release.ID, Service: cart(n), Proposed: at,
		Changed: at, Kind: action.KindRollback, State: action.Recovered,
	}
	if n >= 23 {
		r.Release.State, r.Release.Result = release.Rolling, release.Inconclusive
		r.Verdict = release.Verdict{Metric: "cpu", Lower: math.Inf(-1), Upper: math.Inf(1)}
	}
	if n == 24 {
		r.Release.Result = release.Regressed
		r.Verdict = release.Verdict{
			Result: release.Regressed, EValue: math.Inf(1), Metric: "errors",
			Metrics: []evidence.Finding{{Name: "errors", LogE: 12, Effect: 0.05, Upper: 0.06}},
		}
		a.State = action.Waiting
	}
	h.record(t, KindRelease, r.Release.ID, r)
	if n >= 23 {
		h.releases.records = append(h.releases.records, r)
	}
	h.releases.ledger = []release.Known{
		{Hash: "77c1", Standing: release.Accepted}, {Hash: "d09e", Standing: release.Bad},
	}
	h.actions.all = append(h.actions.all, a)
}

// detailed reads the one release of an answer.
func detailed(t *testing.T, r response) ReleaseDetail {
	t.Helper()
	var d ReleaseDetail
	if err := json.Unmarshal(r.Data, &d); err != nil || r.code != 200 {
		t.Fatalf("%d, %v: %s", r.code, err, r.body)
	}
	return d
}

func TestReleaseHasAllThatIsKnownOfIt(t *testing.T) {
	s := newHouse(t).server(t, nil)
	d := detailed(t, ask(t, s, "GET", base+"releases/r24", ""))
	if d.Release.ID != "r24" || d.Verdict.Result != release.Regressed ||
		!math.IsInf(d.Verdict.EValue, 1) || len(d.Verdict.Metrics) != 1 ||
		d.Verdict.Metrics[0].LogE != 12 {
		t.Errorf("release: %+v", d.Record)
	}
	if len(d.Ledger) != 2 || d.Ledger[1].Standing != release.Bad {
		t.Errorf("ledger: %+v", d.Ledger)
	}
	if len(d.Actions) != 1 || d.Actions[0].ID != "undo-24" {
		t.Errorf("actions: %+v", d.Actions)
	}
	old := ask(t, s, "GET", base+"releases/r3", "")
	d = detailed(t, old)
	if d.Release.Service != cart(3) || d.Release.State != release.Done || len(d.Actions) != 1 ||
		!strings.Contains(old.body, `"ledger":[]`) {
		t.Errorf("of the journal: %s", old.body)
	}
}

func TestReleaseHasTheStepsOfItsLife(t *testing.T) {
	h := newHouse(t)
	x := release.Release{
		Key: release.Key{Service: cart(5), Workload: fleet.Deployment}, ID: "new", Start: epoch,
		Author: "ann", EndedBy: "bob", Reason: "it was taken back",
	}
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	v := release.Verdict{
		Result: release.Regressed, Upper: math.Inf(1), Reason: "errors worse",
		Metrics: []evidence.Finding{{Name: "errors"}},
	}
	for n, e := range []release.Event{
		{Transition: &release.Transition{To: release.Rolling}},
		{Transition: &release.Transition{
			From: release.Rolling, To: release.Rolling, Fact: release.CrashLoop,
		}},
		{Record: release.Record{Verdict: v}},
		{Transition: &release.Transition{From: release.Rolling, To: release.RolledBack}},
	} {
		e.Release, e.At = x, at(n)
		if e.Transition != nil {
			e.Transition.At = at(n)
		}
		h.record(t, KindRelease, x.ID, e)
	}
	d := detailed(t, ask(t, h.server(t, nil), "GET", base+"releases/new", ""))
	v.Metrics = nil
	want := []ReleaseStep{
		{At: at(0), To: release.Rolling, By: "ann"},
		{At: at(1), From: release.Rolling, To: release.Rolling, Fact: release.CrashLoop},
		{At: at(2), Verdict: &v, Reason: "errors worse"},
		{
			At: at(3), From: release.Rolling, To: release.RolledBack, Reason: "it was taken back",
			By: "bob",
		},
	}
	if !reflect.DeepEqual(d.Steps, want) {
		t.Errorf("steps\n%+v\nwant\n%+v", d.Steps, want)
	}
}

func TestReleaseOfADaemonThatDoesNotAct(t *testing.T) {
	s := newHouse(t).server(t, func(o *Options) { o.Actions = nil })
	if d := detailed(t, ask(t, s, "GET", base+"releases/r24", "")); len(d.Actions) != 0 {
		t.Errorf("actions: %+v", d.Actions)
	}
}

func TestMark(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	d := detailed(t, post(t, s, "releases/r24/mark", `{"standing":"accepted","by":"ann"}`))
	if k := d.Ledger[1]; k.Standing != release.Accepted || k.By != "ann" || k.At.IsZero() {
		t.Errorf("marked %+v", k)
	}
	d = detailed(t, post(t, s, "releases/r23/mark", `{"standing":"unknown"}`, "Authorization", bob))
	if k := d.Ledger[1]; k.Standing != release.Unknown || k.By != "bob" {
		t.Errorf("marked by an authenticated person: %+v", k)
	}
	for _, tc := range []struct {
		name, target, body string
		code               int
		says               string
	}{
		{"no standing", "r24", `{"by":"ann"}`, 400, "accepted, regressed or unknown"},
		{"another standing", "r24", `{"standing":"good","by":"ann"}`, 400, `"good"`},
		{"nobody", "r24", `{"standing":"accepted"}`, 400, "by"},
		{"unknown release", "r99", `{"standing":"accepted","by":"ann"}`, 404, "r99"},
		{"unknown field", "r24", `{"standing":"accepted","by":"ann","why":"x"}`, 400, "why"},
	} {
		r := post(t, s, "releases/"+tc.target+"/mark", tc.body)
		if r.code != tc.code || !strings.Contains(r.Error, tc.says) {
			t.Errorf("%s: %d, want %d with %q: %s", tc.name, r.code, tc.code, tc.says, r.body)
		}
	}
	for err, code := range map[error]int{
		release.ErrUnknownRevision: 409, ErrNotRecorded: 503, errors.New("no"): 500,
	} {
		h.releases.broken = fmt.Errorf("mark: %w", err)
		r := post(t, s, "releases/r24/mark", `{"standing":"accepted","by":"ann"}`)
		if r.code != code || !strings.Contains(r.Error, err.Error()) {
			t.Errorf("%v: %d, want %d: %s", err, r.code, code, r.body)
		}
	}
}

func TestReleasesRefuseAVerdictThatIsNone(t *testing.T) {
	s := newHouse(t).server(t, nil)
	r := ask(t, s, "GET", base+"releases?result=bad", "")
	if r.code != 400 || !strings.Contains(r.Error, "inconclusive, healthy or regressed") {
		t.Errorf("%d: %s", r.code, r.body)
	}
}
