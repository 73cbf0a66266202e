package app

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"tocsin/collectors/promql"
	"tocsin/fleet"
	"tocsin/incident"
)

// BacktestReport says what a backtest has found out.
type BacktestReport struct {
	Start, End time.Time
	WarmUp     time.Duration
	Step       time.Duration // 0: the interval of each cluster.
	Clusters   []BacktestCluster
	Incidents  []*BacktestIncident // In order of time.
	Labels     []BacktestLabel
	Weeks      []BacktestSpan
	Days       []BacktestSpan
	Pages      int
	// PagesPerWeek is the sum of what each cluster would have told people, by the weeks of it that
	// were observed.
	PagesPerWeek float64
	Budget       float64        // Pages a week that people accept from these clusters.
	Per          string         // Who has a budget: service, team or fleet.
	Units        []BacktestUnit // Those with the most pages.
	Unlabelled   int            // Pages that belong to no label.
	Notes        []string       // What is not as it was asked for.
}

// BacktestCluster is one cluster's part.
type BacktestCluster struct {
	Name         string
	Past         promql.Past
	Series       int           // Of all signals.
	Observed     time.Duration // Of the time from start to end.
	Incidents    int
	Pages        int
	PagesPerWeek float64
	Findings     int
}

// BacktestIncident is an incident as it was last told of.
type BacktestIncident struct {
	incident.Incident
	Peak   float64   // The highest score of its findings.
	Paged  time.Time // When people would have been told; zero: it was too mild.
	Since  map[fleet.Service]time.Time
	Labels []*BacktestLabel // What it belongs to.
	Traces []*Trace         // Of its worst findings.
}

// Duration returns how long an incident lasted, up to the end of the test at most.
func (b *BacktestIncident) Duration(end time.Time) time.Duration {
	if b.State == incident.Resolved {
		return b.End.Sub(b.Start)
	}
	return end.Sub(b.Start)
}

// Signals lists the signals of an incident, the worst first.
func (b *BacktestIncident) Signals() []string {
	var out []string
	for i := range b.Findings {
		if !slices.Contains(out, b.Findings[i].Signal) {
			out = append(out, b.Findings[i].Signal)
		}
	}
	return out
}

// BacktestSpan counts what happened in a day or a week.
type BacktestSpan struct {
	Start, End time.Time
	Incidents  int
	Pages      int
}

const (
	aDay  = 24 * time.Hour
	aWeek = 7 * aDay
)

func newBacktestReport(
	o *BacktestOptions, results []*backtestCluster, labels []BacktestLabel,
) (*BacktestReport, error) {
	r := &BacktestReport{Start: o.Start, End: o.End, WarmUp: o.WarmUp, Step: o.Step, Labels: labels}
	for _, c := range results {
		r.add(c)
	}
	if !slices.ContainsFunc(r.Clusters, func(c BacktestCluster) bool { return c.Observed > 0 }) {
		return nil, fmt.Errorf("no cluster has any value between %s and %s: nothing was tested; %s",
			utc(o.Start), utc(o.End), strings.Join(r.Notes, "; "))
	}
	slices.SortFunc(r.Incidents, func(a, b *BacktestIncident) int {
		return cmp.Or(a.Opened.Compare(b.Opened), cmp.Compare(a.ID, b.ID))
	})
	r.Weeks, r.Days = r.spans(aWeek), r.spans(aDay)
	r.judgeLabels()
	r.spend(o.budget(len(results)), results)
	return r, nil
}

// add takes what was found out about a cluster.
func (r *BacktestReport) add(c *backtestCluster) {
	out := BacktestCluster{
		Name: c.name, Past: c.past, Observed: c.observed, Incidents: len(c.incidents),
		Findings: c.findings,
	}
	for _, s := range c.past.Signals {
		out.Series += s.Series
	}
	for _, b := range c.incidents {
		if !b.Paged.IsZero() {
			out.Pages++
		}
	}
	if c.observed > 0 {
		out.PagesPerWeek = float64(out.Pages) / (float64(c.observed) / float64(aWeek))
	}
	r.Clusters = append(r.Clusters, out)
	r.Incidents = append(r.Incidents, c.incidents...)
	r.Pages += out.Pages
	r.PagesPerWeek += out.PagesPerWeek
	r.note(c)
}

// note says what is not there.
func (r *BacktestReport) note(c *backtestCluster) {
	say := func(format string, args ...any) {
		r.Notes = append(r.Notes, c.name+": "+fmt.Sprintf(format, args...))
	}
	asked := r.Start.Add(-r.WarmUp)
	switch first := c.past.First; {
	case first.IsZero():
		say("no value of any signal in the time asked for")
		r.noteSignals(c, say)
		return
	case first.After(r.Start.Add(c.past.Step)):
		say("history begins at %s, %s after the start: there was no time to learn before it",
			utc(first), span(first.Sub(r.Start)))
	case r.Start.Sub(first) < aDay && r.WarmUp > 0:
		say("history begins at %s: only %s to learn from before the start", utc(first),
			span(r.Start.Sub(first)))
	case first.After(asked.Add(c.past.Step)):
		say("history begins at %s: %s of the warm-up of %s", utc(first), span(r.Start.Sub(first)),
			span(r.WarmUp))
	}
	for _, g := range c.past.Gaps {
		if g.To.Before(c.past.First) || g.To.Before(r.Start) {
			continue
		}
		say("no data from %s to %s (%d instants), which is not counted", utc(g.From), utc(g.To),
			g.Instants)
	}
	r.noteSignals(c, say)
	if c.untraced > 0 {
		say("%d findings beyond the first %d have no plot", c.untraced, maxTraces)
	}
}

// noteSignals says which signals were not tested. Packs that a source does not have are no news.
func (r *BacktestReport) noteSignals(c *backtestCluster, say func(string, ...any)) {
	tested := 0
	for _, s := range c.past.Signals {
		switch {
		case s.State == promql.Off && !s.Absent, s.State == promql.OK && s.Reason != "":
			say("signal %s: %s", s.Signal, s.Reason)
		}
		if s.Values > 0 {
			tested++
		}
	}
	if tested == 0 {
		say("none of %d signals has a series: is the selector right, is there a pack for its metrics?",
			len(c.past.Signals))
	}
}

// spans divides the time of the test.
func (r *BacktestReport) spans(length time.Duration) []BacktestSpan {
	n := int(math.Ceil(float64(r.End.Sub(r.Start)) / float64(length)))
	out := make([]BacktestSpan, n)
	for i := range out {
		out[i].Start = r.Start.Add(time.Duration(i) * length)
		out[i].End = out[i].Start.Add(length)
	}
	if n > 0 {
		out[n-1].End = r.End
	}
	at := func(t time.Time) *BacktestSpan { return &out[min(int(t.Sub(r.Start)/length), n-1)] }
	for _, b := range r.Incidents {
		at(b.Opened).Incidents++
		if !b.Paged.IsZero() {
			at(b.Paged).Pages++
		}
	}
	return out
}

// judgeLabels finds out what became of each label, and which pages belong to none.
func (r *BacktestReport) judgeLabels() {
	if r.Labels == nil {
		return
	}
	observed := make(map[string]bool)
	for _, c := range r.Clusters {
		observed[c.Name] = c.Observed > 0
	}
	for i := range r.Labels {
		l := &r.Labels[i]
		l.Outside = !observed[l.Service.Cluster] || l.Start.Before(r.Start) || !l.Start.Before(r.End)
		l.match(r.Incidents)
	}
	for _, b := range r.Incidents {
		if !b.Paged.IsZero() && len(b.Labels) == 0 {
			r.Unlabelled++
		}
	}
}

// LabelSummary counts labels, and gives the delays of those that people were told of, the shortest
// first.
func (r *BacktestReport) LabelSummary() (tested, missed int, delays []time.Duration) {
	for i := range r.Labels {
		l := &r.Labels[i]
		switch {
		case l.Outside:
			continue
		case l.Missed():
			missed++
		default:
			delays = append(delays, l.Delay)
		}
		tested++
	}
	slices.Sort(delays)
	return tested, missed, delays
}

// median returns the middle of what is sorted.
func median(sorted []time.Duration) time.Duration { return sorted[(len(sorted)-1)/2] }

// utc prints a time.
func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span prints a duration by its two largest units.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	units := []struct {
		name string
		of   time.Duration
	}{{"d", aDay}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.of {
			continue
		}
		out := fmt.Sprintf("%d%s", d/u.of, u.name)
		if i+1 < len(units) {
			if rest := d % u.of / units[i+1].of; rest > 0 {
				out += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return out
	}
	return "0s"
}
