package action_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
)

// everyDay is a time interval that is always on.
var everyDay = map[string][]timeinterval.TimeInterval{
	"always": {{Times: []timeinterval.TimeRange{{StartMinute: 0, EndMinute: 1440}}}},
}

// TestGuards has one thing after the other speak against the undo of a bad release.
func TestGuards(t *testing.T) {
	rule := func(scope action.Scope, mode action.Mode) action.Rule {
		return action.Rule{
			Scope: scope, Mode: mode, Actions: []action.Kind{action.KindPause, action.KindRollback},
		}
	}
	for _, tc := range []struct {
		name   string
		policy func(p *action.Policy)
		before func(w *world)
		after  func(w *world, r *release.Record) // The release has begun.
		want   string
		final  bool
		state  action.State // Refused.
	}{
		{name: "nothing", state: action.Verified},
		{
			name: "annotation says never", before: func(w *world) { w.of("eu", "cart").mode = "never" },
			want: "mode:opted_out", final: true,
		},
		{
			name: "nobody understands the annotation", before: func(w *world) { w.of("eu", "cart").mode = "yes" },
			want: "mode:opted_out", final: true,
		},
		{
			name: "annotation lowers the mode", before: func(w *world) { w.of("eu", "cart").mode = "ask" },
			want: "approval:needs_approval", state: action.Waiting,
		},
		{
			name:   "annotation does not raise the mode by itself",
			policy: func(p *action.Policy) { p.Default.Mode = action.Ask },
			before: func(w *world) { w.of("eu", "cart").mode = "auto" },
			want:   "approval:needs_approval", state: action.Waiting,
		},
		{
			name:   "annotation raises the mode as far as policy lets it",
			policy: func(p *action.Policy) { p.Default.Mode, p.Default.MaxMode = action.Observe, action.Auto },
			before: func(w *world) { w.of("eu", "cart").mode = "auto" },
			state:  action.Verified,
		},
		{
			name:   "policy allows pauses only, and old pods do not serve",
			policy: func(p *action.Policy) { p.Default.Actions = []action.Kind{action.KindPause} },
			before: func(w *world) {
				w.twist = func(r *release.Record) { r.Release.Seen.Old.Available = 0 }
			},
			want: "mode:not_allowed", final: true,
		},
		{
			name: "the first rule that matches counts",
			policy: func(p *action.Policy) {
				p.Rules = []action.Rule{
					rule(action.Scope{Clusters: []string{"us*"}}, action.Auto),
					rule(action.Scope{Namespaces: []string{"shop"}, Workloads: []string{"Deployment"}}, action.Ask),
					rule(action.Scope{}, action.Observe),
				}
			},
			want: "approval:needs_approval", state: action.Waiting,
		},
		{
			name: "a rule for a team",
			policy: func(p *action.Policy) {
				p.Rules = []action.Rule{rule(action.Scope{Teams: []string{"shoppers"}}, action.Observe)}
			},
			state: action.Would,
		},
		{
			name: "freeze",
			policy: func(p *action.Policy) {
				p.Intervals = everyDay
				p.Freeze = []action.Window{{Intervals: []string{"always"}}}
			},
			want: "switch:freeze",
		},
		{
			name: "maintenance of another cluster, and of this namespace",
			policy: func(p *action.Policy) {
				p.Intervals = everyDay
				p.Maintenance = []action.Window{
					{Scope: action.Scope{Clusters: []string{"us"}}, Intervals: []string{"always"}},
					{Scope: action.Scope{Namespaces: []string{"sh*"}}, Intervals: []string{"always"}, Why: "migration"},
				}
			},
			want: "switch:maintenance",
		},
		{
			name: "evidence is old", before: func(w *world) { w.lag = 3 * time.Minute },
			want: "verdict:stale",
		},
		{
			name: "evidence of the future", before: func(w *world) { w.lag = -5 * time.Minute },
			want: "verdict:clock",
		},
		{
			name: "evidence cannot be read", before: func(w *world) { w.unread = errors.New("Prometheus is away") },
			want: "verdict:unread cause:unread",
		},
		{
			name:   "journal is damaged",
			before: func(w *world) { w.context.Doubt = "the journal has a gap" },
			want:   "verdict:doubt",
		},
		{
			name:  "the verdict is withdrawn",
			after: func(_ *world, r *release.Record) { r.Verdict.Result = release.Healthy },
			want:  "verdict:inconclusive",
		},
		{
			name:  "regressed by weak evidence alone",
			after: func(_ *world, r *release.Record) { r.Verdict.Tier = release.Pause },
			want:  "verdict:weak",
		},
		{
			name: "a verdict of just now",
			after: func(_ *world, r *release.Record) {
				r.Decided = nil // It counts from when tocsin heard of it.
			},
			policy: func(p *action.Policy) { p.Confirm = time.Hour },
			want:   "verdict:unconfirmed", state: action.Proposed,
		},
		{
			name:   "overwhelming evidence waits for nothing",
			after:  func(_ *world, r *release.Record) { r.Verdict.Tier = release.AtOnce },
			policy: func(p *action.Policy) { p.Confirm = time.Hour },
			state:  action.Verified,
		},
		{
			name:   "it began before",
			before: func(w *world) { w.context.Before = "latency since 09:12" },
			want:   "cause:before",
		},
		{
			name:   "the whole fleet",
			before: func(w *world) { w.context.FleetWide = "errors of 40 services" },
			want:   "cause:fleet_wide",
		},
		{
			name:   "the same release in several clusters is no trouble of the fleet",
			before: func(w *world) { w.context.FleetWide = "errors in us, too" },
			after: func(_ *world, r *release.Record) {
				r.Basis, r.Clusters = release.ByClusters, []string{"eu", "us"}
			},
			state: action.Verified,
		},
		{
			name:   "what it calls",
			before: func(w *world) { w.context.Dependency = "payments" },
			want:   "cause:dependency",
		},
		{
			name:   "the nodes",
			before: func(w *world) { w.context.Nodes = "3 are not ready" },
			want:   "cause:nodes",
		},
		{
			name:   "no revision was good",
			before: func(w *world) { w.good["cart"] = release.Known{} },
			want:   "help:no_good_revision identity:unrehearsed", final: true,
		},
		{
			name:   "the last revision was bad, too",
			before: func(w *world) { w.good["cart"] = release.Known{Hash: "v1", Standing: release.Bad} },
			want:   "help:no_good_revision", final: true,
		},
		{
			name: "a ConfigMap changed",
			before: func(w *world) {
				w.of("eu", "cart").refusal = &rollback.Refusal{Code: rollback.ConfigChanged, What: "ConfigMap/x"}
			},
			want: "help:config_changed identity:unrehearsed", final: true,
		},
		{
			name: "tocsin may not",
			before: func(w *world) {
				w.of("eu", "cart").refusal = &rollback.Refusal{
					Code: rollback.Forbidden, What: "may not patch", Next: "grant it",
				}
			},
			want: "identity:forbidden", final: true,
		},
		{
			name: "the cluster is away",
			before: func(w *world) {
				w.clusters["eu"].fail = func(string) error { return errors.New("connection refused") }
			},
			want: "help:unreachable identity:unrehearsed",
		},
		{
			name:  "nobody may write there",
			after: func(w *world, _ *release.Record) { delete(w.clusters, "eu") },
			want:  "help:no_executor identity:unrehearsed", final: true,
		},
		{
			name:  "a rollback of a rollback",
			after: func(_ *world, r *release.Record) { r.Release.Back, r.Release.Undoes = true, "x" },
			want:  "once:undo_of_undo", final: true,
		},
		{
			name:   "nothing is allowed in an hour",
			policy: func(p *action.Policy) { p.Limits.Cluster = 0 },
			want:   "blast:cluster_limit",
		},
		{
			name:   "several things at once",
			before: func(w *world) { w.context.Nodes, w.lag = "3 are not ready", time.Hour },
			policy: func(p *action.Policy) { p.Limits.Fleet = 0 },
			want:   "verdict:stale cause:nodes blast:fleet_limit",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := auto()
				if tc.policy != nil {
					tc.policy(&p)
				}
				w := newWorld(t, p)
				w.options.Team = func(fleet.Service) string { return "shoppers" }
				o := w.of("eu", "cart")
				if tc.before != nil {
					tc.before(w)
				}
				w.start()
				defer func() { w.stop() }()
				id := w.release("eu", "cart", "v2", bad(release.RollBack))
				if tc.after != nil { // It is bad at first, so that an action is proposed.
					r := *w.records[id]
					tc.after(w, &r)
					w.records[id] = &r
				}
				w.pass(time.Minute)
				a := w.the(id, true)
				state := tc.state
				if state == "" {
					state = action.Refused
				}
				if refusals(a) != tc.want || a.State != state || a.Final != tc.final {
					t.Errorf("it is %s (final: %v): %s; want %s (final: %v): %s", a.State, a.Final,
						refusals(a), state, tc.final, tc.want)
				}
				if state == action.Refused && o.undos() != 0 {
					t.Errorf("it was refused and written %d times", o.undos())
				}
				for _, g := range a.Guards {
					if state == action.Refused && !g.Passed && g.Reason == "" {
						t.Errorf("guard %s does not say why", g.Name)
					}
				}
			})
		})
	}
}

func TestCoolDown(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Hour)
		id := w.release("eu", "cart", "v3", bad(release.RollBack))
		w.pass(time.Minute)
		if a := w.the(id, true); refusals(a) != "blast:cool_down" && refusals(a) != "once:cool_down" {
			t.Errorf("it is %s: %s", a.State, refusals(a))
		}
		w.pass(6 * time.Hour)
		if n := w.of("eu", "cart").undos(); n != 2 {
			t.Errorf("%d undos after the cool-down", n)
		}
	})
}

func TestLimitsOfAnHour(t *testing.T) {
	p := with(auto(), func(p *action.Policy) {
		p.Limits = action.Limits{Cluster: 2, Team: 10, Fleet: 3}
	})
	story(t, p, func(w *world) {
		for n := range 3 {
			for _, c := range []string{"eu", "us"} {
				name := fmt.Sprint("s", n)
				w.service(c, name)
				w.release(c, name, "v2", bad(release.RollBack))
				w.pass(20 * time.Second)
			}
		}
		count := func(c string) int {
			all := 0
			for _, o := range w.clusters[c].objects {
				all += o.undos()
			}
			return all
		}
		if count("eu") != 2 || count("us") != 1 {
			t.Errorf("%d and %d undos", count("eu"), count("us"))
		}
		w.pass(90 * time.Minute)
		if count("eu")+count("us") != 6 {
			t.Errorf("%d and %d undos after the hour", count("eu"), count("us"))
		}
	})
}

func TestOneOfAChainAtATime(t *testing.T) {
	p := with(auto(), func(p *action.Policy) {
		p.Dependencies = map[string][]string{"shop/web": {"shop/api"}, "api": {"cart"}}
	})
	story(t, p, func(w *world) {
		w.service("eu", "web")
		w.service("eu", "api")
		w.service("eu", "other")
		w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(20 * time.Second)
		id := w.release("eu", "web", "v2", bad(release.RollBack))
		w.release("eu", "other", "v2", bad(release.RollBack))
		w.pass(time.Minute)
		if a := w.the(id, true); refusals(a) != "blast:chain" {
			t.Errorf("it is %s: %s", a.State, refusals(a))
		}
		if w.of("eu", "other").undos() != 1 {
			t.Error("a service beside the chain was held up")
		}
		w.pass(20 * time.Minute)
		if w.of("eu", "web").undos() != 1 {
			t.Errorf("it is %s: %s", w.the(id, true).State, refusals(w.the(id, true)))
		}
	})
}

func TestAReloadCounts(t *testing.T) {
	story(t, action.DefaultPolicy(), func(w *world) {
		w.context.Nodes = "one is not ready" // It is refused, and so open.
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Minute)
		if err := w.engine.Apply(action.Policy{}); err == nil {
			t.Error("a policy without bounds was taken")
		}
		if err := w.engine.Apply(auto()); err != nil {
			t.Fatal(err)
		}
		w.context.Nodes = ""
		w.pass(time.Minute)
		if a := w.the(id, true); a.State != action.Verified || a.Mode != action.Auto {
			t.Errorf("it is %s in mode %s", a.State, a.Mode)
		}
	})
}

func TestMetrics(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.context.Nodes = "one is not ready"
		w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(5 * time.Minute)
		if n, err := testutil.GatherAndCount(w.registry); err != nil || n < 200 {
			t.Errorf("%d series, %v", n, err)
		}
		problems, err := testutil.GatherAndLint(w.registry)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
		families, err := w.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "tocsin_action_refusals_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				want := 0.0
				if m.GetLabel()[0].GetValue() == "nodes" {
					want = 1
				}
				if got := m.GetCounter().GetValue(); got != want {
					t.Errorf("%v: %v, want %v", m.GetLabel(), got, want)
				}
			}
		}
	})
}
