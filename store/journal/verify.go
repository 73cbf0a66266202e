package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What can be wrong with events.
const (
	missing    = "missing"
	mismatch   = "hash does not match"
	unreadable = "unreadable"
)

// maxBreaks is how many breaks are remembered; a file with more is not mended by knowing them all.
const maxBreaks = 1000

// Break is a place where the journal does not hold what was written.
type Break struct {
	Seq     int64  `json:"seq"`     // Of the first event concerned; 0: the file as such.
	Through int64  `json:"through"` // Of the last.
	Problem string `json:"problem"`
}

func (b Break) String() string {
	switch {
	case b.Seq == 0:
		return b.Problem
	case b.Through > b.Seq:
		return fmt.Sprintf("events %d to %d: %s", b.Seq, b.Through, b.Problem)
	}
	return fmt.Sprintf("event %d: %s", b.Seq, b.Problem)
}

// Report is what a walk over the whole chain has found.
type Report struct {
	At         time.Time `json:"at,omitzero"` // When it ended; zero: there was none yet.
	Events     int64     `json:"events"`      // That could be read.
	First      int64     `json:"first"`
	Last       int64     `json:"last"`
	Breaks     []Break   `json:"breaks,omitempty"`     // The first is where trust ends.
	Reconciled int       `json:"reconciled,omitempty"` // How many of Breaks were accepted before.
	Mended     string    `json:"mended,omitempty"`     // Index damage that was undone.
}

// Err returns nil if all is well or reconciled, else an error that wraps ErrDamaged and names the
// first break.
func (r Report) Err() error {
	if len(r.Breaks) == r.Reconciled {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDamaged, r.Breaks[0])
}

// Damaged returns nil while every event read so far was as it was written, or reconciled since;
// else an error that wraps ErrDamaged and names the first break. While it does, nothing automatic
// should rely on the journal.
func (j *Journal) Damaged() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.breaks) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDamaged, j.breaks[0])
}

// Reconcile accepts all breaks that are known, after somebody has compared what was lost with the
// world. It is an event of its own.
func (j *Journal) Reconcile(ctx context.Context, by, note string) error {
	j.mu.Lock()
	data := struct {
		By     string  `json:"by"`
		Note   string  `json:"note"`
		Breaks []Break `json:"breaks"`
	}{by, note, append([]Break{}, j.breaks...)}
	j.mu.Unlock()
	err := j.Append(ctx, Entry{Kind: KindReconciled, Data: data})
	if err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.accept()
	j.showDamage()
	return nil
}

// accept marks all breaks as reconciled. j.mu is held.
func (j *Journal) accept() {
	for _, b := range j.breaks {
		j.accepted[b] = true
	}
	j.breaks = nil
}

// note remembers a break, unless it is known, and records an event that says so.
func (j *Journal) note(b Break) {
	if b.Seq > 0 && b.Through == 0 {
		b.Through = b.Seq
	}
	j.mu.Lock()
	known := j.accepted[b] || len(j.breaks) >= maxBreaks
	for _, other := range j.breaks {
		known = known || other == b
	}
	if !known {
		j.breaks = append(j.breaks, b)
		j.showDamage()
	}
	j.mu.Unlock()
	if known {
		return
	}
	j.logger.Error("Journal is damaged", "first", b.Seq, "last", b.Through, "problem", b.Problem)
	j.Record(Entry{Kind: KindBreak, Key: fmt.Sprint(b.Seq), Data: b})
}

// showDamage sets the metric. j.mu is held.
func (j *Journal) showDamage() {
	j.metrics.damaged.Set(0)
	if len(j.breaks) > 0 {
		j.metrics.damaged.Set(1)
	}
}

// Verify walks the whole chain and has SQLite check the file. What is wrong is in the report, in
// Damaged and in break events; the error says only that the walk did not come to its end. An
// index that does not agree with a sound table is built anew.
func (j *Journal) Verify(ctx context.Context) (Report, error) {
	j.upkeep.Lock()
	defer j.upkeep.Unlock()
	query, err := j.reader(ctx)
	if err != nil {
		return Report{}, err
	}
	j.mu.Lock()
	w := walker{query: query, from: j.checkpoint.seq, to: j.tip.seq}
	start := j.checkpoint.hash
	j.mu.Unlock()
	w.prev = &start

	r := Report{First: w.from + 1, Last: w.to}
	found := func(b Break) {
		if len(r.Breaks) < maxBreaks {
			r.Breaks = append(r.Breaks, b)
		}
	}
	if r.Events, err = w.chain(found); err != nil {
		return r, fmt.Errorf("walk the chain: %w", err)
	}
	if err := j.checkFile(ctx, query, &r, found); err != nil {
		return r, fmt.Errorf("check the file: %w", err)
	}
	r.At = time.Now()
	return r, j.conclude(ctx, &r)
}

// conclude notes what a verification has found.
func (j *Journal) conclude(ctx context.Context, r *Report) error {
	for _, b := range r.Breaks {
		j.note(b)
	}
	j.mu.Lock()
	for _, b := range r.Breaks {
		if j.accepted[b] {
			r.Reconciled++
		}
	}
	j.verified = *r
	j.mu.Unlock()
	j.metrics.verified.Set(float64(r.At.UnixNano()) / 1e9)
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return j.do(ctx, func(db *sql.DB) error {
		const put = "INSERT OR REPLACE INTO verified (id, report) VALUES (0, ?)"
		_, err := db.Exec(put, string(text))
		return err
	})
}

// checkFile has SQLite look for damage that the chain does not show: in indexes, free pages and
// headers.
func (j *Journal) checkFile(
	ctx context.Context, query querier, r *Report, found func(Break),
) error {
	problems, err := integrity(query)
	if err != nil || problems == "" {
		return err
	}
	if len(r.Breaks) == 0 {
		// The table is whole, and all else follows from it.
		err := j.do(ctx, func(db *sql.DB) error {
			_, err := db.Exec("REINDEX")
			return err
		})
		if err != nil && !corrupt(err) {
			return err
		}
		r.Mended = problems
		j.logger.Warn("Index of the journal was damaged and built anew", "problem", problems)
		if problems, err = integrity(query); err != nil || problems == "" {
			return err
		}
		r.Mended = ""
	}
	found(Break{Problem: "SQLite finds: " + problems})
	return nil
}

// integrity returns the first things that SQLite finds wrong with the file, "" for none.
func integrity(query querier) (string, error) {
	rows, err := query("PRAGMA integrity_check(3)")
	if err != nil {
		if corrupt(err) {
			return err.Error(), nil
		}
		return "", err
	}
	var problems []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return "", errors.Join(err, rows.Close())
		}
		if line != "ok" {
			problems = append(problems, line)
		}
	}
	err = errors.Join(rows.Err(), rows.Close())
	if corrupt(err) {
		problems, err = append(problems, err.Error()), nil
	}
	return strings.Join(problems, "; "), err
}

// verifyTail walks the end of the chain, so that damage of what is about to be used is known from
// the start.
func (j *Journal) verifyTail() error {
	w := walker{query: j.db.Query, from: j.checkpoint.seq, prev: &j.checkpoint.hash, to: j.tip.seq}
	if w.to-tail > w.from {
		w.from, w.prev = w.to-tail, nil
	}
	_, err := w.chain(j.note)
	if err != nil {
		return fmt.Errorf("verify the last events: %w", err)
	}
	return nil
}
