package detector

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector/baseline"
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

	first, second []float32 // The highest scores of each at this instant, NaN if there is none.
	tails         []kernel.Tail
	scores        []kernel.Lanes
	day           int64
}

// number returns the number of a service, which gets one more user.
func (v *services) number(s fleet.Service) int32 {
	n, ok := v.index[s]
	if !ok {
		n = v.next()
		v.names[n] = s
		v.index[s] = n
		for f := range kernel.TailFields {
			v.tails[n/kernel.Width][f][n%kernel.Width] = 0
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
	v.first, v.second = append(v.first, nan), append(v.second, nan)
	if len(v.names) > len(v.tails)*kernel.Width {
		v.tails = append(v.tails, kernel.Tail{})
		v.scores = append(v.scores, kernel.Lanes{})
	}
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

func (v *services) begin() {
	for i := range v.first {
		v.first[i], v.second[i] = nan, nan
	}
}

// hear takes the score of one signal of service n.
func (v *services) hear(n int32, score float32) {
	switch {
	case v.first[n] != v.first[n]:
		v.first[n] = score
	case score > v.first[n]:
		v.first[n], v.second[n] = score, v.first[n]
	case v.second[n] != v.second[n] || score > v.second[n]:
		v.second[n] = score
	}
}

// score gives each service one score: the mean of its two highest, so that what only one signal
// shows counts half, calibrated by the service's own history as signals are.
func (v *services) score(c *cluster) {
	if len(v.names) == 0 {
		return
	}
	for i := range v.scores {
		for l := range kernel.Width {
			v.scores[i][l] = nan
		}
	}
	for n := range v.names {
		score := v.first[n]
		if v.second[n] == v.second[n] {
			score = (v.first[n] + v.second[n]) / 2
		}
		v.scores[n/kernel.Width][n%kernel.Width] = score
	}
	window := max(c.shard.engine.opts.Tuning.Period, 512*c.step)
	p := kernel.TailParams{Ordinary: baseline.Ordinary(window, c.step)}
	if day := c.at.UnixNano() / int64(window); day != v.day {
		v.day = day
		kernel.Roll(v.tails)
	}
	kernel.Calibrate(v.scores, v.tails, v.scores, &p)
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
