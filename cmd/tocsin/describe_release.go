package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tocsin/api"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/release/evidence"
	"tocsin/remediation/action"
)

// releaseSheet is a release for people.
type releaseSheet struct{ api.ReleaseDetail }

func (r *releaseSheet) describe(s *sheet) {
	x, v := &r.Release, &r.Verdict
	s.fact("Release", x.ID)
	s.fact("Service", subjectOf(x.Service, x.Workload))
	s.fact("Released", released(x.Old, x.New)+by(x.Author))
	s.fact("State", r.state())
	s.toned(releaseTone(x), "Verdict", r.verdict())
	s.fact("Because", v.Reason)
	if r.Decided != nil && v.Result != release.Regressed {
		s.fact("But", "it was called regressed before: "+r.Decided.Reason)
	}
	s.fact("Rests on", r.basis())
	s.fact("Missing", lacking(v))
	if r.Pooled != nil {
		s.fact("Together", fmt.Sprintf("%s in %d clusters (%s): %s", r.Pooled.Result,
			len(r.Clusters), strings.Join(r.Clusters, ", "), r.Pooled.Reason))
	}
	s.timeline(x.Start, r.moments())
	title := "Evidence, new pods against old ones"
	if r.Basis == release.ByService {
		title = "Evidence, after against before"
	}
	s.table(title, evidenceColumns, evidenceRows(v.Metrics))
	s.table("What Kubernetes tells of new pods", []string{"WHAT", "FIRST", "LAST", "PODS", "MESSAGE"},
		factRows(x.Facts))
	r.smallest(s)
	s.table("Revisions of the workload",
		[]string{"REVISION", "STANDING", "RELEASED", "SINCE", "BY"}, r.revisions())
	s.table("Actions", actionsListing().columns, actionRows(r.Actions))
	r.next(s)
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return ", by " + who
}

func (r *releaseSheet) state() string {
	x := &r.Release
	text := string(x.State)
	if p := x.Seen; p != nil && x.State.Running() {
		text += fmt.Sprintf(", %d of %d pods are new, %d of them available",
			p.New.Created, max(p.Desired, p.New.Created), p.New.Available)
	}
	if x.Paused && x.State.Running() {
		text += ", paused"
	}
	return text + reason(x.Reason) + by(x.EndedBy)
}

// reason puts why something is so behind what is so.
func reason(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func (r *releaseSheet) verdict() string {
	v := &r.Verdict
	text := v.Result.String()
	if v.Tier > release.Watch {
		text += fmt.Sprintf(" (evidence for: %s)", v.Tier)
	}
	if v.Elapsed > 0 {
		text += ", " + incident.PlainDuration(v.Elapsed) + " after the first new pod"
	}
	if e := eValue(v.EValue); e != "" && r.Basis != release.ByFacts {
		text += ", e-value " + e
		if r.Bound > 0 {
			text += " of " + eValue(r.Bound) + " that a regression takes"
		}
	}
	if r.AcceptedBy != "" {
		text += "; accepted by " + r.AcceptedBy
	}
	return text
}

func (r *releaseSheet) basis() string {
	text := map[release.Basis]string{
		release.ByPods:     fmt.Sprintf("%d new pods against %d old ones", r.NewPods, r.OldPods),
		release.ByService:  "the service as a whole, before and after: its samples name no pods",
		release.ByClusters: "the same release in several clusters together",
		release.ByFacts:    "what Kubernetes tells of new pods",
	}[r.Basis]
	if text == "" {
		return ""
	}
	if !r.DataAt.IsZero() {
		text += ", data until " + when(r.DataAt)
	}
	return fmt.Sprintf("%s, %d looks", text, r.Looks)
}

// lacking says what a verdict still needs.
func lacking(v *release.Verdict) string {
	if v.Result != release.Inconclusive {
		return ""
	}
	var parts []string
	if n := v.Missing.Requests; n > 0 {
		parts = append(parts, fmt.Sprintf("about %.0f more requests of new pods", n))
	}
	if d := v.Missing.Time; d > 0 {
		parts = append(parts, "about "+incident.PlainDuration(d))
	}
	return strings.Join(parts, ", or ")
}

// moments returns what happened to the release, and what was done about it.
func (r *releaseSheet) moments() []moment {
	out := []moment{{r.Release.FirstPod, "the first new pod starts", tonePlain}}
	if len(r.Steps) == 0 || r.Steps[0].From != "" || r.Steps[0].To == "" {
		out = append(out, moment{r.Release.Start, "the release begins" + by(r.Release.Author), tonePlain})
	}
	for i := range r.Steps {
		out = append(out, r.moment(&r.Steps[i]))
	}
	for i := range r.Actions {
		out = append(out, steps(&r.Actions[i])...)
	}
	return out
}

// moment says in words what the journal has of the release.
func (r *releaseSheet) moment(step *api.ReleaseStep) moment {
	switch v := step.Verdict; {
	case step.Fact != "":
		of := ""
		for _, f := range r.Release.Facts {
			if f.Kind == step.Fact {
				of = " of " + pods(f.Pods)
			}
		}
		return moment{step.At, string(step.Fact) + of, toneDoubt}
	case v != nil:
		t := map[release.Result]tone{release.Healthy: toneGood, release.Regressed: toneBad}[v.Result]
		what := "judged " + v.Result.String()
		if v.Tier > release.Watch {
			what += " (" + v.Tier.String() + ")"
		}
		return moment{step.At, what + reason(step.Reason), t}
	case step.From == "":
		return moment{step.At, "the release begins" + by(step.By), tonePlain}
	}
	return moment{step.At, "now " + string(step.To) + reason(step.Reason) + by(step.By), tonePlain}
}

// pods names some pods for people.
func pods(names []string) string {
	switch len(names) {
	case 0:
		return "the workload"
	case 1:
		return names[0]
	}
	return fmt.Sprintf("%s and %d more pods", names[0], len(names)-1)
}

var evidenceColumns = []string{
	"METRIC", "EFFECT", "95% INTERVAL", "E-VALUE", "NEW / OLD", "EVENTS", "USUAL", "MATTERS",
}

func evidenceRows(findings []evidence.Finding) []row {
	rows := make([]row, 0, len(findings))
	for _, f := range findings {
		effect := incident.PlainEffect(f.Name, f.Effect)
		interval := incident.PlainInterval(f.Name, f.Lower, f.Upper)
		if interval == "" {
			effect = "" // Of what cannot be compared, nothing is known.
		}
		t := tonePlain
		if f.Material && f.LogE > math.Log(100) {
			t = toneBad
		}
		rows = append(rows, row{cells: []string{
			incident.PlainMetric(f.Name), effect, interval, eValue(math.Exp(math.Min(f.LogE, 690))),
			versus(f.New, f.Old), versus(f.NewEvents, f.OldEvents), "±" + percent(f.Usual),
			yes(f.Material),
		}, tone: t})
	}
	return rows
}

// versus writes what a metric rests on, of new pods and of old ones.
func versus(newer, older float64) string {
	if newer == 0 && older == 0 {
		return ""
	}
	return amount(newer) + " / " + amount(older)
}

// amount writes a count for people.
func amount(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "?"
	case v >= 1e6:
		return fmt.Sprintf("%.3g", v)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

func factRows(facts []release.Fact) []row {
	rows := make([]row, 0, len(facts))
	for _, f := range facts {
		rows = append(rows, row{cells: []string{
			string(f.Kind), when(f.First), when(f.Last), pods(f.Pods), f.Message,
		}, tone: toneDoubt})
	}
	return rows
}

// smallest writes what the release could show at all.
func (r *releaseSheet) smallest(s *sheet) {
	if r.Smallest == nil {
		return
	}
	rows := make([]row, 0, len(r.Smallest.Effects))
	for _, e := range r.Smallest.Effects {
		effect := "nothing would show"
		if e.Visible {
			effect = incident.PlainEffect(e.Metric, e.Effect)
		}
		rows = append(rows, row{cells: []string{incident.PlainMetric(e.Metric), effect}})
	}
	title := "Smallest effects that such a release can show within " +
		incident.PlainDuration(r.Smallest.Within)
	s.table(title, []string{"METRIC", "EFFECT"}, rows)
}

func (r *releaseSheet) revisions() []row {
	rows := make([]row, 0, len(r.Ledger))
	for _, k := range r.Ledger {
		hash := k.Hash
		switch k.Hash {
		case r.Release.New.Hash:
			hash += " (new)"
		case r.Release.Old.Hash:
			hash += " (old)"
		}
		t := tonePlain
		if k.Standing == release.Bad {
			t = toneDoubt
		}
		who := k.By
		if who == "" && k.Release != "" {
			who = "release " + k.Release
		}
		rows = append(rows, row{
			cells: []string{hash, string(k.Standing), when(k.Last), when(k.At), who}, tone: t,
		})
	}
	return rows
}

func actionRows(actions []action.Action) []row {
	rows := make([]row, 0, len(actions))
	for _, a := range actions {
		rows = append(rows, row{cells: []string{
			a.ID, string(a.State), string(a.Kind), string(a.Mode), a.Service.String(),
			when(a.Proposed), a.Reason,
		}, tone: actionTone(a.State)})
	}
	return rows
}

// next says what people can do.
func (r *releaseSheet) next(s *sheet) {
	var all []choice
	for i := range r.Actions {
		all = append(all, choicesOf(&r.Actions[i], time.Now())...)
	}
	mark := "tocsin mark " + r.Release.ID + " "
	switch {
	case r.Release.Result != release.Regressed:
		all = append(all, choice{mark + "regressed", "if it is bad all the same"})
	case r.AcceptedBy == "":
		all = append(all, choice{mark + "accepted", "if it is good all the same"})
	}
	s.choices(all)
}
