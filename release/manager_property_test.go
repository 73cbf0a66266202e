package release_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/release"
	"tocsin/release/simulation"
)

// saga is a few releases at once, with all that may happen to their manager meanwhile.
type saga struct {
	*world
	rng      *rand.Rand
	restarts bool
	bad      map[release.Key]bool // Really.
	troubled map[release.Key]bool // Their pods are shown in trouble.
}

func newSaga(t *testing.T, seed uint64, restarts bool) *saga {
	t.Helper()
	s := &saga{
		rng: rand.New(rand.NewPCG(seed, 9)), restarts: restarts, bad: map[release.Key]bool{},
		troubled: map[release.Key]bool{},
	}
	s.world = newWorld(t, soak(11*time.Minute))
	for i := range 3 {
		p := workloadOf([]string{"eu", "us"}[i%2], []string{"shop", "cart"}[i/2])
		h := []simulation.Harm{{}, {}, {Errors: 0.4}, {Latency: 4}}[s.rng.IntN(4)]
		s.bad[p.key] = h != simulation.Harm{}
		style := simulation.Style(s.rng.IntN(3))
		s.add(p, made(int(seed)*8+i, 1, style, 28*time.Minute), h)
		if s.rng.IntN(4) == 0 {
			s.troubled[p.key] = true
			p.look = crashing
		}
	}
	return s
}

// crashing shows all new pods in a crash loop.
func crashing(p *release.Progress) {
	p.New.Ready, p.New.Available = 0, 0
	for i := range p.New.Pods {
		p.New.Pods[i].Ready, p.New.Pods[i].Waiting = false, "CrashLoopBackOff"
	}
}

// run plays the saga to its end. The same random numbers are drawn with and without restarts.
func (s *saga) run() {
	dark := 0
	for s.now.Before(noon.Add(28 * time.Minute)) {
		if dark--; s.rng.IntN(40) == 0 {
			dark = 1 + s.rng.IntN(16)
		}
		s.dark = dark > 0
		s.step()
		switch s.rng.IntN(25) {
		case 0:
			if s.restarts {
				s.restart()
			}
		case 1: // Once more.
			for _, p := range s.places {
				if !s.now.Before(p.begins) {
					s.manager.Observe(s.shown(p))
				}
			}
			s.manager.Sample("eu", s.now, s.places[0].source[0].samples)
		case 2:
			for _, rec := range s.manager.Records() {
				_, _ = s.manager.Review(rec.Release.ID, s.now) // It may be over.
			}
		}
	}
}

// told writes down all events.
func (s *saga) told() string {
	s.t.Helper()
	var out strings.Builder
	for i := range s.events {
		text, err := json.Marshal(s.events[i])
		if err != nil {
			s.t.Fatal(err)
		}
		out.Write(append(text, '\n'))
	}
	return out.String()
}

// outcome says what became of each release, as far as a restart must not change it.
func (s *saga) outcome() []string {
	var out []string
	for _, p := range s.places {
		rec := s.record(p)
		decided := "not decided"
		if rec.Decided != nil {
			decided = "decided"
		}
		_, good := s.manager.LastGood(p.key, p.old)
		out = append(out, p.key.Service.String()+" "+string(rec.Release.State)+" "+decided+" "+
			map[bool]string{true: "accepted", false: "not accepted"}[good])
	}
	slices.Sort(out)
	return out
}

// check looks at every event for what must never be.
func (s *saga) check() {
	s.t.Helper()
	told := map[string]map[int]bool{}
	for i := range s.events {
		e := &s.events[i]
		if tr := e.Transition; tr != nil {
			if told[e.Release.ID] == nil {
				told[e.Release.ID] = map[int]bool{}
			}
			if told[e.Release.ID][tr.Step] {
				s.t.Errorf("step %d of %s is told twice", tr.Step, e.Release.ID)
			}
			told[e.Release.ID][tr.Step] = true
		}
		for _, v := range []*release.Verdict{&e.Verdict, e.Decided} {
			if v == nil || v.Result != release.Regressed {
				continue
			}
			facts := len(e.Release.Facts) > 0 && s.troubled[e.Release.Key]
			byNumbers := v.EValue >= e.Bound && s.bad[e.Release.Key] && v.Metric != "" && v.Lower > 0
			if !facts && !byNumbers {
				s.t.Errorf("%s is regressed without evidence: %s", e.Release.Service, v.Reason)
			}
		}
	}
	for _, p := range s.places {
		good, ok := s.manager.LastGood(p.key, p.old)
		if ok && (s.bad[p.key] || s.troubled[p.key]) {
			s.t.Errorf("%s is accepted: %+v", p.key.Service, good)
		}
	}
}

// Whatever happens to the manager: the same calls give the same events, nothing is regressed
// without evidence, nothing bad is accepted, and a restart changes nothing in the end.
func TestManagerRandomHistories(t *testing.T) {
	for seed := range uint64(3) {
		play := func(restarts bool) *saga {
			s := newSaga(t, seed, restarts)
			s.run()
			s.check()
			return s
		}
		first, again, restarted := play(false), play(false), play(true)
		if a, b := first.told(), again.told(); a != b {
			t.Errorf("seed %d: the same history is told in two ways:\n%s", seed, differ(a, b))
		}
		if a, b := first.outcome(), restarted.outcome(); !slices.Equal(a, b) {
			t.Errorf("seed %d: without a restart\n%q\nwith some\n%q", seed, a, b)
		}
	}
}

// differ returns the first lines that differ.
func differ(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return as[i] + "\n" + bs[i]
		}
	}
	return "one is longer"
}
