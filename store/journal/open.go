package journal

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// tail is how many events Open verifies; the rest is for Verify.
const tail = 4096

// readConnections is how many reads may go on at once.
const readConnections = 4

// errNoDatabase means that the database was given up as damaged and a new one could not be begun
// yet.
var errNoDatabase = errors.New("no database is open")

// errSchema means that a journal has lost its tables.
var errSchema = errors.New("its tables are not those of a journal")

func (j *Journal) open() error {
	if err := os.MkdirAll(filepath.Dir(j.opts.Path), 0o700); err != nil {
		return err
	}
	var err error
	if j.anchor, err = openAnchor(j.opts.Path + ".anchor"); err != nil {
		return err
	}
	err = j.load()
	if err == nil || !hopeless(err) {
		return err
	}
	return j.replace(err)
}

// load connects to the database, finds the end of the chain and what is known of its damage, and
// looks for more.
func (j *Journal) load() error {
	mended, err := j.connect()
	if err != nil {
		return err
	}
	if err := j.loadEnds(); err != nil {
		return err
	}
	if err := j.loadBreaks(); err != nil {
		return err
	}
	if mended {
		j.note(Break{Problem: "the header of the file was damaged, and mended"})
	}
	if err := j.verifyTail(); err != nil {
		return err
	}
	j.heedAnchor()
	return nil
}

// replace sets a database aside that cannot be used because of why, begins a new one, and notes
// that as a break. The numbers go on where the anchor says the old one ended.
func (j *Journal) replace(why error) error {
	j.disconnect()
	aside := j.opts.Path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000Z")
	for _, suffix := range [...]string{"", "-wal", "-shm"} {
		err := os.Rename(j.opts.Path+suffix, aside+suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set %s aside: %w", j.opts.Path+suffix, err)
		}
	}
	j.logger.Error("Journal cannot be used and was set aside", "file", aside, "err", why)
	if err := j.load(); err != nil {
		return err
	}
	j.note(Break{Problem: fmt.Sprintf("the database could not be used (%v); set aside as %s",
		why, filepath.Base(aside))})
	return nil
}

// connect opens the writing and the reading connections and makes the tables of a new database.
// It says whether it had to mend the header of the file.
func (j *Journal) connect() (mended bool, err error) {
	path, err := filepath.Abs(j.opts.Path)
	if err != nil {
		return false, err
	}
	fresh, err := touch(path)
	if err != nil {
		return false, err
	}
	if mended, err = mendConstants(path); err != nil {
		return false, err
	}
	writer, err := sql.Open("sqlite", dsn(path, "rw", j.opts.maxPages))
	if err != nil {
		return false, err
	}
	writer.SetMaxOpenConns(1)
	readers, err := sql.Open("sqlite", dsn(path, "ro", 0))
	if err != nil {
		return false, errors.Join(err, writer.Close())
	}
	readers.SetMaxOpenConns(readConnections)
	j.mu.Lock()
	j.db, j.readers = writer, readers
	j.mu.Unlock()
	if fresh {
		return false, j.begin()
	}
	more, err := j.recognize()
	return mended || more, err
}

// loadEnds finds both ends of the chain in the database.
func (j *Journal) loadEnds() error {
	checkpoint, err := one(j.db, "SELECT seq, hash FROM checkpoint")
	if err != nil {
		return fmt.Errorf("read checkpoint: %w", err)
	}
	tip, err := one(j.db, "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1")
	if err != nil {
		return fmt.Errorf("read last event: %w", err)
	}
	if tip.seq < checkpoint.seq {
		tip = checkpoint
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.checkpoint, j.tip = checkpoint, tip
	j.metrics.lastSeq.Set(float64(tip.seq))
	return nil
}

// heedAnchor compares the end of the chain with what the anchor says of it. Events of which the
// anchor knows and the database does not were lost: the chain goes on behind them, with a gap.
func (j *Journal) heedAnchor() {
	noted, ok := j.anchor.read()
	if !ok || noted.seq <= j.tip.seq {
		return
	}
	j.note(Break{Seq: j.tip.seq + 1, Through: noted.seq, Problem: missing})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tip = noted
}

// one returns the link that a query of one row at most has found.
func one(db *sql.DB, query string) (link, error) {
	var l link
	var sum []byte
	err := db.QueryRow(query).Scan(&l.seq, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		return link{}, nil
	}
	copy(l.hash[:], sum)
	return l, err
}

// loadBreaks learns which breaks are known, and which of them were reconciled.
func (j *Journal) loadBreaks() error {
	q := Query{Kinds: []string{KindBreak, KindReconciled}, Limit: 2 * maxBreaks}
	events, err := j.read(j.db.Query, q)
	if err != nil {
		return fmt.Errorf("read known breaks: %w", err)
	}
	var report []byte
	err = j.db.QueryRow("SELECT report FROM verified").Scan(&report)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read last verification: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	// A report that cannot be read is replaced by the next verification.
	_ = json.Unmarshal(report, &j.verified)
	for _, e := range events {
		if e.Kind == KindReconciled {
			j.accept()
			continue
		}
		if b, err := Decode[Break](e); err == nil && len(j.breaks) < maxBreaks {
			j.breaks = append(j.breaks, b)
		}
	}
	j.showDamage()
	return nil
}

// disconnect closes both kinds of connection.
func (j *Journal) disconnect() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, db := range []*sql.DB{j.readers, j.db} {
		if db == nil {
			continue
		}
		if err := db.Close(); err != nil {
			j.logger.Warn("Journal did not close cleanly", "err", err)
		}
	}
	j.db, j.readers = nil, nil
}

// shut gives up everything that Open took.
func (j *Journal) shut() {
	j.disconnect()
	if j.anchor != nil {
		if err := j.anchor.close(); err != nil {
			j.logger.Warn("Anchor of the journal did not close cleanly", "err", err)
		}
	}
}
