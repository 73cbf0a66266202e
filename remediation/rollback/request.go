package rollback

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"tocsin/collectors/kube"
	"tocsin/fleet"
)

// Rollout is the workload of Argo Rollouts.
const Rollout = kube.Rollout

// Target is the workload to act on.
type Target struct {
	Cluster   string         `json:"cluster"`
	Kind      fleet.Workload `json:"kind"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	UID       string         `json:"uid,omitempty"` // No other of that name is meant. Empty: any.
}

// String names the target for people.
func (t Target) String() string {
	return fmt.Sprintf("%s %s/%s in %s", t.Kind, t.Namespace, t.Name, t.Cluster)
}

// Way says how a workload may be written that is part of something else.
type Way string

// The ways.
const (
	Ask     Way = ""        // Not at all: a person decides.
	Drift   Way = "drift"   // Although it then differs from its release. For Helm.
	Suspend Way = "suspend" // After its owner is suspended for a time. For Argo CD and Flux.
)

// Ways says how workloads may be written, by what they are part of.
type Ways struct {
	Helm   Way `json:"helm,omitempty"`
	Flux   Way `json:"flux,omitempty"`
	ArgoCD Way `json:"argo_cd,omitempty"`
}

// Owners returns the ways for a Request.
func (w Ways) Owners() map[kube.OwnerKind]Way {
	return map[kube.OwnerKind]Way{
		kube.HelmRelease: w.Helm, kube.FluxHelmRelease: w.Flux, kube.FluxKustomization: w.Flux,
		kube.ArgoApplication: w.ArgoCD,
	}
}

// Request says what is to be done to what, and on what grounds.
type Request struct {
	Action string `json:"action"` // ID: the same however often it is asked for. A value of a label.
	Target Target `json:"target"`
	Bad    string `json:"bad"`            // Hash to act against; of a Rollout, its ReplicaSet's.
	Good   string `json:"good,omitempty"` // Undo: hash of the last template that was judged healthy.

	// Undo: when Good was last seen healthy, before the release of Bad.
	Healthy  time.Time         `json:"healthy,omitzero"`
	Marks    map[string]string `json:"marks,omitempty"`    // Undo: of configuration then, from Facts.
	Approved bool              `json:"approved,omitempty"` // A person has said yes.
	DryRun   bool              `json:"dry_run,omitempty"`  // All but the write.

	Owners map[kube.OwnerKind]Way `json:"owners,omitempty"`  // What policy allows; Ask.
	Hold   time.Duration          `json:"hold_ns,omitempty"` // How long an owner is suspended; 1h.
}

// validate refuses what cannot be meant. It does not depend on the cluster.
func (r *Request) validate(cluster string, v verb) error {
	problem := ""
	switch {
	case v != inspect && (r.Action == "" || len(validation.IsValidLabelValue(r.Action)) > 0):
		problem = fmt.Sprintf("action ID %q is no value of a label", r.Action)
	case r.Target.Cluster != cluster:
		problem = "it is in another cluster than " + cluster
	case r.Target.Namespace == "" || r.Target.Name == "" ||
		strings.Contains(r.Target.Namespace+r.Target.Name, "/"):
		problem = "it has no proper name"
	case v != inspect && r.Bad == "":
		problem = "the bad revision is not given"
	case (v == undo || v == inspect) && (r.Good == "" || r.Good == r.Bad):
		problem = "the good revision is not given or is the bad one"
	case v == undo && r.Healthy.IsZero():
		problem = "when the good revision was healthy is not given"
	}
	if problem == "" {
		if _, ok := kinds[r.Target.Kind]; ok {
			return nil
		}
		return r.refuse(Unsupported, fmt.Sprintf("tocsin does not act on a %s", r.Target.Kind),
			"act on it by hand")
	}
	return fmt.Errorf("%s %s: %w", v, r.Target, errors.New(problem))
}

// refuse returns a refusal of the request.
func (r *Request) refuse(code Code, what, next string) *Refusal {
	return &Refusal{Code: code, Target: r.Target, What: what, Next: next}
}

// State says how far an action came.
type State string

// The states. Planned is that of a dry run.
const (
	Planned State = "planned"
	Done    State = "done"
	Already State = "already" // It had been done before, by the same action.
)

// Effect is what an action did, or would do.
type Effect struct {
	Action   string     `json:"action"`
	State    State      `json:"state"`
	From     *Revision  `json:"from,omitempty"`
	To       *Revision  `json:"to,omitempty"`
	Writes   []string   `json:"writes,omitempty"`  // For people. Templates are not shown.
	Resumed  bool       `json:"resumed,omitempty"` // A paused rollout goes on.
	Owner    kube.Owner `json:"owner,omitzero"`
	Drift    bool       `json:"drift,omitempty"` // It differs from its owner's release now.
	Hold     *Hold      `json:"hold,omitempty"`  // The owner was told to leave it alone.
	Attempts int        `json:"attempts"`        // Writes that were tried.
	Warnings []string   `json:"warnings,omitempty"`
}

// Stage says where in an action a step is.
type Stage string

// The stages, in their order.
const (
	Judged    Stage = "judged"    // Nothing speaks against it.
	Rehearsed Stage = "rehearsed" // The API server would accept it.
	Writing   Stage = "writing"   // It is about to be written.
	Unsettled Stage = "unsettled" // No reply came: it may have been written.
	Written   Stage = "written"   // The API server has accepted it.
	Refused   Stage = "refused"   // It will not be done.
	Deleting  Stage = "deleting"  // A pod that holds up the undo is about to be deleted.
	Holding   Stage = "holding"   // An owner is about to be suspended.
	Restoring Stage = "restoring" // An owner is about to be given back its work.
	Verified  Stage = "verified"  // What became of it is known.
)

// Step is one step of an action.
type Step struct {
	Action string    `json:"action"`
	Target Target    `json:"target"`
	Verb   string    `json:"verb"`
	Stage  Stage     `json:"stage"`
	Detail string    `json:"detail,omitempty"` // One line for people.
	At     time.Time `json:"at"`
}
