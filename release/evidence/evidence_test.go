package evidence

import (
	"math"
	"testing"
	"time"
)

var nan = math.NaN()

func TestCounters(t *testing.T) {
	at := func(i int) time.Time { return time.Unix(int64(1000+15*i), 0) }
	sample := func(fresh bool, requests, errors, cpu float64, latency ...float64) Sample {
		return Sample{Pod: "p", New: fresh, Requests: requests, Errors: errors, CPUSeconds: cpu, MemoryBytes: 1, Latency: latency}
	}
	for _, tc := range []struct {
		name     string
		begun    bool
		samples  []Sample
		requests []float64
		errors   []float64
	}{
		{
			"the first sample of a pod that was there says nothing", false,
			[]Sample{sample(false, 100, 5, 1), sample(false, 130, 6, 2)},
			[]float64{nan, 30},
			[]float64{nan, 1},
		},
		{
			"a pod that appears began at zero", true,
			[]Sample{sample(true, 7, 1, 1), sample(true, 9, 1, 1)},
			[]float64{7, 2},
			[]float64{1, 0},
		},
		{
			"a counter that falls began again", false,
			[]Sample{sample(false, 100, 5, 9), sample(false, 8, 2, 1)},
			[]float64{nan, 8},
			[]float64{nan, 2},
		},
		{
			"a gap stays a gap", false,
			[]Sample{sample(false, 100, 5, 1), sample(false, nan, nan, nan), sample(false, 120, 6, 1), sample(false, 125, 6, 1)},
			[]float64{nan, nan, nan, 5},
			[]float64{nan, nan, nan, 0},
		},
		{
			"an error counter is born beside live traffic", false,
			[]Sample{sample(false, 100, nan, 1), sample(false, 110, nan, 1), sample(false, 120, 3, 1), sample(false, 130, 4, 1)},
			[]float64{nan, 10, 10, 10},
			[]float64{nan, 0, 3, 1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewCounters()
			if tc.begun {
				c.EndWindow()
			}
			for i := range tc.samples {
				got := c.Add(at(i), &tc.samples[i])
				if !same(got.Requests, tc.requests[i]) || !same(got.Errors, tc.errors[i]) {
					t.Errorf("sample %d: %g requests, %g errors; want %g, %g",
						i, got.Requests, got.Errors, tc.requests[i], tc.errors[i])
				}
			}
		})
	}
}

func same(a, b float64) bool { return a == b || (math.IsNaN(a) && math.IsNaN(b)) }

func TestCountersSplitBuckets(t *testing.T) {
	c := NewCounters()
	first := Sample{Pod: "p", Requests: 10, Latency: []float64{2, 6, 10}}
	second := Sample{Pod: "p", Requests: 20, Latency: []float64{3, 10, 20}}
	c.Add(time.Unix(0, 0), &first)
	got := c.Add(time.Unix(15, 0), &second).Latency
	want := []float64{1, 3, 6}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("increments of buckets %v, want %v", got, want)
		}
	}
}

// A harmless log-ratio must not have an expected e-value above one: the null and the harm are both priors.
func TestPriorsAreDistributions(t *testing.T) {
	g := newGrid()
	for name, p := range map[string]*[points]float64{"harm": g.harm(0.3, 2), "null": g.null(0.1 * 0.1), "wide null": g.null(0.4 * 0.4)} {
		var sum float64
		for _, l := range p {
			sum += math.Exp(l)
		}
		if math.Abs(sum-1) > 0.07 {
			t.Errorf("%s adds up to %g", name, sum)
		}
	}
}

func TestQuantileFollowsScale(t *testing.T) {
	bounds := []float64{0.1, 0.2, 0.4, 0.8, math.Inf(1)}
	s := newScale(bounds)
	fast, _, ok := s.quantile([]float64{800, 195, 5, 0, 0})
	slow, _, okSlow := s.quantile([]float64{0, 800, 195, 5, 0})
	if !ok || !okSlow || math.Abs(slow-fast-math.Ln2) > 1e-9 {
		t.Errorf("twice as slow is a log-ratio of %g, want %g", slow-fast, math.Ln2)
	}
	if _, _, ok := s.quantile([]float64{0, 0, 0, 0, 1000}); ok {
		t.Error("the last bucket has no upper bound, and so no percentile")
	}
	if _, _, ok := s.quantile([]float64{100, 10, 0, 0, 0}); ok {
		t.Error("a hundred requests have no 99th percentile")
	}
}

func TestWeighChange(t *testing.T) {
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	change := start.AddDate(0, 0, 5).Add(10 * time.Hour)
	// A daily course with a little noise that repeats nowhere.
	metric := func(unit float64, harm func(time.Time) float64) []Point {
		var ps []Point
		for i := 0; ; i++ {
			at := start.Add(time.Duration(i) * time.Minute)
			if at.After(change.Add(2 * time.Hour)) {
				return ps
			}
			hour := at.Sub(start).Hours()
			noise := math.Mod(float64(i)*0.6180339887, 1) - 0.5
			ps = append(ps, Point{at, unit * (100 + 30*math.Sin(2*math.Pi*hour/24) + 4*noise + harm(at))})
		}
	}
	none := func(time.Time) float64 { return 0 }
	step := func(at time.Time) float64 {
		if at.Before(change.Add(20 * time.Minute)) {
			return 0
		}
		return -40
	}
	spike := func(at time.Time) float64 {
		if d := at.Sub(change); d > 30*time.Minute && d < 33*time.Minute {
			return 80
		}
		return 0
	}
	quiet := WeighChange(metric(1, none), change)
	moved := WeighChange(metric(1, step), change)
	short := WeighChange(metric(1, spike), change)
	if !moved.Enough || moved.Score < 4*quiet.Score || moved.Effect > -0.3 || moved.At.Before(change) {
		t.Errorf("a step of -40%%: %+v; nothing: %+v", moved, quiet)
	}
	if short.Score > moved.Score/3 {
		t.Errorf("three bad minutes: %+v", short)
	}
	if scaled := WeighChange(metric(1000, step), change); math.Abs(scaled.Score/moved.Score-1) > 1e-6 {
		t.Errorf("in other units %+v, want %+v", scaled, moved)
	}
	for name, ps := range map[string][]Point{
		"nothing": nil, "nothing after": metric(1, none)[:7000], "one point": {{change, 1}},
	} {
		if e := WeighChange(ps, change); e.Enough || e.Score != 0 {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
