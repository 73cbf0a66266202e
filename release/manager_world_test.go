package release_test

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/release/evidence"
	"tocsin/release/simulation"
)

// world is a few clusters as they really are, and the daemon's loop around a manager.
type world struct {
	t       *testing.T
	opts    release.ManagerOptions
	manager *release.Manager
	now     time.Time
	places  []*workload
	events  []release.Event

	dark bool // The source of samples does not answer.
}

// workload is one of them: its pods, and the samples of them that its source has.
type workload struct {
	key      release.Key
	old, new string // Hashes.
	begins   time.Time
	look     func(*release.Progress) // Edits what a look finds.
	source   []instant
	edit     func(*release.Sample)
}

// instant is what a source has of one.
type instant struct {
	at      time.Time
	samples []release.Sample
}

func newWorld(t *testing.T, o release.ManagerOptions) *world {
	t.Helper()
	w := &world{t: t, opts: o, now: noon.Add(-20 * time.Minute)}
	w.opts.Report = func(e release.Event) { w.events = append(w.events, e) }
	w.renew()
	return w
}

func (w *world) renew() {
	w.t.Helper()
	m, err := release.NewManager(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.manager = m
}

// soak is a soak time.
func soak(d time.Duration) release.ManagerOptions {
	return release.ManagerOptions{Tracker: release.TrackerOptions{Soak: d}}
}

// restart replaces the manager by one that has only read the state of the one before.
func (w *world) restart() {
	w.t.Helper()
	state, err := w.manager.State()
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := json.Marshal(state)
	if err != nil {
		w.t.Fatal(err)
	}
	var read release.ManagerState
	if err := json.Unmarshal(text, &read); err != nil {
		w.t.Fatal(err)
	}
	w.renew()
	if err := w.manager.Restore(read); err != nil {
		w.t.Fatal(err)
	}
}

// workloadOf names a workload after a made-up service.
func workloadOf(cluster, name string) *workload {
	return &workload{
		key: release.Key{
			Service:  fleet.Service{Cluster: cluster, Namespace: "prod", Name: name},
			Workload: fleet.Deployment,
		},
		old: "a", new: "b",
	}
}

// add makes up a release of a service that begins at noon, and records all samples beforehand.
func (w *world) add(p *workload, s *simulation.Service, h simulation.Harm) *workload {
	w.t.Helper()
	p.begins = noon
	counters := map[string]*release.Sample{}
	s.Release(h, func(win *evidence.Window) bool {
		in := instant{at: win.At}
		for i := range win.Pods {
			in.samples = append(in.samples, p.count(counters, &win.Pods[i]))
		}
		p.source = append(p.source, in)
		return true
	})
	w.places = append(w.places, p)
	return p
}

// count adds what a pod did to its counters.
func (p *workload) count(
	counters map[string]*release.Sample, s *evidence.PodSample,
) release.Sample {
	name := podName(p, s.Pod, s.New)
	k := counters[name]
	if k == nil {
		k = &release.Sample{
			Service: p.key.Service, Pod: name, Restarts: math.NaN(), MemoryLimit: 1e9,
			Bounds: simulation.Bounds(), Latency: make([]float64, len(simulation.Bounds())),
		}
		if !s.New {
			k.Requests, k.Errors, k.CPUSeconds = 1e6, 3000, 500
		}
		counters[name] = k
	}
	add := func(to *float64, v float64) {
		if evidence.Known(v) {
			*to += v
		}
	}
	add(&k.Requests, s.Requests)
	add(&k.Errors, s.Errors)
	add(&k.CPUSeconds, s.CPUSeconds)
	k.MemoryBytes = s.MemoryBytes
	sum := 0.0
	for i, v := range s.Latency {
		sum += v
		k.Latency[i] += sum
	}
	out := *k
	out.Latency = slices.Clone(k.Latency)
	if p.edit != nil {
		p.edit(&out)
	}
	return out
}

// podName names pods as a Deployment does.
func podName(p *workload, pod string, fresh bool) string {
	hash := p.old
	if fresh {
		hash = p.new
	}
	return p.key.Service.Name + "-" + hash + "-" + strings.TrimLeft(pod, "oldnew-")
}

// shown returns how far a rollout is, by the pods that have samples now.
func (w *world) shown(p *workload) release.Progress {
	g := release.Progress{
		Key: p.key, At: w.now, UID: "u-" + p.key.Service.String(), Strategy: release.RollingUpdate,
		Old: release.Side{Hash: p.old, Match: p.key.Service.Name + "-" + p.old + "-[0-9]+"},
		New: release.Side{Hash: p.new, Match: p.key.Service.Name + "-" + p.new + "-[0-9]+"},
	}
	for _, in := range p.source {
		if !in.at.Equal(w.now) {
			continue
		}
		for i := range in.samples {
			side := &g.Old
			pod := release.Pod{Name: in.samples[i].Pod, Ready: true, Started: noon.Add(-48 * time.Hour)}
			if strings.HasPrefix(pod.Name, p.key.Service.Name+"-"+p.new+"-") {
				side, pod.Started = &g.New, p.first(pod.Name)
			}
			side.Pods = append(side.Pods, pod)
			side.Created++
			side.Ready++
			side.Available++
			g.Desired++
		}
	}
	if p.look != nil {
		p.look(&g)
	}
	return g
}

// first returns when a pod had its first sample.
func (p *workload) first(pod string) time.Time {
	for _, in := range p.source {
		for i := range in.samples {
			if in.samples[i].Pod == pod {
				return in.at
			}
		}
	}
	return time.Time{}
}

// step is one tick of the daemon's loop.
func (w *world) step() {
	w.now = w.now.Add(simulation.Tick)
	for _, p := range w.places {
		if p.begins.Equal(w.now) {
			w.manager.Change(fleet.Change{
				ID: "c-" + p.key.Service.String(), At: w.now, Service: p.key.Service, Workload: p.key.Workload,
				UID: "u-" + p.key.Service.String(), Kind: fleet.Rollout, Author: "kim",
				Old: &fleet.Revision{Hash: p.old, Images: []string{"shop:" + p.old}},
				New: &fleet.Revision{Hash: p.new, Images: []string{"shop:" + p.new}},
			})
		}
	}
	for _, cluster := range w.clusters() {
		w.tick(cluster)
	}
}

func (w *world) clusters() []string {
	var out []string
	for _, p := range w.places {
		if !slices.Contains(out, p.key.Service.Cluster) {
			out = append(out, p.key.Service.Cluster)
		}
	}
	return out
}

func (w *world) tick(cluster string) {
	m := w.manager
	for _, want := range m.Wanted(cluster, w.now) {
		if p := w.place(want.Key); p != nil && (p.begins.IsZero() || !w.now.Before(p.begins)) {
			m.Observe(w.shown(p))
		}
	}
	if !w.dark {
		w.fetch(cluster)
	}
	m.Advance(cluster, w.now)
}

func (w *world) place(k release.Key) *workload {
	for _, p := range w.places {
		if p.key == k {
			return p
		}
	}
	return nil
}

// fetch hands over what is wanted, instant by instant.
func (w *world) fetch(cluster string) {
	wants := w.manager.Wanted(cluster, w.now)
	at := map[time.Time][]release.Sample{}
	for _, want := range wants {
		p := w.place(want.Key)
		if p == nil || want.Until.IsZero() {
			continue
		}
		for _, in := range p.source {
			if in.at.After(want.Since) && !in.at.After(want.Until) {
				for i := range in.samples {
					if wanted(want, in.samples[i].Pod) {
						at[in.at] = append(at[in.at], in.samples[i])
					}
				}
			}
		}
	}
	var times []time.Time
	for t := range at {
		times = append(times, t)
	}
	slices.SortFunc(times, time.Time.Compare)
	for _, t := range times {
		w.manager.Sample(cluster, t, at[t])
	}
	for _, want := range wants {
		if !want.Until.IsZero() {
			w.manager.Fetched(want.Release, want.Until)
		}
	}
}

func wanted(w release.Want, pod string) bool {
	if pod == "" || slices.Contains(w.Old, pod) || slices.Contains(w.New, pod) {
		return true
	}
	for _, m := range w.Match {
		if regexp.MustCompile("^(?:" + m + ")$").MatchString(pod) {
			return true
		}
	}
	return false
}

// until runs the loop up to some time after noon, or until stop says so.
func (w *world) until(after time.Duration, stop func() bool) {
	for w.now.Before(noon.Add(after)) && (stop == nil || !stop()) {
		w.step()
	}
}

// record returns the record of a workload's newest release.
func (w *world) record(p *workload) release.Record {
	w.t.Helper()
	var found *release.Record
	records := w.manager.Records()
	for i := range records {
		if records[i].Release.Key == p.key {
			found = &records[i]
		}
	}
	if found == nil {
		w.t.Fatalf("no release of %s is known", p.key.Service)
	}
	return *found
}

// decided reports whether a release has been called regressed.
func (w *world) decided(p *workload) func() bool {
	return func() bool {
		for i := range w.events {
			if e := &w.events[i]; e.Release.Key == p.key && e.Decided != nil {
				return true
			}
		}
		return false
	}
}

// shop adds a release of a medium service in eu.
func (w *world) shop(i int, s simulation.Style, watch time.Duration, h simulation.Harm) *workload {
	w.t.Helper()
	return w.add(workloadOf("eu", "shop"), made(i, 1, s, watch), h)
}

// made makes up a service whose releases begin at noon.
func made(i int, class int, style simulation.Style, watch time.Duration) *simulation.Service {
	return simulation.NewService(i, 77, simulation.Shape{
		Class: simulation.Classes()[class], Style: style,
		Before: 15 * time.Minute, Watch: watch, Start: noon,
	})
}
