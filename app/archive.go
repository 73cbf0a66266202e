package app

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/store/journal"
)

// archive reads back from the journal what was known at the last stop or crash.
type archive struct {
	journal *journal.Journal
	logger  *slog.Logger
	suspect *prometheus.CounterVec // Events that cannot be shown to be as they were written.
}

// faith says what becomes of events that cannot be shown to be as they were written.
type faith bool

const (
	believe faith = true  // Better told than lost: used, if they can be read.
	doubt   faith = false // They would do something, or keep it from being done: left out.
)

// latest reads the newest event of each key of a kind.
func latest[T any](ctx context.Context, a *archive, kind string, f faith) (map[string]T, error) {
	events, err := a.journal.Latest(ctx, kind)
	if err != nil {
		return nil, fmt.Errorf("read the newest events of kind %s: %w", kind, err)
	}
	out := make(map[string]T, len(events))
	for key, e := range events {
		v, ok, err := recall[T](a, e, f)
		if err != nil {
			return nil, err
		}
		if ok {
			out[key] = v
		}
	}
	return out, nil
}

// recall decodes an event and says whether it is to be used.
func recall[T any](a *archive, e journal.Event, f faith) (v T, ok bool, err error) {
	v, err = journal.Decode[T](e)
	if !e.Suspect {
		return v, err == nil, err
	}
	ok = err == nil && f == believe
	a.suspect.WithLabelValues(e.Kind).Inc()
	a.logger.Warn("Event of a damaged journal", "seq", e.Seq, "kind", e.Kind, "key", e.Key, "used", ok)
	return v, ok, nil
}
