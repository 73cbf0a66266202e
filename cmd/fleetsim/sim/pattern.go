package sim

import (
	"math"
	"time"
)

const day = 24 * time.Hour

// pattern is how the calendar moves the traffic of a service. Its mean over an ordinary week is
// about 1.
type pattern struct {
	daily    float64 // Amplitude of the day.
	second   float64 // Amplitude of the half-day: lunch and evening.
	peak     float64 // Hour of the most traffic.
	weekend  float64 // Factor on Saturday and Sunday.
	weekdays float64 // Factor on the others, so that the mean stays 1.
}

func drawPattern(r *stream, zone float64) pattern {
	p := pattern{
		daily:   0.15 + 0.5*r.uniform(),
		second:  0.12 * r.uniform(),
		peak:    14 + 2*r.normal() - zone,
		weekend: 0.45 + 0.6*r.uniform(),
	}
	p.weekdays = (7 - 2*p.weekend) / 5
	return p
}

// at returns the factor at that time of the simulated calendar.
func (p *pattern) at(sinceMidnightMonday time.Duration) float64 {
	turn := 2 * math.Pi * (sinceMidnightMonday.Hours() - p.peak) / 24
	week := 1 + p.daily*math.Cos(turn) + p.second*math.Cos(2*turn)
	return max(0.03, week*p.weekFactor(sinceMidnightMonday))
}

// weekFactor goes from weekdays to the weekend and back within an hour around midnight.
func (p *pattern) weekFactor(t time.Duration) float64 {
	const turnover = time.Hour
	into := func(at time.Duration) float64 {
		return min(1, max(0, float64(t-at)/float64(turnover)))
	}
	weekend := into(5*day) - into(7*day-turnover)
	return p.weekdays + weekend*(p.weekend-p.weekdays)
}

// job is work that a service does once a day, harmless and expected.
type job struct {
	from, length time.Duration // Since midnight.
	cpu          float64       // Factor while it runs.
	requests     float64       // Factor while it runs.
}

func drawJob(r *stream) *job {
	return &job{
		from:     time.Duration(r.uniform() * float64(22*time.Hour)).Truncate(15 * time.Minute),
		length:   10*time.Minute + time.Duration(r.uniform()*float64(30*time.Minute)),
		cpu:      1.5 + r.uniform(),
		requests: 1 + 0.6*r.uniform(),
	}
}

func (j *job) running(sinceMidnightMonday time.Duration) bool {
	if j == nil {
		return false
	}
	t := sinceMidnightMonday%day - j.from
	return t >= 0 && t < j.length
}

// weekTime returns how long after Monday's midnight (UTC) t is.
func weekTime(t time.Time) time.Duration {
	t = t.UTC()
	days := (int(t.Weekday()) + 6) % 7
	y, m, d := t.Date()
	return time.Duration(days)*day + t.Sub(time.Date(y, m, d, 0, 0, 0, 0, time.UTC))
}

// spike returns the factor of sporadic harmless spikes of traffic at a second of real time: perDay
// of them come on an average day of real time, each of one to three minutes.
func spike(key uint64, seconds, perDay float64) float64 {
	if perDay <= 0 {
		return 1
	}
	const slot = 600.0 // Seconds; at most one spike in each.
	cell := math.Floor(seconds / slot)
	r := stream{subkey(key, uint64(int64(cell)))}
	if r.uniform() > perDay*slot/day.Seconds() {
		return 1
	}
	length := 60 + 120*r.uniform()
	at := seconds - cell*slot - r.uniform()*(slot-length)
	if at < 0 || at > length {
		return 1
	}
	return 1 + (0.3+0.5*r.uniform())*math.Sin(math.Pi*at/length)
}

// cadence is when a service is released: once in every period, at a time that differs from one to
// the next.
type cadence struct {
	key    uint64
	period float64 // In seconds of real time; 0 is never.
	offset float64
}

// revision returns the number of the release in force, and when it began, which may be before 0.
func (c *cadence) revision(seconds float64) (number int, began float64) {
	if c.period <= 0 {
		return 0, -(1 + 9*uniform(c.key)) * day.Seconds()
	}
	n := int(math.Floor((seconds + c.offset) / c.period))
	if c.start(n) > seconds {
		n--
	}
	return n, c.start(n)
}

// start returns when release n begins.
func (c *cadence) start(n int) float64 {
	at := 0.1 + 0.8*uniform(subkey(c.key, uint64(int64(n))))
	return (float64(n)+at)*c.period - c.offset
}
