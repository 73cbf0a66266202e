package offline

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/release/evidence"
)

const latencyPrefix = "latency_le_"

// needed are the columns without which nothing can be judged; the others may be missing.
var needed = []string{"release", "time", "pod", "revision", "requests"}

// podRow is one line of a recording of pods. Its sample is valid until the next one is read.
type podRow struct {
	release string
	at      time.Time
	sample  evidence.Sample
}

// podReader reads a recording of pods.
type podReader struct {
	name   string
	csv    *csv.Reader
	line   int
	at     map[string]int // Column by name.
	les    []int          // Columns of buckets, by ascending bound.
	bounds []float64
	row    podRow
}

func newPodReader(name string, in io.Reader) (*podReader, error) {
	r := &podReader{name: name, csv: csv.NewReader(in), at: map[string]int{}}
	r.csv.ReuseRecord = true
	header, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, &RowError{File: name, Reason: "empty file; want a header and rows"}
	}
	if err != nil {
		return nil, r.broken(err)
	}
	r.line = 1
	return r, r.readHeader(header)
}

func (r *podReader) readHeader(header []string) error {
	type bucket struct {
		le  float64
		col int
	}
	var buckets []bucket
	for i, name := range header {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if _, twice := r.at[name]; twice {
			return r.bad(name, "a second column of this name")
		}
		r.at[name] = i
		if text, ok := strings.CutPrefix(name, latencyPrefix); ok {
			le, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(le) || le < 0 {
				return r.bad(name, "the bound is not a number; want latency_le_0.1 ... latency_le_+Inf")
			}
			buckets = append(buckets, bucket{le, i})
		}
	}
	for _, name := range needed {
		if _, ok := r.at[name]; !ok {
			return r.bad(name, "the column is missing; want release,time,pod,revision,requests,errors,"+
				"cpu_seconds,memory_bytes,latency_le_<bound>...")
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return int(math.Copysign(1, a.le-b.le)) })
	for _, b := range buckets {
		r.les, r.bounds = append(r.les, b.col), append(r.bounds, b.le)
	}
	if n := len(buckets); n > 0 && !math.IsInf(r.bounds[n-1], 1) {
		return r.bad(latencyPrefix+"+Inf", "the column is missing: without it slow requests are lost")
	}
	r.row.sample.Latency = make([]float64, len(buckets))
	return nil
}

// next returns the next row, or io.EOF.
func (r *podReader) next() (*podRow, error) {
	record, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, r.broken(err)
	}
	r.line, _ = r.csv.FieldPos(0)
	return &r.row, r.parse(record)
}

func (r *podReader) parse(record []string) error {
	row := &r.row
	row.release = strings.Clone(record[r.at["release"]])
	s := &row.sample
	s.Pod = strings.Clone(record[r.at["pod"]])
	if row.release == "" {
		return r.bad("release", "empty; want a name")
	}
	if s.Pod == "" {
		return r.bad("pod", "empty; want a name")
	}
	seconds, err := strconv.ParseFloat(record[r.at["time"]], 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e11 {
		return r.bad("time", fmt.Sprintf("%q; want unix seconds", record[r.at["time"]]))
	}
	whole, part := math.Modf(seconds)
	row.at = time.Unix(int64(whole), int64(part*1e9)).UTC()
	switch revision := record[r.at["revision"]]; revision {
	case "old", "new":
		s.New = revision == "new"
	default:
		return r.bad("revision", fmt.Sprintf("%q; want old or new", revision))
	}
	for name, to := range map[string]*float64{
		"requests": &s.Requests, "errors": &s.Errors,
		"cpu_seconds": &s.CPUSeconds, "memory_bytes": &s.MemoryBytes,
	} {
		*to = math.NaN()
		if col, ok := r.at[name]; ok {
			if *to, err = r.number(name, record[col]); err != nil {
				return err
			}
		}
	}
	for i, col := range r.les {
		if s.Latency[i], err = r.number(latencyPrefix+"...", record[col]); err != nil {
			return err
		}
	}
	return nil
}

// number reads a cell; an empty one is no sample.
func (r *podReader) number(column, cell string) (float64, error) {
	if cell == "" || cell == "NaN" {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(cell, 64)
	if err != nil || math.IsInf(v, 0) || v < 0 {
		return 0, r.bad(column, fmt.Sprintf("%q; want a number that is not negative, or nothing", cell))
	}
	return v, nil
}

func (r *podReader) bad(column, reason string) error {
	return &RowError{File: r.name, Line: max(r.line, 1), Column: column, Reason: reason}
}

func (r *podReader) broken(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return &RowError{File: r.name, Line: parse.Line, Reason: parse.Err.Error()}
	}
	return &RowError{File: r.name, Line: r.line + 1, Reason: err.Error()}
}
