package release

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"tocsin/release/evidence"
)

// Checked is how the judge did on releases that were none: pieces of a service's quiet history, with some
// pods called new. Older checks count for less and less.
type Checked struct {
	At         time.Time `json:"at"`         // The end of the newest history.
	Trials     float64   `json:"trials"`     // Pieces of time.
	False      float64   `json:"false"`      // Called regressed, of them.
	Strictness float64   `json:"strictness"` // What follows from that; 1 is as usual.
}

// How quiet history is cut into pseudo-releases.
const (
	checkBefore  = 15 * time.Minute // Of old pods alone.
	checkWatch   = 30 * time.Minute
	checkEvery   = 15 * time.Minute  // From start to start.
	checkLook    = 150 * time.Second // Between looks.
	checkSplits  = 4                 // Ways to part the pods, at each start.
	checkKeep    = 0.9               // What a check counts for when the next is made.
	mostStrict   = 100.0             // An e-value of 100,000 instead of 1,000.
	checkSure    = 1.96              // Standard deviations by which alpha must be exceeded.
	checkOverlap = float64(checkEvery) / float64(checkWatch)
)

// Check judges releases that were none and makes the judge stricter with this service, by as much as it
// called regressed too often. Windows are of the pods of one revision, in order of time, while nothing was
// released; the same windows give the same result. It is meant for once a night.
func (j *Judge) Check(service string, bounds []float64, windows []evidence.Window) Checked {
	c, ok := j.checked[service]
	if !ok {
		c = &Checked{Strictness: 1}
	}
	pods := podsOf(windows)
	if len(windows) == 0 || len(pods) < 2 {
		return *c
	}
	c.Trials *= checkKeep
	c.False *= checkKeep
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(service)) // Never fails.
	rng := rand.New(rand.NewPCG(hash.Sum64(), uint64(windows[0].At.Unix())))
	last := windows[len(windows)-1].At
	for at := windows[0].At.Add(checkBefore); !at.Add(checkWatch).After(last); at = at.Add(checkEvery) {
		wrong := 0
		for range checkSplits {
			if j.pseudo(service, bounds, windows, part(rng, pods), at) {
				wrong++
			}
		}
		c.Trials += checkOverlap
		c.False += checkOverlap * float64(wrong) / checkSplits
	}
	c.At = last
	c.Strictness = strictness(c.False, c.Trials, j.opts.Alpha)
	j.checked[service] = c
	return *c
}

// Strictness returns how much larger than usual an e-value must be for a verdict on a service; 1 is as usual.
func (j *Judge) Strictness(service string) float64 {
	if c, ok := j.checked[service]; ok {
		return c.Strictness
	}
	return 1
}

// podsOf returns the names of all pods, in order.
func podsOf(windows []evidence.Window) []string {
	seen := map[string]bool{}
	var names []string
	for i := range windows {
		for k := range windows[i].Pods {
			if name := windows[i].Pods[k].Pod; !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// part calls some pods new: at least one, at most half.
func part(rng *rand.Rand, pods []string) map[string]bool {
	fresh := map[string]bool{}
	n := 1 + rng.IntN(len(pods)/2)
	for _, i := range rng.Perm(len(pods))[:n] {
		fresh[pods[i]] = true
	}
	return fresh
}

// pseudo judges a piece of history as if some pods were new since at. They are as warm as the others.
func (j *Judge) pseudo(service string, bounds []float64, windows []evidence.Window, fresh map[string]bool, at time.Time) bool {
	t := &Trial{judge: j, service: service, model: j.model(service), ledger: evidence.NewLedger(bounds, j.model(service))}
	var w evidence.Window
	look := at.Add(checkLook)
	for i := range windows {
		seen := &windows[i]
		if seen.At.Before(at.Add(-checkBefore)) {
			continue
		}
		if seen.At.After(at.Add(checkWatch)) {
			break
		}
		w.At, w.Pods = seen.At, append(w.Pods[:0], seen.Pods...)
		for k := range w.Pods {
			w.Pods[k].New = fresh[w.Pods[k].Pod] && !seen.At.Before(at)
			w.Pods[k].Started = time.Time{}
		}
		w.Pods = slices.DeleteFunc(w.Pods, func(p evidence.PodSample) bool { return fresh[p.Pod] && !p.New })
		t.Observe(&w)
		if seen.At.Before(look) {
			continue
		}
		look = look.Add(checkLook)
		if v := t.Verdict(); v.EValue >= 1/j.opts.Alpha {
			return true
		}
	}
	return false
}

// strictness returns by how much false verdicts exceed alpha for sure, as Wilson's interval has it.
func strictness(wrong, trials, alpha float64) float64 {
	if trials <= 0 {
		return 1
	}
	p, z := wrong/trials, checkSure*checkSure/trials
	lower := (p + z/2 - math.Sqrt(z*p*(1-p)+z*z/4)) / (1 + z)
	return math.Min(math.Max(lower/alpha, 1), mostStrict)
}
