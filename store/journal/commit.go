package journal

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// persist writes rows behind the end of the chain. A database that has become unusable is
// replaced.
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
	const put = "INSERT INTO events (seq, at, kind, key, data, hash) VALUES (?, ?, ?, ?, ?, ?)"
	stmt, err := tx.Prepare(put)
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

// explain returns why the disk did not take a transaction: as a reason for the metric, and as an
// error.
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
