// Package series carries observations on the move: what a series is, a dense number for it, and batches of values.
package series

import (
	"context"
	"strings"
	"time"

	"tocsin/fleet"
)

// ID says what a series measures: one signal of one service.
type ID struct {
	Service fleet.Service
	Signal  string
}

// Ref is a dense number that stands for an ID while the process lives. Refs begin at 1 and are
// never used again for another ID.
type Ref uint32

// Batch is one instant of one signal of one cluster. A series that is not in the batch had no sample.
// No data is not zero: a value that is not known is left out or NaN.
type Batch struct {
	Cluster string
	Signal  string
	At      time.Time     // End of the closed window that Values describe; the same for all signals of one tick.
	Step    time.Duration // Distance to the previous instant when nothing is missing.
	Window  time.Duration // How far back each value looks: the range of a rate. 0 stands for Step.
	Refs    []Ref         // Without duplicates.
	Values  []float64     // As long as Refs.

	// History marks values from the past that teach the model but are not reported as findings.
	History bool
	// Final marks the last batch of this cluster at this instant: what belongs together may be judged.
	// A final batch may have no signal and no values. A later At closes earlier instants too.
	Final bool
}

// Sink accepts batches. The batches of one cluster come from one goroutine at a time and in order of At;
// those of different clusters may come concurrently. Append must not retain b or its slices: the caller
// reuses them as soon as Append returns. Append blocks while the sink is behind, until ctx is done.
type Sink interface {
	Append(ctx context.Context, b *Batch) error
}

// Compare orders IDs by service and signal.
func (id ID) Compare(other ID) int {
	if c := id.Service.Compare(other.Service); c != 0 {
		return c
	}
	return strings.Compare(id.Signal, other.Signal)
}
