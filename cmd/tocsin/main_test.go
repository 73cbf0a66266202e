package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run runs a command line in an empty folder of its own and returns what it printed, how it would exit, and the folder.
func run(t *testing.T, files map[string]string, args ...string) (out string, code int, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	cmd := newRoot()
	var buf bytes.Buffer
	cmd.SetOut(&buf)
	cmd.SetErr(&buf)
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		buf.WriteString(describe(err))
		code = exitCode(err)
	}
	return buf.String(), code, dir
}

const good = `clusters:
  - name: eu
    prometheus:
      url: http://127.0.0.1:1
`

const mistyped = `clusters:
  - name: eu
    prometheuz:
      url: http://127.0.0.1:1
`

const twins = `clusters:
  - name: eu
    prometheus: {url: "http://127.0.0.1:1"}
  - name: eu
    prometheus: {url: "http://127.0.0.1:2"}
`

func TestCheckConfig(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		code       int
		want       []string
	}{
		{"good", good, 0, []string{"tocsin.yaml is valid: 1 clusters"}},
		{"mistyped", mistyped, 2, []string{"tocsin.yaml:3: clusters[0].prometheuz: ", "prometheus"}},
		{"two of one name", twins, 2, []string{"tocsin.yaml:4: clusters[1].name: ", "eu"}},
		{"not YAML", "clusters: [", 2, []string{"tocsin.yaml:"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, code, _ := run(t, map[string]string{"tocsin.yaml": tc.text}, "check", "config", "tocsin.yaml")
			if code != tc.code {
				t.Errorf("exit %d, want %d: %s", code, tc.code, out)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("printed %q, want %q in it", out, want)
				}
			}
		})
	}
}

func TestRunRefusesBadInputBeforeItStarts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		env   map[string]string
		args  []string
		want  string
	}{
		{name: "no file", want: "tocsin.yaml"},
		{name: "bad file", files: map[string]string{"tocsin.yaml": mistyped}, want: "tocsin.yaml:3: "},
		{name: "bad flag", files: map[string]string{"tocsin.yaml": good}, args: []string{"--log.level=loud"}, want: "log.level"},
		{name: "unknown flag", files: map[string]string{"tocsin.yaml": good}, args: []string{"--verbose"}, want: "verbose"},
		{
			name: "bad variable", files: map[string]string{"tocsin.yaml": good},
			env: map[string]string{"TOCSIN_LOG_FORMAT": "xml"}, want: "log.format",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			out, code, dir := run(t, tc.files, append([]string{"run"}, tc.args...)...)
			if code != 2 || !strings.Contains(out, tc.want) {
				t.Errorf("exit %d, printed %q; want 2 and %q", code, out, tc.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "data")); !os.IsNotExist(err) {
				t.Errorf("something was started: the folder data: %v", err)
			}
		})
	}
}

func TestReplayWritesNothingHalf(t *testing.T) {
	files := map[string]string{"a.csv": "timestamp,value,label\n60,1,0\n120,2,0\n180,many,1\n"}
	out, code, dir := run(t, files, "replay", "--output", "out", "a.csv")
	if want := `a.csv:4: column value: "many" is not a number`; code != 2 || !strings.Contains(out, want) {
		t.Errorf("exit %d, printed %q; want 2 and %q", code, out, want)
	}
	left, err := filepath.Glob(filepath.Join(dir, "out", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestReplayGivesRowForRow(t *testing.T) {
	var b strings.Builder
	b.WriteString("timestamp,label,split,value\n")
	for i := range 300 {
		b.WriteString(strings.Join([]string{
			"2026-01-01 00:" + twoDigits(i/60) + ":" + twoDigits(i%60), "0", "1", []string{"", "1", "1.1", "0.9"}[i%4],
		}, ",") + "\n")
	}
	_, code, dir := run(t, map[string]string{"a.csv": b.String()}, "replay", "--output", "out", "a.csv")
	if code != 0 {
		t.Fatalf("exit %d", code)
	}
	text, err := os.ReadFile(filepath.Join(dir, "out", "a.csv"))
	if err != nil {
		t.Fatal(err)
	}
	in, got := strings.Split(b.String(), "\n"), strings.Split(string(text), "\n")
	if len(got) != len(in) || got[0] != "timestamp,label,split,anomaly_score,expected,lower,upper" {
		t.Fatalf("%d lines, the first %q; want %d", len(got), got[0], len(in))
	}
	for i, line := range got[1 : len(got)-1] {
		time, _, _ := strings.Cut(in[i+1], ",")
		if !strings.HasPrefix(line, time+",0,1,") || strings.Count(line, ",") != 6 {
			t.Fatalf("line %d is %q, of %q", i+2, line, in[i+1])
		}
	}
}

func twoDigits(n int) string { return string([]byte{'0' + byte(n/10), '0' + byte(n%10)}) }

func TestVersionAndCompletion(t *testing.T) {
	if out, code, _ := run(t, nil, "version"); code != 0 || !strings.HasPrefix(out, "tocsin, version") {
		t.Errorf("version: exit %d, %q", code, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, code, _ := run(t, nil, "completion", shell); code != 0 || !strings.Contains(out, "tocsin") {
			t.Errorf("completion %s: exit %d, %.80q", shell, code, out)
		}
	}
}

// TestReplayTellsFindings has an hour in which latency is ten times as high, in two days.
func TestReplayTellsFindings(t *testing.T) {
	var b strings.Builder
	b.WriteString("timestamp,value\n")
	for i := range 2880 {
		v := 1 + 0.01*float64(i*7919%13)
		if i >= 2000 && i < 2060 {
			v *= 10
		}
		fmt.Fprintf(&b, "%d,%g\n", 1_700_000_000+60*i, v)
	}
	out, code, dir := run(t, map[string]string{"a.csv": b.String()},
		"replay", "--output", "out", "--findings", "found.jsonl", "--budget", "1", "a.csv")
	if want := "a.csv: 1 pages in 0.3 weeks, 3.50 a week of 1\n"; code != 0 || !strings.Contains(out, want) {
		t.Errorf("exit %d, printed %q; want %q in it", code, out, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, "found.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		File, Signal    string
		Start, End      time.Time
		Peak, Threshold float64
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if f.File != "a.csv" || f.Signal != "value" || f.Start.Unix() != 1_700_000_000+60*2000 ||
		!f.End.After(f.Start) || !(f.Peak > f.Threshold) || f.Threshold < 3.5 {
		t.Errorf("found %+v", f)
	}
}
