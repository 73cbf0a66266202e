package release_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/release"
	"tocsin/release/simulation"
)

// played is a world with releases that run, that are over, and that were decided.
func played(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, soak(12*time.Minute))
	w.add(workloadOf("eu", "over"), made(3, 1, simulation.Rolling, time.Hour), simulation.Harm{})
	bad := simulation.Harm{Errors: 0.5}
	w.add(workloadOf("eu", "bad"), made(4, 1, simulation.Fixed, time.Hour), bad)
	p := w.add(workloadOf("us", "over"), made(5, 1, simulation.Fixed, time.Hour), simulation.Harm{})
	p.look = crashing
	w.until(20*time.Minute, nil)
	return w
}

func TestManagerStateIsWhatItWas(t *testing.T) {
	w := played(t)
	text := func() string {
		state, err := w.manager.State()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before, records := text(), w.manager.Records()
	told := len(w.events)
	w.restart()
	if after := text(); after != before {
		t.Errorf("a state is restored as another:\n%s", differ(
			strings.ReplaceAll(before, ",", "\n"), strings.ReplaceAll(after, ",", "\n")))
	}
	again := w.manager.Records()
	if len(again) != len(records) || len(records) != 3 {
		t.Fatalf("%d records, then %d", len(records), len(again))
	}
	for i := range records {
		a, b := &records[i], &again[i]
		same := a.Verdict.Reason == b.Verdict.Reason && (a.Decided == nil) == (b.Decided == nil)
		if a.Release.ID != b.Release.ID || !same {
			t.Errorf("record %+v, then %+v", a, b)
		}
	}
	if len(w.events) != told {
		t.Error("a restored manager tells again what it told")
	}
}

func TestManagerRefusesStates(t *testing.T) {
	w := played(t)
	good, err := w.manager.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		edit       func(*release.ManagerState)
	}{
		{"of another version", "version 7, want 1", func(s *release.ManagerState) { s.Version = 7 }},
		{"of another judge", "version 9", func(s *release.ManagerState) {
			s.Judge = json.RawMessage(strings.Replace(string(s.Judge), `"version":1`, `"version":9`, 1))
		}},
		{"without a judge", "nothing about the judge", func(s *release.ManagerState) { s.Judge = nil }},
		{"with a broken judge", "read the state of the judge", func(s *release.ManagerState) {
			s.Judge = json.RawMessage(`{"version":"x"}`)
		}},
		{"with a workload twice", "it is there twice", func(s *release.ManagerState) {
			s.Tracker.Workloads = append(s.Tracker.Workloads, s.Tracker.Workloads[0])
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := release.NewManager(release.ManagerOptions{Report: func(release.Event) {}})
			if err != nil {
				t.Fatal(err)
			}
			bad := good
			tc.edit(&bad)
			if err := m.Restore(bad); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("refused by %v, want %q", err, tc.want)
			}
			if len(m.Records()) != 0 {
				t.Error("something of it is there")
			}
			if err := m.Restore(good); err != nil {
				t.Errorf("the manager takes no other: %v", err)
			}
			if err := m.Restore(good); err == nil {
				t.Error("a state is restored twice")
			}
		})
	}
}

func TestManagerCounts(t *testing.T) {
	reg := prometheus.NewRegistry()
	opts := soak(12 * time.Minute)
	opts.Reg = reg
	w := newWorld(t, opts)
	w.add(workloadOf("eu", "over"), made(3, 1, simulation.Rolling, time.Hour), simulation.Harm{})
	bad := simulation.Harm{Errors: 0.5}
	w.add(workloadOf("eu", "bad"), made(4, 1, simulation.Fixed, time.Hour), bad)
	w.until(20*time.Minute, nil)
	w.manager.Sample("eu", w.now, []release.Sample{{Service: shop.Service, Pod: "x"}})
	want := `
# HELP tocsin_release_decided_total Releases that were called regressed, by what that rests on.
# TYPE tocsin_release_decided_total counter
tocsin_release_decided_total{basis="clusters"} 0
tocsin_release_decided_total{basis="kubernetes"} 0
tocsin_release_decided_total{basis="pods"} 1
tocsin_release_decided_total{basis="service"} 0
# HELP tocsin_release_running Releases that are running, by state.
# TYPE tocsin_release_running gauge
tocsin_release_running{state="rolling"} 0
tocsin_release_running{state="soaking"} 0
tocsin_release_running{state="stalled"} 1
# HELP tocsin_release_samples_dropped_total Samples that were not taken in, by reason.
# TYPE tocsin_release_samples_dropped_total counter
tocsin_release_samples_dropped_total{reason="bounds"} 0
tocsin_release_samples_dropped_total{reason="late"} 0
tocsin_release_samples_dropped_total{reason="service as a whole"} 0
tocsin_release_samples_dropped_total{reason="too many pods"} 0
tocsin_release_samples_dropped_total{reason="twice"} 0
tocsin_release_samples_dropped_total{reason="unknown pod"} 0
tocsin_release_samples_dropped_total{reason="unknown service"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "tocsin_release_decided_total",
		"tocsin_release_running", "tocsin_release_samples_dropped_total"); err != nil {
		t.Error(err)
	}
}

func TestManagerOptions(t *testing.T) {
	report := func(release.Event) {}
	for _, o := range []release.ManagerOptions{
		{},
		{Report: report, Pods: -1},
		{Report: report, Judge: release.Options{Alpha: 2}},
		{Report: report, Tracker: release.TrackerOptions{Soak: -1}},
	} {
		if m, err := release.NewManager(o); err == nil || m != nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// All methods at once: run it with -race.
func TestManagerIsUsedConcurrently(t *testing.T) {
	w := newWorld(t, release.ManagerOptions{})
	p := w.shop(3, simulation.Rolling, 10*time.Minute, simulation.Harm{Errors: 0.5})
	w.until(2*time.Minute, nil)
	id := w.record(p).Release.ID
	var group sync.WaitGroup
	for _, use := range []func(){
		func() { w.until(5*time.Minute, nil) },
		func() { w.manager.Records() },
		func() { w.manager.Record(id) },
		func() { w.manager.LastGood(p.key, "b") },
		func() { w.manager.Ledger(p.key) },
		func() { w.manager.Quiet("eu", noon, time.Hour) },
		func() { _, _ = w.manager.Review(id, noon.Add(3*time.Minute)) }, // It may be over.
		func() { _ = w.manager.Mark(p.key, "a", release.Accepted, "kim", noon) },
		func() {
			if _, err := w.manager.State(); err != nil {
				t.Error(err)
			}
		},
	} {
		group.Go(func() {
			for range 20 {
				use()
			}
		})
	}
	group.Wait()
	if rec := w.record(p); rec.Decided == nil {
		t.Errorf("%v: %s", rec.Verdict.Result, rec.Verdict.Reason)
	}
}
