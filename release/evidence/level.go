package evidence

import "math"

// What the level of errors is held against where traffic is too low to compare.
const (
	levelFloor  = 0.01 // Nobody minds one request in a hundred.
	levelFactor = 3    // Of the service's own long-run rate.
	levelWander = 0.15 // Standard deviation of a pod's rate, as if nothing were known.
	levelAge    = 2    // The youngest age group that takes part.
)

// WeighLevel judges the new pods' errors against an absolute level, not against the old pods beside them: the
// larger of one in a hundred, three times the long-run rate, and twice what the old pods may have now.
func (s *Scale) WeighLevel(l *Ledger, m *Model) Finding {
	f := Finding{Metric: ErrorLevel, Name: ErrorLevel.String(), Lower: math.Inf(-1), Upper: math.Inf(1)}
	p := all
	p.least = levelAge
	t, level := s.level(l, m, p, &f)
	if t.n <= 0 {
		return f
	}
	f.New, f.NewEvents = t.n, t.x
	f.LogE = s.levelE(t, level, f.Usual)
	f.Whole = f.LogE
	share, spread := (t.x+0.5)/(t.n+1), math.Sqrt(1/(t.x+0.5)+f.Usual*f.Usual)
	f.Effect = share - level
	f.Lower, f.Upper = share*math.Exp(-1.96*spread)-level, share*math.Exp(1.96*spread)-level
	f.Material = f.Lower >= materiality[Errors]
	if f.LogE < suspicion {
		return f
	}
	for _, p := range append(l.leavePods(Errors), thirds(l.grownRequests())...) {
		p.least = levelAge
		t, level := s.level(l, m, p, &f)
		f.LogE = math.Min(f.LogE, p.due(s.levelE(t, level, f.Usual), ErrorLevel, f.NewEvents))
	}
	return f
}

// level adds up what takes part and finds the level to hold it against.
func (s *Scale) level(l *Ledger, m *Model, p part, f *Finding) (fresh tally, level float64) {
	slots, size := l.slots(Errors, p)
	var old tally
	for i := range slots {
		old.add(slots[i].old.n, slots[i].old.x)
		for g := range Groups {
			fresh.add(slots[i].fresh[g].n, slots[i].fresh[g].x)
		}
	}
	level = math.Max(levelFloor, levelFactor*l.base(Errors, m))
	if old.n > 0 {
		level = math.Max(level, 2*(old.x+1+math.Sqrt(old.x))/old.n)
	}
	f.Old, f.OldEvents = old.n, old.x
	f.Usual = levelWander * math.Sqrt(size.spread())
	return fresh, level
}

// grownRequests returns the requests of new pods that take part, by slot.
func (l *Ledger) grownRequests() []float64 {
	p := all
	p.least = levelAge
	slots, _ := l.slots(Errors, p)
	out := make([]float64, len(slots))
	for i := range slots {
		for g := range Groups {
			out[i] += slots[i].fresh[g].n
		}
	}
	return out
}

// levelE returns the logarithm of the e-value of a share above a level.
func (s *Scale) levelE(t tally, level, wander float64) float64 {
	if t.n <= 0 || level >= 0.5 {
		return 0
	}
	temper := 1 / (1 + t.x*wander*wander)
	var like [points]float64
	for i, ratio := range s.grid.exp {
		p := level * ratio
		if p >= 1 {
			like[i] = math.Inf(-1)
			continue
		}
		like[i] = temper * (t.x*math.Log(ratio) + (t.n-t.x)*(math.Log1p(-p)-math.Log1p(-level)))
	}
	return logSum(like[:], s.harm[Errors][:])
}
