package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

// post sends JSON.
func post(t *testing.T, s *Server, target, body string, header ...string) response {
	t.Helper()
	header = append(header, "Content-Type", "application/json")
	return ask(t, s, "POST", base+target, body, header...)
}

// undo deletes feedback and says who does it.
func undo(t *testing.T, s *Server, id, body string, header ...string) response {
	t.Helper()
	header = append(header, "Content-Type", "application/json")
	return ask(t, s, "DELETE", base+"feedback/"+id, body, header...)
}

// given reads the one feedback of an answer.
func given(t *testing.T, r response) Feedback {
	t.Helper()
	var f Feedback
	if err := json.Unmarshal(r.Data, &f); err != nil || r.code != 200 {
		t.Fatalf("%d, %v: %s", r.code, err, r.body)
	}
	return f
}

const (
	bob = "Basic " + "Ym9iOnNlY3JldA==" // bob:secret
	ann = "Basic " + "YW5uOnNlY3JldA=="
)

func TestFeedbackOnAFinding(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	for _, id := range []string{"f24", "f3"} { // One that is open, one of the journal.
		const body = `{"opinion":"not useful","note":" a test ","by":"ann"}`
		f := given(t, post(t, s, "findings/"+id+"/feedback", body))
		n := map[string]int{"f24": 24, "f3": 3}[id]
		start := epoch.Add(time.Duration(n) * time.Minute)
		want := []JudgedSeries{{Service: cart(n), Signal: "errors", Finding: id, Start: start}}
		if f.ID == "" || f.State != FeedbackActive ||
			f.Opinion != detector.NotUseful || f.Note != "a test" || f.By != "ann" || f.At.IsZero() || f.Finding != id || f.Incident != "" || f.Service != cart(n) ||
			f.Signal != "errors" || !slices.Equal(f.Series, want) {
			t.Errorf("%s: %+v", id, f)
		}
		var same Feedback
		r := ask(t, s, "GET", base+"feedback/"+f.ID, "")
		if err := json.Unmarshal(r.Data, &same); err != nil || same.ID != f.ID || same.Note != f.Note {
			t.Errorf("read again: %v: %s", err, r.body)
		}
	}
}

func TestFeedbackOnAnIncident(t *testing.T) {
	h := newHouse(t)
	h.open[1].Findings = []detector.Finding{
		{ID: "f24", Service: cart(24), Signal: "errors"}, {ID: "f8", Service: cart(8), Signal: "latency"},
	}
	s := h.server(t, nil)
	f := given(t, post(t, s, "incidents/i24/feedback", `{"opinion":"expected","by":"ann"}`))
	want := []JudgedSeries{
		{Service: cart(24), Signal: "errors", Finding: "f24"},
		{Service: cart(8), Signal: "latency", Finding: "f8"},
	}
	if f.Incident != "i24" || f.Finding != "" || f.Service != cart(24) || f.Signal != "" ||
		!slices.Equal(f.Series, want) {
		t.Errorf("%+v", f)
	}
	if r := post(t, s, "incidents/i3/feedback", `{"opinion":"expected","by":"ann"}`); r.code != 400 ||
		!strings.Contains(r.Error, "no finding") {
		t.Errorf("without findings: %d: %s", r.code, r.body)
	}
	old := incident.Incident{
		ID: "old", Service: fleet.Service{Cluster: "c0"}, Updated: epoch,
		Findings: []detector.Finding{{ID: "f1", Service: cart(1), Signal: "errors"}},
	}
	h.record(t, KindIncident, old.ID, old)
	f = given(t, post(t, s, "incidents/old/feedback", `{"opinion":"useful","by":"ann"}`))
	if len(f.Series) != 1 || f.Series[0].Finding != "f1" {
		t.Errorf("of the journal: %+v", f)
	}
}

func TestFeedbackIsListedAndUndone(t *testing.T) {
	s := newHouse(t).server(t, nil)
	var ids []string
	for n := range 3 {
		body := fmt.Sprintf(`{"opinion":"useful","by":"p%d"}`, n)
		ids = append(ids, given(t, post(t, s, "findings/f24/feedback", body)).ID)
	}
	newer := given(t, post(t, s, "findings/f24/feedback", `{"opinion":"expected","by":"p0"}`))
	f := given(t, undo(t, s, ids[1], `{"by":"ann"}`))
	if f.State != FeedbackUndone || f.EndedBy != "ann" || f.By != "p1" || f.Ended.IsZero() {
		t.Errorf("undone: %+v", f)
	}
	for query, want := range map[string][]string{
		"?":                         {ids[1], newer.ID, ids[0], ids[2]},
		"?state=active":             {newer.ID, ids[2]},
		"?state=undone":             {ids[1]},
		"?state=replaced&by=p0":     {ids[0]},
		"?opinion=expected":         {newer.ID},
		"?finding=f24&by=p2":        {ids[2]},
		"?service=cart-23":          {},
		"?service=cart-24&by=p2":    {ids[2]},
		"?signal=errors&by=p2":      {ids[2]},
		"?incident=i24":             {},
		"?since=2100-01-01T00:00:0": nil,
	} {
		r := ask(t, s, "GET", base+"feedback"+query, "")
		if want == nil {
			if r.code != 400 {
				t.Errorf("%s: %d: %s", query, r.code, r.body)
			}
			continue
		}
		if got := r.ids(t); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	r := ask(t, s, "GET", base+"feedback?limit=1&state=active", "")
	if got := r.ids(t); !slices.Equal(got, []string{newer.ID}) || r.Next == "" {
		t.Errorf("first page: %v, next %q", got, r.Next)
	}
	r = ask(t, s, "GET", base+"feedback?limit=1&state=active&cursor="+r.Next, "")
	if got := r.ids(t); !slices.Equal(got, ids[2:]) || r.Next != "" {
		t.Errorf("second page: %v, next %q", got, r.Next)
	}
	if r := undo(t, s, ids[1], `{"by":"ann"}`); r.code != 409 || r.ErrorType != "conflict" {
		t.Errorf("undo twice: %d: %s", r.code, r.body)
	}
	if r := undo(t, s, "none", `{"by":"ann"}`); r.code != 404 {
		t.Errorf("undo of nothing: %d: %s", r.code, r.body)
	}
}

func TestBadFeedbackNamesTheField(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	before := len(h.records)
	long := strings.Repeat("ü", maxOpinionNote+1)
	const valid = `{"opinion":"useful","by":"ann"}`
	for _, tc := range []struct {
		name, target, body string
		code               int
		says               string
	}{
		{"no opinion", "findings/f24", `{"by":"ann"}`, 400, "opinion"},
		{"unknown opinion", "findings/f24", `{"opinion":"x","by":"ann"}`, 400, "useful or expected"},
		{"opinion is a number", "findings/f24", `{"opinion":1,"by":"ann"}`, 400, "opinion"},
		{"long note", "findings/f24", `{"opinion":"useful","note":"` + long + `"}`, 400, "note"},
		{"nobody", "findings/f24", `{"opinion":"useful"}`, 400, "by"},
		{"long name", "findings/f24", `{"opinion":"useful","by":"` + long + `"}`, 400, "by"},
		{"unknown field", "findings/f24", `{"opinion":"useful","by":"ann","notes":""}`, 400, "notes"},
		{"no JSON", "findings/f24", `useful`, 400, "body"},
		{"too large", "findings/f24", `{"note":"` + strings.Repeat("a", maxBody) + `"}`, 413, "large"},
		{"unknown finding", "findings/f99", valid, 404, "f99"},
		{"unknown incident", "incidents/i99", valid, 404, "i99"},
		{"an incident's ID", "findings/i24", valid, 404, "i24"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := post(t, s, tc.target+"/feedback", tc.body)
			if r.code != tc.code || !strings.Contains(r.Error, tc.says) {
				t.Errorf("%d, want %d with %q: %s", r.code, tc.code, tc.says, r.body)
			}
		})
	}
	form := ask(t, s, "POST", base+"findings/f24/feedback", "opinion=useful",
		"Content-Type", "application/x-www-form-urlencoded")
	if form.code != 415 {
		t.Errorf("form: %d: %s", form.code, form.body)
	}
	if r := post(t, s, "findings/f24/feedback?by=ann", valid); r.code != 400 {
		t.Errorf("parameter: %d: %s", r.code, r.body)
	}
	for body, code := range map[string]int{``: 400, `{"by":" "}`: 400, `{"who":"ann"}`: 400} {
		if r := undo(t, s, "fb1", body); r.code != code || !strings.Contains(r.Error, "by") {
			t.Errorf("undo %s: %d: %s", body, r.code, r.body)
		}
	}
	if len(h.records) != before {
		t.Error("something was recorded")
	}
}

func TestFeedbackHasTheNameOfItsAuthor(t *testing.T) {
	s := newHouse(t).server(t, nil)
	f := given(t, post(t, s, "findings/f24/feedback", `{"opinion":"useful"}`, "Authorization", bob))
	if f.By != "bob" {
		t.Errorf("by %q, want bob", f.By)
	}
	r := post(t, s, "findings/f24/feedback", `{"opinion":"useful","by":"ann"}`, "Authorization", bob)
	if r.code != 400 || !strings.Contains(r.Error, `"bob"`) {
		t.Errorf("bob as ann: %d: %s", r.code, r.body)
	}
	if r := undo(t, s, f.ID, `{"by":"bob"}`, "Authorization", ann); r.code != 400 {
		t.Errorf("ann as bob: %d: %s", r.code, r.body)
	}
	undone := given(t, ask(t, s, "DELETE", base+"feedback/"+f.ID, "", "Authorization", ann))
	if undone.EndedBy != "ann" {
		t.Errorf("ended by %q, want ann", undone.EndedBy)
	}
}

func TestFeedbackThatIsNotTaken(t *testing.T) {
	h := newHouse(t)
	s := h.server(t, nil)
	for _, tc := range []struct {
		err  error
		code int
		kind string
	}{
		{fmt.Errorf("%w: disk full", ErrNotRecorded), 503, "unavailable"},
		{ErrTooOld, 409, "conflict"},
		{errors.New("no"), 500, "internal"},
	} {
		h.unwritable = tc.err
		r := post(t, s, "findings/f24/feedback", `{"opinion":"useful","by":"ann"}`)
		if r.code != tc.code || r.ErrorType != tc.kind || !strings.Contains(r.Error, tc.err.Error()) {
			t.Errorf("give: %d: %s", r.code, r.body)
		}
		if r := undo(t, s, "fb1", `{"by":"ann"}`); r.code != tc.code || r.ErrorType != tc.kind {
			t.Errorf("undo: %d: %s", r.code, r.body)
		}
	}
	h.unwritable, h.broken = nil, errors.New("broken")
	for _, target := range []string{"findings/f24", "incidents/i3"} {
		if r := post(t, s, target+"/feedback", `{"opinion":"useful","by":"ann"}`); r.code != 500 {
			t.Errorf("%s of a broken source: %d: %s", target, r.code, r.body)
		}
	}
}

func TestStrangersGiveNoFeedback(t *testing.T) {
	h := newHouse(t)
	external := &url.URL{Scheme: "https", Host: "tocsin.example"}
	s := h.server(t, func(o *Options) { o.ExternalURL = external })
	f := given(t, post(t, s, "findings/f24/feedback", `{"opinion":"useful","by":"ann"}`))
	for _, stranger := range [][]string{
		{"test-remote", "192.0.2.1:4000"},
		{"test-remote", "192.0.2.1:4000", "Authorization", bob}, // Who nobody has asked for a password.
		{"X-Forwarded-For", "192.0.2.1"},
		{"Sec-Fetch-Site", "cross-site"},
		{"Origin", "https://evil.example"},
	} {
		for _, target := range []string{"findings/f24/feedback", "incidents/i24/feedback"} {
			if r := post(t, s, target, `{"opinion":"useful","by":"ann"}`, stranger...); r.code != 403 {
				t.Errorf("%v: %d: %s", stranger, r.code, r.body)
			}
		}
		if r := undo(t, s, f.ID, `{"by":"ann"}`, stranger...); r.code != 403 {
			t.Errorf("undo by %v: %d: %s", stranger, r.code, r.body)
		}
	}
	r := ask(t, s, "PUT", base+"feedback/"+f.ID, "")
	if allow := r.header.Get("Allow"); r.code != 405 || allow != "GET, DELETE" {
		t.Errorf("PUT: %d, Allow %q", r.code, allow)
	}
}
