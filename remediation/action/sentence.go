package action

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// mostSentence bounds what people are told in one line.
const mostSentence = 300

// Sentence says in one line for people what is, was or would be done.
func (a *Action) Sentence() string {
	return clip(a.sentence(), mostSentence)
}

func (a *Action) sentence() string {
	switch a.State {
	case Would:
		return fmt.Sprintf("Would have %s at %s (mode observe): %s", a.past(), clock(a.Decided),
			a.Verdict.Reason)
	case Waiting:
		return fmt.Sprintf("Asks for approval to %s: tocsin approve %s (expires %s)", a.verb(), a.ID,
			clock(a.Deadline))
	case Proposed:
		return fmt.Sprintf("Considers to %s: %s", a.verb(), a.Reason)
	case Refused:
		return fmt.Sprintf("Does not %s: %s%s", a.verb(), a.Reason, a.remedy())
	case Running:
		return fmt.Sprintf("Is about to %s: %s", a.verb(), a.Reason)
	case Done:
		return fmt.Sprintf("Has %s at %s; watches the rollout", a.past(), clock(a.Written))
	case Verified:
		if !a.Kind.undoes() {
			return fmt.Sprintf("Has %s at %s: the old pods serve; a person decides", a.past(), clock(a.Written))
		}
		return fmt.Sprintf("Has %s at %s (rolled out %s later); watches whether it helps", a.past(),
			clock(a.Written), between(a.Written, a.Rolled))
	case Recovered:
		if !a.Kind.undoes() {
			return fmt.Sprintf("Had %s at %s; %s", a.past(), clock(a.Written), a.Reason)
		}
		return fmt.Sprintf("Has %s at %s (rolled out %s later); the service is well again", a.past(),
			clock(a.Written), between(a.Written, a.Rolled))
	case NotRecovered, Failed:
		if a.Written.IsZero() {
			return fmt.Sprintf("Could not %s: %s", a.verb(), a.Reason)
		}
		return fmt.Sprintf("Has %s at %s, and people must look: %s", a.past(), clock(a.Written), a.Reason)
	case Superseded:
		if !a.Written.IsZero() {
			return fmt.Sprintf("Has %s at %s; then %s", a.past(), clock(a.Written), a.Reason)
		}
	case Expired:
		return fmt.Sprintf("Did not %s: %s (tocsin retry %s)", a.verb(), a.Reason, a.ID)
	}
	return fmt.Sprintf("Did not %s: %s", a.verb(), a.Reason)
}

// verb says what is to be done.
func (a *Action) verb() string {
	switch a.Kind {
	case KindPause:
		return "pause the rollout"
	case KindWebhook:
		return "have the release reverted by webhook"
	}
	return "roll back to " + a.target()
}

// past says what was done.
func (a *Action) past() string {
	switch a.Kind {
	case KindPause:
		return "paused the rollout"
	case KindWebhook:
		return "had the release reverted by webhook"
	}
	return "rolled back to " + a.target()
}

// target names the good revision as people know it: by the images that differ, without what they
// have in common.
func (a *Action) target() string {
	var names []string
	for i, image := range a.Good.Images {
		if i < len(a.Bad.Images) && a.Bad.Images[i] == image {
			continue
		}
		name := image[strings.LastIndexByte(image, '/')+1:]
		if tag := strings.LastIndexByte(name, ':'); tag >= 0 && len(a.Good.Images) == 1 {
			name = name[tag+1:]
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "revision " + short(a.Good.Hash)
	}
	return strings.Join(names, ", ")
}

// remedy says what people can do about the guard that speaks against an action.
func (a *Action) remedy() string {
	for _, g := range a.Guards {
		if !g.Passed && g.Reason == a.Reason && g.Next != "" {
			return "; " + g.Next
		}
	}
	return ""
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05 MST") }

func between(a, b time.Time) string { return max(b.Sub(a), 0).Round(time.Second).String() }

// clip cuts a text to so many bytes, and not through a letter.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	cut := most - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
