package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// What one transaction takes, and what recorded entries may take in memory.
const (
	maxBatch       = 2000
	maxBufferBytes = 64 << 20
)

// How long the writer waits before it tries a failed transaction again.
const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// request is one Append that waits.
type request struct {
	rows []row
	done chan error // Holds one, so that the writer never waits for the caller.
}

// Append writes entries in one transaction and returns when they are synced to the disk, or not written at all; the
// error wraps ErrFull when there is no room. It waits while the queue is full. If ctx ends first, the entries may be
// written or not. Callers that cannot wait use Record.
func (j *Journal) Append(ctx context.Context, entries ...Entry) error {
	if len(entries) == 0 {
		return nil
	}
	rows, err := encode(entries, time.Now())
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	r := &request{rows: rows, done: make(chan error, 1)}
	select {
	case <-j.closing:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("append %d events: %w", len(rows), context.Cause(ctx))
	case j.appends <- r:
	}
	j.metrics.queue.WithLabelValues(queueAppend).Set(float64(len(j.appends)))
	select {
	case err = <-r.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-j.done:
		// The writer may have answered before it ended.
		select {
		case err = <-r.done:
		default:
			err = ErrClosed
		}
	}
	if err != nil {
		return fmt.Errorf("append %d events: %w", len(rows), err)
	}
	return nil
}

// Record takes entries into a buffer and returns at once. The writer tries until the disk has them: findings are not
// lost because it is full for a while. Should the buffer fill up, a newer entry takes the place of an older one of its
// kind and key, then the oldest go; both are counted and logged. A crash loses what is in the buffer.
func (j *Journal) Record(entries ...Entry) {
	rows, err := encode(entries, time.Now())
	if err != nil {
		j.metrics.dropped.WithLabelValues(reasonEncode).Add(float64(len(entries)))
		j.logger.Error("Event cannot be written", "err", err)
		return
	}
	j.mu.Lock()
	for _, r := range rows {
		j.hold(r)
	}
	j.metrics.queue.WithLabelValues(queueRecord).Set(float64(len(j.buffer)))
	j.mu.Unlock()
	j.signal()
}

// hold puts r into the buffer. j.mu is held.
func (j *Journal) hold(r row) {
	full := len(j.buffer) >= j.opts.Buffer || j.bufferBytes+len(r.data) > maxBufferBytes
	if full {
		for i := j.inFlight; i < len(j.buffer); i++ {
			if old := &j.buffer[i]; old.kind == r.kind && old.key == r.key {
				j.bufferBytes += len(r.data) - len(old.data)
				*old = r
				j.metrics.dropped.WithLabelValues(reasonSuperseded).Inc()
				return
			}
		}
		j.dropOldest()
	}
	j.buffer = append(j.buffer, r)
	j.bufferBytes += len(r.data)
}

// dropOldest makes room in the buffer: a sixteenth of it, for it is not cheap. j.mu is held.
func (j *Journal) dropOldest() {
	n := min(1+len(j.buffer)/16, len(j.buffer)-j.inFlight)
	for _, r := range j.buffer[j.inFlight : j.inFlight+n] {
		j.bufferBytes -= len(r.data)
	}
	j.buffer = append(j.buffer[:j.inFlight], j.buffer[j.inFlight+n:]...)
	j.metrics.dropped.WithLabelValues(reasonBuffer).Add(float64(n))
	j.logger.Error("Journal buffer is full and events were lost", "events", n, "err", j.writeError)
}

// signal wakes the writer.
func (j *Journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// do runs fn in the writer goroutine, between transactions.
func (j *Journal) do(ctx context.Context, fn func(db *sql.DB) error) error {
	result := make(chan error, 1)
	job := func() {
		if j.db == nil {
			result <- errNoDatabase
			return
		}
		result <- fn(j.db)
	}
	select {
	case j.jobs <- job:
		return <-result
	case <-j.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// write is the writer goroutine: it owns the writing connection until Close.
func (j *Journal) write() {
	defer close(j.done)
	backoff := minBackoff
	retry := time.NewTimer(0)
	defer retry.Stop()
	<-retry.C
	failing := false
	for {
		var err error
		select {
		case <-j.closing:
			j.finish()
			return
		case job := <-j.jobs:
			job()
			continue
		case r := <-j.appends:
			err = j.commit(j.gather(r))
		case <-j.wake:
			if failing {
				continue // The timer will come.
			}
			err = j.commit(nil)
		case <-retry.C:
			err = j.commit(nil)
		}
		failing = err != nil
		if !failing {
			backoff = minBackoff
			continue
		}
		retry.Reset(backoff)
		backoff = min(2*backoff, maxBackoff)
	}
}

// finish writes what was handed in before Close, once.
func (j *Journal) finish() {
	for {
		var waiting []*request
		select {
		case r := <-j.appends:
			waiting = j.gather(r)
		default:
		}
		err := j.commit(waiting)
		j.mu.Lock()
		left := len(j.buffer) + len(j.appends)
		j.mu.Unlock()
		if left == 0 || err != nil && waiting == nil {
			return
		}
	}
}

// gather takes what waits beside first, as far as one transaction goes.
func (j *Journal) gather(first *request) []*request {
	all := []*request{first}
	n := len(first.rows)
	for n < maxBatch {
		select {
		case r := <-j.appends:
			all = append(all, r)
			n += len(r.rows)
		default:
			j.metrics.queue.WithLabelValues(queueAppend).Set(0)
			return all
		}
	}
	j.metrics.queue.WithLabelValues(queueAppend).Set(float64(len(j.appends)))
	return all
}

// commit writes the front of the buffer and the rows of requests in one transaction and answers the requests.
func (j *Journal) commit(requests []*request) error {
	j.mu.Lock()
	j.inFlight = min(len(j.buffer), maxBatch)
	rows := append([]row(nil), j.buffer[:j.inFlight]...)
	j.mu.Unlock()
	for _, r := range requests {
		rows = append(rows, r.rows...)
	}
	err := j.persist(rows)

	j.mu.Lock()
	if err == nil {
		for _, r := range j.buffer[:j.inFlight] {
			j.bufferBytes -= len(r.data)
		}
		j.buffer = append([]row(nil), j.buffer[j.inFlight:]...)
	}
	j.inFlight = 0
	left := len(j.buffer)
	j.writeError = ""
	if err != nil {
		j.writeError = err.Error()
	}
	j.mu.Unlock()
	j.metrics.queue.WithLabelValues(queueRecord).Set(float64(left))
	for _, r := range requests {
		r.done <- err
	}
	if err == nil && left > 0 {
		j.signal()
	}
	return err
}

// persist writes rows behind the end of the chain. A database that has become unusable is replaced.
func (j *Journal) persist(rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	start := time.Now()
	err := j.ensure()
	if err == nil {
		err = j.insert(rows)
	}
	if corrupt(err) {
		j.logger.Error("Journal refuses to be written", "err", err)
		err = j.rescue(err, rows)
	}
	if err != nil {
		reason, err := explain(err)
		j.metrics.errors.WithLabelValues(reason).Inc()
		j.logger.Error("Journal was not written", "events", len(rows), "err", err)
		return err
	}
	j.metrics.commit.Observe(time.Since(start).Seconds())
	j.metrics.events.Add(float64(len(rows)))
	return nil
}

// ensure opens the database again if that did not succeed the last time.
func (j *Journal) ensure() error {
	if j.db != nil {
		return nil
	}
	return j.load()
}

// rescue tries rows again with new indexes, and if that does not help with a new database.
func (j *Journal) rescue(why error, rows []row) error {
	if _, err := j.db.Exec("REINDEX"); err == nil {
		if err := j.insert(rows); !corrupt(err) {
			return err
		}
	}
	if err := j.replace(why); err != nil {
		j.disconnect()
		return err
	}
	return j.insert(rows)
}

// insert writes rows in one transaction and moves the end of the chain.
func (j *Journal) insert(rows []row) error {
	tx, err := j.db.Begin()
	if err != nil {
		return err
	}
	tip, err := extend(tx, j.tip, rows) // Only this goroutine changes the tip.
	if err != nil {
		_ = tx.Rollback() // It may be over already; the error that led here says more.
		return err
	}
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback()
		// Whether it was written after all, the table says.
		last, lerr := one(j.db, "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
		if lerr != nil || last != tip {
			return err
		}
	}
	j.mu.Lock()
	j.tip = tip
	j.mu.Unlock()
	j.metrics.lastSeq.Set(float64(tip.seq))
	if err := j.anchor.write(tip); err != nil {
		j.logger.Warn("Anchor of the journal was not written", "err", err)
	}
	return nil
}

// extend numbers and chains rows behind tip, writes them, and returns the new end.
func extend(tx *sql.Tx, tip link, rows []row) (link, error) {
	stmt, err := tx.Prepare("INSERT INTO events (seq, at, kind, key, data, hash) VALUES (?, ?, ?, ?, ?, ?)")
	if err != nil {
		return tip, err
	}
	for i := range rows {
		r := &rows[i]
		r.seq = tip.seq + 1
		r.hash = r.follow(tip.hash)
		if _, err := stmt.Exec(r.seq, r.at, r.kind, r.key, string(r.data), r.hash[:]); err != nil {
			return tip, errors.Join(err, stmt.Close())
		}
		tip = link{seq: r.seq, hash: r.hash}
	}
	return tip, stmt.Close()
}

// explain returns why the disk did not take a transaction: as a reason for the metric, and as an error.
func explain(err error) (reason string, _ error) {
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		return reasonFull, fmt.Errorf("%w: %w", ErrFull, err)
	case sqlite3.SQLITE_IOERR:
		return reasonIO, err
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return reasonCorrupt, err
	}
	return reasonOther, err
}
