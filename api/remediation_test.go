package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/remediation/action"
)

// actions is an action.Engine in which nothing happens but what people ask for.
type actions struct {
	all    []action.Action
	paused []action.Pause
	broken error // What everything answers, if it is set.
}

func newActions() *actions {
	return &actions{paused: []action.Pause{
		{ID: "p0", At: epoch, Cause: action.ByStorm},
		{ID: "p1", At: epoch.Add(time.Minute), Cause: action.ByPeople, By: "ann"},
	}}
}

func (e *actions) Actions() []action.Action { return slices.Clone(e.all) }
func (e *actions) Pauses() []action.Pause   { return slices.Clone(e.paused) }

// change applies a change to an action in one of some states.
func (e *actions) change(
	id string, from []action.State, otherwise error, to action.State, step string,
) (action.Action, error) {
	for i := range e.all {
		a := &e.all[i]
		switch {
		case a.ID != id:
		case e.broken != nil:
			return action.Action{}, e.broken
		case !slices.Contains(from, a.State):
			return *a, fmt.Errorf("action %s: %w", id, otherwise)
		default:
			a.State = to
			a.Steps = append(a.Steps, action.Step{At: epoch, What: step})
			return *a, nil
		}
	}
	return action.Action{}, action.ErrUnknown
}

func (e *actions) Approve(_ context.Context, id, by, note string) (action.Action, error) {
	from := []action.State{action.Waiting}
	return e.change(id, from, action.ErrNotWaiting, action.Running, by+" approved: "+note)
}

func (e *actions) Abort(_ context.Context, id, by, why string) (action.Action, error) {
	from := []action.State{action.Waiting, action.Running}
	return e.change(id, from, action.ErrOver, action.Aborted, by+" aborted: "+why)
}

func (e *actions) Retry(_ context.Context, id, by, note string) (action.Action, error) {
	from := []action.State{action.Aborted, action.Recovered}
	return e.change(id, from, action.ErrTooLate, action.Proposed, by+" retried: "+note)
}

func (e *actions) Weekly(from, to time.Time) action.Report {
	total := action.Total{Done: len(e.all)}
	return action.Report{From: from, To: to, Total: total, Lines: []action.Line{}}
}

func (e *actions) Suspend(_ context.Context, p action.Pause) (action.Pause, error) {
	if e.broken != nil {
		return p, e.broken
	}
	p.ID, p.At = fmt.Sprintf("p%d", len(e.paused)), time.Now()
	e.paused = append(e.paused, p)
	return p, nil
}

func (e *actions) Continue(_ context.Context, id, by string) (action.Pause, error) {
	for i := range e.paused {
		p := &e.paused[i]
		if p.ID == id && p.Lifted.IsZero() {
			p.Lifted, p.LiftedBy = epoch, by
			return *p, e.broken
		}
	}
	return action.Pause{}, action.ErrUnknown
}

// one reads the one thing of an answer.
func one[T any](t *testing.T, r response) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(r.Data, &v); err != nil || r.code != 200 {
		t.Fatalf("%d, %v: %s", r.code, err, r.body)
	}
	return v
}

func TestPeopleDecideAboutActions(t *testing.T) {
	s := newHouse(t).server(t, nil)
	for _, tc := range []struct {
		order string
		state action.State
		step  string
	}{
		{"approve", action.Running, "ann approved: it is bad"},
		{"abort", action.Aborted, "ann aborted: it is bad"},
		{"retry", action.Proposed, "ann retried: it is bad"},
	} {
		r := post(t, s, "actions/undo-24/"+tc.order, `{"by":"ann","note":" it is bad "}`)
		a := one[action.Action](t, r)
		if a.State != tc.state || a.Steps[len(a.Steps)-1].What != tc.step {
			t.Errorf("%s: %+v", tc.order, a)
		}
	}
	r := post(t, s, "actions/undo-3/retry", `{}`, "Authorization", bob)
	if a := one[action.Action](t, r); a.Steps[0].What != "bob retried: " {
		t.Errorf("an authenticated person: %+v", a.Steps)
	}
}

func TestDecisionsThatAreNotTaken(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	long := strings.Repeat("ü", maxOpinionNote+1)
	for _, tc := range []struct {
		name, target, body string
		code               int
		says               string
	}{
		{"nobody", "undo-24/approve", `{}`, 400, "by"},
		{"long note", "undo-24/approve", `{"by":"ann","note":"` + long + `"}`, 400, "note"},
		{"unknown", "undo-99/approve", `{"by":"ann"}`, 404, "undo-99"},
		{"not waiting", "undo-3/approve", `{"by":"ann"}`, 409, "does not wait"},
		{"over", "undo-3/abort", `{"by":"ann"}`, 409, "over already"},
		{"too late", "undo-24/retry", `{"by":"ann"}`, 409, "written already"},
		{"unknown field", "undo-24/approve", `{"by":"ann","force":true}`, 400, "force"},
	} {
		r := post(t, s, "actions/"+tc.target, tc.body)
		if r.code != tc.code || !strings.Contains(r.Error, tc.says) {
			t.Errorf("%s: %d, want %d with %q: %s", tc.name, r.code, tc.code, tc.says, r.body)
		}
	}
	r := post(t, s, "actions/undo-24/approve", `{"by":"ann"}`, "Authorization", bob)
	if r.code != 400 || !strings.Contains(r.Error, `"bob"`) {
		t.Errorf("bob approves as ann: %d: %s", r.code, r.body)
	}
	for err, code := range map[error]int{
		action.ErrExpired: 409, action.ErrInvalid: 400, action.ErrNotRecorded: 503,
		errors.New("no"): 500,
	} {
		h.actions.broken = fmt.Errorf("approve: %w", err)
		if r := post(t, s, "actions/undo-24/approve", `{"by":"ann"}`); r.code != code {
			t.Errorf("%v: %d, want %d: %s", err, r.code, code, r.body)
		}
		if r := post(t, s, "pauses", `{"scope":"fleet","by":"ann"}`); r.code != code {
			t.Errorf("pause, %v: %d, want %d: %s", err, r.code, code, r.body)
		}
	}
}

func TestPause(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	for _, tc := range []struct {
		body  string
		scope action.Scope
		lasts time.Duration // 0: until people lift it.
	}{
		{`{"scope":"fleet","by":"ann","for":"1d"}`, action.Scope{}, 24 * time.Hour},
		{`{"scope":"eu-1","by":"ann"}`, action.Scope{Clusters: []string{"eu-1"}}, 0},
		{
			`{"scope":"eu-*/shop","by":"ann","for":"2h"}`,
			action.Scope{Clusters: []string{"eu-*"}, Namespaces: []string{"shop"}},
			2 * time.Hour,
		},
		{
			`{"scope":"*/shop/cart","by":"ann","until":"2100-01-01T00:00:00Z"}`,
			action.Scope{Namespaces: []string{"shop"}, Services: []string{"cart"}},
			time.Until(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)),
		},
		{`{"team":"pay","by":"ann"}`, action.Scope{Teams: []string{"pay"}}, 0},
	} {
		before := time.Now()
		p := one[action.Pause](t, post(t, s, "pauses", tc.body))
		if p.ID == "" || p.By != "ann" || p.Cause != action.ByPeople ||
			!reflect.DeepEqual(p.Scope, tc.scope) {
			t.Errorf("%s: %+v", tc.body, p)
		}
		lasts := p.Until.Sub(before)
		if p.Until.IsZero() != (tc.lasts == 0) ||
			tc.lasts > 0 && (lasts < tc.lasts-time.Minute || lasts > tc.lasts+time.Minute) {
			t.Errorf("%s: lasts %s, want %s", tc.body, lasts, tc.lasts)
		}
	}
	newest := ask(t, s, "GET", base+"pauses", "").ids(t)
	if len(newest) != 7 || newest[0] != "p6" || newest[6] != "p0" {
		t.Errorf("listed are %v", newest)
	}
	header := []string{"Content-Type", "application/json"}
	r := ask(t, s, "DELETE", base+"pauses/p6", `{"by":"bob"}`, header...)
	if p := one[action.Pause](t, r); p.LiftedBy != "bob" || p.Lifted.IsZero() {
		t.Errorf("lifted: %+v", p)
	}
	if r := ask(t, s, "DELETE", base+"pauses/p6", `{"by":"bob"}`, header...); r.code != 404 {
		t.Errorf("lifted twice: %d: %s", r.code, r.body)
	}
	if r := ask(t, s, "DELETE", base+"pauses/p5", ""); r.code != 400 {
		t.Errorf("lifted by nobody: %d: %s", r.code, r.body)
	}
}

func TestPausesThatAreNone(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	for body, says := range map[string]string{
		`{"by":"ann"}`:                   "write fleet",
		`{"scope":"a/b/c/d","by":"ann"}`: "cluster/namespace/service",
		`{"scope":"a//c","by":"ann"}`:    "cluster/namespace/service",
		`{"scope":"fleet"}`:              "by",

		`{"scope":"fleet","by":"ann","for":"soon"}`:   "2h or 1d",
		`{"scope":"fleet","by":"ann","for":"0s"}`:     "2h or 1d",
		`{"scope":"fleet","by":"ann","forever":true}`: "forever",

		`{"scope":"fleet","by":"ann","until":"2001-01-01T00:00:00Z"}`:            "over",
		`{"scope":"fleet","by":"ann","for":"1h","until":"2100-01-01T00:00:00Z"}`: "either",
	} {
		if r := post(t, s, "pauses", body); r.code != 400 || !strings.Contains(r.Error, says) {
			t.Errorf("%s: %d, want 400 with %q: %s", body, r.code, says, r.body)
		}
	}
	if len(h.actions.paused) != 2 {
		t.Errorf("paused are %+v", h.actions.paused)
	}
}

func TestStrangersDecideNothing(t *testing.T) {
	h := newHouse(t)
	external := &url.URL{Scheme: "https", Host: "tocsin.example"}
	s := h.server(t, func(o *Options) { o.ExternalURL = external })
	for _, stranger := range [][]string{
		{"test-remote", "192.0.2.1:4000"},
		{"X-Forwarded-For", "192.0.2.1"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Origin", "https://evil.example"},
	} {
		for target, body := range map[string]string{
			"releases/r24/mark":       `{"standing":"accepted","by":"ann"}`,
			"actions/undo-24/approve": `{"by":"ann"}`,
			"actions/undo-24/abort":   `{"by":"ann"}`,
			"actions/undo-3/retry":    `{"by":"ann"}`,
			"pauses":                  `{"scope":"fleet","by":"ann"}`,
		} {
			if r := post(t, s, target, body, stranger...); r.code != 403 {
				t.Errorf("%s by %v: %d: %s", target, stranger, r.code, r.body)
			}
		}
		if r := ask(t, s, "DELETE", base+"pauses/p1", "", stranger...); r.code != 403 {
			t.Errorf("resume by %v: %d: %s", stranger, r.code, r.body)
		}
	}
}

func TestDaemonThatDoesNotFollowReleases(t *testing.T) {
	s := newHouse(t).server(t, func(o *Options) { o.Releases, o.Actions = nil, nil })
	for _, target := range []string{
		"releases", "releases/r1", "actions", "actions/undo-1", "pauses", "report", "report?format=text",
	} {
		r := ask(t, s, "GET", base+target, "")
		if r.code != 503 || r.ErrorType != "unavailable" || !strings.Contains(r.Error, "this daemon") {
			t.Errorf("%s: %d: %s", target, r.code, r.body)
		}
	}
	for _, target := range []string{"releases/r1/mark", "actions/undo-1/approve", "pauses"} {
		r := post(t, s, target, `{"standing":"accepted","scope":"fleet","by":"ann"}`)
		if strings.HasPrefix(target, "releases") {
			r = post(t, s, target, `{"standing":"accepted","by":"ann"}`)
		}
		if r.code != 503 {
			t.Errorf("%s: %d: %s", target, r.code, r.body)
		}
	}
}

func TestReport(t *testing.T) {
	s := newHouse(t).server(t, nil)
	r := ask(t, s, "GET", base+"report?from=2026-03-01T00:00:00Z&to=2026-03-08T00:00:00Z", "")
	report := one[action.Report](t, r)
	if report.Total.Done != 25 || report.From.Day() != 1 || report.To.Day() != 8 {
		t.Errorf("%+v", report)
	}
	report = one[action.Report](t, ask(t, s, "GET", base+"report", ""))
	if d := report.To.Sub(report.From); d != 7*24*time.Hour || time.Since(report.To) > time.Minute {
		t.Errorf("a report is about %s until %s", d, report.To)
	}
	r = ask(t, s, "GET", base+"report?format=text", "")
	if r.code != 200 || !strings.HasPrefix(r.body, "Actions from") ||
		r.header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d: %s", r.code, r.body)
	}
	for query, says := range map[string]string{
		"?from=yesterday":      "2026-03-01T12:00:00Z",
		"?from=2100-01-01":     "2026-03-01T12:00:00Z",
		"?from=4102444800":     "not before",
		"?format=pdf":          "json, text",
		"?format=text&form=1":  "form",
		"?format=text&to=soon": "to",
	} {
		r := ask(t, s, "GET", base+"report"+query, "")
		if r.code != 400 || r.ErrorType != "bad_data" || !strings.Contains(r.Error, says) {
			t.Errorf("%s: %d: %s", query, r.code, r.body)
		}
	}
}
