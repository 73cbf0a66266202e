package action

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin/release"
)

// Report says what was done in a time, what would have been done, and how it ended anyway.
type Report struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Total Total     `json:"total"`
	Lines []Line    `json:"lines"` // By time.
}

// Total adds up a report.
type Total struct {
	Done      int `json:"done"`          // Written in the cluster.
	Recovered int `json:"recovered"`     // Of these, the service was well again.
	NoHelp    int `json:"no_help"`       // Of these, failed or did not help.
	Would     int `json:"would"`         // In observe: would have been done.
	ByPeople  int `json:"by_people"`     // Of these, people took the release back later.
	Unneeded  int `json:"unneeded"`      // Of these, the release went on to its end all the same.
	Refused   int `json:"refused"`       // Guards spoke against it to the end.
	Expired   int `json:"expired"`       // Nobody approved in time.
	Saved     int `json:"saved_minutes"` // Minutes of bad releases that would have been spared.
}

// Line is one action of a report.
type Line struct {
	Action  string        `json:"action"`
	Service string        `json:"service"`
	Images  []string      `json:"images,omitempty"`
	Kind    Kind          `json:"kind"`
	Mode    Mode          `json:"mode"`
	State   State         `json:"state"`
	At      time.Time     `json:"at"`            // When it was decided, else proposed.
	Seconds float64       `json:"after_seconds"` // Since the release began.
	Reason  string        `json:"reason"`        // Of the verdict.
	Why     string        `json:"why,omitempty"` // It is in that state.
	End     *ReleaseEnd   `json:"release_end,omitempty"`
	Saved   time.Duration `json:"saved_ns,omitempty"` // How long the release ran on after At.
}

// Weekly reports on actions that were proposed from a time on and before another one.
func (e *Engine) Weekly(from, to time.Time) Report {
	r := Report{From: from.UTC(), To: to.UTC(), Lines: []Line{}}
	for _, a := range e.Actions() {
		if a.Proposed.Before(from) || !a.Proposed.Before(to) {
			continue
		}
		r.add(&a)
	}
	slices.SortStableFunc(r.Lines, func(a, b Line) int { return a.At.Compare(b.At) })
	return r
}

func (r *Report) add(a *Action) {
	at := a.Proposed
	if !a.Decided.IsZero() {
		at = a.Decided
	}
	l := Line{
		Action: a.ID, Service: a.Service.String(), Images: a.Bad.Images, Kind: a.Kind, Mode: a.Mode,
		State: a.State, At: at, Seconds: at.Sub(a.Start).Seconds(), Reason: a.Verdict.Reason,
		Why: a.Reason, End: a.End,
	}
	t := &r.Total
	switch {
	case !a.Written.IsZero():
		t.Done++
		switch a.State {
		case Recovered:
			t.Recovered++
		case Failed, NotRecovered:
			t.NoHelp++
		}
	case a.State == Would:
		t.Would++
		l.Saved = a.spared()
		t.Saved += int(l.Saved.Minutes())
		switch {
		case a.End == nil || !a.Kind.undoes(): // A release counts once.
		case a.End.State == release.RolledBack:
			t.ByPeople++
		case a.End.State == release.Done:
			t.Unneeded++
		}
	case a.State == Refused:
		t.Refused++
	case a.State == Expired:
		t.Expired++
	}
	r.Lines = append(r.Lines, l)
}

// spared is how long a release that would have been taken back ran on until people did so, by an
// undo or by another release. Of one that went on to its end nobody knows whether it was bad.
func (a *Action) spared() time.Duration {
	if a.End == nil || !a.Kind.undoes() ||
		a.End.State != release.RolledBack && a.End.State != release.Superseded {
		return 0
	}
	return max(a.End.At.Sub(a.Decided), 0)
}

// String writes the report for people.
func (r Report) String() string {
	var b strings.Builder
	day := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }
	t := &r.Total
	fmt.Fprintf(&b, "Actions from %s to %s (UTC)\n\n", day(r.From), day(r.To))
	fmt.Fprintf(&b, "done %d (recovered %d, failed or no help %d); refused %d; not approved in time %d\n",
		t.Done, t.Recovered, t.NoHelp, t.Refused, t.Expired)
	fmt.Fprintf(&b, "would have been done %d (people took %d of them back later, %d went on to their end); "+
		"%d minutes would have been spared\n", t.Would, t.ByPeople, t.Unneeded, t.Saved)
	for _, l := range r.Lines {
		fmt.Fprintf(&b, "\n%s  %s\n", day(l.At), l.Service)
		if len(l.Images) > 0 {
			fmt.Fprintf(&b, "  release   %s\n", strings.Join(l.Images, ", "))
		}
		fmt.Fprintf(&b, "  verdict   %s\n", l.Reason)
		fmt.Fprintf(&b, "  action    %s in mode %s, %s after the release began: %s\n",
			l.Kind, l.Mode, time.Duration(l.Seconds*float64(time.Second)).Round(time.Second), l.State)
		if l.Why != "" && l.Why != l.Reason {
			fmt.Fprintf(&b, "            %s\n", l.Why)
		}
		if l.End != nil {
			fmt.Fprintf(&b, "  release   %s at %s\n", describe(*l.End), day(l.End.At))
		}
		if l.Saved > 0 {
			fmt.Fprintf(&b, "  spared    %s\n", l.Saved.Round(time.Minute))
		}
	}
	return b.String()
}
