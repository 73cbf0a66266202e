package incident

import (
	"slices"
	"strings"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// census knows which clusters run a service, and where its signals deviate. The Manager's mutex
// guards it.
//
// Its memory is bounded by what the clusters have: an entry of 24 bytes for each service of each
// cluster, and one of about 100 bytes for each name: 3 MB for 250 services in 500 clusters.
type census struct {
	runs       map[fleet.Service][]run    // By service without cluster; ordered by cluster.
	deviations map[signalKey][]*deviation // By signal of a service without cluster.
	held       int                        // Entries of runs.
	due        int                        // Notes until runs are swept.
	mark       uint64                     // The last that was given to clusters.
	metrics    *metrics
}

// run is a stretch of time in which a cluster has scored a service. In seconds, as there are many.
type run struct {
	cluster    *cluster
	from, last int64
}

// covers says whether the service was scored at t, or shortly before it.
func (r *run) covers(t time.Time) bool {
	return r.from <= t.Unix() && r.last >= t.Add(-r.cluster.fresh()).Unix()
}

// deviation is a harmful finding as far as other clusters care.
type deviation struct {
	cluster   *cluster
	signal    signalKey // Without cluster.
	direction detector.Direction
	start     time.Time
	opened    time.Time // When it was first reported.
	closed    time.Time // When it was reported as over; zero: not yet.
}

func (d *deviation) openAt(t time.Time) bool {
	return !d.opened.After(t) && (d.closed.IsZero() || d.closed.After(t))
}

func newCensus(m *metrics) *census {
	return &census{
		runs:       make(map[fleet.Service][]run),
		deviations: make(map[signalKey][]*deviation),
		metrics:    m,
	}
}

// Scored says which services of a cluster have a score at an instant. It is called before Advance
// to that instant; services is not kept.
func (m *Manager) Scored(name string, at time.Time, services []fleet.Service) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.census.scored(m.cluster(name), at, services)
}

func (n *census) scored(c *cluster, at time.Time, services []fleet.Service) {
	now, fresh := at.Unix(), int64(c.fresh().Seconds())
	for _, s := range services {
		s = anywhere(s)
		runs := n.runs[s]
		i, ok := slices.BinarySearchFunc(runs, c.name, func(r run, name string) int {
			return strings.Compare(r.cluster.name, name)
		})
		if !ok {
			n.runs[s] = slices.Insert(runs, i, run{cluster: c, from: now, last: now})
			n.held++
			continue
		}
		r := &runs[i]
		if now < r.last || now-r.last > fresh { // The clock was set back, or there was a gap.
			r.from = now
		}
		r.last = now
	}
	if n.due -= len(services); n.due <= 0 {
		n.sweep()
	}
	n.metrics.scored.Set(float64(n.held))
}

// sweep forgets services that have fallen silent while their clusters have not. It comes after as
// many notes as four times what it leaves, so it costs each of them little.
func (n *census) sweep() {
	n.forget(func(r run) bool {
		return r.last < r.cluster.now.Add(-3*r.cluster.fresh()).Unix()
	})
	n.due = max(100, 4*n.held)
}

func (n *census) forget(gone func(run) bool) {
	for s, runs := range n.runs {
		kept := slices.DeleteFunc(runs, gone)
		n.held -= len(runs) - len(kept)
		if n.runs[s] = kept; len(kept) == 0 {
			delete(n.runs, s)
		}
	}
	n.metrics.scored.Set(float64(n.held))
}

// report takes a report of a finding of c.
func (n *census) report(c *cluster, f *detector.Finding) {
	d := c.deviations[f.ID]
	over := f.State == detector.Resolved || !f.Harmful
	switch {
	case d == nil && over:
		return
	case d == nil:
		d = &deviation{
			cluster: c,
			signal:  signalKey{anywhere(f.Service), f.Signal},
			start:   f.Start,
			opened:  f.At,
		}
		c.deviations[f.ID] = d
		n.deviations[d.signal] = append(n.deviations[d.signal], d)
	}
	d.direction = f.Direction
	if d.closed = (time.Time{}); over {
		d.closed = f.At
	}
}

// drop forgets the deviations of c of which gone is true.
func (n *census) drop(c *cluster, gone func(id string, d *deviation) bool) {
	for id, d := range c.deviations {
		if !gone(id, d) {
			continue
		}
		delete(c.deviations, id)
		left := slices.DeleteFunc(n.deviations[d.signal], func(e *deviation) bool { return e == d })
		if n.deviations[d.signal] = left; len(left) == 0 {
			delete(n.deviations, d.signal)
		}
	}
}

// remove forgets a cluster.
func (n *census) remove(c *cluster) {
	n.drop(c, func(string, *deviation) bool { return true })
	n.forget(func(r run) bool { return r.cluster == c })
}

// deviating marks the clusters in which one of the signals of a service goes the same way at an
// instant, having begun at since or later, and returns the mark.
func (n *census) deviating(
	s fleet.Service, directions map[string]detector.Direction, since, at time.Time,
) (mark uint64) {
	n.mark++
	for signal, direction := range directions {
		for _, d := range n.deviations[signalKey{anywhere(s), signal}] {
			if d.direction == direction && !d.start.Before(since) && d.openAt(d.cluster.asOf(at)) {
				d.cluster.mark = n.mark
			}
		}
	}
	return n.mark
}
