package kube

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Condition says how well a cluster, or one of its resources, is known.
type Condition string

// The conditions.
const (
	Starting Condition = "starting" // Nothing was listed yet.
	Fresh    Condition = "fresh"    // What happens is seen within moments.
	Failing  Condition = "failing"  // Of a resource: the last attempt failed.
	Refused  Condition = "refused"  // Of a resource: the rights are missing; it is not watched.
	Absent   Condition = "absent"   // Of a resource: the cluster does not have its extension.
	Stale    Condition = "stale"    // Of a cluster: what is known may be out of date.
)

// Status says what a Watcher knows, and how well.
type Status struct {
	Cluster   string           `json:"cluster"`
	UID       string           `json:"uid,omitempty"`     // Of namespace kube-system.
	Version   string           `json:"version,omitempty"` // Of the API server.
	State     Condition        `json:"state"`
	Since     time.Time        `json:"since,omitzero"`   // Of which on the cluster is stale.
	Reason    string           `json:"reason,omitempty"` // Why it is starting or stale.
	Synced    bool             `json:"synced"`           // All that is not refused was listed once.
	Contact   time.Time        `json:"contact,omitzero"` // Last sign of life.
	Workloads int              `json:"workloads"`
	Resources []ResourceStatus `json:"resources"`
}

// ResourceStatus says how well one resource is known.
type ResourceStatus struct {
	Resource  string    `json:"resource"`            // deployments.apps
	Namespace string    `json:"namespace,omitempty"` // Empty: all.
	State     Condition `json:"state"`
	Reason    string    `json:"reason,omitempty"` // Why it fails or is refused; what would help.
	Since     time.Time `json:"since,omitzero"`   // Of the failure.
	Activity  time.Time `json:"activity,omitzero"`
}

// health keeps how well a cluster is known. Its methods may be called concurrently.
type health struct {
	cluster string
	limit   time.Duration // How long the cluster may be silent.
	failing atomic.Bool   // What came last was of no use: requests are few.

	mu       sync.Mutex // Guards what follows.
	began    time.Time
	contact  time.Time
	trouble  string // Of the last probe; empty: it was answered.
	uid      string
	version  string
	stale    bool // As judge said last.
	followed []*followed
}

// followed is the health of one resource in one namespace.
type followed struct {
	resource  *resource
	namespace string
	listed    bool // At least once.
	open      bool // A watch was opened since the last failure.
	refused   bool
	absent    bool // For want of the extension that it belongs to.
	reason    string
	since     time.Time
	activity  time.Time
}

func newHealth(o Options) *health {
	h := &health{cluster: o.Cluster, limit: o.Stale}
	for i := range resources {
		for _, ns := range o.Namespaces {
			h.followed = append(h.followed, &followed{resource: &resources[i], namespace: ns})
		}
	}
	return h
}

func (h *health) start(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.began = now
}

// contacted notes that the server answered.
func (h *health) contacted(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.contact = now
}

// known notes who answered a probe, and says whether there is something to be taken up again:
// probes were in vain before this one, and a resource has not recovered by itself yet.
func (h *health) known(uid, version string, now time.Time) (recovered bool) {
	h.failing.Store(uid == "" && version == "") // Both were refused.
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.followed {
		recovered = recovered || h.trouble != "" && r.condition() == Failing
	}
	h.uid, h.version, h.trouble, h.contact = uid, version, "", now
	return recovered
}

// probed notes that a probe failed.
func (h *health) probed(err error) {
	h.failing.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = explain(err, nil)
}

// unusable notes that there is nothing to reach the cluster with.
func (h *health) unusable(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = err.Error()
}

// each calls f for the resource of a scope.
func (h *health) each(scope string, f func(*followed)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.followed {
		if r.resource.scope(r.namespace) == scope {
			f(r)
		}
	}
}

// synced notes that a list was taken over.
func (h *health) synced(scope string, now time.Time) {
	h.failing.Store(false)
	h.each(scope, func(r *followed) {
		r.listed, r.activity = true, now
		if r.open {
			r.recover()
		}
	})
}

// watching notes that a watch was opened. It is worth something once there is a list that it goes
// on from.
func (h *health) watching(scope string, now time.Time) {
	h.each(scope, func(r *followed) {
		r.open, r.activity = true, now
		if r.listed {
			r.recover()
		}
	})
}

func (r *followed) recover() {
	r.refused, r.reason, r.since = false, "", time.Time{}
}

// active notes an event, or a bookmark.
func (h *health) active(scope string, now time.Time) {
	h.failing.Store(false)
	h.each(scope, func(r *followed) { r.activity = now })
	h.contacted(now)
}

// failed notes that a list or a watch did not work.
func (h *health) failed(scope string, err error, now time.Time) {
	h.failing.Store(true)
	h.each(scope, func(r *followed) {
		r.open = false
		r.refused = apierrors.IsForbidden(err)
		r.reason = explain(err, r.resource)
		if r.since.IsZero() {
			r.since = now
		}
	})
}

// absent notes whether the cluster has a resource at all.
func (h *health) absent(scope string, yes bool) {
	h.each(scope, func(r *followed) {
		r.recover()
		r.absent = yes
	})
}

// settled says whether each workload resource, or with events each resource, was listed or has
// failed.
func (h *health) settled(events bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.followed {
		if (events || r.resource.kind != "") && !r.listed && !r.absent && r.since.IsZero() {
			return false
		}
	}
	return true
}

// judge says since when the cluster is stale, if it is, and why; and whether it was when judge was
// called before.
func (h *health) judge(now time.Time) (was bool, since time.Time, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	was = h.stale
	since, reason = h.staleness(now)
	h.stale = !since.IsZero()
	return was, since, reason
}

// staleness returns since when the cluster is stale, or zero. A resource that is refused does not
// make it so, unless nothing else is left: then there is nothing that could be fresh.
func (h *health) staleness(now time.Time) (since time.Time, reason string) {
	last := h.contact
	if last.IsZero() {
		last = h.began
	}
	if now.Sub(last) > h.limit {
		if h.trouble == "" {
			return last, "no sign of life"
		}
		return last, h.trouble
	}
	left := 0
	for _, r := range h.followed {
		switch {
		case r.absent:
			continue
		case r.refused:
			reason = r.reason
			continue
		case !r.since.IsZero() && now.Sub(r.since) > h.limit:
			if h.trouble != "" {
				return r.since, h.trouble
			}
			return r.since, r.resource.String() + ": " + r.reason
		case !r.listed && now.Sub(h.began) > h.limit:
			return h.began, r.resource.String() + " could not be listed yet"
		}
		left++
	}
	if left == 0 {
		return h.began, reason
	}
	return time.Time{}, ""
}

// status returns what is known at now.
func (h *health) status(now time.Time) Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Status{
		Cluster: h.cluster, UID: h.uid, Version: h.version,
		Contact: h.contact, Synced: true, State: Fresh,
	}
	for _, r := range h.followed {
		s.Resources = append(s.Resources, ResourceStatus{
			Resource: r.resource.String(), Namespace: r.namespace, State: r.condition(),
			Reason: r.reason, Since: r.since, Activity: r.activity,
		})
		s.Synced = s.Synced && (r.listed || r.refused || r.absent)
	}
	if !s.Synced {
		s.State, s.Reason = Starting, h.trouble
	}
	if since, reason := h.staleness(now); !since.IsZero() {
		s.State, s.Since, s.Reason = Stale, since, reason
	}
	return s
}

func (r *followed) condition() Condition {
	switch {
	case r.absent:
		return Absent
	case r.refused:
		return Refused
	case !r.since.IsZero():
		return Failing
	case !r.listed:
		return Starting
	}
	return Fresh
}

// Status returns how well the cluster is known.
func (w *Watcher) Status() Status {
	s := w.health.status(time.Now())
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Workloads = len(w.memory.workloads)
	return s
}

// explain says in one line what went wrong and, where people can do something about it, what.
func explain(err error, r *resource) string {
	switch {
	case apierrors.IsForbidden(err) && r != nil:
		return fmt.Sprintf("forbidden: needs the verbs list and watch; add to the role of its user "+
			"the rule {apiGroups: [%q], resources: [%q], verbs: [list, watch]}", r.group, r.name)
	case apierrors.IsUnauthorized(err):
		return "the API server refuses the credentials (401): the token has expired, was revoked, " +
			"or is of another cluster"
	case apierrors.IsTooManyRequests(err):
		return "the API server asks to come back later (429)"
	case apierrors.IsNotFound(err) && r != nil:
		return "the API server does not know " + r.String()
	}
	if cause, ok := apierrors.StatusCause(err, "ClientWatchDecoding"); ok {
		return "the watch broke: " + shorten(cause.Message, 200)
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code, text := status.Status().Code, shorten(err.Error(), 200)
		return fmt.Sprintf("the API server answers %d: %s", code, text)
	}
	return shorten(strings.TrimSpace(err.Error()), 300)
}
