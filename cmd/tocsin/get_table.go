package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// tone is what a line says at a glance. Only terminals show it, as a colour.
type tone string

// The tones.
const (
	tonePlain tone = ""
	toneGood  tone = "\x1b[32m"
	toneDoubt tone = "\x1b[33m"
	toneBad   tone = "\x1b[31m"
	toneFaint tone = "\x1b[2m"
	toneHead  tone = "\x1b[1m"

	toneEnd = "\x1b[0m"
)

// painter gives lines their tone where somebody sees it.
type painter struct{ on bool }

// newPainter paints on terminals, unless NO_COLOR is set as no-color.org has it.
func newPainter(out io.Writer) painter {
	f, ok := out.(*os.File)
	return painter{
		ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" &&
			os.Getenv("TERM") != "dumb",
	}
}

func (p painter) paint(t tone, line string) string {
	if !p.on || t == tonePlain {
		return line
	}
	return string(t) + line + toneEnd
}

// row is one line of a table.
type row struct {
	id    string // What it is about: a row that is shown again replaces the one of its ID.
	cells []string
	tone  tone
}

// maxCell bounds what others have written, so that a line stays one.
const maxCell = 120

// layout returns a table's lines, the header first, each as wide as it takes.
func layout(header []string, rows []row) []string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, r := range rows {
		cells := make([]string, len(header))
		for i := range cells {
			if cells[i] = "-"; i < len(r.cells) && r.cells[i] != "" {
				cells[i] = oneLine(r.cells[i], maxCell)
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush() // A buffer takes everything.
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// writeTable writes a table, each line behind indent.
func writeTable(out io.Writer, indent string, header []string, rows []row) error {
	p := newPainter(out)
	for i, line := range layout(header, rows) {
		t := toneHead
		if i > 0 {
			t = rows[i-1].tone
		}
		if _, err := fmt.Fprintln(out, indent+p.paint(t, line)); err != nil {
			return err
		}
	}
	return nil
}

// when writes a time for people, in the time zone of this machine.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
