package rollback

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tocsin/collectors/kube"
	"tocsin/fleet"
)

// Facts are what a cluster says about a workload and about what an undo would do to it.
type Facts struct {
	UID             string     `json:"uid"`
	ResourceVersion string     `json:"resource_version"`
	Generation      int64      `json:"generation"`
	Hash            string     `json:"hash"`    // Of the template in force.
	Writer          string     `json:"writer"`  // Who wrote it last.
	Written         time.Time  `json:"written"` // When, by the cluster's clock.
	Action          string     `json:"action,omitempty"`
	Mode            string     `json:"mode,omitempty"` // What people wrote: never, ask or auto.
	Paused          bool       `json:"paused,omitempty"`
	Strategy        string     `json:"strategy"`
	Rollout         string     `json:"rollout"` // How far it is, for people.
	Complete        bool       `json:"complete"`
	Revisions       []Revision `json:"revisions"` // Newest first.
	Owner           kube.Owner `json:"owner,omitzero"`
	Config          []Config   `json:"config,omitempty"` // That the good template names.
	Image           string     `json:"image,omitempty"`  // Why the good images can be had.
	Warnings        []string   `json:"warnings,omitempty"`

	// Refusals are the reasons for which an undo would not be done, the most important one first.
	Refusals []*Refusal `json:"refusals,omitempty"`
}

// Marks returns the state of the configuration, for the Request of a later undo.
func (f *Facts) Marks() map[string]string {
	out := make(map[string]string, len(f.Config))
	for _, c := range f.Config {
		out[c.String()] = c.Mark
	}
	return out
}

// Inspect reads what guard rails need to know before an undo, and says whether one would be done.
// It writes nothing. To learn the marks of a revision while it is healthy, ask with that one as
// Good and none as Bad.
func (e *Executor) Inspect(ctx context.Context, r Request) (*Facts, error) {
	if err := r.validate(e.opts.Cluster, inspect); err != nil {
		return nil, err
	}
	w, err := e.read(ctx, &r)
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", r.Target, err)
	}
	if err := e.resolve(ctx, &r, w); err != nil {
		return nil, fmt.Errorf("inspect %s: %w", r.Target, err)
	}
	f, err := e.survey(ctx, &r, w)
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", r.Target, err)
	}
	if refusal := r.judge(undo, w); refusal != nil && r.Bad != "" {
		f.Refusals = append([]*Refusal{refusal}, f.Refusals...)
	}
	return f, nil
}

// survey reads all that an undo depends on besides the object itself, and what speaks against it.
func (e *Executor) survey(ctx context.Context, r *Request, w *workload) (*Facts, error) {
	p := w.progress()
	f := &Facts{
		UID: string(w.GetUID()), ResourceVersion: w.GetResourceVersion(),
		Generation: w.GetGeneration(),
		Hash:       w.hash, Action: w.action(), Mode: w.GetAnnotations()[ModeAnnotation],
		Paused: w.truth("spec", "paused"), Strategy: w.strategy(),
		Rollout: p.text, Complete: p.complete, Owner: kube.OwnerOf(w),
	}
	f.Writer, f.Written = w.writer()
	var err error
	if f.Revisions, err = e.history(ctx, r, w); err != nil {
		return nil, err
	}
	for _, check := range []func(context.Context, *Request, *workload, *Facts) error{
		e.checkHistory, e.checkStrategy, e.checkOwner, e.checkMigration, e.checkConfig, e.checkImage,
	} {
		if err := f.note(check(ctx, r, w, f)); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// since is from when on what changed may have changed with the release. Times of the cluster are as
// fine as a second. Whoever says that the good revision was healthy after the template was written
// has another clock.
func (f *Facts) since(r *Request) time.Time {
	at := r.Healthy
	if !f.Written.IsZero() && f.Hash == r.Bad && f.Written.Before(at) {
		at = f.Written
	}
	return at.Truncate(time.Second)
}

// note keeps a refusal and hands on any other error.
func (f *Facts) note(err error) error {
	if refusal, ok := asRefusal(err); ok {
		f.Refusals = append(f.Refusals, refusal)
		return nil
	}
	return err
}

// checkHistory wants the good revision's template to be there, and the action not to have been
// done. The controller copies annotations to ReplicaSets: one that bears the action has run after
// it, even if somebody has since replaced the workload and taken the annotation away.
func (e *Executor) checkHistory(_ context.Context, r *Request, w *workload, f *Facts) error {
	for i := range f.Revisions {
		if f.Revisions[i].Action == r.Action && w.action() != r.Action {
			return r.refuse(Repeated, "the same action was done before and somebody reverted it",
				"find out who brings the bad revision back")
		}
	}
	if find(f.Revisions, r.Good) == nil {
		return r.refuse(HistoryGone,
			fmt.Sprintf("none of the %d revisions that it keeps is the good one (%s)",
				len(f.Revisions), r.Good),
			"deploy a good version anew; let revisionHistoryLimit keep more")
	}
	return nil
}

// checkStrategy wants a template that is written to reach the pods.
func (e *Executor) checkStrategy(ctx context.Context, r *Request, w *workload, f *Facts) error {
	switch {
	case f.Strategy == string("OnDelete"):
		return r.refuse(UpdateOnDelete,
			"its update strategy is OnDelete: pods stay as they are until people delete them",
			"write the good template and delete the bad pods by hand")
	case r.Target.Kind == Rollout && w.count(0, "spec", "rollbackWindow", "revisions") == 0:
		f.Warnings = append(f.Warnings,
			"it has no rollbackWindow: the undo takes all steps of its strategy")
		return nil
	case r.Target.Kind != fleet.StatefulSet || w.partition() == 0:
		return nil
	}
	f.Warnings = append(f.Warnings,
		fmt.Sprintf("pods below partition %d keep the revision that they have", w.partition()))
	pods, err := e.pods(ctx, r, w)
	if err != nil {
		return err
	}
	bad := find(f.Revisions, r.Bad)
	for i := range pods {
		n, ok := ordinal(&pods[i])
		if ok && n < w.partition() && bad != nil && pods[i].Labels[revisionLabel] == bad.Name {
			return r.refuse(Partitioned, fmt.Sprintf("pod %s runs the bad revision below partition %d",
				pods[i].Name, w.partition()), "lower the partition")
		}
	}
	return nil
}

// checkMigration looks for marks of a release that changed more than pods.
func (e *Executor) checkMigration(ctx context.Context, r *Request, w *workload, f *Facts) error {
	next := "see whether the good revision can live with what was changed, then undo by hand"
	mark := w.GetAnnotations()[MigrationAnnotation]
	if bad := find(f.Revisions, r.Bad); mark == "" && bad != nil {
		mark = bad.template.Annotations[MigrationAnnotation]
	}
	if mark != "" && mark != "false" {
		return r.refuse(Migration, fmt.Sprintf("annotation %s says %q", MigrationAnnotation, mark), next)
	}
	resource := schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	jobs, err := e.metadata.Resource(resource).Namespace(r.Target.Namespace).
		List(ctx, metav1.ListOptions{})
	if err != nil {
		return r.explain(err, "list", resource, r.Target.Namespace)
	}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		if job.CreationTimestamp.Time.Before(f.since(r)) || !sameRelease(job, w) {
			continue
		}
		return r.refuse(Migration, fmt.Sprintf("Job %s ran with the release", job.Name), next)
	}
	return nil
}

// sameRelease says whether a Job was made by the release of a workload. One that a schedule or
// another controller has made was not.
func sameRelease(job metav1.Object, w *workload) bool {
	if c := metav1.GetControllerOfNoCopy(job); c != nil {
		return c.UID == w.GetUID()
	}
	if mark := job.GetAnnotations()[MigrationAnnotation]; mark != "" {
		return mark != "false"
	}
	const instance = "app.kubernetes.io/instance"
	owner, label := kube.OwnerOf(w), w.GetLabels()[instance]
	return owner.Kind != kube.Nobody && kube.OwnerOf(job) == owner ||
		label != "" && job.GetLabels()[instance] == label
}

// fresh is how long an image that ran is taken to be there still.
const fresh = time.Hour

// checkImage wants to know of the good images that they can be had: they ran in the last hour, or
// run, or a node has them.
func (e *Executor) checkImage(ctx context.Context, r *Request, w *workload, f *Facts) error {
	good := find(f.Revisions, r.Good)
	if good == nil {
		return nil
	}
	if age := time.Since(r.Healthy); age < fresh {
		f.Image = "ran " + age.Round(time.Second).String() + " ago"
		return nil
	}
	pods, err := e.pods(ctx, r, w)
	if err != nil {
		return err
	}
	running := map[string]bool{}
	for i := range pods {
		for _, c := range pods[i].Status.ContainerStatuses {
			running[c.Image] = running[c.Image] || c.State.Running != nil
		}
	}
	if has(good, func(image string) bool { return running[image] }) {
		f.Image = "a pod runs it"
		return nil
	}
	known, err := e.nodesHave(ctx, r, good)
	if err == nil && known {
		f.Image = "a node has it"
		return nil
	}
	if _, ok := asRefusal(err); err != nil && !ok {
		return err // A cluster that shows no nodes to us only leaves us without an answer.
	}
	return r.refuse(ImageUnknown, fmt.Sprintf("no node is known to have %v, which ran %s ago",
		good.Images, time.Since(r.Healthy).Round(time.Minute)),
		"see that the registry has it, then undo by hand")
}

// has says whether all images of a revision are known.
func has(r *Revision, known func(image string) bool) bool {
	for _, c := range r.template.Spec.Containers {
		if !known(c.Image) {
			return false
		}
	}
	return true
}

// nodesHave looks for images on the nodes. Of a large cluster it asks the first thousand.
func (e *Executor) nodesHave(ctx context.Context, r *Request, good *Revision) (bool, error) {
	missing := map[string]bool{}
	for _, image := range good.Images {
		missing[image] = true
	}
	options := metav1.ListOptions{Limit: 100}
	for range 10 {
		nodes, err := e.typed.CoreV1().Nodes().List(ctx, options)
		if err != nil {
			return false, r.explain(err, "list", core("nodes"), "")
		}
		for i := range nodes.Items {
			for _, image := range nodes.Items[i].Status.Images {
				forget(missing, image.Names)
			}
		}
		if len(missing) == 0 || nodes.Continue == "" {
			break
		}
		options.Continue = nodes.Continue
	}
	return len(missing) == 0, nil
}

// forget takes out of missing what a node has. Nodes write names in full:
// docker.io/library/nginx:1.
func forget(missing map[string]bool, names []string) {
	for _, name := range names {
		for image := range missing {
			if name == image || strings.HasSuffix(name, "/"+image) {
				delete(missing, image)
			}
		}
	}
}

// revisionLabel is what tells which ControllerRevision a pod is made of.
const revisionLabel = "controller-revision-hash"

// pods lists the pods of a workload.
func (e *Executor) pods(ctx context.Context, r *Request, w *workload) ([]corev1.Pod, error) {
	selector, err := w.selector()
	if err != nil {
		return nil, err
	}
	pods, err := e.typed.CoreV1().Pods(r.Target.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, r.explain(err, "list", core("pods"), r.Target.Namespace)
	}
	return pods.Items, nil
}
