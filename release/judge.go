package release

import (
	"errors"
	"fmt"
	"math"
	"time"

	"tocsin/release/evidence"
)

// Options configures a Judge. Zero values stand for the defaults given here.
type Options struct {
	Alpha float64       // The chance that a harmless release is called Regressed; 0.001.
	Ready time.Duration // How long new pods must have run before they can be Healthy; 10 minutes.
}

// Judge knows what harmless releases of each service look like. It belongs to one goroutine.
type Judge struct {
	opts    Options
	scale   *evidence.Scale
	fleet   *evidence.Fleet
	models  map[string]*evidence.Model
	checked map[string]*Checked
}

// New returns a judge that knows no service yet.
func New(o Options) (*Judge, error) {
	if o.Alpha == 0 {
		o.Alpha = 0.001
	}
	if o.Alpha < 0 || o.Alpha >= 1 || math.IsNaN(o.Alpha) {
		return nil, fmt.Errorf("alpha %g: want a share between 0 and 1", o.Alpha)
	}
	if o.Ready == 0 {
		o.Ready = 10 * time.Minute
	}
	if o.Ready < 0 {
		return nil, errors.New("a release cannot be ready before it starts")
	}
	return &Judge{
		opts: o, scale: evidence.NewScale(), fleet: &evidence.Fleet{},
		models: map[string]*evidence.Model{}, checked: map[string]*Checked{},
	}, nil
}

// model returns what is known of a service.
func (j *Judge) model(service string) *evidence.Model {
	m, ok := j.models[service]
	if !ok {
		m = evidence.NewModel(j.fleet)
		j.models[service] = m
	}
	return m
}

// Releases returns how many releases of a service the judge has learnt from.
func (j *Judge) Releases(service string) int {
	if m, ok := j.models[service]; ok {
		return m.Releases()
	}
	return 0
}

// Forget drops what is known of a service, also from what the fleet has shown.
func (j *Judge) Forget(service string) {
	if m, ok := j.models[service]; ok {
		m.Leave()
	}
	delete(j.models, service)
	delete(j.checked, service)
}

// Fleet returns how many accepted releases, of how many services, tell what to expect of a new one.
func (j *Judge) Fleet() (releases, services int) { return j.fleet.Releases() }

// Begin starts to follow a release of a service whose latency histograms have these
// upper bounds (ascending, the last +Inf; nil if there are none).
func (j *Judge) Begin(service string, bounds []float64) *Trial {
	m := j.model(service)
	return &Trial{judge: j, service: service, model: m, ledger: evidence.NewLedger(bounds, m)}
}

// Trial follows one release.
type Trial struct {
	judge   *Judge
	service string
	model   *evidence.Model
	ledger  *evidence.Ledger
	now     time.Time
}

// Observe takes in what the pods did since the window before. Windows of old pods
// from before the release are welcome: they tell what is usual.
func (t *Trial) Observe(w *evidence.Window) {
	t.now = w.At
	t.ledger.Add(w)
}

// Started returns when the first new pod appeared; zero if none has.
func (t *Trial) Started() time.Time { return t.ledger.Start() }

// Accept makes the release part of what its service's harmless releases look like. Call it once, for
// releases that were accepted; the failed ones must never become normal.
func (t *Trial) Accept() { t.model.Learn(t.ledger) }

// Verdict weighs all that has been observed.
func (t *Trial) Verdict() Verdict {
	v := Verdict{At: t.now, Elapsed: t.ledger.Elapsed(), EValue: 1}
	if t.ledger.Start().IsZero() {
		v.Reason = "no pod of the new revision has been seen"
		v.Missing.Time = t.judge.opts.Ready
		return v
	}
	for k := range evidence.Metrics {
		v.Metrics = append(v.Metrics, t.weigh(k))
	}
	v.conclude(t.judge.opts, t.judge.Strictness(t.service), t.ledger.Requests())
	return v
}

func (t *Trial) weigh(k evidence.Metric) evidence.Finding {
	switch k {
	case evidence.ErrorLevel:
		return t.judge.scale.WeighLevel(t.ledger, t.model)
	case evidence.Memory:
		return t.judge.scale.WeighMemory(t.ledger, t.model)
	}
	return t.judge.scale.Weigh(t.ledger, t.model, k)
}

// Smallest is what the releases of a service can show: smaller harm is not called Regressed within half an
// hour, as a rule.
type Smallest struct {
	Within  time.Duration    `json:"within_ns"`
	Effects []SmallestEffect `json:"effects"` // Of the metrics of which something is known.
}

// SmallestEffect is that of one metric, as verdicts show effects.
type SmallestEffect struct {
	Metric  string  `json:"metric"`
	Visible bool    `json:"visible"` // Some effect would show.
	Effect  float64 `json:"effect"`
}

// Smallest returns what this release can show, from how many pods there are so far, their traffic, and what
// harmless releases differ by.
func (t *Trial) Smallest() Smallest {
	s := Smallest{Within: smallestWithin}
	for k := range evidence.ErrorLevel {
		bound := math.Log(t.judge.Strictness(t.service) / t.judge.opts.Alpha / weights[k])
		effect := t.judge.scale.Smallest(t.ledger, t.model, k, bound, smallestWithin)
		if math.IsNaN(effect) {
			continue
		}
		e := SmallestEffect{Metric: k.String(), Visible: !math.IsInf(effect, 0)}
		if e.Visible {
			e.Effect = effect
		}
		s.Effects = append(s.Effects, e)
	}
	return s
}

const smallestWithin = 30 * time.Minute
