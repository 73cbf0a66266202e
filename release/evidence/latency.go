package evidence

import "math"

// scale turns histogram buckets into what the tests need. It is fixed before the first comparison: cuts that
// moved with the data would not be a test.
type scale struct {
	logs       []float64 // The logarithm that stands for each bucket.
	slow, tail int       // The first bucket above each cut; 0 while unknown.
	variance   float64   // Of the logarithm of latency among old pods.
}

// newScale gives each bucket the middle of its bounds on the log scale. Only ratios of bounds matter.
func newScale(bounds []float64) scale {
	s := scale{logs: make([]float64, len(bounds))}
	for i, le := range bounds {
		switch {
		case i == 0:
			s.logs[i] = math.Log(le) - math.Ln2/2
		case math.IsInf(le, 1):
			s.logs[i] = math.Log(bounds[i-1]) + math.Ln2/2
		case bounds[i-1] <= 0:
			s.logs[i] = math.Log(le) - math.Ln2/2
		default:
			s.logs[i] = (math.Log(le) + math.Log(bounds[i-1])) / 2
		}
		if math.IsInf(s.logs[i], 0) || math.IsNaN(s.logs[i]) {
			s.logs[i] = 0
		}
	}
	return s
}

// enoughLatency is how many requests of old pods settle the cuts.
const enoughLatency = 300

// settle chooses the cuts from the buckets of old pods, once there are enough requests.
func (s *scale) settle(old []float64) bool {
	if s.slow > 0 || len(old) < 2 {
		return false
	}
	var n, mean, square float64
	for i, c := range old {
		n += c
		mean += c * s.logs[i]
		square += c * s.logs[i] * s.logs[i]
	}
	if n < enoughLatency {
		return false
	}
	mean /= n
	s.variance = max(square/n-mean*mean, 0.01)
	s.slow, s.tail = s.cut(old, n, 0.1), s.cut(old, n, 0.015)
	return true
}

// above counts requests above each cut.
func (s *scale) above(buckets []float64) (slow, tail tally) {
	for i, c := range buckets {
		slow.n += c
		tail.n += c
		if i >= s.slow {
			slow.x += c
		}
		if i >= s.tail {
			tail.x += c
		}
	}
	return slow, tail
}

// cut returns the bucket from which on the share of requests is nearest to want.
func (s *scale) cut(old []float64, n, want float64) int {
	best, distance, above := len(old)-1, math.Inf(1), 0.0
	for i := len(old) - 1; i > 0; i-- {
		above += old[i]
		if d := math.Abs(math.Log((above + 0.5) / n / want)); d < distance {
			best, distance = i, d
		}
	}
	return best
}

// add folds the buckets of one sample into a pod's tallies.
func (s *scale) add(to *tallies, buckets []float64) {
	if len(buckets) != len(s.logs) {
		return
	}
	var n, logs, slow, tail float64
	for i, c := range buckets {
		n += c
		logs += c * s.logs[i]
		if i >= s.slow {
			slow += c
		}
		if i >= s.tail {
			tail += c
		}
	}
	to[Latency].add(n, logs)
	if s.slow > 0 {
		to[Slow].add(n, slow)
		to[Tail].add(n, tail)
	}
}
