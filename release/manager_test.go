package release_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/release/evidence"
	"tocsin/release/simulation"
)

const (
	healthy   = release.Healthy
	regressed = release.Regressed
)

func TestManagerJudgesReleasesWhileTheyRun(t *testing.T) {
	for _, tc := range []struct {
		name   string
		style  simulation.Style
		harm   simulation.Harm
		want   release.Result
		within time.Duration
	}{
		{"harmless", simulation.Progressive, simulation.Harm{}, healthy, 25 * time.Minute},
		{"half fail", simulation.Rolling, simulation.Harm{Errors: 0.5}, regressed, time.Minute},
		{"errors", simulation.Fixed, simulation.Harm{Errors: 0.05}, regressed, 5 * time.Minute},
		{"slow", simulation.Progressive, simulation.Harm{Latency: 2}, regressed, 10 * time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, release.ManagerOptions{})
			p := w.shop(1, tc.style, 30*time.Minute, tc.harm)
			stop := w.decided(p)
			if tc.want != release.Regressed {
				stop = nil
			}
			w.until(tc.within, stop)
			rec := w.record(p)
			if rec.Verdict.Result != tc.want {
				t.Errorf("%v at %v: %s; want %v within %v",
					rec.Verdict.Result, w.now.Sub(noon), rec.Verdict.Reason, tc.want, tc.within)
			}
			if rec.Basis != release.ByPods || rec.OldPods*rec.NewPods == 0 || rec.Smallest == nil {
				t.Errorf("it rests on %q, %d old pods, %d new ones, %v",
					rec.Basis, rec.OldPods, rec.NewPods, rec.Smallest)
			}
			if !rec.DataAt.Equal(w.now) || rec.Bound != 1000 {
				t.Errorf("data of %s at %s, bound %g", rec.DataAt, w.now, rec.Bound)
			}
		})
	}
}

func TestManagerTellsAlarmsAtOnceAndAllElseRarely(t *testing.T) {
	w := newWorld(t, release.ManagerOptions{})
	good := w.add(workloadOf("eu", "good"), made(1, 1, simulation.Fixed, time.Hour), simulation.Harm{})
	harm := simulation.Harm{Errors: 0.5}
	bad := w.add(workloadOf("eu", "bad"), made(2, 1, simulation.Fixed, time.Hour), harm)
	w.until(time.Hour, nil)
	told := map[release.Key][]release.Event{}
	for _, e := range w.events {
		told[e.Release.Key] = append(told[e.Release.Key], e)
	}
	if n := len(told[good.key]); n > 12 {
		t.Errorf("a good release is told of %d times in an hour", n)
	}
	first := slices.IndexFunc(told[bad.key], func(e release.Event) bool { return e.Decided != nil })
	if first < 0 || told[bad.key][first].At.After(noon.Add(2*time.Minute)) {
		t.Fatalf("a bad release is not told of in time: %d of %d", first, len(told[bad.key]))
	}
	for _, e := range told[bad.key][first:] {
		if e.Decided == nil || !e.Decided.At.Equal(told[bad.key][first].At) {
			t.Errorf("at %s the decision is gone", e.At)
		}
	}
	if n := len(told[bad.key]); n > 20 {
		t.Errorf("a bad release is told of %d times in an hour", n)
	}
}

// All pods of the new revision, accepted after the soak time; the judge learns from it.
func TestManagerAcceptsWhatStaysHealthy(t *testing.T) {
	w := newWorld(t, soak(15*time.Minute))
	p := w.shop(3, simulation.Rolling, 40*time.Minute, simulation.Harm{})
	w.until(35*time.Minute, nil)
	rec := w.record(p)
	if rec.Release.State != release.Done || rec.Release.Result != release.Healthy {
		t.Fatalf("%s, %v: %s", rec.Release.State, rec.Release.Result, rec.Verdict.Reason)
	}
	good, ok := w.manager.LastGood(p.key, "c")
	if !ok || good.Hash != "b" {
		t.Errorf("last good: %+v, %v", good, ok)
	}
	state, err := w.manager.State()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(state.Judge), p.key.Service.String()) {
		t.Error("the judge has not learnt from it")
	}
	last := w.events[len(w.events)-1]
	if tr := last.Transition; tr == nil || tr.To != release.Done || last.Release.ID != rec.Release.ID {
		t.Errorf("the last event is %+v", last.Transition)
	}
}

func TestManagerLearnsNothingFromBadReleases(t *testing.T) {
	w := newWorld(t, soak(15*time.Minute))
	p := w.shop(3, simulation.Rolling, 40*time.Minute, simulation.Harm{Errors: 0.3})
	w.until(35*time.Minute, nil)
	rec := w.record(p)
	if rec.Release.State != release.Done || rec.Release.Result != regressed || rec.Decided == nil {
		t.Fatalf("%s, %v: %s", rec.Release.State, rec.Release.Result, rec.Verdict.Reason)
	}
	if known := w.manager.Ledger(p.key); known[len(known)-1].Standing != release.Bad {
		t.Errorf("ledger: %+v", known)
	}
	state, err := w.manager.State()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(state.Judge), `"learnt":1`) {
		t.Error("the judge has learnt from it")
	}
}

func TestManagerWithoutSamples(t *testing.T) {
	t.Run("that stop", func(t *testing.T) {
		w := newWorld(t, soak(20*time.Minute))
		p := w.shop(3, simulation.Rolling, time.Hour, simulation.Harm{})
		w.until(17*time.Minute, nil)
		before := w.record(p)
		if before.Verdict.Result != release.Healthy {
			t.Fatalf("%v: %s", before.Verdict.Result, before.Verdict.Reason)
		}
		w.dark = true
		w.until(20*time.Minute, nil)
		rec := w.record(p)
		if v := rec.Verdict; v.Result != release.Inconclusive || !strings.Contains(v.Reason, "for 3m0s") {
			t.Errorf("%v: %s", v.Result, v.Reason)
		}
		if rec.Looks != before.Looks || !rec.DataAt.Equal(before.DataAt) {
			t.Errorf("it was looked at %d times, then %d times", before.Looks, rec.Looks)
		}
		w.until(45*time.Minute, nil)
		if _, ok := w.manager.LastGood(p.key, ""); ok {
			t.Error("a release is accepted that nobody saw the end of")
		}
	})
	t.Run("that come late", func(t *testing.T) {
		w := newWorld(t, release.ManagerOptions{})
		w.dark = true
		p := w.shop(3, simulation.Fixed, time.Hour, simulation.Harm{Errors: 0.3})
		w.until(5*time.Minute, nil)
		if rec := w.record(p); rec.Verdict.Result != release.Inconclusive || !rec.DataAt.IsZero() {
			t.Errorf("%v by data of %s: %s", rec.Verdict.Result, rec.DataAt, rec.Verdict.Reason)
		}
		w.dark = false
		w.step()
		if rec := w.record(p); rec.Verdict.Result != release.Regressed {
			t.Errorf("%v: %s", rec.Verdict.Result, rec.Verdict.Reason)
		}
	})
	t.Run("that stay bad", func(t *testing.T) {
		w := newWorld(t, release.ManagerOptions{})
		p := w.shop(3, simulation.Fixed, time.Hour, simulation.Harm{Errors: 0.3})
		w.until(5*time.Minute, nil)
		w.dark = true
		w.until(30*time.Minute, nil)
		rec := w.record(p)
		if v := rec.Verdict; v.Result != regressed || !strings.Contains(v.Reason, "no sample for 25m0s") {
			t.Errorf("%v: %s", v.Result, v.Reason)
		}
	})
}

// After an outage past the end of its soak time, a release is judged by the samples that it missed.
func TestManagerWaitsForSamplesAfterAnOutage(t *testing.T) {
	w := newWorld(t, soak(20*time.Minute))
	p := w.shop(3, simulation.Rolling, 50*time.Minute, simulation.Harm{})
	w.until(8*time.Minute, nil)
	w.restart()
	w.now = noon.Add(40 * time.Minute)
	w.step()
	w.step()
	rec := w.record(p)
	if rec.Release.State != release.Done || rec.Release.Result != release.Healthy {
		t.Errorf("%s, %v: %s", rec.Release.State, rec.Release.Result, rec.Verdict.Reason)
	}
	if end := rec.Release.End; end.After(noon.Add(26 * time.Minute)) {
		t.Errorf("it ended at %s", end)
	}
	if good, ok := w.manager.LastGood(p.key, "a"); !ok || good.Hash != "b" {
		t.Errorf("last good: %+v, %v", good, ok)
	}
}

// A canary that waits for days is judged by its last hours.
func TestManagerForgetsTheSamplesOfLongReleases(t *testing.T) {
	w := newWorld(t, release.ManagerOptions{})
	p := w.add(workloadOf("eu", "shop"), made(3, 0, simulation.Fixed, 8*time.Hour), simulation.Harm{})
	p.look = func(g *release.Progress) { g.Paused = true }
	longest := time.Duration(0)
	w.until(8*time.Hour, func() bool {
		if len(w.manager.Records()) > 0 {
			longest = max(longest, w.record(p).Verdict.Elapsed)
		}
		return false
	})
	rec := w.record(p)
	v := rec.Verdict
	if rec.Release.State != release.Rolling || rec.Decided != nil || v.Elapsed > 4*time.Hour {
		t.Errorf("%s after %s: %s", rec.Release.State, v.Elapsed, v.Reason)
	}
	if longest < 5*time.Hour || longest > 6*time.Hour+time.Minute || !rec.DataAt.Equal(w.now) {
		t.Errorf("it was judged by %s, data of %s", longest, rec.DataAt)
	}
}

// A service whose series do not say which pod they are of is judged by before and after: for a
// pause, that is, and not by a doubt.
func TestManagerJudgesTheServiceAsAWhole(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm simulation.Harm
		pods bool // Memory and CPU are known by pods.
		tier release.Tier
	}{
		{"harmless", simulation.Harm{}, false, release.Watch},
		{"bad", simulation.Harm{Errors: 0.5}, false, release.Pause},
		{"harmless, memory by pods", simulation.Harm{}, true, release.Watch},
		{"bad, memory by pods", simulation.Harm{Errors: 0.5}, true, release.Pause},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, release.ManagerOptions{})
			p := w.shop(4, simulation.Rolling, 40*time.Minute, tc.harm)
			whole(p, 2*time.Minute, tc.pods)
			w.until(40*time.Minute, w.decided(p))
			rec := w.record(p)
			if rec.Basis != release.ByService || rec.Verdict.Tier != tc.tier {
				v := rec.Verdict
				t.Errorf("by %q, %v, %v: %s", rec.Basis, v.Result, v.Tier, v.Reason)
			}
			if decided := rec.Decided != nil; decided != (tc.tier == release.Pause) {
				t.Errorf("decided: %v by %s", decided, rec.Verdict.Reason)
			}
		})
	}
}

// whole turns the samples of pods into increments of the service as a whole over a window. Memory
// and CPU may stay known by pods.
func whole(p *workload, window time.Duration, pods bool) {
	before := map[string]release.Sample{}
	var sum *release.Sample
	var source []instant
	for _, in := range p.source {
		if sum == nil {
			sum = &release.Sample{
				Service: p.key.Service, Window: window, Bounds: simulation.Bounds(),
				Latency:    make([]float64, len(simulation.Bounds())),
				CPUSeconds: math.NaN(), MemoryBytes: math.NaN(),
			}
		}
		for _, s := range in.samples {
			b, known := before[s.Pod]
			if known {
				sum.Requests += s.Requests - b.Requests
				sum.Errors += s.Errors - b.Errors
				for i := range s.Latency {
					sum.Latency[i] += s.Latency[i] - b.Latency[i]
				}
			}
			before[s.Pod] = s
		}
		out := instant{at: in.at}
		for _, s := range in.samples {
			if s.Requests, s.Errors, s.Latency = math.NaN(), math.NaN(), nil; pods {
				out.samples = append(out.samples, s)
			}
		}
		if in.at.Sub(noon)%window == 0 {
			out.samples = append(out.samples, *sum)
			sum = nil
		}
		source = append(source, out)
	}
	shown := p.source
	p.look = func(g *release.Progress) {
		q := &workload{key: p.key, old: p.old, new: p.new, source: shown}
		*g = (&world{now: g.At}).shown(q)
	}
	p.source = source
}

func TestManagerPoolsClusters(t *testing.T) {
	bad := simulation.Harm{Errors: 0.03}
	w := newWorld(t, release.ManagerOptions{})
	var places []*workload
	for i := range 12 {
		name := fmt.Sprintf("c%02d", i)
		s := made(20+i, 0, simulation.Fixed, 30*time.Minute)
		places = append(places, w.add(workloadOf(name, "shop"), s, bad))
	}
	other := workloadOf("other", "shop")
	other.new = "c" // Of another image.
	w.add(other, made(50, 0, simulation.Fixed, 30*time.Minute), simulation.Harm{})
	w.until(30*time.Minute, nil)
	pooled, alone := 0, 0
	for _, p := range places {
		rec := w.record(p)
		if rec.Pooled == nil || len(rec.Clusters) != 12 {
			t.Fatalf("%s is judged with %v", p.key.Service, rec.Clusters)
		}
		switch {
		case rec.DecidedBy == release.ByClusters:
			pooled++
		case rec.Decided != nil:
			alone++
		}
	}
	if pooled < 8 {
		t.Errorf("%d of 12 releases are called bad for all of them together, %d alone", pooled, alone)
	}
	if rec := w.record(other); rec.Decided != nil || rec.Pooled != nil {
		t.Errorf("another release: %s", rec.Verdict.Reason)
	}
}

func TestManagerPoolsNoHarm(t *testing.T) {
	w := newWorld(t, release.ManagerOptions{})
	var places []*workload
	for i := range 8 {
		name := fmt.Sprintf("c%02d", i)
		s := made(60+i, 1, simulation.Fixed, 20*time.Minute)
		places = append(places, w.add(workloadOf(name, "shop"), s, simulation.Harm{}))
	}
	w.until(20*time.Minute, nil)
	for _, p := range places {
		if rec := w.record(p); rec.Decided != nil || rec.Pooled == nil {
			t.Errorf("%s: %s", p.key.Service, rec.Verdict.Reason)
		}
	}
}

// Pods of a StatefulSet keep their names: which revision one is of is told by when it started.
func TestManagerTellsPodsOfOneNameApart(t *testing.T) {
	w := newWorld(t, release.ManagerOptions{})
	p := workloadOf("eu", "db")
	p.key.Workload = fleet.StatefulSet
	w.add(p, made(5, 1, simulation.Rolling, 20*time.Minute), simulation.Harm{Errors: 0.3})
	for i := range p.source {
		for k := range p.source[i].samples {
			s := &p.source[i].samples[k]
			s.Pod = strings.Replace(strings.Replace(s.Pod, "-a-", "-", 1), "-b-", "-", 1)
		}
	}
	// What is new is told by looks alone.
	first := map[string]time.Time{}
	rolling := made(5, 1, simulation.Rolling, 20*time.Minute)
	rolling.Release(simulation.Harm{}, func(win *evidence.Window) bool {
		for _, s := range win.Pods {
			name := "db-" + strings.TrimLeft(s.Pod, "oldnew-")
			if _, known := first[name]; s.New && !known {
				first[name] = win.At
			}
		}
		return true
	})
	p.look = func(g *release.Progress) {
		pods := append(slices.Clone(g.Old.Pods), g.New.Pods...)
		g.Old, g.New = release.Side{Hash: "a"}, release.Side{Hash: "b"}
		for _, pod := range pods {
			side := &g.Old
			if at, ok := first[pod.Name]; ok && !at.After(g.At) {
				side, pod.Started = &g.New, at
			}
			side.Pods = append(side.Pods, pod)
			side.Created++
			side.Available++
		}
	}
	w.until(5*time.Minute, w.decided(p))
	rec := w.record(p)
	if rec.Decided == nil || rec.Decided.Metric == "" || rec.NewPods*rec.OldPods == 0 {
		t.Errorf("%d old pods, %d new ones: %s", rec.OldPods, rec.NewPods, rec.Verdict.Reason)
	}
}

// A new revision may count latency in other buckets.
func TestManagerComparesCommonBuckets(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm simulation.Harm
		want release.Result
	}{
		{"harmless", simulation.Harm{}, release.Healthy},
		{"slow", simulation.Harm{Latency: 2.5}, release.Regressed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, release.ManagerOptions{})
			p := workloadOf("eu", "shop")
			p.edit = func(s *release.Sample) {
				if strings.Contains(s.Pod, "-b-") { // Every bucket but the second.
					s.Bounds = slices.Delete(slices.Clone(s.Bounds), 1, 2)
					s.Latency = slices.Delete(slices.Clone(s.Latency), 1, 2)
				}
			}
			w.add(p, made(6, 1, simulation.Fixed, 20*time.Minute), tc.harm)
			w.until(20*time.Minute, w.decided(p))
			rec := w.record(p)
			if rec.Verdict.Result != tc.want {
				t.Errorf("%v: %s", rec.Verdict.Result, rec.Verdict.Reason)
			}
			for _, f := range rec.Verdict.Metrics {
				if f.Name == "latency" && (f.New == 0 || f.Old == 0) {
					t.Errorf("latency is not compared: %+v", f)
				}
			}
		})
	}
}

func TestManagerOverruled(t *testing.T) {
	w := newWorld(t, release.ManagerOptions{})
	p := w.shop(7, simulation.Fixed, 20*time.Minute, simulation.Harm{Errors: 0.5})
	w.until(10*time.Minute, w.decided(p))
	if err := w.manager.Mark(p.key, "b", release.Accepted, "kim", w.now); err != nil {
		t.Fatal(err)
	}
	last := w.events[len(w.events)-1]
	withdrawn := last.Decided == nil && last.Verdict.Result != regressed
	if !withdrawn || last.AcceptedBy != "kim" || last.Transition != nil {
		t.Errorf("told: %+v", last)
	}
	w.until(15*time.Minute, nil)
	rec := w.record(p)
	if rec.Decided != nil || rec.Verdict.Tier != release.Watch || rec.Release.Result == regressed {
		t.Errorf("%v, %v: %s", rec.Release.Result, rec.Verdict.Tier, rec.Verdict.Reason)
	}
	if err := w.manager.Mark(p.key, "z", release.Accepted, "kim", w.now); err == nil {
		t.Error("a revision is accepted that nobody knows")
	}
}

// Report may call back: the one that ran before anybody watched is vouched for.
func TestManagerIsCalledFromReport(t *testing.T) {
	var m *release.Manager
	var events []release.Event
	m, err := release.NewManager(release.ManagerOptions{Report: func(e release.Event) {
		events = append(events, e)
		if e.Transition != nil && e.Release.Good == "" {
			r := &e.Release
			if err := m.Mark(r.Key, r.Old.Hash, release.Accepted, "tocsin", e.At); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	m.Change(rollout(shop, 0, "a", "b"))
	good, ok := m.LastGood(shop, "b")
	if !ok || good.Hash != "a" || len(events) != 2 || events[1].Release.Good != "a" {
		t.Errorf("last good: %+v, %v; %d events", good, ok, len(events))
	}
}

func TestManagerWantsALookAtWhatItHasNotSeen(t *testing.T) {
	m, err := release.NewManager(release.ManagerOptions{Report: func(release.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	m.Change(change(shop, fleet.Scaled, 0))
	for i := range 3 {
		wants := m.Wanted("eu", noon)
		if len(wants) != 1 || wants[0].Key != shop || !wants[0].Until.IsZero() {
			t.Fatalf("wants %d: %+v", i, wants)
		}
	}
	if wants := m.Wanted("eu", noon); len(wants) != 0 {
		t.Errorf("a workload that cannot be looked at is wanted for ever: %+v", wants)
	}
	m.Change(change(shop, fleet.Scaled, time.Minute))
	p := complete(shop, 2*time.Minute, "b")
	half(&p)
	m.Observe(p)
	wants := m.Wanted("eu", noon.Add(2*time.Minute))
	if len(wants) != 1 || wants[0].Release == "" || !slices.Equal(wants[0].New, []string{"b-0"}) {
		t.Errorf("a rollout that was going on: %+v", wants)
	}
	since := noon.Add(2*time.Minute - 10*time.Second - 15*time.Minute)
	if !wants[0].Since.Equal(since) {
		t.Errorf("samples are wanted since %s, want %s", wants[0].Since, since)
	}
}

func TestManagerAsksForHistoryInPieces(t *testing.T) {
	m, err := release.NewManager(release.ManagerOptions{Report: func(release.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	m.Change(rollout(shop, 0, "a", "b"))
	now := 5 * time.Hour
	p := complete(shop, now, "b")
	half(&p)
	p.New.Match, p.Old.Match = "b-[0-9]", "a-[0-9]"
	m.Observe(p)
	var pieces []string
	for range 4 {
		w := m.Wanted("eu", noon.Add(now))
		if len(w) == 0 || w[0].Until.IsZero() {
			break
		}
		pieces = append(pieces,
			fmt.Sprint(w[0].Since.Sub(noon), " ", w[0].Until.Sub(noon), " ", w[0].Match))
		m.Fetched(w[0].Release, w[0].Until)
	}
	want := []string{
		"-15m0s 1h45m0s [a-[0-9] b-[0-9]]", "1h45m0s 3h45m0s [a-[0-9] b-[0-9]]",
		"3h45m0s 5h0m0s [a-[0-9] b-[0-9]]",
	}
	if !slices.Equal(pieces, want) {
		t.Errorf("pieces %q, want %q", pieces, want)
	}
}

// The pods of a DaemonSet are gone before anybody looks, and their names do not tell a revision.
func TestManagerKnowsOldPodsThatNobodySaw(t *testing.T) {
	w := newWorld(t, release.ManagerOptions{})
	p := workloadOf("eu", "agent")
	p.key.Workload = fleet.DaemonSet
	w.add(p, made(5, 1, simulation.Rolling, 20*time.Minute), simulation.Harm{})
	for i := range p.source {
		before := p.source[i].at.Before(noon)
		p.source[i].samples = slices.DeleteFunc(p.source[i].samples, func(s release.Sample) bool {
			return strings.Contains(s.Pod, "-a-") != before
		})
		for k := range p.source[i].samples {
			s := &p.source[i].samples[k]
			hash, number := "aaa", s.Pod[strings.LastIndex(s.Pod, "-")+1:]
			if !before {
				hash = "bbb"
			}
			s.Pod = fmt.Sprintf("agent-%s%02s", hash, number)
		}
	}
	p.look = func(g *release.Progress) {
		pods := append(g.Old.Pods, g.New.Pods...)
		for i := range pods {
			pods[i].Started = p.first(pods[i].Name)
		}
		g.Old, g.New = release.Side{Hash: "a"}, release.Side{Hash: "b", Pods: pods}
		g.New.Created, g.New.Available = int32(len(pods)), int32(len(pods))
	}
	w.until(15*time.Minute, nil)
	rec := w.record(p)
	for _, f := range rec.Verdict.Metrics {
		if f.Name == "errors" && (f.Old < 1000 || f.New < 1000) {
			t.Errorf("requests: %g old, %g new: %s", f.Old, f.New, rec.Verdict.Reason)
		}
	}
	if len(rec.Verdict.Metrics) == 0 || rec.Decided != nil {
		t.Errorf("%v: %s", rec.Verdict.Result, rec.Verdict.Reason)
	}
}

func TestManagerReviews(t *testing.T) {
	w := newWorld(t, release.ManagerOptions{})
	p := w.shop(8, simulation.Fixed, 20*time.Minute, simulation.Harm{Errors: 0.5})
	w.until(5*time.Minute, nil)
	id := w.record(p).Release.ID
	w.now = w.now.Add(simulation.Tick)
	w.fetch("eu")
	rec, err := w.manager.Review(id, w.now)
	fresh := rec.Verdict.At.Equal(w.now) && rec.DataAt.Equal(w.now)
	if err != nil || !fresh || rec.Verdict.Result != regressed {
		t.Errorf("review: %v, %+v", err, rec.Verdict)
	}
	if _, err := w.manager.Review("nobody", w.now); err == nil {
		t.Error("a release is reviewed that nobody knows")
	}
}

func TestManagerChecksItselfOnQuietHistory(t *testing.T) {
	w := newWorld(t, soak(time.Minute))
	p := w.shop(9, simulation.Rolling, 3*time.Hour, simulation.Harm{})
	w.until(20*time.Minute, nil)
	if keys := w.manager.Quiet("eu", w.now, time.Hour); len(keys) != 0 {
		t.Errorf("%v have been quiet", keys)
	}
	var history []release.Instant
	for _, in := range p.source {
		if in.at.After(noon.Add(30 * time.Minute)) {
			history = append(history, release.Instant{At: in.at, Samples: in.samples})
		}
	}
	keys := w.manager.Quiet("eu", noon.Add(3*time.Hour), time.Hour)
	if !slices.Equal(keys, []release.Key{p.key}) {
		t.Fatalf("%v have been quiet", keys)
	}
	c, err := w.manager.Check(p.key, history)
	if err != nil || c.Trials < 2 || c.False > 0 || c.Strictness != 1 {
		t.Errorf("checked: %+v, %v", c, err)
	}
	early := []release.Instant{{At: noon.Add(time.Minute)}, {At: noon.Add(2 * time.Hour)}}
	if _, err := w.manager.Check(p.key, early); err == nil {
		t.Error("history with a release in it passes for quiet")
	}
}
