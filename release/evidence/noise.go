package evidence

import (
	"math"
	"time"
)

// noise is how much the pods of one revision differ in one metric, as variances on the log scale.
type noise struct {
	pod    float64 // Between pods, for as long as they live.
	wander float64 // Of one pod from block to block, beyond what all pods share.
}

// deviation is a pod's deviation in a block and the variance that chance alone gives it.
type deviation struct{ u, v float64 }

// measureNoise estimates a metric's noise from old pods (two ways: pods and blocks), drawn towards what the
// service's model expects as far as the data are few or drowned by counting noise.
func (l *Ledger) measureNoise(m Metric, prior noise) noise {
	pods, blocks, first, total := l.margins(m)
	k, b := float64(used(pods)), float64(used(blocks))
	if k < 2 {
		return prior
	}
	var parts, ends []deviation
	for i := range l.blocks {
		b := &l.blocks[i]
		if d, ok := l.deviate(m, l.tally(b, m), pods[b.pod], blocks[b.block-first], total); ok {
			parts = append(parts, d)
		}
	}
	out := prior
	if b > 1 {
		out.wander = shrink(parts, prior.wander, (1-1/k)*(1-1/b), wanderWeight)
	}
	for _, p := range pods {
		if d, ok := l.deviate(m, p, total, total, total); ok {
			d.v += out.wander / b
			ends = append(ends, d)
		}
	}
	out.pod = shrink(ends, prior.pod, 1-1/k, podWeight)
	return out
}

// How many observations the expected noise is worth.
const (
	wanderWeight = 12
	podWeight    = 8
)

// margins adds up a metric by pod and by block. Slices, not maps: sums must not depend on a random order.
func (l *Ledger) margins(m Metric) (pods, blocks []tally, first int, total tally) {
	pods = make([]tally, len(l.pods))
	if len(l.blocks) == 0 {
		return pods, nil, 0, total
	}
	first, last := l.blocks[0].block, l.blocks[0].block
	for i := range l.blocks {
		first, last = min(first, l.blocks[i].block), max(last, l.blocks[i].block)
	}
	blocks = make([]tally, last-first+1)
	for i := range l.blocks {
		b := &l.blocks[i]
		t := l.tally(b, m)
		pods[b.pod].add(t.n, t.x)
		blocks[b.block-first].add(t.n, t.x)
		total.add(t.n, t.x)
	}
	return pods, blocks, first, total
}

// tally returns what an old pod did in a block; of the 99th percentile, its logarithm times the requests.
func (l *Ledger) tally(b *podBlock, m Metric) tally {
	if m != P99 {
		return b.sum[m]
	}
	if v, variance, ok := l.scale.quantile(b.buckets); ok {
		n := b.sum[Latency].n
		l.chanceP99 = variance * n
		return tally{n, n * v}
	}
	return tally{}
}

// used counts the tallies that hold something.
func used(ts []tally) (n int) {
	for _, t := range ts {
		if t.n > 0 {
			n++
		}
	}
	return n
}

// deviate compares a tally with what its pod and its block lead one to expect.
func (l *Ledger) deviate(m Metric, t, pod, block, total tally) (deviation, bool) {
	if t.n <= 0 {
		return deviation{}, false
	}
	if m == Latency || m == P99 {
		u := t.x/t.n - pod.x/pod.n - block.x/block.n + total.x/total.n
		v := l.scale.variance / t.n
		if m == P99 {
			v = l.chanceP99 / t.n
		}
		return deviation{u, v}, true
	}
	if total.x <= 0 || pod.x <= 0 || block.x <= 0 {
		return deviation{}, false
	}
	rate := pod.x / pod.n * block.x / block.n / (total.x / total.n)
	v := 1 / t.n // CPU: the work of requests varies about as much as its mean.
	if m.counts() {
		v = 1 / (t.n * rate)
	}
	return deviation{t.x/(t.n*rate) - 1, v}, true
}

// shrink estimates the variance beyond chance by moments. free is the share of
// each squared deviation that fitting the margins has left.
func shrink(ds []deviation, prior, free, weight float64) float64 {
	var sum, worth float64
	for _, d := range ds {
		trust := prior / (prior + d.v)
		w := free * trust * trust
		sum += w * (min(d.u*d.u, 25*(prior+d.v))/free - d.v)
		worth += w
	}
	return max((weight*prior+sum)/(weight+worth), prior/16, 0)
}

// noises returns the noise of all metrics, measured anew once in each block.
func (l *Ledger) noises(m *Model) *[ratios]noise {
	if block := int(l.now.Unix() / int64(blockLength/time.Second)); block != l.noiseAt {
		l.noiseAt = block
		for k := range ratios {
			l.noise[k] = l.measureNoise(Metric(k), m.expect(Metric(k)).noise)
		}
	}
	return &l.noise
}

// effective returns how many equal parts a sum with these squares amounts to.
func effective(sum, squares float64) float64 {
	if squares <= 0 {
		return 0
	}
	return math.Max(sum*sum/squares, 1)
}
