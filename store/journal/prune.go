package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Prune removes events older than before, from the oldest on and up to the first that is not, and
// returns how many. The hash of the last one stays behind, so that the rest can be verified. The
// newest event of a key for which keep says true is written again at the end first; nil keeps
// none.
func (j *Journal) Prune(ctx context.Context, before time.Time, keep func(Event) bool) (int, error) {
	j.upkeep.Lock()
	defer j.upkeep.Unlock()
	j.mu.Lock()
	until := j.tip.seq // Neither the last event nor what is written again goes.
	j.mu.Unlock()
	total := 0
	for {
		n := 0
		err := j.do(ctx, func(*sql.DB) error {
			var err error
			n, err = j.pruneSome(before, until, keep)
			return err
		})
		total += n
		j.metrics.pruned.Add(float64(n))
		if err != nil || n == 0 {
			return total, err
		}
	}
}

// pruneSome removes up to a stride of events, in the writer goroutine.
func (j *Journal) pruneSome(before time.Time, until int64, keep func(Event) bool) (int, error) {
	w := walker{query: j.db.Query, from: j.checkpoint.seq, to: until - 1}
	end := link{seq: j.checkpoint.seq, hash: j.checkpoint.hash}
	count, done := 0, false
	_, _, err := w.page(w.from, stride, func(r row, _ []byte) {
		if done = done || r.at >= before.UnixNano(); !done {
			end = link{seq: r.seq, hash: r.hash}
			count++
		}
	}, func(Break) { count++ })
	if err != nil {
		return 0, fmt.Errorf("find what to prune: %w", err)
	}
	if end.seq == w.from {
		return 0, nil
	}
	var again []row
	if keep != nil {
		if again, err = j.kept(w.from, end.seq, keep); err != nil {
			return 0, fmt.Errorf("find what to keep: %w", err)
		}
	}
	if err := j.cut(end, again); err != nil {
		return 0, fmt.Errorf("prune events up to %d: %w", end.seq, err)
	}
	return count, nil
}

// kept returns copies of the events behind from and up to end that keep wants to have.
func (j *Journal) kept(from, end int64, keep func(Event) bool) ([]row, error) {
	q := Query{After: from, Before: end + 1, Latest: true, Limit: stride}
	events, err := j.read(j.db.Query, q)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, e := range events {
		if !e.Suspect && keep(e) {
			rows = append(rows, row{at: e.At.UnixNano(), kind: e.Kind, key: e.Key, data: e.Data})
		}
	}
	return rows, nil
}

// cut removes the events up to end and writes again at the end of the chain what is kept, in one
// transaction.
func (j *Journal) cut(end link, again []row) error {
	tx, err := j.db.Begin()
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT OR REPLACE INTO checkpoint (id, seq, hash) VALUES (0, ?, ?)",
		end.seq, end.hash[:])
	if err == nil {
		_, err = tx.Exec("DELETE FROM events WHERE seq <= ?", end.seq)
	}
	tip := j.tip
	if err == nil {
		tip, err = extend(tx, tip, again)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		_ = tx.Rollback() // The error that led here says more.
		return errors.Join(err, j.loadEnds())
	}
	j.mu.Lock()
	j.checkpoint, j.tip = end, tip
	j.mu.Unlock()
	if err := j.anchor.write(tip); err != nil {
		j.logger.Warn("Anchor of the journal was not written", "err", err)
	}
	return nil
}
