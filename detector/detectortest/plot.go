package detectortest

import (
	"fmt"
	"math"
	"strings"
	"time"

	"tocsin/detector"
	"tocsin/series"
)

const plotWidth = 96

// Plot draws an answer as text: for each series what was observed and expected, from 0 at its
// lowest to 9 at its highest, the highest score in each column (. for less than 1, + for more
// than 9), and its findings (! harmful, = other). Below it lists the reports.
func (s *Script) Plot(a *Answer) string {
	var out strings.Builder
	for _, l := range s.Lives {
		s.plotSeries(&out, a, l.ID)
	}
	if len(a.Findings) == 0 {
		out.WriteString("no findings\n")
	}
	for _, f := range a.Findings {
		fmt.Fprintf(&out, "%-11s %-8s %s %s", s.clock(f.At), f.State, f.Service.Name, f.Signal)
		if f.State == detector.Resolved {
			fmt.Fprintf(&out, ": %s, after %s, peak %.1f\n", f.Reason, f.End.Sub(f.Start), f.Peak)
			continue
		}
		harm := "harmless"
		if f.Harmful {
			harm = "harmful"
		}
		fmt.Fprintf(&out, ": %s, %s, since %s, score %.1f, %.4g where %.4g was expected\n",
			f.Direction, harm, s.clock(f.Start), f.Score, f.Observed, f.Expected)
	}
	return out.String()
}

// clock says how long after the beginning at is.
func (s *Script) clock(at time.Time) string {
	d := at.Sub(s.Start)
	day := 24 * time.Hour
	return fmt.Sprintf("%dd%s", d/day, d%day)
}

func (s *Script) plotSeries(out *strings.Builder, a *Answer, id series.ID) {
	points := a.Points[id]
	if len(points) == 0 {
		fmt.Fprintf(out, "%s %s: nothing\n\n", id.Service.Name, id.Signal)
		return
	}
	first, last := points[0].At, points[len(points)-1].At
	column := max(last.Sub(first)/plotWidth+1, s.Step)
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		if !math.IsNaN(p.Observed) {
			low, high = min(low, p.Observed), max(high, p.Observed)
		}
	}
	rows := newRows()
	for _, p := range points {
		rows.add(int(p.At.Sub(first)/column), p, low, high)
	}
	for _, f := range a.Findings {
		if f.Service == id.Service && f.Signal == id.Signal {
			rows.mark(f, first, last, column)
		}
	}
	fmt.Fprintf(out, "%s %s: %.4g to %.4g, a column is %s\n", id.Service.Name, id.Signal, low, high,
		column.Round(time.Second))
	fmt.Fprintf(out, "observed |%s|\nexpected |%s|\nscore    |%s|\nfinding  |%s|\n\n",
		rows.means(rows.observed), rows.means(rows.expected), rows.score, rows.finding)
}

type mean struct{ sum, n float64 }

// rows is what is drawn of one series.
type rows struct {
	observed, expected [plotWidth]mean
	score, finding     []byte
}

func newRows() *rows {
	return &rows{
		score:   []byte(strings.Repeat(" ", plotWidth)),
		finding: []byte(strings.Repeat(" ", plotWidth)),
	}
}

func (r *rows) add(column int, p Point, low, high float64) {
	add := func(m *mean, v float64) {
		if !math.IsNaN(v) && high > low {
			m.sum += min(max((v-low)/(high-low), 0), 1)
			m.n++
		} else if v == low {
			m.n++
		}
	}
	add(&r.observed[column], p.Observed)
	if !math.IsNaN(float64(p.Score)) {
		add(&r.expected[column], p.Expected)
	}
	mark := byte(' ')
	switch {
	case p.Score >= 10:
		mark = '+'
	case p.Score >= 1:
		mark = '0' + byte(p.Score)
	case p.Score >= 0:
		mark = '.'
	}
	rank := " .123456789+"
	if strings.IndexByte(rank, mark) > strings.IndexByte(rank, r.score[column]) {
		r.score[column] = mark
	}
}

func (r *rows) means(m [plotWidth]mean) string {
	out := make([]byte, plotWidth)
	for i := range m {
		out[i] = ' '
		if m[i].n > 0 {
			out[i] = '0' + byte(m[i].sum/m[i].n*9.99)
		}
	}
	return string(out)
}

// mark draws the stretch of a finding: to the end while it is open, and no further than its end
// after that.
func (r *rows) mark(f detector.Finding, first, last time.Time, column time.Duration) {
	end, sign := last, byte('=')
	if f.State == detector.Resolved {
		end = f.End
	}
	if f.Harmful {
		sign = '!'
	}
	from, to := int(f.Start.Sub(first)/column), int(end.Sub(first)/column)
	for i := max(from, 0); i < plotWidth; i++ {
		if i <= to {
			r.finding[i] = sign
		} else if f.State == detector.Resolved {
			r.finding[i] = ' '
		}
	}
}
