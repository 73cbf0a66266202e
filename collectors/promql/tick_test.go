package promql

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/series"
)

func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors", "latency", "cpu")
		r.prom.change(func() {
			r.prom.values["cpu"] = func(service string, at time.Time) float64 {
				return float64(at.Unix()) + map[string]float64{"a": 0.25, "b": math.NaN(), "c": math.Inf(1)}[service]
			}
		})
		r.start(t)
		time.Sleep(2 * time.Minute)
		if got := r.metric(t, "tocsin_promql_dropped_total", "eu", "infinite"); got < 6 {
			t.Errorf("dropped as infinite: %v", got)
		}
		if got := r.metric(t, "tocsin_promql_dropped_total", "eu", "duplicate"); got != 0 {
			t.Errorf("dropped as duplicate: %v", got)
		}
		r.stop(t)

		instants := r.sink.instants()
		if len(instants) < 6 || r.sink.gaps(15*time.Second) != 0 {
			t.Fatalf("instants of two minutes: %v", instants)
		}
		for _, at := range instants {
			if at.Unix()%15 != 0 {
				t.Errorf("%s is not a multiple of the interval", at)
			}
			got := r.sink.at(at)
			if len(got) != 10 || got["requests/a"] != 1 || got["latency/c"] != 3 ||
				got["cpu/a"] != float64(at.Unix())+0.25 {
				t.Errorf("at %s: %v", at, got)
			}
			if late := r.sink.times[at].Sub(at); late < 10*time.Second || late > 25*time.Second {
				t.Errorf("%s was closed after %s", at, late)
			}
		}
		perInstant := map[time.Time][]time.Time{}
		for _, a := range r.prom.since(time.Time{}) {
			if a.when.Sub(a.to) < 10*time.Second {
				t.Errorf("%s was asked for %s at %s: not closed", a.expr, a.to, a.when)
			}
			perInstant[a.to] = append(perInstant[a.to], a.when)
		}
		if times := perInstant[instants[3]]; times[len(times)-1].Sub(times[0]) < 5*time.Second {
			t.Errorf("queries were not spread: %v", times)
		}
	})
}

// A counter that does not exist beside live traffic is zero, but only if it was asked for.
func TestZeroBesideTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "errors", "requests")
		r.opts.Queries[0].ZeroWith = "requests" // Which is asked for first nevertheless.
		r.prom.change(func() {
			r.prom.values["errors"] = func(service string, _ time.Time) float64 {
				if service == "a" {
					return 7
				}
				return absentHere
			}
			r.prom.values["requests"] = func(service string, _ time.Time) float64 {
				return map[string]float64{"a": 100, "b": 50, "c": 0}[service]
			}
		})
		r.start(t)
		time.Sleep(time.Minute)
		check := func(when string, want ...float64) {
			t.Helper()
			all := r.sink.instants()
			got := r.sink.at(all[len(all)-1])
			for i, service := range []string{"a", "b", "c"} {
				v, ok := got["errors/"+service]
				if !ok {
					v = absentHere
				}
				if v != want[i] {
					t.Errorf("%s: errors of %s are %v, want %v", when, service, v, want[i])
				}
			}
		}
		check("both answered", 7, 0, absentHere)

		r.prom.constant("errors", absentHere)
		time.Sleep(time.Minute)
		check("no errors at all", 0, 0, absentHere)
		if s := r.signal(t, "errors"); s.State != MatchesNothing ||
			s.Reason != "no series: taken as 0 beside requests" {
			t.Errorf("a query that matches nothing is hidden by zeros: %+v", s)
		}

		r.prom.change(func() { r.prom.faults["errors"] = says(500, "") })
		time.Sleep(20 * time.Second)
		check("errors not answered", absentHere, absentHere, absentHere)

		r.prom.change(func() {
			delete(r.prom.faults, "errors")
			r.prom.faults["requests"] = says(500, "")
			r.prom.values["errors"] = func(service string, _ time.Time) float64 {
				return map[string]float64{"a": 7, "b": absentHere, "c": absentHere}[service]
			}
		})
		time.Sleep(10 * time.Minute)
		check("traffic not answered", 7, absentHere, absentHere)

		// The same in the range queries after an outage.
		r.prom.change(func() { delete(r.prom.faults, "requests") })
		time.Sleep(6 * time.Minute)
		r.prom.change(func() { r.prom.fault = hang })
		time.Sleep(2 * time.Minute)
		r.prom.change(func() { r.prom.fault = nil })
		time.Sleep(2 * time.Minute)
		all := r.sink.instants()
		for _, at := range all[len(all)-12:] {
			if got := r.sink.at(at); got["errors/a"] != 7 || got["errors/b"] != 0 || len(got) != 5 {
				t.Errorf("after an outage at %s: %v", at, got)
			}
		}
	})
}

func TestPacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "mesh_requests", "http_requests", "http_errors", "own")
		for i, pack := range []string{"mesh", "http", "http", ""} {
			r.opts.Queries[i].Pack = pack
			if pack != "" {
				r.opts.Queries[i].Probe = "count(" + pack + ")"
			}
		}
		r.prom.constant("http", 5)
		r.start(t)
		time.Sleep(time.Minute)
		st := r.source.Status()
		if len(st.Packs) != 2 || st.Packs[0].Found || st.Packs[0].Reason == "" ||
			!st.Packs[1].Found || st.Packs[1].Pack != "http" {
			t.Errorf("packs: %+v", st.Packs)
		}
		if s := r.signal(t, "mesh_requests"); s.State != Off || s.Reason == "" {
			t.Errorf("signal of a pack that is not there: %+v", s)
		}
		if s := r.signal(t, "http_errors"); s.State != OK || s.Series != 3 {
			t.Errorf("signal of a pack that is there: %+v", s)
		}
		for _, a := range r.prom.since(time.Time{}) {
			if a.expr == "mesh_requests" {
				t.Fatal("a pack that is not there was asked for")
			}
		}
		r.prom.constant("mesh", 1)
		time.Sleep(6 * time.Minute)
		if s := r.signal(t, "mesh_requests"); s.State != OK {
			t.Errorf("signal of a pack that came later: %+v", s)
		}
		r.prom.change(func() { delete(r.prom.values, "http") })
		time.Sleep(6 * time.Minute)
		if s := r.signal(t, "http_errors"); s.State != Off || s.Series != 0 {
			t.Errorf("signal of a pack that has gone: %+v", s)
		}
		if n := r.metric(t, "tocsin_promql_signals", "eu", "off"); n != 2 {
			t.Errorf("%v signals are off", n)
		}
	})
}

// A source that has just started has no metrics: it is asked again soon.
func TestPacksComeSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests")
		r.opts.Queries[0].Pack, r.opts.Queries[0].Probe = "mesh", "count(mesh)"
		r.opts.Interval, r.opts.Lag = time.Second, time.Second
		r.start(t)
		time.Sleep(5 * time.Second)
		if st := r.source.Status(); !st.Reachable || st.Reason == "" || st.State != Starting {
			t.Errorf("nothing to ask for: %+v", st)
		}
		r.prom.constant("mesh", 1)
		time.Sleep(10 * time.Second)
		if len(r.sink.instants()) < 3 {
			t.Errorf("instants: %v", r.sink.instants())
		}
	})
}

func TestSeriesLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests")
		r.opts.Registry = series.NewRegistry(2)
		r.sink.registry = r.opts.Registry
		r.start(t)
		time.Sleep(time.Minute)
		if s := r.signal(t, "requests"); s.Series != 2 || !strings.Contains(s.Reason, "as many series") {
			t.Errorf("signal: %+v", s)
		}
		if r.metric(t, "tocsin_promql_dropped_total", "eu", "series_limit") == 0 {
			t.Error("the metric does not tell")
		}
	})
}

// A source that takes no POST is asked by GET.
func TestGetFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, "requests", "errors")
		var inner http.Handler = r.prom
		refusing := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method != http.MethodGet {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			inner.ServeHTTP(w, q)
		})
		r.opts.Client.Transport = handlerTransport{refusing}
		r.start(t)
		time.Sleep(time.Minute)
		if st := r.source.Status(); st.State != Live || r.signal(t, "errors").State != OK {
			t.Errorf("status: %+v", st)
		}
	})
}

// handlerTransport calls a handler instead of a server.
type handlerTransport struct{ h http.Handler }

func (t handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	t.h.ServeHTTP(w, req)
	return w.Result(), nil
}

// A clock that is set back or forward never makes the sink get an older instant, and instants
// that the source has not reached are not taken.
func TestClockJumps(t *testing.T) {
	for _, tc := range []struct {
		name string
		jump time.Duration
	}{{"an hour back", -time.Hour}, {"an hour forward", time.Hour}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, "requests", "errors")
				var shift atomic.Int64
				r.now = func() time.Time { return time.Now().Add(time.Duration(shift.Load())).Round(0) }
				r.start(t)
				time.Sleep(time.Minute)
				shift.Store(int64(tc.jump))
				time.Sleep(2 * time.Minute)
				st := r.source.Status()
				if tc.jump > 0 && !strings.Contains(st.Reason, "ahead of the source's clock") {
					t.Errorf("status: %+v", st)
				}
				if tc.jump < 0 && r.metric(t, "tocsin_promql_instants_skipped_total", "eu", "clock") == 0 {
					t.Error("the metric does not tell")
				}
				shift.Store(0)
				time.Sleep(2 * time.Minute)
				if n := r.sink.gaps(15 * time.Second); n != 0 {
					t.Errorf("%d instants are missing: %v", n, r.sink.instants())
				}
				all := r.sink.instants()
				if behind := time.Since(all[len(all)-1]); behind > time.Minute || behind < 0 {
					t.Errorf("the newest instant is %s old", behind)
				}
			})
		})
	}
}

func TestNewRefuses(t *testing.T) {
	good := Options{
		Cluster: "eu", URL: "http://prom.test", Client: http.DefaultClient,
		Registry: series.NewRegistry(0), Sink: newRecorder(t), Queries: []Query{query1("a")},
	}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no cluster":     func(o *Options) { o.Cluster = "" },
		"no scheme":      func(o *Options) { o.URL = "prom.test:9090" },
		"no URL":         func(o *Options) { o.URL = "http://us er:secret@prom" },
		"no client":      func(o *Options) { o.Client = nil },
		"no queries":     func(o *Options) { o.Queries = nil },
		"two of a name":  func(o *Options) { o.Queries = []Query{query1("a"), query1("a")} },
		"no expression":  func(o *Options) { o.Queries = []Query{{Signal: "a"}} },
		"a circle":       func(o *Options) { o.Queries = []Query{{Signal: "a", Expr: "a", ZeroWith: "a"}} },
		"nanoseconds":    func(o *Options) { o.Interval = 1500 * time.Microsecond },
		"spread too far": func(o *Options) { o.Spread = time.Minute },
		"odd steps":      func(o *Options) { o.Backfill.Step = 20 * time.Second },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
