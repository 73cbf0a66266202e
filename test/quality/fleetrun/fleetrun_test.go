package main

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

func tiny() options {
	return options{
		clusters: 2, services: 10, signals: len(columns), days: 2, step: 2 * time.Minute,
		budget: 2, per: "service", faults: scripted, seed: 1, progress: io.Discard,
	}
}

func play(t *testing.T, o options) (*result, string) {
	t.Helper()
	r, err := run(context.Background(), o)
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	var b bytes.Buffer
	if err := r.write(&b); err != nil {
		t.Fatal(err)
	}
	return r, b.String()
}

func TestTable(t *testing.T) {
	r, table := play(t, tiny())
	if r.days != 2 {
		t.Errorf("%d days were played, want 2", r.days)
	}
	for _, want := range []string{
		`\| values \| 0\.2304 million \|`,
		`\| wall time \| [0-9.]+m?s \|`,
		`\| CPU time \|`,
		`simulated, and from batch to incident \| [0-9]+ ns \+ [0-9]+ ns \|`,
		`\| peak resident memory \| [0-9]+ MB`,
		`\| for a series: model, .* \| [1-9][0-9]* \+ [1-9][0-9]* \+ [0-9]+ bytes \|`,
		`\| findings \| [0-9.]+ \| [0-9.]+ \|`,
		`\| pages: incidents that people are told of \|`,
		`budget of all units comes to 40 pages a week`,
		`\| istio_errors \| [0-9.]+( [0-9.]+){3} \| [0-9.]+( [0-9.]+){3} \|`,
		`\| all \| 9 \| [1-9] \|`,
	} {
		if !regexp.MustCompile(want).MatchString(table) {
			t.Errorf("the table does not have %s:\n%s", want, table)
		}
	}
	if strings.Contains(table, "NaN") || strings.Contains(table, "%!") {
		t.Errorf("the table has what is no number:\n%s", table)
	}
	if burst := r.faults[0]; burst.noticed <= 0 || burst.noticed > 20*time.Minute {
		t.Errorf("%s was noticed after %v, want it within 20m", burst.name(), burst.noticed)
	}
}

func TestSameAgain(t *testing.T) {
	o := tiny()
	o.per = "fleet"
	a, _ := play(t, o)
	b, _ := play(t, o)
	if a.calm != b.calm || a.troubled != b.troubled {
		t.Errorf("two runs differ: %+v %+v, then %+v %+v", a.calm, a.troubled, b.calm, b.troubled)
	}
}

func TestInterruptedRunTellsOfWhatItPlayed(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	r, err := run(ctx, tiny())
	if err != nil {
		t.Fatal(err)
	}
	if r.days != 0 || len(r.faults) != 0 {
		t.Errorf("played %d days with %d faults, want none", r.days, len(r.faults))
	}
	if err := r.write(io.Discard); err != nil {
		t.Fatal(err)
	}
}

func TestBadInput(t *testing.T) {
	for name, change := range map[string]func(*options){
		"no clusters":        func(o *options) { o.clusters = 0 },
		"too many signals":   func(o *options) { o.signals = 9 },
		"a step of 7m":       func(o *options) { o.step = 7 * time.Minute },
		"a missing scenario": func(o *options) { o.faults = "nowhere.yaml" },
		"a strange budget":   func(o *options) { o.per = "planet" },
	} {
		o := tiny()
		change(&o)
		if _, err := run(context.Background(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
