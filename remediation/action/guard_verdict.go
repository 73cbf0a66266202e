package action

import (
	"math"
	"time"

	"tocsin/release"
)

// skew is how far clocks may be apart.
const skew = time.Minute

// verdictGuard wants evidence that carries the action, read just now. That it holds with any one
// pod and any third of the time left out is part of the verdict's own number.
func verdictGuard(_ *Engine, q *inquiry) Guard {
	v, r, age := &q.verdict, &q.record, q.now.Sub(q.record.DataAt)
	switch {
	case q.unread != nil:
		return wait(codeUnread, "see that the cluster's metrics can be read",
			"its evidence could not be read: %v", q.unread)
	case q.context.Doubt != "":
		return wait(codeDoubt, "mend it; until then act by hand", "%s", q.context.Doubt)
	case r.DataAt.IsZero():
		return wait(codeStale, "see that its metrics can be read", "there is no evidence yet")
	case age > q.policy.Freshness:
		return wait(codeStale, "see that its metrics can be read",
			"the newest evidence is %s old, at most %s is allowed",
			age.Round(time.Second), q.policy.Freshness)
	case age < -skew || v.At.Sub(q.now) > skew:
		return wait(codeClock, "set the clocks of the cluster and of tocsin",
			"the evidence is of %s, which is yet to come", latest(r.DataAt, v.At).Format(time.RFC3339))
	case math.IsNaN(v.EValue):
		return wait(codeInconclusive, "", "the evidence has no number")
	}
	if !q.action.Kind.undoes() {
		return q.pauseVerdict()
	}
	switch {
	case v.Result != release.Regressed:
		return wait(codeInconclusive, "", "the verdict is %s: %s", v.Result, v.Reason)
	case v.Tier < release.RollBack:
		return wait(codeWeak, "", "the evidence is enough to %s only: %s", v.Tier, v.Reason)
	case v.Tier < release.AtOnce && q.stood() < q.policy.Confirm:
		return wait(codeUnconfirmed, "", "the verdict must have stood for %s",
			q.policy.Confirm)
	}
	return pass("%s", v.Reason)
}

// pauseVerdict judges by the bound of a pause, which old pods make cheap: it need not be final.
func (q *inquiry) pauseVerdict() Guard {
	v := &q.verdict
	switch m := q.action.Memory; {
	case v.Result != release.Healthy && (v.Tier >= release.Pause || v.Result == release.Regressed):
		return pass("%s", v.Reason)
	case m != nil && q.policy.HoldBadImages && v.Result != release.Healthy:
		return pass("its images were judged bad in %s: %s", m.Cluster, m.Reason)
	}
	return wait(codeInconclusive, "", "the verdict is %s: %s", v.Result, v.Reason)
}

// stood is how long the verdict has been regressed.
func (q *inquiry) stood() time.Duration {
	at := q.action.Proposed
	if d := q.record.Decided; d != nil && d.At.Before(at) {
		at = d.At
	}
	return q.now.Sub(at)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a.UTC()
	}
	return b.UTC()
}
