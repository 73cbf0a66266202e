package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// forms are how a list can be shown.
var forms = []string{"table", "wide", "json"}

// show writes a list once.
func (l *listing) show(out io.Writer, items []json.RawMessage, output string) error {
	if output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(items)
	}
	rows, err := l.rows(items)
	if err != nil {
		return err
	}
	return writeTable(out, "", l.header(output), rows)
}

// header returns the columns of a form.
func (l *listing) header(output string) []string {
	if output == "wide" {
		return slices.Concat(l.columns, l.wide)
	}
	return l.columns
}

func (l *listing) rows(items []json.RawMessage) ([]row, error) {
	rows := make([]row, 0, len(items))
	for _, item := range items {
		r, err := l.row(item)
		if err != nil {
			return nil, fmt.Errorf("read the list of %s: %w", l.name, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// watcher shows a list and then what changes in it.
type watcher struct {
	*listing
	out    io.Writer
	output string
	shown  map[string]string // What was shown last of each ID.
	began  bool
}

// watch asks for a list at every interval until ctx is done, which is no error, and shows what is
// new or has changed. A daemon that is away for a while is waited for.
func (l *listing) watch(
	cmd *cobra.Command, every time.Duration, output string, ask func() ([]json.RawMessage, error),
) error {
	w := watcher{listing: l, out: cmd.OutOrStdout(), output: output, shown: map[string]string{}}
	tick := time.NewTicker(every)
	defer tick.Stop()
	away := false
	for {
		items, err := ask()
		switch {
		case cmd.Context().Err() != nil:
			return nil
		case err != nil && (!w.began || !temporary(err)):
			return err
		case err != nil && !away:
			fmt.Fprintf(cmd.ErrOrStderr(), "tocsin: %v; trying again\n", err)
		case err == nil:
			if err := w.update(items); err != nil {
				return err
			}
		}
		away = err != nil
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// temporary tells whether asking again may help.
func temporary(err error) bool {
	var said *answerError
	if errors.As(err, &said) {
		return said.code >= http.StatusInternalServerError ||
			said.code == http.StatusTooManyRequests
	}
	return !errors.Is(err, errBadInput)
}

// update shows what is not as it was shown last.
func (w *watcher) update(items []json.RawMessage) error {
	if w.output == "json" {
		return w.updateJSON(items)
	}
	rows, err := w.rows(items)
	if err != nil {
		return err
	}
	p := newPainter(w.out)
	for i, line := range layout(w.header(w.output), rows) {
		if i == 0 {
			if !w.began {
				fmt.Fprintln(w.out, p.paint(toneHead, line))
			}
			continue
		}
		r := rows[i-1]
		if w.news(r.id, strings.Join(r.cells, "\t")) {
			if _, err := fmt.Fprintln(w.out, p.paint(r.tone, line)); err != nil {
				return err
			}
		}
	}
	w.began = true
	return nil
}

func (w *watcher) updateJSON(items []json.RawMessage) error {
	for _, item := range items {
		r, err := w.row(item)
		if err != nil {
			return err
		}
		var line bytes.Buffer
		if err := json.Compact(&line, item); err != nil {
			return err
		}
		if w.news(r.id, line.String()) {
			if _, err := fmt.Fprintln(w.out, line.String()); err != nil {
				return err
			}
		}
	}
	w.began = true
	return nil
}

// news notes what is shown of an ID and tells whether it is new.
func (w *watcher) news(id, text string) bool {
	before, ok := w.shown[id]
	w.shown[id] = text
	return !ok || before != text
}
