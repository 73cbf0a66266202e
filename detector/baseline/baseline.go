// Package baseline keeps what is normal for the series of one signal: their levels, spreads,
// daily and weekly profiles, envelopes and tails, as columns that kernel ticks. It knows the time:
// which bucket of the day and which hour of the week an instant is in, and how far a gap lets the
// levels forget.
package baseline

import (
	"time"

	"tocsin/detector/kernel"
	"tocsin/detector/kernel/arena"
)

// Params say what kind of series a column holds.
type Params struct {
	Scale  kernel.Scale  // The space in which values are compared.
	Unit   float64       // Of kernel.Root: the seconds in which events are counted.
	Floor  float64       // The least spread, in that space.
	Period time.Duration // Of the season.
	WarmUp int           // Samples before the first score.
}

// Columns is the state of many series of one signal. A slot is a series' place in it. The zero
// value is not ready: use New.
type Columns struct {
	params Params

	blocks  *arena.Column[kernel.Block]
	seasons *arena.Column[kernel.Season]

	at time.Time // Of the newest tick.
}

// New returns columns without slots. They live in pool, or apart if that is nil.
func New(p Params, pool *arena.Pool) *Columns {
	return &Columns{
		params: p,
		blocks: arena.NewColumn[kernel.Block](pool), seasons: arena.NewColumn[kernel.Season](pool),
	}
}

// Free gives the memory of all slots back. There are none then.
func (c *Columns) Free() {
	c.blocks.Free()
	c.seasons.Free()
}

// Params returns what New was given.
func (c *Columns) Params() Params { return c.params }

// At returns the instant of the newest tick; zero if there was none.
func (c *Columns) At() time.Time { return c.at }

// Slots returns how many slots there are: a multiple of kernel.Width.
func (c *Columns) Slots() int { return c.blocks.Len() * kernel.Width }

// Grow adds room until there are at least n slots. The new ones know nothing.
func (c *Columns) Grow(n int) {
	from := c.Slots()
	blocks := (n + kernel.Width - 1) / kernel.Width
	c.blocks.Grow(blocks)
	c.seasons.Grow(blocks)
	for slot := from; slot < c.Slots(); slot++ {
		c.Reset(slot)
	}
}

// Reset makes a slot know nothing.
func (c *Columns) Reset(slot int) {
	i, l := slot/kernel.Width, slot%kernel.Width
	c.blocks.At(i).Reset(l, float32(c.params.Floor))
	c.seasons.At(i).Reset(l)
}

// field returns where a slot keeps field f.
func (c *Columns) field(f, slot int) *float32 {
	return &c.blocks.At(slot / kernel.Width)[f][slot%kernel.Width]
}

// SetFloor sets the least spread of a slot, when that is known better than Params say.
func (c *Columns) SetFloor(slot int, floor float64) {
	*c.field(kernel.Floor, slot) = float32(max(floor, c.params.Floor))
}

// Result holds what one tick says, in blocks. It may be used again for other columns.
type Result struct {
	Score    []kernel.Lanes // How improbable the value is; NaN: no sample, or not warm.
	News     []kernel.Lanes // The same of what the ticks before had not yet said; NaN likewise.
	Expected []kernel.Lanes // In the unit of the signal, as the bounds; NaN likewise.
	Lower    []kernel.Lanes
	Upper    []kernel.Lanes

	y []kernel.Lanes
}

func (r *Result) resize(blocks int) {
	for _, p := range []*[]kernel.Lanes{&r.Score, &r.News, &r.Expected, &r.Lower, &r.Upper, &r.y} {
		if cap(*p) < blocks {
			*p = make([]kernel.Lanes, blocks, blocks+blocks/8)
		}
		*p = (*p)[:blocks]
	}
}

// Tick scores the values x of the instant at, one for each slot, NaN where there is none, and
// learns from them. Step is the distance between instants when nothing is missing. At must be
// later than that of the tick before.
func (c *Columns) Tick(r *Result, x []float64, at time.Time, step time.Duration) {
	r.resize(c.blocks.Len())
	p := c.kernelParams(at, step)
	scale, unit := c.params.Scale, float32(c.params.Unit)
	for i := range c.blocks.Chunks() { // What one kernel wrote is still in the cache for the next.
		blocks := c.blocks.Chunk(i)
		from := i * arena.Chunk
		to := from + len(blocks)
		y := r.y[from:to]
		expected, lower, upper := r.Expected[from:to], r.Lower[from:to], r.Upper[from:to]
		kernel.Rescale(y, x[from*kernel.Width:min(to*kernel.Width, len(x))], scale, unit)
		kernel.Tick(r.News[from:to], r.Score[from:to], expected, lower, upper,
			blocks, c.seasons.Chunk(i), y, &p)
		kernel.Unscale(expected, expected, scale, unit)
		kernel.Unscale(lower, lower, scale, unit)
		kernel.Unscale(upper, upper, scale, unit)
	}
	c.at = at
}

// Samples returns how many values a slot has had.
func (c *Columns) Samples(slot int) int { return int(*c.field(kernel.Samples, slot)) }

// Warm tells whether the slot is scored.
func (c *Columns) Warm(slot int) bool { return c.Samples(slot) > c.params.WarmUp }

// Seasonal tells whether the daily profile makes the errors of a slot clearly smaller.
func (c *Columns) Seasonal(slot int) bool {
	with, without := *c.field(kernel.DayError, slot), *c.field(kernel.NoDayError, slot)
	return with < 0.85*without
}

// Says returns what the newest value of a slot says to its service (see kernel.Corroborate).
func (c *Columns) Says(slot int) float32 { return *c.field(kernel.Says, slot) }
