package promql

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// past prepares a source with a history of ten hours and an end of it.
func past(t *testing.T) (*rig, *Source, History) {
	r := newRig(t, "requests", "errors", "latency")
	r.opts.Queries[1].ZeroWith = "requests"
	r.prom.constant("errors", absentHere)
	r.opts.Backfill = Backfill{MaxValues: 6000}
	source, err := New(r.opts)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(-time.Hour).Truncate(15 * time.Second).UTC()
	r.prom.change(func() { r.prom.begin = end.Add(-10 * time.Hour) })
	return r, source, History{From: end.Add(-12 * time.Hour), To: end}
}

// What is replayed looks like live ticks; what the source does not have is a gap.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, source, h := past(t)
		outage := h.To.Add(-3 * time.Hour)
		for _, signal := range []string{"requests", "latency"} {
			r.prom.change(func() {
				r.prom.values[signal] = func(_ string, at time.Time) float64 {
					if !at.Before(outage) && at.Before(outage.Add(10*time.Minute)) {
						return absentHere
					}
					return 1
				}
			})
		}
		told := 0
		h.Progress = func(time.Time, int) { told++ }
		p, err := source.Replay(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if !p.First.Equal(h.To.Add(-10*time.Hour)) || !p.Last.Equal(h.To) || p.Instants != 2401-40 ||
			p.Values != 9*p.Instants || told == 0 || p.Bytes == 0 || p.Queries < 6 {
			t.Errorf("past: %+v, told %d times", p, told)
		}
		if len(p.Gaps) != 2 || p.Gaps[0].Instants != 480 || p.Gaps[1].Instants != 40 ||
			!p.Gaps[1].From.Equal(outage) {
			t.Errorf("gaps: %+v", p.Gaps)
		}
		for _, a := range r.prom.since(time.Time{}) {
			if !a.from.Truncate(day).Equal(a.to.Truncate(day)) {
				t.Errorf("%s is asked from %s to %s", a.expr, a.from, a.to)
			}
		}
		all := r.sink.instants()
		if len(all) != p.Instants {
			t.Errorf("%d instants were closed", len(all))
		}
		for _, at := range all {
			if got := r.sink.at(at); r.sink.history[at] || len(got) != 9 || got["errors/a"] != 0 {
				t.Fatalf("at %s, history %t: %v", at, r.sink.history[at], got)
			}
		}
		for i, want := range []string{"requests", "errors", "latency"} {
			if s := p.Signals[i]; s.Signal != want || s.Series != 3 || s.Values != 3*p.Instants {
				t.Errorf("signal %d: %+v", i, s)
			}
		}
	})
}

// Longer steps are multiples of themselves; a query that takes too long is asked in parts.
func TestReplayInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, source, h := past(t)
		r.prom.delay = func(_ string, steps int) time.Duration {
			if steps > 20 {
				return time.Hour
			}
			return time.Millisecond
		}
		h.Step = time.Minute
		p, err := source.Replay(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if p.Instants != 600 && p.Instants != 601 {
			t.Errorf("%d instants", p.Instants)
		}
		for _, at := range r.sink.instants() {
			if !at.Equal(at.Truncate(time.Minute)) {
				t.Fatalf("an instant at %s", at)
			}
		}
		for _, b := range r.sink.batches {
			if b.Step != time.Minute {
				t.Fatalf("step %s", b.Step)
			}
		}
	})
}

// A bad query costs its signal, a bad source the replay: no answer is not a gap.
func TestReplayOfADifficultSource(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*rig)
		want   string // Of the error.
	}{
		{name: "one bad query", change: func(r *rig) {
			r.prom.faults["latency"] = says(400, `{"status":"error","errorType":"bad_data","error":"x"}`)
		}},
		{name: "it stumbles", change: func(r *rig) {
			r.prom.faults["latency"] = func(w http.ResponseWriter, req *http.Request) {
				r.prom.change(func() { delete(r.prom.faults, "latency") })
				says(502, "")(w, req)
			}
		}},
		{name: "no permission", want: "403 Forbidden; check the credentials", change: func(r *rig) {
			r.prom.fault = says(403, "")
		}},
		{name: "something else", want: "check prometheus.url of the cluster", change: func(r *rig) {
			r.prom.fault = says(404, "")
		}},
		{name: "it dies", want: "cluster eu: ask for history at http://prom.test/base: ", change: func(r *rig) {
			r.prom.faults["errors"] = says(502, "")
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, source, h := past(t)
				tc.change(r)
				p, err := source.Replay(t.Context(), h)
				var bad *SourceError
				switch {
				case tc.want == "" && err != nil:
					t.Fatal(err)
				case tc.want == "" && p.Instants != 2401:
					t.Errorf("past: %+v", p)
				case tc.want != "" && (!errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want)):
					t.Errorf("got %v, want %s", err, tc.want)
				}
				if tc.name == "one bad query" && (p.Signals[2].State != Off || p.Signals[2].Reason == "") {
					t.Errorf("signals: %+v", p.Signals)
				}
			})
		})
	}
}

func TestSurvey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors", "latency", "more")
		r.opts.Queries[1].ZeroWith = "requests"
		r.opts.Queries[2].Probe = "nothing"
		r.prom.constant("errors", absentHere)
		r.prom.faults["more"] = says(422, `{"status":"error","errorType":"execution","error":"x"}`)
		source, err := New(r.opts)
		if err != nil {
			t.Fatal(err)
		}
		got, err := source.Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []SignalSurvey{
			{Signal: "requests", State: OK, Count: 3, Series: 3},
			{Signal: "errors", State: MatchesNothing, Series: 3},
			{Signal: "latency", State: Off},
			{Signal: "more", State: Failing, Count: 3},
		} {
			s := got.Signals[i]
			if s.Signal != want.Signal || s.State != want.State || s.Count != want.Count ||
				s.Series != want.Series || (s.State == OK) != (s.Bytes > 0 && s.Reason == "") {
				t.Errorf("got %+v, want %+v", s, want)
			}
		}
		r.prom.change(func() { r.prom.fault = says(401, "") })
		var bad *SourceError
		if _, err := source.Survey(t.Context()); !errors.As(err, &bad) {
			t.Errorf("got %v", err)
		}
	})
}
