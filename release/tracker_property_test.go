package release_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/release"
)

// history makes up what happens to a few workloads, and remembers what it told, to tell it again.
type history struct {
	rng    *rand.Rand
	now    time.Duration
	places []*place
	told   []func(*release.Tracker)
	count  int // Of changes.
}

// place is a workload as it really is.
type place struct {
	key       release.Key
	hash, old string
	uid       string
	gone      bool
	releases  int // How many there really were.
}

func newHistory(seed uint64) *history {
	h := &history{rng: rand.New(rand.NewPCG(seed, 4))}
	for i := range 3 {
		k := shop
		k.Service.Name = fmt.Sprintf("shop-%d", i)
		h.places = append(h.places, &place{key: k, gone: true})
	}
	return h
}

// next returns what the trackers are told next; each of the reports goes to all of them.
func (h *history) next() []func(*release.Tracker) {
	h.now += time.Duration(1+h.rng.IntN(600)) * time.Second
	p := h.places[h.rng.IntN(len(h.places))]
	var out []func(*release.Tracker)
	switch n := h.rng.IntN(20); {
	case p.gone:
		out = append(out, h.create(p))
	case n < 6:
		out = append(out, h.release(p)...)
	case n < 12:
		out = append(out, h.progress(p))
	case n < 14:
		out = append(out, h.minor(p))
	case n < 17:
		out = append(out, h.verdict(p))
	case n == 17:
		out = append(out, h.remove(p))
	case n == 18:
		now := noon.Add(h.now)
		out = append(out, func(t *release.Tracker) { t.Advance("eu", now) })
	}
	h.told = append(h.told, out...)
	if len(h.told) > 0 && h.rng.IntN(3) == 0 {
		out = append(out, h.told[h.rng.IntN(len(h.told))]) // Once more, however old.
	}
	return out
}

func (h *history) change(p *place, kind fleet.ChangeKind) fleet.Change {
	h.count++
	c := change(p.key, kind, h.now)
	c.ID, c.UID = fmt.Sprint(h.count), p.uid
	return c
}

func tells(c fleet.Change) func(*release.Tracker) {
	return func(t *release.Tracker) { t.Change(c) }
}

func (h *history) create(p *place) func(*release.Tracker) {
	p.gone, p.uid, p.hash, p.old = false, fmt.Sprintf("u%d", h.count), h.hash(), ""
	c := h.change(p, fleet.Created)
	c.New = &fleet.Revision{Hash: p.hash}
	return tells(c)
}

func (h *history) remove(p *place) func(*release.Tracker) {
	p.gone = true
	return tells(h.change(p, fleet.Deleted))
}

func (h *history) hash() string { return string(rune('a' + h.rng.IntN(5))) }

// release changes the template, now and then two times before the first is told, in the wrong
// order.
func (h *history) release(p *place) []func(*release.Tracker) {
	var out []func(*release.Tracker)
	for range 1 + h.rng.IntN(3) {
		h.now += time.Duration(1+h.rng.IntN(100)) * time.Second
		c := h.change(p, fleet.Rollout)
		next := h.hash()
		c.Old, c.New = &fleet.Revision{Hash: p.hash}, &fleet.Revision{Hash: next}
		if next != p.hash {
			p.releases++
			p.old, p.hash = p.hash, next
		}
		out = append(out, tells(c))
	}
	if h.rng.IntN(2) == 0 {
		h.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return out
}

func (h *history) progress(p *place) func(*release.Tracker) {
	o := complete(p.key, h.now, p.hash)
	o.UID = p.uid
	if h.rng.IntN(2) == 0 && p.old != "" {
		half(&o)
		o.Old.Hash = p.old
		o.New.Pods[0].Ready = false
		o.New.Pods[0].Waiting = []string{"", "CrashLoopBackOff", "ErrImagePull"}[h.rng.IntN(3)]
	}
	return func(t *release.Tracker) { t.Observe(o) }
}

func (h *history) minor(p *place) func(*release.Tracker) {
	kinds := []fleet.ChangeKind{
		fleet.Scaled, fleet.Restarted, fleet.Paused, fleet.Resumed, fleet.Warning,
	}
	c := h.change(p, kinds[h.rng.IntN(len(kinds))])
	c.Event = &fleet.Event{Reason: "Unhealthy", Object: "Pod/" + p.hash + "-0", Last: c.At}
	return tells(c)
}

func (h *history) verdict(p *place) func(*release.Tracker) {
	v := release.Verdict{Result: release.Result(h.rng.IntN(3)), At: noon.Add(h.now)}
	return func(t *release.Tracker) {
		for _, r := range t.Running("eu") {
			if r.Key == p.key {
				_ = t.Judged(r.ID, v) // It may have ended since.
			}
		}
	}
}

// witness checks what a tracker tells.
type witness struct {
	t       *testing.T
	last    map[string]release.Transition
	running map[release.Key]string
	begun   map[release.Key]int
	lines   []string
}

func (w *witness) report(tr release.Transition) {
	r := tr.Release
	before := w.last[r.ID]
	if tr.Step != before.Step+1 || tr.From != before.To {
		w.t.Errorf("step %d from %q follows step %d to %q", tr.Step, tr.From, before.Step, before.To)
	}
	if before.To != "" && !before.To.Running() {
		w.t.Errorf("%s is told of after it was %s", r.ID, before.To)
	}
	if tr.From == "" {
		w.begun[r.Key]++
	}
	other := w.running[r.Key]
	switch {
	case tr.To.Running() && other != "" && other != r.ID:
		w.t.Errorf("%s is %s while %s runs", r.ID, tr.To, other)
	case tr.To.Running():
		w.running[r.Key] = r.ID
	case other == r.ID:
		delete(w.running, r.Key)
	}
	w.last[r.ID] = tr
	text, err := json.Marshal(tr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.lines = append(w.lines, string(text))
}

// accepted checks that only releases that were done and healthy made a revision good.
func (w *witness) accepted(tracker *release.Tracker, k release.Key) {
	for _, known := range tracker.Ledger(k) {
		last := w.last[known.Release]
		good := last.To == release.Done && last.Release.Result == release.Healthy
		if known.Standing == release.Accepted && !good {
			w.t.Errorf("%s is good by a release that is %s, %s",
				known.Hash, last.To, last.Release.Result)
		}
	}
}

// current checks that what runs is on the way to what its workload really asks for.
func (w *witness) current(tracker *release.Tracker, h *history) {
	for _, r := range tracker.Running("eu") {
		for _, p := range h.places {
			if p.key == r.Key && (p.gone || p.hash != r.New.Hash) {
				w.t.Errorf("%s goes to %s, want %s", r.Service, r.New.Hash, p.hash)
			}
		}
	}
}

// TestRandomHistories tells the same history, with late and doubled reports, to a tracker that
// runs through and to one that is restarted in between.
func TestRandomHistories(t *testing.T) {
	done, superseded := 0, 0
	for seed := range uint64(20) {
		through, restarted := watch(t), watch(t)
		h := newHistory(seed)
		for step := range 200 {
			for _, report := range h.next() {
				report(through.tracker)
				report(restarted.tracker)
			}
			through.current(through.tracker, h)
			if h.rng.IntN(4) == 0 {
				restarted.restart()
			}
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
		same(t, through, restarted)
		for _, p := range h.places {
			through.accepted(through.tracker, p.key)
			if n := through.begun[p.key]; n != p.releases {
				t.Errorf("%s: %d releases of %d", p.key.Service, n, p.releases)
			}
		}
		for _, tr := range through.last {
			switch tr.To {
			case release.Done:
				done++
			case release.Superseded:
				superseded++
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if done < 30 || superseded < 300 {
		t.Errorf("%d done and %d superseded: these histories show little", done, superseded)
	}
}

// watched is a story with a witness.
type watched struct {
	*story
	*witness
}

func watch(t *testing.T) watched {
	w := &witness{
		t: t, last: map[string]release.Transition{},
		running: map[release.Key]string{}, begun: map[release.Key]int{},
	}
	o := release.TrackerOptions{Past: 100, Soak: 20 * time.Minute, Report: w.report}
	s := &story{t: t, opts: o}
	s.renew()
	return watched{s, w}
}

func (w watched) restart() { w.story.restart() }

// same compares what two trackers told and know.
func same(t *testing.T, a, b watched) {
	t.Helper()
	for i := range min(len(a.lines), len(b.lines)) {
		if a.lines[i] != b.lines[i] {
			t.Fatalf("restarted it says\n%s\ninstead of\n%s", b.lines[i], a.lines[i])
		}
	}
	one, err := json.Marshal(a.tracker.State())
	if err != nil {
		t.Fatal(err)
	}
	two, err := json.Marshal(b.tracker.State())
	if err != nil {
		t.Fatal(err)
	}
	if len(a.lines) != len(b.lines) || string(one) != string(two) {
		t.Fatalf("restarted it knows\n%s\ninstead of\n%s", two, one)
	}
}

// BenchmarkTracker looks once at each of 500 releases of 40 pods that are running.
func BenchmarkTracker(b *testing.B) {
	tracker, err := release.NewTracker(release.TrackerOptions{})
	if err != nil {
		b.Fatal(err)
	}
	looks := make([]release.Progress, 500)
	for i := range looks {
		k := shop
		k.Service.Name = fmt.Sprintf("shop-%d", i)
		tracker.Change(rollout(k, 0, "a", "b"))
		p := complete(k, time.Minute, "b")
		half(&p)
		for j := range 38 {
			p.New.Pods = append(p.New.Pods, release.Pod{Name: fmt.Sprintf("b-%d", j), Started: noon})
		}
		looks[i] = p
	}
	b.ReportAllocs()
	now := noon
	for b.Loop() {
		now = now.Add(time.Millisecond)
		for i := range looks {
			looks[i].At = now
			tracker.Observe(looks[i])
		}
		tracker.Advance("eu", now)
	}
	if n := len(tracker.Running("eu")); n != 500 {
		b.Fatalf("%d releases are running", n)
	}
}
