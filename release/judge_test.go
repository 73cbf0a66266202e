package release_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"tocsin/release"
	"tocsin/release/evidence"
	"tocsin/release/simulation"
)

// shape is a small release of the medium class.
func shape(style simulation.Style) simulation.Shape {
	return simulation.Shape{
		Class: simulation.Classes()[1], Style: style, Before: 10 * time.Minute, Watch: 20 * time.Minute,
	}
}

// play runs a release past a judge that has seen some harmless ones, looking every 30 s.
func play(t *testing.T, j *release.Judge, s *simulation.Service, h simulation.Harm, change func(*evidence.Window)) release.Verdict {
	t.Helper()
	trial := j.Begin(s.Name(), simulation.Bounds())
	var v release.Verdict
	ticks := 0
	s.Release(h, func(w *evidence.Window) bool {
		if change != nil {
			change(w)
		}
		trial.Observe(w)
		ticks++
		if trial.Started().IsZero() || ticks%2 == 0 {
			return true
		}
		v = trial.Verdict()
		return v.Result != release.Regressed
	})
	return v
}

func learned(t *testing.T, s *simulation.Service, releases int) *release.Judge {
	t.Helper()
	j, err := release.New(release.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range releases {
		trial := j.Begin(s.Name(), simulation.Bounds())
		s.Release(simulation.Harm{}, func(w *evidence.Window) bool { trial.Observe(w); return true })
		trial.Accept()
	}
	return j
}

func TestVerdicts(t *testing.T) {
	for _, tc := range []struct {
		name   string
		style  simulation.Style
		harm   simulation.Harm
		want   release.Result
		within time.Duration
	}{
		{"harmless", simulation.Progressive, simulation.Harm{}, release.Healthy, 20 * time.Minute},
		{"half of requests fail", simulation.Rolling, simulation.Harm{Errors: 0.5}, release.Regressed, time.Minute},
		{"errors", simulation.Fixed, simulation.Harm{Errors: 0.05}, release.Regressed, 5 * time.Minute},
		{"twice as slow", simulation.Progressive, simulation.Harm{Latency: 2}, release.Regressed, 2 * time.Minute},
		{"tail", simulation.Progressive, simulation.Harm{Tail: 3}, release.Regressed, 15 * time.Minute},
		{"CPU", simulation.Progressive, simulation.Harm{CPU: 2}, release.Regressed, 15 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := simulation.NewService(1, 11, shape(tc.style))
			v := play(t, learned(t, s, 3), s, tc.harm, nil)
			if v.Result != tc.want || v.Elapsed > tc.within {
				t.Errorf("%v after %v: %s; want %v within %v", v.Result, v.Elapsed, v.Reason, tc.want, tc.within)
			}
			if v.Result == release.Regressed && (v.Metric == "" || v.Lower > v.Upper || v.EValue < 1000) {
				t.Errorf("evidence: %+v", v)
			}
		})
	}
}

func TestHarmlessReleasesAreLeftAlone(t *testing.T) {
	for style := simulation.Fixed; style <= simulation.Rolling; style++ {
		for i := range 4 {
			s := simulation.NewService(i, 21, shape(style))
			j := learned(t, s, 2)
			for range 3 {
				if v := play(t, j, s, simulation.Harm{}, nil); v.Result == release.Regressed {
					t.Errorf("%v, service %d: %s", style, i, v.Reason)
				}
			}
		}
	}
}

// The fleet's warm-up curve must not overrule the service's own: with much traffic there is enough evidence to
// be sure of the wrong thing.
func TestOwnWarmUpOutweighsTheFleets(t *testing.T) {
	sh := shape(simulation.Fixed)
	sh.Class = simulation.Classes()[2]
	sh.Watch, sh.Before = 6*time.Minute, 5*time.Minute
	s := simulation.NewService(2, 31, sh)
	cold := func(w *evidence.Window) { // Far colder new pods than the fleet expects.
		for i := range w.Pods {
			p := &w.Pods[i]
			if !p.New {
				continue
			}
			age := w.At.Sub(p.Started).Seconds()
			p.Errors = math.Round(p.Errors * (1 + 25*math.Exp(-age/40)))
			p.CPUSeconds *= 1 + 6*math.Exp(-age/40)
		}
	}
	j, err := release.New(release.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		trial := j.Begin(s.Name(), simulation.Bounds())
		s.Release(simulation.Harm{}, func(w *evidence.Window) bool { cold(w); trial.Observe(w); return true })
		trial.Accept()
	}
	for range 4 {
		if v := play(t, j, s, simulation.Harm{}, cold); v.Result == release.Regressed {
			t.Errorf("a release that warms up as this service always does: %s", v.Reason)
		}
	}
}

func TestUnitsAndOrderDoNotMatter(t *testing.T) {
	run := func(change func(*evidence.Window), factor float64) release.Verdict {
		s := simulation.NewService(4, 41, shape(simulation.Progressive))
		j, err := release.New(release.Options{})
		if err != nil {
			t.Fatal(err)
		}
		bounds := simulation.Bounds()
		for i := range bounds {
			bounds[i] *= factor
		}
		trial := j.Begin("s", bounds)
		s.Release(simulation.Harm{Latency: 1.4, Errors: 0.002}, func(w *evidence.Window) bool {
			change(w)
			trial.Observe(w)
			return true
		})
		return trial.Verdict()
	}
	plain := run(func(*evidence.Window) {}, 1)
	scaled := run(func(w *evidence.Window) {
		for i := range w.Pods {
			w.Pods[i].CPUSeconds *= 1000
			w.Pods[i].MemoryBytes /= 1024
		}
	}, 1000)
	reversed := run(func(w *evidence.Window) { slices.Reverse(w.Pods) }, 1)
	for name, other := range map[string]release.Verdict{"units": scaled, "order": reversed} {
		if other.Result != plain.Result || math.Abs(math.Log(other.EValue/plain.EValue)) > 1e-6*(1+math.Log(plain.EValue)) {
			t.Errorf("%s: %v, e %g; want %v, e %g", name, other.Result, other.EValue, plain.Result, plain.EValue)
		}
	}
}

func TestMoreHarmIsMoreEvidence(t *testing.T) {
	last := math.Inf(-1)
	for _, add := range []float64{0, 0.01, 0.03, 0.1} {
		s := simulation.NewService(4, 51, shape(simulation.Fixed))
		j := learned(t, s, 0)
		trial := j.Begin("s", simulation.Bounds())
		s.Release(simulation.Harm{}, func(w *evidence.Window) bool {
			for i := range w.Pods {
				if p := &w.Pods[i]; p.New {
					p.Errors += math.Round(add * p.Requests)
				}
			}
			trial.Observe(w)
			return true
		})
		f := trial.Verdict().Metrics[evidence.Errors]
		if f.LogE < last {
			t.Errorf("errors +%g: log e %g is less than with less harm, %g", add, f.LogE, last)
		}
		last = f.LogE
	}
	if last < 10 {
		t.Errorf("errors +0.1: log e %g", last)
	}
}

func TestOneBadPodIsABadPod(t *testing.T) {
	s := simulation.NewService(6, 61, shape(simulation.Progressive))
	v := play(t, learned(t, s, 2), s, simulation.Harm{}, func(w *evidence.Window) {
		for i := range w.Pods {
			if p := &w.Pods[i]; p.Pod == "new-1" {
				p.Errors = math.Round(0.4 * p.Requests)
			}
		}
	})
	if v.Result == release.Regressed {
		t.Errorf("one bad pod of ten: %s", v.Reason)
	}
}

func TestTroubleOfAllIsNotTheReleases(t *testing.T) {
	s := simulation.NewService(7, 71, shape(simulation.Fixed))
	tick := 0
	v := play(t, learned(t, s, 2), s, simulation.Harm{}, func(w *evidence.Window) {
		if tick++; tick < 60 || tick > 80 {
			return
		}
		for i := range w.Pods {
			p := &w.Pods[i]
			p.Errors = math.Round(0.3 * p.Requests)
		}
	})
	if v.Result == release.Regressed {
		t.Errorf("a dependency failed under old and new pods: %s", v.Reason)
	}
}

func TestWithoutEvidence(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	pod := func(name string, fresh bool, n float64) evidence.PodSample {
		nan := math.NaN()
		return evidence.PodSample{Pod: name, New: fresh, Started: start, Requests: n, Errors: 0, CPUSeconds: nan, MemoryBytes: nan}
	}
	for _, tc := range []struct {
		name string
		pods []evidence.PodSample
	}{
		{"nothing", nil},
		{"old pods alone", []evidence.PodSample{pod("o", false, 100)}},
		{"new pods without traffic", []evidence.PodSample{pod("o", false, 100), pod("n", true, 0)}},
		{"no samples", []evidence.PodSample{pod("o", false, math.NaN()), pod("n", true, math.NaN())}},
		{"hardly any traffic", []evidence.PodSample{pod("o", false, 1), pod("n", true, 0.1)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := learned(t, simulation.NewService(0, 1, shape(simulation.Fixed)), 0)
			trial := j.Begin("s", nil)
			for i := range 60 {
				trial.Observe(&evidence.Window{At: start.Add(time.Duration(i) * simulation.Tick), Pods: slices.Clone(tc.pods)})
			}
			v := trial.Verdict()
			if v.Result != release.Inconclusive || v.Reason == "" {
				t.Errorf("%v: %q", v.Result, v.Reason)
			}
			if v.Missing == (release.Missing{}) {
				t.Errorf("does not say what is missing: %q", v.Reason)
			}
		})
	}
}

func TestLeak(t *testing.T) {
	sh := shape(simulation.Fixed)
	sh.Watch = 90 * time.Minute
	for _, tc := range []struct {
		name string
		harm simulation.Harm
		want bool
	}{{"steady", simulation.Harm{}, false}, {"0.1% of the limit a minute", simulation.Harm{Leak: 0.001}, true}} {
		s := simulation.NewService(3, 81, sh)
		v := play(t, learned(t, s, 3), s, tc.harm, nil)
		if got := v.Result == release.Regressed; got != tc.want {
			t.Errorf("%s: %v, %s", tc.name, v.Result, v.Reason)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []release.Options{{Alpha: -1}, {Alpha: 1}, {Alpha: math.NaN()}, {Ready: -1}} {
		if _, err := release.New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// BenchmarkVerdict is one look at one release of twelve pods; 500 of them fit into 15 s if it takes less than 30 ms.
func BenchmarkVerdict(b *testing.B) {
	s := simulation.NewService(1, 91, shape(simulation.Progressive))
	j, err := release.New(release.Options{})
	if err != nil {
		b.Fatal(err)
	}
	trial := j.Begin("s", simulation.Bounds())
	s.Release(simulation.Harm{}, func(w *evidence.Window) bool { trial.Observe(w); return true })
	b.ReportAllocs()
	for b.Loop() {
		trial.Verdict()
	}
}
