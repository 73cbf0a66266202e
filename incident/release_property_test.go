package incident_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
)

// rolloutScript is a random history of the releases of a few services in three clusters, with
// verdicts that come and go, findings, actions, people, and restarts.
type rolloutScript struct {
	*world
	r        *rand.Rand
	clusters []string
	running  map[fleet.Service]release.Event
	findings map[fleet.Service]detector.Finding
	made     int
	people   map[string]bool // Incidents that a person has resolved.
	reported []incident.Incident
}

func (s *rolloutScript) service() fleet.Service {
	return fleet.Service{
		Cluster: s.clusters[s.r.IntN(len(s.clusters))], Namespace: "shop",
		Name: fmt.Sprint("svc", s.r.IntN(3)),
	}
}

// begin lets a release begin, which ends the one before.
func (s *rolloutScript) begin() {
	svc := s.service()
	if old, ok := s.running[svc]; ok {
		s.tell(old, release.Superseded)
	}
	s.made++
	e := running(svc)
	e.Release.ID = fmt.Sprint("release", s.made)
	e.Release.Start = s.now
	e.Release.New.Images = []string{fmt.Sprint("shop/cart:v", s.now.Sub(noon)/(10*time.Minute))}
	s.tell(e, release.Rolling)
}

// tell reports what a release is now.
func (s *rolloutScript) tell(e release.Event, state release.State) {
	e = at(e, s.now.Sub(noon), state)
	s.m.Release(e)
	if delete(s.running, e.Release.Service); state.Running() {
		s.running[e.Release.Service] = e
	}
}

// anyRunning returns a release that runs.
func (s *rolloutScript) anyRunning() (release.Event, bool) {
	var all []release.Event
	for _, e := range s.running {
		all = append(all, e)
	}
	if len(all) == 0 {
		return release.Event{}, false
	}
	slices.SortFunc(all, func(a, b release.Event) int {
		return a.Release.Service.Compare(b.Release.Service)
	})
	return all[s.r.IntN(len(all))], true
}

// judge gives a running release some verdict, or an end, or acts on it.
func (s *rolloutScript) judge() {
	e, ok := s.anyRunning()
	if !ok {
		return
	}
	switch s.r.IntN(7) {
	case 0, 1:
		e.Verdict = bad(e.Release.Service).Verdict
		e.Decided = &e.Verdict
	case 2:
		e.Verdict = release.Verdict{Tier: release.Pause, Metric: "latency", Effect: 0.3, At: s.now}
	case 3:
		e.Verdict = release.Verdict{Result: release.Healthy, At: s.now}
	case 4:
		e.AcceptedBy, e.Decided, e.Verdict = "ann", nil, release.Verdict{}
	case 5:
		ends := []release.State{release.RolledBack, release.Done, release.Deleted, release.Lost}
		s.tell(e, ends[s.r.IntN(len(ends))])
		return
	default:
		s.m.Act(incident.Act{
			Release: e.Release.ID, ID: "of " + e.Release.ID, At: s.now, Kind: "rollback",
			State: []string{"waiting", "running", "refused"}[s.r.IntN(3)], Final: s.r.IntN(2) == 0,
		})
		return
	}
	s.tell(e, e.Release.State)
}

// suffer opens a finding of a service, or ends it.
func (s *rolloutScript) suffer() {
	svc := s.service()
	f, ok := s.findings[svc]
	if ok {
		s.resolve(f)
		delete(s.findings, svc)
		return
	}
	f = finding(svc, "errors", s.now)
	s.findings[svc] = f
	s.open(f)
}

// meddle lets a person resolve an open incident.
func (s *rolloutScript) meddle() {
	open := s.opened()
	if len(open) == 0 {
		return
	}
	slices.SortFunc(open, func(a, b incident.Incident) int { return a.Service.Compare(b.Service) })
	id := open[s.r.IntN(len(open))].ID
	if _, err := s.m.Resolve(id, "ann", s.now); err != nil {
		s.t.Fatal(err)
	}
	s.people[id] = true
}

// reborn restarts the manager from what it reported.
func (s *rolloutScript) reborn() {
	var open []detector.Finding
	for _, f := range s.findings {
		open = append(open, f)
	}
	s.reported = append(s.reported, s.reports...)
	s.reports = s.reported
	s.world = s.restart(open)
}

// check says what must hold at any time.
func (s *rolloutScript) check() {
	s.t.Helper()
	held := make(map[string]string)
	for _, i := range s.m.Incidents() {
		if _, err := json.Marshal(i); err != nil || i.Title == "" || i.Services[0] != i.Service {
			s.t.Fatalf("incident %+v: %v", i, err)
		}
		if i.State == incident.Resolved {
			continue
		}
		refs := i.Releases
		if i.Release != nil && refs == nil {
			refs = []incident.ReleaseRef{{ID: i.Release.ID}}
		}
		for _, ref := range refs {
			if held[ref.ID] != "" {
				s.t.Fatalf("release %s is in incidents %s and %s", ref.ID, held[ref.ID], i.ID)
			}
			held[ref.ID] = i.ID
		}
	}
	for _, e := range s.running {
		bad := e.Decided != nil && e.AcceptedBy == ""
		if id := e.Release.ID; bad && held[id] == "" && !s.ended(id) {
			s.t.Fatalf("%s is bad and in no incident", id)
		}
	}
}

// ended says whether a person has resolved the incident of a release.
func (s *rolloutScript) ended(id string) bool {
	return slices.ContainsFunc(append(s.reported, s.reports...), func(i incident.Incident) bool {
		about := i.Release != nil && i.Release.ID == id ||
			slices.ContainsFunc(i.Releases, func(r incident.ReleaseRef) bool { return r.ID == id })
		return about && s.people[i.ID]
	})
}

func TestRandomReleases(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &rolloutScript{
				world: newWorld(t, incident.Options{}), r: rand.New(rand.NewPCG(seed, 7)),
				clusters: []string{"prod-eu", "us-1", "us-2"},
				running:  make(map[fleet.Service]release.Event),
				findings: make(map[fleet.Service]detector.Finding),
				people:   make(map[string]bool),
			}
			for range 600 {
				s.now = s.now.Add(15 * time.Second)
				for _, step := range []struct {
					of int
					do func()
				}{{20, s.begin}, {4, s.judge}, {15, s.suffer}, {80, s.meddle}, {60, s.reborn}} {
					if s.r.IntN(step.of) == 0 {
						step.do()
					}
				}
				for _, name := range s.clusters {
					s.m.Advance(name, s.now)
				}
				s.check()
			}
			s.wantCalm()
		})
	}
}

// wantCalm lets everything end, and wants no incident to be left.
func (s *rolloutScript) wantCalm() {
	s.t.Helper()
	for len(s.findings) > 0 {
		s.suffer()
	}
	for {
		e, ok := s.anyRunning()
		if !ok {
			break
		}
		s.tell(e, release.RolledBack)
	}
	for range 8 * 60 {
		s.now = s.now.Add(time.Minute)
		for _, name := range s.clusters {
			s.m.Advance(name, s.now)
		}
	}
	s.wantOpen(0)
}
