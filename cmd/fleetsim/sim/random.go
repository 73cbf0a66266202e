package sim

import "math"

// Everything random is a function of a key, and a key is made of what the number is for: seed,
// cluster, service, pod, step. So a value does not depend on who asked, how often, or in what
// order.

// mix scatters the bits of x: Steele, Lea and Flood, "Fast splittable pseudorandom number
// generators" (2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

const golden = 0x9e3779b97f4a7c15

// subkey returns a key for one thing (i) that belongs to what k is for.
func subkey(k, i uint64) uint64 {
	return mix(k + golden*(i+1))
}

// named returns a key for the thing of that name that belongs to what k is for.
func named(k uint64, name string) uint64 {
	for i := range len(name) {
		k = (k ^ uint64(name[i])) * 0x100000001b3
	}
	return mix(k + golden)
}

// uniform turns a key into a number between 0 and 1, both excluded.
func uniform(k uint64) float64 {
	return (float64(k>>11) + 0.5) / (1 << 53)
}

// normal turns a key into a number with mean 0 and variance 1.
func normal(k uint64) float64 {
	return math.Sqrt2 * math.Erfinv(2*uniform(k)-1)
}

// stream is a sequence of random numbers that begins at a key.
type stream struct{ state uint64 }

func (r *stream) next() uint64 {
	r.state += golden
	return mix(r.state)
}

func (r *stream) uniform() float64 { return uniform(r.next()) }
func (r *stream) normal() float64  { return normal(r.next()) }

// few is the mean below which counts are drawn exactly; above it a normal with the right mean,
// variance and skewness (Cornish and Fisher) is as good and does not cost more with size.
const few = 16

// poisson draws a count with that mean.
func (r *stream) poisson(mean float64) uint64 {
	if !(mean > 0) {
		return 0
	}
	if mean >= few {
		z := r.normal()
		return atLeastZero(mean + math.Sqrt(mean)*z + (z*z-1)/6)
	}
	var k uint64
	p := math.Exp(-mean)
	for u := r.uniform() - p; u > 0 && k < 10*few; u -= p {
		k++
		p *= mean / float64(k)
	}
	return k
}

// binomial draws how many of n happen when each does with probability p.
func (r *stream) binomial(n uint64, p float64) uint64 {
	switch {
	case n == 0 || !(p > 0):
		return 0
	case p >= 1:
		return n
	case p > 0.5:
		return n - r.binomial(n, 1-p)
	}
	mean := float64(n) * p
	if mean >= few {
		z := r.normal()
		k := atLeastZero(mean + math.Sqrt(mean*(1-p))*z + (z*z-1)*(1-2*p)/6)
		return min(k, n)
	}
	var k uint64
	odds := p / (1 - p)
	q := math.Exp(float64(n) * math.Log1p(-p))
	for u := r.uniform() - q; u > 0 && k < n && k < 10*few; u -= q {
		q *= odds * float64(n-k) / float64(k+1)
		k++
	}
	return k
}

// gamma draws a number with mean 1 and that variance: Marsaglia and Tsang, "A simple method for
// generating gamma variables" (2000). The variance is at most 1.
func (r *stream) gamma(variance float64) float64 {
	if variance <= 0 {
		return 1
	}
	d := 1/variance - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		z := r.normal()
		v := 1 + c*z
		if v <= 0 {
			continue
		}
		v *= v * v
		if math.Log(r.uniform()) < z*z/2+d-d*v+d*math.Log(v) {
			return d * v * variance
		}
	}
}

func atLeastZero(x float64) uint64 {
	if x < 0 {
		return 0
	}
	return uint64(x + 0.5)
}

// wander is noise with a memory: three sums of smoothed steps, of half a minute, five minutes and
// an hour. It has mean 0, variance 1, and can be asked for any instant. The last steps are kept, so
// that asking for one instant after the other is cheap.
type wander struct {
	key   uint64
	steps [3]struct {
		cell     int64
		from, to float64
	}
}

var wanders = [3]struct{ period, weight float64 }{{30, 0.64}, {300, 0.64}, {3600, 0.4251}}

func newWander(key uint64) wander {
	w := wander{key: key}
	for i := range w.steps {
		w.steps[i].cell = math.MinInt64
	}
	return w
}

// at returns the noise at an instant in seconds.
func (w *wander) at(seconds float64) float64 {
	sum := 0.0
	for i := range w.steps {
		s := &w.steps[i]
		x := seconds/wanders[i].period + float64(i)/3
		cell := int64(math.Floor(x))
		if cell != s.cell {
			k := subkey(w.key, uint64(i))
			if cell == s.cell+1 {
				s.from = s.to
			} else {
				s.from = normal(subkey(k, uint64(cell)))
			}
			s.cell, s.to = cell, normal(subkey(k, uint64(cell+1)))
		}
		f := x - float64(cell)
		// Without the root the noise would be weaker in the middle of a step.
		sum += wanders[i].weight * ((1-f)*s.from + f*s.to) / math.Sqrt((1-f)*(1-f)+f*f)
	}
	return sum
}
