package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

const (
	barEvery  = 200 * time.Millisecond // On a terminal.
	lineEvery = 10 * time.Second       // Elsewhere.
	barWidth  = 30
)

// progress shows on a terminal how far something is, in place, and elsewhere writes a line now and
// then.
type progress struct {
	out      io.Writer
	now      func() time.Time
	terminal bool
	began    time.Time
	last     time.Time
	shown    bool
}

func newProgress(out io.Writer, now func() time.Time) *progress {
	p := &progress{out: out, now: now, began: now(), last: now()}
	if f, ok := out.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// show is told how much is done, from 0 to 1, and what is being done.
func (p *progress) show(done float64, what string) {
	now := p.now()
	every := lineEvery
	if p.terminal {
		every = barEvery
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last, p.shown = now, true
	line := fmt.Sprintf("%3.0f%%%s %s", 100*done, p.left(done, now), what)
	if !p.terminal {
		_, _ = fmt.Fprintln(p.out, line) // Nobody may be listening.
		return
	}
	full := int(done * barWidth)
	_, _ = fmt.Fprintf(p.out, "\r\x1b[K[%s%s] %s", strings.Repeat("=", full),
		strings.Repeat(" ", barWidth-full), line)
}

// left says how long it will take, once there is something to go by.
func (p *progress) left(done float64, now time.Time) string {
	took := now.Sub(p.began)
	if done < 0.01 || took < time.Second {
		return ""
	}
	left := time.Duration(float64(took) * (1 - done) / done)
	return fmt.Sprintf(", %s left,", left.Round(time.Second))
}

// end leaves the line to what comes next.
func (p *progress) end() {
	if p.terminal && p.shown {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
}
