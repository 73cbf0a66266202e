// Package journal keeps the event log: what was found, told and done, synced to disk and chained
// by hashes.
//
// It is an SQLite database in one file. An append returns once its events are on the disk;
// concurrent appends share one transaction and one sync. Each event carries the hash of the one
// before, so that a lost, changed or exchanged event is noticed: by Verify, and by every Read of
// it. docs/formats/journal.md describes the file.
package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Errors that callers tell apart.
var (
	// ErrClosed means that the journal was closed before the events were written.
	ErrClosed = errors.New("journal closed")
	// ErrFull means that the disk has no room: nothing of this append was written.
	ErrFull = errors.New("disk full")
	// ErrDamaged means that events were lost or changed, and that nobody has reconciled it yet.
	ErrDamaged = errors.New("journal damaged")
	// ErrForeign means that the file is a database of something else, or of a newer tocsin.
	ErrForeign = errors.New("not a journal that this version can write")
	// ErrInUse means that another process has the journal open.
	ErrInUse = errors.New("journal is open in another process")
)

// The kinds of event that the journal itself writes.
const (
	KindBreak      = "break"      // Events were found lost or changed.
	KindReconciled = "reconciled" // Somebody has accepted the breaks before it.
)

// Entry is an event that is to be written.
type Entry struct {
	Kind string    // "finding", "incident", "notification", ...
	Key  string    // Of what the event is about; the newest event of a key is its state.
	At   time.Time // By the clock of what happened; zero stands for now.
	Data any       // Encoded as JSON; a json.RawMessage is taken as it is.
}

// Event is an entry that was written.
type Event struct {
	Seq  int64
	At   time.Time
	Kind string
	Key  string
	Data json.RawMessage
	// Suspect says that it cannot be shown to be as it was written: its hash does not fit, or the
	// event before is lost.
	Suspect bool
}

// Decode reads the data of an event.
func Decode[T any](e Event) (T, error) {
	var v T
	if err := json.Unmarshal(e.Data, &v); err != nil {
		return v, fmt.Errorf("decode event %d of kind %s: %w", e.Seq, e.Kind, err)
	}
	return v, nil
}

// Options configures a Journal. Zero values of optional fields stand for the defaults given here.
type Options struct {
	Path        string                // Required. Names of other files begin with it.
	Retention   time.Duration         // How long Run keeps events; 400 days.
	Keep        func(Event) bool      // Newest events of keys that outlive Retention; none.
	VerifyEvery time.Duration         // How often Run walks the whole chain; 24h.
	Queue       int                   // Appends that may wait; 1,024.
	Buffer      int                   // Recorded entries that may wait for the disk; 65,536.
	Logger      *slog.Logger          // Discards.
	Reg         prometheus.Registerer // Nil keeps the metrics private.

	maxPages int // Of the database, so that tests can fill it.
}

func (o *Options) setDefaults() error {
	if o.Path == "" {
		return errors.New("journal: no path given")
	}
	if o.Retention == 0 {
		o.Retention = 400 * 24 * time.Hour
	}
	if o.Keep == nil {
		o.Keep = func(Event) bool { return false }
	}
	if o.VerifyEvery == 0 {
		o.VerifyEvery = 24 * time.Hour
	}
	if o.Queue == 0 {
		o.Queue = 1024
	}
	if o.Buffer == 0 {
		o.Buffer = 65_536
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Journal is the event log. Its methods may be called concurrently.
type Journal struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics

	anchor  *anchor
	appends chan *request // As many as may wait, so that one transaction takes them together.
	jobs    chan func()   // Work that needs the writing connection.
	wake    chan struct{} // Holds one: there is something in the buffer.
	closing chan struct{} // Closed by Close.
	done    chan struct{} // Closed when the writer has ended.

	upkeep sync.Mutex // Held while the chain is walked or pruned.

	mu          sync.Mutex // Guards what follows.
	closed      bool
	db          *sql.DB // One connection, of the writer goroutine alone.
	readers     *sql.DB // A few, that cannot write.
	checkpoint  link    // The last event that was pruned.
	tip         link    // The last event.
	buffer      []row   // What Record took and the disk does not have yet.
	bufferBytes int
	inFlight    int // So many at the front of the buffer are being written.
	writeError  string
	breaks      []Break
	accepted    map[Break]bool
	verified    Report // Of the last walk over the whole chain.
}

// Open opens the journal, begins one where there is none, and verifies its end. What it finds
// damaged it says in Damaged, the log and a break event; only a file that SQLite cannot open is
// set aside and a new one begun.
func Open(opts Options) (*Journal, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	j := &Journal{
		opts:     opts,
		logger:   opts.Logger,
		metrics:  newMetrics(opts.Reg),
		appends:  make(chan *request, opts.Queue),
		jobs:     make(chan func()),
		wake:     make(chan struct{}, 1),
		closing:  make(chan struct{}),
		done:     make(chan struct{}),
		accepted: make(map[Break]bool),
	}
	if err := j.open(); err != nil {
		j.shut()
		return nil, fmt.Errorf("open journal %s: %w", opts.Path, err)
	}
	go j.write()
	j.signal()
	return j, nil
}

// Close writes what is waiting, and ends. It returns an error if some of it could not be written.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.done
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	close(j.closing)
	<-j.done

	var err error
	if n := len(j.buffer); n > 0 {
		err = fmt.Errorf("close journal %s: %d recorded events not written: %s",
			j.opts.Path, n, j.writeError)
	}
	j.shut()
	return err
}

// Run keeps the journal in order until ctx is done, then returns nil: it prunes what is older
// than Retention, and walks the whole chain soon after the start and then at every VerifyEvery.
func (j *Journal) Run(ctx context.Context) error {
	verify := time.NewTimer(time.Minute)
	defer verify.Stop()
	prune := time.NewTicker(time.Hour)
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-verify.C:
			if _, err := j.Verify(ctx); err != nil && ctx.Err() == nil {
				j.logger.Error("Verification of the journal did not finish", "err", err)
			}
			verify.Reset(j.opts.VerifyEvery)
		case now := <-prune.C:
			_, err := j.Prune(ctx, now.Add(-j.opts.Retention), j.opts.Keep)
			if err != nil && ctx.Err() == nil {
				j.logger.Error("Pruning of the journal did not finish", "err", err)
			}
		}
	}
}

// Status says how the journal is.
type Status struct {
	Path       string  `json:"path"`
	First      int64   `json:"first"` // Numbers of the oldest and the newest event.
	Last       int64   `json:"last"`
	SizeBytes  int64   `json:"size_bytes"`
	Waiting    int     `json:"waiting"`               // Recorded events that are not on disk.
	WriteError string  `json:"write_error,omitempty"` // Of the last transaction, if it went wrong.
	Damaged    bool    `json:"damaged"`
	Breaks     []Break `json:"breaks,omitempty"` // Not reconciled.
	Verified   Report  `json:"verified"`         // Of the last walk over the whole chain.
}

// Status says how the journal is.
func (j *Journal) Status() Status {
	var size int64
	for _, suffix := range [...]string{"", "-wal"} {
		if info, err := os.Stat(j.opts.Path + suffix); err == nil {
			size += info.Size()
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return Status{
		Path:       j.opts.Path,
		First:      min(j.checkpoint.seq+1, j.tip.seq),
		Last:       j.tip.seq,
		SizeBytes:  size,
		Waiting:    len(j.buffer),
		WriteError: j.writeError,
		Damaged:    len(j.breaks) > 0,
		Breaks:     append([]Break(nil), j.breaks...),
		Verified:   j.verified,
	}
}
