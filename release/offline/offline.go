// Package offline judges recordings of releases: per-pod counters, and single metrics around a change.
//
// Both readers stream: no more than one release is in memory at a time.
package offline

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// RowError says where and why a recording cannot be read.
type RowError struct {
	File   string
	Line   int    // 0: the file as a whole.
	Column string // Empty: the row as a whole.
	Reason string
}

func (e *RowError) Error() string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	if e.Column != "" {
		at += ": " + e.Column
	}
	return at + ": " + e.Reason
}

// source is an open recording.
type source struct {
	io.Reader
	closers []io.Closer
}

// open opens a file, unpacking .gz; "-" is what stdin gives.
func open(path string, stdin io.Reader) (*source, error) {
	if path == "-" {
		return &source{Reader: stdin}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &RowError{File: path, Reason: strings.TrimPrefix(err.Error(), "open "+path+": ")}
	}
	s := &source{Reader: f, closers: []io.Closer{f}}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, errors.Join(&RowError{File: path, Reason: "not a gzip file: " + err.Error()}, f.Close())
		}
		s.Reader = z
	}
	return s, nil
}

// Close ends reading.
func (s *source) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
