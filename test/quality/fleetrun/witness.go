package main

import (
	"time"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/detector"
	"tocsin/incident"
)

// most is the highest score whose rate is counted.
const most = 4

// tally counts the scores of one signal.
type tally struct {
	scores   int
	above    [most]int // 1, 2, 3 and 4.
	news     [most]int // The same of what was new.
	findings int
}

// witness listens to the detector, and has the incident manager, of one cluster. Only the goroutine
// of the shard that has the cluster calls it.
type witness struct {
	cluster   string
	from      time.Time // What is earlier is not judged.
	pages     incident.Severity
	incidents *incident.Manager
	tallies   map[string]*tally // By signal.
	faults    []*sighting       // Of this cluster.

	open   map[string]bool  // Findings, by ID.
	opened map[string]*page // Incidents, by ID.
}

// page is an incident that opened.
type page struct {
	told  bool // It was severe enough to tell people.
	fault bool // One of its findings began during a scripted fault.
}

func newWitness(
	cluster string, o *options, faults []sim.Fault, grouping incident.Options, pages incident.Severity,
) (*witness, error) {
	w := &witness{
		cluster: cluster,
		from:    start.Add(o.learning()), pages: pages, tallies: make(map[string]*tally),
		open: make(map[string]bool), opened: make(map[string]*page),
	}
	for _, signal := range columns[:o.signals] {
		w.tallies[signal] = new(tally)
	}
	for i := range faults {
		if matches(faults[i].Cluster, cluster) {
			w.faults = append(w.faults, newSighting(&faults[i], o.step))
		}
	}
	grouping.Report = w.incident
	var err error
	w.incidents, err = incident.New(grouping)
	return w, err
}

// scores implements detector.Options.Scores.
func (w *witness) scores(s *detector.Scores) {
	if s.At.Before(w.from) {
		return
	}
	t := w.tallies[s.Signal]
	for i, score := range s.Score {
		if score != score {
			continue
		}
		t.scores++
		for k := 0; k < most && score >= float32(k+1); k++ {
			t.above[k]++
		}
		for k := 0; k < most && s.News[i] >= float32(k+1); k++ {
			t.news[k]++
		}
	}
}

// find implements detector.Options.Report.
func (w *witness) find(f detector.Finding) {
	w.incidents.Find(f)
	known := w.open[f.ID]
	w.open[f.ID] = f.State == detector.Open
	if f.State != detector.Open {
		delete(w.open, f.ID)
	} else if !known && !f.At.Before(w.from) {
		w.tallies[f.Signal].findings++
	}
}

// instant comes after what was found at it.
func (w *witness) instant(at time.Time) {
	w.incidents.Advance(w.cluster, at)
}

// incident implements incident.Options.Report.
func (w *witness) incident(i incident.Incident) {
	if i.Opened.Before(w.from) {
		return
	}
	p := w.opened[i.ID]
	if p == nil {
		p = new(page)
		w.opened[i.ID] = p
	}
	p.told = p.told || i.Severity.AtLeast(w.pages)
	for _, s := range w.faults {
		p.fault = s.see(&i, p.told) || p.fault
	}
}
