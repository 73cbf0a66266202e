package release

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// When releases are judged and verdicts told.
const (
	judgeEvery    = 14 * time.Second // A tick of 15 s may come a little early.
	staleAfter    = 2 * time.Minute  // Without a sample a verdict gets no better, and says so.
	tellEvery     = 10 * time.Minute
	tellGently    = time.Minute // Between what is no cause for alarm.
	smallestEvery = 10 * time.Minute
	trialLongest  = wantEver  // Then it begins anew: its samples take memory.
	trialAnew     = time.Hour // With as much of the past.
	waitLongest   = 10 * time.Minute
	wholeDoubt    = 10 // By so much less an e-value counts if nothing runs beside.
)

// unjudged is the verdict on a release without a sample.
func unjudged() Verdict {
	return Verdict{EValue: 1, Strictness: 1, Reason: "there is no sample of its pods yet"}
}

// judgeRelease makes the verdict on a running release.
func (m *Manager) judgeRelease(d *dossier, r *Release, now time.Time) {
	m.ownVerdict(d, now)
	v, basis := d.own, d.basis
	if basis == NoBasis && d.trial != nil {
		basis = ByPods // Without requests: memory, at least.
	}
	if d.basis == ByService {
		v = wholeService(v, m.judge.opts.Alpha)
	}
	if d.pool != nil {
		m.poolVerdict(d.pool, now)
		v, basis = d.pool.of(d, v, basis, m.judge.opts.Alpha)
	}
	d.record.DataAt = d.dataAt()
	v = d.stale(v, r, now)
	m.judgeFacts(d, r, now)
	if f := &d.facts; f.outweighs(&v) {
		v, basis = withFacts(v, f, now), ByFacts
		d.record.DataAt = f.At
	}
	overrule(&v, d.record.AcceptedBy)
	v.At = now
	m.conclude(d, r, v, basis)
}

// ownVerdict weighs the samples of the release itself, if there are new ones and all have come.
func (m *Manager) ownVerdict(d *dossier, now time.Time) {
	if d.trial == nil || !d.news || now.Sub(d.cursor) > staleAfter {
		return
	}
	d.news, d.own = false, d.trial.Verdict()
	if d.own.Elapsed >= trialLongest {
		defer func() { // A canary may be kept waiting for days.
			m.refill(d)
			d.cursor = now.Add(-trialAnew)
		}()
	}
	m.metrics.looks.Inc()
	d.record.Looks++
	d.record.Bound = m.judge.Strictness(modelName(d.key)) / m.judge.opts.Alpha
	if d.own.Elapsed > 0 && now.Sub(d.smallestAt) >= smallestEvery {
		s := d.trial.Smallest()
		d.record.Smallest, d.smallestAt = &s, now
	}
}

// waits reports whether the soak time of a release is over, but not all samples of it have come:
// after a restart they are on their way. Nobody waits for long.
func (m *Manager) waits(r *Release, now time.Time) bool {
	d := m.running[r.ID]
	if d == nil || r.State != Soaking {
		return false
	}
	end := m.tracker.over(r)
	if end.After(now) || end.Sub(d.cursor) <= staleAfter {
		return false
	}
	if d.waitsSince.IsZero() {
		d.waitsSince = now
	}
	return now.Sub(d.waitsSince) < waitLongest
}

// wholeService takes from a verdict by before and after what it cannot know. Something else may
// have begun at the same time, and no old pods stand beside the new ones to tell: its e-value counts
// for less, and it never leads to more than a pause.
func wholeService(v Verdict, alpha float64) Verdict {
	if len(v.Metrics) == 0 {
		return v // There is none yet.
	}
	v.EValue /= wholeDoubt
	v.Tier = min(tier(v.EValue/v.Strictness), Pause)
	v.Reason = "by the service as a whole, before and after: " + v.Reason
	if v.Result == Regressed && v.EValue < v.Strictness/alpha {
		v.Result = Inconclusive
	}
	return v
}

// stale says that samples have stopped. Absence makes nothing better: what was healthy is not known
// to be so any longer, and what was regressed stays so.
func (d *dossier) stale(v Verdict, r *Release, now time.Time) Verdict {
	last := d.dataAt()
	since := r.Start
	if !last.IsZero() {
		since = last
	}
	if now.Sub(since) <= staleAfter {
		return v
	}
	why := fmt.Sprintf("there has been no sample for %s", now.Sub(since).Round(time.Second))
	if last.IsZero() {
		why = "no samples of its pods: nothing to compare"
	}
	if v.Result == Healthy {
		v.Result = Inconclusive
	}
	v.Reason = why + "; " + v.Reason
	if last.IsZero() {
		v.Reason = why
	}
	return v
}

// conclude files a verdict and tells of it if it is news.
func (m *Manager) conclude(d *dossier, r *Release, v Verdict, basis Basis) {
	first := d.judgedAt.IsZero()
	d.judgedAt = v.At
	d.record.Verdict, d.record.Basis = v, basis
	if v.Result == Regressed && d.record.Decided == nil {
		decided := v
		decided.Metrics = slices.Clone(v.Metrics)
		d.record.Decided, d.record.DecidedBy = &decided, basis
		m.metrics.decided.WithLabelValues(string(basis)).Inc()
		m.logger.Warn("Release regressed", "release", d.id, "service", d.key.Service.String(),
			"metric", v.Metric, "tier", v.Tier.String(), "reason", v.Reason)
	}
	m.metrics.verdicts.WithLabelValues(v.Result.String(), v.Tier.String()).Inc()
	// The release may end by this: then its last transition tells the verdict.
	if err := m.tracker.Judged(d.id, v); err != nil {
		return
	}
	if f := m.tracker.running[d.id]; f != nil && d.worthTelling(f.Running, first) {
		m.tell(d, f.Running, v.At, nil)
	}
}

// worthTelling reports whether the newest verdict is news: alarms at once, all else now and then.
func (d *dossier) worthTelling(r *Release, first bool) bool {
	v, since := &d.record.Verdict, d.judgedAt.Sub(d.toldAt)
	now := word{v.Result, v.Tier}
	switch {
	case first, now.Tier > d.toldVerdict.Tier:
		return true
	case now.Result == Regressed && d.toldVerdict.Result != Regressed:
		return true
	case now != d.toldVerdict, r.Reached != d.toldReached:
		return since >= tellGently
	}
	return since >= tellEvery
}

// finite keeps sums of e-values finite.
func finite(e float64) float64 { return math.Min(e, math.MaxFloat64/4) }
