package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/api"
	"tocsin/detector"
	"tocsin/store/journal"
)

const (
	// maxJudged bounds the series that opinions in force are about; beyond it the oldest opinions end.
	maxJudged = 10_000
	// writeWithin is how long the journal may take to write an opinion down.
	writeWithin = 20 * time.Second
)

// opinions keeps what people think of findings. What changes is written into the journal first and
// then put in force.
type opinions struct {
	journal *journal.Journal
	archive *archive
	apply   func([]detector.Feedback) error
	logger  *slog.Logger
	metrics *opinionMetrics

	mu     sync.Mutex              // Guards what follows; held while the journal writes.
	active map[string]api.Feedback // By ID, what is in force.
	unsure bool                    // That may not be what the journal has.
}

var _ api.Opinions = (*opinions)(nil)

func newOpinions(
	a *archive, apply func([]detector.Feedback) error, logger *slog.Logger,
	reg prometheus.Registerer,
) *opinions {
	return &opinions{
		journal: a.journal, archive: a, apply: apply,
		logger: logger.With("component", "feedback"), metrics: newOpinionMetrics(reg),
		active: make(map[string]api.Feedback),
	}
}

// Run ends opinions that have become old, until ctx is done.
func (o *opinions) Run(ctx context.Context) error {
	every := time.NewTicker(time.Hour)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			if err := o.refresh(ctx); err != nil && ctx.Err() == nil {
				o.logger.Warn("Old feedback stays in force", "err", err)
			}
		}
	}
}

// refresh ends what has become old, and puts the rest in force if that did not succeed before.
func (o *opinions) refresh(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.settle(ctx); err != nil {
		return err
	}
	var ended []api.Feedback
	now := time.Now().UTC()
	for _, f := range o.active {
		if faded(&f, now) {
			ended = append(ended, expire(f, now, "the finding began more than 8 weeks ago"))
		}
	}
	return o.change(ctx, now, ended)
}

// restore puts in force what the journal says is. It is called once, before the detector runs.
func (o *opinions) restore(ctx context.Context) error {
	o.mu.Lock()
	active, err := o.recall(ctx)
	if err == nil {
		o.active = active
		if err := o.put(); err != nil {
			o.logger.Error("Feedback is not in force yet", "err", err)
		}
	}
	o.mu.Unlock()
	if err != nil {
		return err
	}
	if err := o.refresh(ctx); err != nil {
		o.logger.Warn("Old feedback stays in force", "err", err)
	}
	return nil
}

// recall reads from the journal what is in force.
func (o *opinions) recall(ctx context.Context) (map[string]api.Feedback, error) {
	all, err := latest[api.Feedback](ctx, o.archive, kindFeedback, doubt)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(_ string, f api.Feedback) bool {
		return f.State != api.FeedbackActive
	})
	return all, nil
}

// settle makes sure that what is in force is what the journal says. o.mu is held.
func (o *opinions) settle(ctx context.Context) error {
	if !o.unsure {
		return nil
	}
	active, err := o.recall(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", api.ErrNotRecorded, err)
	}
	o.active, o.unsure = active, false
	return o.put()
}

// Give implements api.Opinions.
func (o *opinions) Give(ctx context.Context, f api.Feedback) (api.Feedback, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.settle(ctx); err != nil {
		return api.Feedback{}, err
	}
	if faded(&f, f.At) {
		return api.Feedback{}, api.ErrTooOld
	}
	if same, ok := o.repeated(f); ok {
		return same, nil
	}
	f.ID, f.State = opinionID(&f), api.FeedbackActive
	changed := append(o.replaced(&f), f)
	changed = append(changed, o.surplus(changed, f.At)...)
	if err := o.change(ctx, f.At, changed); err != nil {
		return api.Feedback{}, err
	}
	o.metrics.events.WithLabelValues(opinionGiven).Inc()
	return f, nil
}

// Undo implements api.Opinions.
func (o *opinions) Undo(ctx context.Context, id, by string, at time.Time) (api.Feedback, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.settle(ctx); err != nil {
		return api.Feedback{}, err
	}
	f, ok := o.active[id]
	if !ok {
		return api.Feedback{}, o.missing(ctx, id)
	}
	f.State, f.Ended, f.EndedBy = api.FeedbackUndone, at, by
	return f, o.change(ctx, at, []api.Feedback{f})
}

// missing says why feedback is not in force.
func (o *opinions) missing(ctx context.Context, id string) error {
	events, err := o.journal.Read(ctx, journal.Query{
		Kinds: []string{kindFeedback}, Key: id, Newest: true, Limit: 1,
	})
	if err != nil {
		return fmt.Errorf("look for feedback %s: %w", id, err)
	}
	if len(events) == 0 {
		return fmt.Errorf("%s: %w", id, api.ErrNoFeedback)
	}
	f, err := journal.Decode[api.Feedback](events[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("%s is %s: %w", id, f.State, api.ErrFeedbackOver)
}
