package sim

import (
	"math"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"
)

func TestDrawsHaveTheirMoments(t *testing.T) {
	const n = 100000
	type draw func(*stream) float64
	poisson := func(mean float64) draw {
		return func(r *stream) float64 { return float64(r.poisson(mean)) }
	}
	binomial := func(n uint64, p float64) draw {
		return func(r *stream) float64 { return float64(r.binomial(n, p)) }
	}
	for _, tc := range []struct {
		name                 string
		draw                 draw
		mean, variance, skew float64
	}{
		{"uniform", (*stream).uniform, 0.5, 1.0 / 12, 0},
		{"normal", (*stream).normal, 0, 1, 0},
		{"poisson 0.01", poisson(0.01), 0.01, 0.01, 10},
		{"poisson 3", poisson(3), 3, 3, 1 / math.Sqrt(3)},
		{"poisson 15.9", poisson(15.9), 15.9, 15.9, 1 / math.Sqrt(15.9)},
		{"poisson 16.1", poisson(16.1), 16.1, 16.1, 1 / math.Sqrt(16.1)},
		{"poisson 4000", poisson(4000), 4000, 4000, 1 / math.Sqrt(4000)},
		{"binomial 10 0.3", binomial(10, 0.3), 3, 2.1, 0.4 / math.Sqrt(2.1)},
		{"binomial 10 0.9", binomial(10, 0.9), 9, 0.9, -0.8 / math.Sqrt(0.9)},
		{"binomial 1000 0.001", binomial(1000, 0.001), 1, 0.999, 1},
		{"binomial 1e6 0.02", binomial(1e6, 0.02), 2e4, 1.96e4, 0.96 / 140},
		{"gamma 0.3", func(r *stream) float64 { return r.gamma(0.3) }, 1, 0.3, 2 * math.Sqrt(0.3)},
		{"gamma 1", func(r *stream) float64 { return r.gamma(1) }, 1, 1, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := stream{named(1, tc.name)}
			xs := make([]float64, n)
			for i := range xs {
				xs[i] = tc.draw(&r)
			}
			mean, variance := stat.MeanVariance(xs, nil)
			if math.Abs(mean-tc.mean) > 5*math.Sqrt(tc.variance/n)+1e-3*tc.mean {
				t.Errorf("mean %v, want %v", mean, tc.mean)
			}
			if math.Abs(variance/tc.variance-1) > 0.06 {
				t.Errorf("variance %v, want %v", variance, tc.variance)
			}
			if skew := stat.Skew(xs, nil); math.Abs(skew-tc.skew) > 0.05+0.1*math.Abs(tc.skew) {
				t.Errorf("skewness %v, want %v", skew, tc.skew)
			}
		})
	}
}

func TestDrawsHaveNoEdges(t *testing.T) {
	r := stream{1}
	for _, mean := range []float64{0, -1, math.NaN()} {
		if got := r.poisson(mean); got != 0 {
			t.Errorf("poisson(%v) = %d", mean, got)
		}
	}
	for _, tc := range []struct {
		n    uint64
		p    float64
		want uint64
	}{{0, 0.5, 0}, {7, 0, 0}, {7, -1, 0}, {7, math.NaN(), 0}, {7, 1, 7}, {7, 2, 7}} {
		if got := r.binomial(tc.n, tc.p); got != tc.want {
			t.Errorf("binomial(%d, %v) = %d, want %d", tc.n, tc.p, got, tc.want)
		}
	}
	if got := r.gamma(0); got != 1 {
		t.Errorf("gamma(0) = %v", got)
	}
}

func TestWanderHasAMemory(t *testing.T) {
	var xs, near, far []float64
	for key := range uint64(400) {
		w := newWander(mix(key))
		for at := 0.0; at < 36000; at += 1234 {
			xs = append(xs, w.at(at))
			near = append(near, w.at(at+5))
			far = append(far, w.at(at+20000))
		}
	}
	if mean, variance := stat.MeanVariance(xs, nil); math.Abs(mean) > 0.05 ||
		math.Abs(variance-1) > 0.05 {
		t.Errorf("mean %.3f, variance %.3f, want 0 and 1", mean, variance)
	}
	if c := stat.Correlation(xs, near, nil); c < 0.9 {
		t.Errorf("after 5s it correlates by %.2f with itself, want more than 0.9", c)
	}
	if c := stat.Correlation(xs, far, nil); math.Abs(c) > 0.05 {
		t.Errorf("after hours it correlates by %.2f with itself, want 0", c)
	}
	forth, back := newWander(5), newWander(5)
	for at := 0.0; at < 100; at++ {
		forth.at(at)
	}
	if a, b := forth.at(50), back.at(50); a != b {
		t.Errorf("the noise at 50s is %v after 100s and %v at first", a, b)
	}
}

func TestPatternFollowsTheCalendar(t *testing.T) {
	p := pattern{daily: 0.5, peak: 15, weekend: 0.5, weekdays: 1.2}
	at := func(days int, hour float64) float64 {
		return p.at(time.Duration(days)*day + time.Duration(hour*float64(time.Hour)))
	}
	if peak, trough := at(2, 15), at(2, 3); math.Abs(peak/trough-3) > 1e-9 {
		t.Errorf("Wednesday's peak is %.2f times its trough, want 3", peak/trough)
	}
	if got := at(5, 15) / at(2, 15); math.Abs(got-0.5/1.2) > 1e-9 {
		t.Errorf("Saturday has %.2f of Wednesday, want %.2f", got, 0.5/1.2)
	}
	mean, steps := 0.0, 0
	for at := time.Duration(0); at < 7*day; at += time.Minute {
		mean += p.at(at)
		steps++
		if jump := math.Abs(p.at(at+time.Minute) - p.at(at)); jump > 0.02 {
			t.Errorf("at %v it jumps by %v", at, jump)
		}
	}
	if mean /= float64(steps); math.Abs(mean-1) > 0.01 {
		t.Errorf("the mean of a week is %.3f, want 1", mean)
	}
}

func TestWeekTime(t *testing.T) {
	sunday := time.Date(2026, 1, 11, 23, 30, 0, 0, time.FixedZone("", -3600))
	if got, want := weekTime(sunday), 30*time.Minute; got != want {
		t.Errorf("weekTime(%v) = %v, want %v: it is Monday in UTC", sunday, got, want)
	}
}

func TestJobRunsDaily(t *testing.T) {
	j := &job{from: 2 * time.Hour, length: 20 * time.Minute}
	for at, want := range map[time.Duration]bool{
		2 * time.Hour: true, 3*day + 2*time.Hour + 19*time.Minute: true,
		3*day + 2*time.Hour + 20*time.Minute: false, time.Hour: false,
	} {
		if got := j.running(at); got != want {
			t.Errorf("running(%v) = %v, want %v", at, got, want)
		}
	}
	if (*job)(nil).running(0) {
		t.Error("a service without a job runs it")
	}
}

func TestSpikesAreAsManyAsAskedFor(t *testing.T) {
	spikes, inside, highest := 0, false, 0.0
	const days = 200
	for at := 0.0; at < days*day.Seconds(); at += 10 {
		f := spike(9, at, 3)
		if f > 1 && !inside {
			spikes++
		}
		inside = f > 1
		highest = max(highest, f)
	}
	if spikes < 2*days || spikes > 4*days {
		t.Errorf("%d spikes in %d days, want about 3 a day", spikes, days)
	}
	if highest > 1.8 {
		t.Errorf("a spike of %.2f times the traffic is not harmless", highest)
	}
}

func TestCadence(t *testing.T) {
	c := cadence{key: 4, period: 1000, offset: 321}
	last, changes := 0, 0
	for at := 0.0; at < 100000; at++ {
		number, began := c.revision(at)
		if began > at {
			t.Fatalf("at %v release %d has begun at %v", at, number, began)
		}
		if at > 0 && number != last {
			if number != last+1 {
				t.Fatalf("at %v release %d follows %d", at, number, last)
			}
			changes++
		}
		last = number
	}
	if changes < 99 || changes > 101 {
		t.Errorf("%d releases in 100 periods", changes)
	}
	never := cadence{key: 4}
	if number, began := never.revision(1e9); number != 0 || began >= 0 {
		t.Errorf("a service that is never released has release %d from %v", number, began)
	}
}
