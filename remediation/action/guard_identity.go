package action

import (
	"slices"

	"tocsin/remediation/rollback"
)

// identityGuard asks whether tocsin may, and whether the cluster would accept it: by its own
// answers to a rehearsal.
func identityGuard(_ *Engine, q *inquiry) Guard {
	s := &q.survey
	if q.action.Kind == KindWebhook {
		return pass("the user's own automation acts")
	}
	var all []*rollback.Refusal
	if s.rehearsal != nil {
		all = append(all, s.rehearsal)
	}
	if s.facts != nil {
		all = append(all, q.objections(s.facts.Refusals)...)
	}
	i := slices.IndexFunc(all, func(r *rollback.Refusal) bool { return identityCode(r.Code) })
	switch {
	case i >= 0:
		return refusedBy(all[i])
	case s.plan == nil:
		return wait(codeUnrehearsed, "", "the cluster was not asked: something else is in the way")
	}
	return pass("the cluster would accept it")
}
