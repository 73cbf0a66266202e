package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"tocsin/collectors/promql"
	"tocsin/config"
)

// planCosts are round numbers.
func planCosts() *PlanCosts {
	return &PlanCosts{
		DecodeNS: 200, ScoreNS: 100, SeriesBytes: 1000, StateBytes: 1000, WriteNS: 300, HeadBytes: 2000,
		SampleBytes: 4,
		LogBytes:    12, JournalBytes: 1000,
	}
}

// now makes the sources of a stage answer for the present, too.
func (s *stage) now() {
	for _, p := range s.sources {
		p.change(func() { p.begin = time.Now().Add(-pastLength + time.Hour).Truncate(time.Minute) })
	}
}

// A plan counts what the sources have and adds up.
func TestPlan(t *testing.T) {
	s := newStage(t)
	s.now()
	s.config.Storage.DetailSignals = 12
	s.config.Alerting.Budget = config.Budget{PagesPerWeek: 0.5, Per: "service"}
	opts := PlanOptions{Config: s.config, Costs: planCosts()}
	p, err := MakePlan(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	const series = 2 * 6 * 4
	if p.Total.Series != series || p.Clusters[0].Series != series/2 ||
		p.Total.ValuesPerSecond != series/60.0 ||
		p.Total.QueriesPerSecond != 8/60.0 || p.Total.BytesPerRound < 48*50 {
		t.Errorf("total: %+v", p.Total)
	}
	stored := float64(series + 4*12)
	if want := idleBytes + 2*clusterBytes +
		2*(series*1000+stored*2000); math.Abs(p.Total.MemoryBytes-want) > 1 {
		t.Errorf("%g bytes of memory, want %g", p.Total.MemoryBytes, want)
	}
	day := 24 * time.Hour.Seconds()
	if want := stored / 60 * (15*day*4 + 3*3600*12); math.Abs(p.Disk.Scores-want) > 1 {
		t.Errorf("%g bytes of scores, want %g", p.Disk.Scores, want)
	}
	if want := 12 * 0.5 * 400 / 7 * 1000; math.Abs(p.Disk.Journal-want) > 1 {
		t.Errorf("%g bytes of journal, want %g", p.Disk.Journal, want)
	}
	var text, js bytes.Buffer
	if err := errors.Join(p.WriteText(&text), p.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"total, with the daemon's own", "sim_errors",
		"persistence: {size: 2Gi}", "limits: {memory: 128Mi}",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text does not say %s:\n%s", want, &text)
		}
	}
	var again Plan
	if err := json.Unmarshal(js.Bytes(), &again); err != nil || again.Total != p.Total {
		t.Errorf("JSON: %v, %+v", err, again.Total)
	}

	opts.Horizon = 24 * time.Hour
	if short, err := MakePlan(t.Context(), opts); err != nil || short.Disk.Scores >= p.Disk.Scores {
		t.Errorf("a day takes as much as 15: %v, %+v", err, short)
	}
	s.config.Global.MaxSeriesPerCluster = 10
	if p, err = MakePlan(t.Context(), opts); err != nil || len(p.Notes) != 2 ||
		!strings.Contains(p.Notes[0], "would be refused") {
		t.Errorf("notes: %v, %v", err, p.Notes)
	}
	s.sources[0].change(func() { s.sources[0].fault = http.NotFound })
	var bad *promql.SourceError
	if _, err := MakePlan(t.Context(), opts); !errors.As(err, &bad) || bad.URL != s.sources[0].URL {
		t.Errorf("got %v", err)
	}
}

// What is measured is a price that somebody could pay.
func TestMeasuredCosts(t *testing.T) {
	c, err := measureCosts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	for _, x := range []struct {
		name            string
		value, from, to float64
	}{
		{"decoding", c.DecodeNS, 10, 1e6},
		{"scoring", c.ScoreNS, 5, 1e6},
		{"a series", c.SeriesBytes, 300, 20_000},
		{"its state", c.StateBytes, 200, 10_000},
	} {
		if !(x.value >= x.from && x.value <= x.to) {
			t.Errorf("%s costs %g", x.name, x.value)
		}
	}
}
