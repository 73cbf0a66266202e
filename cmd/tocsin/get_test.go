package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"tocsin/incident"
)

func TestGet(t *testing.T) {
	h := startHouse(t)
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string // In what is printed.
		not  string
	}{
		{
			"incidents",
			[]string{"incidents"},
			0,
			[]string{
				"ID    STATE     SEVERITY", "1a2b  open      critical  eu/shop/cart", "goes on",
				"cart: errors 12.4% instead of 0.3%\n", "1aff  resolved  warning", "30m",
			},
			"CAUSE",
		},
		{
			"incidents in full",
			[]string{"incident", "-o", "wide", "--state", "open"},
			0,
			[]string{"LIKELIEST CAUSE", "image cart:v41 -> cart:v42"},
			"1aff",
		},
		{
			"findings of a service",
			[]string{"findings", "--service", "cart"},
			0,
			[]string{"f1  open   eu/shop/cart  http_errors", "12.4%     0.3%"},
			"f2",
		},
		{
			"services",
			[]string{"services", "--output", "wide", "--cluster", "eu"},
			0,
			[]string{"eu/shop/cart  5.2    2        1", "0.3           0.5", "eu/shop/mail  0.4"},
			"",
		},
		{
			"clusters",
			[]string{"clusters"},
			0,
			[]string{"eu       fresh", "us       unreachable  -", "connection refused"},
			"",
		},
		{
			"releases",
			[]string{"releases"},
			0,
			[]string{
				"77ffee  rolled back  regressed", "cart:v41 -> cart:v42", "errors +4.8 points",
				"8c77aa  soaking      inconclusive", "8c1d2f  rolling      regressed",
			},
			"argocd",
		},
		{
			"releases that run",
			[]string{"releases", "--state", "rolling", "-o", "wide"},
			0,
			[]string{"8c1d2f  rolling  regressed  eu/shop/cart", "argocd  4120     roll back  6"},
			"8c77aa",
		},
		{
			"actions",
			[]string{"actions", "-o", "wide", "--kind", "rollback"},
			0,
			[]string{"undo-5b0d  waiting  rollback  ask   eu/shop/cart", "cart:v42  cart:v41"},
			"",
		},
		{"no pauses", []string{"pauses"}, 0, []string{"no such pauses"}, ""},
		{"nothing", []string{"findings", "--service", "none"}, 0, []string{"no such findings"}, ""},
		{"a bad state", []string{"findings", "--state", "gone"}, 2, []string{"open, resolved"}, ""},
		{"a bad form", []string{"findings", "-o", "xml"}, 2, []string{"table, wide, json"}, ""},
		{"a bad time", []string{"findings", "--since", "monday"}, 2, []string{"2h or 7d"}, ""},
		{"no limit", []string{"findings", "--limit", "0"}, 2, []string{"--limit"}, ""},
		{"a filter it does not have", []string{"clusters", "--state", "x"}, 2, []string{"state"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := h.says(t, tc.code, append([]string{"get"}, tc.args...), tc.want...)
			if tc.not != "" && strings.Contains(out, tc.not) {
				t.Errorf("printed\n%s\nwant no %q in it", out, tc.not)
			}
		})
	}
}

func TestGetJSON(t *testing.T) {
	h := startHouse(t)
	out, code := h.tocsin(t, "get", "incidents", "-o", "json", "--limit", "1")
	var got []incident.Incident
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if len(got) != 1 || got[0].ID != "1a2b" || len(got[0].Causes) != 1 {
		t.Errorf("got %+v", got)
	}
}

// TestWatch follows a list through a change and through a time when the daemon is away.
func TestWatch(t *testing.T) {
	for _, output := range []string{"table", "json"} {
		t.Run(output, func(t *testing.T) {
			h := startHouse(t)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			lines, ended := watchHouse(ctx, h, "get", "incidents", "--watch", "--every", "1ms", "-o", output)
			next := func(want string) {
				t.Helper()
				for line := range lines {
					if strings.Contains(line, want) {
						return
					}
				}
				t.Fatalf("nothing printed holds %q", want)
			}
			next("1aff")
			h.mu.Lock()
			h.away = true
			h.mu.Unlock()
			next("trying again")
			h.mu.Lock()
			h.away = false
			h.incidents[0].Title = "cart: errors 50%"
			h.mu.Unlock()
			next("cart: errors 50%")
			stop()
			for line := range lines {
				if strings.Contains(line, "1aff") {
					t.Errorf("printed again though nothing has changed: %s", line)
				}
			}
			if err := <-ended; err != nil {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// watchHouse runs a command and hands out what it prints line by line.
func watchHouse(ctx context.Context, h *house, args ...string) (<-chan string, <-chan error) {
	r, w := io.Pipe()
	cmd := newRoot()
	cmd.SetOut(w)
	cmd.SetErr(w)
	cmd.SetArgs(append(args, "--url", h.URL))
	lines, ended := make(chan string), make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		ended <- err
		w.CloseWithError(io.EOF)
	}()
	go func() {
		defer close(lines)
		var rest []byte
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			rest = append(rest, buf[:n]...)
			for {
				i := bytes.IndexByte(rest, '\n')
				if i < 0 {
					break
				}
				lines <- string(rest[:i])
				rest = rest[i+1:]
			}
			if err != nil {
				return
			}
		}
	}()
	return lines, ended
}

func TestWatchOfWhatCannotBe(t *testing.T) {
	h := startHouse(t)
	h.says(t, 2, []string{"get", "findings", "--watch", "--state", "gone"}, "open, resolved")
	h.away = true
	h.says(t, 1, []string{"get", "findings", "--watch"}, "502")
}

func TestSince(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2h":                   noon.Add(-2 * time.Hour),
		"7d":                   noon.Add(-7 * 24 * time.Hour),
		"2026-02-01T00:00:00Z": time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got, err := since(text, noon); err != nil || !got.Equal(want) {
			t.Errorf("since %s is %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestPainterShowsTonesOnlyToTerminals(t *testing.T) {
	if got := newPainter(&bytes.Buffer{}).paint(toneBad, "x"); got != "x" {
		t.Errorf("elsewhere: %q", got)
	}
	if got := (painter{on: true}).paint(toneBad, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("on a terminal: %q", got)
	}
}

// TestCommandsAreDocumented compares docs/commands.md with the commands that ask the daemon.
func TestCommandsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot()
	named := regexp.MustCompile("tocsin ([a-z]+)")
	for _, m := range named.FindAllStringSubmatch(string(text), -1) {
		cmd, _, err := root.Find(strings.Fields(m[1]))
		if err != nil || cmd == root {
			t.Errorf("docs/commands.md names tocsin %s, which there is not", m[1])
		}
	}
	for _, cmd := range root.Commands() {
		asks := cmd.Flag("url") != nil || cmd.PersistentFlags().Lookup("url") != nil
		if asks && !strings.Contains(string(text), "`tocsin "+cmd.Name()) {
			t.Errorf("docs/commands.md does not name tocsin %s", cmd.Name())
		}
		for _, sub := range cmd.Commands() {
			if asks && cmd.Name() != "feedback" && !strings.Contains(string(text), sub.Name()) {
				t.Errorf("docs/commands.md does not name tocsin %s %s", cmd.Name(), sub.Name())
			}
		}
	}
}
