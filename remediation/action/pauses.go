package action

import "time"

// Cause says who stops actions.
type Cause string

// The causes. Those that are no people's are tocsin's own, and people lift them as their own.
const (
	ByPeople  Cause = "people"
	ByStorm   Cause = "storm"   // Too many releases went bad at the same time.
	ByBreaker Cause = "breaker" // Too many actions in a row failed or did not help.
)

// Pause stops actions: the kill switch. One that is under way is called off if it has not been
// written; what has been written is seen to its end.
type Pause struct {
	ID       string    `json:"id"`
	Scope    Scope     `json:"scope,omitzero"` // Everything.
	Cause    Cause     `json:"cause"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until,omitzero"` // Zero: until people lift it.
	By       string    `json:"by"`
	Why      string    `json:"why,omitempty"`
	Lifted   time.Time `json:"lifted,omitzero"`
	LiftedBy string    `json:"lifted_by,omitempty"`
}

// active says whether the pause stops anything.
func (p *Pause) active(now time.Time) bool {
	return p.Lifted.IsZero() && (p.Until.IsZero() || now.Before(p.Until))
}
