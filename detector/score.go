package detector

import (
	"time"

	"tocsin/fleet"
	"tocsin/series"
)

// Scores says what the detector thinks of one instant of one signal of one cluster, in columns of
// equal length. Its slices are valid only until the function that was handed them returns.
type Scores struct {
	Cluster string
	Signal  string
	At      time.Time
	History bool // Of a batch of history: nobody was told.

	Refs     []series.Ref
	Score    []float32 // -log10 of a tail probability; NaN: none, or not warm.
	News     []float32 // The same of what the ticks before had not yet said, so that an event counts once.
	Observed []float64 // As it came; NaN: no sample.
	Expected []float64 // NaN where Score is NaN for want of learning.
	Lower    []float64 // Bounds of what is ordinary.
	Upper    []float64
}

// ServiceScores gives, once all signals of one instant of one cluster are in, one score for each
// service. Its slices are valid only until the function that was handed them returns.
type ServiceScores struct {
	Cluster  string
	At       time.Time
	History  bool
	Services []fleet.Service
	Score    []float32 // As in Scores, of all signals of the service together; NaN: nothing to judge.
}
