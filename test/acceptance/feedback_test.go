package acceptance

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"tocsin/api"
	"tocsin/detector"
	"tocsin/store/journal"
	"tocsin/test/testbed"
)

// send sends JSON with a method, reads the data of the answer into data, and returns its code and
// error.
func (d *daemon) send(method, path string, body, data any) (code int, problem string) {
	d.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		d.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.URL+path, bytes.NewReader(text))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	text, err = io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		d.t.Fatal(err)
	}
	out := api.Response{Data: data}
	if err := json.Unmarshal(text, &out); err != nil {
		d.t.Fatalf("%s %s: %v: %.200s", method, path, err, text)
	}
	return resp.StatusCode, out.Error
}

// moved returns what feedback adds to the threshold of a service's signal, and whose feedback does.
func (d *daemon) moved(service string) (offset float64, by []string) {
	d.t.Helper()
	type status struct {
		Signals []struct {
			Offset   float64  `json:"offset"`
			Feedback []string `json:"feedback"`
		} `json:"signals"`
	}
	s, err := get[status](d, "/api/tocsin/v1/services/c/shop/"+service)
	if err != nil || len(s.Signals) != 1 {
		d.t.Fatalf("%s has %d signals, %v", service, len(s.Signals), err)
	}
	slices.Sort(s.Signals[0].Feedback)
	return s.Signals[0].Offset, s.Signals[0].Feedback
}

// wantMoved compares whose feedback moves the threshold of a service, and whether it does.
func (d *daemon) wantMoved(when, service string, want ...string) {
	d.t.Helper()
	slices.Sort(want)
	offset, by := d.moved(service)
	if !slices.Equal(by, want) || offset == 0 && len(want) > 0 || offset != 0 && len(want) == 0 {
		d.t.Errorf("%s: feedback %q moves the threshold of %s by %g; want %q",
			when, by, service, offset, want)
	}
}

// TestFeedbackIsKeptAndUndone is the story of a finding that two people think differently of.
func TestFeedbackIsKeptAndUndone(t *testing.T) {
	t.Parallel()
	s, dir := startSource(t), t.TempDir()
	text := configuration(cluster("c", s.URL))
	d := start(t, text, dir)
	d.scored("c")
	s.set("s3", 5)
	finding, incident := d.trouble()

	give := func(path, by string, opinion detector.Opinion) api.Feedback {
		t.Helper()
		var f api.Feedback
		body := map[string]string{"opinion": string(opinion), "by": by, "note": "because"}
		if code, problem := d.send(http.MethodPost, path+"/feedback", body, &f); code != http.StatusOK {
			t.Fatalf("%s says %s of %s: %d: %s", by, opinion, path, code, problem)
		}
		return f
	}
	ann := give(finding, "ann", detector.NotUseful)
	d.wantMoved("ann has judged", "s3", ann.ID)
	bob := give(incident, "bob", detector.NotUseful)
	both := []string{ann.ID, bob.ID + "/" + ann.Finding}
	d.wantMoved("bob too", "s3", both...)
	d.wantMoved("of others nothing was said", "s2")

	d.end()
	d = start(t, text, dir)
	d.wantMoved("after a restart", "s3", both...)
	newer := give(finding, "bob", detector.Useful)
	d.wantMoved("bob has changed his mind", "s3", ann.ID, newer.ID)
	for _, id := range []string{ann.ID, newer.ID} {
		body := map[string]string{"by": "cem"}
		code, problem := d.send(http.MethodDelete, "/api/tocsin/v1/feedback/"+id, body, nil)
		if code != http.StatusOK {
			t.Errorf("undo %s: %d: %s", id, code, problem)
		}
	}
	d.wantMoved("all is undone", "s3")
	list, err := get[[]api.Feedback](d, "/api/tocsin/v1/feedback")
	if err != nil || len(list) != 3 || slices.ContainsFunc(list, func(f api.Feedback) bool {
		return f.State == api.FeedbackActive || f.Ended.IsZero()
	}) {
		t.Errorf("listed are %+v, %v; want three that are over", list, err)
	}
	d.end()
	d.wantEvents(dir, ann.ID, "active by ann", "undone by cem")
	d.wantEvents(dir, bob.ID, "active by bob", "replaced by bob")
	d.wantEvents(dir, newer.ID, "active by bob", "undone by cem")

	d = start(t, text, dir)
	d.wantMoved("undone, after a restart", "s3")
}

// trouble waits for a finding and its incident, and returns their paths.
func (d *daemon) trouble() (finding, incident string) {
	d.t.Helper()
	type item struct{ ID string }
	var found [2]string
	for i, kind := range []string{"findings", "incidents"} {
		testbed.Eventually(d.t, 2*time.Minute, "one of the "+kind, func() error {
			all, err := get[[]item](d, "/api/tocsin/v1/"+kind+"?state=open&service=s3")
			if err == nil && len(all) != 1 {
				err = fmt.Errorf("%d are open", len(all))
			}
			if err == nil {
				found[i] = "/api/tocsin/v1/" + kind + "/" + all[0].ID
			}
			return err
		})
	}
	return found[0], found[1]
}

// wantEvents compares what the journal has of feedback, once the daemon has ended.
func (d *daemon) wantEvents(dir, id string, want ...string) {
	d.t.Helper()
	j, err := journal.Open(journal.Options{Path: filepath.Join(dir, "journal.db")})
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			d.t.Error(err)
		}
	}()
	events, err := j.Read(d.t.Context(), journal.Query{Kinds: []string{"feedback"}, Key: id})
	if err != nil {
		d.t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		f, err := journal.Decode[api.Feedback](e)
		if err != nil || e.Suspect {
			d.t.Errorf("event %d: %v, suspect: %t", e.Seq, err, e.Suspect)
		}
		by := f.EndedBy
		if by == "" {
			by = f.By
		}
		got = append(got, fmt.Sprintf("%s by %s", f.State, by))
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("of feedback %s the journal has %q, want %q", id, got, want)
	}
}

// TestFeedbackThatCannotBeWrittenHasNoEffect locks the journal while somebody gives an opinion.
func TestFeedbackThatCannotBeWrittenHasNoEffect(t *testing.T) {
	t.Parallel()
	s, dir := startSource(t), t.TempDir()
	d := start(t, configuration(cluster("c", s.URL)), dir)
	d.scored("c")
	s.set("s3", 5)
	finding, _ := d.trouble()

	unlock := lock(t, filepath.Join(dir, "journal.db"))
	body := map[string]string{"opinion": "useful", "by": "ann"}
	code, problem := d.send(http.MethodPost, finding+"/feedback", body, nil)
	unlock()
	if code != http.StatusServiceUnavailable {
		t.Errorf("with a journal that cannot be written: %d: %s", code, problem)
	}
	d.wantMoved("refused", "s3")
	if list, err := get[[]api.Feedback](d, "/api/tocsin/v1/feedback"); err != nil || len(list) > 0 {
		t.Errorf("listed are %+v, %v", list, err)
	}
	if err := d.metric(`tocsin_app_feedback_events_total{event="not_recorded"} 1`); err != nil {
		t.Error(err)
	}
	var f api.Feedback
	if code, problem := d.send(http.MethodPost, finding+"/feedback", body, &f); code != http.StatusOK {
		t.Errorf("once it can be written: %d: %s", code, problem)
	}
	d.wantMoved("taken", "s3", f.ID)
}

// lock keeps everybody from writing to a database until unlock is called.
func lock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatal(errors.Join(err, db.Close()))
	}
	return func() {
		_, err := conn.ExecContext(ctx, "ROLLBACK")
		if err = errors.Join(err, conn.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	}
}
