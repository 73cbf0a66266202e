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

// Block is what the tick knows about 16 series, but for their seasons. All its fields are
// adjacent: one tick is one pass over contiguous memory. Reset makes a Block ready for use.
type Block [Fields]Lanes

// The fields of a Block, in the order in which a tick needs them.
const (
	Floor       = iota                 // The least spread that is believed, in the unit of the values.
	Samples                            // How many values there were.
	Changes                            // How many of them differed from the one before.
	Last                               // The newest value.
	Last2                              // The one before.
	Last3                              // The one before that.
	Level8                             // Robust level over 8 ticks,
	Level60                            // 60,
	Level300                           // 300,
	Level1440                          // and 1440.
	Change                             // Mean absolute difference between neighbours.
	Spread8                            // Mean absolute deviation from Level8, outliers clipped.
	Spread60                           // From Level60.
	Spread300                          // From Level300.
	Spread1440                         // From Level1440.
	Beyond                             // Share of late differences beyond the clip;
	Beyond8                            // of late deviations from Level8: a shift, where a spike is only one.
	Beyond60                           // From Level60.
	Beyond300                          // From Level300.
	Beyond1440                         // From Level1440.
	Shift                              // Level of the values without their season.
	Smooth                             // Mean of the values without their season over six ticks.
	Plain                              // Level of the values without the daily profile only,
	PlainError                         // and its mean absolute error.
	Weekly                             // Level of the values without daily and weekly profile,
	WeeklyError                        // and its mean absolute error.
	UseWeek                            // 1 when the weekly profile is taken off the values, else 0.
	Episode                            // Share of late ticks that were far out: not what normal is learnt from.
	DayError                           // Mean absolute error of the daily profile,
	NoDayError                         // and of Level1440, which does without.
	Tails                              // Of the Statistics: three quantiles of the log of each.
	Fused       = Tails + 3*Statistics // Of their mean evidence.
	FineTails   = Fused + 3            // As Tails, of deviations without a least effect.
	FineFused   = FineTails + 3*Statistics
	Mean4       = FineFused + 3   // Plain mean over 4 ticks,
	Mean16      = Mean4 + 1       // 16,
	Mean64      = Mean4 + 2       // 64,
	Mean256     = Mean4 + 3       // 256,
	Mean1024    = Mean4 + 4       // and 1024.
	Square256   = Mean4 + 5       // Mean square distance from Mean256 over 256 ticks, nothing clipped.
	Noise8      = Mean4 + 6       // Mean absolute distance from Mean16 over 8 ticks,
	Noise32     = Noise8 + 1      // 32,
	Noise128    = Noise8 + 2      // 128,
	Noise512    = Noise8 + 3      // and 512.
	High        = Noise8 + 4      // The highest of each of the Features,
	Low         = High + Features // and the lowest.
	Resting     = Low + Features  // Evidence that newer evidence must exceed to be news.
	Own1        = Resting + 1     // The series' own 10% and
	Own2        = Resting + 2     // 1% quantile of log evidence, less that of deviation 0.
	Says        = Resting + 3     // What the newest value says to the service: deviation without least effect, and evidence.
	Fields      = Resting + 4
)

const (
	// Statistics is how many deviations are followed: from the last value, from the four levels,
	// from the season at once and over six ticks.
	Statistics = 7
	// Features is how many quantities have an envelope.
	Features = 24
)

// Buckets is the largest number of parts into which a day (the period of a season) is divided, and
// Hours the number of parts of a week (seven periods).
const (
	Buckets = 96
	Hours   = 168
)

// Season is the seasonal profiles of 16 series. Reset makes it ready for use.
type Season struct {
	Day    [Buckets]Lanes // What each bucket of the day holds.
	Around [Buckets]Lanes // Mean absolute deviation from that; 0 where nothing was seen.
	Week   [Hours]Lanes   // What each hour of the week adds.
}

// Reset makes lane l know nothing, with a least spread of floor.
func (b *Block) Reset(l int, floor float32) {
	for f := range b {
		b[f][l] = 0
	}
	b[Floor][l] = floor
	for i := range Statistics {
		deviationLaw.begin(b[Tails+3*i:], l)
		deviationLaw.begin(b[FineTails+3*i:], l)
	}
	fusedLaw.begin(b[Fused:], l)
	fusedLaw.begin(b[FineFused:], l)
	for i := range Features {
		b[High+i][l], b[Low+i][l] = -unbounded, unbounded
	}
}

// Rows returns all that s holds.
func (s *Season) Rows() [3][]Lanes { return [...][]Lanes{s.Day[:], s.Around[:], s.Week[:]} }

// Reset makes lane l know nothing.
func (s *Season) Reset(l int) {
	for _, rows := range s.Rows() {
		for i := range rows {
			rows[i][l] = 0
		}
	}
}

// Params are the constants of one tick of one column. They are the same for all its series. Gains
// are for as many steps as have passed.
type Params struct {
	GainLevel  [4]float32 // Of the four levels.
	GainSpread [5]float32 // Of Change and the four spreads.
	GainBeyond [5]float32 // Of the shares beyond the clip.
	GainMean   [5]float32 // Of Mean4 to Mean1024.
	GainNoise  [4]float32 // Of Noise8 to Noise512.
	Keep       float32    // What is left of resting evidence.

	GainDay    float32 // Of the daily profile: a share of one day.
	Visits     float32 // Ticks in this bucket of the day so far.
	Share      float32 // Of the samples that a bucket of the day has.
	GainVerify float32 // Of the two errors that say whether the daily profile is used.
	Week       float32 // Ticks in a week.
	GainHour   float32 // Of the weekly profile: a share of one week.
	HourVisits float32 // Ticks in this hour of the week so far.
	GainWeek   float32 // Of the two errors that say whether the weekly profile is used.

	Novelty float32    // Weight of novelty against deviation, times samples.
	Far     float32    // Weight of distance.
	Knots   [5]float32 // The log evidence that has scores 1 to 5.
	OwnTop  float32    // Below this log evidence the series' own quantiles say what it scores.
	OwnTwo  float32    // 1: both of them do; 0: only the first.
	WarmUp  float32    // Samples before the first score.

	Bucket int // Of the day,
	Hour   int // and of the week: which rows of Season are at hand.
}

// Tick scores one instant of each series and learns from it.
//
// Deviation: each of seven residuals is divided by its own spread, floored by the least effect (a
// tenth of the spread over 1440 ticks, 2% of the range seen, the signal's own floor), and the log
// of the quotient is ranked in the series' own tail (see rank). The mean of the seven 1/p is
// ranked once more: the harmonic mean p-value (Wilson, PNAS 2019), which holds under dependence.
//
// Novelty: 24 features (value, differences, distances from means, log noise, residuals of the
// season) are compared with the envelope of all that the series has shown. A record has
// probability 1/n by exchangeability (Vovk, Gammerman and Shafer, 2005); how far it lies outside, as
// a share of the range, says how much of it counts.
//
// Distance: z is how many standard deviations the value is away from the mean over 256 ticks, both
// plain, so that what comes back again and again is ordinary. No law of life puts more than k / z^4
// beyond z, where k is its kurtosis (Markov's inequality for the fourth power): that is what can be
// said of an hourly series, which in a month has too few values to know its own tails.
//
// All three are evidence in units of 1/p and add up:
//
//	E = n / (1 + n/40000) (0.03 10^deviation + w novelty + Far z^4)
//
// with w = Novelty / n: deviation is believed as its tails are learnt, novelty from the beginning.
// Evidence rests after an alarm: only what exceeds what is left of it is news. Last, log10 E
// becomes a score, -log10 of the share of ticks that have as much (see Params.Knots).
//
// Score is that of all evidence of this instant, news of what exceeds the resting; both are NaN for
// a lane with up to WarmUp samples, as are center, lower and upper: what is expected
// and, on both sides of it, what one in a thousand ticks exceeds. All slices are as long as blocks.
func Tick(news, score, center, lower, upper []Lanes, blocks []Block, seasons []Season,
	y []Lanes, p *Params,
) {
	n := len(blocks)
	if len(news) != n || len(score) != n || len(center) != n || len(lower) != n ||
		len(upper) != n || len(seasons) != n || len(y) != n {
		panic("kernel: column lengths do not match")
	}
	tickAll(best, news, score, center, lower, upper, blocks, seasons, y, p)
}

// Group is what is known about the signals of 16 services together. The zero Group knows nothing.
type Group [GroupFields]Lanes

// The fields of a Group.
const (
	GroupSamples  = iota // How many scores there were.
	GroupOrdinary        // The service's own 10% quantile of what its signals say.
	GroupResting         // What they must exceed to be news.
	GroupHighest         // The highest that they scored of late, before this was taken off.
	GroupFields
)

// GroupParams are the constants of Corroborate.
type GroupParams struct {
	Keep float32 // What is left of a resting statement,
	Fade float32 // and of the highest score.
	Day  float32 // Share of a day that a tick is.
}

// Corroborate scores services by what their signals say together (see Says): said is the mean of the
// four that say most, NaN where a service has no sample; ordinary is the mean of the four highest of
// as many independent signals. What exceeds the larger of that and the service's own ordinary is the
// score, so that one wild signal of forty says little. A quarter of the highest score of late is taken
// off, four tenths at most: what a service has said before is in part ordinary for it. For its
// first day a service scores less: what begins with it, like the first run of a job, moves many of
// its signals at once, and nothing tells that from an incident. All slices are of one length.
func Corroborate(score []Lanes, groups []Group, said, ordinary []Lanes, p *GroupParams) {
	n := len(groups)
	if len(score) != n || len(said) != n || len(ordinary) != n {
		panic("kernel: column lengths do not match")
	}
	corroborateAll(best, score, groups, said, ordinary, p)
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
