package journal

import (
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The header of the database says whose it is and in which format.
const (
	applicationID = 0x746f6373 // "tocs"
	formatVersion = 1
)

const schema = `
CREATE TABLE events (
	seq  INTEGER PRIMARY KEY,
	at   INTEGER NOT NULL,
	kind TEXT NOT NULL,
	key  TEXT NOT NULL,
	data TEXT NOT NULL,
	hash BLOB NOT NULL
) STRICT;
CREATE INDEX events_kind ON events (kind);
CREATE INDEX events_key ON events (kind, key);
CREATE TABLE checkpoint (
	id   INTEGER PRIMARY KEY CHECK (id = 0),
	seq  INTEGER NOT NULL,
	hash BLOB NOT NULL
) STRICT;
CREATE TABLE verified (
	id     INTEGER PRIMARY KEY CHECK (id = 0),
	report TEXT NOT NULL
) STRICT;`

// tail is how many events Open verifies; the rest is for Verify.
const tail = 4096

// readConnections is how many reads may go on at once.
const readConnections = 4

// errNoDatabase means that the database was given up as damaged and a new one could not be begun yet.
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

// load connects to the database, finds the end of the chain and what is known of its damage, and looks for more.
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

// replace sets a database aside that cannot be used because of why, begins a new one, and notes that as a break. The
// numbers go on where the anchor says the old one ended.
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

// connect opens the writing and the reading connections and makes the tables of a new database. It says whether
// it had to mend the header of the file.
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

// touch makes the file, readable by nobody else, and says whether there was nothing in it.
func touch(path string) (fresh bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return false, err
	}
	// The name of a new file is on disk only once its directory is.
	return info.Size() == 0, errors.Join(dir.Sync(), dir.Close())
}

// constants are the parts of the file's header that are the same in every journal, by where they are.
var constants = map[int64]string{
	0:  "SQLite format 3\x00\x10\x00\x02\x02\x00\x40\x20\x20", // 4,096 bytes a page, write-ahead log.
	44: "\x00\x00\x00\x04",                                    // Format of the schema.
	56: "\x00\x00\x00\x01",                                    // UTF-8.
}

// mendConstants writes the constants of a journal's header that are not as they must be: SQLite would refuse the whole
// file for the sake of one bit.
func mendConstants(path string) (mended bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var header [100]byte
	if _, err := f.ReadAt(header[:], 0); err != nil {
		return false, nil // Too short to be one; SQLite will judge.
	}
	if binary.BigEndian.Uint32(header[68:]) != applicationID {
		return false, nil
	}
	for at, want := range constants {
		if string(header[at:at+int64(len(want))]) == want {
			continue
		}
		if _, err := f.WriteAt([]byte(want), at); err != nil {
			return false, err
		}
		mended = true
	}
	return mended, f.Sync()
}

// dsn names the database and how a connection to it behaves. A pragma that SQLite refuses fails the connection.
func dsn(path, mode string, maxPages int) string {
	v := url.Values{
		"mode":       {mode},
		"_defensive": {"1"},
		"_pragma": {
			"busy_timeout(10000)",
			"synchronous(FULL)",
			"cell_size_check(ON)",
			"trusted_schema(OFF)",
		},
	}
	if mode == "ro" {
		v.Add("_pragma", "query_only(ON)")
	} else {
		v.Add("_txlock", "immediate")
		v.Add("_pragma", "journal_mode(WAL)")
	}
	if maxPages > 0 {
		v.Add("_pragma", "max_page_count("+strconv.Itoa(maxPages)+")")
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + v.Encode()
}

// begin makes the tables of a new database.
func (j *Journal) begin() error {
	tx, err := j.db.Begin()
	if err != nil {
		return err
	}
	_, err = tx.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; %s",
		applicationID, formatVersion, schema))
	if err != nil {
		return errors.Join(fmt.Errorf("make tables: %w", err), tx.Rollback())
	}
	return tx.Commit()
}

// recognize checks that the database is a journal in a format that can be written.
func (j *Journal) recognize() (mended bool, err error) {
	var id, version, tables int
	for _, q := range []struct {
		query string
		to    *int
	}{
		{"PRAGMA application_id", &id},
		{"PRAGMA user_version", &version},
		{"SELECT count(*) FROM sqlite_schema", &tables},
	} {
		if err := j.db.QueryRow(q.query).Scan(q.to); err != nil {
			return false, err
		}
	}
	if tables == 0 && id == 0 {
		return false, j.begin() // Killed before the tables were made.
	}
	if id == applicationID && version > formatVersion {
		return false, fmt.Errorf("%w: format %d is newer than %d", ErrForeign, version, formatVersion)
	}
	err = j.checkTables()
	switch {
	case err == nil && (id != applicationID || version != formatVersion):
		return true, j.mendHeader()
	case err == nil || corrupt(err):
		return false, err
	case id == applicationID:
		return false, fmt.Errorf("%w: %w", errSchema, err)
	default:
		return false, ErrForeign
	}
}

// checkTables returns an error unless all tables are there with their columns.
func (j *Journal) checkTables() error {
	rows, err := j.db.Query(`SELECT e.seq, e.at, e.kind, e.key, e.data, e.hash, c.seq, c.hash, v.report
		FROM events e, checkpoint c, verified v LIMIT 0`)
	if err != nil {
		return err
	}
	return errors.Join(rows.Err(), rows.Close())
}

// mendHeader writes what the header of a journal says, found to be otherwise.
func (j *Journal) mendHeader() error {
	_, err := j.db.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d",
		applicationID, formatVersion))
	return err
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

// heedAnchor compares the end of the chain with what the anchor says of it. Events of which the anchor knows and
// the database does not were lost: the chain goes on behind them, with a gap.
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
	events, err := j.read(j.db.Query, Query{Kinds: []string{KindBreak, KindReconciled}, Limit: 2 * maxBreaks})
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

// code returns SQLite's primary result code for err, or 0.
func code(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff
}

// corrupt says whether SQLite found the file damaged.
func corrupt(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB
}

// hopeless says whether a database that answers with err has to be set aside.
func hopeless(err error) bool {
	return corrupt(err) || errors.Is(err, errSchema)
}
