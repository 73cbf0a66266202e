package tsdb

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"tocsin/detector"
	"tocsin/series"
)

const (
	// maxCommit is how many values one commit takes.
	maxCommit = 50_000
	// maxAhead is how far ahead of the clock a value may be.
	maxAhead = 10 * time.Minute
	// maxIdle is how long a column without batches is remembered; by then queries show nothing of
	// it.
	maxIdle = 10 * time.Minute
)

// Lookup says which series a ref stands for, and false if nobody knows any more.
type Lookup func(series.Ref) (series.ID, bool)

// batch is a copy of detector.Scores on its way to the writer.
type batch struct {
	cluster string
	signal  string
	at      time.Time
	history bool
	lookup  Lookup

	refs   []series.Ref
	score  []float32
	detail [4][]float64 // Observed, expected, lower, upper.
}

// writer appends batches in a goroutine of its own.
type writer struct {
	opts    *Options
	logger  *slog.Logger
	metrics *metrics
	db      *tsdb.DB
	guard   *guard
	inbox   chan *batch // Deep: a tick of a fleet is thousands; values are what is limited.
	free    sync.Pool   // Of batches.

	waiting  atomic.Int64 // Values in the inbox.
	signals  atomic.Int64
	detailed atomic.Int64

	columns map[column]*group  // Only the goroutine touches this and the following.
	slots   []slot             // By Ref.
	auto    int                // Slots that have details because there is room.
	wanted  map[series.ID]bool // For which SetDetail asks.
	swept   time.Time

	mu     sync.Mutex         // Guards what follows.
	wishes map[series.ID]bool // What SetDetail was told since the last commit.
}

func newWriter(opts *Options, m *metrics, db *tsdb.DB, g *guard) *writer {
	return &writer{
		opts:    opts,
		logger:  opts.Logger,
		metrics: m,
		db:      db,
		guard:   g,
		inbox:   make(chan *batch, 8192),
		free:    sync.Pool{New: func() any { return new(batch) }},
		columns: make(map[column]*group),
		swept:   opts.now(),
		wanted:  make(map[series.ID]bool),
		wishes:  make(map[series.ID]bool),
	}
}

// WriteScores takes a copy of s to be written soon, and returns at once. It is made to be given
// to the detector. lookup is called later, from another goroutine.
func (d *DB) WriteScores(s *detector.Scores, lookup func(series.Ref) (series.ID, bool)) {
	d.writer.take(s, lookup)
}

// SetDetail says whether a signal shall have series of what was observed and expected even where
// there are too many signals for that: while it has a finding.
func (d *DB) SetDetail(id series.ID, on bool) {
	w := d.writer
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wishes[id] = on
}

func (w *writer) take(s *detector.Scores, lookup Lookup) {
	n := len(s.Refs)
	now := w.opts.now()
	switch {
	case n == 0:
		return
	case s.History && s.At.Before(now.Add(-w.opts.History)):
		w.metrics.drop(dropHistory, n)
		return
	case s.At.After(now.Add(maxAhead)):
		w.metrics.drop(dropFuture, n)
		return
	}
	if waiting := w.waiting.Add(int64(n)); waiting > int64(w.opts.Queue) {
		w.waiting.Add(int64(-n))
		w.metrics.drop(dropQueue, n)
		return
	}
	b := w.free.Get().(*batch)
	b.cluster, b.signal, b.at, b.history, b.lookup = s.Cluster, s.Signal, s.At, s.History, lookup
	b.refs = append(b.refs[:0], s.Refs...)
	b.score = append(b.score[:0], s.Score...)
	for i, values := range [...][]float64{s.Observed, s.Expected, s.Lower, s.Upper} {
		b.detail[i] = append(b.detail[i][:0], values...)
	}
	select {
	case w.inbox <- b:
	default:
		w.waiting.Add(int64(-n))
		w.metrics.drop(dropQueue, n)
		w.free.Put(b)
	}
}

// run writes until ctx is done, and then what is left.
func (w *writer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			w.drain(context.WithoutCancel(ctx))
			return
		case b := <-w.inbox:
			w.commit(ctx, b)
		}
	}
}

// drain writes what waits.
func (w *writer) drain(ctx context.Context) {
	for b := w.next(0); b != nil; b = w.next(0) {
		w.commit(ctx, b)
	}
}

// commit writes b and what waits behind it in one go.
func (w *writer) commit(ctx context.Context, b *batch) {
	start := w.opts.now()
	w.takeWishes()
	w.sweep(start)
	a := &appends{w: w, app: w.db.Appender(ctx)}
	n := 0
	for b != nil {
		n += len(b.refs)
		w.append(a, b)
		b = w.next(n)
	}
	w.finish(a)
	w.waiting.Add(int64(-n))
	w.metrics.commit.Observe(w.opts.now().Sub(start).Seconds())
	w.metrics.queue.Set(float64(w.waiting.Load()))
}

// next returns a batch that waits, unless n values are enough for one commit.
func (w *writer) next(n int) *batch {
	if n >= maxCommit {
		return nil
	}
	select {
	case b := <-w.inbox:
		return b
	default:
		return nil
	}
}

// append hands the values of b to a and gives b back.
func (w *writer) append(a *appends, b *batch) {
	if writable, _, _ := w.guard.state(); writable {
		w.column(b).append(a, b)
	} else {
		w.metrics.drop(dropDisk, len(b.refs))
	}
	b.lookup = nil
	w.free.Put(b)
}

// finish commits a, and stops appends for a while if the disk refuses.
func (w *writer) finish(a *appends) {
	err := a.app.Commit()
	if err != nil {
		w.metrics.drop(dropWriteError, a.samples)
		w.guard.refused(err)
		return
	}
	w.metrics.samples.Add(float64(a.samples))
	w.metrics.stale.Add(float64(a.stale))
	for reason, n := range a.dropped {
		w.metrics.drop(reason, n)
	}
}

// appends is one transaction and what became of it.
type appends struct {
	w       *writer
	app     storage.Appender
	samples int
	stale   int
	dropped map[string]int
}

func (a *appends) drop(err error) {
	if a.dropped == nil {
		a.dropped = make(map[string]int)
	}
	reason := dropWriteError
	switch {
	case errors.Is(err, storage.ErrOutOfBounds), errors.Is(err, storage.ErrTooOldSample):
		reason = dropOld
	case errors.Is(err, storage.ErrOutOfOrderSample):
		reason = dropOrder
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		reason = dropDuplicate
	case errors.Is(err, errUnknownRef):
		reason = dropUnknown
	}
	a.dropped[reason]++
}
