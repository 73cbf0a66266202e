package incident

import (
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
	"tocsin/release"
)

// ReleaseInfo is the release that an incident is about, as people are told of it. The release
// itself, with every number, is known by the ID.
type ReleaseInfo struct {
	ID       string         `json:"id"`
	Service  fleet.Service  `json:"service"`
	Workload fleet.Workload `json:"workload"`
	Change   string         `json:"change,omitempty"` // ID of the change that began it.
	Old      fleet.Revision `json:"old"`
	New      fleet.Revision `json:"new"`
	Name     string         `json:"name"`             // Of the new revision, for people: "v42".
	Images   string         `json:"images,omitempty"` // "shop/cart:v41 -> shop/cart:v42".
	Author   string         `json:"author,omitempty"`

	State    release.State    `json:"state"`
	Strategy release.Strategy `json:"strategy,omitempty"`
	Start    time.Time        `json:"start"`
	End      time.Time        `json:"end,omitzero"`
	EndedBy  string           `json:"ended_by,omitempty"`
	NewPods  int32            `json:"new_pods"` // Of Pods; both 0 if nothing is known of them.
	Pods     int32            `json:"pods"`

	Suspected bool     `json:"suspected,omitempty"` // Enough to pause it, not to call it bad.
	Withdrawn string   `json:"withdrawn,omitempty"` // Why it is not held to be bad any more.
	Facts     []string `json:"facts,omitempty"`     // Of Kubernetes, in words.
	Clusters  []string `json:"clusters,omitempty"`  // Where the same image is bad, if in several.

	Evidence
}

// Evidence is what speaks against a release.
type Evidence struct {
	Tier     release.Tier  `json:"tier"`               // The highest that was reached.
	At       time.Time     `json:"at"`                 // Of the verdict.
	After    time.Duration `json:"after_ns"`           // From the first new pod to the verdict.
	Metric   string        `json:"metric"`             // As the verdict has it.
	Effect   string        `json:"effect"`             // "errors +4.8 points".
	Interval string        `json:"interval,omitempty"` // Of the effect, 95%: "+3.1 to +6.9 points".
	EValue   float64       `json:"e_value,omitempty"`
	Chance   string        `json:"chance,omitempty"`   // The e-value in words.
	Together int           `json:"together,omitempty"` // Clusters that were judged together.
}

// Over says whether the release does no more harm, or none that a machine could still see.
func (r *ReleaseInfo) Over() bool { return r.Withdrawn != "" || !r.State.Running() }

// Severity says how much a bad release matters.
func (r *ReleaseInfo) Severity() Severity {
	if r.Tier >= release.RollBack && !r.Suspected {
		return Critical
	}
	return Warning
}

// Lines says what is known of the release, a line for each: what it brought, what speaks against
// it and how surely, and what Kubernetes tells of it.
func (r *ReleaseInfo) Lines() []string {
	brought := r.Name
	if r.Images != "" {
		brought = r.Images
	}
	if r.Author != "" {
		brought += " by " + r.Author
	}
	found := r.Effect
	if r.Interval != "" {
		found += " (95%: " + r.Interval + ")"
	}
	if r.After > 0 {
		found += ", " + PlainDuration(r.After) + " after the first new pod"
	}
	if r.Together > 1 {
		found += ", " + count(r.Together, "cluster") + " judged together"
	}
	lines := []string{brought, found}
	if r.Chance != "" {
		lines = append(lines, r.Chance)
	}
	return append(lines, r.Facts...)
}

// ReleaseRef names one of several releases that an incident is about.
type ReleaseRef struct {
	ID       string        `json:"id"`
	Service  fleet.Service `json:"service"`
	Name     string        `json:"name"`
	State    release.State `json:"state"`
	Severity Severity      `json:"severity"`
	Over     bool          `json:"over,omitempty"`
}

// ending says in words how a release ended.
func (r *ReleaseInfo) ending() string {
	by := ""
	if r.EndedBy != "" {
		by = " by " + r.EndedBy
	}
	switch {
	case r.Withdrawn != "":
		return r.Name + " " + r.Withdrawn
	case r.State == release.RolledBack:
		return r.Name + " was rolled back" + by
	case r.State == release.Superseded:
		return r.Name + " was replaced by another release" + by
	case r.State == release.Deleted:
		return "the workload was deleted"
	case r.State == release.Lost:
		return "nothing was seen of " + r.Name + " for too long"
	}
	if r.State.Running() {
		return "nothing more was heard of " + r.Name
	}
	return r.Name + " stays, and is not compared with what was before it any more"
}

// progress says in brackets how far a release is.
func (r *ReleaseInfo) progress() string {
	switch {
	case r.Withdrawn != "":
		return r.Withdrawn
	case r.State == release.RolledBack:
		return "rolled back"
	case r.State == release.Superseded:
		return "replaced by another release"
	case r.State == release.Deleted || r.State == release.Lost:
		return string(r.State)
	case r.State == release.Soaking || r.State == release.Done:
		return "rolled out to all " + count(int(r.Pods), "pod")
	}
	how := string(r.State)
	if r.Strategy != "" && r.Strategy != release.RollingUpdate {
		how = string(r.Strategy) + ", " + how
	}
	if r.Pods > 0 {
		how += ", " + pods(r)
	}
	return how
}

func pods(r *ReleaseInfo) string {
	text := count(int(r.Pods), "pod")
	return strings.Join([]string{plainNumber(float64(r.NewPods)), "of", text, "new"}, " ")
}

// step is how far a release is, as roughly as people want to be told anew: in quarters.
func (r *ReleaseInfo) step() int32 {
	if r.Pods == 0 {
		return 0
	}
	return 4 * r.NewPods / r.Pods
}

// sameNews says whether people need not be told of b who know a. Numbers move with every sample;
// what they mean does not.
func sameNews(a, b *ReleaseInfo) bool {
	return a.ID == b.ID && a.State == b.State && a.EndedBy == b.EndedBy && a.step() == b.step() &&
		a.Suspected == b.Suspected && a.Withdrawn == b.Withdrawn && a.Tier == b.Tier &&
		a.Metric == b.Metric && len(a.Facts) == len(b.Facts) && slices.Equal(a.Clusters, b.Clusters)
}
