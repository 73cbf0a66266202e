package release

import (
	"fmt"
	"math"
	"time"

	"tocsin/release/evidence"
)

// weights are what each metric counts for in the mean of e-values, which is
// an e-value whatever the metrics have to do with each other.
var weights = [evidence.Metrics]float64{
	evidence.Errors: 0.25, evidence.Latency: 0.25, evidence.Slow: 0.03, evidence.Tail: 0.05,
	evidence.P99: 0.15, evidence.CPU: 0.15, evidence.ErrorLevel: 0.07, evidence.Memory: 0.05,
}

// tolerated is the largest effect that may lie within the interval of a healthy
// release: of errors an increase of the share, of the others a relative one.
var tolerated = map[evidence.Metric]float64{evidence.Errors: 0.01, evidence.Latency: 0.3}

// conclude draws the verdict from the metrics.
func (v *Verdict) conclude(o Options, strictness, requests float64) {
	logE, most := combine(v.Metrics, func(f *evidence.Finding) float64 { return weights[f.Metric] })
	v.EValue = math.Exp(math.Min(logE, 690))
	v.Strictness = strictness
	v.Tier = tier(v.EValue / strictness)
	if most != nil {
		v.Metric, v.Effect, v.Lower, v.Upper = most.Name, most.Effect, most.Lower, most.Upper
	}
	if v.EValue >= strictness/o.Alpha && most != nil {
		v.Result = Regressed
		v.Reason = worse(most, v.EValue)
		return
	}
	v.settle(o, requests)
}

// combine returns the logarithm of the weighted mean of e-values, and the metric that weighs most. What does
// not matter counts for nothing.
func combine(fs []evidence.Finding, weight func(*evidence.Finding) float64) (float64, *evidence.Finding) {
	top, sum, all := math.Inf(-1), 0.0, 0.0
	var most *evidence.Finding
	for i := range fs {
		f := &fs[i]
		w := weight(f)
		all += w
		if !f.Material || w == 0 {
			continue
		}
		if l := f.LogE + math.Log(w); l > top {
			if !math.IsInf(top, -1) {
				sum *= math.Exp(top - l)
			}
			top, most = l, f
			sum++
			continue
		}
		sum += math.Exp(f.LogE + math.Log(w) - top)
	}
	if most == nil || all == 0 {
		return 0, nil
	}
	return top + math.Log(sum/all), most
}

// settle decides between healthy and inconclusive, and says what is missing.
func (v *Verdict) settle(o Options, requests float64) {
	if requests == 0 {
		v.Reason = "the new pods have served no requests: nothing to compare"
		v.Missing = Missing{Requests: 100, Time: max(o.Ready-v.Elapsed, 0)}
		return
	}
	open, factor := v.open()
	if open == nil && v.Elapsed >= o.Ready {
		v.Result = Healthy
		v.Reason = fmt.Sprintf("no metric is worse by more than is tolerated, over %s requests in %s",
			amount(requests), v.Elapsed.Round(time.Second))
		return
	}
	v.Missing.Time = max(o.Ready-v.Elapsed, 0)
	if open == nil {
		v.Reason = fmt.Sprintf("nothing is worse so far; watching for another %s", v.Missing.Time)
		return
	}
	v.Metric, v.Effect, v.Lower, v.Upper = open.Name, open.Effect, open.Lower, open.Upper
	if math.IsInf(factor, 1) {
		v.Reason = open.Name + " cannot be compared: there is no sample of it on both sides"
		return
	}
	v.Missing.Requests = math.Ceil(requests * (factor - 1))
	v.Missing.Time = max(v.Missing.Time, time.Duration(float64(v.Elapsed)*(factor-1)).Round(time.Second))
	v.Reason = fmt.Sprintf("%s may be worse by up to %s; needs about %s more requests of the new pods",
		open.Name, effect(open.Metric, open.Upper), amount(v.Missing.Requests))
}

// open returns the metric that is furthest from being known to be tolerable,
// and by what factor the evidence must grow.
func (v *Verdict) open() (*evidence.Finding, float64) {
	var worst *evidence.Finding
	factor := 1.0
	measured := false
	for i := range v.Metrics {
		f := &v.Metrics[i]
		limit, ok := tolerated[f.Metric]
		if !ok || f.New == 0 {
			continue
		}
		measured = true
		if f.Upper <= limit {
			continue
		}
		need := math.Inf(1)
		if !math.IsInf(f.Upper, 0) {
			room := math.Max(limit-math.Max(f.Effect, 0), limit/2)
			need = math.Max(math.Pow((f.Upper-math.Max(f.Effect, 0))/room, 2), 1.1)
		}
		if worst == nil || need > factor {
			worst, factor = f, need
		}
	}
	if !measured && len(v.Metrics) > 0 {
		return &v.Metrics[evidence.Errors], math.Inf(1)
	}
	return worst, factor
}

// worse says what a regression is.
func worse(f *evidence.Finding, e float64) string {
	return fmt.Sprintf("%s worse by %s (95%% interval %s to %s), e-value %s: "+
		"harmless releases of this service differ by about %.0f%%",
		f.Name, effect(f.Metric, f.Effect), effect(f.Metric, f.Lower), effect(f.Metric, f.Upper),
		amount(e), 100*f.Usual)
}

// effect prints an effect in its own terms.
func effect(m evidence.Metric, v float64) string {
	switch m {
	case evidence.Errors, evidence.ErrorLevel:
		return fmt.Sprintf("%+.2f%% of requests", 100*v)
	case evidence.Memory:
		return fmt.Sprintf("%+.3f%% a minute", 100*v)
	}
	return fmt.Sprintf("%+.1f%%", 100*v)
}

// amount prints a count as people say it.
func amount(v float64) string {
	if v >= 1e6 || v < 0 {
		return fmt.Sprintf("%.2g", v)
	}
	return fmt.Sprintf("%.0f", v)
}
