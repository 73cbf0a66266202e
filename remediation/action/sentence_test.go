package action_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tocsin/collectors/kube"
	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
)

func TestSentence(t *testing.T) {
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	base := action.Action{
		ID: "undo-1", Kind: action.KindRollback, Mode: action.Auto,
		Bad:     fleet.Revision{Hash: "b", Images: []string{"registry/shop/cart:v42"}},
		Good:    fleet.Revision{Hash: "g", Images: []string{"registry/shop/cart:v41"}},
		Verdict: release.Verdict{Reason: "errors worse by +4%"}, Reason: "because",
		Decided: noon, Deadline: noon.Add(30 * time.Minute), Written: noon,
		Rolled: noon.Add(40 * time.Second),
	}
	for _, tc := range []struct {
		state  action.State
		change func(a *action.Action)
		want   string
	}{
		{action.Proposed, nil, "Considers to roll back to v41: because"},
		{action.Waiting, nil, "Asks for approval to roll back to v41: tocsin approve undo-1 (expires 12:30:00 UTC)"},
		{
			action.Refused, func(a *action.Action) {
				a.Guards = []action.Guard{{Name: "mode", Passed: true}, {Name: "help", Reason: "because", Next: "look"}}
			}, "Does not roll back to v41: because; look",
		},
		{action.Running, nil, "Is about to roll back to v41: because"},
		{action.Done, nil, "Has rolled back to v41 at 12:00:00 UTC; watches the rollout"},
		{
			action.Verified, nil,
			"Has rolled back to v41 at 12:00:00 UTC (rolled out 40s later); watches whether it helps",
		},
		{
			action.Recovered, nil,
			"Has rolled back to v41 at 12:00:00 UTC (rolled out 40s later); the service is well again",
		},
		{action.NotRecovered, nil, "Has rolled back to v41 at 12:00:00 UTC, and people must look: because"},
		{
			action.Failed, func(a *action.Action) { a.Written = time.Time{} },
			"Could not roll back to v41: because",
		},
		{action.Superseded, nil, "Has rolled back to v41 at 12:00:00 UTC; then because"},
		{
			action.Superseded, func(a *action.Action) { a.Written = time.Time{} },
			"Did not roll back to v41: because",
		},
		{action.Expired, nil, "Did not roll back to v41: because (tocsin retry undo-1)"},
		{action.Aborted, nil, "Did not roll back to v41: because"},
		{action.Would, nil, "Would have rolled back to v41 at 12:00:00 UTC (mode observe): errors worse by +4%"},
		{
			action.Verified, func(a *action.Action) { a.Kind = action.KindPause },
			"Has paused the rollout at 12:00:00 UTC: the old pods serve; a person decides",
		},
		{
			action.Waiting, func(a *action.Action) { a.Kind = action.KindWebhook },
			"Asks for approval to have the release reverted by webhook: tocsin approve undo-1 (expires 12:30:00 UTC)",
		},
		{
			action.Done, func(a *action.Action) { a.Good.Images = nil },
			"Has rolled back to revision g at 12:00:00 UTC; watches the rollout",
		},
		{
			action.Done, func(a *action.Action) {
				a.Good.Images = []string{"a/cart:v41", "b/proxy:v1"}
				a.Bad.Images = []string{"a/cart:v42", "b/proxy:v1"}
			}, "Has rolled back to cart:v41 at 12:00:00 UTC; watches the rollout",
		},
	} {
		a := base
		a.State = tc.state
		if tc.change != nil {
			tc.change(&a)
		}
		if got := a.Sentence(); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.state, got, tc.want)
		}
	}
	long := base
	long.State, long.Reason = action.Running, strings.Repeat("ä", 400)
	if got := long.Sentence(); len(got) > 300 || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

// TestAnActionSurvivesTheJournal has all that an action holds be written and read back.
func TestAnActionSurvivesTheJournal(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	a := action.Action{
		ID: "undo-1", Release: "r", Kind: action.KindRollback, Mode: action.Ask, State: action.Done,
		Service: fleet.Service{Cluster: "eu", Namespace: "shop", Name: "cart"}, Workload: fleet.Deployment,
		Start: at, Proposed: at, Changed: at, Written: at, Attempt: 2, Approver: "ann", Tried: true,
		Verdict: release.Verdict{Result: release.Regressed, Upper: math.Inf(1), At: at},
		Guards:  []action.Guard{{Name: "mode", Passed: true}}, Steps: []action.Step{{At: at, What: "x"}},
		Request: rollback.Request{
			Action: "undo-1", Bad: "b", Good: "g", Healthy: at, Approved: true, Hold: time.Hour,
			Target: rollback.Target{Cluster: "eu", Kind: fleet.Deployment, Namespace: "shop", Name: "cart"},
			Owners: rollback.Ways{Helm: rollback.Drift}.Owners(),
		},
		Hold: &rollback.Hold{
			Action: "undo-1", Until: at, Owner: kube.Owner{Kind: kube.ArgoApplication, Name: "shop"},
		},
		Outcome: &rollback.Outcome{Result: rollback.Complete, Took: time.Minute},
		Memory:  &action.Bad{Name: "cart", Images: []string{"a"}, At: at},
		End:     &action.ReleaseEnd{State: release.RolledBack, At: at, By: "ann"},
	}
	text, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	var back action.Action
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, back); diff != "" {
		t.Errorf("what was written and read differs (-written +read):\n%s", diff)
	}
}

func TestTheReport(t *testing.T) {
	story(t, action.DefaultPolicy(), func(w *world) {
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(18 * time.Minute)
		w.tell(id, func(r *release.Record) {
			r.Release.State, r.Release.End, r.Release.EndedBy = release.RolledBack, time.Now(), "ann"
		})
		w.pass(time.Minute)
		got := w.engine.Weekly(time.Now().Add(-7*24*time.Hour), time.Now()).String()
		want := `Actions from 1999-12-25 00:19 to 2000-01-01 00:19 (UTC)

done 0 (recovered 0, failed or no help 0); refused 0; not approved in time 0
would have been done 1 (people took 1 of them back later, 0 went on to their end); 18 minutes would have been spared

2000-01-01 00:00  eu/shop/cart
  release   cart:v2
  verdict   errors worse by +4% of requests
  action    rollback in mode observe, 1m0s after the release began: would
            it would have been done: errors worse by +4% of requests
  release   rolled back by ann at 2000-01-01 00:18
  spared    18m0s
`
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the report differs (-want +got):\n%s", diff)
		}
	})
}
