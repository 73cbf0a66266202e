package rollback

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/collectors/kube"
)

// verb is what is done to a workload.
type verb string

const (
	inspect verb = "inspect"

	undo   verb = "undo"
	pause  verb = "pause"
	resume verb = "resume"
	abort  verb = "abort"
)

// Undo writes the good revision's template back. Nothing else of the workload changes but the
// annotation with the action's ID, and that a paused rollout goes on. Asked for again, it finds
// that it was done.
//
// Whoever ends ctx calls it off until the last moment before the write.
//
// A *Refusal is final. After any other error the request may be made again; after one that is
// ErrUnsettled it should be, since it may have been done.
func (e *Executor) Undo(ctx context.Context, r Request) (*Effect, error) {
	return e.perform(ctx, &r, undo)
}

// Pause stops a rollout of the bad revision where it is: the pods of the old one stay. It is for
// Deployments and Rollouts.
func (e *Executor) Pause(ctx context.Context, r Request) (*Effect, error) {
	return e.perform(ctx, &r, pause)
}

// Resume lets a paused rollout of the bad revision go on.
func (e *Executor) Resume(ctx context.Context, r Request) (*Effect, error) {
	return e.perform(ctx, &r, resume)
}

// Abort takes an Argo Rollout that is in progress back to its stable revision. Its specification
// keeps the bad one: once it is the stable one, Undo is the way.
func (e *Executor) Abort(ctx context.Context, r Request) (*Effect, error) {
	return e.perform(ctx, &r, abort)
}

// deed is an action under way.
type deed struct {
	*Executor
	request *Request
	verb    verb
	effect  Effect
	to      *Revision // Undo: whose template is written.

	passed    string // Face of the workload that passed all checks.
	unsettled bool   // A reply was lost.
}

// perform tries until the action is done or refused, or there is no point in it any more.
func (e *Executor) perform(ctx context.Context, r *Request, v verb) (*Effect, error) {
	if err := r.validate(e.opts.Cluster, v); err != nil {
		e.metrics.count(v, err)
		return nil, err
	}
	d := &deed{Executor: e, request: r, verb: v, effect: Effect{Action: r.Action}}
	var last error
	for n := range e.opts.Attempts {
		finished, err := d.try(ctx)
		if _, final := asRefusal(err); finished || final || errors.Is(err, errNote) {
			return d.end(ctx, err)
		}
		if err == nil { // The first of two writes is done.
			last = errMoved
			continue
		}
		last = err
		if err := e.wait(ctx, n, err); err != nil {
			return d.end(ctx, err)
		}
	}
	return d.end(ctx, fmt.Errorf("given up after %d attempts: %w", e.opts.Attempts, last))
}

// wait lets some time pass before another attempt. If there is none left it returns the error of
// the last one.
func (e *Executor) wait(ctx context.Context, n int, why error) error {
	timer := time.NewTimer(min(e.opts.Backoff<<min(n, 10), 2*time.Second))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return fmt.Errorf("%w; the last attempt: %w", context.Cause(ctx), why)
	case <-timer.C:
		return nil
	}
}

// end reports what became of the action.
func (d *deed) end(ctx context.Context, err error) (*Effect, error) {
	r := d.request
	refusal, final := asRefusal(err)
	if err != nil && d.unsettled && !final {
		err = fmt.Errorf("%w: %w", ErrUnsettled, err)
	}
	d.metrics.count(d.verb, err)
	switch {
	case final:
		if d.unsettled {
			refusal.What += " (a write of ours may have come before that)"
		}
		d.letGo(ctx)
		d.metrics.refusals.WithLabelValues(string(refusal.Code)).Inc()
		d.tell(ctx, Refused, refusal.What)
		d.logger.Info("Action refused", "verb", d.verb, "target", r.Target, "code", refusal.Code,
			"reason", refusal.What)
		return nil, fmt.Errorf("%s: %w", d.verb, err)
	case err != nil:
		d.logger.Warn("Action failed", "verb", d.verb, "target", r.Target, "err", err)
		return nil, fmt.Errorf("%s %s: %w", d.verb, r.Target, err)
	case d.effect.State == Done:
		d.logger.Info("Action done", "verb", d.verb, "target", r.Target, "action", r.Action)
	}
	return &d.effect, nil
}

// try reads the workload, judges it, and writes at most once.
func (d *deed) try(ctx context.Context) (finished bool, err error) {
	w, err := d.read(ctx, d.request)
	if err != nil {
		return false, err
	}
	if refusal := d.request.identify(w); refusal != nil {
		return false, refusal
	}
	if w.action() == d.request.Action && (d.verb != abort || w.truth("status", "abort")) {
		d.found(ctx)
		return true, nil
	}
	if err := d.resolve(ctx, d.request, w); err != nil {
		return false, err
	}
	if refusal := d.request.judge(d.verb, w); refusal != nil {
		return false, refusal
	}
	if w.action() == d.request.Action { // It claimed an abort that it has not carried out.
		if d.request.DryRun {
			d.effect.State = Planned
			return true, nil
		}
		return false, d.write(ctx, w, abortOps(w), "status")
	}
	if w.face() != d.passed {
		if err := d.check(ctx, w); err != nil {
			return false, err
		}
		d.passed = w.face()
	}
	if d.request.DryRun {
		d.effect.State = Planned
		return true, nil
	}
	err = d.write(ctx, w, d.ops(w))
	if err != nil || d.verb == abort {
		return false, err
	}
	d.disown(ctx)
	return true, nil
}

// found ends an action of which the workload says that it was done.
func (d *deed) found(ctx context.Context) {
	if d.effect.State != Done {
		d.effect.State = Already
		d.tell(ctx, Written, "found on the workload")
	}
	if !d.request.DryRun {
		d.disown(ctx)
	}
}

// check judges what the workload does not say itself, and rehearses the write.
func (d *deed) check(ctx context.Context, w *workload) error {
	r := d.request
	d.effect.Owner, d.effect.Warnings = kube.OwnerOf(w), nil
	if d.verb == undo {
		f, err := d.survey(ctx, r, w)
		if err != nil {
			return err
		}
		if len(f.Refusals) > 0 {
			return d.confirm(ctx, w, f.Refusals[0])
		}
		d.to = find(f.Revisions, r.Good)
		d.effect.From, d.effect.To = find(f.Revisions, r.Bad), d.to
		d.effect.Warnings = f.Warnings
		d.effect.Drift = r.Owners[f.Owner.Kind] == Drift && f.Owner.Kind == kube.HelmRelease
	} else if d.effect.Owner.Kind == kube.Operator { // Others do not mind: it is in no manifest.
		return r.ownedByOperator(d.effect.Owner)
	}
	d.effect.Resumed = d.verb != pause && w.truth("spec", "paused")
	if err := d.note(ctx, Judged, ""); err != nil {
		return err
	}
	if err := d.mayWrite(ctx, w); err != nil {
		return err
	}
	if err := d.rehearse(ctx, w); err != nil {
		return err
	}
	if err := d.note(ctx, Rehearsed, ""); err != nil {
		return err
	}
	if d.verb != undo {
		return nil
	}
	return d.hold(ctx)
}

// confirm lets a refusal stand if the workload is still the one that was read before its
// surroundings were: a rival may have acted in between.
func (d *deed) confirm(ctx context.Context, w *workload, refusal *Refusal) error {
	now, err := d.read(ctx, d.request)
	if err != nil {
		return err
	}
	if now.face() != w.face() {
		return fmt.Errorf("somebody else changed it meanwhile: %w", errMoved)
	}
	return refusal
}

// errMoved means that what was judged is no longer so.
var errMoved = errors.New("it is judged again")

// identify refuses another object than the one that is meant, one that is going away, and one that
// has no template.
func (r *Request) identify(w *workload) *Refusal {
	switch {
	case r.Target.UID != "" && string(w.GetUID()) != r.Target.UID:
		return r.refuse(Replaced, "it was deleted, and another one of the same name created",
			"judge the new one anew")
	case w.GetDeletionTimestamp() != nil:
		return r.refuse(Terminating, "it is being deleted", "nothing is left to do")
	case w.referring():
		return r.refuse(Unsupported, "its template is in the workload that workloadRef names",
			"undo that one")
	}
	return nil
}

// judge decides by the object alone whether the action is still right. It is asked again whenever
// the object has changed.
func (r *Request) judge(v verb, w *workload) *Refusal {
	by, at := w.writer()
	when := at.UTC().Format(time.RFC3339)
	switch mode := w.GetAnnotations()[ModeAnnotation]; {
	case v == resume, mode == "", mode == "auto", mode == "ask" && r.Approved:
	case mode == "ask":
		return r.refuse(NeedsApproval, "its annotation "+ModeAnnotation+" says ask", "approve it")
	default:
		return r.refuse(OptedOut, fmt.Sprintf("its annotation %s says %q", ModeAnnotation, mode),
			"act by hand, or write auto or ask there")
	}
	switch {
	case v == undo && w.hash == r.Good:
		what := fmt.Sprintf("it runs the good revision already: %s wrote it at %s", by, when)
		if other := w.action(); other != "" {
			what = "it runs the good revision already, perhaps by action " + other
		}
		return r.refuse(Undone, what, "nothing is left to do")
	case w.hash != r.Bad:
		return r.refuse(Superseded,
			fmt.Sprintf("it runs another revision than the bad one: %s wrote it at %s", by, when),
			"the new revision is judged by itself")
	}
	return r.judgeVerb(v, w)
}

// judgeVerb decides whether there is anything for the verb to do.
func (r *Request) judgeVerb(v verb, w *workload) *Refusal {
	paused := w.truth("spec", "paused")
	switch {
	case v == abort && r.Target.Kind != Rollout:
		return r.refuse(Unsupported, fmt.Sprintf("a %s knows no abort", r.Target.Kind), "undo it")
	case (v == pause || v == resume) && !w.kind.pausable:
		return r.refuse(Unsupported, fmt.Sprintf("a %s cannot be paused", r.Target.Kind), "undo it")
	case v == pause && paused:
		return r.refuse(NotRolling, "somebody else has paused it", "nothing is left to do")
	case v == pause && w.progress().complete:
		return r.refuse(NotRolling, "its rollout is complete, a pause keeps no old pods", "undo it")
	case v == resume && !paused:
		return r.refuse(NotPaused, "it is not paused", "nothing is left to do")
	case v == abort && w.text("status", "currentPodHash") == w.text("status", "stableRS"):
		return r.refuse(NotRolling, "the bad revision is the stable one already", "undo it")
	}
	return nil
}

// asRefusal returns the refusal in an error.
func asRefusal(err error) (*Refusal, bool) {
	var r *Refusal
	ok := errors.As(err, &r)
	return r, ok
}
