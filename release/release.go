// Package release judges rollouts: new pods against old ones, while both run.
//
// A Judge holds what harmless releases of each service look like. A Trial follows one release, window by
// window, and may be asked for its Verdict after each: the chance that a harmless release is ever called
// Regressed is at most alpha, however often one looks. Doubt is Inconclusive, and says what is missing.
// A Tracker knows which releases there are, and which revisions were accepted.
package release

import (
	"fmt"
	"time"

	"tocsin/release/evidence"
)

// Result is what a verdict comes to. The zero value is Inconclusive: doubt must never roll back.
type Result uint8

// The results.
const (
	Inconclusive Result = iota
	Healthy
	Regressed
)

// String returns the result as it is written in events and by the offline judge.
func (r Result) String() string {
	switch r {
	case Healthy:
		return "healthy"
	case Regressed:
		return "regressed"
	}
	return "inconclusive"
}

// MarshalText writes the result's name.
func (r Result) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *Result) UnmarshalText(text []byte) error {
	for _, known := range []Result{Inconclusive, Healthy, Regressed} {
		if string(text) == known.String() {
			*r = known
			return nil
		}
	}
	return fmt.Errorf("result %q: want inconclusive, healthy or regressed", text)
}

// Tier says how far the evidence of a verdict carries.
type Tier uint8

// The tiers, by e-value. A harmless release reaches one with a probability of at most 1 in its bound.
const (
	Watch    Tier = iota
	Pause         // 100: stop the rollout, ask.
	RollBack      // 1,000.
	AtOnce        // 10,000: wait for nothing else.
)

// String returns the tier's name.
func (t Tier) String() string {
	return [...]string{"watch", "pause", "roll back", "at once"}[min(t, AtOnce)]
}

// MarshalText writes the tier's name.
func (t Tier) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Tier) UnmarshalText(text []byte) error {
	for known := Watch; known <= AtOnce; known++ {
		if string(text) == known.String() {
			*t = known
			return nil
		}
	}
	return fmt.Errorf("tier %q: want watch, pause, roll back or at once", text)
}

// tier returns the tier that an e-value reaches.
func tier(e float64) Tier {
	switch {
	case e >= 10_000:
		return AtOnce
	case e >= 1_000:
		return RollBack
	case e >= 100:
		return Pause
	}
	return Watch
}

// Missing is what an inconclusive verdict still needs.
type Missing struct {
	Requests float64       `json:"requests,omitempty"` // Of the new pods.
	Time     time.Duration `json:"-"`
}

// Verdict is what is known of a release at one instant, with the evidence for each metric.
type Verdict struct {
	Result  Result        `json:"result"`
	Tier    Tier          `json:"tier"`
	At      time.Time     `json:"at"`
	Elapsed time.Duration `json:"elapsed_ns"` // Since the first new pod.
	EValue  float64       `json:"e_value"`    // All metrics together.
	// How much larger than usual an e-value must be, because the service's own quiet history looked like
	// regressions; 1 is as usual.
	Strictness float64 `json:"strictness"`

	Metric  string             `json:"metric"` // The one that weighs most.
	Effect  float64            `json:"effect"` // Of that metric, with a 95% interval.
	Lower   float64            `json:"lower"`
	Upper   float64            `json:"upper"`
	Reason  string             `json:"reason"` // One sentence for people.
	Missing Missing            `json:"missing"`
	Metrics []evidence.Finding `json:"metrics"`
}
