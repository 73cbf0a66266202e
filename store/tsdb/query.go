package tsdb

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Point is one sample.
type Point struct {
	At    time.Time `json:"at"`
	Value float64   `json:"value"`
}

// Series is what a query has found of one series.
type Series struct {
	Labels map[string]string `json:"labels"`
	Points []Point           `json:"points"`
}

func newEngine(o *Options) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		Logger:               o.Logger.With("component", "promql"),
		Reg:                  o.Reg,
		MaxSamples:           o.MaxSamples,
		Timeout:              o.Timeout,
		ActiveQueryTracker:   limit(make(chan struct{}, o.Concurrent)),
		LookbackDelta:        5 * time.Minute,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return time.Minute.Milliseconds()
		},
	})
}

// limit lets only so many queries run at a time as it is deep.
type limit chan struct{}

var _ promql.QueryTracker = limit(nil)

func (l limit) GetMaxConcurrent() int { return cap(l) }

func (l limit) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case l <- struct{}{}:
		return 0, nil // Even if the time is up: the engine says so in its own words.
	default:
	}
	select {
	case l <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for one of %d queries to end: %w", cap(l), context.Cause(ctx))
	}
}

func (l limit) Delete(int) { <-l }

func (l limit) Close() error { return nil }

// Range evaluates a PromQL expression at each step from start to end.
func (d *DB) Range(
	ctx context.Context, expr string, start, end time.Time, step time.Duration,
) ([]Series, error) {
	q, err := d.engine.NewRangeQuery(ctx, d.db, nil, expr, start, end, step)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	defer q.Close()
	m, err := q.Exec(ctx).Matrix()
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	out := make([]Series, 0, len(m))
	for _, s := range m {
		points := make([]Point, 0, len(s.Floats))
		for _, p := range s.Floats {
			points = append(points, Point{At: time.UnixMilli(p.T).UTC(), Value: p.F})
		}
		out = append(out, Series{Labels: s.Metric.Map(), Points: points})
	}
	return out, nil
}
