package tsdb

import (
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/detector"
	"tocsin/series"
)

// dropped returns how many values were dropped for a reason.
func (b *bench) dropped(reason string) int {
	return int(testutil.ToFloat64(b.metrics.dropped[reason]))
}

// scored returns the scores at an instant by service.
func (b *bench) scored(name string, at time.Time) map[string]float64 {
	b.t.Helper()
	out := make(map[string]float64)
	for k, v := range b.query(`sum by (service) (`+name+`)`, at) {
		var service string
		if _, err := fmt.Sscanf(k, `{service=%q}`, &service); err != nil {
			b.t.Fatal(err)
		}
		out[service] = v
	}
	return out
}

func (b *bench) want(name string, at time.Time, want map[string]float64) {
	b.t.Helper()
	if got := b.scored(name, at); !maps.Equal(got, want) {
		b.t.Errorf("%s at %s = %v, want %v", name, at.Format("15:04:05"), got, want)
	}
}

func TestGapsAreShown(t *testing.T) {
	b := start(t, Options{})
	nan := math.NaN()
	ticks := []map[string]float64{
		{"a": 1, "b": 1, "c": 1},
		{"a": 2, "b": nan, "c": 2},
		{"a": 3}, // c has ended.
		{"a": 4, "b": 4},
	}
	for i, values := range ticks {
		b.write(b.scores("errors", epoch.Add(time.Duration(i)*15*time.Second), values))
	}
	// Between two ticks the one before counts; where a value went missing nothing does.
	at := func(i int) time.Time { return epoch.Add(time.Duration(i)*15*time.Second + 10*time.Second) }
	b.want("tocsin_score", at(0), map[string]float64{"a": 1, "b": 1, "c": 1})
	b.want("tocsin_score", at(1), map[string]float64{"a": 2, "c": 2})
	b.want("tocsin_score", at(2), map[string]float64{"a": 3})
	b.want("tocsin_score", at(3), map[string]float64{"a": 4, "b": 4})
	b.want("tocsin_observed", at(2), map[string]float64{"a": 30})
	if st := b.Status(); st.Signals != 2 || st.Detailed != 2 {
		t.Errorf("Status() = %+v", st)
	}
}

func TestDetails(t *testing.T) {
	b := start(t, Options{
		Detail: 2,
		Match:  func(id series.ID) bool { return id.Service.Name == "asked" },
	})
	values := map[string]float64{"asked": 1, "s1": 1, "s2": 1, "s3": 1, "s4": 1}
	at := epoch
	tick := func() []string {
		t.Helper()
		at = at.Add(15 * time.Second)
		b.write(b.scores("errors", at, values))
		if got := len(b.scored("tocsin_score", at)); got != len(values) {
			t.Errorf("%d scores, want %d", got, len(values))
		}
		return slices.Sorted(maps.Keys(b.scored("tocsin_expected", at)))
	}
	first := tick()
	if len(first) != 3 || !slices.Contains(first, "asked") {
		t.Fatalf("details of %v, want asked and two others", first)
	}
	var other string
	for name := range values {
		if !slices.Contains(first, name) {
			other = name
		}
	}
	b.SetDetail(id(other, "errors"), true)
	b.SetDetail(id("not there yet", "errors"), true)
	if got := tick(); len(got) != 4 || !slices.Contains(got, other) {
		t.Errorf("details of %v, want %s among them", got, other)
	}
	values["not there yet"] = 1
	if got := tick(); len(got) != 5 {
		t.Errorf("details of %v, want of 5", got)
	}
	b.SetDetail(id(other, "errors"), false)
	b.SetDetail(id("not there yet", "errors"), false)
	if got := tick(); !slices.Equal(got, first) {
		t.Errorf("details of %v, want %v again", got, first)
	}
	delete(values, first[1]) // Either automatic one: its place is free, and given to the next that comes.
	if first[1] == "asked" {
		delete(values, first[0])
	}
	tick()
	values["new"] = 1
	if got := tick(); len(got) != 3 || !slices.Contains(got, "new") {
		t.Errorf("details of %v, want new among them", got)
	}
}

func TestTimes(t *testing.T) {
	b := start(t, Options{History: time.Hour})
	one := map[string]float64{"a": 1}
	history := func(ago time.Duration) *detector.Scores {
		s := b.scores("errors", epoch.Add(-ago), one)
		s.History = true
		return s
	}
	b.write(history(2 * time.Hour))
	b.write(history(50 * time.Minute))
	b.write(history(40 * time.Minute))
	b.write(b.scores("errors", epoch, one))
	if n := b.dropped(dropHistory); n != 1 {
		t.Errorf("%d dropped as history, want 1", n)
	}
	b.want("tocsin_score", epoch.Add(-40*time.Minute), one)

	b.write(b.scores("errors", epoch.Add(-time.Minute), one))
	if n := b.dropped(dropOrder); n != 5 {
		t.Errorf("%d dropped as out of order, want 5", n)
	}
	b.write(b.scores("errors", epoch, map[string]float64{"a": 2}))
	if n := b.dropped(dropDuplicate); n != 5 {
		t.Errorf("%d dropped as duplicate, want 5", n)
	}
	b.write(b.scores("errors", epoch, one)) // The same again is no harm.
	b.write(b.scores("latency", epoch.Add(-90*time.Minute), one))
	if n := b.dropped(dropOld); n != 5 {
		t.Errorf("%d dropped as too old, want 5", n)
	}
	b.write(b.scores("errors", epoch.Add(24*time.Hour), one))
	if n := b.dropped(dropFuture); n != 1 {
		t.Errorf("%d dropped as of the future, want 1", n)
	}
	b.write(b.scores("errors", epoch.Add(15*time.Second), one))
	b.want("tocsin_score", epoch.Add(15*time.Second), one)
}

func TestQueue(t *testing.T) {
	b := start(t, Options{Queue: 10})
	s := b.scores("errors", epoch, map[string]float64{"a": 1, "b": 1, "c": 1, "d": 1})
	for range 5 {
		b.WriteScores(s, b.reg.ID)
	}
	if n := b.dropped(dropQueue); n != 12 {
		t.Errorf("%d dropped, want 12", n)
	}
	if st := b.Status(); st.Waiting != 8 {
		t.Errorf("%d wait, want 8", st.Waiting)
	}
	b.writer.drain(t.Context())
	if st := b.Status(); st.Waiting != 0 {
		t.Errorf("%d wait, want 0", st.Waiting)
	}
	b.WriteScores(s, b.reg.ID)
	if n := b.dropped(dropQueue); n != 12 {
		t.Errorf("%d dropped after the queue was empty, want 12", n)
	}
}

func TestScoresAreCopied(t *testing.T) {
	b := start(t, Options{})
	s := b.scores("errors", epoch, map[string]float64{"a": 1})
	b.WriteScores(s, b.reg.ID)
	s.Refs[0], s.Score[0], s.Observed[0] = 99, 99, 99
	b.writer.drain(t.Context())
	b.want("tocsin_score", epoch, map[string]float64{"a": 1})
	b.want("tocsin_observed", epoch, map[string]float64{"a": 10})
}

func TestForgottenRef(t *testing.T) {
	b := start(t, Options{})
	s := b.scores("errors", epoch, map[string]float64{"a": 1})
	b.reg.Forget(s.Refs...)
	b.write(s)
	if n := b.dropped(dropUnknown); n != 1 {
		t.Errorf("%d dropped, want 1", n)
	}
	// The same service again, under another Ref, is the same series.
	b.write(b.scores("errors", epoch, map[string]float64{"a": 2}))
	b.write(b.scores("errors", epoch.Add(15*time.Second), map[string]float64{"a": 3}))
	b.want("tocsin_score", epoch.Add(15*time.Second), map[string]float64{"a": 3})
	if st := b.Status(); st.Series != 5 {
		t.Errorf("%d series, want 5", st.Series)
	}
}

// TestSeriesThatTheHeadForgot writes to series that were removed from memory by a compaction.
func TestSeriesThatTheHeadForgot(t *testing.T) {
	b := start(t, Options{})
	b.write(b.scores("errors", epoch, map[string]float64{"a": 1, "b": 1}))
	for h := range 10 {
		at := epoch.Add(time.Duration(h+1) * time.Hour)
		b.clock.set(at)
		b.write(b.scores("latency", at, map[string]float64{"c": 1}))
	}
	if err := b.db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.db.Head().NumSeries(); n != 5 {
		t.Fatalf("%d series in memory, want the 5 of c", n)
	}
	at := epoch.Add(10 * time.Hour)
	b.write(b.scores("errors", at, map[string]float64{"a": 7}))
	b.want(`tocsin_score{signal="errors"}`, at, map[string]float64{"a": 7})
	b.want(`tocsin_score{signal="errors"}`, epoch, map[string]float64{"a": 1, "b": 1})
	if n := b.dropped(dropWriteError) + b.dropped(dropUnknown); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

// TestIdleColumns removes a cluster: nothing comes of it any more.
func TestIdleColumns(t *testing.T) {
	b := start(t, Options{Detail: 1})
	b.write(b.scores("errors", epoch, map[string]float64{"a": 1}))
	b.clock.set(epoch.Add(maxIdle + time.Minute))
	b.write(b.scores("latency", b.clock.now(), map[string]float64{"b": 1}))
	if st := b.Status(); st.Signals != 1 {
		t.Errorf("Status() = %+v", st)
	}
	b.want("tocsin_expected", b.clock.now(), map[string]float64{"b": 20}) // In the place that a has left.
}

func TestRunWritesWhatWaits(t *testing.T) {
	b := start(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.WriteScores(b.scores("errors", epoch, map[string]float64{"a": 1}), b.reg.ID)
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	b.want("tocsin_score", epoch, map[string]float64{"a": 1})
}

func TestSteadyStateAllocatesLittle(t *testing.T) {
	b := start(t, Options{Detail: -1})
	values := make(map[string]float64)
	for n := range 1000 {
		values[fmt.Sprintf("s%04d", n)] = 1
	}
	s := b.scores("errors", epoch, values)
	tick := func() {
		s.At = s.At.Add(time.Second)
		b.WriteScores(s, b.reg.ID)
		b.writer.drain(context.Background())
	}
	for range 3 {
		tick()
	}
	if perValue := testing.AllocsPerRun(50, tick) / 1000; perValue > 0.1 {
		t.Errorf("%.2f allocations a value", perValue)
	}
}

// BenchmarkWriteScores writes ticks of 200 services and 8 signals of 20 clusters, scores only and
// with details.
func BenchmarkWriteScores(b *testing.B) {
	for _, detail := range []int{-1, 1 << 30} {
		b.Run(fmt.Sprintf("series=%d", map[bool]int{true: 1, false: 5}[detail < 0]), func(b *testing.B) {
			benchmarkWriteScores(b, detail)
		})
	}
}

func benchmarkWriteScores(b *testing.B, detail int) {
	d := start(b, Options{Detail: detail, Queue: 10_000_000})
	var batches []*detector.Scores
	for c := range 20 {
		for g := range 8 {
			s := &detector.Scores{
				Cluster: fmt.Sprintf("cluster-%02d", c), Signal: fmt.Sprintf("signal-%d", g), At: epoch,
			}
			for n := range 200 {
				name := id(fmt.Sprintf("service-%03d", n), s.Signal)
				name.Service.Cluster = s.Cluster
				s.Refs = append(s.Refs, d.ref(name))
				s.Score = append(s.Score, float32(n%7)/3)
				for _, values := range []*[]float64{&s.Observed, &s.Expected, &s.Lower, &s.Upper} {
					*values = append(*values, float64(n)*1.37)
				}
			}
			batches = append(batches, s)
		}
	}
	tick := func() {
		for _, s := range batches {
			s.At = s.At.Add(15 * time.Second)
			for n := range s.Score {
				s.Score[n] += 0.01
				s.Observed[n] += 0.7
			}
			d.WriteScores(s, d.reg.ID)
		}
		d.clock.set(batches[0].At)
		d.writer.drain(context.Background())
	}
	tick()
	values := len(batches) * 200
	b.ReportAllocs()
	for b.Loop() {
		tick()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*values), "ns/value")
	for reason, c := range d.metrics.dropped {
		if n := testutil.ToFloat64(c); n > 0 {
			b.Errorf("%v dropped: %s", n, reason)
		}
	}
}

// BenchmarkMemory holds the scores of 100,000 signals for half an hour, and tells what each
// series costs.
func BenchmarkMemory(b *testing.B) {
	const signals, ticks = 100_000, 120
	d := start(b, Options{Detail: -1, Queue: 10_000_000})
	s := &detector.Scores{Cluster: "eu-1", Signal: "errors", At: epoch}
	for n := range signals {
		s.Refs = append(s.Refs, series.Ref(n+1))
	}
	s.Score = make([]float32, signals)
	details := make([]float64, signals)
	s.Observed, s.Expected, s.Lower, s.Upper = details, details, details, details
	lookup := func(ref series.Ref) (series.ID, bool) {
		return id(fmt.Sprintf("service-%06d", ref), "errors"), true
	}
	b.ReportAllocs()
	before := heap()
	for b.Loop() {
		for i := range ticks {
			s.At = s.At.Add(15 * time.Second)
			for n := range s.Score {
				s.Score[n] = float32((n*31+i*17)%300) / 100
			}
			d.clock.set(s.At)
			d.WriteScores(s, lookup)
			d.writer.drain(context.Background())
		}
	}
	b.ReportMetric(float64(heap()-before)/signals, "B/series")
}

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
