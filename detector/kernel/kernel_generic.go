package kernel

import "math"

const (
	toDeviation = 1.2533141 // Standard deviation of a Gaussian over its mean absolute deviation.
	clip        = 3         // Deviations beyond which a value counts as this many.
	unclipped   = 16        // Samples before anything is clipped: at first all is surprising.
	capped      = 30        // Deviations beyond which an error counts as this many.
	largest     = 1e18      // Largest value: what is made of it must not overflow.
	huge        = 3e38
	tiny        = 1e-24
)

//tocsin:kernel gradual
func tick(z, center, width *Lanes, b *Block, day *Day, y, floor *Lanes, p *Params) {
	near, far := &day[p.Bucket], &day[p.Neighbor]
	for l := range Width {
		v := y[l]
		if v != v {
			z[l], center[l], width[l] = v, v, v
			continue
		}
		n := b[Samples][l]
		slope := far[l] - near[l]
		profile := near[l] + float32(p.Weight*slope)
		r := v - float32(b[Season][l]*profile)
		if n == 0 {
			begin(b, l, v)
		}
		young := 1 / (n + 1)
		wide := 1 + float32(8*young)
		steep := float32(b[Season][l] * float32(0.25*abs(slope)))
		limit := float32(clip)
		if n < unclipped {
			limit = huge
		}
		hold := b[Hold][l]
		free := float32(1) // Weight of the shortest horizon and freedom of the longer ones to learn.
		gain0, limit0 := max(p.Gain[0], young), limit
		if hold > 0 {
			free = 0
			gain0, limit0 = max(p.Gain[0], 1/hold), huge
			b[Hold][l] = hold + 1
		}

		// Each horizon gives its deviation and learns.
		sd0 := deviation(b[Spread0][l], b[Mean0][l], floor[l], wide, steep, p)
		sd1 := deviation(b[Spread1][l], b[Mean1][l], floor[l], wide, steep, p)
		sd2 := deviation(b[Spread2][l], b[Mean2][l], floor[l], wide, steep, p)
		per0 := free / sd0
		per1 := min(1, float32(n*p.Ripe[1])) / sd1
		per2 := min(1, float32(n*p.Ripe[2])) / sd2
		weight := free + min(1, float32(n*p.Ripe[1])) + min(1, float32(n*p.Ripe[2]))
		per := per0 + per1 + per2
		sum := float32(per0*b[Mean0][l]) + float32(per1*b[Mean1][l]) + float32(per2*b[Mean2][l])
		middle := sum / per
		z[l] = float32((r-middle)*per) / weight
		center[l] = middle + (v - r)
		width[l] = weight / per
		if n < p.WarmUp {
			z[l], center[l], width[l] = nan, nan, nan
		}
		learn(&b[Mean0][l], &b[Spread0][l], r, gain0, float32(limit0*sd0))
		learn(&b[Mean1][l], &b[Spread1][l], r, float32(free*max(p.Gain[1], young)), float32(limit*sd1))
		learn(&b[Mean2][l], &b[Spread2][l], r, float32(free*max(p.Gain[2], young)), float32(limit*sd2))
		b[Samples][l] = min(n+1, 1<<24-1)
		season(b, l, v, v-profile, free, float32(limit*sd1), float32(capped*sd1), young, p)
	}
}

// begin gives lane l its first value.
func begin(b *Block, l int, v float32) {
	for f := range b {
		b[f][l] = 0
	}
	b[Mean0][l], b[Mean1][l], b[Mean2][l] = v, v, v
	b[Plain][l], b[Seasonal][l], b[Offset][l] = v, v, v
}

func deviation(spread, mean, floor, wide, steep float32, p *Params) float32 {
	least := floor + float32(p.Relative*abs(mean))
	sd := float32(toDeviation*spread) + tiny
	if sd < least {
		sd = least
	}
	return float32(sd*wide) + steep
}

func learn(mean, spread *float32, r, gain, limit float32) {
	d := r - *mean
	*mean = flush(*mean + float32(gain*clamp(d, limit)))
	*spread = flush(*spread + float32(gain*(min(abs(d), limit)-*spread)))
}

// season follows the values with and without the profile, to learn it and to see whether it
// helps. It goes on while a finding is open: what comes back every day at the same time is known
// by that.
func season(b *Block, l int, v, r, free, limit, most, young float32, p *Params) {
	gain, slow := max(p.GainPlain, young), max(p.GainDay, young)
	d0, d1 := v-b[Plain][l], r-b[Seasonal][l]
	b[Plain][l] = flush(b[Plain][l] + float32(gain*clamp(d0, limit)))
	b[Seasonal][l] = flush(b[Seasonal][l] + float32(gain*clamp(d1, limit)))
	e0, e1 := min(abs(d0), most), min(abs(d1), most)
	b[PlainError][l] = flush(b[PlainError][l] + float32(slow*(e0-b[PlainError][l])))
	b[SeasonalError][l] = flush(b[SeasonalError][l] + float32(slow*(e1-b[SeasonalError][l])))
	b[Offset][l] = flush(b[Offset][l] + float32(float32(free*slow)*clamp(r-b[Offset][l], limit)))
	b[BucketSum][l] = flush(b[BucketSum][l] + (v - b[Offset][l]))
	b[BucketCount][l]++
}

func turn(b *Block, day *Day, p *Params) {
	profile, last := &day[p.Bucket], &day[Buckets+p.Bucket]
	near, far := &day[p.Bucket], &day[p.Neighbor]
	for l := range Width {
		if b[BucketCount][l] > 0 {
			today := b[BucketSum][l] / b[BucketCount][l]
			if last[l] != last[l] {
				profile[l] = today
			} else {
				profile[l] = median(profile[l], last[l], today)
			}
			last[l] = today
			b[BucketSum][l], b[BucketCount][l] = 0, 0
		}
		if b[Hold][l] > 0 || b[Samples][l] < float32(2*p.Period) {
			continue
		}
		now := near[l] + float32(p.Weight*(far[l]-near[l]))
		without, with := b[PlainError][l], b[SeasonalError][l]
		switch {
		case b[Season][l] == 0 && with < float32(0.85*without):
			b[Season][l] = 1
			reseason(b, l, -now, with)
		case b[Season][l] == 1 && with > float32(0.95*without):
			b[Season][l] = 0
			reseason(b, l, now, without)
		}
	}
}

// reseason moves the horizons of lane l to values that differ by shift and have a mean absolute
// error of spread.
func reseason(b *Block, l int, shift, spread float32) {
	mean := b[Mean0][l] + shift
	for _, f := range [...]int{Mean0, Mean1, Mean2} {
		b[f][l] = mean
	}
	for _, f := range [...]int{Spread0, Spread1, Spread2} {
		b[f][l] = spread
	}
}

const (
	prior        = 1000  // Weight of the nominal law against what was counted, in ticks.
	memory       = 50000 // Ticks after which a count fades.
	teaching     = 8     // Ticks of an episode that are counted,
	teachingHigh = 2     // and of those with a score of 3 or more.
	highest      = 30    // The highest score.
)

//tocsin:kernel
func calibrate(score *Lanes, t *Tail, nominal *Lanes, p *TailParams) {
	for l := range Width {
		raw := nominal[l]
		if raw != raw {
			score[l] = raw
			continue
		}
		if t[TailSamples][l] == 0 {
			beginTail(t, l)
		}
		s := raw / t[Peak][l]
		score[l] = clampTo(calibrated(t, l, s), highest)
		if s < 2 {
			settle(t, l)
		} else if t[Run][l] = min(t[Run][l]+1, teaching+1); t[Run][l] > teaching {
			continue
		}
		n := t[TailSamples][l] + 1
		gain := weight(n)
		t[TailSamples][l] = min(n, 1<<24-1)
		t[PeakNow][l] = max(t[PeakNow][l], raw/p.Ordinary)
		t[Rate1][l] = count(t[Rate1][l], step(s, 1), gain, 1e-3)
		t[Rate2][l] = count(t[Rate2][l], step(s, 2), gain, 1e-5)
		t[Rate3][l] = count(t[Rate3][l], 0, gain, 1e-6)
		t[Rate4][l] = count(t[Rate4][l], 0, gain, 1e-7)
		t[Late3][l] = min(t[Late3][l]+step(s, 3), teachingHigh)
		t[Late4][l] = min(t[Late4][l]+step(s, 4), teachingHigh)
	}
}

// settle counts what an episode that is over held back.
func settle(t *Tail, l int) {
	gain := weight(t[TailSamples][l])
	t[Rate3][l] += float32(gain * t[Late3][l])
	t[Rate4][l] += float32(gain * t[Late4][l])
	t[Run][l], t[Late3][l], t[Late4][l] = 0, 0, 0
}

// Hush keeps the episode that lane l is in from teaching anything more.
func (t *Tail) Hush(l int) {
	t[Run][l], t[Late3][l], t[Late4][l] = teaching+1, 0, 0
}

func weight(samples float32) float32 { return max(1/(samples+prior), 1.0/memory) }

func step(s, level float32) float32 {
	if s >= level {
		return 1
	}
	return 0
}

func beginTail(t *Tail, l int) {
	t[Peak][l], t[PeakBefore][l], t[PeakNow][l] = 1, 1, 0
	t[Run][l], t[Late3][l], t[Late4][l] = 0, 0, 0
	beginRates(t, l)
}

func beginRates(t *Tail, l int) {
	t[Rate1][l], t[Rate2][l], t[Rate3][l], t[Rate4][l] = 1e-1, 1e-2, 1e-3, 1e-4
	t[TailSamples][l] = 1
}

func count(rate, hit, gain, least float32) float32 {
	return max(rate+float32(gain*(hit-rate)), least)
}

// calibrated reads the score of s off the shares counted in lane l. Below 0.7 a score says little
// and stays as it is.
func calibrated(t *Tail, l int, s float32) float32 {
	const low = 0.7
	if s < low {
		return s
	}
	at1 := max(low, minusLog10(t[Rate1][l]))
	if s < 1 {
		return low + float32((s-low)*float32((at1-low)/(1-low)))
	}
	at2 := max(at1, minusLog10(t[Rate2][l]))
	if s < 2 {
		return at1 + float32((s-1)*(at2-at1))
	}
	at3 := max(at2, minusLog10(t[Rate3][l]))
	if s < 3 {
		return at2 + float32((s-2)*(at3-at2))
	}
	at4 := max(at3, minusLog10(t[Rate4][l]))
	if s < 4 {
		return at3 + float32((s-3)*(at4-at3))
	}
	return at4 + float32((s-4)*min(max(at4-at3, 0.5), 1))
}

//tocsin:kernel
func bounds(lower, upper, center, width *Lanes, t *Tail) {
	for l := range Width {
		peak := t[Peak][l]
		if peak == 0 {
			peak = 1
		}
		reach := float32(3*width[l]) * peak
		lower[l], upper[l] = center[l]-reach, center[l]+reach
	}
}

//tocsin:kernel
func roll(t *Tail) {
	for l := range Width {
		if t[TailSamples][l] == 0 {
			continue
		}
		peak := max(median(t[Peak][l], t[PeakBefore][l], t[PeakNow][l]), 0.75)
		if peak > float32(1.25*t[Peak][l]) || peak < float32(0.8*t[Peak][l]) {
			beginRates(t, l) // What was counted was relative to another peak.
		}
		t[Peak][l] = peak
		t[PeakBefore][l] = t[PeakNow][l]
		t[PeakNow][l] = 0
	}
}

//tocsin:kernel
func nominal(dst, z *Lanes) {
	for l, v := range z {
		u := min(abs(v), 1e15)
		dst[l] = float32(0.903090 * log2(1+float32(0.4266*float32(u*u))))
		if v != v {
			dst[l] = v
		}
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
				v = clampTo(v, 1)
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

// clampTo bounds x by 0 and most.
func clampTo(x, most float32) float32 { return min(max(x, 0), most) }

// flush rounds to multiples of about 1e-31, without a branch, and leaves numbers above 1e-16 as
// they are: neither it nor its product with a gain is ever subnormal.
func flush(x float32) float32 { return (x + tiny) - tiny }

func median(a, b, c float32) float32 { return max(min(a, b), min(max(a, b), c)) }

// log2 is good to seven digits for normal x > 0, and NaN for NaN: with m in [0.7, 1.4] and t =
// (m-1)/(m+1), log2 m = 2/ln2 (t + t^3/3 + t^5/5 + t^7/7).
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
	t := (m - 1) / (m + 1)
	u := float32(t * t)
	series := 0.5770780 + float32(u*0.4121986)
	series = 0.9617967 + float32(u*series)
	series = 2.8853901 + float32(u*series)
	return float32(e) + float32(t*series)
}

func minusLog10(x float32) float32 { return -float32(0.30103 * log2(x)) }

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
