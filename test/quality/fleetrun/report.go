package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"tocsin/detector"
)

// result is what a run has shown.
type result struct {
	options    options
	days       int // That were played.
	wall, cpu  time.Duration
	generation float64 // Nanoseconds of a processor for a value.
	peakMemory int     // Resident bytes.
	heap       int     // Bytes that live there at the end.
	models     int     // Bytes of models.

	restMemory, restHeap int // What of it was the simulated fleet, before the first day.

	calm, troubled part // Clusters without and with scripted faults.
	signals        map[string]*tally
	faults         []*sighting // That had begun.
	status         detector.BudgetStatus
}

// part sums up some of the clusters, from the end of the time of learning.
type part struct {
	clusters, findings, incidents, pages int
	byFault                              int // Pages that have to do with a scripted fault.
}

// report adds up what the witnesses have seen.
func (e *ensemble) report(r *result) error {
	r.signals = make(map[string]*tally)
	end := start.Add(time.Duration(r.days) * aDay)
	for _, p := range e.players {
		w := e.witnesses[p.cluster]
		sum := &r.calm
		if len(w.faults) > 0 {
			sum = &r.troubled
		}
		sum.add(w)
		for _, s := range w.faults {
			if s.start.Before(end) {
				r.faults = append(r.faults, s)
			}
		}
		if len(w.faults) == 0 {
			r.add(w)
		}
	}
	status, err := e.engine.Status(context.Background())
	if err != nil {
		return fmt.Errorf("ask what the budget came to: %w", err)
	}
	var thresholds []float64
	for _, c := range status.Clusters {
		r.status.Asked += c.Budget.Asked
		r.status.Achieved += c.Budget.Achieved
		r.status.Overspent += c.Budget.Overspent
		thresholds = append(thresholds, c.Budget.Threshold)
	}
	slices.Sort(thresholds)
	if n := len(thresholds); n > 0 {
		r.status.Threshold = thresholds[n/2]
	}
	return nil
}

func (p *part) add(w *witness) {
	p.clusters++
	for _, t := range w.tallies {
		p.findings += t.findings
	}
	p.incidents += len(w.opened)
	for _, page := range w.opened {
		if page.told {
			p.pages++
			if page.fault {
				p.byFault++
			}
		}
	}
}

// add takes the scores of a cluster without faults.
func (r *result) add(w *witness) {
	for signal, t := range w.tallies {
		sum := r.signals[signal]
		if sum == nil {
			sum = new(tally)
			r.signals[signal] = sum
		}
		sum.add(t)
	}
}

func (t *tally) add(other *tally) {
	t.scores += other.scores
	t.findings += other.findings
	for k := range most {
		t.above[k] += other.above[k]
		t.news[k] += other.news[k]
	}
}

// weekly returns how many of n there were in a week of what was judged.
func (r *result) weekly(n int) float64 {
	judged := time.Duration(r.days)*aDay - r.options.learning()
	return ratio(float64(n), float64(max(judged, 0))/float64(7*aDay))
}

// ratio is 0 where there is nothing to divide by.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// write prints the tables, in Markdown.
func (r *result) write(w io.Writer) error {
	var b bytes.Buffer
	r.writeCost(&b)
	r.writePages(&b)
	r.writeCalibration(&b)
	r.writeFaults(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *result) writeCost(w io.Writer) {
	o := &r.options
	count := o.clusters * o.services * o.signals
	values := float64(count) * float64(time.Duration(r.days)*aDay/o.step)
	all := ratio(float64(r.cpu), values)
	const mega = 1e6
	fmt.Fprintf(w,
		"%d clusters x %d services x %d signals, %d days every %v, %g pages a week per %s:\n\n",
		o.clusters, o.services, o.signals, r.days, o.step, o.budget, o.per)
	header(w, "what it costs", "")
	row(w, "values", "%.4g million", values/mega)
	row(w, "wall time", "%v", r.wall.Round(time.Second/10))
	row(w, "CPU time", "%v", r.cpu.Round(time.Second/10))
	row(w, "CPU for a value: simulated, and from batch to incident", "%.0f ns + %.0f ns", r.generation,
		max(0, all-r.generation))
	row(w, "peak resident memory", "%.0f MB, %.0f MB of it the simulated fleet",
		float64(r.peakMemory)/mega, float64(r.restMemory)/mega)
	row(w, "for a series: model, the rest of what lives, garbage at the peak",
		"%.0f + %.0f + %.0f bytes", float64(r.models)/float64(count),
		float64(r.heap-r.restHeap)/float64(count), float64(max(0,
			r.peakMemory-r.restMemory-r.models-r.heap+r.restHeap))/float64(count))
}

func (r *result) writePages(w io.Writer) {
	fmt.Fprintf(w, "\nAfter %v of learning, in a week of those left:\n\n", r.options.learning())
	header(w, "", "clusters without faults", "with scripted faults")
	parts := []*part{&r.calm, &r.troubled}
	line := func(name string, value func(*part) float64) {
		fmt.Fprintf(w, "| %s |", name)
		for _, p := range parts {
			fmt.Fprintf(w, " %.4g |", value(p))
		}
		fmt.Fprintln(w)
	}
	line("clusters", func(p *part) float64 { return float64(p.clusters) })
	line("findings", func(p *part) float64 { return r.weekly(p.findings) })
	line("incidents", func(p *part) float64 { return r.weekly(p.incidents) })
	line("pages: incidents that people are told of", func(p *part) float64 {
		return r.weekly(p.pages)
	})
	line("pages that have to do with a fault", func(p *part) float64 { return r.weekly(p.byFault) })
	line("pages for a service", func(p *part) float64 {
		return ratio(r.weekly(p.pages), float64(p.clusters*r.options.services))
	})
	fmt.Fprintf(w, "\nThe budget of all units comes to %.4g pages a week; the detector counts %.4g; "+
		"%d units cost more\nthan twice what they may; median threshold %.2f.\n",
		r.status.Asked, r.status.Achieved, r.status.Overspent, r.status.Threshold)
}

func (r *result) writeCalibration(w io.Writer) {
	fmt.Fprint(w, "\nShare of scores of at least 1, 2, 3 and 4 times 10, 100, 1000 and 10000, "+
		"in clusters without\nfaults:\n\n")
	header(w, "signal", "what was new", "all", "findings a week for 1000 series")
	total := new(tally)
	for _, signal := range columns[:r.options.signals] {
		if t := r.signals[signal]; t != nil {
			total.add(t)
			r.writeTally(w, signal, t, 1)
		}
	}
	r.writeTally(w, "all", total, r.options.signals)
}

func (r *result) writeTally(w io.Writer, name string, t *tally, signals int) {
	ratios := func(above [most]int) string {
		out := ""
		for k, n := range above {
			out += fmt.Sprintf(" %.2f", ratio(float64(n), float64(t.scores))*math.Pow10(k+1))
		}
		return out[1:]
	}
	of := float64(r.calm.clusters * r.options.services * signals)
	row(w, name, "%s | %s | %.3g", ratios(t.news), ratios(t.above),
		1000*ratio(r.weekly(t.findings), of))
}

func (r *result) writeFaults(w io.Writer) {
	if len(r.faults) == 0 {
		return
	}
	fmt.Fprint(w, "\nFaults, by when the service where they are was part of an incident:\n\n")
	header(w, "fault", "how many", "found", "people told", "delay of half", "of nine in ten")
	var names []string
	by := make(map[string][]*sighting)
	for _, s := range r.faults {
		if by[s.name()] == nil {
			names = append(names, s.name())
		}
		by[s.name()] = append(by[s.name()], s)
	}
	for _, name := range names {
		writeSightings(w, name, by[name])
	}
	writeSightings(w, "all", r.faults)
}

func writeSightings(w io.Writer, name string, of []*sighting) {
	var delays []time.Duration
	told := 0
	for _, s := range of {
		if s.noticed > 0 {
			delays = append(delays, s.noticed)
		}
		if s.told > 0 {
			told++
		}
	}
	half, most := "", ""
	if n := len(delays); n > 0 {
		slices.Sort(delays)
		half, most = delays[(n-1)/2].String(), delays[(9*n-1)/10].String()
	}
	row(w, name, "%d | %d | %d | %s | %s", len(of), len(delays), told, half, most)
}

// header begins a table.
func header(w io.Writer, columns ...string) {
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

// row prints a row of a table: its name, and what follows.
func row(w io.Writer, first, format string, args ...any) {
	fmt.Fprintf(w, "| %s | %s |\n", first, fmt.Sprintf(format, args...))
}
