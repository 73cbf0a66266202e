package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// TestPackQueries runs the scripts of testdata/packs, in the language of Prometheus' own tests.
// $name stands for the query of a signal with a window of two minutes.
func TestPackQueries(t *testing.T) {
	packs, err := Packs()
	if err != nil {
		t.Fatal(err)
	}
	asked := make(map[string]bool)
	scripts, err := filepath.Glob("testdata/packs/*.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			text, err := os.ReadFile(script)
			if err != nil {
				t.Fatal(err)
			}
			name := regexp.MustCompile(`\$[a-z0-9_]+`)
			filled := name.ReplaceAllStringFunc(string(text), func(signal string) string {
				s, ok := findSignal(packs, signal[1:])
				if !ok {
					t.Fatalf("no signal %s", signal)
				}
				asked[s.Name] = true
				return expr(t, s)
			})
			engine := promql.NewEngine(promql.EngineOpts{
				MaxSamples: 1e6, Timeout: time.Minute, EnableAtModifier: true,
				Parser: parser.NewParser(parser.Options{}),
			})
			promqltest.RunTest(t, filled, engine)
		})
	}
	for _, p := range packs {
		for _, s := range p.Signals {
			if !asked[s.Name] {
				t.Errorf("no script asks for signal %s", s.Name)
			}
		}
	}
}

// expr returns the query of a signal in one line.
func expr(t *testing.T, s Signal) string {
	t.Helper()
	text, err := s.Expr(nil, 2*time.Minute, 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(text), " ")
}
