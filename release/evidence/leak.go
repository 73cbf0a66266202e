package evidence

import (
	"math"
	"time"
)

// Memory is compared at the age of pods: growth in a fit of log(memory) against minutes of age, once a pod's
// caches have filled.
const (
	leakAge     = 10 * time.Minute // Younger pods are still filling up.
	leakSpan    = 15 * time.Minute // Samples of a pod that make a slope.
	leakFloor   = 0.0002           // What slopes of harmless pods differ by at least, for each minute.
	leakUsual   = 0.0004           // The same, of a service of which nothing is known.
	leakReasons = 0.0003           // The least slope whose lower bound is worth a verdict.
)

// slope is a least-squares line, without keeping the points.
type slope struct{ n, x, y, xx, xy float64 }

func (s *slope) add(x, y float64) {
	s.n++
	s.x += x
	s.y += y
	s.xx += x * x
	s.xy += x * y
}

// fit returns the slope and the span of time that it stands on.
func (s *slope) fit() (slope, span float64) {
	if s.n < 3 {
		return 0, 0
	}
	d := s.xx - s.x*s.x/s.n
	if d <= 0 {
		return 0, 0
	}
	return (s.xy - s.x*s.y/s.n) / d, math.Sqrt(12 * d / s.n)
}

// leak follows the memory of each pod of a release.
type leak struct {
	pods   []slope
	fresh  []bool
	origin time.Time // Minutes are counted from here.
	least  []float64 // Memory when the pod had grown up; a smaller sample means that it restarted.
}

func (k *leak) add(id int, p *PodSample, now time.Time) {
	for id >= len(k.pods) {
		k.pods = append(k.pods, slope{})
		k.fresh = append(k.fresh, false)
		k.least = append(k.least, 0)
	}
	k.fresh[id] = p.New
	if !Known(p.MemoryBytes) || p.MemoryBytes <= 0 {
		return
	}
	if p.New && now.Sub(p.Started) < leakAge {
		return
	}
	s := &k.pods[id]
	if s.n > 0 && p.MemoryBytes < k.least[id]/2 {
		*s = slope{}
	}
	if s.n == 0 {
		k.least[id] = p.MemoryBytes
	}
	if k.origin.IsZero() {
		k.origin = now
	}
	s.add(now.Sub(k.origin).Minutes(), math.Log(p.MemoryBytes/k.least[id]))
}

// slopes returns the growth of the pods of one side, and the mean span.
func (k *leak) slopes(fresh bool) (mean, spread, n, span float64) {
	var sum, sq float64
	for i := range k.pods {
		if k.fresh[i] != fresh {
			continue
		}
		b, t := k.pods[i].fit()
		if t < leakSpan.Minutes() {
			continue
		}
		n++
		sum += b
		sq += b * b
		span += t
	}
	if n == 0 {
		return 0, 0, 0, 0
	}
	mean = sum / n
	if n > 1 {
		spread = math.Max(sq/n-mean*mean, 0) * n / (n - 1)
	}
	return mean, spread, n, span / n
}

// leakModel is how the memory of new pods of harmless releases grows.
type leakModel struct {
	N   float64 `json:"n"`
	Sum float64 `json:"sum"`
	Sq  float64 `json:"sq"`
}

func (m *leakModel) learn(k *leak) {
	mean, _, n, _ := k.slopes(true)
	if n == 0 {
		return
	}
	m.N++
	m.Sum += mean
	m.Sq += mean * mean
}

// predict returns the expected slope and its variance.
func (m *leakModel) predict() (mean, variance float64) {
	const usual = leakUsual * leakUsual
	if m.N == 0 {
		return 0, 2 * usual
	}
	mean = m.Sum / (m.N + 0.5)
	between := math.Max(m.Sq/m.N-mean*mean, leakFloor*leakFloor)
	variance = (2*usual + m.N*between) / (2 + m.N)
	return mean, variance * (1 + 1/m.N)
}

// WeighMemory judges whether the new pods leak: their growth against that of past releases' pods, or, if
// there are none, of the old pods beside them.
func (s *Scale) WeighMemory(l *Ledger, m *Model) Finding {
	f := Finding{Metric: Memory, Name: Memory.String(), Lower: math.Inf(-1), Upper: math.Inf(1)}
	mean, spread, n, span := l.leak.slopes(true)
	if n == 0 {
		return f
	}
	expected, variance := m.s.Leak.predict()
	oldMean, oldSpread, oldN, _ := l.leak.slopes(false)
	if m.s.Leak.N == 0 && oldN > 0 {
		expected = math.Max(oldMean, 0)
		spread = (spread*(n-1) + oldSpread*(oldN-1)) / math.Max(n+oldN-2, 1)
	}
	// Short fits wander more: memory is not a straight line.
	shape := leakFloor * (30 / span)
	within := (spread*(n-1) + 4*(leakFloor*leakFloor)) / (n + 3) / n
	sd := math.Sqrt(variance + shape*shape + within)
	f.Effect = mean - expected
	f.Lower, f.Upper = f.Effect-1.96*sd, f.Effect+1.96*sd
	f.New, f.Old, f.Usual = n, oldN, sd
	f.Material = f.Lower >= leakReasons
	f.LogE = slopeE(f.Effect, sd)
	return f
}

// slopeE returns the logarithm of the Bayes factor of a growth above the expected one (exponential with a
// mean of a thousandth a minute) against none.
func slopeE(effect, sd float64) float64 {
	const mean, steps = 0.001, 200
	top, sum := math.Inf(-1), 0.0
	var logs [steps]float64
	for i := range logs {
		b := mean * 8 * (float64(i) + 0.5) / steps
		d := effect - b
		logs[i] = -b/mean - d*d/(2*sd*sd)
		top = math.Max(top, logs[i])
	}
	for i := range logs {
		sum += math.Exp(logs[i] - top)
	}
	return top + math.Log(sum*8/steps) + effect*effect/(2*sd*sd)
}
