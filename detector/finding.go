package detector

import (
	"time"

	"tocsin/fleet"
)

// State says where a finding is in its life.
type State string

// The states of a finding.
const (
	Open     State = "open"
	Resolved State = "resolved"
)

// Finding is a stretch of time in which one signal of one service was improbable. It is reported
// when it opens, when it gets distinctly worse, and when it resolves, each time whole, under the
// same ID.
type Finding struct {
	ID      string        `json:"id"` // A hash of service, signal and Start: a replay gives the same.
	Service fleet.Service `json:"service"`
	Signal  string        `json:"signal"`
	Unit    string        `json:"unit"`
	Kind    Kind          `json:"kind"`
	State   State         `json:"state"`
	Start   time.Time     `json:"start"` // At of the first improbable value.
	At      time.Time     `json:"at"`    // Of the value that this report is about.
	End     time.Time     `json:"end,omitzero"`
	// Why it resolved: "back to normal", "new level", "series ended", "signal removed",
	// "cluster removed".
	Reason string `json:"reason,omitempty"`

	Direction Direction `json:"direction"` // Up or Down: which way it went.
	Harmful   bool      `json:"harmful"`   // It went the way that is bad for this signal.
	Score     float64   `json:"score"`
	Peak      float64   `json:"peak"`      // The highest score so far.
	Threshold float64   `json:"threshold"` // The score that opened it.
	Observed  float64   `json:"observed"`
	Expected  float64   `json:"expected"`
	Lower     float64   `json:"lower"`
	Upper     float64   `json:"upper"`
}
