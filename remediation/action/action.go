// Package action decides what is done about a release that has regressed, has it done once, sees
// what came of it, and writes all of that down.
//
// A release goes through guards, in a fixed order, each of which may speak against the action. All
// of them are asked, whatever the first one said, so that people see the whole picture; and they
// are asked in the mode observe as well, in which everything happens but the write.
package action

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/rollback"
)

// Mode says how far tocsin goes by itself.
type Mode string

// The modes, from the mildest on.
const (
	Observe Mode = "observe" // Everything but the write.
	Ask     Mode = "ask"     // Once a person has approved.
	Auto    Mode = "auto"
)

// Modes returns all modes, from the mildest on.
func Modes() []Mode { return []Mode{Observe, Ask, Auto} }

// rank orders modes. What is no mode is as mild as can be.
func (m Mode) rank() int { return max(slices.Index(Modes(), m), 0) }

// Kind says what an action does.
type Kind string

// The kinds. All but the first take the release back: a release gets at most one of those.
const (
	KindPause    Kind = "pause"    // Stop the rollout where it is: the old pods stay.
	KindRollback Kind = "rollback" // Write the last good template back.
	KindAbort    Kind = "abort"    // Take an Argo Rollout back to its stable revision.
	KindWebhook  Kind = "webhook"  // Have the user's own automation do it: a revert in git.
)

// Kinds returns all kinds.
func Kinds() []Kind { return []Kind{KindPause, KindRollback, KindAbort, KindWebhook} }

// undoes says whether the kind takes a release back.
func (k Kind) undoes() bool { return k != KindPause }

// State says how far an action came.
type State string

// The states.
const (
	Proposed     State = "proposed"      // Guards are yet to be asked.
	Waiting      State = "waiting"       // For a person to approve.
	Refused      State = "refused"       // A guard speaks against it, for the time being or for good.
	Running      State = "running"       // Claimed: from here on it may have been written.
	Done         State = "done"          // The cluster has accepted it.
	Verified     State = "verified"      // It has rolled out; whether it helps is being watched.
	Recovered    State = "recovered"     // The service is well again.
	NotRecovered State = "not_recovered" // It did not help: people must look.
	Superseded   State = "superseded"    // Somebody else was faster, or went on to another revision.
	Expired      State = "expired"       // Nobody approved in time.
	Failed       State = "failed"        // It was tried and did not come to its end.
	Aborted      State = "aborted"       // A person has called it off.
	Would        State = "would"         // Observe: it would have been done.
)

// States returns all states.
func States() []State {
	return []State{
		Proposed, Waiting, Refused, Running, Done, Verified, Recovered, NotRecovered, Superseded,
		Expired, Failed, Aborted, Would,
	}
}

// Action is one thing that is done about a release, at most once. Its ID is the same for whoever
// derives it, and the target bears it once it is done.
type Action struct {
	ID       string          `json:"id"`
	Release  string          `json:"release"` // Its ID.
	Service  fleet.Service   `json:"service"`
	Workload fleet.Workload  `json:"workload"`
	Team     string          `json:"team,omitempty"`
	Kind     Kind            `json:"kind"`
	Mode     Mode            `json:"mode"`
	State    State           `json:"state"`
	Reason   string          `json:"reason"`          // Of the state, one sentence for people.
	Final    bool            `json:"final,omitempty"` // Refused: waiting does not help, people may.
	Bad      fleet.Revision  `json:"bad"`
	Good     fleet.Revision  `json:"good,omitzero"`
	Start    time.Time       `json:"start"` // Of the release.
	Verdict  release.Verdict `json:"verdict"`
	Pooled   bool            `json:"pooled,omitempty"` // The verdict is of several clusters together.
	Memory   *Bad            `json:"memory,omitempty"` // It is held because its images are bad elsewhere.
	Guards   []Guard         `json:"guards,omitempty"`
	Steps    []Step          `json:"steps,omitempty"`

	Proposed time.Time `json:"proposed"`          // When guards were asked first.
	Decided  time.Time `json:"decided,omitzero"`  // When all guards but approval had let it pass.
	Deadline time.Time `json:"deadline,omitzero"` // Of the approval.
	Approver string    `json:"approver,omitempty"`
	Approved time.Time `json:"approved,omitzero"`
	Attempt  int       `json:"attempt"`          // 1 at first; more after a retry.
	Claimed  time.Time `json:"claimed,omitzero"` // When it was begun.
	Tried    bool      `json:"tried,omitempty"`  // A write was sent; it may have been accepted.
	Written  time.Time `json:"written,omitzero"` // When the cluster had accepted it.
	Rolled   time.Time `json:"rolled,omitzero"`  // When it had rolled out; the soak time begins.
	Resumed  time.Time `json:"resumed,omitzero"` // When a pause of it was lifted again.
	Ended    time.Time `json:"ended,omitzero"`   // When its state became the last one.
	Changed  time.Time `json:"changed"`          // When its state changed last.

	Request rollback.Request  `json:"request"` // What is asked of the cluster.
	Effect  *rollback.Effect  `json:"effect,omitempty"`
	Hold    *rollback.Hold    `json:"hold,omitempty"` // An owner that is suspended, until it is given back.
	Outcome *rollback.Outcome `json:"outcome,omitempty"`
	End     *ReleaseEnd       `json:"release_end,omitempty"` // How the release ended, whatever was done.
}

// ReleaseEnd says how a release ended.
type ReleaseEnd struct {
	State  release.State `json:"state"`
	At     time.Time     `json:"at"`
	By     string        `json:"by,omitempty"`
	Reason string        `json:"reason,omitempty"`
}

// Guard is what one guard rail said.
type Guard struct {
	Name   string `json:"name"`
	Passed bool   `json:"passed"`
	Code   string `json:"code,omitempty"`   // Why not; or a remark on why it did. The set is closed.
	Reason string `json:"reason,omitempty"` // One sentence for people.
	Next   string `json:"next,omitempty"`   // What people can do.
	Final  bool   `json:"final,omitempty"`  // Waiting does not help.
}

// Step is one thing that happened to an action.
type Step struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// mostSteps bounds what is kept of an action that goes on and on. The first ones stay.
const mostSteps = 200

// step notes what happened.
func (a *Action) step(now time.Time, format string, args ...any) {
	if len(a.Steps) >= mostSteps {
		a.Steps = slices.Delete(a.Steps, mostSteps/2, mostSteps/2+1)
	}
	a.Steps = append(a.Steps, Step{At: now.UTC(), What: fmt.Sprintf(format, args...)})
}

// clone returns a copy that shares nothing with a that changes.
func (a *Action) clone() Action {
	c := *a
	c.Guards, c.Steps = slices.Clone(a.Guards), slices.Clone(a.Steps)
	if a.Hold != nil {
		hold := *a.Hold
		c.Hold = &hold
	}
	return c // What else is pointed to is replaced as a whole.
}

// acting says whether an action is between its claim and its end. A pause ends when the rollout
// stands still.
func (a *Action) acting() bool {
	switch a.State {
	case Running, Done:
		return true
	case Verified:
		return a.Kind.undoes()
	}
	return false
}

// Over says whether nothing more happens to an action by itself.
func (a *Action) Over() bool { return a.over() }

// over says whether nothing more happens to an action by itself.
func (a *Action) over() bool {
	switch a.State {
	case Proposed, Waiting, Refused:
		return false
	}
	return !a.acting()
}

// subject is what scopes compare with.
func (a *Action) subject() subject { return subject{a.Service, a.Workload, a.Team} }

// key names the workload.
func (a *Action) key() release.Key { return release.Key{Service: a.Service, Workload: a.Workload} }

// newID derives the ID of what is done about a release: one for a pause, and one for all that takes
// it back, so that no two of those can happen.
func newID(releaseID string, k Kind) string {
	family := "undo"
	if !k.undoes() {
		family = string(k)
	}
	sum := sha256.Sum256([]byte(family + "\x00" + releaseID))
	return family + "-" + hex.EncodeToString(sum[:10])
}
