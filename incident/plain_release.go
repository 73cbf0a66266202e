package incident

import (
	"cmp"

	"tocsin/fleet"
)

// PlainMetric names a metric of a verdict as people do: "latency p99".
func PlainMetric(metric string) string { return plainMetric(metric) }

// PlainEffect writes an effect of a metric of a verdict: "+4.8 points", "+31%", "2.4 times". It is
// empty if there is no such number.
func PlainEffect(metric string, v float64) string { return plainChange(metric, v) }

// PlainInterval writes the bounds of such an effect: "+3.1 to +6.9 points". It is empty if one is
// missing.
func PlainInterval(metric string, low, high float64) string {
	return plainInterval(plainChange(metric, low), plainChange(metric, high))
}

// PlainRevisions says what a release changes: the images that differ, else the revisions.
func PlainRevisions(before, after fleet.Revision) string {
	name := func(r fleet.Revision) string {
		return cmp.Or(revisionName(&fleet.Revision{Images: r.Images}, &r), "?")
	}
	return cmp.Or(plainImages(&before, &after), name(before)+" -> "+name(after))
}
