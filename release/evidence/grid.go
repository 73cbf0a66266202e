package evidence

import "math"

// The grid of log-ratios on which likelihoods are integrated: dense around no
// change, wide enough for a thousand times as many errors.
const (
	points    = 96
	gridScale = 0.1
	gridLow   = -2.5
	gridHigh  = 7.0
)

// grid holds the log-ratios, their exponentials, and the logarithm of the width that each stands for.
type grid struct{ theta, exp, width [points]float64 }

func newGrid() *grid {
	var g grid
	low, high := math.Asinh(gridLow/gridScale), math.Asinh(gridHigh/gridScale)
	step := (high - low) / (points - 1)
	for i := range points {
		u := low + step*float64(i)
		g.theta[i] = gridScale * math.Sinh(u)
		g.exp[i] = math.Exp(g.theta[i])
		g.width[i] = math.Log(step * gridScale * math.Cosh(u))
	}
	return &g
}

// harm is the logarithm of the prior of harmful log-ratios: above 0, half of them
// exponential with one mean, half with the other.
func (g *grid) harm(near, far float64) *[points]float64 {
	var out [points]float64
	for i, t := range g.theta {
		out[i] = math.Inf(-1)
		if t > 0 {
			out[i] = math.Log(0.5/near*math.Exp(-t/near)+0.5/far*math.Exp(-t/far)) + g.width[i]
		}
	}
	return &out
}

// The null has a small share of releases that shift twice as much as usual.
const (
	strayShare = 0.0002
	strayScale = 2
)

// null is the logarithm of the prior of harmless log-ratios with a variance.
func (g *grid) null(variance float64) *[points]float64 {
	var out [points]float64
	// No narrower than the grid can show.
	variance = math.Max(variance, 0.01*0.01)
	wide := variance * strayScale * strayScale
	for i, t := range g.theta {
		a := math.Log1p(-strayShare) - t*t/(2*variance) - math.Log(variance)/2
		b := math.Log(strayShare) - t*t/(2*wide) - math.Log(wide)/2
		out[i] = logAdd(a, b) - math.Log(2*math.Pi)/2 + g.width[i]
	}
	return &out
}

// amplitudes are the nodes by which a warm-up may be stronger or weaker than expected, in standard
// deviations, and the logarithms of their weights: Student's with five degrees of freedom, for the
// deviation itself is known from a few releases only.
func amplitudes() (nodes, weights [11]float64) {
	var sum float64
	for i := range nodes {
		nodes[i] = float64(i - 5)
		weights[i] = math.Pow(1+nodes[i]*nodes[i]/5, -3)
		sum += weights[i]
	}
	for i := range weights {
		weights[i] = math.Log(weights[i] / sum)
	}
	return nodes, weights
}

func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(a, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// logSum returns the logarithm of the sum of the exponentials of a plus b.
func logSum(a, b []float64) float64 {
	top := math.Inf(-1)
	for i := range a {
		top = math.Max(top, a[i]+b[i])
	}
	if math.IsInf(top, -1) {
		return top
	}
	var sum float64
	for i := range a {
		if d := a[i] + b[i] - top; d > -40 {
			sum += math.Exp(d)
		}
	}
	return top + math.Log(sum)
}
