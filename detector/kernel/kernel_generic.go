package kernel

import "math"

const (
	clip      = 3       // Mean absolute deviations beyond which a value counts as this many.
	ripens    = 30      // Changes after which a series that stood still has learnt how it moves.
	unclipped = 8       // Changes before anything is clipped: at first all is surprising.
	warming   = 100     // Samples until deviation has its full weight.
	proves    = 6       // A single statistic proves no more than 1e-6,
	fineMost  = 20      // and without a least effect, where it only corroborates, no more than 1e-20.
	rests     = -3      // Log evidence of a tick that has no news.
	aging     = 1 / 4e4 // One over the samples after which more history proves no more.
	believed  = 0.03    // Weight of deviation.
	farthest  = 316     // Square of a distance beyond which it proves no more.
	unbounded = 1e30    // What nothing exceeds.
	largest   = 1e18    // Largest value: what is made of it must not overflow.
	tiny      = 1e-24
	toExp     = 1.4426950 // log2 e
	toLog     = 0.6931472 // ln 2
	toExp10   = 3.3219281 // log2 10
	toLog10   = 0.3010300 // log10 2
)

// reading is what the parts of one tick of one lane tell each other.
type reading struct {
	x, n, age    float32 // The value, samples so far, and changes so far.
	fresh, young float32 // One over each.
	dx           float32 // Difference from the last value.
	level        [4]float32
	floor        float32 // The least spread that is believed,
	fine, coarse float32 // and what is added to all, without and with the least effect.

	seen                  bool    // Whether this bucket of the day was seen before,
	seasonal              bool    // and whether the profile predicts better than the level.
	profile, around, week float32 // Rows of Season.
	r                     float32 // The value without its season.
	residual, spread      [Statistics]float32
	dev, fineDev, excess  float32
	distance              float32 // To the fourth power.
	gains                 gains
}

//tocsin:kernel floor
func tick(news, score, center, lower, upper *Lanes, b *Block, s *Season, y *Lanes, p *Params) {
	day, around, hour := &s.Day[p.Bucket], &s.Around[p.Bucket], &s.Week[p.Hour]
	for l := range Width {
		if y[l] != y[l] {
			news[l], score[l], center[l], lower[l], upper[l] = y[l], y[l], y[l], y[l], y[l]
			continue
		}
		var t reading
		t.x, t.profile, t.around, t.week = y[l], day[l], around[l], hour[l]
		begin(&t, b, l)
		deseason(&t, b, l, p)
		expected, reach := predict(&t, b, l)
		deviate(&t, b, l)
		follow(&t, b, l, p)
		day[l], around[l], hour[l] = profiles(&t, b, l, p)
		distance(&t, b, l, p)
		envelope(&t, b, l, p)

		news[l], score[l] = judge(&t, b, l, p)
		center[l], lower[l], upper[l] = expected, expected-reach, expected+reach
		if t.n <= p.WarmUp {
			news[l], score[l], center[l], lower[l], upper[l] = nan, nan, nan, nan, nan
		}
	}
}

// begin counts the value and finds what its deviations are measured by.
func begin(t *reading, b *Block, l int) {
	before := b[Samples][l]
	t.n = min(before+1, 1<<24-1)
	last := pick(before == 0, t.x, b[Last][l])
	t.dx = t.x - last
	t.age = t.n // A series that stands still learns nothing, and learns fast when it moves again.
	changes := b[Changes][l]
	if before == 0 || t.dx != 0 {
		changes = min(changes+1, 1<<24-1)
		t.age = max(changes, min(t.n, ripens))
	}
	b[Samples][l], b[Changes][l] = t.n, changes
	t.fresh, t.young = 1/t.n, 1/t.age
	for h := range t.level {
		t.level[h] = pick(before == 0, t.x, b[Level8+h][l])
	}
	far := abs(t.level[3])
	t.floor = b[Floor][l]
	least := float32(1e-6*far) + 1e-9
	spread := b[Spread1440][l]
	t.fine = float32(0.1*spread) + least
	t.coarse = t.fine
	if before > 0 {
		t.coarse += float32(0.02 * (b[High][l] - b[Low][l]))
	}
	t.gains = gainsOf(t.n)
	t.gains.up = max(1-float32(10*b[Episode][l]), 0.02)
}

// deseason takes off the value what the profiles say, and finds the residuals.
func deseason(t *reading, b *Block, l int, p *Params) {
	far := t.x - t.level[3]
	t.residual = [Statistics]float32{
		t.dx, t.x - t.level[0], t.x - t.level[1], t.x - t.level[2], far, far, far,
	}
	t.spread = [Statistics]float32{
		b[Change][l], b[Spread8][l], b[Spread60][l], b[Spread300][l],
		b[Spread1440][l], b[Spread1440][l], b[Spread1440][l],
	}
	for i := range t.spread {
		t.spread[i] = max(t.spread[i], t.floor)
	}
	t.r = far
	t.seen = t.around > 0
	if !t.seen {
		return
	}
	t.r = t.x - t.profile
	if t.n >= p.Week {
		weekly(t, b, l, p)
	}
	shift := b[Shift][l]
	move(&b[Smooth][l], t.r, 0.3)
	most := float32(10 * (b[Spread1440][l] + t.coarse))
	gain := max(p.GainVerify, t.fresh)
	move(&b[NoDayError][l], min(abs(far), most), gain)
	move(&b[DayError][l], min(abs(t.r-shift), most), gain)
	t.seasonal = b[DayError][l] <= b[NoDayError][l]
	if t.seasonal {
		t.residual[5], t.residual[6] = t.r-shift, b[Smooth][l]-shift
		t.spread[5], t.spread[6] = max(t.around, t.floor), max(t.around, t.floor)
	}
}

// weekly compares life with and without the weekly profile, and after two weeks takes it off the value
// where it makes errors a tenth smaller.
func weekly(t *reading, b *Block, l int, p *Params) {
	most := float32(10 * (b[Spread1440][l] + t.coarse))
	d0, d1 := t.r-b[Plain][l], t.r-t.week-b[Weekly][l]
	move(&b[PlainError][l], min(abs(d0), most), p.GainWeek)
	move(&b[WeeklyError][l], min(abs(d1), most), p.GainWeek)
	b[Plain][l] = flush(b[Plain][l] + float32(p.GainWeek*clamp(d0, most)))
	b[Weekly][l] = flush(b[Weekly][l] + float32(p.GainWeek*clamp(d1, most)))
	used, use := b[UseWeek][l], float32(0)
	if t.n >= float32(2*p.Week) && b[WeeklyError][l] < float32(0.9*b[PlainError][l]) {
		use = 1
	}
	b[Shift][l] = flush(b[Shift][l] + float32((used-use)*t.week))
	b[UseWeek][l] = use
	t.r -= float32(use * t.week)
}

// deviate ranks the residuals, and then their mean evidence.
func deviate(t *reading, b *Block, l int) {
	var sum, fine float32
	for i := range t.residual {
		off := abs(t.residual[i])
		f, g := Tails+3*i, FineTails+3*i
		coarse := ln(off/(t.spread[i]+t.coarse) + 1e-6)
		sum += inverse(min(deviationLaw.rank(b[f][l], b[f+1][l], b[f+2][l], coarse), proves))
		learn(&b[f][l], &b[f+1][l], &b[f+2][l], t.gains, coarse)
		least := ln(off/(t.spread[i]+t.fine) + 1e-6)
		fine += inverse(min(deviationLaw.rank(b[g][l], b[g+1][l], b[g+2][l], least), fineMost))
		learn(&b[g][l], &b[g+1][l], &b[g+2][l], t.gains, least)
	}
	ripe := min(float32(t.n*(1.0/warming)), 1)
	mean := float32(log10(sum*(1.0/Statistics)) * ripe)
	t.dev = fusedLaw.rank(b[Fused][l], b[Fused+1][l], b[Fused+2][l], mean)
	learn(&b[Fused][l], &b[Fused+1][l], &b[Fused+2][l], t.gains, mean)
	far := float32(0)
	if mean > 2 {
		far = 1
	}
	move(&b[Episode][l], far, 1.0/120)
	mean = float32(log10(fine*(1.0/Statistics)) * ripe)
	t.fineDev = fusedLaw.rank(b[FineFused][l], b[FineFused+1][l], b[FineFused+2][l], mean)
	learn(&b[FineFused][l], &b[FineFused+1][l], &b[FineFused+2][l], t.gains, mean)
}

// predict returns what is expected and how far from it one in a thousand ticks is, by the season if
// that is the better guess, or else by the level over 60 ticks.
func predict(t *reading, b *Block, l int) (float32, float32) {
	expected := t.level[1]
	reach := float32(exp(between(b[FineTails+3*2+2][l], 0.7, 2.5)) * (t.spread[2] + t.fine))
	if t.seasonal && t.around < t.spread[2] && b[DayError][l] < float32(0.85*b[NoDayError][l]) {
		expected = t.x - t.residual[5]
		reach = float32(exp(between(b[FineTails+3*5+2][l], 0.7, 2.5)) * (max(t.around, t.floor) + t.fine))
	}
	return expected, reach
}

// move moves a mean towards v.
func move(mean *float32, v, gain float32) { *mean = flush(*mean + float32(gain*(v-*mean))) }

// law is what all series of a kind share about the tail of a statistic: the 10%, 1% and 0.1%
// quantiles that a young series has, and those that no series is believed to stay below: without
// them a quiet series alarms as often as a loud one. Narrow and wide bound the width of the tail
// above the last quantile.
type law struct {
	start, least [3]float32
	narrow, wide float32
}

var (
	// 2, 3.5 and 6 mean absolute deviations: heavier than Gaussian (2.1, 3.2, 4.1) from the start.
	deviationLaw = law{
		[3]float32{0.6931472, 1.2527630, 1.7917595}, [3]float32{1.3862944, 1.9459101, 2.4849066}, 0.15, 1,
	}
	fusedLaw = law{[3]float32{1.3, 2.3, 3.3}, [3]float32{1.3, 2.3, 3.3}, 1, 1}
)

// begin gives three fields of a lane the quantiles of a young series.
func (w law) begin(fields []Lanes, l int) {
	for i, q := range w.start {
		fields[i][l] = q
	}
}

// rank returns -log10 of the share of ticks in which a statistic is as high as v: read off its three
// quantiles, and above the last one by an exponential tail (peaks over threshold with shape 0, as
// SPOT does: Siffer and others, KDD 2017). Below 1 it falls off without reaching 0, to keep the
// order.
func (w law) rank(q1, q2, q3, v float32) float32 {
	q1, q2, q3 = max(q1, w.least[0]), max(q2, w.least[1]), max(q3, w.least[2])
	at, from, width := float32(1), q1, max(q2-q1, 0.02)
	above := max(q3-q2, 0.02)
	if v > q2 {
		at, from, width = 2, q2, above
	}
	if v > q3 {
		at, from, width = 3, q3, between(above, w.narrow, w.wide)
	}
	s := at + (v-from)/width
	return pick(s < 1, pow2(max(float32(toExp*(s-1)), -120)), s)
}

// gains are how fast the 10%, 1% and 0.1% quantiles of a tail move, and the share of that by which the
// latter two may rise: hardly during an episode, or else an outage makes a series deaf to the next.
type gains struct{ first, second, third, up float32 }

func gainsOf(samples float32) gains {
	n := min(samples, 20000) + 50
	return gains{
		1 / (float32(n*0.1) + 1), 1 / (float32(n*0.01) + 1), 1 / (float32(n*0.001) + 6), 1,
	}
}

// learn moves the quantiles towards v by stochastic approximation (Robbins and Monro, 1951; for
// quantiles Tierney, 1983). The step is the spread of the tail over n p, because an exponential tail
// has density p / spread at its quantile p: no bandwidth is needed.
func learn(q1, q2, q3 *float32, g gains, v float32) {
	low, high := between(*q2-*q1, 0.1, 1), between(*q3-*q2, 0.1, 1)
	*q1 = climb(*q1, v, float32(low*g.first), 0.9, 0.1)
	*q2 = max(climb(*q2, v, min(float32(low*g.second), 0.5), float32(g.up*0.99), 0.01), *q1)
	*q3 = max(climb(*q3, v, float32(high*g.third), float32(g.up*0.999), 0.001), *q2)
}

// climb moves q by gain times rise if v is above it, and otherwise down by gain times fall.
func climb(q, v, gain, rise, fall float32) float32 {
	return q + float32(gain*pick(v > q, rise, -fall))
}

func step(q, v, gain, p float32) float32 { return climb(q, v, gain, 1-p, p) }

// follow moves the levels and the spreads.
func follow(t *reading, b *Block, l int, p *Params) {
	limit := limitOf(t, b, l, 0, t.dx, p)
	spread(t, b, l, 0, t.dx, limit, p)
	for h := range t.level {
		r := t.x - t.level[h]
		limit = limitOf(t, b, l, h+1, r, p)
		b[Level8+h][l] = flush(t.level[h] + float32(max(p.GainLevel[h], t.young)*clamp(r, limit)))
		spread(t, b, l, h+1, r, limit, p)
	}
}

// limitOf returns beyond what a residual r of a level counts as that much (Huber, 1964). When most
// late ones are beyond, it is no outlier but a shift, and the limit opens.
func limitOf(t *reading, b *Block, l, h int, r float32, p *Params) float32 {
	limit := float32(clip * (max(b[Change+h][l], t.floor) + t.coarse))
	out := float32(0)
	if t.age < unclipped {
		limit = unbounded
	}
	if abs(r) > limit {
		out = 1
	}
	move(&b[Beyond+h][l], out, p.GainBeyond[h])
	share := float32(b[Beyond+h][l] * b[Beyond+h][l])
	return float32(limit * (1 + float32(100*float32(share*share))))
}

func spread(t *reading, b *Block, l, h int, r, limit float32, p *Params) {
	move(&b[Change+h][l], min(abs(r), float32(1.5*limit)), max(p.GainSpread[h], t.young))
}

// profiles learns the seasons, and returns what belongs into the rows of Season at hand.
func profiles(t *reading, b *Block, l int, p *Params) (float32, float32, float32) {
	if !t.seen {
		return t.x, max(b[Spread300][l], 1e-12), t.week
	}
	limit := float32(clip*max(t.around, t.floor)) + t.fine
	gain := max(1/(max(p.Visits, float32(t.n*p.Share))+1), p.GainDay)
	r := clamp(t.r, limit)
	off := t.r - b[Shift][l]
	day := flush(t.profile + float32(gain*r))
	around := t.around + float32(gain*(min(abs(off), float32(4.5*t.around)+t.fine)-t.around))
	b[Shift][l] = flush(b[Shift][l] + float32(0.02*(r-b[Shift][l])))

	gain = p.GainHour
	if t.n < p.Week {
		gain = 1 / (p.HourVisits + 1)
	}
	hour := flush(t.week + float32(gain*clamp(t.x-t.profile-t.week, limit)))
	return day, max(around, 1e-12), hour
}

// distance measures how many standard deviations from its mean the value is. A series that stood
// still does not know its own.
func distance(t *reading, b *Block, l int, p *Params) {
	off := t.x - pick(t.n == 1, t.x, b[Mean256][l])
	square := float32(off * off)
	far := min(square/(b[Square256][l]+float32(t.coarse*t.coarse)), farthest)
	t.distance = pick(t.age > ripens, float32(far*far), 0)
	move(&b[Square256][l], square, max(p.GainMean[3], t.fresh))
}

// envelope sums up by how much the features leave what the series has shown.
func envelope(t *reading, b *Block, l int, p *Params) {
	f := features(t, b, l, p)
	for i, v := range f {
		high, low := b[High+i][l], b[Low+i][l]
		wide := high - low + t.fine + t.floor
		out := min(max(v-high, low-v, 0), wide)
		t.excess += rarely(out, out+float32(0.1*wide))
		if t.n > 5 || i == 0 {
			b[High+i][l], b[Low+i][l] = max(high, v), min(low, v)
		}
	}
	t.excess = pick(t.n > 10, t.excess, 0) // Before that all is a record.
}

// features moves the plain means and returns the features.
func features(t *reading, b *Block, l int, p *Params) [Features]float32 {
	var f [Features]float32
	x := t.x
	off := abs(x - pick(t.n == 1, x, b[Mean16][l]))
	f[0], f[1], f[2] = x, t.dx, x-pick(t.n <= 3, x, b[Last3][l])
	for i := range 5 {
		before := pick(t.n == 1, x, b[Mean4+i][l])
		after := flush(before + float32(max(p.GainMean[i], t.fresh)*(x-before)))
		b[Mean4+i][l] = after
		if i < 4 {
			f[3+i], f[7+i] = x-before, after
		}
		if i > 0 {
			f[10+i] = b[Mean4+i-1][l] - after
		}
	}
	for i := range 4 {
		move(&b[Noise8+i][l], off, max(p.GainNoise[i], t.fresh))
		f[15+i] = ln(b[Noise8+i][l] + t.fine + t.floor)
	}
	f[19], f[20], f[21] = t.r, b[Smooth][l], b[Shift][l]
	f[22], f[23] = f[15]-f[17], f[16]-f[18]
	b[Last3][l], b[Last2][l], b[Last][l] = b[Last2][l], b[Last][l], x
	return f
}

// judge adds up the evidence and turns it into scores: of what is news, and of all there is.
func judge(t *reading, b *Block, l int, p *Params) (float32, float32) {
	weight := between(float32(p.Novelty*t.fresh), 1e-4, 100)
	old := t.n / (1 + float32(t.n*aging))
	e := float32(believed * exp10(t.dev))
	e += float32(weight * t.excess)
	e = float32(old * (e + float32(p.Far*t.distance)))
	all := log10(e + 1e-3)
	news := pick(e > b[Resting][l], all, rests)
	b[Resting][l] = flush(max(float32(p.Keep*b[Resting][l]), e))

	says := float32((float32(2*t.fineDev) + all - 2) * (1.0 / 3))
	b[Says][l] = min(says, 1+float32(0.5*says))

	base := log10(float32(believed * old)) // Evidence of a tick in which nothing is the matter.
	own1, own2 := pick(t.n == 1, 0.3, b[Own1][l]), pick(t.n == 1, 0.34, b[Own2][l])
	said := calibrate(news, base+own1, base+own2, p)
	score := calibrate(all, base+own1, base+own2, p)
	seen := min(t.n, 20000) + 1000
	wide := between(own2-own1, 0.05, 0.5)
	own1 = step(own1, news-base, 0.3/(float32(seen*0.1)+1), 0.1)
	own2 = step(own2, news-base, wide/(float32(seen*0.01)+1), 0.01)
	b[Own1][l], b[Own2][l] = own1, max(own1, own2)
	return said, score
}

// calibrate returns the score of log evidence u: 1 and 2 where the series' own quantiles are, which
// says nothing about other series, and 3 and more where all series have theirs.
func calibrate(u, own1, own2 float32, p *Params) float32 {
	k1 := min(own1, p.OwnTop-0.04)
	k2 := pick(p.OwnTwo > 0, max(min(own2, p.OwnTop-0.02), k1+0.01), p.Knots[1])
	at, from, wide := float32(1), k1, k2-k1
	if u > k2 {
		at, from, wide = 2, k2, p.Knots[2]-k2
	}
	if u > p.Knots[2] {
		at, from, wide = 3, p.Knots[2], p.Knots[3]-p.Knots[2]
	}
	if u > p.Knots[3] {
		at, from, wide = 4, p.Knots[3], p.Knots[4]-p.Knots[3]
	}
	s := at + (u-from)/wide
	if s < 1 {
		s = exp(2 * (u - k1))
	}
	return s
}

//tocsin:kernel
func corroborate(score *Lanes, group *Group, said, ordinary *Lanes, p *GroupParams) {
	for l := range Width {
		v, norm := said[l], ordinary[l]
		if v != v {
			score[l] = v
			continue
		}
		own := pick(group[GroupSamples][l] == 0, norm, group[GroupOrdinary][l])
		n := min(group[GroupSamples][l]+1, 1<<24-1)
		group[GroupSamples][l] = n
		news := pick(v > group[GroupResting][l], v, 0)
		group[GroupResting][l] = flush(max(float32(p.Keep*group[GroupResting][l]), v))
		grown := root(min(float32(n*p.Day), 1))
		full := float32(float32(2.4*grown)*v) / max(own, norm)
		high := group[GroupHighest][l]
		group[GroupHighest][l] = flush(max(float32(p.Fade*high), full))
		score[l] = pick(news > 0, max(full-float32(0.25*high), float32(0.6*full)), 0)
		gain := min(0.3/(float32(min(n, 20000)*0.1)+1), 0.1)
		group[GroupOrdinary][l] = step(own, news, gain, 0.1)
	}
}

func rescale(dst []Lanes, x []float64, scale Scale, unit float32) {
	for i := range dst {
		row := x[i*Width:]
		for l := range Width {
			v := nan
			if l < len(row) && math.Abs(row[l]) < math.MaxFloat32 {
				v = clamp(float32(row[l]), largest)
			}
			switch scale {
			case Root:
				v = 2 * root(float32(unit*max(v, 0))+0.375)
			case Share:
				v = between(v, 0, 1)
				v = root(v) - root(1-v)
			case Log:
				v = log2(max(v, 1e-9))
			}
			dst[i][l] = flush(v)
		}
	}
}

func unscale(dst, y []Lanes, scale Scale, unit float32) {
	for i := range y {
		for l, v := range y[i] {
			switch scale {
			case Root:
				v = max(float32(0.25*float32(max(v, 0)*max(v, 0)))-0.375, 0) / unit
			case Share:
				v = clamp(v, 1)
				v = float32(0.5 * (1 + float32(v*root(2-float32(v*v)))))
			case Log:
				v = exp2(v)
			}
			dst[i][l] = flush(v)
		}
	}
}

var nan = float32(math.NaN())

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// rarely returns a / b, where a is hardly ever anything but 0: the kernels jump over the division.
func rarely(a, b float32) float32 {
	if a == 0 {
		return 0
	}
	return a / b
}

func pick(yes bool, a, b float32) float32 {
	if yes {
		return a
	}
	return b
}

func ln(x float32) float32    { return float32(toLog * lg2(x)) }
func log10(x float32) float32 { return float32(toLog10 * lg2(x)) }
func exp(x float32) float32   { return ex2(float32(toExp * x)) }
func exp10(x float32) float32 { return ex2(float32(toExp10 * x)) }

// inverse returns 1/p of -log10 p, which is from 0 to 30.
func inverse(x float32) float32 { return pow2(float32(toExp10 * x)) }

func root(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// clamp bounds x by limit on both sides. Branches, because they are foreseen nearly always.
func clamp(x, limit float32) float32 {
	if x > limit {
		return limit
	}
	if x < -limit {
		return -limit
	}
	return x
}

// between bounds x by least and most.
func between(x, least, most float32) float32 { return min(max(x, least), most) }

// flush rounds to multiples of about 1e-31, without a branch, and leaves numbers above 1e-16 as
// they are: neither it nor its product with a gain is ever subnormal.
func flush(x float32) float32 { return (x + tiny) - tiny }

// lg2 is the logarithm to base 2 of normal x > 0, good to 2e-6: a polynomial in m - 1, with m in
// [0.7, 1.4]. What is ranked needs no more, and a tick takes twenty of them.
func lg2(x float32) float32 {
	const lowest = 0x3f3504f3 // The bits of sqrt(1/2).
	bits := math.Float32bits(x)
	e := int32(bits-lowest) >> 23
	m := math.Float32frombits(bits-uint32(e)<<23) - 1
	series := 0.32215454 - float32(m*0.20659073)
	series = -0.36749013 + float32(m*series)
	series = 0.47934804 + float32(m*series)
	series = -0.72113185 + float32(m*series)
	series = 1.4427135 + float32(m*series)
	return float32(e) + float32(m*series)
}

// ex2 is pow2, bounded by 2^-120 and 2^120.
func ex2(x float32) float32 { return pow2(between(x, -120, 120)) }

// pow2 is 2 to the power of x, good to five digits, for x from -120 to 120. Adding magic rounds to an
// integer, which then stands in the lowest bits.
func pow2(x float32) float32 {
	const magic = 3 << 22
	whole := x + magic
	f := x - (whole - magic)
	series := 0.05591786 + float32(f*0.0095700989)
	series = 0.24024745 + float32(f*series)
	series = 0.69312182 + float32(f*series)
	series = 1 + float32(f*series)
	return math.Float32frombits(math.Float32bits(series) + math.Float32bits(whole)<<23)
}

// log2 is good to seven digits for normal x > 0, and NaN for NaN: a polynomial in m - 1, with m in
// [0.7, 1.4].
func log2(x float32) float32 {
	if x != x {
		return x
	}
	bits := math.Float32bits(x)
	e := int32(bits>>23) - 127
	m := math.Float32frombits(bits&(1<<23-1) | 127<<23)
	if m > math.Sqrt2 {
		m = float32(m * 0.5)
		e++
	}
	m--
	series := 0.23265258 - float32(m*0.14275973)
	series = -0.24927182 + float32(m*series)
	series = 0.28728888 + float32(m*series)
	series = -0.36022518 + float32(m*series)
	series = 0.48091671 + float32(m*series)
	series = -0.72135293 + float32(m*series)
	series = 1.442695 + float32(m*series)
	return float32(e) + float32(m*series)
}

// exp2 is good to six digits; it is bounded by 2^-120 and 2^120, and NaN for NaN.
func exp2(x float32) float32 {
	if x != x {
		return x
	}
	x = clamp(x, 120)
	whole := int32(x+1024.5) - 1024
	f := x - float32(whole)
	series := 0.0096181 + float32(f*0.0013333)
	series = 0.0555041 + float32(f*series)
	series = 0.2402265 + float32(f*series)
	series = 0.6931472 + float32(f*series)
	series = 1 + float32(f*series)
	return float32(series * math.Float32frombits(uint32(whole+127)<<23))
}
