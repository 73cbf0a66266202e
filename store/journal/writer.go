package journal

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// maxBatch is how many rows one transaction takes.
const maxBatch = 2000

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

// Append writes entries in one transaction and returns when they are synced to the disk, or not
// written at all; the error wraps ErrFull when there is no room. It waits while the queue is
// full. If ctx ends first, the entries may be written or not. Callers that cannot wait use
// Record.
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

// commit writes the front of the buffer and the rows of requests in one transaction and answers
// the requests.
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
