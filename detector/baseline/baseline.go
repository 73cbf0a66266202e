// Package baseline describes what is normal for the series of one signal, and keeps it up to date.
//
// Normal is a level and a spread over three horizons (60, 300 and 1440 ticks), both robust: a
// value beyond three deviations counts as three (Huber, 1964). On top lies a daily profile of 96
// buckets, each the median of what it was, what the day before held and what today holds; it is
// used for a series only once it has made that series' errors smaller. Values are compared in a
// space in which noise does not depend on the level (see kernel.Scale), and no spread is believed
// that is smaller than counting noise.
//
// A deviation becomes a score in two steps. The nominal score follows a law with heavy tails.
// Then the series' own history corrects it: first by what is ordinary as its highest score of a
// day, then by the share of scores that were at least 1, 2, 3 and 4. So a score of s is exceeded
// in about 10^-s of ticks.
package baseline

import (
	"math"
	"time"

	"tocsin/detector/kernel"
)

// Params say what kind of series a column holds.
type Params struct {
	Scale    kernel.Scale  // The space in which values are compared.
	Unit     float64       // Of kernel.Root: the seconds in which events are counted.
	Floor    float64       // The least spread, in that space.
	Relative float64       // The least spread, as a share of the level.
	Period   time.Duration // Of the season.
	WarmUp   int           // Samples before the first score.
}

// Columns is the state of many series of one signal. A slot is a series' place in it. The zero
// value is not ready: use New.
type Columns struct {
	params Params

	blocks []kernel.Block
	days   []kernel.Day
	tails  []kernel.Tail
	floors []kernel.Lanes

	at     time.Time // Of the newest tick.
	bucket int       // The part of the day that at is in.
}

// New returns columns without slots.
func New(p Params) *Columns {
	return &Columns{params: p}
}

// Params returns what New was given.
func (c *Columns) Params() Params { return c.params }

// At returns the instant of the newest tick; zero if there was none.
func (c *Columns) At() time.Time { return c.at }

// Slots returns how many slots there are: a multiple of kernel.Width.
func (c *Columns) Slots() int { return len(c.blocks) * kernel.Width }

// Grow adds room until there are at least n slots. The new ones know nothing.
func (c *Columns) Grow(n int) {
	for c.Slots() < n {
		if len(c.blocks) == cap(c.blocks) {
			c.reserve(len(c.blocks) + max(1, len(c.blocks)/8))
		}
		c.blocks = append(c.blocks, kernel.Block{})
		c.days = append(c.days, kernel.Day{})
		c.tails = append(c.tails, kernel.Tail{})
		c.floors = append(c.floors, kernel.Lanes{})
		for l := range kernel.Width {
			c.Reset(c.Slots() - kernel.Width + l)
		}
	}
}

// reserve keeps the waste below an eighth, which append would not.
func (c *Columns) reserve(blocks int) {
	c.blocks = append(make([]kernel.Block, 0, blocks), c.blocks...)
	c.days = append(make([]kernel.Day, 0, blocks), c.days...)
	c.tails = append(make([]kernel.Tail, 0, blocks), c.tails...)
	c.floors = append(make([]kernel.Lanes, 0, blocks), c.floors...)
}

// Reset makes a slot know nothing.
func (c *Columns) Reset(slot int) {
	i, l := slot/kernel.Width, slot%kernel.Width
	for f := range c.blocks[i] {
		c.blocks[i][f][l] = 0
	}
	for f := range c.tails[i] {
		c.tails[i][f][l] = 0
	}
	c.days[i].Reset(l)
	c.floors[i][l] = float32(c.params.Floor)
}

// SetFloor sets the least spread of a slot, when that is known better than Params say.
func (c *Columns) SetFloor(slot int, floor float64) {
	c.floors[slot/kernel.Width][slot%kernel.Width] = float32(max(floor, c.params.Floor))
}

// Result holds what one tick says, in blocks. It may be used again for other columns.
type Result struct {
	Score    []kernel.Lanes // NaN: no sample, or not warm.
	Expected []kernel.Lanes // In the unit of the signal, as the bounds; NaN: no sample.
	Lower    []kernel.Lanes
	Upper    []kernel.Lanes

	y []kernel.Lanes
}

func (r *Result) resize(blocks int) {
	for _, p := range []*[]kernel.Lanes{&r.Score, &r.Expected, &r.Lower, &r.Upper, &r.y} {
		if cap(*p) < blocks {
			*p = make([]kernel.Lanes, blocks, blocks+blocks/8)
		}
		*p = (*p)[:blocks]
	}
}

// atOnce is how many blocks a kernel takes in one call: a goroutine is not interrupted inside.
const atOnce = 256

// Tick scores the values x of the instant at, one for each slot, NaN where there is none, and
// learns from them. Step is the distance between instants when nothing is missing. At must be
// later than that of the tick before.
func (c *Columns) Tick(r *Result, x []float64, at time.Time, step time.Duration) {
	r.resize(len(c.blocks))
	p := c.kernelParams(at, step)
	tail := kernel.TailParams{Ordinary: Ordinary(c.params.Period, step)}
	c.turn(at, step)
	unit := float32(c.params.Unit)
	for from := 0; from < len(c.blocks); from += atOnce {
		to := min(from+atOnce, len(c.blocks))
		y, score := r.y[from:to], r.Score[from:to]
		expected, lower, upper := r.Expected[from:to], r.Lower[from:to], r.Upper[from:to]
		blocks, days, tails := c.blocks[from:to], c.days[from:to], c.tails[from:to]

		kernel.Rescale(y, x[from*kernel.Width:min(to*kernel.Width, len(x))], c.params.Scale, unit)
		kernel.Tick(score, expected, upper, blocks, days, y, c.floors[from:to], &p)
		kernel.Nominal(score, score)
		kernel.Bounds(lower, upper, expected, upper, tails)
		kernel.Calibrate(score, tails, score, &tail)
		kernel.Unscale(expected, expected, c.params.Scale, unit)
		kernel.Unscale(lower, lower, c.params.Scale, unit)
		kernel.Unscale(upper, upper, c.params.Scale, unit)
	}
	c.at = at
}

// turn ends the bucket and the day that the tick before belonged to, if at belongs to another one.
func (c *Columns) turn(at time.Time, step time.Duration) {
	bucket, _ := c.phase(at)
	if !c.at.IsZero() {
		if bucket != c.bucket || at.Sub(c.at) >= c.params.Period {
			p := c.kernelParams(c.at, step)
			p.Bucket = c.bucket
			kernel.Turn(c.blocks, c.days, &p)
		}
		if c.day(at, step) != c.day(c.at, step) {
			kernel.Roll(c.tails)
		}
	}
	c.bucket = bucket
}

// day numbers the stretches over which the highest score is taken: a period, or 512 ticks if that
// is longer.
func (c *Columns) day(at time.Time, step time.Duration) int64 {
	return at.UnixNano() / int64(max(c.params.Period, 512*step))
}

// phase returns the bucket of at and how far into it at is, from 0 to 1.
func (c *Columns) phase(at time.Time) (int, float64) {
	period := int64(c.params.Period)
	into := float64(at.UnixNano()%period) / float64(period) * kernel.Buckets
	bucket := min(int(into), kernel.Buckets-1)
	return bucket, into - float64(bucket)
}

// Ordinary returns the highest score that a calibrated series has in a day.
func Ordinary(period, step time.Duration) float32 {
	return float32(math.Log10(float64(max(period, 512*step)) / float64(step)))
}

// The horizons, in ticks.
var horizons = [...]float64{60, 300, 1440}

func (c *Columns) kernelParams(at time.Time, step time.Duration) kernel.Params {
	steps := 1.0
	if !c.at.IsZero() && at.After(c.at) {
		steps = min(max(1, math.Round(float64(at.Sub(c.at))/float64(step))), 60)
	}
	period := float64(c.params.Period) / float64(step)
	p := kernel.Params{
		GainPlain: gain(300, steps),
		GainDay:   gain(max(period, 300), steps),
		Ripe:      [3]float32{0, 1.0 / 1200, 1.0 / 5760},
		Relative:  float32(c.params.Relative),
		WarmUp:    float32(c.params.WarmUp),
		Period:    float32(period),
	}
	for h, ticks := range horizons {
		p.Gain[h] = gain(ticks, steps)
	}
	bucket, into := c.phase(at)
	p.Bucket, p.Neighbor = bucket, bucket
	if period >= 2*kernel.Buckets { // Else neighbouring buckets may have nothing in them.
		if into < 0.5 {
			p.Neighbor, p.Weight = (bucket+kernel.Buckets-1)%kernel.Buckets, float32(0.5-into)
		} else {
			p.Neighbor, p.Weight = (bucket+1)%kernel.Buckets, float32(into-0.5)
		}
	}
	return p
}

// gain returns how far a level with a memory of so many ticks moves towards a value after steps
// ticks.
func gain(ticks, steps float64) float32 {
	keep := 1 - 1/ticks
	left := 1.0
	for range int(steps) {
		left *= keep
	}
	return float32(1 - left)
}

// Samples returns how many values a slot has had.
func (c *Columns) Samples(slot int) int {
	return int(c.blocks[slot/kernel.Width][kernel.Samples][slot%kernel.Width])
}

// Warm tells whether the slot is scored.
func (c *Columns) Warm(slot int) bool { return c.Samples(slot) >= c.params.WarmUp }

// Seasonal tells whether the daily profile is used for the slot.
func (c *Columns) Seasonal(slot int) bool {
	return c.blocks[slot/kernel.Width][kernel.Season][slot%kernel.Width] == 1
}
