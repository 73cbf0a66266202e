package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"tocsin/release/evidence"
)

// ErrNotQuiet means that a workload was being released in the history that it was to be checked by.
var ErrNotQuiet = errors.New("a release was running")

// Instant is what the pods of a workload were like at one instant.
type Instant struct {
	At      time.Time
	Samples []Sample
}

// Quiet returns the workloads of a cluster that have not been released for some time, by name.
// Their history is what Check wants.
func (m *Manager) Quiet(cluster string, now time.Time, least time.Duration) []Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Key
	for k, f := range m.tracker.workloads {
		if k.Service.Cluster == cluster && f.Current != "" && f.quiet(now.Add(-least), now) {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, Key.compare)
	return out
}

// quiet reports whether no release of a workload ran within a time.
func (f *Followed) quiet(from, to time.Time) bool {
	if f.Running != nil && f.Running.Start.Before(to) {
		return false
	}
	for i := range f.Past {
		if f.Past[i].Start.Before(to) && f.Past[i].End.After(from) {
			return false
		}
	}
	return true
}

// Check judges releases that were none: pieces of quiet history of a workload, some of whose pods
// are called new. If too many of them are called regressed, the judge is stricter with the workload
// from then on. History is in the order of time, an hour of it at least, and best a night; it takes
// seconds, during which the manager goes on.
func (m *Manager) Check(k Key, history []Instant) (Checked, error) {
	if len(history) == 0 {
		return Checked{}, fmt.Errorf("check %s: no history", k.Service)
	}
	name := modelName(k)
	judge, err := m.lendJudge(k, history[0].At, history[len(history)-1].At)
	if err != nil {
		return Checked{}, fmt.Errorf("check %s: %w", k.Service, err)
	}
	bounds := commonBounds(history)
	c := judge.Check(name, bounds, quietWindows(history, bounds))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.judge.checked[name] = &c
	for _, d := range m.services[k.Service] {
		d.record.Bound = m.judge.Strictness(modelName(d.key)) / m.judge.opts.Alpha
	}
	if c.Strictness > 1 {
		m.logger.Warn("Judge is stricter with a workload", "service", k.Service.String(),
			"false", c.False, "trials", c.Trials, "strictness", c.Strictness)
	}
	return c, nil
}

// lendJudge returns a judge that knows what this one knows of a workload, and shares nothing.
func (m *Manager) lendJudge(k Key, from, to time.Time) (*Judge, error) {
	name := modelName(k)
	m.mu.Lock()
	f := m.tracker.workloads[k]
	if f == nil || !f.quiet(from, to) {
		m.mu.Unlock()
		return nil, ErrNotQuiet
	}
	s := m.judge.State()
	s.Services, s.Checked = map[string]*evidence.Model{}, map[string]*Checked{}
	if model := m.judge.models[name]; model != nil {
		s.Services[name] = model
	}
	if c := m.judge.checked[name]; c != nil {
		s.Checked[name] = c
	}
	text, err := json.Marshal(s)
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var read JudgeState
	if err := json.Unmarshal(text, &read); err != nil {
		return nil, err
	}
	judge, err := New(m.opts.Judge)
	if err != nil {
		return nil, err
	}
	return judge, judge.Restore(read)
}

// commonBounds returns the buckets that all samples have; nil if those are too few.
func commonBounds(history []Instant) []float64 {
	var common []float64
	for i := range history {
		for j := range history[i].Samples {
			s := &history[i].Samples[j]
			switch {
			case !sound(s.Bounds, s.Latency):
			case common == nil:
				common = slices.Clone(s.Bounds)
			case !slices.Equal(common, s.Bounds):
				common = intersection(common, s.Bounds)
			}
		}
	}
	if len(common) < leastBounds {
		return nil
	}
	return common
}

// quietWindows turns the samples of pods into windows of one revision.
func quietWindows(history []Instant, bounds []float64) []evidence.Window {
	d := &dossier{counters: evidence.NewCounters(), counted: map[string]*counted{}, bounds: bounds}
	d.refills = mostRefills // Buckets stay what they are.
	windows := make([]evidence.Window, 0, len(history))
	for i := range history {
		in := &history[i]
		w := evidence.Window{At: in.At.UTC()}
		for j := range in.Samples {
			s := &in.Samples[j]
			k := d.counted[s.Pod]
			if s.Pod == "" || len(w.Pods) >= mostPods || k != nil && !k.last.Before(w.At) {
				continue
			}
			var buckets []float64
			if bounds != nil {
				buckets, _ = d.project(s)
			}
			w.Pods = append(w.Pods, d.count(w.At, s, s.Pod, podSide{}, buckets))
		}
		d.counters.EndWindow()
		windows = append(windows, w)
	}
	return windows
}
