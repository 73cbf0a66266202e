package promql

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever a source does, it is stale within a minute and says why, is not pressed, and once
// it is well again nothing is missing.
func TestFaultsOfTheSource(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  http.HandlerFunc
		reason string
		result string // Of the metric.
	}{
		{"hung", hang, "no answer", "timeout"},
		{"hangs in the middle", crawls, "no answer", "timeout"},
		{"500", says(500, "sorry"), "HTTP status 500", "server_error"},
		{
			"503 of the API", says(503, `{"status":"error","errorType":"unavailable","error":"starting"}`),
			"unavailable: starting", "server_error",
		},
		{"429", says(429, "", "Retry-After", "40"), "HTTP status 429", "throttled"},
		{
			"503 with a date", says(503, "", "Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT"),
			"HTTP status 503", "throttled",
		},
		{"401", says(401, ""), "HTTP status 401", "unauthorized"},
		{"404", says(404, "no such page"), "without /api/v1", "misdirected"},
		{
			"redirect", says(302, "", "Location", "https://login.test/"), "redirects to https://login.test",
			"unreachable",
		},
		{"a page", says(200, "<html>sign in</html>"), "not what the API gives", "malformed"},
		{"empty body", says(200, ""), "ends early", "malformed"},
		{"other JSON", says(200, `{"hello":[1,2,3]}`), "not what the API gives", "malformed"},
		{"breaks off", breaks, "ends early", "malformed"},
		{"compressed", says(200, "\x1f\x8b", "Content-Encoding", "gzip"), "compressed", "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "requests", "errors", "latency", "cpu")
				r.start(t)
				time.Sleep(time.Minute + 3*time.Second)
				if st := r.source.Status(); st.State != Live || !st.Reachable || st.Reason != "" {
					t.Fatalf("before: %+v", st)
				}
				r.prom.change(func() { r.prom.fault = tc.fault })
				begin := time.Now()
				time.Sleep(time.Minute)
				st := r.source.Status()
				if st.State != Stale || st.Reachable || !strings.Contains(st.Reason, tc.reason) {
					t.Errorf("after a minute: %s, reachable %t, %q", st.State, st.Reachable, st.Reason)
				}
				if s := r.signal(t, "cpu"); s.State != Failing || s.Reason == "" {
					t.Errorf("signal: %+v", s)
				}
				time.Sleep(time.Minute)
				r.checkCalm(t, begin)
				if r.metric(t, "tocsin_promql_queries_total", "eu", tc.result) == 0 ||
					r.metric(t, "tocsin_promql_stale", "eu") != 1 ||
					r.metric(t, "tocsin_promql_ticks_total", "eu", missed) == 0 {
					t.Errorf("the metrics do not tell")
				}
				r.prom.change(func() { r.prom.fault = nil })
				wait := time.Minute
				if strings.HasPrefix(tc.name, "503 with a date") {
					wait = maxRetryAfter + time.Minute
				}
				time.Sleep(wait)
				if st := r.source.Status(); st.State != Live || !st.Reachable || st.Reason != "" {
					t.Errorf("after: %+v", st)
				}
				if n := r.sink.gaps(15 * time.Second); n != 0 && wait == time.Minute {
					t.Errorf("%d instants are missing", n)
				}
				if r.metric(t, "tocsin_promql_stale", "eu") != 0 {
					t.Errorf("the metric is still stale")
				}
			})
		})
	}
}

// checkCalm makes sure that a silent source got at most one request a second.
func (r *rig) checkCalm(t *testing.T, begin time.Time) {
	t.Helper()
	asked := r.prom.since(begin)
	for i := 1; i < len(asked); i++ {
		if d := asked[i].when.Sub(asked[i-1].when); d < time.Second {
			t.Errorf("%s and %s were asked within %s", asked[i-1].expr, asked[i].expr, d)
		}
	}
	if len(asked) > 20 {
		t.Errorf("%d requests in %s", len(asked), time.Since(begin))
	}
}

// One query that fails takes nothing from the others.
func TestFaultsOfOneQuery(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fault  http.HandlerFunc
		state  SignalState
		reason string
		most   int // Requests for it in nine minutes.
	}{
		{
			"bad data", says(400, `{"status":"error","errorType":"bad_data","error":"parse error: x"}`),
			Off, "bad_data: parse error: x", 1,
		},
		{
			"execution", says(422, `{"status":"error","errorType":"execution","error":"many-to-many"}`),
			Failing, "execution: many-to-many", 12,
		},
		{
			"of another API", says(422, `{"status":"error","errorType":"422","error":"cannot parse"}`),
			Failing, "cannot parse", 12,
		},
		{
			"string", says(200, `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`),
			Failing, "string", 12,
		},
		{"too large", flood, Failing, "too large", 12},
		{"500", says(500, ""), Failing, "500", 12},
		{"hung", hang, Failing, "no answer", 12},
		{"truncated", breaks, Failing, "ends early", 12},
		{"without labels", says(200, vectorOf(sampleOf("", "1"))), MatchesNothing, "none with a label", 40},
		{"empty", says(200, vectorOf()), MatchesNothing, "no series", 40},
	} {
		for _, which := range []string{"requests", "cpu"} { // The first and the last of a tick.
			t.Run(tc.name+" "+which, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, "requests", "errors", "latency", "cpu")
					r.opts.MaxBytes = 1 << 20
					r.prom.faults[which] = tc.fault
					r.start(t)
					time.Sleep(9 * time.Minute)
					if st := r.source.Status(); st.State != Live || !st.Reachable {
						t.Errorf("the source is %s, reachable %t: %s", st.State, st.Reachable, st.Reason)
					}
					s := r.signal(t, which)
					if s.State != tc.state || !strings.Contains(s.Reason, tc.reason) {
						t.Errorf("the signal is %s: %s", s.State, s.Reason)
					}
					if o := r.signal(t, "errors"); o.State != OK || o.Series != 3 {
						t.Errorf("another signal: %+v", o)
					}
					for _, at := range r.sink.instants() {
						if len(r.sink.at(at)) != 9 {
							t.Errorf("at %s: %v", at, r.sink.at(at))
						}
					}
					if n := r.sink.gaps(15 * time.Second); n != 0 {
						t.Errorf("%d instants are missing", n)
					}
					n := 0
					for _, a := range r.prom.since(time.Time{}) {
						if a.expr == which {
							n++
						}
					}
					if n == 0 || n > tc.most+1 { // One more to find out that the source is there.
						t.Errorf("it was asked %d times", n)
					}
					r.prom.change(func() { delete(r.prom.faults, which) })
					time.Sleep(12 * time.Minute)
					if s := r.signal(t, which); s.State != OK {
						t.Errorf("afterwards it is %s: %s", s.State, s.Reason)
					}
				})
			})
		}
	}
}

// What takes longer than the interval is cut and does not pile up.
func TestSlowSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors", "latency", "cpu")
		r.opts.Timeout = time.Minute
		r.prom.delay = func(expr string, _ int) time.Duration {
			if expr == "latency" {
				return 40 * time.Second
			}
			return 2 * time.Second
		}
		r.start(t)
		time.Sleep(3 * time.Minute)
		if n := r.sink.gaps(15 * time.Second); n != 0 || len(r.sink.instants()) < 10 {
			t.Errorf("%d instants, %d missing", len(r.sink.instants()), n)
		}
		if s := r.signal(t, "latency"); s.State != Failing || !strings.Contains(s.Reason, "tick was over") {
			t.Errorf("the slow signal is %s: %s", s.State, s.Reason)
		}
		if r.metric(t, "tocsin_promql_queries_total", "eu", "cut") == 0 ||
			r.metric(t, "tocsin_promql_ticks_total", "eu", partial) == 0 {
			t.Error("the metrics do not tell")
		}
		if n := r.metric(t, "tocsin_promql_queries_in_flight", "eu"); n > 4 {
			t.Errorf("%v queries in flight", n)
		}
	})
}

// Of an outage that is too long, the end is caught up and the rest is counted.
func TestLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors")
		r.start(t)
		time.Sleep(time.Minute)
		r.prom.change(func() { r.prom.fault = hang })
		time.Sleep(20 * time.Minute)
		r.prom.change(func() { r.prom.fault = nil })
		time.Sleep(2 * time.Minute)
		gaps := r.sink.gaps(15 * time.Second)
		if gaps < 55 || gaps > 65 {
			t.Errorf("%d instants are missing, want those of 15 minutes", gaps)
		}
		if n := r.metric(t, "tocsin_promql_instants_skipped_total", "eu", "gap"); n != float64(gaps) {
			t.Errorf("counted %v of %d", n, gaps)
		}
		for _, b := range r.sink.batches {
			if b.History {
				t.Fatal("what was caught up is called history")
			}
		}
	})
}

// A source that answers for one instant but not for many is not lost.
func TestOutageWithoutRangeQueries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors")
		r.start(t)
		time.Sleep(time.Minute)
		r.prom.change(func() { r.prom.fault = hang })
		time.Sleep(3 * time.Minute)
		r.prom.change(func() {
			r.prom.fault = nil
			r.prom.delay = func(_ string, steps int) time.Duration {
				return time.Duration(max(steps-2, 0)) * time.Minute
			}
		})
		time.Sleep(10 * time.Minute)
		if st := r.source.Status(); st.State != Live || !st.Reachable {
			t.Errorf("the source is %s: %s", st.State, st.Reason)
		}
	})
}

// A source that is not there at start is waited for, and its history is then read.
func TestSourceComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors")
		r.opts.Backfill.Window = 10 * time.Minute
		r.prom.fault = hang
		r.start(t)
		begin := time.Now()
		time.Sleep(5 * time.Minute)
		if st := r.source.Status(); st.State != Stale || st.Reason == "" {
			t.Errorf("the source is %s: %s", st.State, st.Reason)
		}
		r.checkCalm(t, begin)
		r.prom.change(func() { r.prom.fault = nil })
		time.Sleep(time.Minute)
		if st := r.source.Status(); st.State != Live || st.Backfill == nil || !st.Backfill.Done {
			t.Errorf("the source is %s: %s, %+v", st.State, st.Reason, st.Backfill)
		}
		if all := r.sink.instants(); len(all) < 40 || r.sink.gaps(15*time.Second) != 0 {
			t.Errorf("%d instants, %d missing", len(all), r.sink.gaps(15*time.Second))
		}
	})
}

// A sink that is behind slows the source down; nothing is lost.
func TestSlowSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors")
		r.start(t)
		time.Sleep(time.Minute)
		r.sink.mu.Lock()
		r.sink.delay = 25 * time.Second
		r.sink.mu.Unlock()
		time.Sleep(2 * time.Minute)
		r.sink.mu.Lock()
		r.sink.delay = 0
		r.sink.mu.Unlock()
		time.Sleep(3 * time.Minute)
		if n := r.sink.gaps(15 * time.Second); n != 0 {
			t.Errorf("%d instants are missing", n)
		}
	})
}
