package release

import (
	"slices"
	"strings"
	"time"
)

// Basis says what a verdict rests on.
type Basis string

// The bases.
const (
	NoBasis    Basis = ""           // Nothing yet.
	ByPods     Basis = "pods"       // New pods against old ones.
	ByService  Basis = "service"    // The service as a whole, before and after.
	ByClusters Basis = "clusters"   // The same release of several clusters together.
	ByFacts    Basis = "kubernetes" // What Kubernetes tells of new pods. There is no e-value for it.
)

// Record is what is known of one release: how far it is and what it was judged to be.
type Record struct {
	Release    Release   `json:"release"`
	Verdict    Verdict   `json:"verdict"`               // The newest.
	Basis      Basis     `json:"basis,omitempty"`       // Of the newest verdict.
	Decided    *Verdict  `json:"decided,omitempty"`     // The first one that was Regressed. It stays.
	DecidedBy  Basis     `json:"decided_by,omitempty"`  // Its basis.
	Pooled     *Verdict  `json:"pooled,omitempty"`      // The newest of all clusters together.
	Clusters   []string  `json:"clusters,omitempty"`    // Those that are judged together.
	Smallest   *Smallest `json:"smallest,omitempty"`    // The effects that it can show.
	Bound      float64   `json:"bound,omitempty"`       // The e-value that makes it Regressed.
	AcceptedBy string    `json:"accepted_by,omitempty"` // Who accepted its revision.
	OldPods    int       `json:"old_pods,omitempty"`    // Pods that there were samples of.
	NewPods    int       `json:"new_pods,omitempty"`

	// DataAt is the time of the newest of what the verdict rests on: a sample of a new pod, or of the
	// service as a whole, or a look at the pods. Zero: there is none.
	DataAt time.Time `json:"data_at,omitzero"`
	Looks  int       `json:"looks"` // How often it was judged.
}

// Event is news of a release: a step in its life, or a verdict that is worth telling.
type Event struct {
	Record
	At time.Time `json:"at"`
	// Transition is nil if a verdict is the news. Its release is named only: the record has it.
	Transition *Transition `json:"transition,omitempty"`
}

// clone returns a copy that shares nothing with r that changes. Verdicts are replaced as a whole.
func (r *Record) clone() Record {
	c := *r
	c.Release = r.Release.clone()
	c.Clusters = slices.Clone(r.Clusters)
	return c
}

// order sorts releases by start.
func (r *Release) order(s *Release) int {
	if c := r.Start.Compare(s.Start); c != 0 {
		return c
	}
	return strings.Compare(r.ID, s.ID)
}

// snapshot returns the record as it is now.
func (d *dossier) snapshot(r *Release) Record {
	d.record.Release = Release{}
	c := d.record.clone()
	c.Release = r.clone()
	return c
}

// mark takes in what a person says of the revision of a running release.
func (d *dossier) mark(r *Release, hash string, s Standing, by string) {
	if hash != r.New.Hash {
		return
	}
	d.record.AcceptedBy = ""
	if s == Accepted {
		d.record.AcceptedBy = by
		d.record.withdraw()
	}
}

// withdraw takes back that a release was called regressed.
func (r *Record) withdraw() {
	r.Decided, r.DecidedBy = nil, NoBasis
	overrule(&r.Verdict, r.AcceptedBy)
}

// overrule lets a person's word stand against a verdict.
func overrule(v *Verdict, by string) {
	if by == "" {
		return
	}
	if v.Result == Regressed {
		v.Result, v.Reason = Inconclusive, "accepted by "+by+"; "+v.Reason
	}
	v.Tier = Watch
}

// markPast does the same for releases that are over.
func (m *Manager) markPast(k Key, hash string, s Standing, by string, at time.Time) {
	for _, r := range m.past {
		if r.Release.Key != k || r.Release.New.Hash != hash || s != Accepted || r.Decided == nil {
			continue
		}
		r.AcceptedBy = by
		r.withdraw()
		m.events = append(m.events, Event{Record: r.told(), At: at})
	}
}

// tell adds an event.
func (m *Manager) tell(d *dossier, r *Release, at time.Time, tr *Transition) {
	d.toldAt, d.toldVerdict = at, word{d.record.Verdict.Result, d.record.Verdict.Tier}
	d.toldReached = r.Reached
	e := Event{Record: d.snapshot(r), At: at}
	e.Record = e.told()
	if tr != nil {
		named := *tr
		of := &tr.Release
		named.Release = Release{Key: of.Key, ID: of.ID, State: of.State, Start: of.Start}
		e.Transition = &named
	}
	m.events = append(m.events, e)
}

// mostTold is how many pods in trouble an event names.
const mostTold = 20

// told returns the record as events carry it: of the pods, only those in trouble.
func (r *Record) told() Record {
	c := r.clone()
	if c.Release.Seen == nil {
		return c
	}
	seen := *c.Release.Seen
	for _, side := range []*Side{&seen.Old, &seen.New} {
		var pods []Pod
		for _, p := range side.Pods {
			if !p.Ready && (p.Waiting != "" || p.Terminated != "") && len(pods) < mostTold {
				pods = append(pods, p)
			}
		}
		side.Pods = pods
	}
	c.Release.Seen = &seen
	return c
}
