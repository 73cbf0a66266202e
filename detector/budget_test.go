package detector_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/detector"
	"tocsin/series"
)

// crowd is a cluster of noisy services: each now and then is slow for some ticks, one more than
// another.
type crowd struct {
	*world
	step   time.Duration
	noise  []*rand.Rand
	memory []float64
	slow   []int     // Ticks left.
	by     []float64 // How slow.
}

func newCrowd(t *testing.T, services int, budget detector.Budget) *crowd {
	t.Helper()
	c := &crowd{step: 5 * time.Minute, world: newWorld(t, func(o *detector.Options) {
		o.Budget = budget
		o.Scores, o.Services = nil, nil
	})}
	c.memory, c.by = make([]float64, services), make([]float64, services)
	c.slow = make([]int, services)
	for i := range services {
		c.noise = append(c.noise, rand.New(rand.NewPCG(uint64(i), 3)))
	}
	return c
}

// live plays instants; change may change the values.
func (c *crowd) live(n int, change func(tick int, values []float64)) {
	c.t.Helper()
	for tick := range n {
		c.at = c.at.Add(c.step)
		b := &series.Batch{Cluster: "c", Signal: "latency", At: c.at, Step: c.step, Final: true}
		for i, rng := range c.noise {
			c.memory[i] = 0.5*c.memory[i] + rng.NormFloat64()
			switch {
			case c.slow[i] > 0:
				c.slow[i]--
			case rng.Float64() < 0.0005:
				c.slow[i], c.by[i] = 3+rng.IntN(6), rng.ExpFloat64()/8
			default:
				c.by[i] = 0
			}
			b.Refs = append(b.Refs, c.ref("c", fmt.Sprintf("s%d", i), "latency"))
			b.Values = append(b.Values, 0.1*math.Exp(0.1*c.memory[i]+c.by[i]))
		}
		if change != nil {
			change(tick, b.Values)
		}
		c.append(b)
	}
}

// opened counts the findings that opened since an instant.
func (c *crowd) opened(since time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make(map[string]bool)
	for _, f := range c.findings {
		if !f.Start.Before(since) {
			ids[f.ID] = true
		}
	}
	return len(ids)
}

func (c *crowd) service(i int) detector.ServiceStatus {
	c.t.Helper()
	all, err := c.engine.Services(c.t.Context(), "c")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range all {
		if s.Service.Name == fmt.Sprintf("s%d", i) {
			return s
		}
	}
	c.t.Fatalf("service %d is not known", i)
	return detector.ServiceStatus{}
}

// gauge returns the only value of a metric.
func (c *crowd) gauge(name string) float64 {
	c.t.Helper()
	families, err := c.reg.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	c.t.Fatalf("no metric %s with one value", name)
	return 0
}

// TestAFleetStaysWithinItsBudget has 200 noisy series, that would give hundreds of findings, and
// one that has a real fault.
func TestAFleetStaysWithinItsBudget(t *testing.T) {
	const week = 7 * 24 * 12
	c := newCrowd(t, 200, detector.Budget{PagesPerWeek: 1, Per: detector.PerFleet})
	c.live(3*week, nil)
	since := c.at
	c.live(3*week, nil)
	s := c.service(0).Budget
	if n := c.opened(since); n > 9 {
		t.Errorf("%d findings in three weeks, want 3, or three times as many at most", n)
	}
	if s.Unit != "fleet" || s.Series != 200 || s.Asked != 1 || s.Own < 0.5 {
		t.Errorf("budget %+v", *s)
	}
	since = c.at
	c.live(6, func(_ int, values []float64) { values[7] = 10 })
	if c.opened(since) != 1 {
		t.Errorf("%d findings within 6 ticks of a fault", c.opened(since))
	}
	now := c.service(0).Budget.Threshold
	if got := c.gauge("tocsin_detector_budget_threshold"); got != now {
		t.Errorf("the metric says %g, want %g", got, now)
	}
	if err := c.engine.RemoveCluster("c"); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(c.reg, "tocsin_detector_budget_threshold"); n != 0 || err != nil {
		t.Errorf("%d series of a cluster that is gone, %v", n, err)
	}
}

// TestANoisyServiceDoesNotDeafenTheOthers has one service among quiet ones that is noisy all week.
func TestANoisyServiceDoesNotDeafenTheOthers(t *testing.T) {
	const week = 7 * 24 * 12
	c := newCrowd(t, 20, detector.Budget{PagesPerWeek: 0.5})
	rng, left, by := rand.New(rand.NewPCG(9, 9)), 0, 0.0
	c.live(3*week, func(_ int, values []float64) {
		if left--; left < 0 && rng.Float64() < 0.004 {
			left, by = 6, 0.5+rng.ExpFloat64()
		}
		if left > 0 {
			values[0] *= math.Exp(by)
		}
	})
	noisy, quiet := c.service(0).Budget, c.service(1).Budget
	if noisy.Threshold <= quiet.Threshold || quiet.Threshold > 4 {
		t.Errorf("thresholds %.2f and %.2f", noisy.Threshold, quiet.Threshold)
	}
}

// TestFeedbackMovesAThreshold judges a series, and takes it back.
func TestFeedbackMovesAThreshold(t *testing.T) {
	c := newCrowd(t, 3, detector.Budget{})
	c.live(500, nil)
	began := c.at
	service := c.service(0).Service
	before := c.service(0).Signals[0].Threshold
	feedback := func(id string, o detector.Opinion) detector.Feedback {
		return detector.Feedback{ID: id, Service: service, Signal: "latency", Opinion: o, At: began}
	}
	for _, tc := range []struct {
		name   string
		list   []detector.Feedback
		after  int // Ticks.
		offset float64
		ids    string
	}{
		{
			name: "not useful", list: []detector.Feedback{feedback("a", detector.NotUseful)},
			offset: 0.5, ids: "[a]",
		},
		{
			name: "capped", offset: 2, ids: "[a b c d e]",
			list: []detector.Feedback{
				feedback("a", detector.NotUseful), feedback("b", detector.NotUseful),
				feedback("c", detector.NotUseful), feedback("d", detector.NotUseful),
				feedback("e", detector.NotUseful),
			},
		},
		{
			name: "useful", list: []detector.Feedback{feedback("a", detector.Useful)},
			offset: -0.25, ids: "[a]",
		},
		{
			name: "expected", list: []detector.Feedback{feedback("a", detector.Expected)},
			offset: 3, ids: "[a]",
		},
		{name: "undone", ids: "[]"},
		{
			name: "expected, two hours later", list: []detector.Feedback{feedback("a", detector.Expected)},
			after: 24, ids: "[]",
		},
		{
			name: "expected, a week later", list: []detector.Feedback{feedback("a", detector.Expected)},
			after: 7*24*12 - 30, offset: 3, ids: "[a]",
		},
		{
			name: "not useful, four weeks later", list: []detector.Feedback{feedback("a", detector.NotUseful)},
			after: 3*7*24*12 + 6, offset: 0.25, ids: "[a]",
		},
	} {
		c.live(tc.after, nil)
		if err := c.engine.SetFeedback(tc.list); err != nil {
			t.Fatal(err)
		}
		got, other := c.service(0).Signals[0], c.service(1).Signals[0]
		if math.Abs(float64(got.Offset)-tc.offset) > 0.01 || fmt.Sprint(got.Feedback) != tc.ids {
			t.Errorf("%s: offset %.2f of %v, want %.2f of %s",
				tc.name, got.Offset, got.Feedback, tc.offset, tc.ids)
		}
		want := max(3.5, c.service(0).Budget.Threshold+float64(got.Offset))
		if math.Abs(float64(got.Threshold)-want) > 1e-9 || other.Offset != 0 {
			t.Errorf("%s: threshold %.2f, want %.2f; another series has offset %.2f",
				tc.name, got.Threshold, want, other.Offset)
		}
		if tc.name == "undone" && got.Threshold != before {
			t.Errorf("undone: threshold %.2f, before it was %.2f", got.Threshold, before)
		}
	}
	if err := c.engine.SetFeedback([]detector.Feedback{{ID: "a"}}); err == nil {
		t.Error("feedback on nothing was taken")
	}
}

// TestExpectedIsNotReported has a job that makes a service slow each week.
func TestExpectedIsNotReported(t *testing.T) {
	const week = 7 * 24 * 12
	c := newCrowd(t, 3, detector.Budget{PagesPerWeek: 5})
	job := func(tick int, values []float64) {
		if tick >= week/2 && tick < week/2+6 {
			values[1] *= 1.9
		}
	}
	c.live(week, job)
	c.mu.Lock()
	var list []detector.Feedback
	for _, f := range c.findings {
		if f.Service.Name == "s1" && f.State == detector.Open &&
			f.Start.After(c.at.Add(-time.Duration(week/2+3)*c.step)) {
			list = append(list[:0], detector.Feedback{
				ID: "a", Service: f.Service, Opinion: detector.Expected, At: f.Start, Finding: f.ID,
			})
			break
		}
	}
	c.mu.Unlock()
	if len(list) == 0 {
		t.Fatal("the job was not found")
	}
	if err := c.engine.SetFeedback(list); err != nil {
		t.Fatal(err)
	}
	since := c.at
	c.live(week, job)
	c.mu.Lock()
	defer c.mu.Unlock()
	from := since.Add(time.Duration(week/2-3) * c.step)
	for _, f := range c.findings {
		if f.Service.Name == "s1" && f.Start.After(from) && f.Start.Before(from.Add(time.Hour)) {
			t.Errorf("reported %+v", f)
		}
	}
}

// TestTheBudgetOutlivesARestart compares engines with and without one, and takes a snapshot that
// knows no budget.
func TestTheBudgetOutlivesARestart(t *testing.T) {
	c := newCrowd(t, 10, detector.Budget{PagesPerWeek: 3, Per: detector.PerTeam, Clusters: 2})
	c.live(1000, nil)
	dir := t.TempDir()
	if err := c.engine.Snapshot(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	restored := func(per detector.Per) *world {
		return newWorld(t, func(o *detector.Options) {
			o.Budget = detector.Budget{PagesPerWeek: 3, Per: per, Clusters: 2}
		})
	}
	x := restored(detector.PerTeam)
	if err := x.engine.Restore(dir); err != nil {
		t.Fatal(err)
	}
	before := c.service(3).Budget
	c.engine, c.registry = x.engine, x.registry
	if after := c.service(3).Budget; *after != *before || after.Asked != 1.5 {
		t.Errorf("after a restart %+v, before %+v", after, before)
	}
	if err := c.engine.SetBudget(detector.Budget{PagesPerWeek: 8, Clusters: 2}); err != nil {
		t.Fatal(err)
	}
	c.live(1, nil)
	if s := c.service(3).Budget; s.Unit != "shop/s3" || s.Asked != 8 || s.Series != 1 {
		t.Errorf("after a change of the budget %+v", s)
	}
	y := restored(detector.PerFleet) // Others pay from now on.
	if err := y.engine.Restore(dir); err != nil {
		t.Fatal(err)
	}
	if err := y.engine.SetBudget(detector.Budget{PagesPerWeek: -1}); err == nil {
		t.Error("a budget below zero was taken")
	}
}

// TestOrderDoesNotMatter sends the batches and series of an instant in two orders.
func TestOrderDoesNotMatter(t *testing.T) {
	play := func(backwards bool) (string, []byte) {
		c := newCrowd(t, 12, detector.Budget{PagesPerWeek: 20})
		rng := rand.New(rand.NewPCG(4, 4))
		for range 4000 {
			c.at = c.at.Add(time.Minute)
			b := &series.Batch{Cluster: "c", Signal: "latency", At: c.at, Step: time.Minute, Final: true}
			values := make([]float64, 12)
			for i := range values {
				values[i] = math.Exp(0.1*rng.NormFloat64() + math.Max(0, rng.ExpFloat64()-5))
			}
			for k := range values {
				i := k
				if backwards {
					i = len(values) - 1 - k
				}
				b.Refs = append(b.Refs, c.ref("c", fmt.Sprintf("s%d", i), "latency"))
				b.Values = append(b.Values, values[i])
			}
			c.append(b)
		}
		var thresholds bytes.Buffer
		for i := range 12 {
			fmt.Fprintln(&thresholds, *c.service(i).Budget)
		}
		return strings.Join(c.reports(), "\n"), thresholds.Bytes()
	}
	found, thresholds := play(false)
	found2, thresholds2 := play(true)
	if found != found2 {
		t.Errorf("found\n%s\nand in another order\n%s", found, found2)
	}
	if !bytes.Equal(thresholds, thresholds2) {
		t.Errorf("budgets\n%s\nand in another order\n%s", thresholds, thresholds2)
	}
}

// TestShardsDoNotMatter has three clusters that share a budget, on one shard and on three, and
// sends their batches in two orders.
func TestShardsDoNotMatter(t *testing.T) {
	names := []string{"a", "b", "c"}
	play := func(shards int, order []int) string {
		w := newWorld(t, func(o *detector.Options) {
			o.Shards, o.Scores, o.Services = shards, nil, nil
			o.Budget = detector.Budget{PagesPerWeek: 3, Per: detector.PerFleet, Clusters: 3}
		})
		rng := rand.New(rand.NewPCG(6, 6))
		for range 4 * 24 * 12 {
			w.at = w.at.Add(5 * time.Minute)
			batches := make([]*series.Batch, len(names))
			for i, name := range names {
				batches[i] = &series.Batch{
					Cluster: name, Signal: "latency", At: w.at, Step: 5 * time.Minute, Final: true,
				}
				for k := range 2 + 6*i {
					batches[i].Refs = append(batches[i].Refs, w.ref(name, fmt.Sprintf("s%d", k), "latency"))
					batches[i].Values = append(batches[i].Values, math.Exp(0.1*rng.NormFloat64()))
				}
			}
			for _, i := range order {
				w.append(batches[i])
			}
		}
		var out strings.Builder
		for _, c := range w.status().Clusters {
			fmt.Fprintln(&out, c.Cluster, c.Budget)
		}
		return out.String()
	}
	one, three := play(1, []int{0, 1, 2}), play(3, []int{2, 0, 1})
	if one != three {
		t.Errorf("budgets\n%s\nand\n%s", one, three)
	}
	for i, part := range []string{"a {fleet 1 0.25 ", "b {fleet 1 1 ", "c {fleet 1 1.75 "} {
		if line := strings.Split(one, "\n")[i]; !strings.HasPrefix(line, part) {
			t.Errorf("%q, want %q", line, part)
		}
	}
}
