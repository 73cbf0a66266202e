package action

import (
	"errors"

	"tocsin/release"
	"tocsin/remediation/rollback"
)

// helpGuard asks whether it would help: what is gone back to was healthy, and all that it needs is
// there.
func helpGuard(e *Engine, q *inquiry) Guard {
	a, s := q.action, &q.survey
	if g := q.goodGuard(e); !g.Passed {
		return g
	}
	switch {
	case errors.Is(s.failure, ErrNoExecutor):
		return deny(codeNoExecutor, "give it one for this cluster", "%v", s.failure)
	case s.failure != nil:
		return wait(codeUnreachable, "see that the cluster answers", "the cluster gave no answer: %v",
			s.failure)
	case s.refusal != nil:
		return refusedBy(s.refusal)
	case s.facts == nil:
		return wait(codeUnreachable, "see that the cluster answers", "the cluster was not asked")
	}
	for _, r := range q.objections(s.facts.Refusals) {
		if !identityCode(r.Code) {
			return refusedBy(r)
		}
	}
	if r := s.rehearsal; r != nil && !identityCode(r.Code) && len(q.objections([]*rollback.Refusal{r})) > 0 {
		return refusedBy(r)
	}
	if a.Kind == KindPause {
		return pass("the old pods stay and serve")
	}
	if s.facts.Image != "" {
		return pass("revision %s was healthy; its image: %s", short(a.Good.Hash), s.facts.Image)
	}
	return pass("revision %s was healthy", short(a.Good.Hash))
}

// goodGuard judges the revision that would be gone back to.
func (q *inquiry) goodGuard(e *Engine) Guard {
	a := q.action
	switch {
	case !a.Kind.undoes():
		return pass("")
	case !q.hasGood:
		return deny(codeNoGood, "undo it by hand",
			"no revision of it has been judged healthy: there is nothing known to go back to")
	case q.good.Standing != release.Accepted || q.good.Hash == a.Bad.Hash:
		return deny(codeNoGood, "undo it by hand", "revision %s, the last one, is %s",
			short(q.good.Hash), q.good.Standing)
	}
	e.mu.Lock()
	b := e.bad[badKey(a.Service, a.Good.Images)]
	e.mu.Unlock()
	same := badKey(a.Service, a.Good.Images) == badKey(a.Service, a.Bad.Images)
	if b != nil && len(a.Good.Images) > 0 && !same {
		return deny(codeGoodIsBad, "deploy a good version",
			"the images that it would go back to were judged bad in %s: %s", b.Cluster, b.Reason)
	}
	return pass("")
}

// refusedBy turns a cluster's refusal into a guard's.
func refusedBy(r *rollback.Refusal) Guard { return deny(string(r.Code), r.Next, "%s", r.What) }

// identityCode says whether a refusal is about who tocsin is, and so the last guard's.
func identityCode(c rollback.Code) bool {
	switch c {
	case rollback.Forbidden, rollback.Quota, rollback.Admission, rollback.Invalid:
		return true
	}
	return false
}

// short is as much of a hash as people need.
func short(hash string) string { return hash[:min(len(hash), 10)] }
