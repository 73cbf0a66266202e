package release

import "time"

// Basis says what a verdict rests on.
type Basis string

// The bases.
const (
	NoBasis    Basis = ""           // Nothing yet.
	ByPods     Basis = "pods"       // New pods against old ones.
	ByService  Basis = "service"    // The service as a whole, before and after: its samples name no pods.
	ByClusters Basis = "clusters"   // The same release of several clusters together.
	ByFacts    Basis = "kubernetes" // What Kubernetes itself tells of new pods. There is no e-value for it.
)

// Record is what is known of one release: how far it is and what it was judged to be.
type Record struct {
	Release  Release   `json:"release"`
	Verdict  Verdict   `json:"verdict"`           // The newest.
	Basis    Basis     `json:"basis,omitempty"`   // Of the newest verdict.
	Decided  *Verdict  `json:"decided,omitempty"` // The first one that was Regressed. It stays.
	Pooled   *Verdict  `json:"pooled,omitempty"`  // The newest of all clusters together.
	Clusters []string  `json:"clusters,omitempty"`
	Smallest *Smallest `json:"smallest,omitempty"`    // The effects that it can show, as far as they are known.
	Bound    float64   `json:"bound,omitempty"`       // The e-value that makes it Regressed; higher after a failed check.
	Accepted string    `json:"accepted_by,omitempty"` // Who accepted it against the verdict.

	// DataAt is the time of the newest of what the verdict rests on: a sample of a new pod, of the
	// service as a whole, or a look at the pods. Zero: there is none.
	DataAt time.Time `json:"data_at,omitzero"`
	Looks  int       `json:"looks"` // How often it was judged.
}

// Event is news of a release: a step in its life, or a verdict that is worth telling.
type Event struct {
	Record
	At         time.Time   `json:"at"`
	Transition *Transition `json:"transition,omitempty"` // Nil: its verdict is the news.
}

// Want is what the manager wants to know of a workload.
type Want struct {
	Key

	Release string `json:"release,omitempty"` // ID of the running one; empty: only a look is wanted.
	// Samples after Since and up to Until are wanted of the pods; of none if Until is zero.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	Old   []string  `json:"old,omitempty"` // Pods that are known by name.
	New   []string  `json:"new,omitempty"`
	Match []string  `json:"match,omitempty"` // Regular expressions that names of further pods have.
}
