package slack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	slackapi "github.com/slack-go/slack"
	"github.com/slack-go/slack/slacktest"

	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/remediation"
	"tocsin/remediation/slack"
)

// post is a message as the fake workspace has it.
type post struct {
	TS, Thread  string
	Text        string
	Attachments []slackapi.Attachment
	Broadcast   bool
	Edits       int
}

// workspace is a Slack with one channel, that fails on demand.
type workspace struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	posts  []*post
	tokens []string
	fail   func(method string, form url.Values) string // An error code; empty: none.
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	w := &workspace{t: t}
	server := slacktest.NewTestServer(func(c slacktest.Customize) {
		c.Handle("/chat.postMessage", w.handle("post"))
		c.Handle("/chat.update", w.handle("update"))
	})
	server.Start()
	t.Cleanup(server.Stop)
	w.url = server.GetAPIURL()
	return w
}

func (w *workspace) handle(method string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			w.t.Error(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		token := r.PostForm.Get("token")
		if token == "" {
			token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		}
		w.tokens = append(w.tokens, token)
		answer := map[string]any{"ok": true, "channel": "C0FFEE"}
		code := ""
		if w.fail != nil {
			code = w.fail(method, r.PostForm)
		}
		if code == "" {
			answer["ts"], code = w.accept(method, r.PostForm)
		}
		if code != "" {
			answer = map[string]any{"ok": false, "error": code}
		}
		if err := json.NewEncoder(rw).Encode(answer); err != nil {
			w.t.Error(err)
		}
	}
}

// accept does what is asked for and returns the message's timestamp, or an error code.
func (w *workspace) accept(method string, form url.Values) (ts, code string) {
	p := &post{TS: fmt.Sprintf("1772625630.%06d", len(w.posts)+1), Thread: form.Get("thread_ts")}
	if method == "update" {
		if form.Get("channel") != "C0FFEE" {
			return "", "channel_not_found" // An edit needs the ID.
		}
		if p = w.find(form.Get("ts")); p == nil {
			return "", "message_not_found"
		}
		p.Edits++
	} else {
		w.posts = append(w.posts, p)
	}
	p.Text, p.Attachments, p.Broadcast = form.Get("text"), nil, form.Get("reply_broadcast") == "true"
	if text := form.Get("attachments"); text != "" {
		if err := json.Unmarshal([]byte(text), &p.Attachments); err != nil {
			return "", "invalid_attachments"
		}
	}
	for _, a := range p.Attachments {
		if len(a.Blocks.BlockSet) > 50 {
			return "", "invalid_blocks"
		}
		for _, b := range a.Blocks.BlockSet {
			if s, ok := b.(*slackapi.SectionBlock); ok && (len(s.Text.Text) > 3000 || s.Text.Text == "") {
				return "", "invalid_blocks"
			}
		}
	}
	if len(p.Text) > 4000 {
		return "", "msg_too_long"
	}
	return p.TS, ""
}

func (w *workspace) find(ts string) *post {
	for _, p := range w.posts {
		if p.TS == ts {
			return p
		}
	}
	return nil
}

// channel returns what people see in the channel, and thread what they see under it.
func (w *workspace) channel() (channel, thread []*post) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.posts {
		if p.Thread == "" {
			channel = append(channel, p)
		} else {
			thread = append(thread, p)
		}
	}
	return channel, thread
}

// body returns all text of a message's blocks.
func (p *post) body() string {
	var b strings.Builder
	for _, a := range p.Attachments {
		for _, block := range a.Blocks.BlockSet {
			switch block := block.(type) {
			case *slackapi.SectionBlock:
				b.WriteString(block.Text.Text + "\n")
			case *slackapi.ContextBlock:
				for _, e := range block.ContextElements.Elements {
					b.WriteString(e.(*slackapi.TextBlockObject).Text + "\n")
				}
			}
		}
	}
	return b.String()
}

func (w *workspace) notifier(o slack.Options) *slack.Notifier {
	w.t.Helper()
	o.APIURL = w.url
	if o.Channel == "" {
		o.Channel = "#alerts"
	}
	if o.Token == "" && o.TokenFile == "" {
		o.Token = "xoxb-CANARY"
	}
	n, err := slack.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func note() remediation.Notification {
	checkout := fleet.Service{Cluster: "prod-eu", Namespace: "shop", Name: "checkout"}
	start := time.Now().Add(-time.Minute)
	return remediation.Notification{
		Key: "team/slack/0/6f2d", Receiver: "team",
		Link: "https://tocsin.example.com/incidents/6f2d?a=1&b=2",
		Incident: incident.Incident{
			ID: "6f2d", Service: checkout, Services: []fleet.Service{checkout},
			State: incident.Open, Severity: incident.Warning,
			Title: "checkout in prod-eu: errors 2.4% (usually 0.3%)",
			Start: start, Opened: start, Updated: start,
			Effects: []incident.Effect{
				{
					Service: checkout, Signal: "errors", Harmful: true, Open: true,
					Observed: "2.4%", Expected: "0.3%", Difference: "+2.1 points (8 times)",
				},
				{
					Service: checkout, Signal: "latency p99", Harmful: true, Observed: "300ms",
					Expected: "180ms", Difference: "+120ms (66.7% more)",
				},
				{Service: checkout, Signal: "cpu", Observed: "1%"},
			},
			Causes: []incident.Cause{{
				Change: fleet.Change{
					Service: checkout, Kind: fleet.Rollout, Summary: "image shop:v41 -> shop:v42", Author: "ann",
				},
				Why: "the same service, 40s before",
			}},
		},
	}
}

// tell notifies and keeps the handle for the next time, as the engine does.
func tell(t *testing.T, n *slack.Notifier, message *remediation.Notification) {
	t.Helper()
	handle, err := n.Notify(t.Context(), *message)
	if err != nil {
		t.Fatal(err)
	}
	message.Handle = handle
}

func TestOneMessageEditedWithItsHistoryInTheThread(t *testing.T) {
	w := newWorkspace(t)
	n := w.notifier(slack.Options{})
	m := note()
	tell(t, n, &m)
	m.Incident.Title += ", worse"
	tell(t, n, &m) // A mere edit: nothing new for the thread.
	m.Incident.Severity = incident.Critical
	m.Incident.Services = append(m.Incident.Services,
		fleet.Service{Cluster: "prod-eu", Namespace: "pay", Name: "ledger"})
	tell(t, n, &m)
	m.Repeat = true
	tell(t, n, &m)
	m.Repeat = false
	m.Incident.State, m.Incident.AcknowledgedBy = incident.Acknowledged, "<@bob>"
	tell(t, n, &m)
	m.Incident.State, m.Incident.Reason = incident.Resolved, "back to normal"
	m.Incident.End = m.Incident.Start.Add(20 * time.Minute)
	tell(t, n, &m)

	channel, thread := w.channel()
	if len(channel) != 1 || channel[0].Edits != 4 {
		t.Fatalf("%d messages in the channel, want 1 with 4 edits: %+v", len(channel), channel[0])
	}
	if got := channel[0].Attachments[0].Color; got != "#2eb67d" {
		t.Errorf("colour is %s, want green", got)
	}
	if want := "*Resolved* checkout in prod-eu: errors 2.4% (usually 0.3%), worse"; channel[0].Text != want {
		t.Errorf("text is %q, want %q", channel[0].Text, want)
	}
	want := []string{
		"Opened as warning: checkout in prod-eu: errors 2.4% (usually 0.3%)",
		"Worsened from warning to critical: checkout in prod-eu: errors 2.4% (usually 0.3%), worse\n" +
			"Joined by pay/ledger",
		"Still open after 1m: checkout in prod-eu: errors 2.4% (usually 0.3%), worse",
		"Acknowledged by &lt;@bob&gt;",
		"Resolved after 20m: back to normal",
	}
	for i, p := range thread {
		got := p.Text
		if i == 2 { // The minute may be over.
			got = strings.Replace(got, got[:strings.Index(got, ":")], "Still open after 1m", 1)
		}
		if i >= len(want) || got != want[i] || p.Thread != channel[0].TS || p.Broadcast != (i == 2) {
			t.Errorf("reply %d is %+v", i, p)
		}
	}
	if len(thread) != len(want) {
		t.Errorf("%d replies, want %d", len(thread), len(want))
	}
}

func TestMessage(t *testing.T) {
	w := newWorkspace(t)
	m := note()
	tell(t, w.notifier(slack.Options{}), &m)
	channel, _ := w.channel()
	if channel[0].Text != "*Warning* checkout in prod-eu: errors 2.4% (usually 0.3%)" ||
		channel[0].Attachments[0].Color != "#e8a33d" {
		t.Errorf("text %q, colour %s", channel[0].Text, channel[0].Attachments[0].Color)
	}
	want := fmt.Sprintf("*Services* shop/checkout\n"+
		"```\n"+
		"signal              observed  usually  difference\n"+
		"errors              2.4%%      0.3%%     +2.1 points (8 times)\n"+
		"latency p99 (over)  300ms     180ms    +120ms (66.7%% more)\n"+
		"```\n"+
		"*What changed before*\n"+
		"• rollout of checkout: image shop:v41 -&gt; shop:v42 by ann _(the same service, 40s before)_\n"+
		"began <!date^%d^{date_short_pretty} {time_secs}|%s>  ·  "+
		"<https://tocsin.example.com/incidents/6f2d?a=1&amp;b=2|details>  ·  incident 6f2d\n",
		m.Incident.Start.Unix(), m.Incident.Start.UTC().Format("2006-01-02 15:04:05 UTC"))
	if got := channel[0].body(); got != want {
		t.Errorf("the message is\n%s\nwant\n%s", got, want)
	}
}

func TestPeers(t *testing.T) {
	w := newWorkspace(t)
	m := note()
	m.Incident.Peers = incident.Peers{Clusters: 4, Deviating: 2, Names: []string{"us-1", "<eu>"}}
	tell(t, w.notifier(slack.Options{}), &m)
	channel, _ := w.channel()
	want := "*Services* shop/checkout\n" +
		"*Peers* also in 2 of 4 other clusters: fleet-wide (us-1, &lt;eu&gt;)\n"
	if got := channel[0].body(); !strings.HasPrefix(got, want) {
		t.Errorf("the message is\n%s\nwant it to begin with\n%s", got, want)
	}
}

// released is a notification of a release that was called bad in three clusters.
func released() remediation.Notification {
	m := note()
	i := &m.Incident
	i.Severity = incident.Critical
	i.Title = "checkout v42 in prod-eu and 2 more clusters: errors +4.8 points since the release " +
		"(rolling, 3 of 12 pods new)"
	i.Causes[0].Change.ID = "rollout"
	i.Causes = append(i.Causes, incident.Cause{
		Change: fleet.Change{
			Service: fleet.Service{Cluster: "prod-eu", Namespace: "shop", Name: "pay"},
			Kind:    fleet.Scaled, Summary: "3 -> 2",
		},
		Why: "the same namespace, 2m before",
	})
	i.Services = append(i.Services, fleet.Service{Cluster: "us-1", Namespace: "shop", Name: "checkout"})
	i.Effects = i.Effects[:1]
	i.Release = &incident.ReleaseInfo{
		ID: "b07d", Service: i.Service, Change: "rollout", Name: "v42",
		Images: "shop:v41 -> shop:v42", Author: "ann",
		Facts:    []string{"probes of new pods fail (Unhealthy, 2 pods, since 12:00:20 UTC)"},
		Clusters: []string{"prod-eu", "us-1", "us-2"},
		Evidence: incident.Evidence{
			Effect: "errors +4.8 points", Interval: "+3.1 to +6.9 points", After: 40 * time.Second,
			Chance: "at most one in 4,200 harmless releases ever looks like this",
		},
	}
	i.Acts = []incident.Act{{
		ID: "x", State: "waiting", Urgent: true, Text: "Asks for approval: tocsin approve <x> (expires 12:15 UTC)",
	}}
	return m
}

func TestRelease(t *testing.T) {
	w := newWorkspace(t)
	m := released()
	tell(t, w.notifier(slack.Options{}), &m)
	channel, _ := w.channel()
	want := "*Services* shop/checkout, us-1/shop/checkout\n" +
		"*Release* shop:v41 -&gt; shop:v42 by ann\n" +
		"errors +4.8 points (95%: +3.1 to +6.9 points), 40s after the first new pod\n" +
		"at most one in 4,200 harmless releases ever looks like this\n" +
		"probes of new pods fail (Unhealthy, 2 pods, since 12:00:20 UTC)\n" +
		"*Clusters* prod-eu, us-1, us-2\n" +
		"*What tocsin does*\n" +
		"• Asks for approval: tocsin approve &lt;x&gt; (expires 12:15 UTC)\n" +
		"```\n" +
		"signal           observed  usually  difference\n" +
		"checkout errors  2.4%      0.3%     +2.1 points (8 times)\n" +
		"```\n" +
		"*What else changed before*\n" +
		"• scaled of pay: 3 -&gt; 2 _(the same namespace, 2m before)_\n"
	if got := channel[0].body(); !strings.HasPrefix(got, want) {
		t.Errorf("the message is\n%s\nwant it to begin with\n%s", got, want)
	}
}

func TestAlarm(t *testing.T) {
	w := newWorkspace(t)
	m := note()
	i := &m.Incident
	i.Service, i.Services, i.Effects, i.Causes = fleet.Service{}, nil, nil, nil
	i.Title = "all actions are stopped: 12 releases went bad"
	tell(t, w.notifier(slack.Options{}), &m)
	channel, _ := w.channel()
	if got := channel[0].body(); channel[0].Text != "*Warning* "+i.Title || !strings.HasPrefix(got, "began") {
		t.Errorf("the message is %q\n%s", channel[0].Text, got)
	}
}

// Each thing that tocsin does is announced once; the channel sees what needs a person.
func TestActsAreAnnouncedOnce(t *testing.T) {
	w := newWorkspace(t)
	n := w.notifier(slack.Options{})
	m := released()
	acts := m.Incident.Acts
	m.Incident.Acts = nil
	tell(t, n, &m)
	m.Incident.Acts = acts
	tell(t, n, &m)
	tell(t, n, &m)
	for _, act := range []incident.Act{
		{ID: "x", State: "running", Text: "Rolls back to v41"},
		{ID: "x", State: "running", Text: "Rolls back to v41: 2 of 12 pods"},
		{ID: "x", State: "not_recovered", Urgent: true, Text: "Rolled back to v41, and it did not help"},
	} {
		m.Incident.Acts = []incident.Act{act}
		tell(t, n, &m)
	}
	channel, thread := w.channel()
	if len(channel) != 1 || channel[0].Edits != 5 {
		t.Errorf("%d messages, the first with %d edits", len(channel), channel[0].Edits)
	}
	var got []string
	for _, p := range thread {
		if p.Broadcast {
			p.Text += " (seen by the channel)"
		}
		got = append(got, p.Text)
	}
	want := []string{
		"Opened as critical: " + m.Incident.Title,
		"Asks for approval: tocsin approve &lt;x&gt; (expires 12:15 UTC) (seen by the channel)",
		"Rolls back to v41",
		"Rolled back to v41, and it did not help (seen by the channel)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("thread (-want +got):\n%s", diff)
	}
}

func TestHostileAndLongTexts(t *testing.T) {
	w := newWorkspace(t)
	n := w.notifier(slack.Options{})
	m := note()
	m.Incident.Title = "<!channel> " + strings.Repeat("a&", 5000) + "\xff"
	m.Incident.Effects[0].Signal = "```<!here>\n" + strings.Repeat("ü", 3000)
	for k := range 300 {
		m.Incident.Effects = append(m.Incident.Effects, m.Incident.Effects[0])
		m.Incident.Services = append(m.Incident.Services,
			fleet.Service{
				Cluster: "prod-eu", Namespace: strings.Repeat("<", 300),
				Name: fmt.Sprint("svc", k),
			})
	}
	m.Incident.Omitted = 7
	m.Incident.Causes[0].Change.Summary = strings.Repeat("&", 9000)
	m.Incident.Causes[0].Why = strings.Repeat(">", 9000)
	hostile := strings.Repeat("<!channel>&\xff", 1000)
	m.Incident.Release = &incident.ReleaseInfo{
		Images: hostile, Author: hostile, Evidence: incident.Evidence{Effect: hostile, Chance: hostile},
	}
	for k := range 30 {
		m.Incident.Release.Facts = append(m.Incident.Release.Facts, hostile)
		m.Incident.Release.Clusters = append(m.Incident.Release.Clusters, hostile)
		m.Incident.Acts = append(m.Incident.Acts, incident.Act{ID: fmt.Sprint(k), Text: hostile})
	}
	m.Link += "|<!channel>"
	tell(t, n, &m)
	m.Incident.State, m.Incident.Reason = incident.Resolved, strings.Repeat("<!channel>", 2000)
	tell(t, n, &m)
	channel, thread := w.channel()
	if len(channel) != 1 || channel[0].Attachments == nil {
		t.Fatal("the layout was refused")
	}
	for _, p := range append(channel, thread...) {
		all := p.Text + p.body()
		for _, bad := range []string{"<!channel", "<!here", "\xff"} {
			if strings.Contains(all, bad) {
				t.Errorf("a message contains %q: %s", bad, all)
			}
		}
	}
	if body := channel[0].body(); !strings.Contains(body, "and 291 more") ||
		!strings.Contains(body, "more\n```") || strings.Count(body, "```") != 2 {
		t.Errorf("the message is\n%s", body)
	}
	if len(m.Handle) > 4000 {
		t.Errorf("the handle has %d bytes", len(m.Handle))
	}
}

func TestMessageThatIsGoneIsPostedAnew(t *testing.T) {
	for _, code := range []string{"message_not_found", "cant_update_message", "edit_window_closed"} {
		w := newWorkspace(t)
		n := w.notifier(slack.Options{})
		m := note()
		tell(t, n, &m)
		w.fail = func(method string, _ url.Values) string {
			if method == "update" {
				return code
			}
			return ""
		}
		m.Incident.Severity = incident.Critical
		tell(t, n, &m)
		channel, thread := w.channel()
		if len(channel) != 2 || thread[len(thread)-1].Thread != channel[1].TS ||
			!strings.HasPrefix(thread[len(thread)-1].Text, "Opened as critical") {
			t.Errorf("%s: %d messages, thread %+v", code, len(channel), thread[len(thread)-1])
		}
	}
}

func TestHandleThatCannotBeRead(t *testing.T) {
	w := newWorkspace(t)
	m := note()
	m.Handle = "{nonsense"
	tell(t, w.notifier(slack.Options{}), &m)
	if channel, _ := w.channel(); len(channel) != 1 {
		t.Errorf("%d messages, want 1", len(channel))
	}
}

// The message stands, its thread does not: a second attempt must not post the message again.
func TestThreadThatFails(t *testing.T) {
	w := newWorkspace(t)
	w.fail = func(_ string, form url.Values) string {
		if form.Get("thread_ts") != "" {
			return "internal_error"
		}
		return ""
	}
	n := w.notifier(slack.Options{})
	m := note()
	handle, err := n.Notify(t.Context(), m)
	if err == nil || handle == "" {
		t.Fatalf("got %q, %v; want a handle and an error", handle, err)
	}
	w.mu.Lock()
	w.fail = nil
	w.mu.Unlock()
	m.Handle = handle
	tell(t, n, &m)
	channel, thread := w.channel()
	if len(channel) != 1 || len(thread) != 1 || !strings.HasPrefix(thread[0].Text, "Opened") {
		t.Errorf("%d messages, %d replies", len(channel), len(thread))
	}
}

func TestLayoutThatIsRefused(t *testing.T) {
	w := newWorkspace(t)
	w.fail = func(_ string, form url.Values) string {
		if form.Get("attachments") != "" {
			return "invalid_attachments"
		}
		return ""
	}
	m := note()
	tell(t, w.notifier(slack.Options{}), &m)
	if channel, _ := w.channel(); len(channel) != 1 ||
		!strings.Contains(channel[0].Text, "errors 2.4%") {
		t.Errorf("the channel has %+v", channel)
	}
}

func TestErrors(t *testing.T) {
	for code, permanent := range map[string]bool{
		"invalid_auth": true, "channel_not_found": true, "is_archived": true, "not_in_channel": true,
		"token_revoked": true, "missing_scope": true,
		"internal_error": false, "fatal_error": false, "service_unavailable": false,
		"something_new": false,
	} {
		w := newWorkspace(t)
		w.fail = func(string, url.Values) string { return code }
		_, err := w.notifier(slack.Options{}).Notify(t.Context(), note())
		var e *remediation.Error
		if !errors.As(err, &e) || e.Permanent != permanent || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: got %v, want permanent %t", code, err, permanent)
		}
	}
}

// answer is a server that answers everything alike.
func answer(t *testing.T, code int, header map[string]string, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAnswersThatAreNotSlacks(t *testing.T) {
	huge := `{"ok":true,"ts":"` + strings.Repeat("1", 4<<20) + `"}`
	for _, tc := range []struct {
		name      string
		code      int
		header    map[string]string
		body      string
		permanent bool
		after     time.Duration
	}{
		{"rate limit", 429, map[string]string{"Retry-After": "23"}, "", false, 23 * time.Second},
		{"rate limit without a time", 429, nil, "", false, 0},
		{"rate limit with nonsense", 429, map[string]string{"Retry-After": "soon"}, "", false, 0},
		{"server error", 503, nil, "<html>", false, 0},
		{"a proxy refuses", 403, nil, "<html>", true, 0},
		{"a page", 200, nil, "<html>", false, 0},
		{"nothing", 200, nil, "", false, 0},
		{"no timestamp", 200, nil, `{"ok":true}`, false, 0},
		{"not ok, and no reason", 200, nil, `{"ok":false}`, false, 0},
		{"wrong types", 200, nil, `{"ok":1,"ts":[]}`, false, 0},
		{"without end", 200, nil, huge, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, err := slack.New(slack.Options{
				Token: "xoxb-CANARY", Channel: "c", APIURL: answer(t, tc.code, tc.header, tc.body),
			})
			if err != nil {
				t.Fatal(err)
			}
			_, err = n.Notify(t.Context(), note())
			var e *remediation.Error
			if !errors.As(err, &e) || e.Permanent != tc.permanent || e.RetryAfter != tc.after {
				t.Errorf("got %v (%+v)", err, e)
			}
			if err != nil && strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestHungSlack(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	n, err := slack.New(slack.Options{Token: "xoxb-CANARY", Channel: "c", APIURL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = n.Notify(ctx, note())
	var e *remediation.Error
	if !errors.As(err, &e) || e.Permanent || strings.Contains(err.Error(), "CANARY") {
		t.Errorf("got %v", err)
	}
}

func TestTokenFileIsReadAnew(t *testing.T) {
	w := newWorkspace(t)
	file := filepath.Join(t.TempDir(), "token")
	n := w.notifier(slack.Options{TokenFile: file})
	if _, err := n.Notify(t.Context(), note()); err == nil {
		t.Error("a missing file is no error")
	}
	for _, token := range []string{"xoxb-one", "xoxb-two"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		m := note()
		tell(t, n, &m)
		if got := w.tokens[len(w.tokens)-1]; got != token {
			t.Errorf("token %q was used, want %q", got, token)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []slack.Options{
		{}, {Token: "x"}, {Channel: "c"}, {Token: "x", TokenFile: "y", Channel: "c"},
	} {
		if _, err := slack.New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	n := newWorkspace(t).notifier(slack.Options{NoResolved: true})
	if n.SendsResolved() || n.Integration() != "slack" {
		t.Error("NoResolved has no effect")
	}
}
