package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/remediation"
	"tocsin/remediation/webhook"
)

// note is a notification of an incident that is open.
func note() remediation.Notification {
	checkout := fleet.Service{Cluster: "prod-eu", Namespace: "shop", Name: "checkout"}
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	return remediation.Notification{
		Key: "team/webhook/0/6f2d9c1ab3e04d57", Digest: "0c9a7f5be2d14e68a1b3c5d7", Receiver: "team",
		Link: "https://tocsin.example.com/api/tocsin/v1/incidents/6f2d9c1ab3e04d57",
		Incident: incident.Incident{
			ID: "6f2d9c1ab3e04d57", Fingerprint: "b41e77d02c9f8a36", Service: checkout,
			State: incident.Open, Severity: incident.Critical,
			Title: "checkout in prod-eu: errors 12.4% (usually 0.3%) after rollout shop:v41 -> shop:v42",
			Start: start, Opened: start.Add(30 * time.Second), Updated: start.Add(30 * time.Second),
			Services: []fleet.Service{checkout},
			Findings: []detector.Finding{{
				ID: "9d3a51c07e6b2f84", Service: checkout, Signal: "errors", Unit: "%", Kind: detector.Ratio,
				State: detector.Open, Start: start, At: start.Add(15 * time.Second),
				Direction: detector.Up, Harmful: true, Score: 9.2, Peak: 9.2, Threshold: 4.62,
				Observed: 0.124, Expected: 0.003, Lower: 0, Upper: 0.011,
			}},
			Effects: []incident.Effect{{
				Service: checkout, Signal: "errors", Harmful: true, Open: true,
				Observed: "12.4%", Expected: "0.3%", Difference: "+12.1 points (41.3 times)",
			}},
			Causes: []incident.Cause{{
				Change: fleet.Change{
					ID: "51c0d7aa2e9b", At: start.Add(-40 * time.Second), Service: checkout,
					Workload: fleet.Deployment, Kind: fleet.Rollout, Summary: "image shop:v41 -> shop:v42",
					Author: "argocd",
				},
				Before: 40 * time.Second, Score: 0.957, Why: "the same service, 40s before",
			}},
		},
	}
}

// request is what a fake receiver got.
type request struct {
	header http.Header
	body   []byte
}

// serve answers with handler and passes on what it got.
func serve(t *testing.T, handler http.HandlerFunc) (url string, got chan request) {
	t.Helper()
	got = make(chan request, 10) // More than any test sends.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- request{r.Header, body}
		handler(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func newNotifier(t *testing.T, o webhook.Options) *webhook.Notifier {
	t.Helper()
	n, err := webhook.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMessageIsSigned(t *testing.T) {
	url, got := serve(t, status(http.StatusNoContent))
	n := newNotifier(t, webhook.Options{URL: url, Secret: "squeamish"})
	begin := time.Now().Truncate(time.Second)
	handle, err := n.Notify(t.Context(), note())
	if err != nil || handle != "open" {
		t.Fatalf("got %q, %v", handle, err)
	}
	r := <-got
	if err := verify("squeamish", r.header.Get("X-Tocsin-Signature"), r.body, begin); err != nil {
		t.Errorf("the signature is not good: %v", err)
	}
	if verify("other", r.header.Get("X-Tocsin-Signature"), r.body, begin) == nil {
		t.Error("the signature is good for another secret")
	}
	if verify("squeamish", r.header.Get("X-Tocsin-Signature"), append(r.body, ' '), begin) == nil {
		t.Error("the signature is good for another body")
	}
	if key := r.header.Get("Idempotency-Key"); key != note().Key+"/"+note().Digest {
		t.Errorf("idempotency key is %q", key)
	}
	var m webhook.Message
	if err := json.Unmarshal(r.body, &m); err != nil || m.Version != "1" ||
		m.Event != webhook.Opened ||
		m.Incident.Title != note().Incident.Title {
		t.Errorf("got %v, %+v", err, m)
	}
}

func TestPeers(t *testing.T) {
	url, got := serve(t, status(http.StatusOK))
	m := note()
	m.Incident.Peers = incident.Peers{Clusters: 3, Deviating: 1, Names: []string{"prod-us"}, Unknown: 1}
	if _, err := newNotifier(t, webhook.Options{URL: url}).Notify(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	body := string((<-got).body)
	for _, want := range []string{
		`"peers":"also in 1 of 3 other clusters (prod-us; 1 not heard of)"`,
		`"peers":{"clusters":3,"deviating":1,"unknown":1,"names":["prod-us"]}`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the message is\n%s\nwant it to have\n%s", body, want)
		}
	}
}

func TestEvents(t *testing.T) {
	url, got := serve(t, status(http.StatusOK))
	n := newNotifier(t, webhook.Options{URL: url})
	handle := ""
	for _, tc := range []struct {
		state  incident.State
		repeat bool
		want   webhook.Event
	}{
		{incident.Open, false, webhook.Opened},
		{incident.Open, false, webhook.Updated},
		{incident.Open, true, webhook.Reminder},
		{incident.Acknowledged, false, webhook.Acknowledged},
		{incident.Acknowledged, false, webhook.Updated},
		{incident.Resolved, false, webhook.Resolved},
	} {
		message := note()
		message.Incident.State, message.Repeat, message.Handle = tc.state, tc.repeat, handle
		var err error
		if handle, err = n.Notify(t.Context(), message); err != nil {
			t.Fatal(err)
		}
		r := <-got
		if event := gjson(t, r.body, "event"); event != string(tc.want) {
			t.Errorf("event is %s, want %s", event, tc.want)
		}
		if r.header.Get("X-Tocsin-Signature") != "" {
			t.Error("signed without a secret")
		}
	}
}

func gjson(t *testing.T, body []byte, field string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	text, _ := m[field].(string)
	return text
}

func TestAnswers(t *testing.T) {
	soon := time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
	for _, tc := range []struct {
		name      string
		code      int
		after     string
		ok        bool
		permanent bool
		wait      time.Duration
	}{
		{name: "accepted", code: 202, ok: true},
		{name: "bad request", code: 400, permanent: true},
		{name: "gone", code: 410, permanent: true},
		{name: "timeout", code: 408},
		{name: "too early", code: 425},
		{name: "too many", code: 429, after: "17", wait: 17 * time.Second},
		{name: "unavailable until", code: 503, after: soon, wait: 30 * time.Second},
		{name: "unavailable, nonsense", code: 503, after: "-5"},
		{name: "server error", code: 500},
		{name: "moved", code: 301, permanent: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", tc.after)
				w.WriteHeader(tc.code)
				_, _ = io.WriteString(w, strings.Repeat("why ", 100_000))
			})
			_, err := newNotifier(t, webhook.Options{URL: url}).Notify(t.Context(), note())
			if tc.ok {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			var e *remediation.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if d := e.RetryAfter - tc.wait; e.Permanent != tc.permanent || d > 0 || d < -5*time.Second {
				t.Errorf("permanent %t, retry after %s", e.Permanent, e.RetryAfter)
			}
			if len(err.Error()) > 2000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// A redirection must not carry the message and its signature to another host.
func TestRedirections(t *testing.T) {
	target, stolen := serve(t, status(http.StatusOK))
	for _, code := range []int{301, 302, 303, 307, 308} {
		url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, target, code)
		})
		_, err := newNotifier(t, webhook.Options{URL: url, Secret: "x"}).Notify(t.Context(), note())
		var e *remediation.Error
		if !errors.As(err, &e) || !e.Permanent {
			t.Errorf("%d: got %v", code, err)
		}
	}
	if len(stolen) != 0 {
		t.Errorf("another host got %d messages", len(stolen))
	}
	url, got := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/new" {
			http.Redirect(w, r, "/new", http.StatusPermanentRedirect)
		}
	})
	n := newNotifier(t, webhook.Options{URL: url, Secret: "x"})
	if _, err := n.Notify(t.Context(), note()); err != nil {
		t.Errorf("the same host: %v", err)
	}
	<-got
	if again := <-got; len(again.body) == 0 || again.header.Get("X-Tocsin-Signature") == "" {
		t.Error("the same host did not get the message again")
	}
}

func TestSecretsAreReadAnewAndNeverShown(t *testing.T) {
	url, got := serve(t, status(http.StatusOK))
	dir := t.TempDir()
	key, address := filepath.Join(dir, "key"), filepath.Join(dir, "url")
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n := newNotifier(t, webhook.Options{URLFile: address, SecretFile: key})
	if _, err := n.Notify(t.Context(), note()); err == nil {
		t.Error("a missing file is no error")
	}
	write(address, url)
	for _, secret := range []string{"one", "two"} {
		write(key, secret)
		if _, err := n.Notify(t.Context(), note()); err != nil {
			t.Fatal(err)
		}
		r := <-got
		if err := verify(secret, r.header.Get("X-Tocsin-Signature"), r.body, time.Now()); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"http://127.0.0.1:1/CANARY", "CANARY://x", "http://x:CANARY"} {
		write(address, bad)
		_, err := n.Notify(t.Context(), note())
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := webhook.New(webhook.Options{URL: "CANARY"}); err == nil ||
		strings.Contains(err.Error(), "CANARY") {
		t.Errorf("New: %v", err)
	}
}

func TestHungReceiver(t *testing.T) {
	release := make(chan struct{})
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newNotifier(t, webhook.Options{URL: url}).Notify(ctx, note())
	var e *remediation.Error
	if !errors.Is(err, context.Canceled) || errors.As(err, &e) && e.Permanent {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []webhook.Options{
		{}, {URL: "http://a", URLFile: "b"}, {URL: "ftp://a"}, {URL: "http:///path"},
	} {
		if _, err := webhook.New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	if newNotifier(t, webhook.Options{URL: "http://a", NoResolved: true}).SendsResolved() {
		t.Error("NoResolved has no effect")
	}
}
