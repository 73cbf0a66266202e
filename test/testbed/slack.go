package testbed

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/slack-go/slack/slacktest"
)

// Slack is a Slack that keeps what was posted, edited and answered.
type Slack struct {
	URL string // For api_url.

	server *slacktest.Server
	mu     sync.Mutex // Guards what follows.
	calls  []SlackCall
}

// SlackCall is a message that was posted or edited.
type SlackCall struct {
	Edit    bool // Else it is new.
	Channel string
	TS      string // Of the message.
	Thread  string // Of the message that it answers; empty: none.
	Text    string
	Blocks  string // With attachments, as JSON.
}

// StartSlack starts a Slack; it ends with the test.
func StartSlack(t testing.TB) *Slack {
	t.Helper()
	s := &Slack{}
	s.server = slacktest.NewTestServer(func(c slacktest.Customize) {
		c.Handle("/chat.postMessage", s.serve(t, false))
		c.Handle("/chat.update", s.serve(t, true))
	})
	s.server.Start()
	s.URL = s.server.GetAPIURL()
	t.Cleanup(s.server.Stop)
	return s
}

func (s *Slack) serve(t testing.TB, edit bool) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		c := SlackCall{
			Edit: edit, Channel: r.FormValue("channel"), TS: r.FormValue("ts"),
			Thread: r.FormValue("thread_ts"), Text: r.FormValue("text"),
			Blocks: r.FormValue("blocks") + r.FormValue("attachments"),
		}
		if c.TS == "" {
			c.TS = fmt.Sprintf("1700000000.%06d", len(s.calls)+1)
		}
		s.calls = append(s.calls, c)
		w.Header().Set("Content-Type", "application/json")
		err := json.NewEncoder(w).Encode(map[string]any{
			"ok": true, "channel": "C0123456789", "ts": c.TS, "text": c.Text,
		})
		if err != nil {
			t.Errorf("testbed: answer for Slack: %v", err)
		}
	}
}

// Calls returns what was posted, edited and answered so far, oldest first.
func (s *Slack) Calls() []SlackCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}
