package incident

import (
	"strings"

	"tocsin/detector"
)

// aspect says what a signal means for those who use the service. Severity and roots depend on it.
type aspect int

// The aspects, mildest first.
const (
	other        aspect = iota
	resource            // CPU, memory, throttling, restarts: users may not notice yet.
	availability        // Replicas that are missing.
	traffic             // Requests that come, or no longer come.
	slowness
	failure
)

// How far a signal must be from what was expected to count as a large effect, and as a small one.
const (
	largeFailure   = 0.05 // Of all requests: five in a hundred more fail than usual.
	largeFactor    = 2    // Latency doubles, errors per second double, traffic halves.
	largeShare     = 0.5  // Of replicas, where they are given as a share.
	smallFailure   = 0.01
	smallRelative  = 0.5
	manyServices   = 3    // Users notice when so many services fail at once, however little each.
	leastSlowdown  = 0.05 // Seconds: less than that is not large, whatever the factor.
	leastErrorRate = 1    // Errors per second.
)

// aspectOf judges by the kind of a signal and, where that leaves it open, by words in its name.
func aspectOf(f *detector.Finding) aspect {
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(f.Signal, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("cpu", "memory", "throttl", "restart", "oom", "disk"):
		return resource
	case has("error", "fail", "5xx"):
		return failure
	case has("unavailable", "available", "replicas", "ready"):
		return availability
	case f.Kind == detector.Latency || has("latency"):
		return slowness
	case f.Kind == detector.Saturation:
		return resource
	case f.Kind == detector.Rate && has("request", "traffic", "rps", "calls"):
		return traffic
	}
	return other
}

// facesUsers says whether users of the service feel it.
func (a aspect) facesUsers() bool { return a >= availability }

// large says whether the effect of a harmful finding alone makes an incident critical.
func large(f *detector.Finding) bool {
	d := f.Observed - f.Expected
	switch aspectOf(f) {
	case failure:
		if f.Kind == detector.Ratio {
			return d >= largeFailure
		}
		return d >= leastErrorRate && f.Observed >= largeFactor*f.Expected
	case slowness:
		return d >= leastSlowdown && f.Observed >= largeFactor*f.Expected
	case traffic:
		return f.Direction == detector.Down && f.Observed*largeFactor <= f.Expected
	case availability:
		share := f.Kind == detector.Ratio || f.Kind == detector.Saturation
		return share && (d >= largeShare || -d >= largeShare)
	}
	return false
}

// small says whether a harmful finding, if it is the only one, is a mere notice.
func small(f *detector.Finding) bool {
	d := f.Observed - f.Expected
	if d < 0 {
		d = -d
	}
	if aspectOf(f) == failure && f.Kind == detector.Ratio {
		return d < smallFailure
	}
	return f.Expected > 0 && d < smallRelative*f.Expected
}

// severityOf judges the harmful findings of an incident, each as it was at its worst.
// docs/notifications.md has the rule in words.
func severityOf(worst []*detector.Finding) Severity {
	suffering := make(map[string]bool)
	for _, f := range worst {
		if large(f) {
			return Critical
		}
		if aspectOf(f).facesUsers() {
			suffering[f.Service.String()] = true
		}
	}
	switch {
	case len(suffering) >= manyServices:
		return Critical
	case len(worst) == 1 && small(worst[0]):
		return Info
	}
	return Warning
}

// level orders severities; an unknown one is below all.
func (s Severity) level() int {
	switch s {
	case Critical:
		return 3
	case Warning:
		return 2
	case Info:
		return 1
	}
	return 0
}

// AtLeast says whether s matters as much as t or more.
func (s Severity) AtLeast(t Severity) bool { return s.level() >= t.level() }
