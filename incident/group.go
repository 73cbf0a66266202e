package incident

import (
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// group is an incident in the making, or an open one with what is needed to keep it.
type group struct {
	incident Incident // Of one that has been opened; its slices are never changed, only replaced.
	storm    bool     // Takes what is beyond Options.MaxOpen.
	members  map[signalKey]*member
	releases []*regression // Bad ones that it is about; the first is what people are told of.
	start    time.Time     // First improbable value of the first harmful finding.
	since    time.Time     // When the cluster first heard of it.
	quiet    time.Time     // Since when no harmful finding is open; zero: one is.
	dirty    bool          // Something has changed that people should see.
	recheck  bool          // A change has come that may be a cause.
}

// member is one signal of a group, over all findings that it had in turn.
type member struct {
	latest   detector.Finding
	worst    detector.Finding // The harmful report with the highest score, or any.
	restored *Effect          // What worst was before a restart, as far as it is known.
	over     time.Time        // When the last harmful finding ended; zero: not yet.
	reason   string           // Why it ended.
}

// suffers says whether a harmful finding is open.
func (mem *member) suffers() bool {
	return mem.latest.State == detector.Open && mem.latest.Harmful
}

// settle notes when and why the harm ended.
func (mem *member) settle() {
	if mem.suffers() {
		mem.over = time.Time{}
	} else if mem.over.IsZero() && mem.worst.Harmful {
		mem.over, mem.reason = mem.latest.End, mem.latest.Reason
		if mem.over.IsZero() { // It went on as a harmless one.
			mem.over = mem.latest.At
		}
	}
}

func (g *group) opened() bool { return g.incident.ID != "" }

// take brings a report into the group.
func (g *group) take(f detector.Finding) {
	key := keyOf(&f)
	mem := g.members[key]
	switch {
	case mem == nil && f.State == detector.Resolved:
		return // Its beginning was never seen.
	case mem == nil:
		mem = &member{worst: f}
		g.members[key] = mem
	case mem.latest.ID != f.ID && f.State == detector.Resolved:
		return // A newer one has taken its place.
	}
	mem.latest = f
	if f.State == detector.Open && worse(&f, &mem.worst) {
		mem.worst, mem.restored = f, nil
	}
	mem.settle()
	g.started(&mem.worst)
	g.dirty = true
}

// worse says whether a tells more of the harm done than b.
func worse(a, b *detector.Finding) bool {
	if a.Harmful != b.Harmful {
		return a.Harmful
	}
	if a.Score != b.Score {
		return a.Score > b.Score
	}
	return distance(a) >= distance(b)
}

func distance(f *detector.Finding) float64 {
	if f.Observed < f.Expected {
		return f.Expected - f.Observed
	}
	return f.Observed - f.Expected
}

// started moves the start of a group that has not been opened yet back to that of a harmful
// finding.
func (g *group) started(f *detector.Finding) {
	if f.Harmful && !g.opened() && (g.start.IsZero() || f.Start.Before(g.start)) {
		g.start = f.Start
	}
}

// owns says whether a report belongs to a group that a person has resolved: it is of a harmful
// finding that the group has, or of one of its services that began to suffer before that.
func (g *group) owns(f *detector.Finding) bool {
	mem := g.members[keyOf(f)]
	if mem != nil && mem.latest.ID == f.ID {
		return mem.worst.Harmful
	}
	if f.State == detector.Resolved || !f.Harmful || f.Start.After(g.incident.End) {
		return false
	}
	_, ok := g.starts()[f.Service]
	return ok
}

// suffering says whether a harmful finding is open.
func (g *group) suffering() bool {
	for _, mem := range g.members {
		if mem.suffers() {
			return true
		}
	}
	return false
}

func (g *group) inNamespace(namespace string) bool {
	for s := range g.starts() {
		if s.Namespace == namespace {
			return true
		}
	}
	return false
}

// harm returns the harmful findings of the group, each at its worst, the worst first.
func (g *group) harm() []*detector.Finding {
	var out []*detector.Finding
	for _, mem := range g.sorted() {
		if mem.worst.Harmful {
			out = append(out, &mem.worst)
		}
	}
	return out
}

// starts returns for every service when its first harmful finding began; where there is none, when
// its bad release did.
func (g *group) starts() map[fleet.Service]time.Time {
	out := make(map[fleet.Service]time.Time)
	for key, mem := range g.members {
		if at, ok := out[key.service]; mem.worst.Harmful && (!ok || mem.worst.Start.Before(at)) {
			out[key.service] = mem.worst.Start
		}
	}
	for _, r := range g.releases {
		if _, ok := out[r.info.Service]; !ok {
			out[r.info.Service] = r.info.Start
		}
	}
	return out
}
