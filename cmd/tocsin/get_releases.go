package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/remediation/action"
)

func releasesListing() *listing {
	return &listing{
		name: "releases", one: "release", short: "Rollouts and how they are judged",
		filters: []string{"cluster", "namespace", "service", "state", "result", "since"},
		columns: []string{"ID", "STATE", "VERDICT", "SERVICE", "RELEASED", "STARTED", "EFFECT"},
		wide:    []string{"WORKLOAD", "BY", "E-VALUE", "TIER", "LOOKS", "DATA", "WHY"},
		row: asRow(func(r *release.Record) row {
			x, v := &r.Release, r.Verdict
			if r.Decided != nil && v.Result != release.Regressed {
				v = *r.Decided
			}
			return row{x.ID, []string{
				x.ID, string(x.State), x.Result.String(), x.Service.String(), released(x.Old, x.New),
				when(x.Start), effectOf(&v), string(x.Workload), x.Author, eValue(v.EValue),
				v.Tier.String(), strconv.Itoa(r.Looks), when(r.DataAt), v.Reason,
			}, releaseTone(x)}
		}),
	}
}

func releaseTone(r *release.Release) tone {
	switch {
	case r.Result == release.Regressed && r.State.Running():
		return toneBad
	case r.Result == release.Regressed || r.State == release.Stalled:
		return toneDoubt
	case !r.State.Running():
		return toneFaint
	case r.Result == release.Healthy:
		return toneGood
	}
	return tonePlain
}

// released says what a release changes, without the registries of images.
func released(before, after fleet.Revision) string {
	return incident.PlainRevisions(short(before), short(after))
}

// short leaves out where images come from.
func short(r fleet.Revision) fleet.Revision {
	r.Images = slices.Clone(r.Images)
	for i, image := range r.Images {
		r.Images[i] = image[strings.LastIndexByte(image, '/')+1:]
	}
	return r
}

// effectOf says in a few words what weighs most in a verdict.
func effectOf(v *release.Verdict) string {
	name := incident.PlainMetric(v.Metric)
	switch {
	case v.Metric == "" || incident.PlainInterval(v.Metric, v.Lower, v.Upper) == "":
		return "" // Nothing is known yet.
	case v.Effect == 0 && v.Lower == 0 && v.Upper == 0:
		return name // What Kubernetes tells has no size.
	}
	return strings.TrimSpace(name + " " + incident.PlainEffect(v.Metric, v.Effect))
}

// eValue writes an e-value for people; of what Kubernetes tells there is none.
func eValue(v float64) string {
	switch {
	case v == 0 || math.IsNaN(v):
		return ""
	case v >= 1e6:
		return fmt.Sprintf("%.2g", v)
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func actionsListing() *listing {
	return &listing{
		name: "actions", one: "action", short: "What is done about bad releases, or would be",
		filters: []string{"cluster", "namespace", "service", "state", "kind", "since"},
		columns: []string{"ID", "STATE", "KIND", "MODE", "SERVICE", "PROPOSED", "REASON"},
		wide:    []string{"FROM", "TO", "APPROVED BY", "DEADLINE", "RELEASE"},
		row: asRow(func(a *action.Action) row {
			return row{a.ID, []string{
				a.ID, string(a.State), string(a.Kind), string(a.Mode), a.Service.String(),
				when(a.Proposed), a.Reason, revision(a.Bad), revision(a.Good), a.Approver,
				when(a.Deadline), a.Release,
			}, actionTone(a.State)}
		}),
	}
}

func actionTone(s action.State) tone {
	switch s {
	case action.Waiting, action.Refused:
		return toneDoubt
	case action.Failed, action.NotRecovered:
		return toneBad
	case action.Running, action.Done, action.Verified, action.Recovered:
		return toneGood
	case action.Superseded, action.Expired, action.Aborted:
		return toneFaint
	}
	return tonePlain
}

// revision names a revision for people.
func revision(r fleet.Revision) string {
	if len(r.Images) > 0 {
		return strings.Join(short(r).Images, ", ")
	}
	return r.Hash
}

func pausesListing() *listing {
	return &listing{
		name: "pauses", one: "pause", short: "What keeps anything from being done about releases",
		columns: []string{"ID", "STATE", "SCOPE", "SINCE", "UNTIL", "BY", "WHY"},
		wide:    []string{"CAUSE", "LIFTED BY"},
		row: asRow(func(p *action.Pause) row {
			state, t := pauseState(p, time.Now())
			return row{p.ID, []string{
				p.ID, state, p.Scope.String(), when(p.At), until(p.Until), p.By, p.Why,
				string(p.Cause), p.LiftedBy,
			}, t}
		}),
	}
}

// pauseState says whether a pause is in force.
func pauseState(p *action.Pause, now time.Time) (string, tone) {
	switch {
	case !p.Lifted.IsZero():
		return "lifted", toneFaint
	case !p.Until.IsZero() && !now.Before(p.Until):
		return "over", toneFaint
	}
	return "in force", toneDoubt
}

// until says when something ends that may last until people end it.
func until(t time.Time) string {
	if t.IsZero() {
		return "resumed"
	}
	return when(t)
}
