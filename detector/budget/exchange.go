package budget

import (
	"sync"
	"time"
)

// Entry says how many series a unit had in a cluster at the beginning of a day.
type Entry struct {
	Day    int64 // Since 1970; 0 is no entry.
	Series int
}

// Exchange tells clusters how many series of a unit the others have, so that a budget that spans
// clusters is split in proportion. A cluster publishes at the beginning of each day of its data,
// and takes what the others published for the day before: no cluster waits for another, and it
// does not matter who comes first, as long as their data are less than a day apart. Until the
// others have published it is taken that all clusters are equal. Its methods may be called
// concurrently.
type Exchange struct {
	mu       sync.Mutex // Guards what follows.
	clusters int
	entries  map[string]map[string][2]Entry // By cluster and unit, newest first.
}

// NewExchange returns an exchange of so many clusters.
func NewExchange(clusters int) *Exchange {
	return &Exchange{clusters: clusters, entries: make(map[string]map[string][2]Entry)}
}

// SetClusters says how many clusters there are.
func (x *Exchange) SetClusters(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clusters = n
}

// Forget takes a cluster out.
func (x *Exchange) Forget(cluster string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.entries, cluster)
}

func (x *Exchange) publish(cluster string, entries map[string][2]Entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.entries[cluster] = entries
}

// others returns how many series of a unit other clusters had before a day, or, if they have not
// said, how many clusters there are.
func (x *Exchange) others(cluster, unit string, day int64) (series, equal int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	known := false
	for name, entries := range x.entries {
		if name == cluster {
			continue
		}
		for _, e := range entries[unit] {
			if e.Day > 0 && e.Day < day {
				series, known = series+e.Series, true
				break
			}
		}
	}
	if !known {
		return 0, x.clusters
	}
	return series, 0
}

// Share publishes what the units have, and takes what the others have, at the beginning of each
// day. It is to be called before Advance.
func (l *Ledger) Share(x *Exchange, cluster string, at time.Time, series []int) {
	day := at.Unix() / int64(24*time.Hour/time.Second)
	fresh := day != l.day
	for i := range l.units {
		u := &l.units[i]
		if fresh {
			u.own = [2]Entry{{day, series[i]}, u.own[0]}
		}
		if fresh || u.others == 0 && u.equal == 0 {
			u.others, u.equal = x.others(cluster, u.name, day)
		}
	}
	if fresh {
		l.day = day
		l.Publish(x, cluster)
	}
}

// Publish tells the others again what was published last, as after a restart.
func (l *Ledger) Publish(x *Exchange, cluster string) {
	entries := make(map[string][2]Entry, len(l.units))
	for i := range l.units {
		entries[l.units[i].name] = l.units[i].own
	}
	x.publish(cluster, entries)
}
