package incident_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

// fleetScript is a random history of one cluster: what happens at each instant. Every finding
// opens, may get worse, and resolves.
type fleetScript struct {
	findings [][]detector.Finding
	changes  [][]fleet.Change
}

const (
	scriptStep  = 15 * time.Second
	scriptSteps = 400
)

func newFleetScript(r *rand.Rand) *fleetScript {
	s := &fleetScript{
		findings: make([][]detector.Finding, scriptSteps),
		changes:  make([][]fleet.Change, scriptSteps),
	}
	signals := []string{"errors", "latency_p99", "cpu", "requests", "small"}
	busy := make(map[string]int) // Until when a signal of a service has a finding.
	for n := range 60 {
		svc := service(fmt.Sprintf("ns%d", r.IntN(3)), fmt.Sprintf("svc%d", r.IntN(6)))
		from := r.IntN(scriptSteps - 100)
		to := from + 1 + r.IntN(90)
		f := finding(svc, signals[r.IntN(len(signals))], noon.Add(time.Duration(from)*scriptStep))
		key := svc.String() + f.Signal
		if from <= busy[key] {
			continue
		}
		busy[key] = to
		f.ID = fmt.Sprint("finding", n)
		f.State, f.Harmful = detector.Open, r.IntN(4) > 0
		s.findings[from] = append(s.findings[from], f)
		if mid := (from + to) / 2; mid > from && r.IntN(2) == 0 {
			f.Score, f.Peak, f.Observed = 20, 20, f.Observed*2
			f.At = noon.Add(time.Duration(mid) * scriptStep)
			s.findings[mid] = append(s.findings[mid], f)
		}
		f.State, f.At, f.Reason = detector.Resolved, noon.Add(time.Duration(to)*scriptStep),
			"back to normal"
		f.End = f.At
		s.findings[to] = append(s.findings[to], f)
	}
	for n := range 30 {
		at := r.IntN(scriptSteps)
		ch := rollout(service(fmt.Sprintf("ns%d", r.IntN(3)), fmt.Sprintf("svc%d", r.IntN(6))),
			noon.Add(time.Duration(at)*scriptStep-time.Duration(r.IntN(60))*time.Second))
		ch.ID = fmt.Sprint("change", n)
		s.changes[at] = append(s.changes[at], ch)
	}
	return s
}

// play runs the script and checks after every instant that all is as it must be. Whatever r
// shuffles must not matter.
func (s *fleetScript) play(t *testing.T, r *rand.Rand, o incident.Options) []incident.Incident {
	t.Helper()
	w := newWorld(t, o)
	open := make(map[string]detector.Finding)
	for n := range scriptSteps {
		w.now = noon.Add(time.Duration(n) * scriptStep)
		findings, changes := slices.Clone(s.findings[n]), slices.Clone(s.changes[n])
		r.Shuffle(len(findings), func(i, j int) { findings[i], findings[j] = findings[j], findings[i] })
		r.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
		for _, ch := range changes {
			w.m.Change(ch)
		}
		for _, f := range findings {
			w.m.Find(f)
			if delete(open, f.ID); f.State == detector.Open {
				open[f.ID] = f
			}
		}
		w.m.Advance("prod-eu", w.now)
		w.checkInvariants(open)
	}
	return w.reports
}

func (w *world) checkInvariants(open map[string]detector.Finding) {
	w.t.Helper()
	held := make(map[string]string) // Incident by finding.
	services := make(map[fleet.Service]string)
	ids := make(map[string]bool)
	for _, i := range w.m.Incidents() {
		if ids[i.ID] {
			w.t.Fatalf("two incidents have the ID %s", i.ID)
		}
		ids[i.ID] = true
		if !slices.ContainsFunc(i.Effects, func(e incident.Effect) bool { return e.Harmful }) {
			w.t.Fatalf("incident %s has no harmful finding", i.Title)
		}
		if i.State == incident.Resolved {
			continue
		}
		for _, s := range i.Services {
			if services[s] != "" {
				w.t.Fatalf("%s is in incidents %s and %s", s, services[s], i.ID)
			}
			services[s] = i.ID
		}
		for _, f := range i.Findings {
			if held[f.ID] != "" {
				w.t.Fatalf("finding %s is in incidents %s and %s", f.ID, held[f.ID], i.ID)
			}
			held[f.ID] = i.ID
		}
	}
	for id, f := range open {
		// Within the group window a finding may wait for its incident.
		if f.Harmful && held[id] == "" && w.now.Sub(f.Start) > time.Minute {
			w.t.Fatalf("finding %s of %s, open since %s, is in no incident at %s", id, f.Service,
				f.Start, w.now)
		}
	}
}

// checkReports looks at the life of every incident as a receiver sees it.
func checkReports(t *testing.T, reports []incident.Incident, hold time.Duration) {
	t.Helper()
	last := make(map[string]incident.Incident)
	for _, i := range reports {
		before, known := last[i.ID]
		switch {
		case !known && i.State != incident.Open:
			t.Fatalf("incident %s is first reported as %s", i.ID, i.State)
		case known && before.State == incident.Resolved:
			t.Fatalf("incident %s is reported after it was resolved", i.ID)
		case known && (before.Service != i.Service || !before.Start.Equal(i.Start) ||
			before.Fingerprint != i.Fingerprint || !before.Opened.Equal(i.Opened)):
			t.Fatalf("incident %s has changed its identity", i.ID)
		case known && !i.Severity.AtLeast(before.Severity):
			t.Fatalf("incident %s has become milder", i.ID)
		case i.Title == "" || i.Services[0] != i.Service:
			t.Fatalf("incident %s: title %q, services %v", i.ID, i.Title, i.Services)
		}
		if i.State == incident.Resolved {
			if quiet := i.Updated.Sub(i.End); quiet < hold {
				t.Fatalf("incident %s was resolved after %s of quiet", i.ID, quiet)
			}
			for _, f := range i.Findings {
				if f.State == detector.Open && f.Harmful {
					t.Fatalf("incident %s was resolved with an open finding", i.ID)
				}
			}
		}
		last[i.ID] = i
	}
	for id, i := range last {
		if i.State != incident.Resolved {
			t.Errorf("incident %s is still %s", id, i.State)
		}
	}
}

func TestRandomHistories(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			script := newFleetScript(rand.New(rand.NewPCG(seed, 1)))
			o := incident.Options{Hold: 3 * time.Minute, MaxOpen: 1 + int(seed%6)}
			first := script.play(t, rand.New(rand.NewPCG(seed, 2)), o)
			if len(first) == 0 {
				t.Fatal("nothing was reported")
			}
			checkReports(t, first, o.Hold)
			second := script.play(t, rand.New(rand.NewPCG(seed, 3)), o)
			if !reflect.DeepEqual(first, second) {
				t.Errorf("the order of arrival within an instant matters (-one +other):\n%s",
					cmp.Diff(first, second))
			}
		})
	}
}
