package rollback

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Code says why an action is refused. The set is closed: programs may rely on it.
type Code string

// The codes.
const (
	NotFound       Code = "not_found"      // There is no such workload.
	Replaced       Code = "replaced"       // It is another object of the same name.
	Terminating    Code = "terminating"    // It is being deleted.
	Unsupported    Code = "unsupported"    // Its kind, or how it is used, does not know the action.
	OptedOut       Code = "opted_out"      // People have forbidden it.
	NeedsApproval  Code = "needs_approval" // People want to be asked.
	Superseded     Code = "superseded"     // It runs neither the bad nor the good revision any more.
	Undone         Code = "undone"         // It runs the good revision: somebody else undid it.
	Repeated       Code = "repeated"       // The action was done before, and was reverted since.
	HistoryGone    Code = "history_gone"   // The good revision's template is not there any more.
	NotPaused      Code = "not_paused"     // There is nothing to resume.
	NotRolling     Code = "not_rolling"    // There is nothing to pause or abort.
	UpdateOnDelete Code = "on_delete"      // Pods change only when people delete them.
	Partitioned    Code = "partitioned"    // Bad pods would stay behind the partition.
	OwnedByHelm    Code = "owned_by_helm"
	HelmPending    Code = "helm_pending" // Helm is at work on the release, or was interrupted.
	OwnedByFlux    Code = "owned_by_flux"
	OwnedByArgoCD  Code = "owned_by_argo_cd"
	OwnedByOther   Code = "owned_by_operator"
	OwnerMissing   Code = "owner_missing"  // The owner cannot be found, and so not suspended.
	ConfigChanged  Code = "config_changed" // ConfigMaps or Secrets have changed since.
	ConfigMissing  Code = "config_missing" // ConfigMaps or Secrets are gone.
	ImageUnknown   Code = "image_unknown"  // Nobody knows whether the good image can still be had.
	Migration      Code = "migration"      // The release changed what an undo does not restore.
	Forbidden      Code = "forbidden"      // Our identity may not.
	Quota          Code = "quota"
	Admission      Code = "admission" // A policy or a webhook of the cluster refuses it.
	Invalid        Code = "invalid"   // The API server finds it invalid.
)

// Codes returns all codes.
func Codes() []Code {
	return []Code{
		NotFound, Replaced, Terminating, Unsupported, OptedOut, NeedsApproval, Superseded, Undone,
		Repeated, HistoryGone, NotPaused, NotRolling, UpdateOnDelete, Partitioned, OwnedByHelm,
		HelmPending, OwnedByFlux, OwnedByArgoCD, OwnedByOther, OwnerMissing, ConfigChanged,
		ConfigMissing, ImageUnknown, Migration, Forbidden, Quota, Admission, Invalid,
	}
}

// Refusal is an action that is not done, for a reason that trying again does not change.
type Refusal struct {
	Code   Code   `json:"code"`
	Target Target `json:"target"`
	What   string `json:"what"` // What is in the way.
	Next   string `json:"next"` // What people can do.
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("leave %s alone: %s; %s", r.Target, r.What, r.Next)
}

// Is says whether another refusal has the same code, for errors.Is.
func (r *Refusal) Is(target error) bool {
	t, ok := target.(*Refusal)
	return ok && t.Code == r.Code
}

// ErrUnsettled means that a write may have happened or not. The same request, asked for again,
// finds out before it does anything.
var ErrUnsettled = errors.New("whether it was written is not known")

// fate says what an error means for the write that it answers.
type fate int

const (
	refused  fate = iota // It was not done, and will not be.
	conflict             // It was not done: somebody else was faster.
	busy                 // It was not done: the server asks for patience.
	lost                 // Nobody knows.
)

// fateOf judges the error that answers a write.
func fateOf(err error) fate {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return lost
	}
	switch code := int(status.Status().Code); {
	case code == http.StatusConflict:
		return conflict
	case code == http.StatusTooManyRequests:
		return busy
	case code == 0 || code >= http.StatusInternalServerError || apierrors.IsTimeout(err):
		return lost
	}
	return refused
}

// mostMessage bounds what is kept of an API server's message: some show whole objects.
const mostMessage = 600

var (
	noAccess = regexp.MustCompile(`cannot \w+ resource`)
	overfull = regexp.MustCompile(`exceeded quota|failed quota`)
	policy   = regexp.MustCompile(`admission webhook|AdmissionPolicy|denied (the )?request`)
)

// explain turns an API server's refusal to verb a resource into one of ours, or returns nil if it
// is none: then trying again may help.
func (r *Request) explain(
	err error, verb string, resource schema.GroupVersionResource, namespace string,
) error {
	if err == nil || fateOf(err) != refused {
		return err
	}
	message := err.Error()
	if len(message) > mostMessage {
		message = strings.ToValidUTF8(message[:mostMessage], "") + "..."
	}
	switch {
	case apierrors.IsUnauthorized(err):
		return r.refuse(Forbidden, "the API server does not accept our credentials", "renew them")
	case apierrors.IsForbidden(err) && noAccess.MatchString(message):
		return r.forbidden(verb, resource, namespace)
	case overfull.MatchString(message):
		return r.refuse(Quota, "a quota is used up: "+message, "raise it or free some of it")
	case policy.MatchString(message) || apierrors.IsForbidden(err):
		return r.refuse(Admission, "a policy of the cluster refuses it: "+message,
			"undo it by hand or let the policy admit user tocsin")
	case apierrors.IsNotFound(err):
		return r.refuse(NotFound, "it is not there", "nothing is left to do")
	}
	return r.refuse(Invalid, "the API server finds it invalid: "+message, "undo it by hand")
}

// forbidden names the rule that is missing.
func (r *Request) forbidden(
	verb string, resource schema.GroupVersionResource, namespace string,
) *Refusal {
	name, where := resource.Resource, "in namespace "+namespace
	if namespace == "" {
		where = "in the cluster"
	}
	return r.refuse(Forbidden,
		fmt.Sprintf("tocsin's identity may not %s %s %s", verb, name, where),
		fmt.Sprintf("grant it {apiGroups: [%q], resources: [%s], verbs: [%s]} %s",
			resource.Group, name, verb, where))
}
