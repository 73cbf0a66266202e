package release_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/release"
)

// noon is when the stories of these tests begin.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// shop is the workload of most of them.
var shop = release.Key{
	Service:  fleet.Service{Cluster: "eu", Namespace: "prod", Name: "shop"},
	Workload: fleet.Deployment,
}

// story feeds a tracker and writes down what it tells.
type story struct {
	t       *testing.T
	tracker *release.Tracker
	opts    release.TrackerOptions
	steps   []release.Transition
	ignored []release.Reason
}

func tell(t *testing.T, o release.TrackerOptions) *story {
	t.Helper()
	s := &story{t: t, opts: o}
	s.opts.Report = func(tr release.Transition) { s.steps = append(s.steps, tr) }
	s.opts.Ignored = func(_ release.Key, why release.Reason) { s.ignored = append(s.ignored, why) }
	s.renew()
	return s
}

func (s *story) renew() {
	s.t.Helper()
	tracker, err := release.NewTracker(s.opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.tracker = tracker
}

// restart replaces the tracker by one that has only read the state of the one before.
func (s *story) restart() {
	s.t.Helper()
	text, err := json.Marshal(s.tracker.State())
	if err != nil {
		s.t.Fatal(err)
	}
	var state release.TrackerState
	if err := json.Unmarshal(text, &state); err != nil {
		s.t.Fatal(err)
	}
	s.renew()
	if err := s.tracker.Restore(state); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) change(kind fleet.ChangeKind, after time.Duration, edit func(*fleet.Change)) {
	c := change(shop, kind, after)
	if edit != nil {
		edit(&c)
	}
	s.tracker.Change(c)
}

func (s *story) rollout(after time.Duration, old, new string) {
	s.tracker.Change(rollout(shop, after, old, new))
}

func (s *story) observe(after time.Duration, edit func(*release.Progress)) {
	p := complete(shop, after, "b")
	if edit != nil {
		edit(&p)
	}
	s.tracker.Observe(p)
}

func change(k release.Key, kind fleet.ChangeKind, after time.Duration) fleet.Change {
	return fleet.Change{
		At: noon.Add(after), Service: k.Service, Workload: k.Workload, UID: "u1", Kind: kind,
		Author: "kim",
	}
}

func rollout(k release.Key, after time.Duration, old, new string) fleet.Change {
	c := change(k, fleet.Rollout, after)
	c.Old = &fleet.Revision{Hash: old, Template: json.RawMessage(`{}`)}
	c.New = &fleet.Revision{Hash: new, Images: []string{"shop:" + new}, Template: json.RawMessage(`{}`)}
	return c
}

// complete is a rollout of three pods that has come to its end.
func complete(k release.Key, after time.Duration, hash string) release.Progress {
	p := release.Progress{
		Key: k, At: noon.Add(after), UID: "u1", Strategy: release.RollingUpdate, Desired: 3,
	}
	p.New = release.Side{Hash: hash, Created: 3, Ready: 3, Available: 3}
	for i := range 3 {
		p.New.Pods = append(p.New.Pods, release.Pod{
			Name: fmt.Sprintf("%s-%d", hash, i), Ready: true, Started: p.At.Add(-10 * time.Second),
		})
	}
	return p
}

// half makes a rollout one in which one new pod and two old ones run.
func half(p *release.Progress) {
	p.New.Created, p.New.Ready, p.New.Available = 1, 1, 1
	p.New.Pods = p.New.Pods[:1]
	p.Old = release.Side{
		Hash: "a", Created: 2, Ready: 2, Available: 2, Pods: []release.Pod{{Name: "a-0"}, {Name: "a-1"}},
	}
}

// release returns the newest release.
func (s *story) release() release.Release {
	s.t.Helper()
	all := s.tracker.Releases(shop)
	if len(all) == 0 {
		s.t.Fatal("no release is known")
	}
	return all[len(all)-1]
}

func (s *story) judge(after time.Duration, result release.Result) {
	s.t.Helper()
	v := release.Verdict{Result: result, At: noon.Add(after)}
	if err := s.tracker.Judged(s.release().ID, v); err != nil {
		s.t.Fatal(err)
	}
}

// wants compares what was told, as from->to, or the kind of a fact.
func (s *story) wants(steps ...string) {
	s.t.Helper()
	var got []string
	for _, tr := range s.steps {
		if tr.Fact != "" {
			got = append(got, string(tr.Fact))
			continue
		}
		got = append(got, string(tr.To))
	}
	if !slices.Equal(got, steps) {
		s.t.Errorf("told %q, want %q", got, steps)
	}
}

func (s *story) standing(hash string) release.Standing {
	for _, k := range s.tracker.Ledger(shop) {
		if k.Hash == hash {
			return k.Standing
		}
	}
	return ""
}

func TestReleaseIsFollowedToItsEnd(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(0, "a", "b")
	s.observe(30*time.Second, half)
	s.restart()
	s.observe(time.Minute, nil)
	s.judge(55*time.Minute, release.Healthy)
	s.restart()
	s.tracker.Advance("eu", noon.Add(60*time.Minute))
	s.wants("rolling", "soaking")
	s.tracker.Advance("eu", noon.Add(70*time.Minute))
	s.wants("rolling", "soaking", "done")
	r := s.release()
	if !r.FirstPod.Equal(noon.Add(20*time.Second)) || !r.Complete.Equal(noon.Add(time.Minute)) ||
		!r.End.Equal(noon.Add(61*time.Minute)) || r.New.Template != nil || r.Author != "kim" {
		t.Errorf("release %+v", r)
	}
	if good, ok := s.tracker.LastGood(shop, "c"); !ok || good.Hash != "b" || good.Release != r.ID {
		t.Errorf("last good %+v, %t, want b", good, ok)
	}
	if _, ok := s.tracker.LastGood(shop, "b"); ok {
		t.Error("a is last good, though nobody has judged it")
	}
	if err := s.tracker.Judged(r.ID, release.Verdict{}); !errors.Is(err, release.ErrNotRunning) {
		t.Errorf("judged after its end: %v", err)
	}
}
