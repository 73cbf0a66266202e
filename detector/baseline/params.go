package baseline

import (
	"math"
	"time"

	"tocsin/detector/kernel"
)

// The horizons, in ticks.
var (
	levels  = [...]float64{8, 60, 300, 1440}
	spreads = [...]float64{60, 8, 60, 300, 1440} // The first is that of the differences.
	means   = [...]float64{4, 16, 64, 256, 1024}
	noises  = [...]float64{8, 32, 128, 512}
)

// rested is the share of resting evidence that a tick takes away.
const rested = 0.2

// mostSteps bounds how much a gap makes the levels forget.
const mostSteps = 60

// kernelParams returns the constants of a tick at an instant.
func (c *Columns) kernelParams(at time.Time, step time.Duration) kernel.Params {
	steps := 1.0
	if !c.at.IsZero() && at.After(c.at) {
		steps = min(max(1, math.Round(float64(at.Sub(c.at))/float64(step))), mostSteps)
	}
	p := kernel.Params{
		Keep:   1 - gain(rested, steps),
		WarmUp: float32(c.params.WarmUp),
	}
	for i, ticks := range levels {
		p.GainLevel[i] = gain(2/(ticks+1), steps)
	}
	for i, ticks := range spreads {
		p.GainSpread[i] = gain(2/(4*ticks+1), steps)
		p.GainBeyond[i] = gain(0.2*min(16/(ticks+16), 0.5), steps)
	}
	for i, ticks := range means {
		p.GainMean[i] = gain(2/(ticks+1), steps)
	}
	for i, ticks := range noises {
		p.GainNoise[i] = gain(2/(ticks+1), steps)
	}
	c.clock(&p, at, step)
	calibrate(&p, step)
	return p
}

// gain returns how far a mean that moves by a share of each tick moves in so many steps.
func gain(share, steps float64) float32 {
	left := 1.0
	for range int(steps) {
		left *= 1 - share
	}
	return float32(1 - left)
}

// clock says where in its day and its week an instant is.
func (c *Columns) clock(p *kernel.Params, at time.Time, step time.Duration) {
	period := int64(c.params.Period)
	day := max(float64(period)/float64(step), 1) // In ticks.
	buckets := int64(min(day, kernel.Buckets))
	into := mod(at.UnixNano(), period)
	bucket := into * buckets / period
	p.Bucket = int(bucket)
	p.Visits = float32((into - bucket*period/buckets) / int64(step))
	p.Share = float32(1 / float64(buckets))
	p.GainDay = float32(0.15 / max(day/float64(buckets), 1))
	p.GainVerify = float32(1 / (0.3 * day))

	into = mod(at.UnixNano(), 7*period)
	hour := into * kernel.Hours / (7 * period)
	inHour := max(day/24, 1)
	p.Hour = int(hour)
	p.HourVisits = float32((into - hour*7*period/kernel.Hours) / int64(step))
	p.GainHour = float32(0.5 / inHour)
	p.GainWeek = float32(1 / (72 * inHour))
	p.Week = float32(7 * day)
}

// mod returns a mod n, which is not negative.
func mod(a, n int64) int64 { return (a%n + n) % n }

// knots are the log evidence that one in 10, 100, 1,000, 10,000 and 100,000 ticks of normal life
// has, at steps of one minute, five minutes and an hour: measured over many series that have
// nothing in common. Between the steps they are interpolated.
var knots = [...]struct {
	step time.Duration
	at   [5]float64
}{
	{time.Minute, [5]float64{2.9, 3.1, 3.34, 3.6, 4.4}},
	{5 * time.Minute, [5]float64{2.75, 3.8, 4.78, 5.55, 6.2}},
	{time.Hour, [5]float64{2.7, 4.3, 5.15, 5.85, 6.4}},
}

// ownTwo is the longest step at which a day has enough ticks for a series to know its own 1%
// quantile better than all series do.
const ownTwo = 200 * time.Second

// calibrate says how evidence becomes a score at a step. The weight of novelty falls with the ticks
// of a day: an hour's mean outside all that was seen is an event, a minute's value hardly, and a
// second's is noise. That of distance falls alike, from an hour on: at shorter steps a series knows
// its own tails in a day.
func calibrate(p *kernel.Params, step time.Duration) {
	day := float64(24*time.Hour) / float64(step)
	p.Novelty = float32(math.Pow(10, 5-4.5*(math.Log10(day)-2.5)))
	p.Far = float32(min(math.Pow(24/day, 4.5), 1))
	last := len(knots) - 1
	i := 0
	for i < last-1 && step > knots[i+1].step {
		i++
	}
	low, high := knots[i], knots[i+1]
	share := math.Log(float64(step)/float64(low.step)) / math.Log(float64(high.step)/float64(low.step))
	share = min(max(share, 0), 1)
	for k := range p.Knots {
		p.Knots[k] = float32(low.at[k] + share*(high.at[k]-low.at[k]))
	}
	p.OwnTop = p.Knots[1]
	if step <= ownTwo {
		p.OwnTop, p.OwnTwo = p.Knots[2], 1
	}
}
