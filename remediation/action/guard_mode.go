package action

import (
	"tocsin/remediation/rollback"
)

// modeGuard finds out how far tocsin may go by itself: by rule, and by the workload's annotation,
// which lowers the mode always and raises it as far as the rule lets it.
func modeGuard(_ *Engine, q *inquiry) Guard {
	a := q.action
	a.Mode = q.mode()
	if q.never() {
		return deny(codeOptedOut, "act by hand, or write auto or ask there",
			"its annotation %s says %q", rollback.ModeAnnotation, q.survey.facts.Mode)
	}
	if !q.rule.may(a.Kind) {
		return deny(codeNotAllowed, "allow it under remediation.actions",
			"policy does not allow a %s of it", a.Kind)
	}
	if a.Mode == Observe {
		g := pass("the mode is observe: everything happens but the write")
		g.Code = codeObserve
		return g
	}
	return pass("the mode is %s", a.Mode)
}

// mode is the rule's, as the annotation changes it.
func (q *inquiry) mode() Mode {
	mode := Modes()[q.rule.Mode.rank()]
	most := Modes()[max(mode.rank(), q.rule.MaxMode.rank())]
	if q.survey.facts == nil {
		return mode
	}
	switch q.survey.facts.Mode {
	case "auto":
		return most
	case "ask":
		return Modes()[min(Ask.rank(), most.rank())]
	}
	return mode
}

// never says whether people have forbidden all actions on the workload. What nobody understands
// forbids them too.
func (q *inquiry) never() bool {
	f := q.survey.facts
	return f != nil && f.Mode != "" && f.Mode != "auto" && f.Mode != "ask"
}
