package incident

import (
	"fmt"
	"strings"

	"tocsin/detector"
	"tocsin/fleet"
)

// Bounds of a title.
const (
	maxTitleEffects = 3   // Signals.
	maxTitle        = 300 // Characters.
)

// effect says what a signal did at its worst.
func (mem *member) effect() Effect {
	if mem.restored != nil {
		e := *mem.restored
		e.Open = mem.latest.State == detector.Open
		return e
	}
	f := &mem.worst
	return Effect{
		Service:    f.Service,
		Signal:     plainSignal(f.Signal),
		Harmful:    f.Harmful,
		Open:       mem.latest.State == detector.Open,
		Observed:   Plain(f.Observed, f.Unit, f.Kind),
		Expected:   Plain(f.Expected, f.Unit, f.Kind),
		Difference: Difference(f.Observed, f.Expected, f.Unit, f.Kind),
	}
}

// plainSignal writes latency_p99 as people say it.
func plainSignal(name string) string { return strings.ReplaceAll(name, "_", " ") }

// titleOf says in one line what is wrong, where, and after what.
func titleOf(g *group, harm []*detector.Finding) string {
	i := &g.incident
	root := i.Service
	others := len(i.Services) - 1
	switch {
	case i.Release != nil && !g.storm && (i.Release.Withdrawn == "" || len(harm) == 0):
		return releaseTitle(i)
	case len(harm) == 0 && i.Release == nil: // Nothing is known that could be said anew.
		return ""
	}
	effects := plainEffects(i.Effects, root)
	switch {
	case effects != "":
	case len(harm) == 0:
		effects = i.Release.Service.Name + " " + i.Release.Name + ": " + i.Release.Effect
	default: // There are so many worse ones that those of the root are not listed.
		worst := harm[0].Service
		effects = worst.Name + " " + plainEffects(i.Effects, worst)
	}
	if g.storm {
		return oneLine(fmt.Sprintf("fleet storm in cluster %s: %s beyond its open incidents, worst %s",
			root.Cluster, count(others, "service"), effects))
	}
	name := root.Name
	if others > 0 {
		name += " and " + count(others, "more service")
	}
	cause := ""
	if len(i.Causes) > 0 {
		cause = plainCause(&i.Causes[0], root)
	}
	return oneLine(name + " in " + root.Cluster + ": " + effects + cause)
}

// releaseTitle says in one line what a release did, and how far it is.
func releaseTitle(i *Incident) string {
	r := i.Release
	name := r.Service.Name + " " + r.Name
	others := make(map[fleet.Service]bool)
	for _, s := range i.Services {
		if anywhere(s) != anywhere(r.Service) {
			others[anywhere(s)] = true
		}
	}
	if len(others) > 0 {
		name += " and " + count(len(others), "more service")
	}
	where := r.Service.Cluster
	if len(r.Clusters) > 1 {
		where += " and " + count(len(r.Clusters)-1, "more cluster")
	}
	effect := r.Effect
	if r.Suspected {
		effect = "perhaps " + effect
	}
	return oneLine(fmt.Sprintf("%s in %s: %s since the release (%s)",
		name, where, effect, r.progress()))
}

// oneLine makes text that comes from clusters fit into a line.
func oneLine(text string) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > maxTitle {
		return string(runes[:maxTitle-1]) + "…"
	}
	return string(runes)
}

// plainEffects names the worst signals of a service.
func plainEffects(effects []Effect, s fleet.Service) string {
	var parts []string
	for _, e := range effects {
		if e.Service == s && e.Harmful && len(parts) < maxTitleEffects {
			text := fmt.Sprintf("%s %s (usually %s)", e.Signal, e.Observed, e.Expected)
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, ", ")
}

// plainCause names the likeliest cause if it is likely enough.
func plainCause(c *Cause, root fleet.Service) string {
	if c.Score < likelyScore || isSymptom(c) || c.Change.Kind == fleet.Warning {
		return ""
	}
	text := " after " + string(c.Change.Kind)
	if c.Change.Service != root {
		text += " of " + c.Change.Service.Name
	}
	if summary := strings.TrimPrefix(c.Change.Summary, "image "); summary != "" {
		text += " " + summary
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
