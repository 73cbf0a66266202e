package promql

import (
	"fmt"
	"time"

	"tocsin/series"
)

// maxBackOff bounds how long a query that fails while its source answers is left out.
const maxBackOff = 5 * time.Minute

// maxInstant bounds the values of an answer for one instant.
const maxInstant = 1 << 20

// query is one signal of a source. Whoever asks it owns it until it is settled; between
// rounds, the source's loop does.
type query struct {
	Query
	number     int      // In Options.Queries.
	volume     *query   // The one that ZeroWith names; nil if there is none.
	dependents []*query // Those whose volume this is.
	probe      *probe   // Nil: none is needed.
	table      *table
	answer     answer

	fail    *failure // Why the last round gave nothing; nil if it was answered.
	settled bool     // In this round it is known how it ended.
	emitted bool     // In this round it was handed on, or there was nothing to hand on.

	fails int       // Rounds in a row that failed.
	retry time.Time // Not to be asked before.
}

// newQueries returns the queries with those that others depend on first.
func newQueries(o *Options) ([]*query, error) {
	bySignal := make(map[string]*query, len(o.Queries))
	all := make([]*query, len(o.Queries))
	for i := range o.Queries {
		q := &query{Query: o.Queries[i], number: i}
		if q.Signal == "" || q.Expr == "" {
			return nil, fmt.Errorf("query %d: no signal or no expression", i)
		}
		if bySignal[q.Signal] != nil {
			return nil, fmt.Errorf("signal %s: two queries", q.Signal)
		}
		q.table = newTable(o.Cluster, &q.Query, o.Registry)
		all[i], bySignal[q.Signal] = q, q
	}
	for _, q := range all {
		// A volume that this cluster is not asked for makes no zeros, and no harm.
		if q.volume = bySignal[q.ZeroWith]; q.volume != nil {
			q.volume.dependents = append(q.volume.dependents, q)
		}
	}
	return sortQueries(all)
}

// sortQueries orders queries so that volumes come first, else as they were.
func sortQueries(all []*query) ([]*query, error) {
	var out []*query
	placed := make(map[*query]bool, len(all))
	for len(out) < len(all) {
		before := len(out)
		for _, q := range all {
			if !placed[q] && (q.volume == nil || placed[q.volume]) {
				placed[q] = true
				out = append(out, q)
			}
		}
		if len(out) == before {
			for _, q := range all {
				if !placed[q] {
					return nil, fmt.Errorf("signal %s: it is zero beside itself", q.Signal)
				}
			}
		}
	}
	return out, nil
}

// active reports whether the query is to be asked now.
func (q *query) active(now time.Time) bool {
	return (q.probe == nil || q.probe.found) && !now.Before(q.retry)
}

// backOff says when the query may be asked again after the round that has just failed. The
// first time it is the next tick.
func (q *query) backOff(now time.Time, o *Options) {
	wait := q.fail.after
	switch {
	case q.fail.result == badQuery:
		wait = o.RetryOff
	case !q.fail.unasked:
		wait = max(wait, min(o.Interval<<min(q.fails, 12), maxBackOff)-o.Interval)
	}
	if !q.fail.unasked {
		q.fails++
	}
	q.retry = now.Add(wait)
}

// state returns how the answer that the query has got looks to people.
func (q *query) state() (SignalState, string) {
	a := &q.answer
	switch {
	case a.series == 0 && a.zeros > 0:
		return MatchesNothing, "no series: taken as 0 beside " + q.ZeroWith
	case a.series == 0:
		return MatchesNothing, "no series"
	case a.drops[unmapped] > 0 && len(a.refs) == 0:
		return MatchesNothing, fmt.Sprintf("%d series, none with a label of %v that names a service",
			a.series, q.Service)
	case a.drops[seriesLimit] > 0:
		return OK, fmt.Sprintf("%d samples dropped: the cluster has as many series as it may have",
			a.drops[seriesLimit])
	case a.drops[unmapped] > 0:
		return OK, fmt.Sprintf("%d samples dropped: no label of %v names a service",
			a.drops[unmapped], q.Service)
	case a.drops[duplicate] > 0:
		return OK, fmt.Sprintf("%d samples dropped: another series has the same service",
			a.drops[duplicate])
	case a.drops[histogram] > 0:
		return OK, fmt.Sprintf("%d native histograms dropped: a signal is a number",
			a.drops[histogram])
	}
	return OK, ""
}

// batch returns an empty batch of the query's signal.
func (q *query) batch(o *Options, step time.Duration, history bool) series.Batch {
	return series.Batch{Cluster: o.Cluster, Signal: q.Signal, Step: step, Window: o.Window, History: history}
}
