package action

import "time"

// approvalGuard wants a person's word in the mode ask. It counts until its deadline.
func approvalGuard(_ *Engine, q *inquiry) Guard {
	a := q.action
	switch {
	case a.Mode != Ask:
		return pass("nobody needs to approve in the mode %s", a.Mode)
	case a.Approver == "":
		return wait(codeNeedsApproval, "tocsin approve "+a.ID, "a person is to approve it")
	case !q.now.Before(a.Deadline):
		return deny(codeApprovalOver, "tocsin retry "+a.ID, "the approval of %s was good until %s",
			a.Approver, a.Deadline.Format(time.RFC3339))
	}
	return pass("%s approved it at %s", a.Approver, a.Approved.Format(time.RFC3339))
}
