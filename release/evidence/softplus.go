package evidence

import "math"

// softplus is log(1 + exp(u)), which a binomial likelihood needs at each log-ratio and for each cell. A table
// of values and slopes gives it to ten digits.
type softplus [softplusSteps + 1]struct{ value, slope float64 }

const (
	softplusLimit = 24.0 // Beyond, it is nothing or u itself.
	softplusEach  = 32   // Steps for each unit.
	softplusSteps = 2 * softplusLimit * softplusEach
)

func newSoftplus() *softplus {
	var t softplus
	for i := range t {
		u := float64(i)/softplusEach - softplusLimit
		t[i].value = math.Log1p(math.Exp(-math.Abs(u))) + math.Max(u, 0)
		t[i].slope = 1 / softplusEach / (1 + math.Exp(-u))
	}
	return &t
}

// at returns log(1 + exp(u)).
func (t *softplus) at(u float64) float64 {
	if u <= -softplusLimit {
		return 0
	}
	if u >= softplusLimit {
		return u
	}
	p := (u + softplusLimit) * softplusEach
	i := int(p)
	f := p - float64(i)
	a, b := &t[i], &t[i+1]
	d := b.value - a.value // Cubic through both ends.
	return a.value + f*(a.slope+f*(3*d-2*a.slope-b.slope+f*(a.slope+b.slope-2*d)))
}
