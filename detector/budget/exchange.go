package budget

import (
	"sync"
	"time"
)

// edition is what a cluster tells the others at the beginning of a day.
type edition struct {
	day    int64          // Since 1970; 0 is no edition.
	series map[string]int // By unit.
	shown  pool           // What its units showed together.
}

// Exchange tells clusters what the others have and showed, so that a budget that spans clusters is
// split in proportion to their series, and a cluster with a small part of it need not learn for
// years what others know. A cluster publishes at the beginning of each day of its data, and takes
// what the others published for the day before: no cluster waits for another, and it does not
// matter who comes first, as long as their data are less than a day apart. Until the others have
// published it is taken that all clusters are equal. Its methods may be called concurrently.
type Exchange struct {
	mu       sync.Mutex // Guards what follows.
	clusters int
	editions map[string][2]edition // By cluster, newest first.
}

// NewExchange returns an exchange of so many clusters.
func NewExchange(clusters int) *Exchange {
	return &Exchange{clusters: clusters, editions: make(map[string][2]edition)}
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
	delete(x.editions, cluster)
}

// others returns what the other clusters published before a day, in the order of their names.
func (x *Exchange) others(cluster string, day int64) (editions []edition, clusters int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, name := range sortedKeys(x.editions) {
		if name == cluster {
			continue
		}
		for _, e := range x.editions[name] {
			if e.day > 0 && e.day < day {
				editions = append(editions, e)
				break
			}
		}
	}
	return editions, x.clusters
}

// Share publishes what the units have and showed, and takes what the others did, at the beginning
// of each day. It is to be called before Advance.
func (l *Ledger) Share(x *Exchange, cluster string, at time.Time, series []int) {
	day := at.Unix() / int64(24*time.Hour/time.Second)
	editions, clusters := []edition(nil), 0
	if fresh := day != l.day; fresh {
		e := edition{day: day, series: make(map[string]int, len(l.units))}
		for i := range l.units {
			e.series[l.units[i].name] = series[i]
		}
		l.pour()
		e.shown = l.all
		l.own = [2]edition{e, l.own[0]}
		l.Publish(x, cluster)
		l.day = day
		editions, clusters = x.others(cluster, day)
		l.take(editions)
		for i := range l.units {
			l.units[i].share(editions, clusters)
		}
		return
	}
	for i := range l.units {
		if u := &l.units[i]; u.others == 0 && u.equal == 0 { // It is new.
			if clusters == 0 {
				editions, clusters = x.others(cluster, day)
			}
			u.share(editions, clusters)
		}
	}
}

// take sums up what other clusters showed.
func (l *Ledger) take(editions []edition) {
	l.elsewhere = pool{}
	for i := range editions {
		l.elsewhere.exposed += editions[i].shown.exposed
		for k, v := range editions[i].shown.counted {
			l.elsewhere.counted[k] += v
		}
	}
}

// share finds which part of the budget of u this cluster has.
func (u *unit) share(editions []edition, clusters int) {
	u.others, u.equal = 0, 0
	for i := range editions {
		u.others += editions[i].series[u.name]
	}
	if len(editions) == 0 {
		u.equal = clusters
	}
}

// Publish tells the others again what was published last, as after a restart.
func (l *Ledger) Publish(x *Exchange, cluster string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.editions[cluster] = l.own
}
