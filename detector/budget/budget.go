// Package budget finds the score from which a finding costs no more pages than people accept.
//
// A unit is what has a budget: a service, a team or the fleet, as far as it is in one cluster. For
// each unit the pages are counted that each of a grid of thresholds would have cost, whether or
// not they were sent: a threshold that was too high is known to be, and comes down. The rate to
// expect at a level is a Gamma-Poisson estimate: what was counted, shrunk towards what the other
// units of the cluster show for each of their series, which in turn is shrunk towards the law
// that a score of s is exceeded in 10^-s of ticks. What was counted fades over weeks, and the
// prior never weighs more than a few weeks of observation, so that scores need only rank values
// rightly. The threshold is where that rate meets the budget. This is rate control by counting;
// adaptive conformal inference (Gibbs and Candes, 2021) steers a level by its own errors and so
// learns from one threshold only, and LORD and SAFFRON (Ramdas et al., 2018) bound the share of
// false discoveries, of which nobody knows the true ones.
//
// It is deterministic: time comes with the data, sums are in the order of names, and there are no
// functions that machines compute differently.
package budget

import (
	"cmp"
	"math"
	"slices"
	"time"
)

const (
	week   = 7 * 24 * time.Hour
	memory = 6 * week // In which what was counted fades to 1/e.

	// How many pages a prior is worth. Half a page lets units differ much; the parts of one unit in
	// several clusters differ less.
	pagesOfPrior = 0.5
	pagesOfParts = 2.0
	pagesOfPool  = 1.0

	// The weeks that a prior is worth, at most: what a unit's own are short of enough, and a little.
	// Enough is five, or those in which the budget has two pages.
	enoughWeeks = 5.0
	enoughPages = 2.0
	leastWeeks  = 0.5

	// Pages that follow one another within a stretch of an eighth of the time that the budget has
	// for one, at most half a day, teach a half each, and three teach all: an incident is no habit.
	follower    = 0.5
	mostInBurst = 3

	// What was counted counts as no more than so many times the budget, or so many pages, so that a
	// threshold comes down soon after a noisy spell.
	mostOverBudget = 1.5
	mostPages      = 3.0
)

// Params say what is asked for.
type Params struct {
	Pages float64       // That a unit may cost in a week.
	Floor float64       // No threshold is below this.
	Step  time.Duration // Between ticks.
	Apart time.Duration // Between ticks that have nothing in common; Step, which is the least.
	Gap   time.Duration // A unit that was quiet for so long begins another page.
	After int           // Ticks with a high score that open a finding.
}

// never is long before anything.
const never = math.MinInt32 / 2

// unit is what has a budget, in one cluster.
type unit struct {
	name   string
	series int   // That had scores lately.
	others int   // The same in other clusters,
	equal  int   // or, while that is not known, how many clusters share alike; 0 if it is.
	last   int64 // When it last had any, in seconds.

	levels  []tally // Up to the highest that was ever exceeded.
	exposed float64 // Weeks of series in which pages were counted, faded.

	pages    float64 // That were sent, faded.
	weeks    float64 // In which they were, faded.
	sent     int     // Since it is known.
	lastPage int64   // When the last one was sent or still open, in seconds.

	status Status
}

// tally is what is known about one level.
type tally struct {
	counted float32 // Pages that it would have cost, faded.
	seen    int32   // When it was last exceeded, in seconds since the epoch.
	burst   int32   // When the first page of a burst came,
	inBurst uint8   // and how many came.
}

// Status says what threshold is in force, and why.
type Status struct {
	Unit      string  `json:"unit"`
	Asked     float64 `json:"asked_pages_per_week"`    // In this cluster.
	Achieved  float64 `json:"achieved_pages_per_week"` // Sent, over the last weeks.
	Expected  float64 `json:"expected_pages_per_week"` // At the threshold.
	Threshold float64 `json:"threshold"`
	Start     float64 `json:"nominal_threshold"` // What it would be by the nominal tail alone.
	Series    int     `json:"series"`
	Pages     int     `json:"pages"` // Sent since the unit is known.

	// Whether it cost more than twice what was asked, and by more than one page.
	Overspent bool `json:"overspent"`

	// How much each weighs in the expected rate; together 1.
	Own float64 `json:"own_share"` // What this unit showed.
	// What other units showed, in this cluster and in those that share the budget.
	Others  float64 `json:"others_share"`
	Nominal float64 `json:"nominal_share"` // That a score of s is exceeded in 10^-s of ticks.
}

// Ledger keeps the units of one cluster.
type Ledger struct {
	params  Params
	nominal [Levels]float64 // Findings that one series opens in a week, if scores are calibrated.

	epoch int64 // In seconds.
	units []unit
	index map[string]int
	order []int // Of units, by name.
	day   int64 // Since 1970, of the last exchange.
	all   pool  // What all units showed together.

	own       [2]edition // What other clusters were told, newest first.
	elsewhere pool       // What other clusters showed.
}

// New returns a ledger without units.
func New(p Params) *Ledger {
	l := &Ledger{index: make(map[string]int), day: math.MinInt64}
	l.SetParams(p)
	return l
}

// SetParams changes what is asked for. Advance puts it into force.
func (l *Ledger) SetParams(p Params) {
	p.Step = max(p.Step, time.Second/10)
	p.Apart = max(p.Apart, p.Step)
	l.params = p
	opens := 2.0 / 3 // High scores are taken to come in runs, of 1.5 on average.
	for range p.After - 1 {
		opens /= 3
	}
	for i := range Levels {
		l.nominal[i] = opens * float64(week) / float64(p.Apart) * tail(i)
	}
}

// Params returns what is asked for.
func (l *Ledger) Params() Params { return l.params }

// Unit returns the number of a unit, which is new if there was none of that name. It is valid
// until Advance returns true.
func (l *Ledger) Unit(name string, at time.Time) int {
	if n, ok := l.index[name]; ok {
		return n
	}
	if len(l.units) == 0 {
		l.epoch = at.Unix()
	}
	n := len(l.units)
	u := unit{name: name, last: at.Unix(), lastPage: math.MinInt64 / 2, series: l.typical()}
	if n == cap(l.units) { // Less waste than append would leave.
		l.units = append(make([]unit, 0, n+1+n/8), l.units...)
	}
	l.units = append(l.units, u)
	l.insert(n)
	l.pour()
	rest := l.all
	rest.add(&l.elsewhere)
	l.settle(&l.units[n], &rest)
	return n
}

// typical is how many series a unit is taken to have before they are counted.
func (l *Ledger) typical() int {
	sum := 0
	for i := range l.units {
		sum += l.units[i].series
	}
	if sum == 0 {
		return 8
	}
	return max(1, sum/len(l.units))
}

func (l *Ledger) insert(n int) {
	name := l.units[n].name
	l.index[name] = n
	at, _ := slices.BinarySearchFunc(l.order, name, func(n int, name string) int {
		return cmp.Compare(l.units[n].name, name)
	})
	l.order = slices.Insert(l.order, at, n)
}

// Len returns how many units there are.
func (l *Ledger) Len() int { return len(l.units) }

// Threshold returns the score that is in force for a unit.
func (l *Ledger) Threshold(n int) float64 { return l.units[n].status.Threshold }

// Status returns what threshold is in force for a unit, and why.
func (l *Ledger) Status(n int) Status {
	u := &l.units[n]
	s := u.status
	s.Overspent = u.pages > float64(2*s.Asked*max(u.weeks, 1))+1
	return s
}

// Observe counts: at an instant, a finding would have opened, or would still be open, under any
// threshold up to score.
func (l *Ledger) Observe(n int, score float64, at time.Time) {
	top := level(score)
	if top < 0 {
		return
	}
	u := &l.units[n]
	t := int32(at.Unix() - l.epoch)
	u.reach(top)
	gap, span := int32(l.params.Gap/time.Second), int32(l.span(u)/time.Second)
	for i := range u.levels[:top+1] {
		level := &u.levels[i]
		if apart(t, level.seen) > gap {
			level.page(t, span)
		}
		level.seen = t
	}
}

// apart is the distance of two instants: a clock that was set back separates them, too.
func apart(a, b int32) int32 {
	if a < b {
		return b - a
	}
	return a - b
}

// reach makes room for a level. Most units never see the higher ones.
func (u *unit) reach(top int) {
	if top < len(u.levels) {
		return
	}
	levels := make([]tally, top+1)
	for i := copy(levels, u.levels); i <= top; i++ {
		levels[i] = tally{seen: never, burst: never}
	}
	u.levels = levels
}

// page counts a page.
func (x *tally) page(t, span int32) {
	switch {
	case apart(t, x.burst) > span:
		x.burst, x.inBurst = t, 1
		x.counted++
	case x.inBurst < mostInBurst:
		x.inBurst++
		x.counted += follower
	}
}

// span is how long pages belong to one burst.
func (l *Ledger) span(u *unit) time.Duration {
	asked := max(u.status.Asked, 0.25)
	return max(l.params.Gap, min(12*time.Hour, time.Duration(float64(week)/(8*asked))))
}

// Sent says that a unit has a finding at an instant that people know of; fresh, that it is new.
func (l *Ledger) Sent(n int, at time.Time, fresh bool) {
	u, t := &l.units[n], at.Unix()
	gap := int64(l.params.Gap / time.Second)
	if fresh && (t-u.lastPage > gap || u.lastPage-t > gap) {
		u.pages++
		u.sent++
		u.status.Pages = u.sent
	}
	u.lastPage = t
}
