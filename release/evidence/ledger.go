package evidence

import (
	"math"
	"time"
)

// How time is divided. Within a slot new pods are compared with old ones; within a block
// the wandering of a pod counts as one deviation.
const (
	slotLength   = 30 * time.Second
	blockLength  = 5 * time.Minute
	blockSlots   = int(blockLength / slotLength)
	blocksBefore = 24 // Of old pods before the release that are kept.
)

// tally is an amount (events, seconds, logarithms) over an exposure (requests).
type tally struct{ n, x float64 }

func (t *tally) add(n, x float64) { t.n += n; t.x += x }

func (t *tally) merge(from tally) { t.add(from.n, from.x) }

// tallies are the sums of one pod for each metric that is a ratio.
type tallies [ratios]tally

// record is what one pod did within one slot at one age.
type record struct {
	slot, pod, group int
	fresh            bool // Of the new revision.
	sum              tallies
	buckets          []float64 // Of latency.
}

// podBlock is what one old pod did within one block.
type podBlock struct {
	pod, block int
	sum        tallies
	buckets    []float64
}

// Ledger adds up the windows of one release. It belongs to one goroutine.
type Ledger struct {
	scale scale
	start time.Time // When the first new pod appeared; zero before.
	now   time.Time

	pods    map[string]int
	fresh   []bool // Of each pod: it is of the new revision.
	last    []int  // Of each pod: its newest record, -1 if there is none.
	records []record
	blocks  []podBlock // Of old pods that have warmed up.
	newest  []int      // Of each pod: its newest block, -1 if there is none.
	old     []float64  // Latency buckets of old pods.
	before  tallies    // Of old pods, ever.
	leak    leak
	noise   [ratios]noise // As of the block noiseAt.
	noiseAt int

	chanceP99 float64 // Variance of the 99th percentile by chance, times the requests, as last seen.
}

// NewLedger returns an empty ledger for histograms with these upper bounds (ascending, the last +Inf; nil if
// there are none). What the service's model knows of latency settles the cuts at once.
func NewLedger(bounds []float64, m *Model) *Ledger {
	l := &Ledger{scale: newScale(bounds), pods: map[string]int{}, noiseAt: math.MinInt}
	l.old = make([]float64, len(bounds))
	if len(m.s.Buckets) == len(bounds) {
		l.scale.settle(m.s.Buckets)
	}
	return l
}

// Start returns when the first new pod appeared; zero if none has.
func (l *Ledger) Start() time.Time { return l.start }

// Elapsed returns the time since the first new pod appeared.
func (l *Ledger) Elapsed() time.Duration {
	if l.start.IsZero() {
		return 0
	}
	return l.now.Sub(l.start)
}

// Add takes in one window. Windows come in the order of time.
func (l *Ledger) Add(w *Window) {
	l.now = w.At
	if l.start.IsZero() {
		for i := range w.Pods {
			if w.Pods[i].New {
				l.start = w.At
				break
			}
		}
	}
	if !l.start.IsZero() && l.scale.settle(l.old) {
		l.before[Slow], l.before[Tail] = l.scale.above(l.old)
	}
	for i := range w.Pods {
		l.addPod(&w.Pods[i])
	}
}

func (l *Ledger) addPod(p *PodSample) {
	g := group(p.Started, l.now)
	if !p.New && g < grown {
		return // An old revision's pod that has just started is like neither side.
	}
	id := l.pod(p.Pod)
	l.fresh[id] = p.New
	l.leak.add(id, p, l.now)
	var sum tallies
	if Known(p.Requests) && p.Requests > 0 {
		if Known(p.Errors) {
			sum[Errors].add(p.Requests, math.Min(p.Errors, p.Requests))
		}
		if Known(p.CPUSeconds) && p.CPUSeconds > 0 {
			sum[CPU].add(p.Requests, p.CPUSeconds)
		}
	}
	l.scale.add(&sum, p.Latency)
	if !p.New {
		l.addOld(id, p, &sum)
	}
	if !l.start.IsZero() {
		r := l.record(id, g, p.New)
		r.sum.merge(&sum)
		r.buckets = addBuckets(r.buckets, p.Latency)
	}
}

// pod returns the number of a pod.
func (l *Ledger) pod(name string) int {
	id, ok := l.pods[name]
	if !ok {
		id = len(l.pods)
		l.pods[name] = id
		l.fresh = append(l.fresh, false)
		l.last = append(l.last, -1)
		l.newest = append(l.newest, -1)
	}
	return id
}

// record returns the record of a pod in the present slot.
func (l *Ledger) record(id, g int, fresh bool) *record {
	slot := int(l.now.Sub(l.start) / slotLength)
	if at := l.last[id]; at >= 0 && l.records[at].slot == slot && l.records[at].group == g {
		return &l.records[at]
	}
	l.last[id] = len(l.records)
	l.records = append(l.records, record{slot: slot, pod: id, group: g, fresh: fresh})
	return &l.records[len(l.records)-1]
}

// addOld remembers what the old revision is like.
func (l *Ledger) addOld(id int, p *PodSample, sum *tallies) {
	l.before.merge(sum)
	if len(p.Latency) == len(l.old) {
		for i, c := range p.Latency {
			l.old[i] += c
		}
	}
	block := int(l.now.Unix() / int64(blockLength/time.Second))
	if at := l.newest[id]; at < 0 || l.blocks[at].block != block {
		l.forget(block)
		l.newest[id] = len(l.blocks)
		l.blocks = append(l.blocks, podBlock{pod: id, block: block})
	}
	b := &l.blocks[l.newest[id]]
	b.sum.merge(sum)
	b.buckets = addBuckets(b.buckets, p.Latency)
}

// forget drops blocks that are older than what is kept.
func (l *Ledger) forget(block int) {
	if len(l.blocks) == 0 || l.blocks[0].block >= block-2*blocksBefore {
		return
	}
	kept := l.blocks[:0]
	for _, b := range l.blocks {
		if b.block >= block-blocksBefore {
			kept = append(kept, b)
		}
	}
	l.blocks = kept
	for i := range l.newest {
		l.newest[i] = -1
	}
	for i, b := range l.blocks {
		l.newest[b.pod] = i
	}
}

// addBuckets adds from to to, which may be nil.
func addBuckets(to, from []float64) []float64 {
	if to == nil {
		return append(to, from...)
	}
	if len(to) == len(from) {
		for i, c := range from {
			to[i] += c
		}
	}
	return to
}

func (t *tallies) merge(from *tallies) {
	for m := range t {
		t[m].add(from[m].n, from[m].x)
	}
}
