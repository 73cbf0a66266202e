// Package kernel holds the loops that every value passes: each is elementwise over blocks of 16
// series.
//
// Vectors run across series, never along time, so that there is no reduction to reorder: an
// implementation for a particular processor gives the same bits as the portable one in
// kernel_generic.go, which is the definition of right. A product that is added to is rounded
// first, float32(a*b) + c, so that no compiler fuses the two. NaN means "no sample": the lane's
// state stays as it was and its results are NaN. State decays to zero by way of multiples of
// 1e-31, because subnormals make a processor slow.
package kernel

//go:generate go run ./gen

// Width is the number of series in a block.
const Width = 16

// Lanes is one field of a block: one number for each of its series.
type Lanes [Width]float32

// Block is what the tick knows about the level and the spread of 16 series. All its fields are
// adjacent: one tick is one pass over contiguous memory. The zero Block knows nothing.
type Block [Fields]Lanes

// The fields of a Block.
const (
	Mean0         = iota // Robust level over the shortest horizon, of the values without season.
	Mean1                // Over the middle one.
	Mean2                // Over the longest one.
	Spread0              // Mean absolute deviation from Mean0, outliers clipped.
	Spread1              // From Mean1.
	Spread2              // From Mean2.
	Samples              // How many values there were.
	Hold                 // How many ticks a finding has been open; 0 when there is none.
	Season               // 1 when the daily profile is taken off the values, else 0.
	Plain                // Level of the values as they come: life without season.
	PlainError           // Mean absolute error of Plain.
	Seasonal             // Level of the values without the profile.
	SeasonalError        // Mean absolute error of Seasonal.
	Offset               // Level over one period of the values without the profile: its zero.
	BucketSum            // Sum of value - Offset in the current bucket of the day.
	BucketCount          // How many values are in BucketSum.
	Fields
)

// Buckets is the number of parts into which a day (the period of a season) is divided.
const Buckets = 96

// Day is the daily profile of 16 series: one row for each bucket, then one for what each bucket
// held the day before, NaN where nothing was seen. Reset makes a Day ready for use.
type Day [2 * Buckets]Lanes

// Reset makes the profile of lane l flat and forgets what it saw.
func (d *Day) Reset(l int) {
	for b := range Buckets {
		d[b][l] = 0
		d[Buckets+b][l] = nan
	}
}

// Tail is what the tick knows about the scores that 16 series ordinarily have.
type Tail [TailFields]Lanes

// The fields of a Tail.
const (
	Peak        = iota // The highest nominal score of an ordinary day, over Ordinary.
	PeakBefore         // The same of the day before.
	PeakNow            // The same of today so far.
	Rate1              // Share of normalised scores of at least 1.
	Rate2              // At least 2.
	Rate3              // At least 3.
	Rate4              // At least 4.
	TailSamples        // How many scores there were.
	Run                // For how many ticks the score has been at least 2: an episode.
	Late3              // Scores of at least 3 in the episode, which count when it is over.
	Late4              // At least 4.
	TailFields
)

// Params are the constants of one tick of one column. They are the same for all its series.
type Params struct {
	Gain      [3]float32 // Of the three horizons, for as many steps as have passed.
	GainPlain float32    // Of Plain and Seasonal.
	GainDay   float32    // Of Offset and the two errors: one period.
	Ripe      [3]float32 // One over the samples after which a horizon has its full weight.
	Relative  float32    // The least spread, as a share of the level.
	WarmUp    float32    // Samples before the first score.
	Period    float32    // Ticks in one period of the season.

	Bucket   int     // Part of the day that the instant is in.
	Neighbor int     // The bucket whose centre is next nearest.
	Weight   float32 // Share of the neighbour in the profile at this instant: 0 to 0.5.
}

// Tick scores one instant and then learns from it.
//
//	s     = profile at this instant              steep = |difference of the two rows| / 4
//	r     = y - s, or y where the season is not verified
//	sd[h] = max(1.2533 Spread[h], floor + Relative |Mean[h]|) (1 + 8/n) + steep
//	d     = r - Mean[h]                          z[h] = d / sd[h]
//	Mean[h]   += gain[h] clamp(d, -3 sd[h], 3 sd[h])
//	Spread[h] += gain[h] (min(|d|, 3 sd[h]) - Spread[h])
//	z     = weighted mean of z[h]                center, width: where z is 0, and one unit of it
//
// gain[h] is at least 1/n, so that a young series learns as fast as it can. While a finding is
// open (Hold > 0) the two longer horizons and Offset rest, those horizons judge alone, and the
// shortest one takes the plain mean of the new values.
//
// The results are NaN for a lane with fewer than WarmUp samples. floor is the least spread in the
// unit of y. All slices are as long as blocks.
func Tick(z, center, width []Lanes, blocks []Block, days []Day, y, floor []Lanes, p *Params) {
	n := len(blocks)
	if len(z) != n || len(center) != n || len(width) != n || len(days) != n ||
		len(y) != n || len(floor) != n {
		panic("kernel: column lengths do not match")
	}
	tickAll(best, z, center, width, blocks, days, y, floor, p)
}

// Turn ends the bucket that p is in: the profile takes the median of itself, the bucket's mean of
// the day before and that of today, so that one bad day teaches nothing and two equal days teach
// all. Then it decides for each series whether the profile is used: when it makes errors at least
// 15% smaller, after two periods.
func Turn(blocks []Block, days []Day, p *Params) {
	if len(days) != len(blocks) {
		panic("kernel: column lengths do not match")
	}
	for i := range blocks {
		turn(&blocks[i], &days[i], p)
	}
}

// TailParams are the constants of Calibrate.
type TailParams struct {
	Ordinary float32 // What a calibrated series has as the highest score of a day: log10 of its ticks.
}

// Calibrate turns nominal scores into calibrated ones and then learns from them.
//
//	s     = nominal / Peak
//	score = -log10 of the share of s this high, between the levels 1, 2, 3, 4 that are counted
//
// An episode teaches with its first eight ticks only, and of how high it went it teaches two
// ticks when it is over: an outage must not make the series deaf to itself, nor for long to the
// next one. Score may be the same slice as nominal.
func Calibrate(score []Lanes, tails []Tail, nominal []Lanes, p *TailParams) {
	if len(score) != len(tails) || len(nominal) != len(tails) {
		panic("kernel: column lengths do not match")
	}
	calibrateAll(best, score, tails, nominal, p)
}

// Bounds writes what is ordinary on both sides of center: three times width, or as much more or
// less as the series' own highest score of a day says. It is to be called before Calibrate. Upper
// may be width.
func Bounds(lower, upper, center, width []Lanes, tails []Tail) {
	n := len(tails)
	if len(lower) != n || len(upper) != n || len(center) != n || len(width) != n {
		panic("kernel: column lengths do not match")
	}
	boundsAll(best, lower, upper, center, width, tails)
}

// Roll ends a day of the tails: Peak takes the median of itself, yesterday's highest and today's.
// If that changes it by a quarter, the shares are counted anew.
func Roll(tails []Tail) {
	rollAll(best, tails)
}

// Nominal writes the score of z under a heavy-tailed law that falls as the sixth power:
//
//	dst = 3 log10(1 + (z / 1.531)^2)
//
// It has one in ten at 1.645, as a Gaussian has, 2 at 2.93, and 4.9 at 10. Dst may be z.
func Nominal(dst, z []Lanes) {
	if len(dst) != len(z) {
		panic("kernel: column lengths do not match")
	}
	nominalAll(best, dst, z)
}

// Scale says in which space values are compared: one in which noise does not depend on the level.
type Scale uint8

// The scales, with the inverse that Unscale takes.
const (
	Linear Scale = iota // y = x
	Root                // y = 2 sqrt(unit x + 3/8): a Poisson count has variance 1 (Anscombe, 1948).
	Share               // y = sqrt(x) - sqrt(1 - x): a share of n deviates by 0.5 to 0.7 / sqrt(n).
	Log                 // y = log2(x)
)

// Rescale writes values in scale; unit is that of Root. Dst has room for x in blocks; what is
// left over in the last one is NaN. A value that is infinite or too large for a float32 counts as
// no sample.
func Rescale(dst []Lanes, x []float64, scale Scale, unit float32) {
	if len(dst) != (len(x)+Width-1)/Width {
		panic("kernel: column lengths do not match")
	}
	rescale(dst, x, scale, unit)
}

// Unscale is the inverse of Rescale. Dst may be y.
func Unscale(dst, y []Lanes, scale Scale, unit float32) {
	if len(dst) != len(y) {
		panic("kernel: column lengths do not match")
	}
	unscale(dst, y, scale, unit)
}
