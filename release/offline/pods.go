package offline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"tocsin/release"
	"tocsin/release/evidence"
)

// tick is how far apart the samples of one window may be: pods are not all scraped at the same instant.
const tick = 10 * time.Second

// PodOptions says what Pods judges.
type PodOptions struct {
	Path  string    // A CSV or CSV.gz file; "-" is In.
	In    io.Reader // Standard input.
	Out   io.Writer // Required. One line of JSON for each release.
	Alpha float64   // 0.001.
}

// Line is what is written of each release.
type Line struct {
	Release string         `json:"release"`
	Verdict release.Result `json:"verdict"`
	Time    float64        `json:"time"` // Unix seconds.
	After   float64        `json:"seconds_after_start"`
	Metric  string         `json:"metric"`
	Effect  *float64       `json:"effect"` // Null if nothing is known of it.
	Lower   *float64       `json:"lower"`
	Upper   *float64       `json:"upper"`
	EValue  float64        `json:"e_value"`
	Reason  string         `json:"reason"`
	Tier    release.Tier   `json:"tier"`

	MissingRequests float64 `json:"missing_requests"`
	MissingSeconds  float64 `json:"missing_seconds"`
}

// Pods judges the releases of a recording, one after the other, and writes each as soon as it is decided.
func Pods(o PodOptions) (err error) {
	judge, err := release.New(release.Options{Alpha: o.Alpha})
	if err != nil {
		return err
	}
	in, err := open(o.Path, o.In)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	rows, err := newPodReader(o.Path, in)
	if err != nil {
		return err
	}
	r := &runner{judge: judge, rows: rows, out: json.NewEncoder(o.Out)}
	return r.run()
}

// runner takes the rows of a recording to the judge.
type runner struct {
	judge *release.Judge
	rows  *podReader
	out   *json.Encoder

	name  name
	trial trial // Of name; nil before the first row.
}

// trial is one release, judged as it goes on or at its end.
type trial interface {
	observe(cluster string, w *evidence.Window) (done bool, err error)
	finish() error
}

func (r *runner) run() error {
	var w *windows
	for {
		row, err := r.rows.next()
		if errors.Is(err, io.EOF) {
			return r.end(w)
		}
		if err != nil {
			return err
		}
		if w == nil || row.release != w.release {
			if err := r.turn(&w, row.release); err != nil {
				return err
			}
		}
		if row.at.Before(w.last) {
			return r.rows.bad("time", "earlier than the row before; want the rows of a release in order of time")
		}
		if err := w.add(row); err != nil {
			return err
		}
	}
}

// turn ends one recorded release and begins the next.
func (r *runner) turn(w **windows, text string) error {
	n := parseName(text)
	if r.trial != nil && n.group() != r.name.group() {
		if err := r.end(*w); err != nil {
			return err
		}
		r.trial = nil
	} else if *w != nil {
		if err := (*w).flush(); err != nil {
			return err
		}
	}
	if r.trial == nil {
		r.name, r.trial = n, r.begin(n)
	}
	*w = r.resume(*w, n, text)
	return nil
}

// resume returns the windows of a recorded release. Clusters of one release may take turns.
func (r *runner) resume(_ *windows, n name, text string) *windows {
	if p, ok := r.trial.(*pooled); ok {
		if w, ok := p.windows[text]; ok {
			return w
		}
		w := newWindows(text, func(w *evidence.Window) (bool, error) { return r.trial.observe(n.cluster, w) })
		p.windows[text] = w
		return w
	}
	return newWindows(text, func(w *evidence.Window) (bool, error) { return r.trial.observe(n.cluster, w) })
}

func (r *runner) begin(n name) trial {
	switch {
	case n.history:
		return &past{trial: r.judge.Begin(n.service, r.rows.bounds)}
	case n.cluster != "":
		return &pooled{pool: r.judge.BeginPool(n.service), r: r, name: n.group(), windows: map[string]*windows{}}
	}
	return &single{trial: r.judge.Begin(n.service, r.rows.bounds), r: r, name: n.group()}
}

func (r *runner) end(w *windows) error {
	if r.trial == nil {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	return r.trial.finish()
}

// write writes the line of one release.
func (r *runner) write(name string, v release.Verdict) error {
	err := r.out.Encode(Line{
		Release: name, Verdict: v.Result, Time: float64(v.At.UnixMilli()) / 1000, After: v.Elapsed.Seconds(),
		Metric: v.Metric, Effect: finite(v.Effect), Lower: finite(v.Lower), Upper: finite(v.Upper),
		EValue: v.EValue, Reason: v.Reason, Tier: v.Tier,
		MissingRequests: v.Missing.Requests, MissingSeconds: v.Missing.Time.Seconds(),
	})
	if err != nil {
		return fmt.Errorf("write the verdict on %s: %w", name, err)
	}
	return nil
}

// finite returns nil for what JSON has no number for.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// name is the name of a recorded release: [history/]service[/release[/cluster]].
type name struct {
	history                   bool
	text                      string
	service, release, cluster string
}

func parseName(text string) name {
	n := name{text: text}
	rest, history := strings.CutPrefix(text, "history/")
	n.history = history
	parts := strings.SplitN(rest, "/", 3)
	n.service = parts[0]
	if len(parts) > 1 {
		n.release = parts[1]
	}
	if len(parts) > 2 {
		n.cluster = parts[2]
	}
	return n
}

// group names what is judged together.
func (n name) group() string {
	if n.history || n.cluster == "" {
		return n.text
	}
	return n.service + "/" + n.release
}

// past is a release to learn from.
type past struct{ trial *release.Trial }

func (p *past) observe(_ string, w *evidence.Window) (bool, error) {
	p.trial.Observe(w)
	return false, nil
}

func (p *past) finish() error {
	p.trial.Accept()
	return nil
}

// single is a release of one cluster, judged after each window.
type single struct {
	trial   *release.Trial
	r       *runner
	name    string
	verdict release.Verdict
	written bool
}

func (s *single) observe(_ string, w *evidence.Window) (bool, error) {
	s.trial.Observe(w)
	s.verdict = s.trial.Verdict()
	if s.verdict.Result != release.Regressed {
		return false, nil
	}
	s.written = true
	return true, s.r.write(s.name, s.verdict)
}

func (s *single) finish() error {
	if s.written {
		return nil
	}
	return s.r.write(s.name, s.verdict)
}

// pooled is a release over clusters. Their rows may stand one cluster after the other,
// so it is judged when all are there.
type pooled struct {
	pool    *release.Pool
	r       *runner
	name    string
	windows map[string]*windows
	seen    []clusterWindow
}

type clusterWindow struct {
	cluster string
	window  evidence.Window
}

func (p *pooled) observe(cluster string, w *evidence.Window) (bool, error) {
	p.seen = append(p.seen, clusterWindow{cluster, evidence.Window{At: w.At, Pods: slices.Clone(w.Pods)}})
	return false, nil
}

func (p *pooled) finish() error {
	for _, w := range p.windows {
		if err := w.flush(); err != nil {
			return err
		}
	}
	slices.SortStableFunc(p.seen, func(a, b clusterWindow) int {
		if c := a.window.At.Compare(b.window.At); c != 0 {
			return c
		}
		return strings.Compare(a.cluster, b.cluster)
	})
	var v release.Verdict
	var due time.Time
	for i := range p.seen {
		s := &p.seen[i]
		p.pool.Observe(s.cluster, p.r.rows.bounds, &s.window)
		last := i+1 == len(p.seen)
		if !last && (p.seen[i+1].window.At.Before(due) || p.seen[i+1].window.At.Sub(s.window.At) < time.Second) {
			continue
		}
		due = s.window.At.Add(tick)
		if v = p.pool.Verdict(); v.Result == release.Regressed {
			break
		}
	}
	return p.r.write(p.name, v)
}

// windows gathers the rows of one recorded release into windows.
type windows struct {
	release  string
	observe  func(*evidence.Window) (bool, error)
	counters *evidence.Counters
	window   evidence.Window
	first    time.Time
	last     time.Time
	done     bool // Decided: what follows is not needed.
}

func newWindows(release string, observe func(*evidence.Window) (bool, error)) *windows {
	return &windows{release: release, observe: observe, counters: evidence.NewCounters()}
}

func (w *windows) add(row *podRow) error {
	w.last = row.at
	if w.done {
		return nil
	}
	if len(w.window.Pods) > 0 && (row.at.Sub(w.first) >= tick || w.holds(row.sample.Pod)) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.window.Pods) == 0 {
		w.first = row.at
	}
	w.window.At = row.at
	w.window.Pods = append(w.window.Pods, w.counters.Add(row.at, &row.sample))
	return nil
}

func (w *windows) holds(pod string) bool {
	for i := range w.window.Pods {
		if w.window.Pods[i].Pod == pod {
			return true
		}
	}
	return false
}

// flush hands the window on.
func (w *windows) flush() (err error) {
	if w == nil || len(w.window.Pods) == 0 {
		return nil
	}
	w.counters.EndWindow()
	if !w.done {
		w.done, err = w.observe(&w.window)
	}
	w.window.Pods = w.window.Pods[:0]
	return err
}
