// Package replay plays recordings into a sink as if they came from a cluster now.
package replay

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// RowError says where and why a recording cannot be read.
type RowError struct {
	File   string
	Line   int // 0: the file as a whole.
	Reason string
}

func (e *RowError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Reason
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
}

// Names of the columns that are not signals.
const (
	colTimestamp = "timestamp"
	colStep      = "step"
	colLabel     = "label"
	colSplit     = "split"
)

// Row is one line of a recording.
type Row struct {
	At     time.Time
	Time   string // As it was written.
	Label  string
	Split  string
	Values []float64 // Of Recording.Signals, in their order. NaN: an empty cell.
}

// Recording reads one CSV file with a header. Time is the column timestamp (RFC 3339, YYYY-MM-DD hh:mm:ss in UTC, or
// unix seconds) or step (a row number, which needs an interval); label and split are carried along; every other
// column is a signal.
type Recording struct {
	Interval time.Duration // Between rows: as it was given, or as it was found.
	Signals  []string      // Columns that hold values.
	Time     string        // Name of the column that holds the time.
	HasLabel bool
	HasSplit bool

	name string

	file    io.Closer
	csv     *csv.Reader
	columns []int // What each column is: an index of signals, or one of the negative numbers below.
	line    int   // Of the last record that was read.
	rows    []Row // Read ahead to find the interval, not yet handed out.
	err     error // What comes after rows.
}

const (
	isTime = -1 - iota
	isLabel
	isSplit
)

// ahead is how many rows are looked at to find how far apart they are, when nobody has said so.
const ahead = 64

// Open begins to read path. An interval of 0 is found from the first timestamps.
func Open(path string, interval time.Duration) (*Recording, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	r := &Recording{name: path, Interval: interval, file: f}
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, errors.Join(&RowError{File: path, Reason: "not a gzip file: " + err.Error()}, f.Close())
		}
		in = z
	}
	r.csv = csv.NewReader(in)
	r.csv.ReuseRecord = true
	if err := r.begin(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// Close ends reading.
func (r *Recording) Close() error { return r.file.Close() }

// stepped says that time is a row number.
func (r *Recording) stepped() bool { return r.Time == colStep }

// begin reads the header and as many rows as it takes to know the interval.
func (r *Recording) begin() error {
	header, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return &RowError{File: r.name, Reason: "empty file; want a header and rows"}
	}
	if err != nil {
		return r.broken(err)
	}
	r.line = 1
	if err := r.readHeader(header); err != nil {
		return err
	}
	if r.stepped() && r.Interval == 0 {
		return &RowError{File: r.name, Line: 1, Reason: "time is a column step: say with --interval how far apart steps are"}
	}
	for len(r.rows) < ahead {
		next, err := r.read()
		if err != nil {
			r.err = err
			break
		}
		r.rows = append(r.rows, next)
	}
	if r.Interval == 0 {
		r.Interval = distance(r.rows)
	}
	return nil
}

func (r *Recording) readHeader(header []string) error {
	seen := map[string]bool{}
	for _, name := range header {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if seen[name] {
			return &RowError{File: r.name, Line: 1, Reason: fmt.Sprintf("column %q stands twice in the header", name)}
		}
		seen[name] = true
		switch name {
		case colTimestamp, colStep:
			if r.Time != "" {
				return &RowError{File: r.name, Line: 1, Reason: "both timestamp and step in the header; want one of them"}
			}
			r.Time = name
			r.columns = append(r.columns, isTime)
		case colLabel:
			r.HasLabel = true
			r.columns = append(r.columns, isLabel)
		case colSplit:
			r.HasSplit = true
			r.columns = append(r.columns, isSplit)
		case "":
			return &RowError{File: r.name, Line: 1, Reason: "a column without a name in the header"}
		default:
			r.columns = append(r.columns, len(r.Signals))
			r.Signals = append(r.Signals, name)
		}
	}
	if r.Time == "" {
		return &RowError{File: r.name, Line: 1, Reason: "no column timestamp or step in the header"}
	}
	if len(r.Signals) == 0 {
		return &RowError{File: r.name, Line: 1, Reason: "no column with values in the header"}
	}
	return nil
}

// Next returns the next row, or io.EOF.
func (r *Recording) Next() (Row, error) {
	if len(r.rows) > 0 {
		first := r.rows[0]
		r.rows = r.rows[1:]
		return first, nil
	}
	if r.err != nil {
		return Row{}, r.err
	}
	return r.read()
}

func (r *Recording) read() (Row, error) {
	cells, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return Row{}, io.EOF
	}
	if err != nil {
		return Row{}, r.broken(err)
	}
	r.line, _ = r.csv.FieldPos(0)
	out := Row{Values: make([]float64, len(r.Signals))}
	for i, cell := range cells {
		switch c := r.columns[i]; c {
		case isTime:
			out.Time = strings.Clone(cell)
			out.At, err = r.parseTime(cell)
		case isLabel:
			out.Label = strings.Clone(cell)
		case isSplit:
			out.Split = strings.Clone(cell)
		default:
			out.Values[c], err = parseValue(cell)
			if err != nil {
				err = fmt.Errorf("column %s: %w", r.Signals[c], err)
			}
		}
		if err != nil {
			line, _ := r.csv.FieldPos(i)
			return Row{}, &RowError{File: r.name, Line: line, Reason: err.Error()}
		}
	}
	return out, nil
}

// broken places an error of the CSV or gzip reader.
func (r *Recording) broken(err error) error {
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return &RowError{File: r.name, Line: bad.Line, Reason: bad.Err.Error()}
	}
	return &RowError{File: r.name, Line: r.line + 1, Reason: err.Error()}
}

func parseValue(cell string) (float64, error) {
	cell = strings.TrimSpace(cell)
	if cell == "" {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(cell, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number; write a number, or nothing for no sample", cell)
	}
	return v, nil
}

func (r *Recording) parseTime(cell string) (time.Time, error) {
	cell = strings.TrimSpace(cell)
	if r.stepped() {
		n, err := strconv.ParseInt(cell, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(r.Interval) {
			return time.Time{}, fmt.Errorf("step %q is not a row number", cell)
		}
		return time.Unix(0, 0).UTC().Add(time.Duration(n) * r.Interval), nil
	}
	if s, err := strconv.ParseFloat(cell, 64); err == nil && math.Abs(s) < 1e11 {
		whole, frac := math.Modf(s)
		return time.Unix(int64(whole), int64(math.Round(frac*1e9))).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateTime} {
		if t, err := time.Parse(layout, cell); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("timestamp %q: want RFC 3339, YYYY-MM-DD hh:mm:ss, or unix seconds", cell)
}

// distance returns the commonest distance between neighbouring rows, the shorter one of two equally common ones.
// A lone row, for which it does not matter, gets a minute.
func distance(rows []Row) time.Duration {
	count := map[time.Duration]int{}
	best := time.Minute
	for i := 1; i < len(rows); i++ {
		d := rows[i].At.Sub(rows[i-1].At)
		if d <= 0 {
			continue
		}
		count[d]++
		if n := count[d] - count[best]; n > 0 || n == 0 && d < best {
			best = d
		}
	}
	return best
}
