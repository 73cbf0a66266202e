package main

import (
	"math"
	"strconv"
	"time"

	"tocsin/api"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

// listings returns the kinds of things that get knows.
func listings() []*listing {
	return []*listing{
		releasesListing(), actionsListing(), incidentsListing(), findingsListing(),
		servicesListing(), clustersListing(), pausesListing(),
	}
}

func incidentsListing() *listing {
	return &listing{
		name: "incidents", one: "incident", short: "What people should hear about once",
		filters: []string{"cluster", "namespace", "service", "state", "severity", "since"},
		columns: []string{"ID", "STATE", "SEVERITY", "SERVICE", "STARTED", "LASTED", "TITLE"},
		wide:    []string{"SERVICES", "FINDINGS", "ACKNOWLEDGED BY", "LIKELIEST CAUSE"},
		row: asRow(func(i *incident.Incident) row {
			t := incidentTone(i)
			cause := ""
			if len(i.Causes) > 0 {
				cause = i.Causes[0].Change.Summary
			}
			return row{i.ID, []string{
				i.ID, string(i.State), string(i.Severity), i.Service.String(), when(i.Start),
				lasted(i.Start, i.End), i.Title, strconv.Itoa(len(i.Services)),
				strconv.Itoa(len(i.Findings) + i.Omitted), i.AcknowledgedBy, cause,
			}, t}
		}),
	}
}

func incidentTone(i *incident.Incident) tone {
	switch {
	case i.State == incident.Resolved:
		return toneFaint
	case i.Severity == incident.Critical:
		return toneBad
	case i.Severity == incident.Warning:
		return toneDoubt
	}
	return tonePlain
}

func findingsListing() *listing {
	return &listing{
		name: "findings", one: "finding", short: "Stretches of time in which a signal was improbable",
		filters: []string{"cluster", "namespace", "service", "signal", "state", "since"},
		columns: []string{
			"ID", "STATE", "SERVICE", "SIGNAL", "STARTED", "LASTED", "OBSERVED", "EXPECTED",
		},
		wide: []string{"PEAK", "THRESHOLD", "HARMFUL", "REASON"},
		row: asRow(func(f *detector.Finding) row {
			t := tonePlain
			switch {
			case f.State == detector.Resolved:
				t = toneFaint
			case f.Harmful:
				t = toneDoubt
			}
			return row{f.ID, []string{
				f.ID, string(f.State), f.Service.String(), f.Signal, when(f.Start),
				lasted(f.Start, f.End), incident.Plain(f.Observed, f.Unit, f.Kind),
				incident.Plain(f.Expected, f.Unit, f.Kind), score(f.Peak), score(f.Threshold),
				yes(f.Harmful), f.Reason,
			}, t}
		}),
	}
}

func servicesListing() *listing {
	return &listing{
		name: "services", one: "service", short: "The services and how improbable they are now",
		filters: []string{"cluster", "namespace", "service", "signal", "state"},
		columns: []string{"SERVICE", "SCORE", "SIGNALS", "FINDINGS", "AT"},
		wide:    []string{"WARMING", "SILENT", "PAGES A WEEK", "OF"},
		row: asRow(func(s *detector.ServiceStatus) row {
			states := map[detector.SeriesState]int{}
			for _, x := range s.Signals {
				states[x.State]++
			}
			pages, of := "", ""
			if s.Budget != nil {
				pages, of = score(s.Budget.Achieved), score(s.Budget.Asked)
			}
			t := tonePlain
			if states[detector.Finds] > 0 {
				t = toneDoubt
			}
			name := s.Service.String()
			return row{name, []string{
				name, score(float64(s.Score)), strconv.Itoa(len(s.Signals)),
				strconv.Itoa(states[detector.Finds]), when(s.At),
				strconv.Itoa(states[detector.Warming]), strconv.Itoa(states[detector.Silent]),
				pages, of,
			}, t}
		}),
	}
}

func clustersListing() *listing {
	return &listing{
		name: "clusters", one: "cluster", short: "The clusters and how well each is known",
		filters: []string{"cluster"},
		columns: []string{"CLUSTER", "STATE", "NEWEST", "SERVICES", "FINDINGS", "INCIDENTS", "REASON"},
		wide:    []string{"SERIES", "WARM", "SILENT", "BACKFILL"},
		row: asRow(func(c *api.Cluster) row {
			state, t := "fresh", tonePlain
			switch {
			case c.Stale:
				state, t = "stale", toneDoubt
			case !c.Reachable:
				state, t = "unreachable", toneBad
			}
			return row{c.Name, []string{
				c.Name, state, when(c.Newest), strconv.Itoa(c.Services), strconv.Itoa(c.Findings),
				strconv.Itoa(c.Incidents), c.Reason, strconv.Itoa(c.Series), strconv.Itoa(c.Warm),
				strconv.Itoa(c.Silent), percent(c.Backfill),
			}, t}
		}),
	}
}

// lasted says how long something took. While it goes on there is no number, which would change
// with each look.
func lasted(start, end time.Time) string {
	if start.IsZero() {
		return ""
	}
	if end.IsZero() {
		return "goes on"
	}
	return incident.PlainDuration(end.Sub(start))
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// score writes a number for people; one that is none is left out.
func score(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

func percent(v float64) string { return strconv.FormatFloat(100*v, 'f', 0, 64) + "%" }

// subjectOf names a workload for people.
func subjectOf(s fleet.Service, kind fleet.Workload) string {
	if kind == "" {
		return s.String()
	}
	return s.String() + " (" + string(kind) + ")"
}
