package main

import (
	"fmt"
	"strings"
	"time"

	"tocsin/incident"
	"tocsin/remediation/action"
)

// actionSheet is an action for people.
type actionSheet struct{ action.Action }

func (a *actionSheet) describe(s *sheet) {
	s.fact("Action", a.ID)
	s.fact("Service", subjectOf(a.Service, a.Workload))
	s.fact("Release", a.Release+", begun "+when(a.Start))
	s.fact("What", a.what())
	s.toned(actionTone(a.State), "State", string(a.State)+reason(a.Reason))
	v := &a.Verdict
	s.fact("Evidence", fmt.Sprintf("%s (%s)%s", v.Result, v.Tier, reason(v.Reason)))
	if m := a.Memory; m != nil {
		s.fact("Known bad", fmt.Sprintf("in %s since %s%s", m.Cluster, when(m.At), reason(m.Reason)))
	}
	s.fact("Approved", approval(&a.Action))
	if o := a.Outcome; o != nil {
		s.fact("Outcome", fmt.Sprintf("%s after %s%s%s",
			o.Result, incident.PlainDuration(o.Took), reason(o.Reason), by(o.By)))
	}
	if h := a.Hold; h != nil {
		s.fact("Suspended", fmt.Sprintf("%s until %s", h.Owner.String(), when(h.Until)))
	}
	if e := a.End; e != nil {
		s.fact("Release is", string(e.State)+" since "+when(e.At)+by(e.By)+reason(e.Reason))
	}
	s.table("Guards, in their order", []string{"GUARD", "SAYS", "WHY", "NEXT"}, guardRows(a.Guards))
	if a.Effect != nil {
		a.effect(s)
	}
	s.timeline(a.Start, append(steps(&a.Action), moment{a.Start, "the release begins", tonePlain}))
	s.choices(choicesOf(&a.Action, time.Now()))
}

func (a *actionSheet) what() string {
	text := fmt.Sprintf("%s, mode %s", a.Kind, a.Mode)
	if from, to := revision(a.Bad), revision(a.Good); from != "" && to != "" {
		text += ": " + from + " -> " + to
	}
	if a.Team != "" {
		text += ", team " + a.Team
	}
	if a.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", a.Attempt)
	}
	return text
}

func approval(a *action.Action) string {
	switch {
	case a.Approver != "":
		return "by " + a.Approver + " at " + when(a.Approved)
	case a.State == action.Waiting:
		return "not yet; can be until " + when(a.Deadline)
	}
	return ""
}

func guardRows(guards []action.Guard) []row {
	rows := make([]row, 0, len(guards))
	for _, g := range guards {
		says, t := "pass", tonePlain
		switch {
		case !g.Passed && g.Final:
			says, t = "NO", toneBad
		case !g.Passed:
			says, t = "not yet", toneDoubt
		}
		rows = append(rows, row{cells: []string{g.Name, says, g.Reason, g.Next}, tone: t})
	}
	return rows
}

// effect writes what was done to the cluster.
func (a *actionSheet) effect(s *sheet) {
	e := a.Effect
	if !a.Tried {
		s.section("What would be written")
	} else {
		s.section("What was written")
		s.note(fmt.Sprintf("%s, after %d tries", e.State, e.Attempts))
	}
	for _, w := range e.Writes {
		s.note(w)
	}
	for _, w := range e.Warnings {
		s.note("warning: " + w)
	}
	if e.Drift {
		s.note("it differs from " + e.Owner.String() + " now")
	}
}

// steps returns what happened to an action.
func steps(a *action.Action) []moment {
	out := make([]moment, 0, len(a.Steps))
	for _, step := range a.Steps {
		out = append(out, moment{step.At, string(a.Kind) + ": " + step.What, tonePlain})
	}
	return out
}

// choicesOf says what people can do about an action now.
func choicesOf(a *action.Action, now time.Time) []choice {
	approve, abort, retry := "tocsin approve "+a.ID, "tocsin abort "+a.ID, "tocsin retry "+a.ID
	switch a.State {
	case action.Waiting:
		left := incident.PlainDuration(a.Deadline.Sub(now))
		return []choice{
			{approve, "lets it go on, for the next " + left}, {abort, "calls it off"},
		}
	case action.Proposed, action.Running:
		return []choice{{abort, "calls it off, unless it has been written"}}
	case action.Refused:
		return append(remedies(a), choice{retry, "has it judged once more"})
	case action.Expired, action.Failed, action.Aborted:
		return []choice{{retry, "has it judged once more, if nothing was written"}}
	case action.NotRecovered:
		return []choice{{"", "look into it: tocsin does not try again"}}
	case action.Would:
		return []choice{{"tocsin report", "sums up what would have been done; the mode is observe"}}
	}
	return nil
}

// remedies says what people can do about what guards say.
func remedies(a *action.Action) []choice {
	var out []choice
	for _, g := range a.Guards {
		if !g.Passed && g.Next != "" && !strings.HasPrefix(g.Next, "tocsin retry ") {
			out = append(out, choice{"", g.Next})
		}
	}
	return out
}
