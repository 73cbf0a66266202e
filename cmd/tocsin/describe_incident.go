package main

import (
	"fmt"
	"strings"

	"tocsin/incident"
)

// incidentSheet is an incident for people.
type incidentSheet struct{ incident.Incident }

func (i *incidentSheet) describe(s *sheet) {
	s.fact("Incident", i.ID)
	s.toned(incidentTone(&i.Incident), "What", i.Title)
	s.fact("State", i.state())
	s.fact("Began", when(i.Start)+", "+lasted(i.Start, i.End))
	names := make([]string, len(i.Services))
	for n, service := range i.Services {
		names[n] = service.String()
	}
	s.fact("Services", strings.Join(names, ", "))
	s.fact("Elsewhere", i.Peers.String())
	i.release(s)
	s.timeline(i.Start, i.moments())
	s.table("Effects", []string{"SERVICE", "SIGNAL", "OBSERVED", "EXPECTED", "DIFFERENCE", "OPEN"},
		effectRows(i.Effects))
	s.table("What changed before, likeliest first",
		[]string{"AT", "SERVICE", "WHAT", "BY", "WHY", "SCORE"}, causeRows(i.Causes))
	i.next(s)
}

func (i *incidentSheet) state() string {
	text := fmt.Sprintf("%s, %s%s", i.State, i.Severity, reason(i.Reason))
	if i.AcknowledgedBy != "" {
		text += "; acknowledged by " + i.AcknowledgedBy
	}
	if i.ResolvedBy != "" {
		text += "; resolved by " + i.ResolvedBy
	}
	return text
}

// release writes the bad release that the incident is about.
func (i *incidentSheet) release(s *sheet) {
	r := i.Release
	if r == nil {
		return
	}
	s.toned(toneBad, "Release", fmt.Sprintf("%s %s of %s%s (tocsin describe release %s)",
		r.Name, r.State, subjectOf(r.Service, r.Workload), by(r.Author), r.ID))
	s.fact("Images", r.Images)
	if r.Effect != "" {
		interval := ""
		if r.Interval != "" {
			interval = ", 95% interval " + r.Interval
		}
		s.fact("Evidence", fmt.Sprintf("%s%s, %s after the first new pod (%s); %s",
			r.Effect, interval, incident.PlainDuration(r.After), r.Tier, r.Chance))
	}
	s.fact("Kubernetes", strings.Join(r.Facts, "; "))
	s.fact("Withdrawn", r.Withdrawn)
}

func (i *incidentSheet) moments() []moment {
	out := []moment{
		{i.Start, "the first improbable value", tonePlain},
		{i.Opened, "people are told", tonePlain},
		{i.AcknowledgedAt, "acknowledged" + by(i.AcknowledgedBy), tonePlain},
		{i.End, "over" + reason(i.Reason) + by(i.ResolvedBy), toneGood},
	}
	for _, c := range i.Causes {
		what := c.Change.Service.Name + ": " + c.Change.Summary + by(c.Change.Author)
		out = append(out, moment{c.Change.At, what, toneFaint})
	}
	for _, a := range i.Acts {
		text := a.Text
		if text == "" {
			text = fmt.Sprintf("%s is %s", a.Kind, a.State)
		}
		out = append(out, moment{a.At, text + by(a.By), tonePlain})
	}
	return out
}

func effectRows(effects []incident.Effect) []row {
	rows := make([]row, 0, len(effects))
	for _, e := range effects {
		t := toneFaint
		if e.Open && e.Harmful {
			t = toneDoubt
		} else if e.Open {
			t = tonePlain
		}
		rows = append(rows, row{cells: []string{
			e.Service.String(), e.Signal, e.Observed, e.Expected, e.Difference, yes(e.Open),
		}, tone: t})
	}
	return rows
}

func causeRows(causes []incident.Cause) []row {
	rows := make([]row, 0, len(causes))
	for _, c := range causes {
		rows = append(rows, row{cells: []string{
			when(c.Change.At), c.Change.Service.String(), c.Change.Summary, c.Change.Author, c.Why,
			fmt.Sprintf("%.2f", c.Score),
		}})
	}
	return rows
}

func (i *incidentSheet) next(s *sheet) {
	var all []choice
	for _, a := range i.Acts {
		if !a.Final {
			all = append(all, choice{
				"tocsin describe action " + a.ID, "says what is in the way, and what is next",
			})
		}
	}
	if i.State == incident.Open {
		all = append(all, choice{
			"tocsin acknowledge " + i.ID, "says that you look after it; reminders end",
		})
	}
	if len(i.Findings) > 0 {
		all = append(all, choice{
			"tocsin feedback useful|not-useful|expected " + i.ID, "says what you think of it",
		})
	}
	s.choices(all)
}
