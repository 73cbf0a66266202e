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
	c.New = &fleet.Revision{
		Hash: new, Images: []string{"shop:" + new}, Template: json.RawMessage(`{}`),
	}
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

func TestWhatIsNoRelease(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.change(fleet.Created, 0, func(c *fleet.Change) { c.New = &fleet.Revision{Hash: "a"} })
	s.change(fleet.Scaled, time.Minute, nil)
	s.change(fleet.Restarted, 2*time.Minute, nil)
	s.rollout(3*time.Minute, "a", "a")
	s.rollout(4*time.Minute, "", "b")
	s.change("moved", 5*time.Minute, nil)
	s.wants()
	want := []release.Reason{
		release.ScaleOnly, release.RestartOnly, release.SameTemplate, release.Malformed,
		release.Malformed,
	}
	if !slices.Equal(s.ignored, want) {
		t.Errorf("ignored for %q, want %q", s.ignored, want)
	}
}

func TestThirdReleaseSupersedes(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(0, "a", "b")
	s.observe(time.Minute, nil)
	s.judge(2*time.Minute, release.Healthy)
	first := s.release()
	s.rollout(3*time.Minute, "b", "c")
	s.wants("rolling", "soaking", "superseded", "rolling")
	err := s.tracker.Judged(first.ID, release.Verdict{Result: release.Healthy})
	if !errors.Is(err, release.ErrNotRunning) {
		t.Errorf("judged what is superseded: %v", err)
	}
	if got := s.standing("b"); got != release.Unknown {
		t.Errorf("b is %s, though it never ended", got)
	}
	if got := s.tracker.Running("eu"); len(got) != 1 || got[0].New.Hash != "c" {
		t.Errorf("running: %+v", got)
	}
}

func TestSomebodyElseRollsBack(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(0, "a", "b")
	bad := s.release()
	s.observe(time.Minute, half)
	s.rollout(2*time.Minute, "b", "a")
	s.wants("rolling", "rolled back", "rolling")
	if got := s.steps[1].Release; got.ID != bad.ID || got.EndedBy != "kim" {
		t.Errorf("rolled back: %+v", got)
	}
	if r := s.release(); !r.Back || r.Undoes != bad.ID {
		t.Errorf("the way back is %+v", r)
	}
	s.observe(3*time.Minute, func(p *release.Progress) {
		half(p)
		p.New.Hash, p.Old.Hash = "a", "b"
		p.New.Pods = []release.Pod{{Name: "a-0", Started: noon, Waiting: "CrashLoopBackOff"}}
	})
	if r := s.release(); len(r.Facts) > 0 || len(r.NewPods()) > 0 {
		t.Errorf("a pod from before is held to be new: %+v", r)
	}
	s.rollout(4*time.Minute, "a", "b")
	if r := s.release(); r.Back {
		t.Errorf("going forward again is %+v", r)
	}
}

func TestLedger(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(0, "a", "b")
	s.observe(time.Minute, nil)
	s.judge(2*time.Minute, release.Regressed)
	s.judge(61*time.Minute-time.Second, release.Healthy)
	s.tracker.Advance("eu", noon.Add(2*time.Hour))
	if r := s.release(); r.State != release.Done || r.Result != release.Regressed {
		t.Errorf("ended %s, %s, want regressed to stay", r.State, r.Result)
	}
	if got := s.standing("b"); got != release.Bad {
		t.Errorf("b is %s after a regression", got)
	}
	s.rollout(3*time.Hour, "b", "c")
	s.observe(3*time.Hour+time.Minute, func(p *release.Progress) { p.New.Hash = "c" })
	s.judge(3*time.Hour+2*time.Minute, release.Healthy)
	s.tracker.Advance("eu", noon.Add(5*time.Hour))
	if got := s.standing("c"); got != release.Unknown {
		t.Errorf("c is %s by a verdict that was an hour old", got)
	}
	if err := s.tracker.Mark(shop, "b", release.Accepted, "kim", noon.Add(6*time.Hour)); err != nil {
		t.Error(err)
	}
	if good, ok := s.tracker.LastGood(shop, "c"); !ok || good.Hash != "b" || good.By != "kim" {
		t.Errorf("last good %+v, %t", good, ok)
	}
	s.rollout(7*time.Hour, "c", "b")
	if r := s.release(); r.Was != release.Accepted || r.Good != "" {
		t.Errorf("back to what kim accepted: %+v", r)
	}
	err := s.tracker.Mark(shop, "z", release.Accepted, "kim", noon)
	if !errors.Is(err, release.ErrUnknownRevision) {
		t.Errorf("mark of an unknown revision: %v", err)
	}
	if err := s.tracker.Mark(shop, "b", "fine", "kim", noon); err == nil {
		t.Error("a standing that does not exist was taken")
	}
}

func TestLedgerKeepsTheLastGood(t *testing.T) {
	s := tell(t, release.TrackerOptions{Revisions: 7})
	s.rollout(0, "a", "r0")
	if err := s.tracker.Mark(shop, "a", release.Accepted, "kim", noon); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		s.rollout(time.Duration(i+1)*time.Minute, fmt.Sprintf("r%d", i), fmt.Sprintf("r%d", i+1))
	}
	if n := len(s.tracker.Ledger(shop)); n != 7 {
		t.Errorf("%d revisions, want 7", n)
	}
	if good, _ := s.tracker.LastGood(shop, ""); good.Hash != "a" {
		t.Errorf("last good %+v, want a", good)
	}
}

func TestFactsOfNewPodsOnly(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	warn := func(after time.Duration, reason, object string) {
		s.change(fleet.Warning, after, func(c *fleet.Change) {
			c.Event = &fleet.Event{Reason: reason, Object: object, Last: noon.Add(after)}
		})
	}
	s.rollout(0, "a", "b")
	warn(time.Second, "BackOff", "Pod/b-0") // Overtakes the watch of pods.
	warn(time.Second, "BackOff", "Pod/a-0")
	warn(2*time.Second, "FailedScheduling", "Pod/b-0")
	s.wants("rolling")
	s.restart()
	s.observe(20*time.Second, func(p *release.Progress) {
		half(p)
		p.Old.Pods[0].Waiting = "CrashLoopBackOff"
		p.New.Pods[0].Terminated, p.New.Pods[0].Ready = "OOMKilled", false
		p.Conditions = []release.Condition{
			{Reason: "MinimumReplicasUnavailable"},
			{Reason: "ProgressDeadlineExceeded", Since: noon.Add(-time.Hour)}, // Of the one before.
		}
	})
	s.wants("rolling", "CrashLoopBackOff", "OOMKilled", "MinimumReplicasUnavailable")
	warn(30*time.Second, "Unhealthy", "Pod/b-0")
	warn(30*time.Second, "Unhealthy", "Pod/b-0")
	warn(31*time.Second, "BackOff", "Pod/b-0")
	if got := s.steps[len(s.steps)-1]; len(s.steps) != 5 || got.Fact != release.FailedProbes {
		t.Errorf("%d steps, last %+v", len(s.steps), got)
	}
	f := s.release().Facts[0]
	if !f.Last.Equal(noon.Add(31*time.Second)) || !slices.Equal(f.Pods, []string{"b-0"}) {
		t.Errorf("crash loop: %+v", f)
	}
}

func TestStalled(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(0, "a", "b")
	s.observe(time.Minute, half)
	s.change(fleet.Paused, 2*time.Minute, nil)
	s.observe(20*time.Minute, func(p *release.Progress) { half(p); p.Paused = true })
	s.change(fleet.Resumed, 21*time.Minute, nil)
	s.observe(30*time.Minute, half)
	s.wants("rolling")
	s.observe(32*time.Minute, half)
	s.wants("rolling", "stalled")
	if at := s.steps[1].At; !at.Equal(noon.Add(31 * time.Minute)) {
		t.Errorf("stalled at %s", at)
	}
	s.observe(33*time.Minute, func(p *release.Progress) { half(p); p.New.Available = 2 })
	s.observe(34*time.Minute, func(p *release.Progress) {
		half(p)
		p.Conditions = []release.Condition{{Reason: "ProgressDeadlineExceeded"}}
	})
	s.observe(35*time.Minute, nil)
	s.wants("rolling", "stalled", "rolling", "ProgressDeadlineExceeded", "stalled", "soaking")
}

func TestLostAndDeleted(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(0, "a", "b")
	s.tracker.Advance("eu", noon.Add(6*time.Hour))
	s.wants("rolling", "lost")
	s.rollout(7*time.Hour, "b", "c")
	s.change(fleet.Deleted, 8*time.Hour, nil)
	s.wants("rolling", "lost", "rolling", "deleted")
	s.observe(9*time.Hour, half) // Of the object that is gone.
	s.rollout(7*time.Hour, "b", "c")
	s.change(fleet.Created, 10*time.Hour, func(c *fleet.Change) {
		c.UID, c.New = "u2", &fleet.Revision{Hash: "d"}
	})
	s.change(fleet.Deleted, 11*time.Hour, nil) // Again, of the one before.
	if got := s.tracker.Releases(shop); len(got) != 2 || len(s.steps) != 4 {
		t.Errorf("releases %+v, %d steps", got, len(s.steps))
	}
}

func TestAClusterThatIsNotWatchedAnyMore(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(0, "a", "b")
	s.tracker.Remove("us", noon.Add(time.Minute))
	s.wants("rolling")
	s.tracker.Remove("eu", noon.Add(time.Minute))
	s.wants("rolling", "lost")
	s.rollout(7*time.Hour, "b", "c") // It is back.
	s.wants("rolling", "lost", "rolling")
}

func TestFirstSightOfARollout(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.observe(time.Minute, half)
	s.rollout(30*time.Second, "a", "b") // The change comes after it has been seen.
	s.wants("rolling")
	if r := s.release(); r.Old.Hash != "a" || !r.Start.Equal(noon.Add(50*time.Second)) {
		t.Errorf("release %+v", r)
	}
	s = tell(t, release.TrackerOptions{})
	s.observe(time.Minute, nil)
	s.wants()
}

func TestToldLate(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(2*time.Minute, "b", "c")
	s.rollout(time.Minute, "a", "b")
	s.rollout(time.Minute, "a", "b")
	s.wants("rolling", "superseded")
	if got := s.tracker.Running("eu"); len(got) != 1 || got[0].New.Hash != "c" {
		t.Errorf("running %+v", got)
	}
	s.rollout(3*time.Minute, "c", "b")
	if r := s.release(); !r.Back {
		t.Errorf("b is older than c: %+v", r)
	}
}

func TestTrackerIsBounded(t *testing.T) {
	s := tell(t, release.TrackerOptions{Releases: 2, Workloads: 3})
	key := func(i int) release.Key {
		k := shop
		k.Service.Name = fmt.Sprintf("shop-%d", i)
		return k
	}
	for i := range 4 {
		s.tracker.Change(rollout(key(i), 0, "a", "b"))
	}
	want := []release.Reason{release.TooManyReleases, release.TooManyWorkloads}
	if n := len(s.tracker.Running("eu")); n != 2 || !slices.Equal(s.ignored, want) {
		t.Errorf("%d running, ignored %q", n, s.ignored)
	}
	other := key(0)
	other.Service.Cluster = "us"
	s.tracker.Change(rollout(other, 0, "a", "b"))
	s.tracker.Change(change(key(0), fleet.Deleted, time.Minute))
	s.tracker.Change(rollout(key(3), 2*time.Minute, "a", "b"))
	if len(s.ignored) != 2 || len(s.tracker.Running("us")) != 1 || s.tracker.Releases(key(0)) != nil {
		t.Errorf("what is deleted makes no room: %q", s.ignored)
	}
}

func TestTrackerRefuses(t *testing.T) {
	for _, o := range []release.TrackerOptions{{Soak: -1}, {Releases: -1}, {Revisions: 3}} {
		if _, err := release.NewTracker(o); err == nil {
			t.Errorf("options %+v were taken", o)
		}
	}
	over := release.Release{Key: shop, ID: "x", State: release.Done}
	for _, f := range [][]release.Followed{
		{{Key: shop}, {Key: shop}},
		{{Key: shop, Running: &over}},
		{{Key: shop, Running: &release.Release{ID: "x", State: release.Rolling}}},
		{{Key: shop, Past: []release.Release{{Key: shop, ID: "x", State: "odd"}}}},
		{{Key: shop, Ledger: []release.Known{{Hash: "a", Standing: "odd"}}}},
	} {
		tracker, err := release.NewTracker(release.TrackerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := tracker.Restore(release.TrackerState{Workloads: f}); err == nil {
			t.Errorf("state %+v was taken", f)
		}
		if n := len(tracker.State().Workloads); n > 0 {
			t.Errorf("%d workloads of a refused state", n)
		}
	}
}

func TestFactsByReason(t *testing.T) {
	for _, tc := range []struct {
		reason, message string
		want            release.FactKind
	}{
		{"BackOff", "Back-off restarting failed container", release.CrashLoop},
		{"BackOff", "Back-off pulling image", release.ImagePull},
		{"Failed", "Failed to pull image", release.ImagePull},
		{"Failed", "Error: no such command", release.FailedStart},
		{"Unhealthy", "Readiness probe failed", release.FailedProbes},
		{"OOMKilling", "Memory cgroup out of memory", release.OOMKilled},
		{"FailedMount", "no such secret", ""},
	} {
		s := tell(t, release.TrackerOptions{})
		s.rollout(0, "a", "b")
		s.observe(time.Second, half)
		s.change(fleet.Warning, time.Minute, func(c *fleet.Change) {
			c.Event = &fleet.Event{
				Reason: tc.reason, Message: tc.message, Object: "Pod/b-0", Last: c.At,
			}
		})
		facts := s.release().Facts
		if tc.want == "" && len(facts) == 0 {
			continue
		}
		if len(facts) != 1 || facts[0].Kind != tc.want || facts[0].Message != tc.message {
			t.Errorf("%s, %q: %+v, want %q", tc.reason, tc.message, facts, tc.want)
		}
	}
}

func TestReleaseIsBounded(t *testing.T) {
	s := tell(t, release.TrackerOptions{Pods: 2, Past: 2})
	s.rollout(0, "a", "b")
	for i := range 17 {
		s.change(fleet.Warning, time.Minute, func(c *fleet.Change) {
			object := fmt.Sprintf("Pod/x-%d", i)
			c.Event = &fleet.Event{Reason: "Unhealthy", Object: object, Last: c.At}
		})
	}
	s.observe(2*time.Minute, nil)
	if r := s.release(); len(r.NewPods()) != 2 {
		t.Errorf("%d new pods, want 2", len(r.NewPods()))
	}
	for i, hash := range []string{"b", "c", "d"} {
		s.rollout(time.Duration(i+3)*time.Minute, hash, string(hash[0]+1))
	}
	s.rollout(time.Minute, "a", "z") // Of a time that is forgotten.
	want := []release.Reason{release.TooManyWarnings, release.Late}
	if n := len(s.tracker.Releases(shop)); n != 3 || !slices.Equal(s.ignored, want) {
		t.Errorf("%d releases, ignored %q, want %q", n, s.ignored, want)
	}
}

func TestCreatedAnew(t *testing.T) {
	s := tell(t, release.TrackerOptions{})
	s.rollout(0, "a", "b")
	anew := func(c *fleet.Change) { c.UID, c.New = "u2", &fleet.Revision{Hash: "b"} }
	s.change(fleet.Created, time.Minute, anew) // Nobody told that it was deleted.
	s.change(fleet.Created, time.Minute, anew)
	s.wants("rolling", "deleted")
	if got := s.tracker.Running("eu"); len(got) != 0 {
		t.Errorf("running %+v", got)
	}
}
