package action

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"

	"tocsin/fleet"
	"tocsin/remediation/rollback"
)

// Scope says which workloads something is about. An empty list takes all; in a pattern `*` stands
// for any letters.
type Scope struct {
	Clusters   []string `json:"clusters,omitempty"`
	Namespaces []string `json:"namespaces,omitempty"`
	Teams      []string `json:"teams,omitempty"`
	Services   []string `json:"services,omitempty"`  // By name.
	Workloads  []string `json:"workloads,omitempty"` // Kinds: Deployment, ...
}

// subject is what a scope is compared with.
type subject struct {
	service  fleet.Service
	workload fleet.Workload
	team     string
}

// matches says whether the scope takes a workload.
func (s *Scope) matches(x subject) bool {
	return anyOf(s.Clusters, x.service.Cluster) && anyOf(s.Namespaces, x.service.Namespace) &&
		anyOf(s.Teams, x.team) && anyOf(s.Services, x.service.Name) &&
		anyOf(s.Workloads, string(x.workload))
}

func anyOf(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil // Patterns were checked.
	})
}

func (s *Scope) check() error {
	for _, list := range [][]string{s.Clusters, s.Namespaces, s.Teams, s.Services, s.Workloads} {
		for _, p := range list {
			if _, err := path.Match(p, ""); err != nil || p == "" {
				return fmt.Errorf("pattern %q: %w", p, path.ErrBadPattern)
			}
		}
	}
	return nil
}

// String names the scope for people.
func (s Scope) String() string {
	text := ""
	for _, part := range []struct {
		name string
		list []string
	}{
		{"cluster", s.Clusters},
		{"namespace", s.Namespaces},
		{"team", s.Teams},
		{"service", s.Services},
		{"kind", s.Workloads},
	} {
		for i, name := range part.list {
			switch {
			case i > 0:
				text += ", "
			case text != "":
				text += "; "
			}
			if i == 0 {
				text += part.name + " "
			}
			text += name
		}
	}
	if text == "" {
		return "everything"
	}
	return text
}

// Rule says what may be done about workloads.
type Rule struct {
	Scope

	Mode    Mode   // Observe.
	MaxMode Mode   // What the annotation of a workload may raise the mode to; Mode.
	Actions []Kind // What may be done at all; none: nothing.
	Owners  rollback.Ways
	Hold    time.Duration // How long an owner is suspended at most; 1h.
}

// may says whether the rule allows a kind of action.
func (r *Rule) may(k Kind) bool {
	if k == KindAbort {
		k = KindRollback // It is the same to people: the release is taken back.
	}
	return slices.Contains(r.Actions, k)
}

// Window is a time in which nothing is done to some workloads.
type Window struct {
	Scope

	Intervals []string // Names of Policy.Intervals.
	Why       string
}

// Limits bound how many workloads are taken back in an hour. Zero: none at all.
type Limits struct {
	Cluster int
	Team    int
	Fleet   int
}

// Storm is when so many releases go bad that something else must be the matter.
type Storm struct {
	Releases int           // More than that many different ones ...
	Share    float64       // ... or more than that share of all services, at least 3 ...
	Window   time.Duration // ... in this time ...
	Freeze   time.Duration // ... stop all actions for so long, unless people are faster.
}

// Switch is where each cluster has a ConfigMap that stops all actions. The zero value is nowhere.
type Switch struct {
	Namespace string
	Name      string
}

// Policy says what may be done, to what, when and how often. It is what a reload changes.
type Policy struct {
	Rules   []Rule // The first that matches counts.
	Default Rule   // If none does.

	Intervals   map[string][]timeinterval.TimeInterval
	Freeze      []Window
	Maintenance []Window

	Approval  time.Duration // How long an approval is waited for, and counts; 30m.
	Confirm   time.Duration // How long a verdict must have stood, unless it is at once; 15s.
	Freshness time.Duration // How old the newest evidence may be; 2m.
	Soak      time.Duration // How long a service is watched after an undo; 10m.
	CoolDown  time.Duration // Between two undos of a workload; 6h.
	Relapse   time.Duration // A bad revision that is back so soon was brought by a reconciler; 10m.
	Limits    Limits
	Storm     Storm
	Breaker   int // So many actions in a row that fail or do not help stop all others; 3.

	HoldBadImages bool                // Pause a release whose images were judged bad elsewhere.
	Dependencies  map[string][]string // What a service calls: namespace/name, or name.
	KillSwitch    Switch
}

// DefaultPolicy returns the policy that does nothing but say what it would do.
func DefaultPolicy() Policy {
	return Policy{
		Default: Rule{Mode: Observe, Actions: []Kind{KindPause, KindRollback}, Hold: time.Hour},

		Approval: 30 * time.Minute, Confirm: 15 * time.Second, Freshness: 2 * time.Minute,
		Soak: 10 * time.Minute, CoolDown: 6 * time.Hour, Relapse: 10 * time.Minute,
		Limits: Limits{Cluster: 5, Team: 5, Fleet: 20},
		Storm: Storm{
			Releases: 10, Share: 0.05, Window: 10 * time.Minute, Freeze: time.Hour,
		},
		Breaker: 3,
	}
}

// policy is a Policy that has been checked.
type policy struct {
	Policy
	intervals *timeinterval.Intervener
	callers   map[string][]string // The other way round: who calls a service.
}

// Check says what is wrong with the policy.
func (p *Policy) Check() error {
	var errs []error
	for i := range p.Rules {
		if err := p.Rules[i].check(); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", i+1, err))
		}
	}
	if err := p.Default.check(); err != nil {
		errs = append(errs, fmt.Errorf("default rule: %w", err))
	}
	for _, w := range slices.Concat(p.Freeze, p.Maintenance) {
		errs = append(errs, w.check(p.Intervals))
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"approval", p.Approval},
		{"freshness", p.Freshness},
		{"soak", p.Soak},
		{"cool-down", p.CoolDown},
		{"relapse", p.Relapse},
		{"storm window", p.Storm.Window},
		{"storm freeze", p.Storm.Freeze},
	} {
		if d.value <= 0 {
			errs = append(errs, fmt.Errorf("%s %s: want a positive duration", d.name, d.value))
		}
	}
	if p.Breaker <= 0 || p.Storm.Releases <= 0 || p.Limits.Fleet < 0 || p.Limits.Cluster < 0 ||
		p.Limits.Team < 0 || p.Storm.Share < 0 || p.Storm.Share > 1 || p.Confirm < 0 {
		errs = append(errs, errors.New("limits, storm and breaker want numbers that bound something"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("check the policy of actions: %w", err)
	}
	return nil
}

func newPolicy(p Policy) (*policy, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	out := &policy{
		Policy: p, intervals: timeinterval.NewIntervener(p.Intervals), callers: map[string][]string{},
	}
	for caller, called := range p.Dependencies {
		for _, name := range called {
			out.callers[name] = append(out.callers[name], caller)
		}
	}
	return out, nil
}

func (r *Rule) check() error {
	for _, m := range []Mode{r.Mode, r.MaxMode} {
		if m != "" && !slices.Contains(Modes(), m) {
			return fmt.Errorf("unknown mode %q", m)
		}
	}
	for _, k := range r.Actions {
		if k == KindAbort || !slices.Contains(Kinds(), k) {
			return fmt.Errorf("unknown kind of action %q", k)
		}
	}
	return r.Scope.check()
}

func (w *Window) check(intervals map[string][]timeinterval.TimeInterval) error {
	for _, name := range w.Intervals {
		if _, ok := intervals[name]; !ok {
			return fmt.Errorf("no time interval %q", name)
		}
	}
	return w.Scope.check()
}

// rule returns what counts for a workload.
func (p *policy) rule(x subject) *Rule {
	for i := range p.Rules {
		if p.Rules[i].matches(x) {
			return &p.Rules[i]
		}
	}
	return &p.Default
}

// within returns the first window that is open for a workload, nil if none is.
func (p *policy) within(windows []Window, x subject, now time.Time) *Window {
	for i := range windows {
		w := &windows[i]
		if !w.matches(x) {
			continue
		}
		if in, _, err := p.intervals.Mutes(w.Intervals, now.UTC()); in && err == nil {
			return w
		}
	}
	return nil
}
