package app

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // The template and its style.
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"
)

//go:embed backtest.html
var backtestPage string

//go:embed backtest.css
var backtestStyle string

// maxPlotted bounds how many incidents of a page have plots; those that told people come first.
const maxPlotted = 100

// WriteHTML writes a report as one page that needs nothing else: no script, no other file. Its
// content security policy allows its own style alone.
func (r *BacktestReport) WriteHTML(w io.Writer) error {
	t, err := template.New("backtest").Funcs(template.FuncMap{
		"day":  func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
		"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
		"span": span,
	}).Parse(backtestPage)
	if err != nil {
		return fmt.Errorf("parse the page of a backtest: %w", err)
	}
	sum := sha256.Sum256([]byte(backtestStyle))
	var page bytes.Buffer
	err = t.Execute(&page, backtestView{
		Report: r, Style: template.CSS(backtestStyle), //nolint:gosec // It is our own file.
		StyleHash: "sha256-" + base64.StdEncoding.EncodeToString(sum[:]),
		Weeks:     newBars(r.Weeks, r.budgetIn(aWeek)), Days: newBars(r.Days, r.budgetIn(aDay)),
		Clusters: r.clusterViews(), Incidents: r.incidentViews(),
	})
	if err == nil {
		_, err = page.WriteTo(w)
	}
	if err != nil {
		return fmt.Errorf("write the page of a backtest: %w", err)
	}
	return nil
}

// backtestView is what the template shows.
type backtestView struct {
	Report      *BacktestReport
	Style       template.CSS
	StyleHash   string
	Weeks, Days Bars
	Clusters    []clusterView
	Incidents   []incidentView
}

type clusterView struct {
	BacktestCluster
	Share string
}

type incidentView struct {
	*BacktestIncident
	Lasted     string
	SignalList string
	Count      int
	LabelLines string
	Plots      []Plot
	NoPlot     string
}

func (r *BacktestReport) clusterViews() []clusterView {
	out := make([]clusterView, len(r.Clusters))
	for i := range r.Clusters {
		out[i] = clusterView{r.Clusters[i], r.Share(&r.Clusters[i])}
	}
	return out
}

func (r *BacktestReport) incidentViews() []incidentView {
	out := make([]incidentView, len(r.Incidents))
	left := map[bool]int{true: maxPlotted, false: max(maxPlotted-r.Pages,
		0)} // By whether people were told.
	for i, b := range r.Incidents {
		v := incidentView{
			BacktestIncident: b, Lasted: r.Lasted(b), SignalList: shorten(b.Signals(), 3),
			Count: len(b.Findings) + b.Omitted, LabelLines: b.labelLines(),
		}
		paged := !b.Paged.IsZero()
		switch {
		case left[paged] == 0:
			v.NoPlot = "No plot: only the first incidents have one."
		case len(b.Traces) == 0:
			v.NoPlot = "No plot: its findings began before the start, or there are too many."
		default:
			left[paged]--
			for _, t := range b.Traces {
				v.Plots = append(v.Plots, newPlot(t))
			}
		}
		out[i] = v
	}
	return out
}

// labelLines lists where the labels stand that an incident belongs to.
func (b *BacktestIncident) labelLines() string {
	var lines []string
	for _, l := range b.Labels {
		lines = append(lines, strconv.Itoa(l.Line))
	}
	return strings.Join(lines, ", ")
}

// LabelList returns pointers, as templates need them.
func (r *BacktestReport) LabelList() []*BacktestLabel {
	out := make([]*BacktestLabel, len(r.Labels))
	for i := range r.Labels {
		out[i] = &r.Labels[i]
	}
	return out
}

// For says how long the labelled thing lasted.
func (l *BacktestLabel) For() string { return span(l.End.Sub(l.Start)) }
