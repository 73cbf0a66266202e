package release_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"tocsin/release"
	"tocsin/release/evidence"
	"tocsin/release/simulation"
)

func TestAJudgeGoesOnFromItsState(t *testing.T) {
	s := simulation.NewService(1, 101, shape(simulation.Fixed))
	j := learned(t, s, 3)
	text, err := json.Marshal(j.State())
	if err != nil {
		t.Fatal(err)
	}
	var state release.JudgeState
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	k, err := release.New(release.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Restore(state); err != nil {
		t.Fatal(err)
	}
	a, b := j.Begin(s.Name(), simulation.Bounds()), k.Begin(s.Name(), simulation.Bounds())
	s.Release(simulation.Harm{Errors: 0.004}, func(w *evidence.Window) bool {
		a.Observe(w)
		b.Observe(w)
		return true
	})
	if x, y := a.Verdict(), b.Verdict(); !reflect.DeepEqual(x, y) {
		t.Errorf("after a restart: %+v\nwithout: %+v", y, x)
	}
	if k.Releases(s.Name()) != 3 {
		t.Errorf("%d releases, want 3", k.Releases(s.Name()))
	}
	if err := k.Restore(state); err == nil {
		t.Error("a judge that has begun took over a state")
	}
}

func TestAStateThatMakesNoSenseIsRefused(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"version":99,"fleet":{},"services":{}}`, `{"version":1,"services":{}}`,
		`{"version":1,"fleet":{},"services":{"a":null}}`,
		`{"version":1,"fleet":{},"services":{"a":{"rate":{"requests":1,"errors":2}}}}`,
		`{"version":1,"fleet":{},"services":{},"checked":{"a":{"trials":1,"false":2}}}`,
	} {
		j, err := release.New(release.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var s release.JudgeState
		if err = json.Unmarshal([]byte(text), &s); err == nil {
			err = j.Restore(s)
		}
		if err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestQuietHistoryIsCheckedAndMakesStricter(t *testing.T) {
	for _, tc := range []struct {
		name   string
		wild   bool
		strict bool
	}{{"calm", false, false}, {"pods that go bad by themselves", true, true}} {
		t.Run(tc.name, func(t *testing.T) {
			s := simulation.NewService(2, 111, simulation.Shape{
				Class: simulation.Class{Name: "pair", Pods: 2, RPS: 10}, Before: 4 * time.Hour,
			})
			history := quiet(s, tc.wild)
			j := learned(t, s, 0)
			c := j.Check(s.Name(), simulation.Bounds(), history)
			if c.Trials == 0 || (c.Strictness > 1) != tc.strict || c.Strictness != j.Strictness(s.Name()) {
				t.Fatalf("%+v, want stricter: %v", c, tc.strict)
			}
			if !tc.strict {
				return
			}
			calm := quiet(s, false)
			for range 5 { // Nights.
				before := c.Strictness
				if c = j.Check(s.Name(), simulation.Bounds(), calm); c.Strictness >= before {
					t.Errorf("after a calm night: %+v, before it %g", c, before)
				}
			}
		})
	}
}

// quiet records a service while nothing is released.
func quiet(s *simulation.Service, wild bool) []evidence.Window {
	var out []evidence.Window
	s.Release(simulation.Harm{}, func(w *evidence.Window) bool {
		c := evidence.Window{At: w.At}
		for i, p := range w.Pods {
			if p.New {
				continue
			}
			if wild && (len(out)/240+i)%2 == 0 { // Half of the pods, in turns of an hour.
				p.Errors = p.Requests * 0.3
			}
			c.Pods = append(c.Pods, p)
		}
		out = append(out, c)
		return true
	})
	return out
}

func TestSmallestEffects(t *testing.T) {
	least := map[string]map[string]float64{}
	for _, class := range simulation.Classes() {
		sh := shape(simulation.Fixed)
		sh.Class = class
		s := simulation.NewService(3, 121, sh)
		j := learned(t, s, 2)
		trial := j.Begin(s.Name(), simulation.Bounds())
		s.Release(simulation.Harm{}, func(w *evidence.Window) bool { trial.Observe(w); return true })
		least[class.Name] = map[string]float64{}
		for _, e := range trial.Smallest().Effects {
			if e.Visible {
				least[class.Name][e.Metric] = e.Effect
			}
		}
	}
	for _, metric := range []string{"errors", "latency"} {
		low, medium, high := least["low"][metric], least["medium"][metric], least["high"][metric]
		if high <= 0 || high >= medium || low != 0 && medium >= low {
			t.Errorf("%s: low %g, medium %g, high %g; want less with more traffic", metric, low, medium, high)
		}
	}
	if e := least["medium"]["errors"]; e > 0.05 {
		t.Errorf("the least errors that show are %g", e)
	}
}
