package evidence

import (
	"math"
	"slices"
	"time"
)

// Point is one value of a metric.
type Point struct {
	At    time.Time
	Value float64
}

// ChangeEffect is how a metric differs after a change from what it was before.
type ChangeEffect struct {
	Score  float64   // How far it went: the geometric mean of its size in spreads and relative to the level.
	Effect float64   // The difference relative to the metric's level, where it is largest.
	At     time.Time // Where that is.
	Days   int       // How many earlier days told what to expect.
	Enough bool      // There is enough before and after the change.
}

// What is compared around a change.
const (
	changeWatch = 2 * time.Hour    // After it.
	changeNear  = time.Hour        // Before it: gives today's level and spread.
	changeHold  = 10 * time.Minute // A deviation must last for the better part of this.
	changeBlur  = 2 * time.Minute  // Of the clock time on other days, to either side.
	changeDays  = 14               // Other days at most.
	changeFloor = 0.02             // The least spread and level, as a share of the level.
	day         = 24 * time.Hour
)

// WeighChange compares what a metric did in the two hours after a change with the same clock time on earlier
// days, both adjusted to the hour before, by the largest ten-minute median. Points come in the order of time.
func WeighChange(points []Point, change time.Time) ChangeEffect {
	c := newChange(points, change)
	if c == nil {
		return ChangeEffect{}
	}
	before := c.residuals(c.at-c.span(changeNear), c.at)
	adjust := median(before)
	for i := range before {
		before[i] = math.Abs(before[i] - adjust)
	}
	spread := 1.4826 * median(before)
	after := c.residuals(c.at, min(c.at+c.span(changeWatch), len(c.v)))
	hold := c.span(changeHold)
	if !Known(adjust) || len(after) < hold {
		return ChangeEffect{Days: c.days}
	}
	peak, where := 0.0, 0
	for i := 0; i+hold <= len(after); i++ {
		if m := median(after[i:i+hold]) - adjust; math.Abs(m) > math.Abs(peak) {
			peak, where = m, i
		}
	}
	e := ChangeEffect{At: c.start.Add(time.Duration(c.at+where) * c.step), Days: c.days, Enough: true}
	if level := math.Max(c.level(), math.Abs(peak)/100); level > 0 {
		floor := changeFloor * level
		e.Score = math.Abs(peak) / math.Sqrt((spread+floor)*(level+floor))
		e.Effect = peak / (level + floor)
	}
	return e
}

// metricChange is a metric on a regular grid, NaN where there is no value, with a change at index at.
type metricChange struct {
	start time.Time
	step  time.Duration
	v     []float64
	at    int
	days  int
}

// newChange returns nil if there is too little to compare.
func newChange(points []Point, change time.Time) *metricChange {
	var gaps []time.Duration
	for i := 1; i < len(points); i++ {
		if d := points[i].At.Sub(points[i-1].At); d > 0 {
			gaps = append(gaps, d)
		}
	}
	if len(gaps) < 3 {
		return nil
	}
	slices.Sort(gaps)
	c := &metricChange{start: points[0].At, step: gaps[len(gaps)/2]}
	length := points[len(points)-1].At.Sub(c.start)
	if c.step > changeHold/2 || length/c.step > 1<<24 {
		return nil
	}
	c.v = make([]float64, int(length/c.step)+1)
	for i := range c.v {
		c.v[i] = math.NaN()
	}
	for _, p := range points {
		if i := int(p.At.Sub(c.start) / c.step); i >= 0 && i < len(c.v) {
			c.v[i] = p.Value
		}
	}
	c.at = int((change.Sub(c.start) + c.step - 1) / c.step)
	if c.at < c.span(changeHold) || c.at >= len(c.v) {
		return nil
	}
	c.days = min(c.at/c.span(day), changeDays)
	return c
}

// span returns how many steps a duration is.
func (c *metricChange) span(d time.Duration) int { return max(int(d/c.step), 1) }

// residuals returns by how much values differ from those at the same clock time on earlier days.
func (c *metricChange) residuals(from, to int) []float64 {
	from = max(from, 0)
	out := make([]float64, 0, to-from)
	around, length := int(changeBlur/c.step), c.span(day)
	var seen []float64
	for i := from; i < to; i++ {
		seen = seen[:0]
		for d := 1; d <= c.days; d++ {
			for j := i - d*length - around; j <= i-d*length+around; j++ {
				if j >= 0 && j < c.at && Known(c.v[j]) {
					seen = append(seen, c.v[j])
				}
			}
		}
		expected := median(seen)
		if !Known(expected) {
			expected = 0
		}
		out = append(out, c.v[i]-expected)
	}
	return out
}

// level returns the metric's usual size over the last day.
func (c *metricChange) level() float64 {
	var seen []float64
	for _, v := range c.v[max(c.at-c.span(day), 0):c.at] {
		seen = append(seen, math.Abs(v))
	}
	return median(seen)
}

// median leaves out what is not known; of nothing it is NaN.
func median(vs []float64) float64 {
	known := make([]float64, 0, len(vs))
	for _, v := range vs {
		if Known(v) {
			known = append(known, v)
		}
	}
	if len(known) == 0 {
		return math.NaN()
	}
	slices.Sort(known)
	n := len(known)
	return (known[(n-1)/2] + known[n/2]) / 2
}
