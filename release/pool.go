package release

import (
	"math"
	"time"

	"tocsin/release/evidence"
)

// Pool follows one image that is released in several clusters at about the same time. What is too little
// evidence in each may be enough in all.
type Pool struct {
	judge    *Judge
	service  string
	clusters map[string]*Trial
	trials   []*Trial // In the order of their appearance.
	now      time.Time
}

// BeginPool starts to follow a release of a service over clusters.
func (j *Judge) BeginPool(service string) *Pool {
	return &Pool{judge: j, service: service, clusters: map[string]*Trial{}}
}

// Observe takes in one window of one cluster.
func (p *Pool) Observe(cluster string, bounds []float64, w *evidence.Window) {
	t, ok := p.clusters[cluster]
	if !ok {
		t = p.judge.Begin(p.service, bounds)
		p.clusters[cluster] = t
		p.trials = append(p.trials, t)
	}
	t.Observe(w)
	p.now = w.At
}

// Started returns when the first new pod appeared in any cluster; zero if none has.
func (p *Pool) Started() time.Time {
	var first time.Time
	for _, t := range p.trials {
		if s := t.Started(); !s.IsZero() && (first.IsZero() || s.Before(first)) {
			first = s
		}
	}
	return first
}

// Verdict weighs all clusters together, and each alone: half of the e-value is that of the pool, half the mean
// of the clusters'.
func (p *Pool) Verdict() Verdict {
	v := Verdict{At: p.now, EValue: 1}
	start := p.Started()
	if start.IsZero() {
		v.Reason = "no pod of the new revision has been seen"
		v.Missing.Time = p.judge.opts.Ready
		return v
	}
	v.Elapsed = p.now.Sub(start)
	var ledgers []*evidence.Ledger
	var requests float64
	for _, t := range p.trials {
		if !t.Started().IsZero() {
			ledgers = append(ledgers, t.ledger)
			requests += t.ledger.Requests()
		}
	}
	m := p.judge.model(p.service)
	for k := range evidence.CPU {
		v.Metrics = append(v.Metrics, p.judge.scale.WeighPool(ledgers, m, k))
	}
	v.conclude(p.judge.opts, p.judge.Strictness(p.service), requests)
	p.alone(&v)
	return v
}

// alone lets single clusters speak.
func (p *Pool) alone(v *Verdict) {
	sum, best := 0.0, Verdict{}
	for _, t := range p.trials {
		c := t.Verdict()
		sum += c.EValue
		if c.EValue > best.EValue {
			best = c
		}
	}
	e := v.EValue/2 + math.Min(sum/float64(len(p.trials)), math.MaxFloat64)/2
	regressed := e >= p.judge.Strictness(p.service)/p.judge.opts.Alpha
	if regressed && (v.Result != Regressed || best.EValue > v.EValue) && best.Metric != "" {
		v.Metric, v.Effect, v.Lower, v.Upper = best.Metric, best.Effect, best.Lower, best.Upper
		v.Reason = "in one cluster " + best.Reason
	}
	if v.Result == Regressed && !regressed {
		v.Result = Inconclusive
	}
	if regressed {
		v.Result = Regressed
		v.Missing = Missing{}
	}
	v.EValue, v.Tier = e, tier(e/v.Strictness)
}
