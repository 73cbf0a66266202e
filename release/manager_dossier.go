package release

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
	"tocsin/release/evidence"
)

// dossier is what is known of one running release beside what the tracker knows.
type dossier struct {
	id     string
	key    Key
	record Record // Without its release.
	pool   *pool

	// What looks have told.
	pods     map[string]podSide
	matches  [2]match // Of old and new pods that are gone.
	any      match    // Of pods of the workload, whatever their revision.
	mostly   time.Time
	oldReady bool                // Some old pod was ready beside the new ones.
	oldShow  map[FactKind]string // Trouble that old pods have shown, and which of them.

	// What samples have told. It is asked for again after a restart.
	trial      *Trial // Nil before the first sample.
	counters   *evidence.Counters
	counted    map[string]*counted
	bounds     []float64
	window     evidence.Window
	inWindow   [2]int // Old and new pods.
	windowOpen bool
	windowAt   time.Time // Of the newest that ended.
	served     bool      // It holds requests of new pods.
	again      bool      // Begin anew when the window ends.
	refills    int
	cursor     time.Time // Up to here, samples were handed over.
	sampleAt   time.Time // Newest sample; of the requests of a new pod, freshAt.
	freshAt    time.Time
	wholeAt    time.Time // Newest window of the service as a whole.
	basis      Basis

	// What it was judged to be.
	news        bool    // There were samples since own was made.
	own         Verdict // By the release's own samples.
	facts       Verdict // By Kubernetes; its At is zero if there is none.
	judgedAt    time.Time
	waitsSince  time.Time // Its soak time is over, but samples are missing.
	smallestAt  time.Time
	toldAt      time.Time
	toldVerdict word
	toldReached Reached
}

// word is what of a verdict is worth telling.
type word struct {
	Result Result `json:"result"`
	Tier   Tier   `json:"tier"`
}

// podSide says what a pod is to a release.
type podSide struct {
	fresh    bool
	stranger bool      // Of the new revision, but from an earlier time when it ran.
	again    bool      // Its name was an old pod's before, which is not the same pod.
	from     time.Time // If again: since when the name is the new pod's.
	started  time.Time
}

// match recognizes pods by name.
type match struct {
	text string
	re   *regexp.Regexp // Nil: recognizes none.
}

// mostMatch bounds the length of a regular expression.
const mostMatch = 10_000

// set changes what names are like. If a look does not tell, what it was stays.
func (m *match) set(text string) {
	if text == "" || text == m.text || len(text) > mostMatch {
		return
	}
	if re, err := regexp.Compile("^(?:" + text + ")$"); err == nil {
		m.text, m.re = text, re
	}
}

// anyPod matches the names of the pods of a workload.
func anyPod(k Key) string {
	name := regexp.QuoteMeta(k.Service.Name)
	switch k.Workload {
	case fleet.StatefulSet:
		return name + "-[0-9]+"
	case fleet.DaemonSet:
		return name + "-[a-z0-9]{5}"
	}
	return name + "-[a-z0-9]{1,10}-[a-z0-9]{5}"
}

func (m *match) is(name string) bool { return m.re != nil && m.re.MatchString(name) }

// modelName is under what name the judge knows a workload.
func modelName(k Key) string { return k.Service.String() + "/" + string(k.Workload) }

func newDossier(r *Release) *dossier {
	d := &dossier{id: r.ID, key: r.Key, pods: map[string]podSide{}, oldShow: map[FactKind]string{}}
	d.own, d.record.Verdict = unjudged(), unjudged()
	d.any.set(anyPod(r.Key))
	d.empty()
	return d
}

// refill begins anew with the samples of a release: Wanted asks for all of them.
func (m *Manager) refill(d *dossier) {
	m.counting -= len(d.counted)
	m.metrics.refills.Inc()
	d.refills++
	d.empty()
}

func (d *dossier) empty() {
	d.trial, d.counters, d.counted = nil, evidence.NewCounters(), map[string]*counted{}
	d.cursor, d.wholeAt, d.windowAt = time.Time{}, time.Time{}, time.Time{}
	d.again, d.news = false, false
}

// mostlyNew is the share of new pods from which on a service as a whole counts as new, in percent.
const mostlyNew = 80

// look takes in what the newest look at the pods has told.
func (d *dossier) look(r *Release) {
	p := r.Seen
	for i := range p.Old.Pods {
		pod := &p.Old.Pods[i]
		if side, known := d.pods[pod.Name]; !known && len(d.pods) < mostNames {
			d.pods[pod.Name] = podSide{started: pod.Started.UTC()}
		} else if side.fresh || side.stranger {
			continue
		}
		d.oldReady = d.oldReady || pod.Ready
		for _, reason := range [...]string{pod.Waiting, pod.Terminated} {
			if kind := byPod(reason); kind != "" {
				d.oldShow[kind] = pod.Name
			}
		}
	}
	for i := range p.New.Pods {
		d.lookNew(r, &p.New.Pods[i])
	}
	d.matches[0].set(p.Old.Match)
	d.matches[1].set(p.New.Match)
	all := p.New.Available + p.Old.Created
	switch mostly := all > 0 && 100*p.New.Available >= mostlyNew*all; {
	case !mostly:
		d.mostly = time.Time{}
	case d.mostly.IsZero():
		d.mostly = p.At
	}
}

func (d *dossier) lookNew(r *Release, pod *Pod) {
	side, known := d.pods[pod.Name]
	if !known && len(d.pods) >= mostNames {
		return
	}
	switch {
	case !r.started(*pod):
		side = podSide{fresh: true, stranger: true}
	case !known || side.stranger:
		side = podSide{fresh: true}
	case !side.fresh:
		side = podSide{fresh: true, again: true}
	}
	if known && side.again && side.from.IsZero() || !known && r.Workload == fleet.StatefulSet {
		side.again, side.from = true, pod.Started.UTC()
		if side.from.IsZero() {
			side.from = r.Seen.At
		}
	}
	side.started = pod.Started.UTC()
	d.pods[pod.Name] = side
}

// side returns what a pod is to the release at a time, false if it is of neither side.
func (d *dossier) side(r *Release, name string, at time.Time) (podSide, bool) {
	side, known := d.pods[name]
	switch {
	case known && side.stranger:
		return side, false
	case known && side.again && at.Before(side.from):
		return podSide{}, true
	case known:
		return side, !side.fresh || !at.Before(r.Start)
	}
	old, fresh := d.matches[0].is(name), d.matches[1].is(name)
	if at.Before(r.Start) && !fresh && d.any.is(name) {
		return podSide{}, true // Gone before anybody looked: it can only be old.
	}
	if old == fresh || fresh && (r.Back || at.Before(r.Start)) {
		return podSide{}, false
	}
	return podSide{fresh: fresh}, true
}

// names returns the pods of one side that are known by name, in order.
func (d *dossier) names(fresh bool) []string {
	var out []string
	for name, side := range d.pods {
		if !side.stranger && (side.fresh == fresh || side.again) {
			out = append(out, name)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out[:min(len(out), mostPods)]
}

// dataAt returns the time of the newest sample that a verdict by samples rests on.
func (d *dossier) dataAt() time.Time {
	if d.freshAt.IsZero() {
		return d.sampleAt
	}
	return d.freshAt
}
