package detector

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"tocsin/detector/budget"
	"tocsin/fleet"
)

// Per says who has a budget.
type Per string

// Who may have a budget of pages.
const (
	PerService Per = "service"
	PerTeam    Per = "team"
	PerFleet   Per = "fleet"
)

// Budget says how many pages people accept. Zero values stand for the defaults given here.
type Budget struct {
	PagesPerWeek float64                       // 2.
	Per          Per                           // PerService.
	Team         func(namespace string) string // Of a namespace; itself.
	Clusters     int                           // That share a budget of PerTeam or PerFleet; 1.
}

func (b *Budget) defaults() error {
	b.PagesPerWeek = or(b.PagesPerWeek, 2)
	b.Per = or(b.Per, PerService)
	b.Clusters = or(b.Clusters, 1)
	if b.Team == nil {
		b.Team = func(namespace string) string { return namespace }
	}
	switch {
	case !(b.PagesPerWeek > 0) || math.IsInf(b.PagesPerWeek, 0):
		return fmt.Errorf("%g pages a week: want more than 0", b.PagesPerWeek)
	case b.Per != PerService && b.Per != PerTeam && b.Per != PerFleet:
		return fmt.Errorf("unknown unit of a budget %q", b.Per)
	case b.Clusters < 0:
		return errors.New("fewer than no clusters")
	}
	return nil
}

// unit names what pays for the pages of a service.
func (b *Budget) unit(s fleet.Service) string {
	switch b.Per {
	case PerTeam:
		return b.Team(s.Namespace)
	case PerFleet:
		return string(PerFleet)
	}
	return s.Namespace + "/" + s.Name
}

// SetBudget replaces the budget. What was counted stays, unless somebody else pays from now on.
func (e *Engine) SetBudget(b Budget) error {
	if err := b.defaults(); err != nil {
		return fmt.Errorf("detector: %w", err)
	}
	e.exchange.SetClusters(b.Clusters)
	return e.onAll(nil, func(s *shard) {
		s.budget = b
		for _, name := range s.names() {
			s.clusters[name].spending.change(s.clusters[name])
		}
	})
}

// The times at which thresholds are set anew: each hour, and more often in the youth of a cluster.
const (
	settleEvery = time.Hour
	settleTicks = 16 // At least.
	settleYouth = 8  // After an eighth of the age.
)

// spending is the budget of a cluster: who pays for which service, and what was spent.
type spending struct {
	ledger *budget.Ledger
	per    Per
	unitOf []int32         // By number of service: its unit, plus one; 0 is not known yet.
	names  []fleet.Service // Of which service that was.
	series []int           // By unit, of the stretch being closed.

	began time.Time // The first instant.
	from  time.Time // The stretch at hand began,
	next  time.Time // will be closed, and
	ticks int       // has so many ticks.
}

// change follows a change of the shard's budget.
func (p *spending) change(c *cluster) {
	b := &c.shard.budget
	if p.ledger == nil || p.per != b.Per {
		p.ledger, p.per = budget.New(c.params()), b.Per
		p.next = time.Time{} // There is nothing yet to go by: at the next instant.
	}
	p.forgetUnits()
	p.ledger.SetParams(c.params())
	p.ledger.Settle()
	c.shard.metrics.showBudget(c)
}

// params says what is asked of the units of c.
func (c *cluster) params() budget.Params {
	t := &c.shard.engine.opts.Tuning
	return budget.Params{
		Pages: c.shard.budget.PagesPerWeek,
		Floor: t.OpenScore,
		Step:  c.step,
		Apart: c.apart(),
		Gap:   max(10*time.Minute, time.Duration(t.OpenOf+t.CloseAfter)*c.step),
		After: t.OpenAfter,
	}
}

// apart returns how far two ticks must be apart to have nothing in common: values look back over a
// window, and what is in two windows counts once.
func (c *cluster) apart() time.Duration {
	apart := c.step
	for _, col := range c.order {
		apart = max(apart, col.window)
	}
	return apart
}

func (p *spending) forgetUnits() { clear(p.unitOf) }

// unit returns who pays for service n.
func (p *spending) unit(c *cluster, n int32) int {
	for int(n) >= len(p.unitOf) {
		p.unitOf, p.names = append(p.unitOf, 0), append(p.names, fleet.Service{})
	}
	if p.unitOf[n] == 0 || p.names[n] != c.names[n] {
		p.names[n] = c.names[n]
		p.unitOf[n] = int32(p.ledger.Unit(c.shard.budget.unit(c.names[n]), c.at)) + 1
	}
	return int(p.unitOf[n]) - 1
}

// advance counts an instant, and sets thresholds anew when it is time.
func (p *spending) advance(c *cluster) {
	if p.ledger == nil {
		p.change(c)
	}
	if p.began.IsZero() || c.at.Before(p.from) { // The clock went back.
		p.began, p.from, p.ticks = c.at, c.at, 0
		p.next = c.at.Add(settleTicks * c.step)
	}
	p.ticks++
	if c.at.Before(p.next) {
		return
	}
	if q := c.params(); q != p.ledger.Params() {
		p.ledger.SetParams(q)
	}
	series := p.count(c)
	if c.shard.budget.Per != PerService {
		p.ledger.Share(c.shard.engine.exchange, c.name, c.at, series)
	}
	if p.ledger.Advance(c.at, p.ticks, series, !c.history) {
		p.forgetUnits()
	}
	least := settleTicks * c.step
	p.from, p.ticks = c.at, 0
	p.next = c.at.Add(min(max(c.at.Sub(p.began)/settleYouth, least), max(settleEvery, least)))
	c.shard.metrics.showBudget(c)
}

// count returns how many series of each unit had scores in the stretch at hand.
func (p *spending) count(c *cluster) []int {
	clear(p.series)
	from := p.from.UnixNano()
	for _, col := range c.order {
		for slot, n := range col.service {
			if n < 0 || col.seen[slot] < from || !col.model.Warm(slot) {
				continue
			}
			unit := p.unit(c, n)
			if missing := p.ledger.Len() - len(p.series); missing > 0 {
				p.series = append(p.series, make([]int, missing)...)
			}
			p.series[unit]++
		}
	}
	if missing := p.ledger.Len() - len(p.series); missing > 0 {
		p.series = append(p.series, make([]int, missing)...)
	}
	return p.series[:p.ledger.Len()]
}

// hot is a series that had an improbable value that mattered a few ticks ago.
type hot struct {
	slot   int
	scores [8]float32 // Of its newest ticks, newest first; 0: it did not matter.
	watch
}

// watch remembers what was normal when a value first left it. The model gets used to a new level
// within some ticks; as long as the value stays out there, its highest score stands. It grows, since
// what lasts is less of a chance than what comes once, and with the deviation: by one for each factor
// of e, as scores beyond the ordinary do.
type watch struct {
	peak              float32 // 0: nothing is watched.
	lasts             float32 // What it has gained by lasting.
	left              uint32  // Ticks for which it is watched.
	center, low, high float64
	size              float64 // The deviation that it began with.
}

const (
	watchFrom  = 2   // The least score that is watched.
	watchTicks = 60  // For how long.
	watchGain  = 0.5 // For each tick that it lasts,
	watchMost  = 3   // but not more than this;
	watchGrown = 3   // nor more than this for growing.
)

// see takes a score that mattered, with the value and the bounds of the tick, and returns what stands.
func (w *watch) see(score float32, v, center, low, high float64) float32 {
	switch {
	case w.left > 1 && (v < w.low || v > w.high):
		w.left--
		w.peak, w.lasts = max(w.peak, score), min(w.lasts+watchGain, watchMost)
	case score > 0 && (v < low || v > high):
		*w = watch{
			peak: score, left: watchTicks, center: center, low: low, high: high,
			size: max(math.Abs(v-center), math.SmallestNonzeroFloat64),
		}
	default:
		*w = watch{}
		return score
	}
	grown := math.Log(max(math.Abs(v-w.center)/w.size, 1))
	return max(score, w.peak+w.lasts+float32(min(grown, watchGrown)))
}

// push adds a score.
func (h *hot) push(score float32) {
	copy(h.scores[1:], h.scores[:])
	h.scores[0] = score
}

// opens returns the highest threshold under which these ticks would open a finding.
func (h *hot) opens(t *Tuning) float64 {
	var top [8]float32
	scores := append(top[:0], h.scores[:t.OpenOf]...)
	slices.Sort(scores)
	return float64(scores[t.OpenOf-t.OpenAfter])
}

// above says which of the ticks were at or above a threshold, the newest in bit 0.
func (h *hot) above(threshold float64, of int) uint8 {
	bits := uint8(0)
	for i, score := range h.scores[:of] {
		if float64(score) >= threshold {
			bits |= 1 << i
		}
	}
	return bits
}

// threshold returns the score that opens a finding of slot, and what of it is feedback.
func (col *column) threshold(slot int) (threshold, offset float64) {
	c := col.cluster
	if c.spending.ledger == nil {
		return c.shard.engine.opts.Tuning.OpenScore, 0
	}
	threshold = c.spending.ledger.Threshold(c.spending.unit(c, col.service[slot]))
	offset, _ = col.offset(slot)
	return max(threshold+offset, c.shard.engine.opts.Tuning.OpenScore), offset
}
