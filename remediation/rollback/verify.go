package rollback

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Result says what an undo achieved. The zero value is that nobody knows.
type Result string

// The results.
const (
	Unverified Result = "unverified" // The time was up before the rollout had ended.
	Complete   Result = "complete"   // All pods run the good revision and are available.
	Reverted   Result = "reverted"   // Somebody brought the bad revision back.
	Overtaken  Result = "overtaken"  // Somebody deployed another revision.
	Failed     Result = "failed"     // The good revision does not roll out.
)

// Outcome is what an undo achieved, as seen in the cluster. Whether the service has recovered, its
// signals tell.
type Outcome struct {
	Result  Result        `json:"result"`
	Reason  string        `json:"reason"` // One line for people.
	By      string        `json:"by,omitempty"`
	Took    time.Duration `json:"took"`
	Deleted []string      `json:"deleted,omitempty"` // Pods of the bad revision that held it up.
}

// verification watches one undo.
type verification struct {
	*deed
	outcome Outcome
	last    string               // How far the rollout was when it last moved, and when that was.
	moved   time.Time            //
	stuck   map[string]time.Time // Since when a pod was seen to hold up the undo, by UID.
	deleted map[string]bool      // By UID.
}

// Verify watches the rollout that an undo began until it ends or ctx is done, and sees to it that
// a StatefulSet is not held up by a broken pod of the bad revision. It outlasts an API server that
// is away. An error is a *Refusal or that of ctx; the outcome says how far it came.
func (e *Executor) Verify(ctx context.Context, r Request) (*Outcome, error) {
	if err := r.validate(e.opts.Cluster, undo); err != nil {
		return nil, err
	}
	v := &verification{
		deed:    &deed{Executor: e, request: &r, verb: undo},
		outcome: Outcome{Result: Unverified, Reason: "it could not be read yet"},
		stuck:   make(map[string]time.Time), deleted: make(map[string]bool),
	}
	begin := time.Now()
	tick := time.NewTicker(e.opts.Poll)
	defer tick.Stop()
	for {
		err := v.look(ctx, time.Now())
		v.outcome.Took = time.Since(begin)
		_, final := asRefusal(err)
		switch {
		case final, v.outcome.Result != Unverified:
			return v.end(ctx, err)
		case err != nil && ctx.Err() == nil:
			v.outcome.Reason = "it could not be read: " + err.Error()
		}
		select {
		case <-ctx.Done():
			return v.end(ctx, fmt.Errorf("%w; so far: %s", context.Cause(ctx), v.outcome.Reason))
		case <-tick.C:
		}
	}
}

func (v *verification) end(ctx context.Context, err error) (*Outcome, error) {
	v.metrics.outcomes.WithLabelValues(string(v.outcome.Result)).Inc()
	v.tell(ctx, Verified, string(v.outcome.Result)+": "+v.outcome.Reason)
	if err != nil {
		err = fmt.Errorf("verify the undo of %s: %w", v.request.Target, err)
	}
	return &v.outcome, err
}

// look reads the workload once and judges it.
func (v *verification) look(ctx context.Context, now time.Time) error {
	w, err := v.read(ctx, v.request)
	if err != nil {
		return err
	}
	if refusal := v.request.identify(w); refusal != nil {
		return refusal
	}
	if err := v.resolve(ctx, v.request, w); err != nil {
		return err
	}
	if w.aborted(v.request) {
		v.lookAborted(w, now)
		return nil
	}
	by, at := w.intruder()
	when := at.UTC().Format(time.RFC3339)
	switch w.hash {
	case v.request.Good:
	case v.request.Bad:
		v.conclude(Reverted, fmt.Sprintf("%s brought the bad revision back at %s", by, when), by)
		return nil
	default:
		v.conclude(Overtaken, fmt.Sprintf("%s deployed another revision at %s", by, when), by)
		return nil
	}
	p := w.progress()
	v.outcome.Reason = p.text
	if p.text != v.last {
		v.last, v.moved = p.text, now
	}
	switch {
	case p.complete:
		v.conclude(Complete, p.text, "")
	case p.failed != "":
		v.conclude(Failed, p.failed, "")
	case now.Sub(v.moved) > w.deadline(v.opts.Stall):
		limit := w.deadline(v.opts.Stall)
		v.conclude(Failed, fmt.Sprintf("it made no progress for %s: %s", limit, p.text), "")
	case w.ordered() && w.observed() >= w.GetGeneration():
		return v.free(ctx, w, now)
	}
	return nil
}

// aborted says whether a workload is an Argo Rollout on its way back to its stable revision. Its
// specification keeps the bad one.
func (w *workload) aborted(r *Request) bool {
	return r.Target.Kind == Rollout && w.hash == r.Bad && w.truth("status", "abort") &&
		w.text("status", "currentPodHash") != w.text("status", "stableRS")
}

// lookAborted judges how far an abort is: it is complete when as many pods as are wanted are
// available without those of the bad revision, and get all of the traffic.
func (v *verification) lookAborted(w *workload, now time.Time) {
	wanted := w.count(1, "spec", "replicas")
	stable := w.count(0, "status", "availableReplicas") - w.count(0, "status", "updatedReplicas")
	weight := w.count(0, "status", "canary", "weights", "canary", "weight")
	text := fmt.Sprintf("aborted: at least %d of %d pods of the stable revision are available",
		max(stable, 0), wanted)
	if weight > 0 {
		text += fmt.Sprintf(", the bad one gets %d%% of the traffic", weight)
	}
	v.outcome.Reason = text
	if text != v.last {
		v.last, v.moved = text, now
	}
	switch limit := w.deadline(v.opts.Stall); {
	case w.observed() >= w.GetGeneration() && stable >= wanted && weight == 0:
		v.conclude(Complete, text, "")
	case now.Sub(v.moved) > limit:
		v.conclude(Failed, fmt.Sprintf("it made no progress for %s: %s", limit, text), "")
	}
}

func (v *verification) conclude(r Result, reason, by string) {
	v.outcome.Result, v.outcome.Reason, v.outcome.By = r, reason, by
}

// free deletes the pod that a StatefulSet waits for in vain. Its controller, which goes by order,
// does not replace a pod that never became ready. Only one that is of the bad revision, is not
// ready and has held up the undo for a while is deleted, one at a time.
func (v *verification) free(ctx context.Context, w *workload, now time.Time) error {
	pod, err := v.stuckPod(ctx, w)
	if err != nil || pod == nil {
		return err
	}
	uid := string(pod.UID)
	if v.stuck[uid].IsZero() {
		v.stuck[uid] = now
	}
	v.outcome.Reason += fmt.Sprintf("; pod %s of the bad revision holds it up", pod.Name)
	if v.deleted[uid] || now.Sub(v.stuck[uid]) < v.opts.Patience {
		return nil
	}
	if err := v.note(ctx, Deleting, "pod "+pod.Name); err != nil {
		return err
	}
	err = v.typed.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &pod.UID, ResourceVersion: &pod.ResourceVersion},
	})
	switch {
	case err == nil:
		v.deleted[uid] = true
		v.metrics.deleted.Inc()
		v.outcome.Deleted = append(v.outcome.Deleted, pod.Name)
		return nil
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil // It has gone, or has changed: look again.
	}
	return v.request.explain(err, "delete", core("pods"), pod.Namespace)
}

// stuckPod returns the pod of the bad revision that is not ready, or nil. Of several it is the one
// with the highest number, since that was made first.
func (v *verification) stuckPod(ctx context.Context, w *workload) (*corev1.Pod, error) {
	revisions, err := v.history(ctx, v.request, w)
	if err != nil {
		return nil, err
	}
	pods, err := v.pods(ctx, v.request, w)
	if err != nil {
		return nil, err
	}
	var stuck *corev1.Pod
	last := int64(-1)
	for i := range pods {
		p := &pods[i]
		n, ok := ordinal(p)
		owner := metav1.GetControllerOfNoCopy(p)
		if !ok || owner == nil || owner.UID != w.GetUID() || p.DeletionTimestamp != nil || ready(p) ||
			!runs(p, revisions, v.request.Bad) || n <= last {
			continue
		}
		stuck, last = p, n
	}
	return stuck, nil
}

// runs says whether a pod was made of a revision with a hash. Several have it after a restart.
func runs(p *corev1.Pod, revisions []Revision, hash string) bool {
	for i := range revisions {
		if revisions[i].Hash == hash && revisions[i].Name == p.Labels[revisionLabel] {
			return true
		}
	}
	return false
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// ordinal returns the number of a pod of a StatefulSet.
func ordinal(p *corev1.Pod) (int64, bool) {
	n, err := strconv.ParseInt(p.Name[strings.LastIndexByte(p.Name, '-')+1:], 10, 64)
	return n, err == nil
}
