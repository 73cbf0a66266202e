package api

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tocsin/incident"
)

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
		header = append([]string{"Content-Type", "application/json"}, header...)
		return ask(t, s, "POST", base+target, body, header...)
	}
	r := send("incidents/i24/acknowledge", `{"by": "ann"}`)
	if r.code != 200 || h.open[1].AcknowledgedBy != "ann" ||
		!strings.Contains(r.body, `"acknowledged_by":"ann"`) {
		t.Errorf("%d: %s", r.code, r.body)
	}
	basic := "Basic " + "Ym9iOnNlY3JldA==" // bob:secret
	r = send("incidents/i23/acknowledge", `{}`, "Authorization", basic)
	if r.code != 200 || h.open[0].AcknowledgedBy != "bob" {
		t.Errorf("%d: %s", r.code, r.body)
	}
	r = send("incidents/i24/resolve", `{"by": "ann"}`)
	if r.code != 200 || h.open[1].State != incident.Resolved {
		t.Errorf("%d: %s", r.code, r.body)
	}
	if r := send("incidents/i24/resolve", `{"by": "ann"}`); r.code != 409 || r.ErrorType != "conflict" {
		t.Errorf("resolve twice: %d: %s", r.code, r.body)
	}
	if r := send("incidents/i99/resolve", `{"by": "ann"}`); r.code != 404 {
		t.Errorf("unknown: %d: %s", r.code, r.body)
	}
	for _, body := range []string{
		``, `{}`, `{"by":""}`, `{"by":"  "}`, `{"by":7}`, `[]`, `{"by":"a","at":"now"}`,
	} {
		if r := send("incidents/i23/resolve", body); r.code != 400 {
			t.Errorf("body %s: %d: %s", body, r.code, r.body)
		}
	}
	if r := send("incidents/i23/resolve", `{"by":"`+strings.Repeat("a", 2<<20)+`"}`); r.code != 413 {
		t.Errorf("large body: %d: %s", r.code, r.body)
	}
	r = ask(t, s, "POST", base+"incidents/i23/resolve", "by=ann",
		"Content-Type", "application/x-www-form-urlencoded")
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
