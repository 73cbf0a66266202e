package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/user"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/api"
	"tocsin/detector"
	"tocsin/fleet"
)

// standIn behaves as the daemon does to those who give feedback. It knows the finding f1, the
// incident 1d, and more feedback than fits a page of two.
type standIn struct {
	URL string

	mu   sync.Mutex // Guards what follows.
	user string     // Who must be authenticated; nobody.
	got  []string   // Method, path and body of each request.
	list []api.Feedback
}

func startStandIn(t *testing.T) *standIn {
	t.Helper()
	d := &standIn{}
	mux := http.NewServeMux()
	const own = "/prefix/api/tocsin/v1/"
	mux.HandleFunc("POST "+own+"findings/{id}/feedback", d.give("f1"))
	mux.HandleFunc("POST "+own+"incidents/{id}/feedback", d.give("1d"))
	mux.HandleFunc("GET "+own+"feedback", d.page)
	mux.HandleFunc("DELETE "+own+"feedback/{id}", d.undo)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if name, password, _ := r.BasicAuth(); d.user != "" && (name != d.user || password != "s3cret") {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	d.URL = server.URL + "/prefix/"
	for n := range 3 {
		d.list = append(d.list, api.Feedback{
			ID: fmt.Sprintf("fb%d", n), State: api.FeedbackActive, Opinion: "expected", By: "ann",
			Note: "night\nly\x1b[31m", Finding: "f1", Signal: "errors", At: time.Unix(0, 0),
			Service: fleet.Service{Cluster: "eu", Namespace: "shop", Name: "cart"},
		})
	}
	return d
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code int, text string) {
	reply(w, code, api.Response{Status: "error", Error: text})
}

// give takes an opinion on the one thing that there is.
func (d *standIn) give(only string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o struct{ Opinion, Note, By string }
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil ||
			r.Header.Get("Content-Type") != "application/json" {
			refuse(w, http.StatusBadRequest, "the body is none")
			return
		}
		if r.PathValue("id") != only {
			refuse(w, http.StatusNotFound, "there is none")
			return
		}
		d.got = append(d.got, fmt.Sprintf("%s: %s, %s, by %q", only, o.Opinion, o.Note, o.By))
		f := d.list[0]
		f.Opinion, f.By = detector.Opinion(o.Opinion), o.By
		if only == "1d" {
			f.Incident, f.Series = only, make([]api.JudgedSeries, 2)
		}
		reply(w, http.StatusOK, api.Response{Status: "success", Data: f})
	}
}

func (d *standIn) page(w http.ResponseWriter, r *http.Request) {
	state, n := r.FormValue("state"), 0
	if state != "" && state != "active" {
		refuse(w, http.StatusBadRequest, `state "`+state+`": write one of active, undone`)
		return
	}
	d.got = append(d.got, r.URL.RawQuery)
	out := api.Response{Status: "success"}
	if r.FormValue("cursor") != "" {
		n = 2
	} else {
		out.Next = "more"
	}
	out.Data = d.list[n:min(n+2, len(d.list))]
	reply(w, http.StatusOK, out)
}

func (d *standIn) undo(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("id") != "fb1" {
		refuse(w, http.StatusConflict, "the feedback is in force no more")
		return
	}
	reply(w, http.StatusOK, api.Response{Status: "success", Data: d.list[1]})
}

func TestFeedbackCommands(t *testing.T) {
	d := startStandIn(t)
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string // In what is printed.
	}{
		{
			"a finding",
			[]string{"useful", "f1", "--note", "well done", "--by", "ann"},
			0,
			[]string{"fb0: useful for errors of eu/shop/cart, by ann; tocsin feedback undo fb0"},
		},
		{
			"an incident",
			[]string{"not-useful", "1d", "--by", "ann"},
			0,
			[]string{"not useful for incident 1d at eu/shop/cart (2 series)"},
		},
		{"neither", []string{"expected", "abc"}, 2, []string{"neither a finding nor an incident", "abc"}},
		{"a path", []string{"expected", "../status"}, 2, []string{"hexadecimal"}},
		{"no ID", []string{"useful"}, 2, []string{"accepts 1 arg"}},
		{"undo", []string{"undo", "fb1"}, 0, []string{"fb1: expected for errors of eu/shop/cart"}},
		{"undo what is over", []string{"undo", "fb2"}, 2, []string{"in force no more"}},
		{
			"list",
			[]string{"list"},
			0,
			[]string{"ID", "fb0", "fb1", "fb2", "active", "errors of eu/shop/cart", "night ly [31m\n"},
		},
		{
			"list as JSON",
			[]string{"list", "--output", "json", "--state", "all"},
			0,
			[]string{`"id": "fb2"`},
		},
		{"list of a bad state", []string{"list", "--state", "gone"}, 2, []string{"write one of active"}},
		{"list in a bad form", []string{"list", "--output", "xml"}, 2, []string{"table or json"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"feedback"}, append(tc.args, "--url", d.URL)...)
			out, code, _ := run(t, nil, args...)
			if code != tc.code {
				t.Errorf("exit %d, want %d: %s", code, tc.code, out)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("printed %q, want %q in it", out, want)
				}
			}
			if strings.Contains(out, "\x1b") {
				t.Errorf("printed %q: it can steer the terminal", out)
			}
		})
	}
	if d.got[0] != `f1: useful, well done, by "ann"` || d.got[1] != `1d: not useful, , by "ann"` {
		t.Errorf("the daemon was sent %q", d.got[:2])
	}
}

func TestFeedbackIsSignedByWhomTheDaemonKnows(t *testing.T) {
	d := startStandIn(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if out, code, _ := run(t, nil, "feedback", "useful", "f1", "--url", d.URL); code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	d.user = "bob"
	t.Setenv("TOCSIN_URL", d.URL)
	files := map[string]string{
		"http.yaml": "basic_auth: {username: bob, password_file: password}\n", "password": "s3cret",
	}
	out, code, _ := run(t, files, "feedback", "useful", "f1", "--http.config.file", "http.yaml")
	if code != 0 {
		t.Errorf("exit %d: %s", code, out)
	}
	want := []string{fmt.Sprintf("f1: useful, , by %q", me.Username), `f1: useful, , by ""`}
	if strings.Join(d.got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the daemon was sent %q, want %q", d.got, want)
	}
	if out, code, _ := run(t, nil, "feedback", "list"); code != 1 || !strings.Contains(out, "401") {
		t.Errorf("without a password: exit %d: %s", code, out)
	}
}

func TestClientFlags(t *testing.T) {
	for _, tc := range []struct {
		name  string
		args  []string
		files map[string]string
		code  int
		want  string
	}{
		{"nobody there", []string{"--url", "http://127.0.0.1:1"}, nil, 1, "ask the daemon"},
		{"no URL", []string{"--url", "localhost:9977"}, nil, 2, "--url"},
		{"no file", []string{"--http.config.file", "none.yaml"}, nil, 2, "none.yaml"},
		{
			"a bad file",
			[]string{"--http.config.file", "bad.yaml"},
			map[string]string{"bad.yaml": "basic_oath: {}"},
			2, "basic_oath",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, code, _ := run(t, tc.files, append([]string{"feedback", "list"}, tc.args...)...)
			if code != tc.code || !strings.Contains(out, tc.want) {
				t.Errorf("exit %d, want %d with %q: %s", code, tc.code, tc.want, out)
			}
		})
	}
}
