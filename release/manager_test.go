package release_test

import (
	"testing"
	"time"

	"tocsin/release"
	"tocsin/release/simulation"
)

func TestManagerJudgesReleasesWhileTheyRun(t *testing.T) {
	for _, tc := range []struct {
		name   string
		style  simulation.Style
		harm   simulation.Harm
		want   release.Result
		within time.Duration
	}{
		{"harmless", simulation.Progressive, simulation.Harm{}, release.Healthy, 25 * time.Minute},
		{"half of requests fail", simulation.Rolling, simulation.Harm{Errors: 0.5}, release.Regressed, time.Minute},
		{"errors", simulation.Fixed, simulation.Harm{Errors: 0.05}, release.Regressed, 5 * time.Minute},
		{"twice as slow", simulation.Progressive, simulation.Harm{Latency: 2}, release.Regressed, 2 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, release.ManagerOptions{})
			p := w.add(workloadOf("eu", "shop"), made(1, 1, tc.style, 30*time.Minute), tc.harm)
			if tc.want == release.Regressed {
				w.until(tc.within, w.decided(p))
			} else {
				w.until(tc.within, nil)
			}
			rec := w.record(p)
			if rec.Verdict.Result != tc.want {
				t.Errorf("%v at %v: %s; want %v within %v", rec.Verdict.Result, w.now.Sub(noon), rec.Verdict.Reason,
					tc.want, tc.within)
			}
			if rec.Basis != release.ByPods || rec.OldPods == 0 && tc.style != simulation.Rolling || rec.NewPods == 0 {
				t.Errorf("it rests on %q, %d old pods, %d new ones", rec.Basis, rec.OldPods, rec.NewPods)
			}
			t.Logf("%v %s %v smallest %+v", w.now.Sub(noon), rec.Verdict.Reason, rec.Looks, rec.Smallest)
			for _, e := range w.events {
				t.Logf("%v %v %v %v %v", e.At.Sub(noon), e.Transition != nil, e.Verdict.Result, e.Verdict.Tier, e.Verdict.Reason)
			}
		})
	}
}
