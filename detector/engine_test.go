package detector_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/detector"
	"tocsin/detector/detectortest"
	"tocsin/fleet"
	"tocsin/series"
)

var latency = detector.Signal{Name: "latency", Kind: detector.Latency, Unit: "s", Bad: detector.Up}

// world is an engine, what it said, and what it is fed from: by default one cluster whose services
// have one latency each.
type world struct {
	t        *testing.T
	engine   *detector.Engine
	registry *series.Registry
	reg      *prometheus.Registry
	at       time.Time
	rng      *rand.Rand

	mu       sync.Mutex // Guards what follows.
	findings []detector.Finding
	scores   map[string]float32 // Newest, by cluster/service/signal.
	bits     []uint64           // Of all scores, in order; of one cluster only.
	together map[string]float32 // Newest service scores.
}

func newWorld(t *testing.T, change func(*detector.Options)) *world {
	t.Helper()
	w := &world{
		t: t, registry: series.NewRegistry(0), reg: prometheus.NewRegistry(),
		at: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), rng: rand.New(rand.NewPCG(1, 2)),
		scores: make(map[string]float32), together: make(map[string]float32),
	}
	opts := detector.Options{
		Signals: []detector.Signal{latency}, Registry: w.registry, Reg: w.reg, Shards: 2,
		Report: w.report, Scores: w.score, Services: w.serviceScores,
	}
	if change != nil {
		change(&opts)
	}
	var err error
	if w.engine, err = detector.New(opts); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) report(f detector.Finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.findings = append(w.findings, f)
}

func (w *world) score(s *detector.Scores) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, ref := range s.Refs {
		id, _ := w.registry.ID(ref)
		w.scores[id.Service.String()+"/"+s.Signal] = s.Score[i]
		w.bits = append(w.bits, uint64(math.Float32bits(s.Score[i])), math.Float64bits(s.Expected[i]),
			math.Float64bits(s.Lower[i]), math.Float64bits(s.Upper[i]))
	}
}

func (w *world) serviceScores(s *detector.ServiceScores) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, service := range s.Services {
		w.together[service.String()] = s.Score[i]
		w.bits = append(w.bits, uint64(math.Float32bits(s.Score[i])))
	}
}

// reasons returns what was reported, in short.
func (w *world) reports() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, f := range w.findings {
		line := fmt.Sprintf("%s %s %s", f.Service, f.Signal, f.State)
		if f.Reason != "" {
			line += ": " + f.Reason
		}
		out = append(out, line)
	}
	return out
}

func (w *world) ref(cluster, service, signal string) series.Ref {
	w.t.Helper()
	ref, err := w.registry.Ref(series.ID{
		Service: fleet.Service{Cluster: cluster, Namespace: "shop", Name: service}, Signal: signal,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ref
}

// batch returns the latencies of the services; factor multiplies that of the first one.
func (w *world) batch(cluster string, services int, factor float64) *series.Batch {
	b := &series.Batch{Cluster: cluster, Signal: "latency", At: w.at, Step: time.Minute, Final: true}
	for i := range services {
		b.Refs = append(b.Refs, w.ref(cluster, fmt.Sprintf("s%d", i), "latency"))
		v := 0.1 * (1 + 0.1*w.rng.NormFloat64())
		if i == 0 {
			v *= factor
		}
		b.Values = append(b.Values, v)
	}
	return b
}

func (w *world) append(b *series.Batch) {
	w.t.Helper()
	if err := w.engine.Append(context.Background(), b); err != nil {
		w.t.Fatal(err)
	}
	w.engine.LastAt(b.Cluster) // Waits.
}

// feed sends so many instants of cluster "c" with three services.
func (w *world) feed(ticks int, factor float64) {
	w.t.Helper()
	for range ticks {
		w.at = w.at.Add(time.Minute)
		w.append(w.batch("c", 3, factor))
	}
}

func (w *world) status() detector.Status {
	w.t.Helper()
	s, err := w.engine.Status(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) counter(name string, want float64, labels ...string) {
	w.t.Helper()
	got, err := gather(w.reg, name, labels...)
	if err != nil {
		w.t.Fatal(err)
	}
	if got != want {
		w.t.Errorf("%s%v = %v, want %v", name, labels, got, want)
	}
}

func gather(reg *prometheus.Registry, name string, labels ...string) (float64, error) {
	families, err := reg.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(labels) == 0 || m.GetLabel()[0].GetValue() == labels[0] {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue(), nil
			}
		}
	}
	return 0, fmt.Errorf("no metric %s%v", name, labels)
}

func TestFindingOpensAndResolves(t *testing.T) {
	w := newWorld(t, nil)
	w.feed(2000, 1)
	w.feed(30, 2)
	w.feed(30, 1)
	want := []string{"c/shop/s0 latency open", "c/shop/s0 latency resolved: back to normal"}
	if diff := cmp.Diff(want, w.reports()); diff != "" {
		t.Fatal(diff)
	}
	opened, resolved := w.findings[0], w.findings[1]
	switch {
	case opened.ID == "" || opened.ID != resolved.ID:
		t.Errorf("IDs %q and %q", opened.ID, resolved.ID)
	case opened.At.Sub(opened.Start) > 4*time.Minute:
		t.Errorf("took from %s to %s", opened.Start, opened.At)
	case !opened.Harmful || opened.Direction != detector.Up || opened.Unit != "s":
		t.Errorf("opened as %+v", opened)
	case opened.Observed < opened.Upper || opened.Expected < 0.09 || opened.Expected > 0.11:
		t.Errorf("observed %v, expected %v, up to %v", opened.Observed, opened.Expected, opened.Upper)
	case resolved.End.IsZero() || resolved.Peak < opened.Score:
		t.Errorf("resolved as %+v", resolved)
	}
	w.counter("tocsin_detector_findings_total", 1, "opened")
	w.counter("tocsin_detector_findings_total", 1, "resolved")
	w.counter("tocsin_detector_open_findings", 0)
}

// TestAFindingResolvesOnce looks at a finding that has just resolved: it is not open any more, and what
// comes then, like the end of its cluster, does not resolve it again.
func TestAFindingResolvesOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.feed(2000, 1)
	w.feed(30, 4)
	w.feed(10, 1)
	open, err := w.engine.Findings(t.Context())
	if err != nil || len(open) != 0 || w.status().Findings != 0 {
		t.Errorf("open %+v, status %+v, %v", open, w.status(), err)
	}
	if err := w.engine.RemoveCluster("c"); err != nil {
		t.Fatal(err)
	}
	want := []string{"c/shop/s0 latency open", "c/shop/s0 latency resolved: back to normal"}
	if diff := cmp.Diff(want, w.reports()); diff != "" {
		t.Error(diff)
	}
	w.counter("tocsin_detector_findings_total", 1, "resolved")
	w.counter("tocsin_detector_open_findings", 0)
}

// TestResultsDoNotDependOnShards plays six clusters with faults to engines with one and with five
// shards.
func TestResultsDoNotDependOnShards(t *testing.T) {
	play := func(shards int) ([]string, []uint64) {
		w := newWorld(t, func(o *detector.Options) { o.Shards = shards })
		err := detectortest.Drive(t.Context(), w.engine, func() error {
			for tick := range 1500 {
				w.at = w.at.Add(time.Minute)
				for c := range 6 {
					factor := 1.0
					if tick > 1200+c && tick < 1300 {
						factor = 3
					}
					if err := w.engine.Append(t.Context(), w.batch(fmt.Sprint("c", c), 20, factor)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		out := make([]string, 0, len(w.findings))
		for _, f := range w.findings {
			out = append(out, fmt.Sprintf("%+v", f))
		}
		slices.Sort(out) // Clusters of different shards report in any order.
		slices.Sort(w.bits)
		return out, w.bits
	}
	oneFindings, one := play(1)
	fiveFindings, five := play(5)
	if len(oneFindings) < 12 {
		t.Errorf("%d reports, want at least 12: %q", len(oneFindings), oneFindings)
	}
	if diff := cmp.Diff(oneFindings, fiveFindings); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(one, five) {
		t.Error("scores differ")
	}
}

// TestResultsDoNotDependOnTheOrderOfBatches gives the signals of each instant in two orders.
func TestResultsDoNotDependOnTheOrderOfBatches(t *testing.T) {
	script, err := detectortest.Parse(`
step 15s
signal latency kind=latency bad=up
signal ratio kind=ratio bad=up volume=requests min_volume=0.5
signal requests kind=rate bad=both
series a requests
  6h poisson=60
  20m poisson=200
series a latency
  6h level=0.1 noise=0.1
  20m level=0.3 noise=0.1
series a ratio
  6h level=0.01 noise=0.5
  20m level=0.2 noise=0.1
`)
	if err != nil {
		t.Fatal(err)
	}
	instants := script.Instants()
	play := func(order []int) []detector.Finding {
		s := *script
		s.Signals = nil
		for _, i := range order {
			s.Signals = append(s.Signals, script.Signals[i])
		}
		registry := series.NewRegistry(0)
		opts, answer := s.Options(registry)
		engine, err := detector.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		err = detectortest.Drive(t.Context(), engine, func() error {
			return s.Feed(t.Context(), engine, registry, instants)
		})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Findings
	}
	first := play([]int{0, 1, 2})
	if len(first) < 3 {
		t.Fatalf("only %d reports", len(first))
	}
	if diff := cmp.Diff(first, play([]int{2, 1, 0})); diff != "" {
		t.Error(diff)
	}
}

// TestBadDataEqualsCleanReplay mixes in what sources send by mistake.
func TestBadDataEqualsCleanReplay(t *testing.T) {
	clean, dirty := newWorld(t, nil), newWorld(t, nil)
	clean.feed(500, 1)
	for tick := range 500 {
		dirty.at = dirty.at.Add(time.Minute)
		b := dirty.batch("c", 3, 1)
		b.Final = false
		dirty.append(b)
		switch again := *b; tick % 8 {
		case 0: // The same once more.
			dirty.append(&again)
		case 1: // An instant that has passed.
			again.At = b.At.Add(-3 * time.Minute)
			dirty.append(&again)
		case 2:
			again.Values = []float64{math.Inf(1), -1, math.NaN()}
			dirty.append(&again)
		case 3:
			again.Signal = "unheard of"
			dirty.append(&again)
		case 4: // Refs of something else.
			again.Refs = []series.Ref{
				dirty.ref("d", "s0", "latency"), dirty.ref("c", "s0", "other"), 999_999,
			}
			dirty.append(&again)
		}
		dirty.append(&series.Batch{Cluster: "c", At: b.At, Step: time.Minute, Final: true})
	}
	if !slices.Equal(clean.bits, dirty.bits) {
		t.Error("scores differ from those of the clean replay")
	}
	for reason, want := range map[string]float64{
		"duplicate": 189, "late": 189, "infinite": 63, "negative": 63, "unknown": 375, "behind": 0,
	} {
		dirty.counter("tocsin_detector_dropped_values_total", want, reason)
	}
}

func TestClockGoesBackForGood(t *testing.T) {
	w := newWorld(t, nil)
	w.feed(100, 1)
	w.at = w.at.Add(-time.Hour)
	w.feed(9, 1)
	if got := w.engine.LastAt("c"); got.Equal(w.at) {
		t.Fatal("believed at once")
	}
	w.feed(1, 1)
	if got := w.engine.LastAt("c"); !got.Equal(w.at) {
		t.Errorf("last at %s, want %s", got, w.at)
	}
	w.counter("tocsin_detector_clock_rewinds_total", 1)
	w.counter("tocsin_detector_dropped_values_total", 27, "late")
}

func TestLaterInstantClosesEarlierOnes(t *testing.T) {
	w := newWorld(t, nil)
	w.at = w.at.Add(time.Minute)
	first := w.at
	b := w.batch("c", 3, 1)
	b.Final = false
	w.append(b)
	if got := w.engine.LastAt("c"); !got.IsZero() {
		t.Errorf("closed %s early", got)
	}
	w.feed(1, 1)
	if got := w.engine.LastAt("c"); !got.Equal(w.at) || w.status().Clusters[0].Series != 3 {
		t.Errorf("last at %s, want %s", got, w.at)
	}
	if late := *b; true {
		late.At = first
		w.append(&late)
	}
	w.counter("tocsin_detector_dropped_values_total", 3, "late")
}

func TestHistoryFindsNothing(t *testing.T) {
	w := newWorld(t, nil)
	for tick := range 1500 {
		w.at = w.at.Add(time.Minute)
		factor := 1.0
		if tick > 1000 && tick < 1060 {
			factor = 5
		}
		b := w.batch("c", 3, factor)
		b.History = true
		w.append(b)
	}
	if got := w.reports(); len(got) > 0 {
		t.Errorf("reported %q", got)
	}
	w.feed(10, 5)
	if got := w.reports(); len(got) != 1 {
		t.Errorf("reported %q, want one finding", got)
	}
}

func TestWorseIsReportedSeldom(t *testing.T) {
	w := newWorld(t, func(o *detector.Options) { o.Tuning.AbsorbAfter = 24 * time.Hour })
	w.feed(2000, 1)
	for i := range 100 {
		w.feed(1, 2+float64(i*i))
	}
	for range 10 {
		w.feed(1, 0.05) // Now it is harmless, then harmful again.
		w.feed(1, 50)
	}
	reports := w.reports()
	if len(reports) < 3 || len(reports) > 6 {
		t.Errorf("%d reports, want 3 to 6: %q", len(reports), reports)
	}
	for _, f := range w.findings {
		if f.ID != w.findings[0].ID {
			t.Errorf("a second finding: %+v", f)
		}
	}
}

func TestSignalChanges(t *testing.T) {
	w := newWorld(t, nil)
	w.feed(500, 1)
	w.feed(10, 4)
	gated := latency
	gated.MinEffect = 1
	if err := w.engine.SetSignals([]detector.Signal{gated}); err != nil {
		t.Fatal(err)
	}
	if s := w.status(); s.Warm != 3 || s.Findings != 1 {
		t.Errorf("a new gate changed more than the gate: %+v", s)
	}
	if err := w.engine.SetSignals(nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"c/shop/s0 latency open", "c/shop/s0 latency resolved: signal removed"}
	if diff := cmp.Diff(want, w.reports()); diff != "" {
		t.Error(diff)
	}
	if s := w.status(); s.Series != 0 || w.registry.Len()["c"] != 0 {
		t.Errorf("still there: %+v", s)
	}
	w.counter("tocsin_detector_series", 0, "warm")
	bad := []detector.Signal{{Name: "x", Kind: "vibes", Bad: detector.Up}}
	err := w.engine.SetSignals(bad)
	if err == nil || !strings.Contains(err.Error(), `unknown kind "vibes"`) {
		t.Errorf("SetSignals() = %v", err)
	}
}

func TestRemoveCluster(t *testing.T) {
	w := newWorld(t, nil)
	w.feed(500, 1)
	w.append(w.batch("other", 2, 1))
	w.feed(10, 4)
	if err := w.engine.Keep("other"); err != nil {
		t.Fatal(err)
	}
	want := []string{"c/shop/s0 latency open", "c/shop/s0 latency resolved: cluster removed"}
	if diff := cmp.Diff(want, w.reports()); diff != "" {
		t.Error(diff)
	}
	if s := w.status(); len(s.Clusters) != 1 || s.Clusters[0].Cluster != "other" {
		t.Errorf("left: %+v", s.Clusters)
	}
	if n := w.registry.Len()["c"]; n != 0 {
		t.Errorf("%d refs left", n)
	}
}

func TestSilentSeriesAreForgotten(t *testing.T) {
	w := newWorld(t, func(o *detector.Options) { o.Tuning.ForgetAfter = 2 * time.Hour })
	w.feed(100, 1)
	b := w.batch("c", 3, 1)
	b.Refs, b.Values = b.Refs[1:], b.Values[1:]
	for range 200 {
		w.at = w.at.Add(time.Minute)
		b.At = w.at
		w.append(b)
	}
	if s := w.status(); s.Series != 2 || w.registry.Len()["c"] != 2 {
		t.Errorf("%d series and %d refs, want 2", s.Series, w.registry.Len()["c"])
	}
	w.feed(1, 1) // It comes back, and knows nothing.
	if s := w.status(); s.Series != 3 || s.Warming != 1 {
		t.Errorf("%d series, %d warming, want 3 and 1", s.Series, s.Warming)
	}
	w.counter("tocsin_detector_series", 2, "warm")
	w.counter("tocsin_detector_series", 1, "warming")
}

func TestStatus(t *testing.T) {
	w := newWorld(t, nil)
	w.feed(18, 1)
	s := w.status()
	if s.Series != 3 || s.Warming != 3 || s.Clusters[0].Services != 3 {
		t.Errorf("status %+v", s)
	}
	want := "3 of 3 series warm up: need 12 more samples, about 12m0s"
	if got := s.Clusters[0].Reason; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	services, err := w.engine.Services(context.Background(), "c")
	if err != nil || len(services) != 3 {
		t.Fatalf("services %v, %v", services, err)
	}
	if got := services[0].Signals[0]; got.State != detector.Warming || got.Reason == "" {
		t.Errorf("series %+v", got)
	}
	text, err := json.Marshal(services)
	if err != nil || !strings.Contains(string(text), `"score":null`) {
		t.Errorf("%s, %v", text, err)
	}
	w.feed(1500, 1)
	w.feed(5, 9)
	services, err = w.engine.Services(context.Background(), "c")
	if err != nil {
		t.Fatal(err)
	}
	got := services[0].Signals[0]
	if got.State != detector.Finds || got.Finding != w.findings[0].ID ||
		!(got.Score > 4) || !(services[0].Score >= 0) {
		t.Errorf("service %+v", services[0])
	}
	if none, err := w.engine.Services(context.Background(), "nowhere"); err != nil || none != nil {
		t.Errorf("services of an unknown cluster: %v, %v", none, err)
	}
}

// TestCorroboration compares a service of which one signal deviates with one of which two do.
func TestCorroboration(t *testing.T) {
	script, err := detectortest.Parse(`
signal latency kind=latency bad=up
signal queue kind=gauge bad=up
series one latency
  2d level=0.1 noise=0.1
  3m level=0.18
series one queue
  2d3m level=10 noise=0.1
series two latency
  2d level=0.1 noise=0.1
  3m level=0.18
series two queue
  2d level=10 noise=0.1
  3m level=18
`)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := script.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	highest := func(name string) float32 {
		service := fleet.Service{Cluster: detectortest.Cluster, Namespace: "shop", Name: name}
		scores := answer.Services[service]
		return slices.Max(scores[len(scores)-3:])
	}
	one, two := highest("one"), highest("two")
	if two < one+1 || two < 2.5 {
		t.Errorf("one signal %v, two signals %v", one, two)
	}
}

// TestScoresMeanWhatTheySay counts scores on noise of every kind, after a day of it. That noise is
// tamer than life, by which scores are calibrated: a score of 2 or more may be rarer than it says.
func TestScoresMeanWhatTheySay(t *testing.T) {
	var text strings.Builder
	text.WriteString("step 1m\n")
	for i, c := range []struct{ kind, life string }{
		{"latency", "level=0.1 noise=0.2"},
		{"rate", "level=50 noise=0.05"},
		{"rate", "poisson=12"},
		{"ratio", "level=0.02 noise=0.3"},
		{"saturation", "level=0.4 sd=0.02 ar=0.5"},
		{"gauge", "level=0 sd=5"},
		{"gauge", "level=100 sd=5 daily=0.2"},
	} {
		fmt.Fprintf(&text, "signal s%d kind=%s bad=up\n", i, c.kind)
		for k := range 8 {
			fmt.Fprintf(&text, "series v%d s%d\n  14d %s\n", k, i, c.life)
		}
	}
	script, err := detectortest.Parse(text.String())
	if err != nil {
		t.Fatal(err)
	}
	answer, err := script.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string][4]int)
	ticks := make(map[string]int)
	for id, points := range answer.Points {
		c := counts[id.Signal]
		for _, p := range points[3*1440:] {
			ticks[id.Signal]++
			for u := range c {
				if p.News >= float32(u+1) {
					c[u]++
				}
			}
		}
		counts[id.Signal] = c
	}
	for signal, c := range counts {
		for u, n := range c[:3] {
			share, want := float64(n)/float64(ticks[signal]), math.Pow(0.1, float64(u+1))
			t.Logf("%s: share above %d is %.2g", signal, u+1, share)
			if share > 2*want || u == 0 && share < want/2 {
				t.Errorf("%s: share of scores above %d is %.2g, want about %.2g", signal, u+1, share, want)
			}
		}
	}
}

func TestAppendBlocksAndGivesUp(t *testing.T) {
	w := newWorld(t, func(o *detector.Options) { o.Inbox = 2; o.Shards = 1 })
	for range 2 {
		if err := w.engine.Append(context.Background(), w.batch("c", 3, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.engine.Append(ctx, w.batch("c", 3, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Append() = %v, want canceled", err)
	}
	w.counter("tocsin_detector_inbox_batches", 2)
	w.counter("tocsin_detector_dropped_values_total", 3, "behind")
}

func TestRunFinishesWhatHasArrived(t *testing.T) {
	w := newWorld(t, nil)
	w.at = w.at.Add(time.Minute)
	if err := w.engine.Append(context.Background(), w.batch("c", 3, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.engine.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got := w.engine.LastAt("c"); !got.Equal(w.at) {
		t.Errorf("last at %s, want %s", got, w.at)
	}
	if err := w.engine.Run(ctx); err == nil {
		t.Error("a second Run is allowed")
	}
}

func TestBadBatches(t *testing.T) {
	w := newWorld(t, nil)
	good := w.batch("c", 1, 1)
	for name, change := range map[string]func(*series.Batch){
		"lengths": func(b *series.Batch) { b.Values = nil },
		"cluster": func(b *series.Batch) { b.Cluster = "" },
		"time":    func(b *series.Batch) { b.At = time.Time{} },
	} {
		b := *good
		change(&b)
		if err := w.engine.Append(context.Background(), &b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestNewChecks(t *testing.T) {
	registry := series.NewRegistry(0)
	for want, opts := range map[string]detector.Options{
		"no registry":    {},
		"is there twice": {Registry: registry, Signals: []detector.Signal{latency, latency}},
		"above open score": {
			Registry: registry, Tuning: detector.Tuning{OpenScore: 2, CloseScore: 3},
		},
		"of at most 8":          {Registry: registry, Tuning: detector.Tuning{OpenAfter: 9}},
		"shorter than a minute": {Registry: registry, Tuning: detector.Tuning{Period: time.Second}},
	} {
		if _, err := detector.New(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New() = %v, want %q", err, want)
		}
	}
}

func TestNoAllocationForEachValue(t *testing.T) {
	const services = 4000
	w := newWorld(t, func(o *detector.Options) { o.Scores, o.Services, o.Shards = nil, nil, 1 })
	b := w.batch("c", services, 1)
	tick := func() {
		b.At = b.At.Add(time.Minute)
		w.append(b)
	}
	for range 100 {
		tick()
	}
	if n := testing.AllocsPerRun(50, tick); n > 20 {
		t.Errorf("%v allocations for %d values", n, services)
	}
}

func TestMetricsAreThereFromTheStart(t *testing.T) {
	w := newWorld(t, nil)
	if problems, err := testutil.GatherAndLint(w.reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	w.counter("tocsin_detector_dropped_values_total", 0, "late")
	w.counter("tocsin_detector_findings_total", 0, "worsened")
}

// TestBothEffectsMustBeReached feeds a latency that rises from 0.1 s to 0.4 s.
func TestBothEffectsMustBeReached(t *testing.T) {
	for _, tc := range []struct {
		name               string
		absolute, relative float64
		want               int
	}{
		{name: "none asked for", want: 1},
		{name: "both reached", absolute: 0.01, relative: 0.5, want: 1},
		{name: "absolute not reached", absolute: 5, relative: 0.5, want: 0},
		{name: "relative not reached", absolute: 0.01, relative: 9, want: 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			gated := latency
			gated.MinEffect, gated.MinEffectRelative = tc.absolute, tc.relative
			if err := w.engine.SetSignals([]detector.Signal{gated}); err != nil {
				t.Fatal(err)
			}
			w.feed(500, 1)
			w.feed(10, 4)
			if got := w.status().Findings; got != tc.want {
				t.Errorf("%d findings, want %d", got, tc.want)
			}
		})
	}
}
