package fleet

import (
	"encoding/json"
	"time"
)

// Workload is the kind of object that runs a service.
type Workload string

// The kinds of workload that tocsin follows.
const (
	Deployment  Workload = "Deployment"
	StatefulSet Workload = "StatefulSet"
	DaemonSet   Workload = "DaemonSet"
)

// Revision is one pod template of a service.
type Revision struct {
	Hash     string          `json:"hash"`               // Of the template without what controllers add; equal templates have equal hashes.
	Number   int64           `json:"number,omitempty"`   // The controller's own count, 0 if it has none.
	Images   []string        `json:"images,omitempty"`   // Of containers, in their order in the template.
	Template json.RawMessage `json:"template,omitempty"` // The pod template, stripped of what controllers add.
}

// ChangeKind says what sort of thing happened.
type ChangeKind string

// The kinds of change. A rollout is a new pod template; an unhealthy change groups
// the Warning events of one workload that share a reason.
const (
	Rollout   ChangeKind = "rollout"
	Created   ChangeKind = "created"
	Deleted   ChangeKind = "deleted"
	Scaled    ChangeKind = "scaled"
	Paused    ChangeKind = "paused"
	Resumed   ChangeKind = "resumed"
	Restarted ChangeKind = "restarted" // A rollout of which only the restartedAt annotation differs.
	Warning   ChangeKind = "warning"
)

// Change is something that happened to a service. Its ID is the same whoever saw it, however often:
// a watcher that starts again and a second watcher produce the same ID.
type Change struct {
	ID       string     `json:"id"`
	At       time.Time  `json:"at"` // By the cluster's clock where it says, else when it was seen.
	Service  Service    `json:"service"`
	Workload Workload   `json:"workload"`
	UID      string     `json:"uid,omitempty"` // Of the object: another one of its name has another.
	Kind     ChangeKind `json:"kind"`
	Summary  string     `json:"summary"` // One line for people: "image shop:v41 -> shop:v42".
	Author   string     `json:"author,omitempty"`
	Old      *Revision  `json:"old,omitempty"`
	New      *Revision  `json:"new,omitempty"`
	Replicas *Replicas  `json:"replicas,omitempty"` // Of Scaled.
	Event    *Event     `json:"event,omitempty"`    // Of Warning.
}

// Replicas says from how many pods to how many a workload was scaled.
type Replicas struct {
	Old int32 `json:"old"`
	New int32 `json:"new"`
}

// Event groups the Warning events of one workload that share a reason.
type Event struct {
	Reason  string    `json:"reason"`  // BackOff, FailedScheduling, Unhealthy, ...
	Message string    `json:"message"` // Of the newest.
	Object  string    `json:"object"`  // Kind/name of the newest one's object.
	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
}
