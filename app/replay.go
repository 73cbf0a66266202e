package app

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tocsin/collectors/replay"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/series"
)

// ReplayOptions says what to replay. Zero values of optional fields stand for the defaults given here.
type ReplayOptions struct {
	Inputs   []string      // CSV files, CSV.gz files, or folders of them.
	Output   string        // Folder for the results, made if it is not there.
	Interval time.Duration // Between rows; found from the timestamps. Needed where time is a step.
	Parallel int           // Files at a time; 2.
	Findings string        // File for the findings, as JSON lines; none.
	Pages    io.Writer     // Told at the end what each file cost against the budget; nobody.
	Budget   detector.Budget
	Tuning   detector.Tuning
	Logger   *slog.Logger // Discards.
}

// recordingFile is one file to replay.
type recordingFile struct{ in, out, name string }

// Replay runs each recording through a detector of its own, as production would have seen it, and writes, row for row,
// what the detector said. A file appears in the output only once it is complete. A broken row is a *replay.RowError.
func Replay(ctx context.Context, opts ReplayOptions) error {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	files, err := recordings(opts.Inputs, opts.Output)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(cmp.Or(opts.Parallel, 2))
	found := make([]*replayFindings, len(files))
	for i, f := range files {
		found[i] = &replayFindings{file: f.name}
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return replayFile(ctx, opts, f, found[i])
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return tellFindings(opts, found)
}

// recordings lists the files that inputs stand for, and where the results of each belong.
func recordings(inputs []string, output string) ([]recordingFile, error) {
	var files []recordingFile
	from := map[string]string{}
	add := func(path, rel string) error {
		name := strings.TrimSuffix(rel, ".gz")
		out := filepath.Join(output, name)
		if first, ok := from[out]; ok {
			return fmt.Errorf("replay %s: its results would overwrite those of %s at %s", path, first, out)
		}
		from[out] = path
		files = append(files, recordingFile{in: path, out: out, name: filepath.ToSlash(name)})
		return nil
	}
	for _, input := range inputs {
		info, err := os.Stat(input)
		if err != nil {
			return nil, fmt.Errorf("replay: %w", err)
		}
		if !info.IsDir() {
			if err := add(input, filepath.Base(input)); err != nil {
				return nil, err
			}
			continue
		}
		before := len(files)
		err = filepath.WalkDir(input, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() ||
				!strings.HasSuffix(path, ".csv") && !strings.HasSuffix(path, ".csv.gz") {
				return err
			}
			rel, err := filepath.Rel(input, path)
			if err != nil {
				return err
			}
			return add(path, rel)
		})
		if err != nil {
			return nil, fmt.Errorf("replay %s: %w", input, err)
		}
		if len(files) == before {
			return nil, fmt.Errorf("replay %s: no .csv or .csv.gz file in it", input)
		}
	}
	return files, nil
}

// replayFile replays one file.
func replayFile(
	ctx context.Context, opts ReplayOptions, file recordingFile, found *replayFindings,
) (err error) {
	began := time.Now()
	rec, err := replay.Open(file.in, opts.Interval)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rec.Close()) }()

	if err := os.MkdirAll(filepath.Dir(file.out), 0o755); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file.out), ".replay-*")
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	out := newResults(rec, tmp)
	if err := errors.Join(play(ctx, opts, rec, out, found), out.close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file.out); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	opts.Logger.Info("Replayed", "file", file.in, "rows", out.rows, "signals", len(rec.Signals),
		"interval", rec.Interval, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// play sends a recording through an engine of its own.
func play(
	ctx context.Context, opts ReplayOptions, rec *replay.Recording, out *results, found *replayFindings,
) error {
	registry := series.NewRegistry(len(rec.Signals))
	signals := make([]detector.Signal, len(rec.Signals))
	for i, name := range rec.Signals {
		signals[i] = detector.Signal{Name: name, Kind: detector.Gauge, Bad: detector.Both}
	}
	engine, err := detector.New(detector.Options{
		Signals: signals, Registry: registry, Shards: 1, Tuning: opts.Tuning, Logger: opts.Logger,
		Scores: out.scores, Services: out.services, Report: found.add, Budget: opts.Budget,
	})
	if err != nil {
		return fmt.Errorf("replay %s: %w", out.name, err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1) // Holds what Run returns.
	go func() { done <- engine.Run(running) }()
	target := replay.Target{
		Service:  fleet.Service{Cluster: "replay", Name: "replay"},
		Registry: registry,
		Sink:     engine,
	}
	err = rec.Play(ctx, target, func(row replay.Row) error {
		found.row(row.At)
		return out.expect(row)
	})
	stop()
	return errors.Join(err, <-done, found.finish(ctx, engine))
}

// results writes the rows of a recording with what the detector said of each.
type results struct {
	name   string
	rec    *replay.Recording
	file   *os.File
	buf    *bufio.Writer
	csv    *csv.Writer
	column map[string]int
	cells  []string // Of the row at hand.
	rows   int

	mu      sync.Mutex // Guards what follows: rows arrive from Play, scores from the engine.
	waiting []replay.Row
	at      time.Time // Of what follows.
	score   []float32
	bounds  [3]float64 // Expected, lower, upper; of the only signal.
	err     error
}

func newResults(rec *replay.Recording, file *os.File) *results {
	r := &results{
		name: file.Name(), rec: rec, file: file, buf: bufio.NewWriter(file),
		column: make(map[string]int), score: make([]float32, len(rec.Signals)),
	}
	r.csv = csv.NewWriter(r.buf)
	header := []string{rec.Time}
	if rec.HasLabel {
		header = append(header, "label")
	}
	if rec.HasSplit {
		header = append(header, "split")
	}
	header = append(header, "anomaly_score")
	if len(rec.Signals) == 1 {
		header = append(header, "expected", "lower", "upper")
	}
	for i, name := range rec.Signals {
		r.column[name] = i
		if len(rec.Signals) > 1 {
			header = append(header, "score_"+name)
		}
	}
	r.err = r.csv.Write(header)
	r.reset()
	return r
}

// expect is told of each row before the engine is.
func (r *results) expect(row replay.Row) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	row.Values = nil
	r.waiting = append(r.waiting, row)
	return r.err
}

// scores takes what the engine says of one signal of one row.
func (r *results) scores(s *detector.Scores) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.At.Equal(r.at) {
		r.reset()
		r.at = s.At
	}
	if len(s.Score) == 0 {
		return
	}
	i := r.column[s.Signal]
	r.score[i] = s.News[0]
	r.bounds = [3]float64{s.Expected[0], s.Lower[0], s.Upper[0]}
}

// reset forgets the row at hand.
func (r *results) reset() {
	r.at = time.Time{}
	for i := range r.score {
		r.score[i] = float32(math.NaN())
	}
	r.bounds = [3]float64{math.NaN(), math.NaN(), math.NaN()}
}

// services takes what the engine says of the row as a whole, and writes it. Rows before it, of which the engine said
// nothing, are written without a score.
func (r *results) services(s *detector.ServiceScores) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := slices.IndexFunc(r.waiting, func(row replay.Row) bool { return row.At.After(s.At) })
	if n < 0 {
		n = len(r.waiting)
	}
	at, service := r.at, float32(0)
	if len(s.Score) > 0 {
		service = s.Score[0]
	}
	for _, row := range r.waiting[:n] {
		if row.At.Equal(s.At) && at.Equal(s.At) {
			r.write(row, service)
			continue
		}
		r.reset()
		r.write(row, 0)
	}
	r.waiting = slices.Delete(r.waiting, 0, n)
	r.reset()
}

func (r *results) write(row replay.Row, service float32) {
	if r.err != nil {
		return
	}
	cells := append(r.cells[:0], row.Time)
	if r.rec.HasLabel {
		cells = append(cells, row.Label)
	}
	if r.rec.HasSplit {
		cells = append(cells, row.Split)
	}
	if service != service {
		service = 0 // Nothing to judge is nothing to hear about.
	}
	cells = append(cells, strconv.FormatFloat(float64(service), 'g', -1, 32))
	if len(r.score) == 1 {
		for _, v := range r.bounds {
			cells = append(cells, cell(v, 64))
		}
	} else {
		for _, v := range r.score {
			cells = append(cells, cell(float64(v), 32))
		}
	}
	r.cells = cells
	r.err = r.csv.Write(cells)
	r.rows++
}

// cell prints a number; one that is not known is an empty cell.
func cell(v float64, bits int) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}

// close writes the rows that are left, and closes the file.
func (r *results) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, row := range r.waiting {
		r.reset()
		r.write(row, 0)
	}
	r.waiting = nil
	r.csv.Flush()
	err := errors.Join(r.err, r.csv.Error(), r.buf.Flush(), r.file.Close())
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
