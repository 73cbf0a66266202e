package slack

import (
	"fmt"
	"slices"
	"strings"

	"tocsin/incident"
)

// release says what speaks against the release that an incident is about, and where.
func release(i *incident.Incident) string {
	r := i.Release
	if r == nil {
		return ""
	}
	lines := r.Lines()
	lines = lines[:min(len(lines), maxLines)]
	for k := range lines {
		lines[k] = escape(lines[k], maxLine)
	}
	text := "*Release* " + strings.Join(lines, "\n")
	if all := r.Clusters; len(all) > 0 {
		var out []string
		for _, name := range all[:min(len(all), maxServices)] {
			out = append(out, escape(name, maxCell))
		}
		text += "\n*Clusters* " + strings.Join(out, ", ")
		if more := len(all) - len(out); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	return text
}

// acts says what tocsin does about it, the newest last.
func acts(i *incident.Incident) string {
	if len(i.Acts) == 0 {
		return ""
	}
	text := "*What tocsin does*"
	for _, a := range i.Acts[max(len(i.Acts)-maxActs, 0):] {
		text += "\n• " + escape(a.Text, maxAct)
	}
	return text
}

// newActs returns those that the thread has not been told of, as what they have come to.
func newActs(t *told, i *incident.Incident) []incident.Act {
	var out []incident.Act
	for _, a := range i.Acts {
		if t == nil || !slices.Contains(t.Acts, hashAct(&a)) {
			out = append(out, a)
		}
	}
	return out
}

// urgent says whether one of the acts that the thread has not been told of needs a person.
func urgent(t *told, i *incident.Incident) bool {
	return i.State != incident.Resolved &&
		slices.ContainsFunc(newActs(t, i), func(a incident.Act) bool { return a.Urgent })
}

func hashAct(a *incident.Act) uint32 { return hashOf(a.ID + "\x00" + a.State) }
