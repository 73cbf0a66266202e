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
// $name stands for the query of a signal with a window of two minutes, $set.metric for one of pods
// by the first of its labels, and $set.metric.total for that of services as a whole.
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
			name := regexp.MustCompile(`\$[a-z0-9_]+(\.[a-z_]+)*`)
			filled := name.ReplaceAllStringFunc(string(text), func(signal string) string {
				if strings.Contains(signal, ".") {
					asked[strings.TrimSuffix(signal[1:], ".total")] = true
					return podExpr(t, packs, signal[1:])
				}
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
		for _, s := range p.Pods {
			for _, m := range s.metrics() {
				if !asked[s.Name+"."+m.name] {
					t.Errorf("no script asks pods for %s.%s", s.Name, m.name)
				}
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

// podExpr returns a query for pods in one line.
func podExpr(t *testing.T, packs []Pack, name string) string {
	t.Helper()
	name, total := strings.CutSuffix(name, ".total")
	for _, set := range podSets(packs) {
		for _, m := range set.metrics() {
			if set.Name+"."+m.name != name {
				continue
			}
			q, err := set.query(m, nil, 2*time.Minute, 15*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if total {
				return strings.ReplaceAll(q.Total, "$selector", `pod=~"|.+"`)
			}
			pod := set.PodLabels[0]
			return strings.NewReplacer("$pod", set.NamespaceLabels[0]+", "+pod, "$selector", pod+`=~".+"`).
				Replace(q.Expr)
		}
	}
	t.Fatalf("no query %s for pods", name)
	return ""
}
