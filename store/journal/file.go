package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

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

// constants are the parts of the file's header that are the same in every journal, by where they
// are.
var constants = map[int64]string{
	0:  "SQLite format 3\x00\x10\x00\x02\x02\x00\x40\x20\x20", // Page size, log.
	44: "\x00\x00\x00\x04",                                    // Format of the schema.
	56: "\x00\x00\x00\x01",                                    // UTF-8.
}

// mendConstants writes the constants of a journal's header that are not as they must be: SQLite
// would refuse the whole file for the sake of one bit.
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

// dsn names the database and how a connection to it behaves. A pragma that SQLite refuses fails
// the connection.
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
		return false, fmt.Errorf("%w: format %d is newer than %d",
			ErrForeign, version, formatVersion)
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
	rows, err := j.db.Query(`SELECT
			e.seq, e.at, e.kind, e.key, e.data, e.hash, c.seq, c.hash, v.report
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
