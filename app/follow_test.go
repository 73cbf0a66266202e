package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/collectors/kube"
	"tocsin/collectors/promql"
	"tocsin/fleet"
	"tocsin/release"
)

// rollout is a Deployment of four pods that is released at a time, and what its pods serve.
type rollout struct {
	service  fleet.Service
	released time.Time
	now      time.Time
	old      time.Duration // Age of the old pods at the release; 0: they are gone.
	failing  float64       // Share of the new pods' requests.
	away     bool          // Nobody answers.
	looks    int
	asked    []promql.PodRange
}

func (r *rollout) Rolling() []kube.Target { return nil }

func (r *rollout) Status() kube.Status { return kube.Status{Synced: true} }

func (r *rollout) Look(context.Context, fleet.Service, fleet.Workload) (kube.Progress, error) {
	r.looks++
	if r.away {
		return kube.Progress{}, errors.New("the API server is away")
	}
	p := kube.Progress{
		Service: r.service, Workload: fleet.Deployment, At: r.now, UID: "u", Desired: 4,
		Strategy: kube.RollingUpdate, Old: r.side("v1", 2), New: r.side("v2", 2),
	}
	if r.old == 0 {
		p.Old = kube.Side{}
	}
	return p, nil
}

func (r *rollout) side(hash string, pods int) kube.Side {
	s := kube.Side{Hash: hash, Created: int32(pods), Ready: int32(pods), Available: int32(pods)}
	for i := range pods {
		started := r.released.Add(-r.old)
		if hash == "v2" {
			started = r.released
		}
		s.Pods = append(s.Pods, kube.Pod{Name: fmt.Sprintf("cart-%s-%d", hash, i), Started: started, Ready: true})
	}
	return s
}

// Pods answers with counters that rise by 20 requests a second and pod.
func (r *rollout) Pods(_ context.Context, q promql.PodRange) (promql.PodHistory, error) {
	if r.away {
		return promql.PodHistory{}, errors.New("the source is away")
	}
	r.asked = append(r.asked, q)
	var h promql.PodHistory
	for at := q.From.Truncate(q.Step).Add(q.Step); !at.After(q.To); at = at.Add(q.Step) {
		i := promql.PodInstant{At: at}
		for _, target := range q.Targets {
			for _, name := range target.Pods {
				i.Pods = append(i.Pods, r.sample(name, at)...)
			}
		}
		h.Instants, h.Until = append(h.Instants, i), at
	}
	return h, nil
}

func (r *rollout) sample(name string, at time.Time) []promql.PodSample {
	started, failing := r.released.Add(-r.old), 0.001
	if name >= "cart-v2" {
		started, failing = r.released, r.failing
	}
	if at.Before(started) {
		return nil
	}
	n := 20 * at.Sub(started).Seconds()
	return []promql.PodSample{{
		Service: r.service, Pod: name, Requests: n, Errors: math.Floor(failing * n), ErrorsKnown: true,
		CPUSeconds: n / 100, MemoryBytes: 1 << 28, MemoryLimit: 1 << 30, Restarts: 0,
	}}
}

// followed is a follower of a rollout, and what was reported.
type followed struct {
	*follower
	*rollout
	events []release.Event
}

func newFollowed(t *testing.T, failing float64) *followed {
	t.Helper()
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	f := &followed{rollout: &rollout{
		service:  fleet.Service{Cluster: "here", Namespace: "shop", Name: "cart"},
		released: start, now: start, old: 24 * time.Hour, failing: failing,
	}}
	m, err := release.NewManager(release.ManagerOptions{
		Report: func(e release.Event) { f.events = append(f.events, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	f.follower = &follower{
		cluster: "here", interval: 15 * time.Second, watcher: f.rollout, source: f.rollout, manager: m,
		vouch: func(string, time.Time) {}, metrics: newFollowMetrics(prometheus.NewRegistry()),
		logger: slog.New(slog.DiscardHandler),
	}
	m.Change(fleet.Change{
		ID: "c", At: start, Service: f.service, Workload: fleet.Deployment, UID: "u", Kind: fleet.Rollout,
		Old: &fleet.Revision{Hash: "v1"}, New: &fleet.Revision{Hash: "v2"},
	})
	return f
}

// run makes a round every 15 seconds.
func (f *followed) run(t *testing.T, d time.Duration) {
	t.Helper()
	for end := f.now.Add(d); f.now.Before(end); {
		f.now = f.now.Add(f.interval)
		f.follow(t.Context(), f.now)
	}
}

func (f *followed) result() release.Result {
	var r release.Result
	for _, e := range f.events {
		r = e.Release.Result
	}
	return r
}

func TestABadReleaseIsFollowedToItsVerdict(t *testing.T) {
	f := newFollowed(t, 0.3)
	f.run(t, 10*time.Minute)
	if got := f.result(); got != release.Regressed {
		t.Errorf("the release is %s", got)
	}
	before := f.asked[0].From
	if want := f.released.Add(-10 * time.Minute); before.After(want) {
		t.Errorf("asked from %s on, want what was before the release too", before)
	}
	for i, q := range f.asked[1:] {
		if !q.From.After(f.asked[i].From) {
			t.Errorf("asked twice from %s on", q.From)
		}
	}
}

func TestAGoodReleaseIsNotBlamed(t *testing.T) {
	f := newFollowed(t, 0.001)
	f.run(t, 20*time.Minute)
	if got := f.result(); got == release.Regressed {
		t.Errorf("the release is %s: %s", got, f.events[len(f.events)-1].Verdict.Reason)
	}
}

func TestWhatWasMissedIsAskedForAgain(t *testing.T) {
	f := newFollowed(t, 0.3)
	f.run(t, f.interval)
	f.away = true
	f.run(t, 2*time.Minute)
	if f.result() == release.Regressed {
		t.Fatal("judged too early for this test")
	}
	gap := f.now.Add(-2 * time.Minute)
	f.away = false
	f.asked = nil
	f.run(t, 5*time.Minute)
	if f.asked[0].From.After(gap.Add(f.interval)) {
		t.Errorf("asked from %s on, want from %s", f.asked[0].From, gap)
	}
	if got := f.result(); got != release.Regressed {
		t.Errorf("the release is %s", got)
	}
}

func TestNobodyIsAskedWhileNothingIsReleased(t *testing.T) {
	f := newFollowed(t, 0)
	m, err := release.NewManager(release.ManagerOptions{Report: func(release.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	f.manager = m
	f.run(t, time.Hour)
	if f.looks > 0 || len(f.asked) > 0 {
		t.Errorf("%d looks, %d questions", f.looks, len(f.asked))
	}
}

func TestQuietHistoryHasAllInstants(t *testing.T) {
	f := newFollowed(t, 0)
	f.released = f.now.Add(-48 * time.Hour)
	k := release.Key{Service: f.service, Workload: fleet.Deployment}
	history, err := f.history(t.Context(), k, f.now)
	if err != nil {
		t.Fatal(err)
	}
	if want := int(checkHistory / checkStep); len(history) != want {
		t.Errorf("%d instants, want %d", len(history), want)
	}
	sorted := slices.IsSortedFunc(history, func(a, b release.Instant) int { return a.At.Compare(b.At) })
	if !sorted || len(history[0].Samples) != 2 {
		t.Errorf("sorted: %t; %d samples at first", sorted, len(history[0].Samples))
	}
}
