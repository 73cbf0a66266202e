package release

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/fleet"
)

// State says where a release is in its life.
type State string

// The states of a release. The first three are those of a running one: no workload has two of
// them.
const (
	Rolling    State = "rolling"     // Pods are being replaced.
	Stalled    State = "stalled"     // It fails to progress; it may go on.
	Soaking    State = "soaking"     // All pods are of the new revision and are watched for a while.
	Done       State = "done"        // The soak time is over.
	Superseded State = "superseded"  // Another revision was released before it was done.
	RolledBack State = "rolled back" // It was taken back before it was done; EndedBy says who did.
	Deleted    State = "deleted"     // Its workload is gone.
	Lost       State = "lost"        // Nothing was seen of it for too long.
)

// Running reports whether a release in this state may still change.
func (s State) Running() bool { return s == Rolling || s == Stalled || s == Soaking }

// valid reports whether s is one of the states.
func (s State) valid() bool {
	return s.Running() || slices.Contains([]State{Done, Superseded, RolledBack, Deleted, Lost}, s)
}

// Key names a workload: names are not unique across kinds.
type Key struct {
	Service  fleet.Service  `json:"service"`
	Workload fleet.Workload `json:"workload"`
}

// compare orders keys by service and kind.
func (k Key) compare(l Key) int {
	if c := k.Service.Compare(l.Service); c != 0 {
		return c
	}
	return strings.Compare(string(k.Workload), string(l.Workload))
}

// Release is one rollout from one revision of a workload to another.
type Release struct {
	Key

	ID       string         `json:"id"` // Of the workload's UID, the new hash and the start.
	UID      string         `json:"uid,omitempty"`
	Change   string         `json:"change,omitempty"` // ID of the change that began it.
	Old      fleet.Revision `json:"old"`              // Without templates, as New.
	New      fleet.Revision `json:"new"`
	Author   string         `json:"author,omitempty"`
	Strategy Strategy       `json:"strategy,omitempty"`
	Good     string         `json:"good,omitempty"`   // The last good hash when it began.
	Was      Standing       `json:"was,omitempty"`    // Of New when it began: bad ones come back.
	Back     bool           `json:"back,omitempty"`   // It goes back to an older revision.
	Undoes   string         `json:"undoes,omitempty"` // The release that it takes back, if Back.

	State      State     `json:"state"`
	Start      time.Time `json:"start"`
	FirstPod   time.Time `json:"first_pod,omitzero"`  // Start of the first new pod.
	Progressed time.Time `json:"progressed,omitzero"` // When it got any further last.
	Complete   time.Time `json:"complete,omitzero"`   // When all pods were new; soaking began.
	End        time.Time `json:"end,omitzero"`        // When it stopped running.
	EndedBy    string    `json:"ended_by,omitempty"`  // Author of the change that ended it.
	Reason     string    `json:"reason,omitempty"`    // Of the state, one sentence for people.

	Paused    bool      `json:"paused,omitempty"`
	Scaled    time.Time `json:"scaled,omitzero"`    // Last, while it ran.
	Restarted time.Time `json:"restarted,omitzero"` // Last, while it ran.
	Result    Result    `json:"result"`             // The last verdict; Regressed stays.
	JudgedAt  time.Time `json:"judged_at,omitzero"`
	Facts     []Fact    `json:"facts,omitempty"`   // Of new pods only, by first appearance.
	Seen      *Progress `json:"seen,omitempty"`    // The newest, while it runs.
	Reached   Reached   `json:"reached"`           // The furthest that it ever got.
	Pending   []Pending `json:"pending,omitempty"` // Warnings on pods not seen yet.
	Steps     int       `json:"steps"`             // How many transitions were reported.
}

// Reached is the furthest that a release ever got.
type Reached struct {
	Created   int32 `json:"created"`
	Available int32 `json:"available"`
	Replaced  int32 `json:"replaced"` // Pods, of the most old ones that were seen.
	Most      int32 `json:"most"`
}

// Transition is one step in the life of a release. Release and Step name it: whoever keeps
// transitions and gets one again after a restart knows it by them.
type Transition struct {
	At      time.Time `json:"at"` // When it happened, which may be before it was noticed.
	From    State     `json:"from,omitempty"`
	To      State     `json:"to"`
	Fact    FactKind  `json:"fact,omitempty"` // The first of its kind; From and To are the same.
	Step    int       `json:"step"`           // 1 for the first of a release.
	Release Release   `json:"release"`        // As it is after it.
}

// NewPods returns the pods that the release has started: those of the new revision, but for the
// ones that are left from an earlier time when it ran.
func (r *Release) NewPods() []Pod {
	if r.Seen == nil {
		return nil
	}
	pods := make([]Pod, 0, len(r.Seen.New.Pods))
	for _, p := range r.Seen.New.Pods {
		if r.started(p) {
			pods = append(pods, p)
		}
	}
	return pods
}

// started reports whether a pod of the new revision was started by the release. Only for a
// revision that has run before does the time count: it is that of another clock.
func (r *Release) started(p Pod) bool { return !r.Back || !p.Started.Before(r.Start) }

// clone returns a copy that shares nothing with r that changes.
func (r *Release) clone() Release {
	c := *r
	c.Facts = slices.Clone(r.Facts)
	for i := range c.Facts {
		c.Facts[i].Pods = slices.Clone(c.Facts[i].Pods)
	}
	c.Pending = slices.Clone(r.Pending)
	return c // Progress is replaced as a whole, and never written to.
}

// releaseID is the same for whoever sees the release. A workload without a UID goes by its name.
func releaseID(k Key, uid, hash string, start time.Time) string {
	text := strings.Join([]string{
		k.Service.String(), string(k.Workload), uid, hash, strconv.FormatInt(start.UnixNano(), 10),
	}, "\x00")
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:10])
}

// slim returns a revision without its template, which may be large and is kept elsewhere.
func slim(r *fleet.Revision) fleet.Revision {
	if r == nil {
		return fleet.Revision{}
	}
	return fleet.Revision{Hash: r.Hash, Number: r.Number, Images: slices.Clone(r.Images)}
}
