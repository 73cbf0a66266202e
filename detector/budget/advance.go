package budget

import (
	"math"
	"slices"
	"time"
)

// pool is what several units showed together.
type pool struct {
	counted [Levels]float64
	exposed float64 // Weeks of series.
}

// add adds what others showed.
func (p *pool) add(q *pool) {
	p.exposed += q.exposed
	for k, v := range q.counted {
		p.counted[k] += v
	}
}

// Advance closes a stretch of so many ticks: it lets what is old fade and sets the thresholds
// anew. Series says of each unit how many series had scores in the stretch; live, that people
// were told of findings. It returns true if the units have new numbers, because some have gone.
func (l *Ledger) Advance(at time.Time, ticks int, series []int, live bool) bool {
	elapsed := time.Duration(ticks) * l.params.Step
	passed := float64(elapsed) / float64(week)
	keep := 1 / (1 + float64(elapsed)/float64(memory))
	for i := range l.units {
		u := &l.units[i]
		u.series = series[i]
		if u.series > 0 {
			u.last = at.Unix()
		}
		u.exposed = float64(u.exposed*keep) + float64(passed*float64(u.series))
		weeks := max(enoughWeeks, u.exposed/float64(max(u.series, 1)))
		most := float32(max(mostPages, mostOverBudget*u.status.Asked*weeks))
		for k := range u.levels {
			u.levels[k].counted = min(u.levels[k].counted*float32(keep), most)
		}
		u.pages *= keep
		u.weeks *= keep
		if live && u.series > 0 {
			u.weeks += passed
		}
	}
	gone := l.prune(at)
	l.Settle()
	return gone
}

// pour sums up what the units showed.
func (l *Ledger) pour() {
	l.all = pool{}
	for _, n := range l.order {
		u := &l.units[n]
		l.all.exposed += u.exposed
		for k := range u.levels {
			l.all.counted[k] += float64(u.levels[k].counted)
		}
	}
}

// Settle sets the thresholds anew.
func (l *Ledger) Settle() {
	l.pour()
	for i := range l.units {
		u := &l.units[i]
		rest := l.all
		rest.exposed = max(0, rest.exposed-u.exposed)
		for k := range u.levels {
			rest.counted[k] = max(0, rest.counted[k]-float64(u.levels[k].counted))
		}
		rest.add(&l.elsewhere)
		l.settle(u, &rest)
	}
}

// prune forgets the units that have had no series for so long that nothing is left of them.
func (l *Ledger) prune(at time.Time) bool {
	oldest := at.Add(-memory).Unix()
	kept := slices.DeleteFunc(l.units, func(u unit) bool { return u.last < oldest })
	if len(kept) == len(l.units) && len(l.order) == len(kept) {
		return false
	}
	l.units = kept
	l.renumber()
	return true
}

func (l *Ledger) renumber() {
	clear(l.index)
	l.order = l.order[:0]
	for n := range l.units {
		l.insert(n)
	}
}

// estimate is the rate to expect of a unit at one level.
type estimate struct {
	pages                float64 // A week.
	own, others, nominal float64 // Shares.
}

// estimate returns the rate to expect of u at level i, given what the rest showed.
//
//	others  = (nominal P + counted by the rest) / (P + series weeks of the rest)
//	rate    = (others Q + counted) / (Q + weeks)            of the unit
//
// P and Q are the weights of the priors: those of so many pages, at most of what the weeks
// observed are short of enough.
func (l *Ledger) estimate(u *unit, rest *pool, i int) estimate {
	series := float64(max(u.series, 1))
	nominal := l.nominal[i]
	p := min(pagesOfPool/nominal, lacking(u, rest.exposed/series)*series)
	others := (float64(nominal*p) + rest.counted[i]) / (p + rest.exposed)
	prior := float64(others * series)
	weeks := u.exposed / series
	pages := pagesOfPrior
	if u.shared() {
		pages = pagesOfParts
	}
	q := min(pages/prior, lacking(u, weeks))
	out := estimate{own: weeks / (q + weeks)}
	counted := 0.0
	if i < len(u.levels) {
		counted = float64(u.levels[i].counted)
	}
	out.pages = (float64(prior*q) + counted) / (q + weeks)
	out.others = (1 - out.own) * rest.exposed / (p + rest.exposed)
	out.nominal = 1 - out.own - out.others
	return out
}

// shared tells whether other clusters have a part of the budget of u.
func (u *unit) shared() bool { return u.others > 0 || u.equal > 1 }

// lacking is the most that a prior is worth beside so many weeks of observation of u.
func lacking(u *unit, weeks float64) float64 {
	return leastWeeks + max(0, max(enoughWeeks, enoughPages/u.status.Asked)-weeks)
}

// settle finds the threshold of u: where the rate to expect meets the budget.
func (l *Ledger) settle(u *unit, rest *pool) {
	s := &u.status
	s.Unit, s.Series = u.name, u.series
	s.Asked = l.params.Pages
	switch own := float64(max(u.series, 1)); {
	case u.equal > 1:
		s.Asked /= float64(u.equal)
	case u.others > 0:
		s.Asked *= own / (own + float64(u.others))
	}
	s.Achieved = u.pages / max(u.weeks, 1)
	s.Start = l.start(u)

	above := estimate{}
	s.Threshold = Level(Levels - 1)
	for i := Levels - 1; i >= 0; i-- {
		at := l.estimate(u, rest, i)
		at.pages = max(at.pages, above.pages)
		if at.pages > s.Asked {
			if i < Levels-1 {
				s.Threshold = between(i, at.pages, above.pages, s.Asked)
			}
			break
		}
		above, s.Threshold = at, Level(i)
	}
	s.Threshold = math.Round(100*max(s.Threshold, l.params.Floor)) / 100
	at := l.estimate(u, rest, max(0, level(s.Threshold)))
	s.Expected = min(at.pages, s.Asked)
	s.Own, s.Others, s.Nominal = at.own, at.others, at.nominal
}

// between returns where a rate falls to asked between level i and the next.
func between(i int, rate, next, asked float64) float64 {
	return Level(i) + (Level(i+1)-Level(i))*(rate-asked)/(rate-next)
}

// start is the threshold by the nominal tail alone.
func (l *Ledger) start(u *unit) float64 {
	series := float64(max(u.series, 1))
	for i := range Levels - 1 {
		if next := series * l.nominal[i+1]; next <= u.status.Asked {
			if rate := series * l.nominal[i]; rate > u.status.Asked {
				return math.Round(100*between(i, rate, next, u.status.Asked)) / 100
			}
			return Level(i)
		}
	}
	return Level(Levels - 1)
}
