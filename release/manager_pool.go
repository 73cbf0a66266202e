package release

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
	"tocsin/release/evidence"
)

// poolKey names what is one release in several clusters.
type poolKey struct {
	namespace, name string
	workload        fleet.Workload
	what            string // The new images; if they are the old ones, the hash of the template.
}

// pool is the releases of one thing in several clusters that began at about the same time. Those
// that are over stay in it: leaving them out would choose among the evidence.
type pool struct {
	start    time.Time // Of the first one.
	members  []*dossier
	clusters []string
	running  int
	judgedAt time.Time
	verdict  Verdict // Of all together; its At is zero if there is none.
}

const (
	poolWithin   = 2 * time.Hour // From the first start.
	contradicts  = 0.3           // Who has a smaller e-value is not called bad for the others'.
	poolAtLeast  = 2             // Clusters.
	poolEvidence = 2             // The e-value of a member is the mean of its own and the pool's.
)

func poolOf(r *Release) poolKey {
	k := poolKey{r.Service.Namespace, r.Service.Name, r.Workload, r.New.Hash}
	before, after := slices.Clone(r.Old.Images), slices.Clone(r.New.Images)
	slices.Sort(before)
	slices.Sort(after)
	if len(after) > 0 && !slices.Equal(before, after) {
		k.what = strings.Join(after, "\x00")
	}
	return k
}

// join puts a release into the pool of its kind, or begins one.
func (m *Manager) join(d *dossier, r *Release) {
	k := poolOf(r)
	p := m.pools[k]
	if p == nil || r.Start.Sub(p.start).Abs() > poolWithin || len(p.members) >= mostMembers ||
		slices.Contains(p.clusters, r.Service.Cluster) {
		p = &pool{start: r.Start}
		m.pools[k] = p
	}
	p.members = append(p.members, d)
	p.clusters = append(p.clusters, r.Service.Cluster)
	p.running++
	d.pool = p
	for _, member := range p.members {
		if len(p.members) >= poolAtLeast {
			member.record.Clusters = p.clusters
		}
	}
}

// leave says that a member's release is over.
func (m *Manager) leave(d *dossier, r *Release) {
	p := d.pool
	if p == nil {
		return
	}
	if p.running--; p.running == 0 {
		p.members = nil
		if k := poolOf(r); m.pools[k] == p {
			delete(m.pools, k)
		}
	}
}

// poolVerdict weighs the releases of all clusters together.
func (m *Manager) poolVerdict(p *pool, now time.Time) {
	if len(p.members) < poolAtLeast || now.Sub(p.judgedAt) < judgeEvery {
		return
	}
	p.judgedAt = now
	var ledgers []*evidence.Ledger
	var model *evidence.Model
	v := Verdict{At: now, EValue: 1, Strictness: 1}
	requests, learnt := 0.0, -1
	for _, d := range p.members {
		if d.trial == nil || d.trial.Started().IsZero() || d.basis != ByPods {
			continue
		}
		ledgers = append(ledgers, d.trial.ledger)
		requests += d.trial.ledger.Requests()
		v.Elapsed = max(v.Elapsed, d.trial.ledger.Elapsed())
		v.Strictness = max(v.Strictness, m.judge.Strictness(modelName(d.key)))
		if n := d.trial.model.Releases(); n > learnt {
			model, learnt = d.trial.model, n // Who knows most knows best what releases differ by.
		}
	}
	if len(ledgers) < poolAtLeast {
		p.verdict = Verdict{}
		return
	}
	for k := range evidence.CPU {
		v.Metrics = append(v.Metrics, m.judge.scale.WeighPool(ledgers, model, k))
	}
	v.conclude(m.judge.opts, v.Strictness, requests)
	v.Reason = fmt.Sprintf("%d clusters together: %s", len(ledgers), v.Reason)
	p.verdict = v
}

// of returns the verdict on a member. Its e-value is the mean of its own and the pool's, which is
// one again; what the pool accuses must not be what its own samples speak against.
func (p *pool) of(d *dossier, own Verdict, basis Basis, alpha float64) (Verdict, Basis) {
	if p.verdict.At.IsZero() || d.basis != ByPods {
		d.record.Pooled = nil
		return own, basis
	}
	pooled := p.verdict
	d.record.Pooled = &pooled
	if contradicted(own.Metrics, pooled.Metric) {
		return own, basis
	}
	v := own
	v.EValue = (finite(own.EValue) + finite(pooled.EValue)) / poolEvidence
	v.Strictness = max(own.Strictness, pooled.Strictness)
	v.Tier = tier(v.EValue / v.Strictness)
	bad := v.EValue >= v.Strictness/alpha
	switch {
	case bad && pooled.EValue > own.EValue:
		basis = ByClusters
		v.Result, v.Metric, v.Missing, v.Reason = Regressed, pooled.Metric, Missing{}, pooled.Reason
		v.Effect, v.Lower, v.Upper = pooled.Effect, pooled.Lower, pooled.Upper
	case !bad && own.Result == Regressed:
		v.Result = Inconclusive
		v.Reason = "alone " + own.Reason + "; the other clusters' releases of the same do not show it"
	}
	return v, basis
}

// contradicted reports whether a metric's own e-value speaks against harm.
func contradicted(own []evidence.Finding, metric string) bool {
	for i := range own {
		if own[i].Name == metric && own[i].LogE < math.Log(contradicts) {
			return true
		}
	}
	return false
}
