package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tocsin/detector"
)

// replayFinding is a line of ReplayOptions.Findings.
type replayFinding struct {
	File      string    `json:"file"` // As it is called below the output folder.
	Signal    string    `json:"signal"`
	Start     time.Time `json:"start"`
	End       time.Time `json:"end,omitzero"` // Missing while it is open at the end of the file.
	Peak      float64   `json:"peak"`
	Threshold float64   `json:"threshold"` // The score that opened it.
}

// replayFindings are the findings of one file. Its fields belong to the engine's goroutine while
// it runs, but for first and last, which belong to the player.
type replayFindings struct {
	file   string
	list   []replayFinding
	places map[string]int // In list, by ID.
	pages  int

	first, last time.Time
}

// add takes a report of the engine.
func (r *replayFindings) add(f detector.Finding) {
	if r.places == nil {
		r.places = make(map[string]int)
	}
	place, ok := r.places[f.ID]
	if !ok {
		place = len(r.list)
		r.places[f.ID] = place
		r.list = append(r.list, replayFinding{})
	}
	r.list[place] = replayFinding{r.file, f.Signal, f.Start, f.End, f.Peak, f.Threshold}
}

// row says that the file has a row at an instant.
func (r *replayFindings) row(at time.Time) {
	if r.first.IsZero() {
		r.first = at
	}
	r.last = at
}

// finish asks an engine that has stopped for what it has not reported.
func (r *replayFindings) finish(ctx context.Context, engine *detector.Engine) error {
	open, err := engine.Findings(ctx)
	if err != nil {
		return err
	}
	for _, f := range open {
		r.add(f)
	}
	status, err := engine.Status(ctx)
	if err != nil {
		return err
	}
	for _, c := range status.Clusters {
		r.pages += c.Budget.Pages
	}
	return nil
}

// weeks returns how long the file is.
func (r *replayFindings) weeks() float64 {
	return r.last.Sub(r.first).Hours() / (7 * 24)
}

// tellFindings writes the findings of all files, whole or not at all, and what they cost.
func tellFindings(opts ReplayOptions, found []*replayFindings) error {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, r := range found {
		for i := range r.list {
			if err := encoder.Encode(&r.list[i]); err != nil {
				return fmt.Errorf("write findings: %w", err)
			}
		}
	}
	if opts.Findings != "" {
		if err := writeWhole(opts.Findings, lines.Bytes()); err != nil {
			return fmt.Errorf("write findings: %w", err)
		}
	}
	if opts.Pages == nil {
		return nil
	}
	pages, weeks := 0, 0.0
	for _, r := range found {
		pages, weeks = pages+r.pages, weeks+r.weeks()
		if err := tellPages(opts, r.file, r.pages, r.weeks()); err != nil {
			return err
		}
	}
	return tellPages(opts, fmt.Sprintf("%d files", len(found)), pages, weeks)
}

// tellPages says what a file cost.
func tellPages(opts ReplayOptions, name string, pages int, weeks float64) error {
	rate := 0.0
	if weeks > 0 {
		rate = float64(pages) / weeks
	}
	_, err := fmt.Fprintf(opts.Pages, "%s: %d pages in %.1f weeks, %.2f a week of %g\n",
		name, pages, weeks, rate, opts.Budget.PagesPerWeek)
	return err
}

// writeWhole writes a file so that it is there whole, or as it was.
func writeWhole(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".findings-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Chmod(tmp.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // The first error tells more.
	}
	return err
}
