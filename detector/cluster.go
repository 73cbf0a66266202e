package detector

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector/kernel"
	"tocsin/fleet"
	"tocsin/series"
)

// rewindAfter is how many instants of the past in a row it takes to believe that the clock was
// wrong before, and not that they are late.
const rewindAfter = 10

// cluster is what a shard knows about one cluster: its columns, its services, and the instant at
// hand.
type cluster struct {
	shard *shard
	name  string

	spending spending
	columns  map[string]*column
	order    []*column // By name of signal.
	services

	at      time.Time     // Of the instant at hand.
	open    bool          // There is an instant at hand.
	history bool          // It is history.
	step    time.Duration // Distance between instants.
	closed  time.Time     // The newest instant that is complete.
	recent  [8]time.Time  // The newest ones, newest first.
	closes  int           // How many instants were closed.

	behind   int       // Instants in a row that were in the past,
	behindAt time.Time // the newest of them.
}

func newCluster(s *shard, name string) *cluster {
	return &cluster{
		shard:    s,
		name:     name,
		columns:  make(map[string]*column),
		services: services{index: make(map[fleet.Service]int32)},
	}
}

// take puts the values of b in place, and closes the instant when b says that it is complete or
// belongs to a later one.
func (c *cluster) take(b *series.Batch) {
	if !c.enter(b) {
		c.shard.drops[dropLate] += len(b.Refs)
		return
	}
	c.history = c.history || b.History
	if b.Signal != "" || len(b.Refs) > 0 {
		if col := c.column(b); col != nil {
			col.take(b)
		} else {
			c.shard.drops[dropUnknown] += len(b.Refs)
		}
	}
	if b.Final {
		c.close()
	}
}

// enter makes the instant of b the one at hand. It returns false if b comes too late.
func (c *cluster) enter(b *series.Batch) bool {
	switch {
	case c.open && b.At.Equal(c.at):
		return true
	case c.open && b.At.After(c.at):
		c.close()
	case c.open || !b.At.After(c.closed):
		if !c.rewind(b) {
			return false
		}
	}
	c.behind = 0
	c.step = or(b.Step, or(c.step, time.Minute))
	c.at, c.open, c.history = b.At, true, false
	for _, col := range c.order {
		col.clear()
	}
	return true
}

// rewind tells whether b, which is of the past, shows that the clock has been set back.
func (c *cluster) rewind(b *series.Batch) bool {
	if b.History || !b.At.After(c.behindAt) && c.behind > 0 {
		return false
	}
	c.behind++
	c.behindAt = b.At
	if c.behind < rewindAfter {
		return false
	}
	if c.open {
		c.close()
	}
	c.shard.metrics.rewinds.Inc()
	c.shard.engine.logger.Warn("Clock of the source went back",
		"cluster", c.name, "from", c.closed, "to", b.At)
	c.behindAt = time.Time{}
	return true
}

// column returns the column of a signal, a new one if there is none yet, nil if it is not
// configured.
func (c *cluster) column(b *series.Batch) *column {
	if col := c.columns[b.Signal]; col != nil {
		return col
	}
	s := c.shard.signals[b.Signal]
	if s == nil {
		return nil
	}
	col := newColumn(c, s, or(b.Window, c.step))
	c.add(col)
	return col
}

func (c *cluster) add(col *column) {
	c.columns[col.signal.Name] = col
	c.order = append(c.order, col)
	slices.SortFunc(c.order, func(a, b *column) int {
		return cmp.Compare(a.signal.Name, b.signal.Name)
	})
}

// close judges the instant at hand.
func (c *cluster) close() {
	timer := prometheus.NewTimer(c.shard.metrics.tickSeconds)
	defer timer.ObserveDuration()
	c.open = false
	c.closed = c.at
	copy(c.recent[1:], c.recent[:])
	c.recent[0] = c.at
	c.services.begin()
	for _, col := range c.order {
		if col.taken > 0 {
			col.tick()
			col.tell()
		}
	}
	c.services.score(c)
	c.spending.advance(c)
	for _, col := range c.order {
		col.judge()
	}
	if c.closes++; c.closes%64 == 0 {
		for _, col := range c.order {
			col.sweep()
		}
	}
	c.shard.flush()
	c.services.tell(c)
}

// setSignals follows a change of the shard's signals.
func (c *cluster) setSignals() {
	c.order = slices.DeleteFunc(c.order, func(col *column) bool {
		s := c.shard.signals[col.signal.Name]
		if s != nil && s.Kind == col.signal.Kind {
			col.signal = s
			return false
		}
		col.remove(signalRemoved)
		delete(c.columns, col.signal.Name)
		return true
	})
}

// services are the services of a cluster, each with a number, and what they score together.
type services struct {
	names []fleet.Service // By number; the zero Service is a number to give away.
	index map[fleet.Service]int32
	users []int32 // How many series each has.
	spare []int32

	groups []kernel.Group
	scores []kernel.Lanes
	heard  []heard // Of each, at this instant.

	said, ordinary []kernel.Lanes // What kernel.Corroborate is told.
}

// heard is what the signals of a service say at one instant.
type heard struct {
	signals int
	news    float32    // Of the first.
	most    [4]float32 // What the four say that say most; 0 where fewer say anything.
}

// number returns the number of a service, which gets one more user.
func (v *services) number(s fleet.Service) int32 {
	n, ok := v.index[s]
	if !ok {
		n = v.next()
		v.names[n] = s
		v.index[s] = n
		for f := range kernel.GroupFields {
			v.groups[n/kernel.Width][f][n%kernel.Width] = 0
		}
		v.scores[n/kernel.Width][n%kernel.Width] = nan
	}
	v.users[n]++
	return n
}

func (v *services) next() int32 {
	if k := len(v.spare); k > 0 {
		n := v.spare[k-1]
		v.spare = v.spare[:k-1]
		return n
	}
	v.names = append(v.names, fleet.Service{})
	v.users = append(v.users, 0)
	v.heard = append(v.heard, heard{})
	if len(v.names) > len(v.groups)*kernel.Width {
		v.groups = append(v.groups, kernel.Group{})
	}
	v.resize()
	return int32(len(v.names) - 1)
}

// leave takes one user from service n.
func (v *services) leave(n int32) {
	if v.users[n]--; v.users[n] > 0 {
		return
	}
	delete(v.index, v.names[n])
	v.names[n] = fleet.Service{}
	v.spare = append(v.spare, n)
}

// resize makes room for what there is to say of each.
func (v *services) resize() {
	for _, p := range []*[]kernel.Lanes{&v.scores, &v.said, &v.ordinary} {
		for len(*p) < len(v.groups) {
			*p = append(*p, kernel.Lanes{})
		}
	}
}

func (v *services) begin() { clear(v.heard) }

// hear takes what one signal of service n says: its news, and what corroborates other signals.
func (v *services) hear(n int32, news, says float32) {
	h := &v.heard[n]
	if h.signals == 0 {
		h.news = news
	}
	h.signals++
	for i, most := range h.most {
		h.most[i], says = max(most, says), min(most, says)
	}
}

// score gives each service one score: that of its only signal, or of what several say together.
func (v *services) score(c *cluster) {
	if len(v.names) == 0 {
		return
	}
	for i := range v.said {
		for l := range kernel.Width {
			v.said[i][l], v.ordinary[i][l] = nan, nan
		}
	}
	for n := range v.heard {
		if h := &v.heard[n]; h.signals > 0 && v.users[n] > 1 {
			i, l := n/kernel.Width, n%kernel.Width
			v.said[i][l] = (h.most[0] + h.most[1] + h.most[2] + h.most[3]) / float32(min(v.users[n], 4))
			v.ordinary[i][l] = ordinary(v.users[n])
		}
	}
	day := float64(c.step) / float64(24*time.Hour)
	p := kernel.GroupParams{Keep: 0.9, Fade: float32(math.Pow(0.5, day/7)), Day: float32(day)}
	kernel.Corroborate(v.scores, v.groups, v.said, v.ordinary, &p)
	for n := range v.heard {
		if h := &v.heard[n]; h.signals > 0 && v.users[n] == 1 {
			v.scores[n/kernel.Width][n%kernel.Width] = h.news
		}
	}
}

// ordinary returns about what the mean of the four highest of so many independent signals is, each
// exponential as evidence is.
func ordinary(signals int32) float32 {
	return 0.9 * float32(max(math.Log10(float64(signals))-0.35, 0.9))
}

// tell hands the scores to Options.Services, and with them the time.
func (v *services) tell(c *cluster) {
	told := c.shard.engine.opts.Services
	if told == nil {
		return
	}
	out := &c.shard.services
	out.Cluster, out.At, out.History = c.name, c.at, c.history
	out.Services, out.Score = out.Services[:0], out.Score[:0]
	for n, name := range v.names {
		if v.users[n] > 0 {
			out.Services = append(out.Services, name)
			out.Score = append(out.Score, v.scores[n/kernel.Width][n%kernel.Width])
		}
	}
	told(out)
}
