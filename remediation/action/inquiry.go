package action

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tocsin/release"
	"tocsin/remediation/rollback"
)

// inquiry is all that guards are told.
type inquiry struct {
	now     time.Time
	action  *Action // As it would be if they let it pass.
	policy  *policy
	rule    *Rule
	context Context

	record  release.Record // Read just now.
	verdict release.Verdict
	pooled  bool
	unread  error // Why the evidence could not be read.

	good    release.Known // What the release would be taken back to.
	hasGood bool
	survey  survey
	blocked string // A person has called off what was to be done about the release.
}

// survey is what the cluster says of an action.
type survey struct {
	at        time.Time
	kind      Kind // Of the action that was asked about.
	executor  Executor
	facts     *rollback.Facts   // Nil: not known.
	refusal   *rollback.Refusal // Of the question itself, if it is final.
	rehearsal *rollback.Refusal // Of the rehearsal.
	plan      *rollback.Effect  // What would be written.
	failure   error             // Why it is not known, if that may pass.
	stopped   string            // The cluster's kill switch.
	switchErr error             //
}

// fresh is how long facts of a cluster are good enough to show why an action is refused. Before it
// is done they are read again.
const fresh = 5 * time.Minute

// guard says whether something speaks against an action.
type guard struct {
	name string
	ask  func(e *Engine, q *inquiry) Guard
}

// guards are asked in this order, all of them.
var guards = []guard{
	{"mode", modeGuard},
	{"switch", switchGuard},
	{"verdict", verdictGuard},
	{"cause", causeGuard},
	{"help", helpGuard},
	{"once", onceGuard},
	{"blast", blastGuard},
	{"approval", approvalGuard},
	{"identity", identityGuard},
}

// pass is what a guard says that has nothing against it.
func pass(format string, args ...any) Guard {
	return Guard{Passed: true, Reason: fmt.Sprintf(format, args...)}
}

// wait is what a guard says that may let the action pass later.
func wait(code, next, format string, args ...any) Guard {
	return Guard{Code: code, Next: next, Reason: fmt.Sprintf(format, args...)}
}

// deny is what a guard says that will not change its mind by itself.
func deny(code, next, format string, args ...any) Guard {
	return Guard{Code: code, Next: next, Reason: fmt.Sprintf(format, args...), Final: true}
}

// inquire collects what guards need to know. Unless it is to be thorough, what the cluster said
// lately is good enough.
func (l *lane) inquire(ctx context.Context, a *Action, thorough bool) *inquiry {
	e := l.engine
	next := a.clone()
	if next.Kind.undoes() {
		next.Kind = KindRollback // How it is taken back is found out anew.
	}
	q := &inquiry{action: &next}
	e.mu.Lock()
	q.policy, q.blocked = e.policy, l.blocked
	e.mu.Unlock()
	l.review(ctx, q)
	rel := &q.record.Release
	q.verdict, q.pooled = counting(&q.record)
	if q.unread == nil {
		next.Verdict, next.Pooled = q.verdict, q.pooled
	}
	next.Team = e.opts.Team(a.Service)
	q.rule = q.policy.rule(next.subject())
	within, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	q.context = e.opts.Context(within, &q.record)
	cancel()
	q.good, q.hasGood = e.opts.LastGood(a.key(), a.Bad.Hash)
	if q.unread == nil && next.Kind == KindRollback && abortable(rel) && q.good.Hash == rel.Old.Hash {
		next.Kind = KindAbort
	}
	q.request(rel)
	l.ask(ctx, q, thorough)
	q.now = time.Now()
	return q
}

// review reads the evidence again.
func (l *lane) review(ctx context.Context, q *inquiry) {
	ctx, cancel := context.WithTimeout(ctx, l.engine.opts.Timeout)
	defer cancel()
	q.record, q.unread = l.engine.opts.Review(ctx, l.release)
	if q.unread == nil && q.record.Release.ID != l.release {
		q.unread = fmt.Errorf("the review is of release %q", q.record.Release.ID)
	}
	if q.unread != nil {
		q.record = release.Record{}
		q.record.Release.Key, q.record.Release.ID = l.key, l.release
	}
}

// abortable says whether a release is one of Argo Rollouts that is in progress.
func abortable(rel *release.Release) bool {
	return rel.Workload == rollback.Rollout && rel.Complete.IsZero() && rel.State != release.Soaking
}

// leeway is how long before a release what changed is taken to have changed with it: people apply
// configuration first.
const leeway = 10 * time.Minute

// request fills in what is asked of the cluster.
func (q *inquiry) request(rel *release.Release) {
	a := q.action
	healthy := a.Start.Add(-leeway)
	if q.hasGood {
		a.Good.Hash = q.good.Hash
		if q.unread == nil && q.good.Hash != rel.Old.Hash && q.good.At.Before(healthy) {
			healthy = q.good.At // It is not the one that ran until the release began.
		}
		if q.good.Hash == rel.Old.Hash {
			a.Good = rel.Old
		}
	}
	uid := rel.UID
	if uid == "" {
		uid = a.Request.Target.UID
	}
	a.Request = rollback.Request{
		Action: a.ID,
		Target: rollback.Target{
			Cluster: a.Service.Cluster, Kind: a.Workload, Namespace: a.Service.Namespace,
			Name: a.Service.Name, UID: uid,
		},
		Bad: a.Bad.Hash, Good: a.Good.Hash, Healthy: healthy,
		Approved: true, // What people must approve is a guard's business.
		Owners:   q.rule.Owners.Owners(), Hold: q.rule.Hold,
	}
}

// ask has the cluster say what it knows, and rehearses the write.
func (l *lane) ask(ctx context.Context, q *inquiry, thorough bool) {
	s := l.surveys[q.action.ID]
	known := s.facts != nil && s.failure == nil && s.kind == q.action.Kind &&
		time.Since(s.at) < fresh
	if thorough || !known {
		s = l.enquire(ctx, q)
		l.surveys[q.action.ID] = s
	}
	q.adopt(s)
	l.askSwitch(ctx, q)
}

// enquire asks the cluster anew.
func (l *lane) enquire(ctx context.Context, q *inquiry) survey {
	ctx, cancel := context.WithTimeout(ctx, l.engine.opts.Timeout)
	defer cancel()
	s := survey{at: time.Now(), kind: q.action.Kind}
	if s.executor, s.failure = l.engine.opts.Executor(q.action.Service.Cluster); s.failure != nil {
		return s
	}
	r := q.action.Request
	if r.Good == "" {
		r.Good = "none" // There is none: what else is known is worth showing.
	}
	facts, err := s.executor.Inspect(ctx, r)
	if err != nil {
		if !errors.As(err, &s.refusal) {
			s.failure = err
		}
		return s
	}
	s.facts = facts
	if q.hasGood && len(q.objections(facts.Refusals)) == 0 || !q.action.Kind.undoes() {
		l.rehearse(ctx, q, &s)
	}
	return s
}

// adopt takes over what a cluster said, and what follows from it for the action.
func (q *inquiry) adopt(s survey) {
	q.survey = s
	a := q.action
	if s.facts == nil {
		return
	}
	a.Request.Target.UID = s.facts.UID
	for i := range s.facts.Revisions {
		if r := &s.facts.Revisions[i]; a.Good.Hash != "" && r.Hash == a.Good.Hash {
			a.Good.Images, a.Good.Number = r.Images, r.Number
		}
	}
}

// rehearse has the cluster do all but the write.
func (l *lane) rehearse(ctx context.Context, q *inquiry, s *survey) {
	r := q.action.Request
	r.DryRun = true
	plan, err := l.perform(ctx, s.executor, q.action.Kind, r)
	var refusal *rollback.Refusal
	if errors.As(err, &refusal) && refusal.Code == rollback.NotRolling && q.action.Kind == KindAbort {
		q.action.Kind, s.kind = KindRollback, KindRollback // It has just become the stable one.
		plan, err = l.perform(ctx, s.executor, KindRollback, r)
	}
	s.plan = plan
	if err != nil && !errors.As(err, &s.rehearsal) {
		s.failure = err
	}
}

// perform asks the cluster for what an action does to a workload.
func (l *lane) perform(
	ctx context.Context, x Executor, k Kind, r rollback.Request,
) (*rollback.Effect, error) {
	switch k {
	case KindPause:
		return x.Pause(ctx, r)
	case KindAbort:
		return x.Abort(ctx, r)
	}
	return x.Undo(ctx, r)
}

// askSwitch reads the cluster's kill switch, which is never taken from memory.
func (l *lane) askSwitch(ctx context.Context, q *inquiry) {
	s := &q.survey
	s.stopped, s.switchErr = "", nil
	if at := q.policy.KillSwitch; at.Name != "" && s.executor != nil {
		ctx, cancel := context.WithTimeout(ctx, l.engine.opts.Timeout)
		defer cancel()
		s.stopped, s.switchErr = s.executor.Stopped(ctx, at.Namespace, at.Name)
	}
}

// objections are the refusals of an undo that count for the action and that no other guard shows.
func (q *inquiry) objections(all []*rollback.Refusal) []*rollback.Refusal {
	return slices.DeleteFunc(slices.Clone(all), func(r *rollback.Refusal) bool {
		switch {
		case r.Code == rollback.OptedOut, r.Code == rollback.NeedsApproval:
			return true // The mode says so.
		case !q.action.Kind.undoes():
			return !slices.Contains(pauseObjections, r.Code)
		case q.action.Kind == KindWebhook:
			return slices.Contains(webhookFree, r.Code)
		}
		return false
	})
}

// pauseObjections are the only refusals of an undo that are also those of a pause.
var pauseObjections = []rollback.Code{
	rollback.NotFound, rollback.Replaced, rollback.Terminating, rollback.Unsupported,
	rollback.Superseded, rollback.Undone, rollback.OwnedByOther, rollback.NotRolling,
	rollback.Quota, rollback.Admission, rollback.Invalid,
}

// webhookFree are the refusals of an undo that do not keep the user's own automation from doing it:
// it goes through the owner, and brings configuration back as well.
var webhookFree = []rollback.Code{
	rollback.OwnedByHelm, rollback.HelmPending, rollback.OwnedByFlux, rollback.OwnedByArgoCD,
	rollback.OwnedByOther, rollback.OwnerMissing, rollback.HistoryGone, rollback.ConfigChanged,
	rollback.ConfigMissing, rollback.Forbidden, rollback.Quota, rollback.UpdateOnDelete,
}
