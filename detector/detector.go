// Package detector learns what is normal for every signal of every service, scores each new
// value, and reports findings.
package detector

import "tocsin/series"

// Ref is a series.Ref: the detector keeps one column entry for each.
type Ref = series.Ref
