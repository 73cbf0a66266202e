package promql

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// checkBackfill makes sure that history comes first, whole, and is followed by live ticks.
func (r *rig) checkBackfill(t *testing.T, from time.Time) {
	t.Helper()
	all := r.sink.instants()
	if len(all) == 0 || all[0].Sub(from).Abs() > 30*time.Second {
		t.Fatalf("%d instants, the first is %v, want %s", len(all), all[:min(1, len(all))], from)
	}
	if n := r.sink.gaps(15 * time.Second); n != 0 {
		t.Errorf("%d instants are missing", n)
	}
	live := 0
	for _, at := range all {
		if !r.sink.history[at] {
			live++
		} else if live > 0 {
			t.Errorf("history at %s after live instants", at)
		}
		if len(r.sink.at(at)) != 3*len(r.opts.Queries) {
			t.Errorf("at %s: %v", at, r.sink.at(at))
		}
	}
	if live == 0 || live == len(all) {
		t.Errorf("%d of %d instants are live", live, len(all))
	}
	for _, b := range r.sink.batches {
		if b.Step != 15*time.Second {
			t.Fatalf("step is %s", b.Step)
		}
	}
}

func TestBackfill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors", "latency")
		r.opts.Queries[1].ZeroWith = "requests"
		r.prom.constant("errors", absentHere)
		r.opts.Backfill = Backfill{Window: 6 * time.Hour, MaxValues: 6000, Gate: make(chan struct{}, 1)}
		r.prom.delay = func(_ string, steps int) time.Duration { return time.Duration(steps) * time.Millisecond }
		r.start(t)
		begin := time.Now()
		time.Sleep(3 * time.Second)
		st := r.source.Status()
		if st.State != Backfilling || st.Backfill == nil || st.Backfill.Done || st.Backfill.Ratio <= 0 ||
			st.Backfill.Ratio >= 1 {
			t.Errorf("in the middle: %+v, %+v", st, st.Backfill)
		}
		time.Sleep(time.Minute)
		st = r.source.Status()
		if st.State != Live || !st.Backfill.Done || st.Backfill.Reason != "" || st.Backfill.Ratio != 1 {
			t.Errorf("afterwards: %+v, %+v", st, st.Backfill)
		}
		r.checkBackfill(t, begin.Add(-6*time.Hour))
		starts := map[time.Time]int{}
		for _, a := range r.prom.since(begin) {
			starts[a.when.Truncate(time.Second)]++
			if points := int(a.to.Sub(a.from)/(15*time.Second)) + 1; points > 6000/9 {
				t.Errorf("%d points of %s at once", points, a.expr)
			}
		}
		for when, n := range starts {
			if n > 11 {
				t.Errorf("%d queries in the second of %s", n, when)
			}
		}
	})
}

// What does not fit into the time for it is left out at the old end, and the status says so.
func TestBackfillFitsItsBudget(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(r *rig)
	}{
		{"slow source", func(r *rig) {
			r.prom.delay = func(_ string, steps int) time.Duration { return time.Duration(steps) * 20 * time.Millisecond }
		}},
		{"few queries", func(r *rig) { r.opts.Backfill.MaxQueries = 0.5 }},
		{"slow sink", func(r *rig) { r.sink.delay = 10 * time.Millisecond }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "requests", "errors", "latency")
				r.opts.Backfill = Backfill{Window: 24 * time.Hour, MaxValues: 5000}
				r.opts.Timeout = 30 * time.Second
				tc.change(r)
				r.start(t)
				begin := time.Now()
				for r.source.Status().State != Live && time.Since(begin) < time.Hour {
					time.Sleep(time.Second)
				}
				if took := time.Since(begin); took > time.Minute {
					t.Errorf("live after %s", took)
				}
				time.Sleep(time.Minute)
				st := r.source.Status().Backfill
				if !strings.Contains(st.Reason, "did not fit") {
					t.Errorf("backfill: %+v", st)
				}
				// A short first stretch may stand alone; the rest is whole.
				all := r.sink.instants()
				all = all[min(firstSteps, len(all)-1):]
				if len(all) < 300 || int(all[len(all)-1].Sub(all[0])/(15*time.Second))+1 != len(all) {
					t.Errorf("%d instants between %s and %s", len(all), all[0], all[len(all)-1])
				}
				if r.sink.history[all[len(all)-1]] {
					t.Error("no live ticks")
				}
			})
		})
	}
}

// A restart asks only for what came after the newest instant of the snapshot.
func TestBackfillSince(t *testing.T) {
	for _, tc := range []struct {
		name    string
		ago     time.Duration
		history bool
	}{
		{"long ago", 2 * time.Hour, true},
		{"just now", 3 * time.Minute, false}, // What happened meanwhile may be news.
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "requests", "errors")
				r.opts.Backfill.Window = 24 * time.Hour
				r.opts.Since = time.Now().Add(-tc.ago).Truncate(15 * time.Second)
				r.start(t)
				time.Sleep(time.Minute)
				all := r.sink.instants()
				if all[0] != r.opts.Since.Add(15*time.Second).UTC() {
					t.Errorf("the first instant is %s, want the one after %s", all[0], r.opts.Since)
				}
				if r.sink.history[all[0]] != tc.history {
					t.Errorf("history: %t", r.sink.history[all[0]])
				}
				if n := r.sink.gaps(15 * time.Second); n != 0 {
					t.Errorf("%d instants are missing", n)
				}
			})
		})
	}
}

// A source that dies while its history is read does not keep live ticks waiting.
func TestBackfillOfASourceThatDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors")
		r.opts.Backfill = Backfill{Window: 6 * time.Hour, MaxValues: 1000}
		r.start(t)
		time.Sleep(time.Second)
		r.prom.change(func() { r.prom.fault = hang })
		time.Sleep(2 * time.Minute)
		st := r.source.Status()
		if st.State != Stale || !strings.Contains(st.Backfill.Reason, "ends early") {
			t.Errorf("status: %+v, %+v", st, st.Backfill)
		}
		r.prom.change(func() { r.prom.fault = nil })
		time.Sleep(time.Minute)
		if st := r.source.Status(); st.State != Live {
			t.Errorf("status: %+v", st)
		}
	})
}

// A stretch that is too much for the source is asked for in parts; a query that is bad is
// left out.
func TestBackfillOfADifficultSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors", "latency")
		r.opts.Backfill = Backfill{Window: 6 * time.Hour}
		r.prom.faults["latency"] = says(400, `{"status":"error","errorType":"bad_data","error":"x"}`)
		r.prom.delay = func(_ string, steps int) time.Duration {
			if steps > 700 {
				return time.Hour
			}
			return time.Millisecond
		}
		r.start(t)
		time.Sleep(time.Minute)
		st := r.source.Status()
		if st.State != Live || st.Backfill.Reason != "" {
			t.Errorf("status: %+v, %+v", st, st.Backfill)
		}
		all := r.sink.instants()
		if len(all) < 6*240 || r.sink.gaps(15*time.Second) != 0 {
			t.Errorf("%d instants, %d missing", len(all), r.sink.gaps(15*time.Second))
		}
		for _, at := range all {
			if len(r.sink.at(at)) != 6 {
				t.Fatalf("at %s: %v", at, r.sink.at(at))
			}
		}
	})
}

// History begins where the source's own does.
func TestBackfillOfAYoungSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests")
		r.opts.Backfill = Backfill{Window: 24 * time.Hour, Step: time.Minute}
		r.prom.begin = time.Now().Add(-time.Hour)
		r.start(t)
		time.Sleep(30 * time.Second)
		st := r.source.Status()
		if st.State != Live || st.Backfill.Values < 3*59 || st.Backfill.Values > 3*61 {
			t.Errorf("status: %+v, %+v", st, st.Backfill)
		}
	})
}
