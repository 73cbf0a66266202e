package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// steady is a source with one service whose errors rise for half an hour in the middle of the
// second day.
func steady(t *testing.T, begin time.Time) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number := func(name string) int64 {
			v, _ := strconv.ParseInt(r.FormValue(name), 10, 64)
			return v
		}
		from, to, step := number("start"), number("end"), number("step")
		series := map[string]any{"metric": map[string]string{"namespace": "shop", "service": "cart"}}
		kind, result := "matrix", []any{}
		if r.FormValue("time") != "" {
			kind, from, to, step = "vector", number("time"), number("time"), 1
		}
		values := [][2]any{}
		for at := from; at <= to; at += step {
			since := time.Unix(at, 0).Sub(begin)
			v := 1 + 0.1*float64(at/60*7919%101)/100
			if since >= 36*time.Hour && since < 36*time.Hour+30*time.Minute {
				v = 9
			}
			if since >= 0 {
				values = append(values, [2]any{at, fmt.Sprint(v)})
			}
		}
		if len(values) > 0 {
			series["values"], series["value"] = values, values[0]
			delete(series, map[string]string{"matrix": "value", "vector": "values"}[kind])
			result = append(result, series)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"status": "success", "data": map[string]any{"resultType": kind, "result": result},
		})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// The command prints and writes what was found, and fails if that is too much.
func TestBacktestIsAGate(t *testing.T) {
	begin := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	file := filepath.Join(dir, "tocsin.yaml")
	text := `global: {interval: 1m, window: 5m}
packs: {enabled: []}
clusters:
- {name: eu, prometheus: {url: "` + steady(t, begin) + `"}}
signals:
- {name: cart_error_rate, query: cart_errors, kind: rate, bad: up}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "report.html")
	start, end := begin.Add(24*time.Hour), begin.Add(48*time.Hour)
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string // Of standard output, or of the error.
	}{
		{name: "within", args: []string{"--max-pages-per-week", "7"}, want: "7.0 a week (1 in 1d)"},
		{
			name: "beyond", args: []string{"--max-pages-per-week=6.9"}, code: exitFailed,
			want: "over budget: 7.0 a week (1 in 1d), --max-pages-per-week is 6.9",
		},
		{name: "step", args: []string{"--step", "2m"}, want: "every 2m"},
		{name: "page", args: []string{"--html", page}, want: "INCIDENTS: 1"},
		{
			name: "nowhere", args: []string{"--html", filepath.Join(dir, "no", "folder.html")},
			code: exitFailed, want: "write ",
		},
		{
			name: "bad time", args: []string{"--end", "noon"}, code: exitBadInput,
			want: `--end: "noon" is not a time`,
		},
		{name: "bad span", args: []string{"--warm-up", "long"}, code: exitBadInput, want: "--warm-up: "},
		{
			name: "bad gate", args: []string{"--max-pages-per-week", "-1"}, code: exitBadInput,
			want: "want 0 or more",
		},
		{
			name: "bad file", args: []string{"--config.file", "nowhere.yaml"}, code: exitBadInput,
			want: "nowhere.yaml",
		},
		{
			name: "bad labels", args: []string{"--labels", "nowhere.csv"}, code: exitBadInput,
			want: "nowhere.csv: no such file",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, log bytes.Buffer
			cmd := newRoot()
			cmd.SetOut(&out)
			cmd.SetErr(&log)
			cmd.SetArgs(append([]string{
				"backtest", "--config.file", file, "--start", start.Format(time.RFC3339), "--end",
				strconv.FormatInt(end.Unix(), 10), "--warm-up", "1d",
			}, tc.args...))
			err := cmd.ExecuteContext(t.Context())
			said := out.String()
			switch {
			case tc.code == 0 && err != nil:
				t.Fatal(err)
			case tc.code != 0 && (err == nil || exitCode(err) != tc.code):
				t.Fatalf("got %v, want exit code %d", err, tc.code)
			case tc.code != 0:
				said = describe(err)
			}
			if !strings.Contains(said, tc.want) {
				t.Errorf("got %s, want %s", said, tc.want)
			}
		})
	}
	if text, err := os.ReadFile(page); err != nil || !bytes.Contains(text, []byte("cart_error_rate")) {
		t.Errorf("page: %v, %d bytes", err, len(text))
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".tocsin-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestProgress(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	p := newProgress(&out, func() time.Time { return now })
	for i := range 100 {
		now = now.Add(time.Second)
		p.show(float64(i+1)/100, "eu")
	}
	p.end()
	want := " 10%, 1m30s left, eu\n"
	if got := out.String(); !strings.HasPrefix(got, want) || strings.Count(got, "\n") != 10 {
		t.Errorf("got %q", got)
	}
	var bar bytes.Buffer
	p = newProgress(&bar, func() time.Time { return now })
	p.terminal = true
	now = now.Add(time.Second)
	p.show(0.5, "eu")
	p.show(0.6, "eu")
	p.end()
	want = "\r\x1b[K[===============               ]  50%, 1s left, eu\r\x1b[K"
	if got := bar.String(); got != want {
		t.Errorf("got %q", got)
	}
}
