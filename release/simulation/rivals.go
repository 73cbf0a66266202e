package simulation

import (
	"math"
	"slices"
	"time"

	"tocsin/release"
	"tocsin/release/evidence"
)

// contestant is a judge that is measured.
type contestant interface {
	observe(w *evidence.Window)
	// regressed is asked after each look; elapsed is the time since the first new pod.
	regressed(elapsed time.Duration) bool
}

// ours is the judge of this project.
type ours struct{ trial *release.Trial }

func (o *ours) observe(w *evidence.Window) { o.trial.Observe(w) }

func (o *ours) regressed(time.Duration) bool { return o.trial.Verdict().Result == release.Regressed }

// minute is what one side did within a minute.
type minute struct {
	requests, errors, cpu float64
	latency               []float64
}

func (m *minute) add(p *evidence.PodSample) {
	if !evidence.Known(p.Requests) || !evidence.Known(p.CPUSeconds) {
		return
	}
	m.requests += p.Requests
	m.errors += p.Errors
	m.cpu += p.CPUSeconds
	if m.latency == nil {
		m.latency = make([]float64, len(p.Latency))
	}
	for i, c := range p.Latency {
		m.latency[i] += c
	}
}

// quantile reads a histogram as histogram_quantile does.
func (m *minute) quantile(q float64) float64 {
	var n float64
	for _, c := range m.latency {
		n += c
	}
	below, bounds := 0.0, Bounds()
	for i, c := range m.latency {
		if below+c >= q*n && c > 0 {
			if math.IsInf(bounds[i], 1) {
				return bounds[i-1]
			}
			low := 0.0
			if i > 0 {
				low = bounds[i-1]
			}
			return low + (bounds[i]-low)*(q*n-below)/c
		}
		below += c
	}
	return math.NaN()
}

// points are the metrics of a minute as a canary analysis queries them.
func (m *minute) points() [4]float64 {
	return [4]float64{m.errors / m.requests, m.quantile(0.5), m.quantile(0.99), m.cpu / m.requests}
}

// minutes gathers windows into minutes of both sides.
type minutes struct {
	start    time.Time
	old, new []minute
}

func (m *minutes) observe(w *evidence.Window) {
	for i := range w.Pods {
		if m.start.IsZero() && w.Pods[i].New {
			m.start = w.At
		}
	}
	if m.start.IsZero() {
		return
	}
	at := int(w.At.Sub(m.start) / time.Minute)
	for at >= len(m.new) {
		m.old, m.new = append(m.old, minute{}), append(m.new, minute{})
	}
	for i := range w.Pods {
		if w.Pods[i].New {
			m.new[at].add(&w.Pods[i])
			continue
		}
		m.old[at].add(&w.Pods[i])
	}
}

// rankTest judges as Kayenta does: for each metric a Mann-Whitney U test of minute points at 98%, every metric critical.
type rankTest struct {
	minutes
	every time.Duration // Between looks.
	first time.Duration
	guard float64 // The least ratio of the means that counts; 0 for any.
	next  time.Duration
}

func (r *rankTest) regressed(elapsed time.Duration) bool {
	if r.next == 0 {
		r.next = r.first
	}
	if elapsed < r.next {
		return false
	}
	r.next += r.every
	for k := range 4 {
		var old, fresh []float64
		for i := range r.new {
			if v := r.old[i].points()[k]; evidence.Known(v) {
				old = append(old, v)
			}
			if v := r.new[i].points()[k]; evidence.Known(v) {
				fresh = append(fresh, v)
			}
		}
		if len(old) > 4 && len(fresh) > 4 && mean(fresh) > mean(old)*(1+r.guard) && rankSum(fresh, old) > 2.326 {
			return true
		}
	}
	return false
}

func mean(vs []float64) float64 {
	var sum float64
	for _, v := range vs {
		sum += v
	}
	return sum / float64(len(vs))
}

// rankSum returns the standardised Mann-Whitney statistic of a against b, with the correction for ties.
func rankSum(a, b []float64) float64 {
	type value struct {
		v     float64
		first bool
	}
	var vs []value
	for _, v := range a {
		vs = append(vs, value{v, true})
	}
	for _, v := range b {
		vs = append(vs, value{v, false})
	}
	slices.SortFunc(vs, func(x, y value) int {
		switch {
		case x.v < y.v:
			return -1
		case x.v > y.v:
			return 1
		}
		return 0
	})
	var ranks, ties float64
	for i := 0; i < len(vs); {
		j := i
		for j < len(vs) && vs[j].v == vs[i].v {
			j++
		}
		t := float64(j - i)
		ties += t*t*t - t
		for k := i; k < j; k++ {
			if vs[k].first {
				ranks += float64(i+j+1) / 2
			}
		}
		i = j
	}
	n, m := float64(len(a)), float64(len(b))
	u := ranks - n*(n+1)/2
	all := n + m
	sd := math.Sqrt(n * m / 12 * (all + 1 - ties/(all*(all-1))))
	if sd == 0 {
		return 0
	}
	return (u - n*m/2) / sd
}

// thresholds judges as Flagger does: each minute the new pods must reach 99% success and 500 ms at the 99th
// percentile; failures are counted and never forgotten, and no values are a failure.
type thresholds struct {
	minutes
	failures int
	checked  int
}

func (f *thresholds) regressed(elapsed time.Duration) bool {
	for ; f.checked < int(elapsed/time.Minute) && f.checked < len(f.new); f.checked++ {
		p := f.new[f.checked].points()
		if !(p[0] <= 0.01 && p[2] <= 0.5) {
			f.failures++
		}
	}
	return f.failures >= 5
}
