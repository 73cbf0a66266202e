package incident

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
	"tocsin/release"
)

// infoOf says what people are told of a release.
func infoOf(e *release.Event) ReleaseInfo {
	r := &e.Release
	info := ReleaseInfo{
		ID:       r.ID,
		Service:  r.Service,
		Workload: r.Workload,
		Change:   r.Change,
		Old:      *withoutTemplate(&r.Old),
		New:      *withoutTemplate(&r.New),
		Name:     revisionName(&r.Old, &r.New),
		Images:   plainImages(&r.Old, &r.New),
		Author:   r.Author,
		State:    r.State,
		Strategy: r.Strategy,
		Start:    r.Start,
		End:      r.End,
		EndedBy:  r.EndedBy,
	}
	if p := r.Seen; p != nil {
		info.Pods = max(p.Desired, p.New.Created)
		info.NewPods = p.New.Created
	}
	for _, f := range r.Facts {
		info.Facts = append(info.Facts, plainFact(&f))
	}
	if v := badVerdict(&e.Record); v != nil {
		info.Evidence = evidenceOf(v, e)
		info.Suspected = e.Decided == nil && v.Result != release.Regressed
	}
	if e.AcceptedBy != "" {
		info.Withdrawn = "accepted by " + e.AcceptedBy
	}
	return info
}

// badVerdict returns the verdict that speaks against a release: the newest if it does, else the
// one by which it was called bad; nil if there is none.
func badVerdict(r *release.Record) *release.Verdict {
	against := func(v *release.Verdict) bool { return v != nil && v.Result == release.Regressed }
	switch {
	case against(&r.Verdict):
		return &r.Verdict
	case against(r.Pooled) && r.Decided != nil:
		return r.Pooled
	case r.Decided != nil:
		return r.Decided
	case r.Verdict.Tier >= release.Pause:
		return &r.Verdict
	}
	return nil
}

// evidenceOf says what a verdict says.
func evidenceOf(v *release.Verdict, e *release.Event) Evidence {
	out := Evidence{Tier: v.Tier, At: v.At, After: v.Elapsed, Metric: v.Metric}
	if e.Decided != nil {
		out.After = e.Decided.Elapsed
	}
	if e.Basis == release.ByClusters || e.DecidedBy == release.ByClusters {
		out.Together = len(e.Clusters)
	}
	if words, ok := facts[release.FactKind(v.Metric)]; ok {
		out.Effect = words
		return out
	}
	out.Effect = strings.TrimSpace(plainMetric(v.Metric) + " " + plainChange(v.Metric, v.Effect))
	out.Interval = plainInterval(plainChange(v.Metric, v.Lower), plainChange(v.Metric, v.Upper))
	if v.EValue > 1 {
		out.EValue = min(v.EValue, math.MaxFloat64)
		out.Chance = plainChance(v.EValue)
	}
	return out
}

// metricNames are the metrics of verdicts as people say them.
var metricNames = map[string]string{
	"error_level":   "errors",
	"latency_p90":   "requests above the usual p90",
	"latency_p98.5": "requests above the usual p98.5",
	"latency_p99":   "latency p99",
	"cpu":           "CPU for each request",
}

func plainMetric(metric string) string {
	if name, ok := metricNames[metric]; ok {
		return name
	}
	return plainSignal(metric)
}

// plainChange writes an effect of a metric: an increase of a share in points, every other one as
// a share or a multiple of what it was. It is empty if there is no such number.
func plainChange(metric string, v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	sign := "+"
	if v < 0 {
		sign = "-"
	}
	size := plainNumber(math.Abs(v) * 100)
	switch {
	case metric == "errors" || metric == "error_level":
		return sign + size + " points"
	case metric == "memory":
		return sign + size + "% a minute"
	case v >= 1:
		return plainNumber(1+v) + " times"
	}
	return sign + size + "%"
}

// plainInterval joins two bounds, and names their unit once. It is empty if one is missing.
func plainInterval(low, high string) string {
	if low == "" || high == "" {
		return ""
	}
	for _, unit := range []string{" points", "% a minute", "%", " times"} {
		if strings.HasSuffix(low, unit) && strings.HasSuffix(high, unit) {
			low = strings.TrimSuffix(low, unit)
			break
		}
	}
	return low + " to " + high
}

// plainChance says what an e-value promises: of harmless releases at most 1 in e ever reaches it.
func plainChance(e float64) string {
	switch {
	case e >= 1e6:
		return "less than one in a million harmless releases ever looks like this"
	case e >= 10:
		return fmt.Sprintf("at most one in %s harmless releases ever looks like this", thousands(e))
	}
	return "harmless releases look like this too"
}

// thousands writes two significant digits with commas: 12,000.
func thousands(v float64) string {
	digits := math.Floor(math.Log10(v)) - 1
	unit := math.Pow(10, max(digits, 0))
	n := int64(math.Floor(v/unit) * unit)
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// facts says what Kubernetes tells of new pods.
var facts = map[release.FactKind]string{
	release.CrashLoop:        "new pods crash",
	release.OOMKilled:        "new pods run out of memory",
	release.FailedProbes:     "probes of new pods fail",
	release.ImagePull:        "the image of new pods cannot be pulled",
	release.FailedStart:      "new pods do not start",
	release.Unavailable:      "too few pods are available",
	release.DeadlineExceeded: "the rollout does not progress",
}

// plainFact writes a fact with how many pods it is about and when it was first seen.
func plainFact(f *release.Fact) string {
	text := facts[f.Kind]
	if text == "" {
		text = string(f.Kind)
	}
	details := []string{string(f.Kind)}
	if len(f.Pods) > 0 {
		details = append(details, count(len(f.Pods), "pod"))
	}
	details = append(details, "since "+f.First.UTC().Format(time.TimeOnly)+" UTC")
	return text + " (" + strings.Join(details, ", ") + ")"
}

// revisionName names a new revision after the tag of the first image that it changes. Where it
// changes none, the number of the revision or its hash must do.
func revisionName(before, after *fleet.Revision) string {
	for _, image := range after.Images {
		if !slices.Contains(before.Images, image) {
			return tag(image)
		}
	}
	switch {
	case after.Number > 0:
		return fmt.Sprintf("revision %d", after.Number)
	case after.Hash != "":
		return "revision " + after.Hash[:min(len(after.Hash), 10)]
	}
	return "the new revision"
}

// tag returns what tells one image from another of its name: the tag, else the digest, else all
// of it.
func tag(image string) string {
	name, digest, _ := strings.Cut(image, "@")
	base := name[strings.LastIndexByte(name, '/')+1:]
	if _, tag, ok := strings.Cut(base, ":"); ok && tag != "" {
		return tag
	}
	if _, sum, ok := strings.Cut(digest, ":"); ok {
		return sum[:min(len(sum), 12)]
	}
	return base
}

// plainImages lists the images that differ.
func plainImages(before, after *fleet.Revision) string {
	var out []string
	for k, image := range after.Images {
		switch {
		case slices.Contains(before.Images, image):
		case k < len(before.Images):
			out = append(out, before.Images[k]+" -> "+image)
		default:
			out = append(out, image)
		}
	}
	return strings.Join(out, ", ")
}
