package detector

// Kind says how the values of a signal come about, and so what bounds and noise they have.
type Kind string

// The kinds of signal.
const (
	Rate       Kind = "rate"       // Events per second, >= 0: requests, errors, restarts.
	Ratio      Kind = "ratio"      // A share, 0 to 1: errors of requests, throttled of periods.
	Latency    Kind = "latency"    // Seconds, > 0.
	Saturation Kind = "saturation" // A share of a limit, >= 0: CPU or memory of their limits.
	Count      Kind = "count"      // A small whole number, >= 0: unavailable replicas, OOM kills.
	Gauge      Kind = "gauge"      // Anything else.
)

// Direction says which way a signal turns when things get worse.
type Direction string

// The directions.
const (
	Up   Direction = "up"
	Down Direction = "down"
	Both Direction = "both"
)

// Signal is one measured quantity that services have.
type Signal struct {
	Name      string    `json:"name"`
	Kind      Kind      `json:"kind"`
	Unit      string    `json:"unit"` // For people: "s", "requests/s", "%", "bytes", "".
	Bad       Direction `json:"bad"`
	Volume    string    `json:"volume,omitempty"`     // The signal that says how much was measured.
	MinVolume float64   `json:"min_volume,omitempty"` // Below this volume the signal opens no finding.

	// A deviation from what was expected that is smaller than either of these opens no finding.
	MinEffect         float64 `json:"min_effect,omitempty"`          // In the signal's own unit.
	MinEffectRelative float64 `json:"min_effect_relative,omitempty"` // Of the expected: 0.2 is 20%.
}
