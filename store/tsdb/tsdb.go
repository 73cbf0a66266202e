// Package tsdb keeps scores as Prometheus series and answers PromQL about them through
// Prometheus's own HTTP API.
//
// It is the Prometheus TSDB with the PromQL engine in front. Scores may be lost, and it is
// counted why; what they must never do is hold up detection or, on a full disk, end the process.
package tsdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"

	"tocsin/series"
)

// Options configures a DB. Zero values of optional fields stand for the defaults given here.
type Options struct {
	Dir       string        // Required. Belongs to the database alone.
	Retention time.Duration // How long samples are kept; 15 days.
	MaxBytes  int64         // How large the blocks may get; no limit.
	History   time.Duration // How far back scores of history are kept; 6h. Negative: none.

	// Appends stop while less space than the larger of these two is free. Negative: no limit.
	MinFree      int64   // Bytes; 1 GiB.
	MinFreeShare float64 // Of the file system; 0.05.

	// All signals get tocsin_score. The other four series are for those that Match, those that
	// were asked for by SetDetail, and the first so many others.
	Detail int                  // 20,000. Negative: none.
	Match  func(series.ID) bool // None.

	Queue      int           // Values that may wait to be written; 1,000,000.
	Timeout    time.Duration // Of a query; 30s.
	MaxSamples int           // That a query may hold in memory; 10,000,000.
	Concurrent int           // Queries at a time; 8. Others wait.

	Version string            // Of tocsin, shown as revision in /api/v1/status/buildinfo.
	Config  func() string     // YAML for /api/v1/status/config, secrets masked; none.
	Flags   map[string]string // For /api/v1/status/flags.

	Logger *slog.Logger          // Discards.
	Reg    prometheus.Registerer // Nil keeps the metrics private.

	now  func() time.Time                  // time.Now, but for tests.
	free func(string) (space, error)       // statfs, but for tests.
	poll func() (<-chan time.Time, func()) // When to look at the free space; every second.
}

func (o *Options) setDefaults() error {
	if o.Dir == "" {
		return errors.New("tsdb: no directory given")
	}
	orElse(&o.Retention, 15*24*time.Hour)
	orElse(&o.History, 6*time.Hour)
	orElse(&o.MinFree, 1<<30)
	orElse(&o.MinFreeShare, 0.05)
	orElse(&o.Detail, 20_000)
	orElse(&o.Queue, 1_000_000)
	orElse(&o.Timeout, 30*time.Second)
	orElse(&o.MaxSamples, 10_000_000)
	orElse(&o.Concurrent, 8)
	if o.Match == nil {
		o.Match = func(series.ID) bool { return false }
	}
	if o.Config == nil {
		o.Config = func() string { return "" }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.free == nil {
		o.free = statfs
	}
	if o.poll == nil {
		o.poll = func() (<-chan time.Time, func()) {
			t := time.NewTicker(time.Second)
			return t.C, t.Stop
		}
	}
	return nil
}

// orElse gives *v a value if it has none.
func orElse[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// DB is the database. Its methods may be called concurrently.
type DB struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics
	started time.Time

	db      *tsdb.DB
	engine  *promql.Engine
	handler http.Handler
	guard   *guard
	writer  *writer
	mended  []string // What Open had to do to the files.

	closing sync.Once
}

// Open opens the database or begins one where there is none; it can be queried from then on, and
// written to once Run runs. A torn or damaged write-ahead log is cut where the damage begins;
// damaged blocks are set aside. Status says what was done.
func Open(opts Options) (*DB, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	d := &DB{
		opts:    opts,
		logger:  opts.Logger,
		metrics: newMetrics(opts.Reg),
		started: opts.now(),
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open %s: %w", opts.Dir, err)
	}
	if err := d.openFiles(); err != nil {
		return nil, fmt.Errorf("open %s: %w", opts.Dir, err)
	}
	d.guard = newGuard(&opts, d.metrics, d.db.ForceHeadMMap)
	d.writer = newWriter(&opts, d.metrics, d.db, d.guard)
	d.engine = newEngine(&opts)
	d.handler = newHandler(d)
	return d, nil
}

// Run writes the scores that it is handed until ctx is done, then those that still wait, and
// returns nil.
func (d *DB) Run(ctx context.Context) error {
	var tasks sync.WaitGroup
	tasks.Go(func() { d.guard.run(ctx) })
	d.writer.run(ctx)
	tasks.Wait()
	return nil
}

// Close ends the database after Run has returned. Queries under way fail.
func (d *DB) Close() error {
	var err error
	d.closing.Do(func() {
		if err = errors.Join(d.engine.Close(), d.db.Close()); err != nil {
			err = fmt.Errorf("close %s: %w", d.opts.Dir, err)
		}
	})
	return err
}

// Handler serves the read-only part of Prometheus's HTTP API under /api/v1/.
func (d *DB) Handler() http.Handler { return d.handler }

// settings returns the options of the Prometheus TSDB.
func settings(o *Options) *tsdb.Options {
	s := tsdb.DefaultOptions()
	s.RetentionDuration = o.Retention.Milliseconds()
	s.MaxBytes = o.MaxBytes
	s.WALCompression = compression.Snappy
	s.WALSegmentSize = 32 << 20
	// As Prometheus does: blocks of a tenth of the retention, so that it cuts off little at a
	// time.
	longest := min(31*24*time.Hour, o.Retention/10)
	s.MaxBlockDuration = max(s.MinBlockDuration, longest.Milliseconds())
	return s
}

// Status says how the database is.
type Status struct {
	Dir       string    `json:"dir"`
	Series    uint64    `json:"series"`  // In memory.
	Signals   int       `json:"signals"` // That have a score.
	Detailed  int       `json:"detailed"`
	Oldest    time.Time `json:"oldest,omitzero"` // Sample, and the newest.
	Newest    time.Time `json:"newest,omitzero"`
	Waiting   int       `json:"waiting"`    // Values in the queue.
	FreeBytes int64     `json:"free_bytes"` // Of the file system.
	Writable  bool      `json:"writable"`
	Reason    string    `json:"reason,omitempty"` // Why it is not.
	Mended    []string  `json:"mended,omitempty"` // What was damaged, and what was done.
}

// Status says how the database is.
func (d *DB) Status() Status {
	s := Status{
		Dir:      d.opts.Dir,
		Series:   d.db.Head().NumSeries(),
		Signals:  int(d.writer.signals.Load()),
		Detailed: int(d.writer.detailed.Load()),
		Waiting:  int(d.writer.waiting.Load()),
		Mended:   d.mended,
	}
	s.Writable, s.Reason, s.FreeBytes = d.guard.state()
	if s.Series == 0 && len(d.db.Blocks()) == 0 {
		return s
	}
	oldest := d.db.Head().MinTime()
	if blocks := d.db.Blocks(); len(blocks) > 0 {
		oldest = min(oldest, blocks[0].MinTime())
	}
	s.Oldest, s.Newest = time.UnixMilli(oldest).UTC(), time.UnixMilli(d.db.Head().MaxTime()).UTC()
	return s
}
