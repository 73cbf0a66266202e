// Package incident decides what belongs together, what changed before it, and when it is over.
package incident

import (
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// State says where an incident is in its life.
type State string

// The states of an incident.
const (
	Open         State = "open"
	Acknowledged State = "acknowledged"
	Resolved     State = "resolved"
)

// Severity says how much an incident matters.
type Severity string

// The severities, mildest first.
const (
	Info     Severity = "info"
	Warning  Severity = "warning"
	Critical Severity = "critical"
)

// Incident is what one person should hear about once: findings that belong together, and what may
// have caused them.
type Incident struct {
	ID          string        `json:"id"`          // Of this occurrence: fingerprint and start.
	Fingerprint string        `json:"fingerprint"` // Of the place, on every replica.
	Service     fleet.Service `json:"service"`     // Where it began; zero: of an alarm.
	State       State         `json:"state"`
	Severity    Severity      `json:"severity"`
	Title       string        `json:"title"` // One line for people, without markup.
	Start       time.Time     `json:"start"` // First improbable value of the first finding.
	Opened      time.Time     `json:"opened"`
	Updated     time.Time     `json:"updated"`
	End         time.Time     `json:"end,omitzero"`
	Reason      string        `json:"reason,omitempty"` // Why it was resolved.

	AcknowledgedBy string    `json:"acknowledged_by,omitempty"`
	AcknowledgedAt time.Time `json:"acknowledged_at,omitzero"`
	ResolvedBy     string    `json:"resolved_by,omitempty"` // A person; else it was over by itself.

	Services []fleet.Service    `json:"services"`          // All affected, the first is Service.
	Findings []detector.Finding `json:"findings"`          // Newest of each signal, worst first.
	Effects  []Effect           `json:"effects"`           // Of Findings, in the same order.
	Omitted  int                `json:"omitted,omitempty"` // Findings beyond the worst hundred.
	Causes   []Cause            `json:"causes"`            // What changed before, likeliest first.
	Peers    Peers              `json:"peers,omitzero"`    // Is it here only?

	Release  *ReleaseInfo `json:"release,omitempty"`  // The bad release that it is about.
	Releases []ReleaseRef `json:"releases,omitempty"` // All such, if several; the first is Release.
	Acts     []Act        `json:"acts,omitempty"`     // What tocsin does about it, oldest first.
	Alarm    string       `json:"alarm,omitempty"`    // Its kind, if it is nothing but an alarm.
}

// Effect says in plain units what a signal did at its worst: observed 12.4%, expected 0.3%,
// difference "+12.1 points (41.3 times)".
type Effect struct {
	Service    fleet.Service `json:"service"`
	Signal     string        `json:"signal"` // As people say it: "latency p99".
	Harmful    bool          `json:"harmful"`
	Open       bool          `json:"open"`
	Observed   string        `json:"observed"`
	Expected   string        `json:"expected"`
	Difference string        `json:"difference"`
}

// Cause is a change that may have caused an incident.
type Cause struct {
	Change fleet.Change  `json:"change"`
	Before time.Duration `json:"before_ns"` // The start of the incident; negative: after it.
	Score  float64       `json:"score"`     // 0 to 1; compares causes, no probability.
	Why    string        `json:"why"`       // "the same service, 40s before"
}
