package offline

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"time"

	"tocsin/release"
	"tocsin/release/evidence"
)

// changedScore is the score from which on a metric is called different: it moved, for the better part of ten
// minutes, by about half of the geometric mean of its spread and its level.
const changedScore = 0.55

// CaseOptions says what Cases judges.
type CaseOptions struct {
	Path string    // A CSV file of id, file, change_time.
	Out  io.Writer // Required. One line of JSON for each case.
}

// CaseLine is what is written of each case.
type CaseLine struct {
	ID      string         `json:"id"`
	Verdict release.Result `json:"verdict"`
	Score   float64        `json:"score"`  // Larger: surer that the metric got worse or different.
	Effect  float64        `json:"effect"` // Relative to the metric's level, where it is largest.
	Time    float64        `json:"time"`   // Where that is, in unix seconds; of the change if nothing is known.
	Reason  string         `json:"reason"`
}

// Cases judges single metrics before and after a change.
func Cases(o CaseOptions) error {
	out := json.NewEncoder(o.Out)
	return readTable(o.Path, []string{"id", "file", "change_time"}, func(cells []string, bad badCell) error {
		change, err := parseTime(cells[2])
		if err != nil {
			return bad("change_time", err.Error())
		}
		points, err := readPoints(filepath.Join(filepath.Dir(o.Path), cells[1]))
		if err != nil {
			return err
		}
		return out.Encode(judgeCase(cells[0], points, change))
	})
}

func judgeCase(id string, points []evidence.Point, change time.Time) CaseLine {
	e := evidence.WeighChange(points, change)
	l := CaseLine{ID: id, Score: e.Score, Effect: e.Effect, Time: float64(change.Unix())}
	switch {
	case !e.Enough:
		l.Reason = "too few values: want ten minutes before and after the change"
		return l
	case e.Score >= changedScore:
		l.Verdict = release.Regressed
	default:
		l.Verdict = release.Healthy
	}
	l.Time = float64(e.At.Unix())
	l.Reason = fmt.Sprintf("differs by %+.1f%% for ten minutes from the same time on %d earlier days", 100*e.Effect, e.Days)
	return l
}

// readPoints reads one metric.
func readPoints(path string) ([]evidence.Point, error) {
	var points []evidence.Point
	err := readTable(path, []string{"timestamp", "value"}, func(cells []string, bad badCell) error {
		at, err := parseTime(cells[0])
		if err != nil {
			return bad("timestamp", err.Error())
		}
		if n := len(points); n > 0 && at.Before(points[n-1].At) {
			return bad("timestamp", "earlier than the row before")
		}
		v := math.NaN()
		if cells[1] != "" {
			if v, err = strconv.ParseFloat(cells[1], 64); err != nil || math.IsInf(v, 0) {
				return bad("value", fmt.Sprintf("%q; want a number, or nothing", cells[1]))
			}
		}
		points = append(points, evidence.Point{At: at, Value: v})
		return nil
	})
	return points, err
}

func parseTime(cell string) (time.Time, error) {
	seconds, err := strconv.ParseFloat(cell, 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e11 {
		return time.Time{}, fmt.Errorf("%q; want unix seconds", cell)
	}
	return time.UnixMilli(int64(seconds * 1000)).UTC(), nil
}

// badCell makes the error for a cell of the present row.
type badCell func(column, reason string) error

// readTable hands on the named columns of each row of a CSV file.
func readTable(path string, columns []string, row func(cells []string, bad badCell) error) (err error) {
	in, err := open(path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	r := &podReader{name: path, csv: csv.NewReader(in), at: map[string]int{}}
	header, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return &RowError{File: path, Reason: "empty file; want a header and rows"}
	}
	if err != nil {
		return r.broken(err)
	}
	for i, name := range header {
		r.at[name] = i
	}
	for _, name := range columns {
		if _, ok := r.at[name]; !ok {
			return &RowError{File: path, Line: 1, Column: name, Reason: "the column is missing"}
		}
	}
	cells := make([]string, len(columns))
	for {
		record, err := r.csv.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return r.broken(err)
		}
		r.line, _ = r.csv.FieldPos(0)
		for i, name := range columns {
			cells[i] = record[r.at[name]]
		}
		if err := row(cells, r.bad); err != nil {
			return err
		}
	}
}
