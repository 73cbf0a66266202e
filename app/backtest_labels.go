package app

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/config"
	"tocsin/fleet"
)

// BacktestLabel is something that is known to have happened, and what became of it.
type BacktestLabel struct {
	Service    fleet.Service // An empty name is the whole namespace, both empty the whole cluster.
	Start, End time.Time
	Line       int // In its file.

	Outside  bool              // It lies outside of what was tested.
	Incident *BacktestIncident // The first page that belongs to it; nil: nobody was told.
	Unpaged  *BacktestIncident // The first incident of it that was too mild to tell anybody.
	Delay    time.Duration     // From Start until people were told.
}

// labelSlack is how inexact labels are taken to be: a page so long before one begins, or after it
// ends, belongs to it.
const labelSlack = 5 * time.Minute

// Missed reports whether nobody was told of something that was tested.
func (l *BacktestLabel) Missed() bool { return !l.Outside && l.Incident == nil }

// has reports whether a service belongs to what the label names.
func (l *BacktestLabel) has(s fleet.Service) bool {
	return l.Service.Cluster == s.Cluster &&
		(l.Service.Namespace == "" || l.Service.Namespace == s.Namespace) &&
		(l.Service.Name == "" || l.Service.Name == s.Name)
}

// told returns when people were told that an incident affects what the label names; zero: they were
// not. An incident that began to affect it outside of the label's time is another one.
func (l *BacktestLabel) told(b *BacktestIncident) (noticed, told time.Time) {
	for s, since := range b.Since {
		if l.has(s) && (noticed.IsZero() || since.Before(noticed)) {
			noticed = since
		}
	}
	if noticed.IsZero() || noticed.Before(l.Start.Add(-labelSlack)) ||
		noticed.After(l.End.Add(labelSlack)) {
		return time.Time{}, time.Time{}
	}
	if b.Paged.IsZero() {
		return noticed, time.Time{}
	}
	if b.Paged.After(noticed) {
		return noticed, b.Paged
	}
	return noticed, noticed
}

// match finds the incidents that belong to a label, which are in order of time.
func (l *BacktestLabel) match(incidents []*BacktestIncident) {
	var first time.Time
	for _, b := range incidents {
		noticed, told := l.told(b)
		switch {
		case noticed.IsZero():
			continue
		case told.IsZero():
			if l.Unpaged == nil {
				l.Unpaged = b
			}
		case l.Incident == nil || told.Before(first):
			l.Incident, first = b, told
			l.Delay = max(told.Sub(l.Start), 0)
		}
		b.Labels = append(b.Labels, l)
	}
}

// labelColumns are the columns of a label file.
var labelColumns = []string{"cluster", "namespace", "service", "start", "end"}

// readLabels reads a file of labels. Its errors name the line.
func readLabels(path string, c *config.Config) (_ []BacktestLabel, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &InputError{File: path, Problem: errors.Unwrap(err).Error()}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	clusters, err := clusterList(c)
	if err != nil {
		return nil, err
	}
	var known []string
	for i := range clusters {
		known = append(known, clusters[i].Name)
	}
	return parseLabels(path, f, known)
}

func parseLabels(path string, in io.Reader, clusters []string) ([]BacktestLabel, error) {
	rows := csv.NewReader(in)
	rows.TrimLeadingSpace = true
	header, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return nil, &InputError{File: path, Problem: "empty file; want the header " +
			strings.Join(labelColumns, ",")}
	}
	if err != nil {
		return nil, rowError(path, err)
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	place := make(map[string]int)
	for _, name := range labelColumns {
		i := slices.Index(header, name)
		if i < 0 {
			return nil, &InputError{path, 1, fmt.Sprintf("no column %s in the header; want %s", name,
				strings.Join(labelColumns, ","))}
		}
		place[name] = i
	}
	var out []BacktestLabel
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, rowError(path, err)
		}
		line, _ := rows.FieldPos(0)
		l, err := parseLabel(func(name string) string { return strings.TrimSpace(row[place[name]]) },
			clusters)
		if err != nil {
			return nil, &InputError{path, line, err.Error()}
		}
		l.Line = line
		out = append(out, l)
	}
}

// rowError says which row is not CSV.
func rowError(path string, err error) error {
	var bad *csv.ParseError
	if errors.As(err, &bad) {
		return &InputError{path, bad.Line, bad.Err.Error()}
	}
	return fmt.Errorf("read labels: %w", err)
}

// parseLabel reads one row.
func parseLabel(cell func(name string) string, clusters []string) (l BacktestLabel, err error) {
	l.Service = fleet.Service{
		Cluster: cell("cluster"), Namespace: cell("namespace"), Name: cell("service"),
	}
	if !slices.Contains(clusters, l.Service.Cluster) {
		return l, fmt.Errorf("cluster %q is not in the configuration; write one of %s",
			l.Service.Cluster, enumerate(clusters))
	}
	if l.Start, err = ParseTime(cell("start")); err != nil {
		return l, fmt.Errorf("start: %w", err)
	}
	if l.End, err = ParseTime(cell("end")); err != nil {
		return l, fmt.Errorf("end: %w", err)
	}
	if l.End.Before(l.Start) {
		return l, errors.New("end lies before start")
	}
	return l, nil
}

// ParseTime reads RFC 3339 or unix seconds.
func ParseTime(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), nil
	}
	sec, err := strconv.ParseFloat(text, 64)
	if err != nil || !(sec > 0 && sec < 1e11) {
		return time.Time{}, fmt.Errorf(
			"%q is not a time; write RFC 3339, as 2026-03-01T12:00:00Z, or unix seconds", text)
	}
	return time.UnixMilli(int64(sec * 1000)).UTC(), nil
}
