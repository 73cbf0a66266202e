package kube

import (
	"time"

	"tocsin/fleet"
)

// Rollout is the workload of Argo Rollouts.
const Rollout fleet.Workload = "Rollout"

// Strategy says how pods are replaced.
type Strategy string

// The strategies.
const (
	RollingUpdate Strategy = "rolling"
	Recreate      Strategy = "recreate"  // All old pods go before the first new one comes.
	Canary        Strategy = "canary"    // By weights, by a partition, or by hand.
	OnDelete      Strategy = "on delete" // When somebody deletes the old ones.
)

// Progress is how far a workload's rollout was when somebody looked.
type Progress struct {
	Service    fleet.Service
	Workload   fleet.Workload
	At         time.Time
	UID        string
	Strategy   Strategy
	Weight     int  // Of a canary: percent of the traffic.
	Paused     bool // Also: it waits for somebody at a step.
	Aborted    bool // Of a Rollout: it goes back to its stable revision.
	Desired    int32
	Old        Side // All other revisions; the hash is of the newest that has pods.
	New        Side // What the workload asks for now.
	Conditions []WorkloadCondition
}

// Side is what runs of one revision, or of all others. Pods that are being deleted do not count.
type Side struct {
	Hash      string // As fleet.Revision has it.
	Created   int32
	Ready     int32
	Available int32
	Pods      []Pod // By name, 500 at most.

	// Match is a regular expression for the names of its pods, gone ones too. Empty: names do not
	// tell.
	Match string
}

// Pod is one pod as its status describes it.
type Pod struct {
	Name       string
	Started    time.Time // The newest start of a container: its counters began then.
	Ready      bool
	Waiting    string // Why a container waits: CrashLoopBackOff.
	Terminated string // Why one ended last: OOMKilled.
}

// WorkloadCondition is one of a workload's conditions that tells of trouble.
type WorkloadCondition struct {
	Reason  string // ProgressDeadlineExceeded, MinimumReplicasUnavailable, FailedCreate.
	Message string
	Since   time.Time
}

// The reasons that all kinds of workload share.
const (
	deadlineExceeded = "ProgressDeadlineExceeded"
	unavailable      = "MinimumReplicasUnavailable"
)
