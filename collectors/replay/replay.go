package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"tocsin/fleet"
	"tocsin/series"
)

// Target says as what a recording is played.
type Target struct {
	Service  fleet.Service
	Registry *series.Registry
	Sink     series.Sink
}

// Play sends the rest of the recording to the target, one batch for each signal and row, the last of a row final.
// Tell is called with every row before it is sent, in order. A row whose time does not lie behind that of the row
// before it is sent as if it came one interval later than that one: sinks take no instant twice.
func (r *Recording) Play(ctx context.Context, to Target, tell func(Row) error) error {
	refs := make([]series.Ref, len(r.Signals))
	for i, name := range r.Signals {
		ref, err := to.Registry.Ref(series.ID{Service: to.Service, Signal: name})
		if err != nil {
			return fmt.Errorf("play %s: %w", r.name, err)
		}
		refs[i] = ref
	}
	var last time.Time
	for {
		next, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !last.IsZero() && !next.At.After(last) {
			next.At = last.Add(r.Interval)
		}
		last = next.At
		if err := tell(next); err != nil {
			return err
		}
		if err := r.send(ctx, to, refs, next); err != nil {
			return fmt.Errorf("play %s: %w", r.name, err)
		}
	}
}

func (r *Recording) send(ctx context.Context, to Target, refs []series.Ref, next Row) error {
	b := series.Batch{Cluster: to.Service.Cluster, At: next.At, Step: r.Interval}
	for i, name := range r.Signals {
		b.Signal = name
		b.Final = i == len(refs)-1
		b.Refs, b.Values = nil, nil
		if !math.IsNaN(next.Values[i]) {
			b.Refs, b.Values = refs[i:i+1], next.Values[i:i+1]
		}
		if err := to.Sink.Append(ctx, &b); err != nil {
			return err
		}
	}
	return nil
}
