package app

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"tocsin/incident"
)

// tables are printed one below the other for a terminal. Cells are separated by tabs.
type tables struct {
	bytes.Buffer
	table *tabwriter.Writer
}

func newTables() *tables {
	t := &tables{}
	t.table = tabwriter.NewWriter(&t.Buffer, 0, 8, 2, ' ', 0)
	return t
}

// row adds a line, whose cells stand below those of the line before.
func (t *tables) row(cells ...string) {
	for i, c := range cells {
		cells[i] = printable(c)
	}
	_, _ = fmt.Fprintln(t.table, strings.Join(cells, "\t")) // Into memory: it cannot fail.
}

// title begins a table.
func (t *tables) title(format string, args ...any) {
	_ = t.table.Flush()
	fmt.Fprintf(&t.Buffer, "\n%s\n", printable(fmt.Sprintf(format, args...)))
}

// writeTo writes everything, without the spaces that tables leave at the end of a line.
func (t *tables) writeTo(w io.Writer) error {
	_ = t.table.Flush()
	lines := strings.Split(strings.TrimLeft(t.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n"))
	return err
}

// printable keeps what a source calls its services from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// WriteText prints a report for people.
func (r *BacktestReport) WriteText(w io.Writer) error {
	t := newTables()
	t.title("Backtest from %s to %s, warm-up %s, %s", utc(r.Start), utc(r.End), span(r.WarmUp),
		r.Every())
	r.textClusters(t)
	if len(r.Notes) > 0 {
		t.title("NOT AS ASKED FOR")
		for _, n := range r.Notes {
			t.row("  " + n)
		}
	}
	t.title("PAGES: %s; %s", r.PagesLine(), r.BudgetLine())
	t.row("  WEEK FROM", "INCIDENTS", "PAGES")
	for _, s := range r.Weeks {
		note := ""
		if d := s.End.Sub(s.Start); d < aWeek {
			note = "(only " + span(d) + ")"
		}
		t.row("  "+s.Start.Format(time.DateOnly), strconv.Itoa(s.Incidents), strconv.Itoa(s.Pages), note)
	}
	if len(r.Units) > 0 {
		t.title("WHO PAYS")
		t.row("  "+strings.ToUpper(r.Per), "PAGES", "A WEEK", "BUDGET")
		for _, u := range r.Units {
			t.row("  "+u.Name, strconv.Itoa(u.Pages), fmt.Sprintf("%.1f", u.PagesPerWeek),
				fmt.Sprintf("%.3g", u.Budget))
		}
	}
	if r.Labels != nil {
		r.textLabels(t)
	}
	r.textIncidents(t)
	return t.writeTo(w)
}

// Every says how far instants are apart.
func (r *BacktestReport) Every() string {
	if r.Step == 0 {
		return "every interval"
	}
	return "every " + span(r.Step)
}

// PagesLine says in one line how often people would have been told.
func (r *BacktestReport) PagesLine() string {
	line := fmt.Sprintf("%.1f a week (%d in %s", r.PagesPerWeek, r.Pages, span(r.End.Sub(r.Start)))
	if len(r.Clusters) > 1 {
		line += fmt.Sprintf(" of %d clusters", len(r.Clusters))
	}
	return line + ")"
}

func (r *BacktestReport) textClusters(t *tables) {
	t.title("CLUSTERS")
	t.row("  CLUSTER", "HISTORY FROM", "SERIES", "VALUES", "OBSERVED", "FINDINGS", "INCIDENTS",
		"PAGES", "A WEEK")
	for i := range r.Clusters {
		c := &r.Clusters[i]
		from := "none"
		if !c.Past.First.IsZero() {
			from = utc(c.Past.First)
		}
		t.row("  "+c.Name, from, strconv.Itoa(c.Series), strconv.Itoa(c.Past.Values), r.Share(c),
			strconv.Itoa(c.Findings),
			strconv.Itoa(c.Incidents), strconv.Itoa(c.Pages), fmt.Sprintf("%.1f", c.PagesPerWeek))
	}
}

// Share says how much of the time asked for was observed.
func (r *BacktestReport) Share(c *BacktestCluster) string {
	return fmt.Sprintf("%.1f%%", 100*min(float64(c.Observed)/float64(r.End.Sub(r.Start)), 1))
}

func (r *BacktestReport) textLabels(t *tables) {
	t.title("LABELS: %s", r.LabelsLine())
	t.row("  LINE", "FROM", "FOR", "WHERE", "OUTCOME", "INCIDENT")
	for i := range r.Labels {
		l := &r.Labels[i]
		t.row("  "+strconv.Itoa(l.Line), utc(l.Start), span(l.End.Sub(l.Start)), l.Where(), l.Outcome(),
			l.IncidentID())
	}
}

// LabelsLine says in one line what became of the labels.
func (r *BacktestReport) LabelsLine() string {
	tested, missed, delays := r.LabelSummary()
	line := fmt.Sprintf("%d of %d missed", missed, tested)
	if n := len(delays); n > 0 {
		line += fmt.Sprintf(", delay %s in the middle, %s at most", span(median(delays)),
			span(delays[n-1]))
	}
	if outside := len(r.Labels) - tested; outside > 0 {
		line += fmt.Sprintf(", %d outside of what was tested", outside)
	}
	return line + fmt.Sprintf("; %d of %d pages belong to no label", r.Unlabelled, r.Pages)
}

// Where names what a label is about.
func (l *BacktestLabel) Where() string {
	switch {
	case l.Service.Namespace == "" && l.Service.Name == "":
		return l.Service.Cluster
	case l.Service.Name == "":
		return l.Service.Cluster + "/" + l.Service.Namespace
	}
	return l.Service.Cluster + "/" + cmp.Or(l.Service.Namespace, "*") + "/" + l.Service.Name
}

// Outcome says what became of a label.
func (l *BacktestLabel) Outcome() string {
	switch {
	case l.Outside:
		return "not tested"
	case l.Incident != nil:
		return "told after " + span(l.Delay)
	case l.Unpaged != nil:
		return "missed: seen, too mild to tell"
	}
	return "missed"
}

// IncidentID names the incident that a label was matched with, if any.
func (l *BacktestLabel) IncidentID() string {
	switch {
	case l.Incident != nil:
		return l.Incident.ID
	case l.Unpaged != nil:
		return l.Unpaged.ID
	}
	return ""
}

func (r *BacktestReport) textIncidents(t *tables) {
	t.title("INCIDENTS: %d", len(r.Incidents))
	if len(r.Incidents) == 0 {
		return
	}
	t.row("  STARTED", "DURATION", "SEVERITY", "PAGE AFTER", "SERVICE", "SIGNALS", "PEAK", "FINDINGS",
		"ID", "WHAT")
	for _, b := range r.Incidents {
		t.row("  "+utc(b.Start), r.Lasted(b), string(b.Severity), b.PageAfter(), b.Place(),
			shorten(b.Signals(), 3),
			fmt.Sprintf("%.1f", b.Peak), strconv.Itoa(len(b.Findings)+b.Omitted), b.ID, b.Title)
	}
}

// Lasted says how long an incident lasted.
func (r *BacktestReport) Lasted(b *BacktestIncident) string {
	out := span(b.Duration(r.End))
	if b.State != incident.Resolved {
		out += ", goes on"
	}
	return out
}

// PageAfter says how long after its start people would have been told of an incident.
func (b *BacktestIncident) PageAfter() string {
	if b.Paged.IsZero() {
		return "no page"
	}
	return span(b.Paged.Sub(b.Start))
}

// Place says where an incident is.
func (b *BacktestIncident) Place() string {
	out := b.Service.String()
	if n := len(b.Services) - 1; n > 0 {
		out += fmt.Sprintf(" and %d more", n)
	}
	return out
}

// shorten lists the first few of many.
func shorten(all []string, most int) string {
	if rest := len(all) - most; rest > 0 {
		return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", rest)
	}
	return strings.Join(all, ", ")
}
