package app

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// The size of plots, in the units of their view box.
const (
	plotWidth  = 640.0
	plotHeight = 150.0 // Of the values,
	scoreTop   = 162.0
	scoreBase  = 210.0 // and of the scores below them.
	plotLeft   = 64.0
)

// Plot is a trace as paths of SVG. It holds numbers and text alone: the page escapes it.
type Plot struct {
	Title                     string
	Band, Expected, Observed  string // Paths.
	Score                     string
	Threshold                 float64 // Place of the score that opened the finding.
	From, To                  float64 // Of the finding, on the x axis.
	Width                     float64
	Low, High, ScoreHigh      string // Labels of the axes.
	Begins, Ends              string
	Summary                   string // For those who cannot see it.
	ViewBox                   string
	PlotBase, ScoreAxis, Left float64
}

// axis maps values to places.
type axis struct{ min, max, from, to float64 }

func (a axis) at(v float64) float64 {
	if a.max <= a.min {
		return (a.from + a.to) / 2
	}
	return a.from + (v-a.min)/(a.max-a.min)*(a.to-a.from)
}

// newPlot draws a trace.
func newPlot(t *Trace) Plot {
	x := axis{float64(t.Points[0].At), float64(t.Points[len(t.Points)-1].At), plotLeft, plotWidth}
	y := axis{math.Inf(1), math.Inf(-1), plotHeight, 8}
	score := axis{0, max(4, t.Threshold), scoreBase, scoreTop}
	for _, p := range t.Points {
		for _, v := range []float32{p.Observed, p.Expected} {
			if finite(v) {
				y.min, y.max = min(y.min, float64(v)), max(y.max, float64(v))
			}
		}
		if finite(p.Score) {
			score.max = max(score.max, float64(p.Score))
		}
	}
	if y.min > y.max {
		y.min, y.max = 0, 1
	}
	y = y.include(t.Points)
	end := t.Points[len(t.Points)-1].At
	if !t.Resolved.IsZero() {
		end = min(t.Resolved.UnixMilli(), end)
	}
	p := Plot{
		Title:    t.ID.Service.String() + " " + t.ID.Signal,
		Band:     band(t.Points, x, y),
		Expected: path(t.Points, x, y, func(p *TracePoint) float32 { return p.Expected }),
		Observed: path(t.Points, x, y, func(p *TracePoint) float32 { return p.Observed }),
		Score:    path(t.Points, x, score, func(p *TracePoint) float32 { return p.Score }),
		From:     round(x.at(max(float64(t.Start.UnixMilli()), x.min))), To: round(x.at(float64(end))),
		Threshold: round(score.at(t.Threshold)),
		Low:       number(y.min, t.Unit), High: number(y.max, t.Unit),
		ScoreHigh: fmt.Sprintf("%.0f", score.max),
		Begins:    time.UnixMilli(t.Points[0].At).UTC().Format("01-02 15:04"),
		Ends:      time.UnixMilli(t.Points[len(t.Points)-1].At).UTC().Format("01-02 15:04"),
		ViewBox:   fmt.Sprintf("0 0 %g %g", plotWidth+8, scoreBase+18),
		PlotBase:  plotHeight, ScoreAxis: scoreBase, Left: plotLeft,
	}
	p.Width = round(max(p.To-p.From, 1))
	p.Summary = fmt.Sprintf("Observed and expected values of %s from %s to %s, the score below them.",
		p.Title, p.Begins, p.Ends)
	return p
}

// include widens an axis for the bounds, but not so far that they flatten everything else.
func (a axis) include(points []TracePoint) axis {
	room := max(a.max-a.min, 1e-9*math.Abs(a.max), 1e-12)
	low, high := a.min-room, a.max+room
	for _, p := range points {
		if v := float64(p.Lower); finite(p.Lower) && v >= low {
			a.min = min(a.min, v)
		}
		if v := float64(p.Upper); finite(p.Upper) && v <= high {
			a.max = max(a.max, v)
		}
	}
	if a.max <= a.min {
		a.min, a.max = a.min-room, a.max+room
	}
	return a
}

// gap is how many times the usual distance two points may be apart and be joined by a line.
const gap = 5

// path draws one value of each point as a line that is broken where there is none.
func path(points []TracePoint, x, y axis, value func(*TracePoint) float32) string {
	var b strings.Builder
	broken := true
	usual := usualStep(points)
	for i := range points {
		v := value(&points[i])
		if i > 0 && points[i].At-points[i-1].At > gap*usual {
			broken = true
		}
		if !finite(v) {
			broken = true
			continue
		}
		verb := "L"
		if broken {
			verb = "M"
		}
		broken = false
		fmt.Fprintf(&b, "%s%g %g", verb, round(x.at(float64(points[i].At))), round(y.clamp(float64(v))))
	}
	return b.String()
}

// usualStep returns the widest distance that is no exception: leads have wider ones than what
// follows.
func usualStep(points []TracePoint) int64 {
	if len(points) < 2 {
		return 1
	}
	steps := make([]int64, 0, len(points)-1)
	for i := 1; i < len(points); i++ {
		steps = append(steps, points[i].At-points[i-1].At)
	}
	slices.Sort(steps)
	return max(steps[len(steps)*9/10], 1)
}

// band draws the area between the bounds.
func band(points []TracePoint, x, y axis) string {
	var b strings.Builder
	for i := 0; i < len(points); {
		if !finite(points[i].Lower) || !finite(points[i].Upper) {
			i++
			continue
		}
		j := i
		for j < len(points) && finite(points[j].Lower) && finite(points[j].Upper) {
			j++
		}
		verb := "M"
		for k := i; k < j; k++ {
			fmt.Fprintf(&b, "%s%g %g", verb, round(x.at(float64(points[k].At))),
				round(y.clamp(float64(points[k].Upper))))
			verb = "L"
		}
		for k := j - 1; k >= i; k-- {
			fmt.Fprintf(&b, "L%g %g", round(x.at(float64(points[k].At))),
				round(y.clamp(float64(points[k].Lower))))
		}
		b.WriteByte('Z')
		i = j
	}
	return b.String()
}

// clamp maps a value to a place on the axis, at its end if it lies beyond.
func (a axis) clamp(v float64) float64 { return a.at(min(max(v, a.min), a.max)) }

// round keeps a digit behind the point.
func round(v float64) float64 { return math.Round(v*10) / 10 }

// number prints a value for an axis.
func number(v float64, unit string) string {
	if unit == "%" {
		return fmt.Sprintf("%.3g%%", 100*v)
	}
	if unit != "" {
		unit = " " + unit
	}
	return fmt.Sprintf("%.3g%s", v, unit)
}

// Bars is a chart of pages by day or week.
type Bars struct {
	ViewBox       string
	Width, Base   float64
	Bars          []Bar
	Limit         float64 // Height of the budget's line; 0: none.
	LimitText     string
	Most          int
	MostY         float64
	First, Last   string
	BottomOfLabel float64
}

// Bar is the pages of a day or week, drawn on top of the other incidents of it.
type Bar struct {
	X, Width            float64
	Y, Height           float64 // Of the pages.
	OtherY, OtherHeight float64 // Of the incidents that told nobody.
	Text                string
}

// newBars draws spans of time; limit is what people accept in one of them, NaN if nobody has said.
func newBars(spans []BacktestSpan, limit float64) Bars {
	const base, top = 100.0, 10.0
	out := Bars{ViewBox: "0 0 648 122", Width: plotWidth, Base: base, BottomOfLabel: base + 16}
	for _, s := range spans {
		out.Most = max(out.Most, s.Incidents)
	}
	most := max(float64(out.Most), 1)
	if !math.IsNaN(limit) {
		most = max(most, limit*1.1)
	}
	y := axis{0, most, base, top}
	out.MostY = round(y.at(float64(out.Most)))
	wide := min((plotWidth-32)/float64(max(len(spans), 1)), 60)
	for i, s := range spans {
		b := Bar{
			X: round(32 + float64(i)*wide), Width: round(max(wide*0.8, 0.5)),
			Y: round(y.at(float64(s.Pages))), OtherY: round(y.at(float64(s.Incidents))),
			Text: fmt.Sprintf("%s: pages %d, incidents %d",
				s.Start.Format(time.DateOnly), s.Pages, s.Incidents),
		}
		b.Height, b.OtherHeight = round(base-b.Y), round(b.Y-b.OtherY)
		out.Bars = append(out.Bars, b)
	}
	if !math.IsNaN(limit) {
		out.Limit, out.LimitText = round(y.at(limit)), fmt.Sprintf("budget %.3g", limit)
	}
	if len(spans) > 0 {
		out.First = spans[0].Start.Format(time.DateOnly)
		out.Last = spans[len(spans)-1].Start.Format(time.DateOnly)
	}
	return out
}
