package detectortest_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"tocsin/detector/detectortest"
)

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"1h level=1":                           "line 1: a segment before any series",
		"\nseries a":                           "line 2: want series",
		"step":                                 "line 1: want a value",
		"signal x kind=rate mood=good":         `unknown "mood=good"`,
		"signal x effect=much":                 "invalid syntax",
		"tune sharpness=3":                     `unknown "sharpness=3"`,
		"series a x\n 1h level=high":           "line 2: ",
		"series a x\n an-hour level=1":         "line 2: ",
		"step 1m # minutes\nseries a x\njump":  "line 3: want a length",
		"series a x\n 1d12h level=1\n history": "line 3: want a length",
	} {
		if _, err := detectortest.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want %q", text, err, want)
		}
	}
}

func TestInstants(t *testing.T) {
	s, err := detectortest.Parse(`
step 10m
signal x kind=gauge bad=up
series a x
  history 20m value=1
  jump 1h
  10m gap
  10m value=Inf
series b x
  20m level=5
`)
	if err != nil {
		t.Fatal(err)
	}
	a, b := s.Lives[0].ID, s.Lives[1].ID
	instants := s.Instants()
	if len(instants) != 4 {
		t.Fatalf("%d instants, want 4", len(instants))
	}
	for i, want := range []time.Duration{10, 20, 90, 100} {
		if got := instants[i].At.Sub(s.Start); got != want*time.Minute || instants[i].History != (i < 2) {
			t.Errorf("instant %d is at %s, history %v", i, got, instants[i].History)
		}
	}
	if _, ok := instants[2].Values[a]; ok {
		t.Error("a gap has a value")
	}
	if v := instants[3].Values[a]; !math.IsInf(v, 1) {
		t.Errorf("value %v, want Inf", v)
	}
	if instants[1].Values[b] != 5 || len(instants[2].Values) != 0 {
		t.Errorf("b is %v, then %v", instants[1].Values, instants[2].Values)
	}
}

func TestPlot(t *testing.T) {
	s, err := detectortest.Parse(`
signal x kind=gauge bad=up
series a x
  2h value=10
  10m value=100
  30m value=10
series b x
`)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plot := s.Plot(answer)
	for _, want := range []string{
		"a x: 10 to 100, a column is", "999", "!!!", "b x: nothing",
		"0d2h3m0s    open     a x: up, harmful, since 0d2h1m0s", "back to normal",
	} {
		if !strings.Contains(plot, want) {
			t.Errorf("no %q in\n%s", want, plot)
		}
	}
}
