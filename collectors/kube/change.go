package kube

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/fleet"
)

// changes says what happened between two sightings of a workload. It may only be asked if the
// generation differs: whatever else changes is not part of what people asked for.
func changes(cluster string, old *Workload, s *sighting, now time.Time) []fleet.Change {
	var out []fleet.Change
	if old.Paused != s.Paused {
		kind, what := fleet.Resumed, "rollout resumed"
		if s.Paused {
			kind, what = fleet.Paused, "rollout paused"
		}
		out = append(out, s.change(cluster, kind, what, s.moment(s.spec, edit{old.SpecBy, old.SpecAt}, now)))
	}
	switch when := s.moment(s.template, edit{old.TemplateBy, old.TemplateAt}, now); {
	case old.Hash != s.Hash && (old.PodHash == "") == (s.PodHash == ""): // Else they do not compare.
		c := s.change(cluster, fleet.Rollout, describe(old, s), when, s.Hash)
		c.Old, c.New = old.revision(), s.revision(old)
		out = append(out, c)
	case old.Restarted != s.Restarted:
		c := s.change(cluster, fleet.Restarted, "pods restarted", when, s.Restarted)
		c.Old, c.New = old.revision(), s.revision(old)
		out = append(out, c)
	}
	if old.Replicas != s.Replicas {
		c := s.change(cluster, fleet.Scaled,
			fmt.Sprintf("scaled from %d to %d", old.Replicas, s.Replicas),
			s.moment(s.scale, edit{old.ScaledBy, old.ScaledAt}, now), strconv.Itoa(int(s.Replicas)))
		c.Replicas = &fleet.Replicas{Old: old.Replicas, New: s.Replicas}
		out = append(out, c)
	}
	return out
}

// createdChange tells of a workload that was not there before.
func createdChange(cluster string, s *sighting, now time.Time) fleet.Change {
	when := moment{edit: edit{by: s.spec.by, at: s.created}}
	if when.at.IsZero() {
		when.at = now
	}
	c := s.change(cluster, fleet.Created, "created with "+list("image", s.Images), when)
	c.New = s.revision(nil)
	return c
}

// deletedChange tells of a workload that is gone. An object that waited for its pods to go says
// since when.
func deletedChange(cluster string, w *Workload, deleted, now time.Time) fleet.Change {
	if deleted.IsZero() {
		deleted = now
	}
	s := &sighting{Workload: *w}
	c := s.change(cluster, fleet.Deleted, "deleted", moment{edit: edit{at: deleted}})
	c.Old = w.revision()
	return c
}

// moment is when a change happened, and what tells this one from other changes to the same value.
type moment struct {
	edit
	mark string
}

// moment takes time and author from the API server if its record is newer than the change before, or
// of the same second, which is as fine as the record is, and by somebody else. A record that is not
// belongs to that change: this one took fields away, which leaves no trace. Then the time is that of
// seeing it, and the generation tells it apart.
func (s *sighting) moment(e, before edit, now time.Time) moment {
	if e.at.After(before.at) || e.at.Equal(before.at) && e.by != before.by && before.by != "" {
		return moment{e, "@" + strconv.FormatInt(e.at.Unix(), 10)}
	}
	return moment{edit{at: now}, "#" + strconv.FormatInt(s.Generation, 10)}
}

// change returns a change of s. What makes its ID is the same for whoever sees it, now or after a
// pause.
func (s *sighting) change(
	cluster string, kind fleet.ChangeKind, summary string, when moment, marks ...string,
) fleet.Change {
	marks = append([]string{cluster, s.UID, string(kind), when.mark}, marks...)
	author := when.by
	if s.owner != "" && author != "" {
		author += ", " + s.owner
	} else if s.owner != "" {
		author = s.owner
	}
	return fleet.Change{
		ID:       hashOf([]byte(strings.Join(marks, "\x00")), 10),
		At:       when.at,
		Service:  s.service(cluster),
		Workload: s.Kind,
		UID:      s.UID,
		Kind:     kind,
		Summary:  summary,
		Author:   author,
	}
}

func (w *Workload) service(cluster string) fleet.Service {
	return fleet.Service{Cluster: cluster, Namespace: w.Namespace, Name: w.Name}
}

func (w *Workload) revision() *fleet.Revision {
	return &fleet.Revision{
		Hash: w.Hash, Number: w.Number,
		Images: slices.Clone(w.Images), Template: inflate(w.Template),
	}
}

// revision returns the new revision. The annotation with its number follows a moment after the
// template: as long as it still shows the old one's, the new one has none.
func (s *sighting) revision(old *Workload) *fleet.Revision {
	r := s.Workload.revision()
	if old != nil && old.Number == r.Number && old.Hash != s.Hash {
		r.Number = 0
	}
	return r
}

// describe says in one line what a rollout changes: the images, else the parts of the template.
func describe(old *Workload, s *sighting) string {
	text := images(old.Images, s.Images)
	if text == "" {
		text = "pod template changed"
		if parts := differences(inflate(old.Template), inflate(s.Template)); len(parts) > 0 {
			text += ": " + list("", parts)
		}
	}
	if s.cause != "" {
		text += " (" + s.cause + ")"
	}
	return text
}

// images says which images were replaced by which, or nothing if they are the same.
func images(old, now []string) string {
	if slices.Equal(old, now) {
		return ""
	}
	if len(old) != len(now) {
		return list("image", old) + " -> " + list("image", now)
	}
	var parts []string
	for i := range old {
		if old[i] != now[i] {
			parts = append(parts, old[i]+" -> "+now[i])
		}
	}
	return list("image", parts)
}

// list writes up to three things after their name in the right number.
func list(name string, things []string) string {
	const most = 3
	if name != "" && len(things) != 1 {
		name += "s"
	}
	text := strings.Join(things[:min(most, len(things))], ", ")
	if len(things) > most {
		text += fmt.Sprintf(" and %d more", len(things)-most)
	}
	return strings.TrimSpace(name + " " + text)
}
