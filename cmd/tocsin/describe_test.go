package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/api"
	"tocsin/remediation/action"
)

func TestDescribe(t *testing.T) {
	h := startHouse(t)
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string // In what is printed.
	}{
		{
			"a bad release",
			[]string{"release", "8c1"},
			0,
			[]string{
				"Release      8c1d2f\n",
				"Service      eu/shop/cart (Deployment)\n",
				"Released     cart:v41 -> cart:v42, by argocd\n",
				"State        rolling, 4 of 12 pods are new, 3 of them available\n",
				"Verdict      regressed (evidence for: roll back), 1m22s after the first new pod, " +
					"e-value 4120 of 1000 that a regression takes\n",
				"Rests on     4 new pods against 8 old ones, data until ",
				"+0s     the release begins, by argocd\n",
				"+3s     the first new pod starts\n",
				"+30s    CrashLoopBackOff of cart-7d9f8-abcde and 1 more pods\n",
				"+1m25s  judged regressed (roll back): errors worse by +4.80% of requests\n",
				"+1m30s  rollback: waits for an approval\n",
				"errors                +4.8 points  +3.1 to +6.9 points  16318    1320 / 5210  67 / 15  ±21%",
				"back-off [31m restarting",
				"Smallest effects that such a release can show within 30m\n",
				"errors                +0.4 points\n",
				"nothing would show\n",
				"77c1 (old)  accepted",
				"d09e (new)  regressed",
				"undo-5b0d  waiting  rollback  ask",
				"tocsin approve undo-5b0d     lets it go on, for the next ",
				"tocsin mark 8c1d2f accepted",
			},
		},
		{
			"a release that cannot be judged",
			[]string{"release", "8c77aa"},
			0,
			[]string{
				"Verdict      inconclusive, 3m after the first new pod, e-value 0.4\n",
				"Missing      about 3400 more requests of new pods, or about 7m\n",
				"the service as a whole, before and after",
				"+3m    judged inconclusive: errors may be worse",
				"tocsin mark 8c77aa regressed",
			},
		},
		{
			"a release of the journal",
			[]string{"release", "77ffee"},
			0,
			[]string{
				"State        rolled back, by bob\n", "Because      the new pods are gone\n",
				"But          it was called regressed before: errors worse",
			},
		},
		{
			"an action by the end of its ID",
			[]string{"action", "5b0"},
			0,
			[]string{
				"Action       undo-5b0d\n",
				"What         rollback, mode ask: cart:v42 -> cart:v41\n",
				"State        waiting: a person is to approve it\n",
				"Evidence     regressed (roll back): errors worse",
				"Approved     not yet; can be until ",
				"mode      pass     the mode is ask",
				"config    NO       ConfigMap cart has changed since  compare it and act by hand\n",
				"approval  not yet  a person is to approve it",
				"  patch Deployment cart\n",
				"+1m30s  rollback: waits for an approval\n",
				"tocsin abort undo-5b0d",
			},
		},
		{
			"an incident",
			[]string{"incident", "1a2"},
			0,
			[]string{
				"What         cart: errors 12.4% instead of 0.3%\n",
				"State        open, critical\n",
				"Services     eu/shop/cart, eu/shop/mail\n",
				"Release      v42 rolling of eu/shop/cart (Deployment) (tocsin describe release 8c1d2f)\n",
				"Evidence     errors +4.8 points, 95% interval +3.1 to +6.9 points, 1m22s after",
				"-40s   cart: image cart:v41 -> cart:v42, by argocd\n",
				"+50s   waits for an approval\n",
				"http errors  12.4%     0.3%      +12.1 points (41 times)",
				"the same service, 40s before",
				"tocsin describe action undo-5b0d",
				"tocsin acknowledge 1a2b",
				"tocsin feedback useful|not-useful|expected 1a2b",
			},
		},
		{
			"an incident that is over",
			[]string{"incident", "1aff"},
			0,
			[]string{"State        resolved, warning: quiet for 5m; acknowledged by ann\n", "30m\n"},
		},
		{
			"a service by its name",
			[]string{"service", "cart"},
			0,
			[]string{
				"Service      eu/shop/cart\n",
				"Pages        0.33 a week of 0.50 that shop/cart may cost; threshold 4.62\n",
				"http_errors  finding  12.4%     0.3%      0% to 1.1%",
				"2h of 24h of history",
				"1a2b  critical",
				"8c1d2f  rolling",
			},
		},
		{"a service in full", []string{"service", "eu/shop/mail"}, 0, []string{"eu/shop/mail", "8c77aa"}},
		{"no such service", []string{"service", "none"}, 2, []string{"tocsin get services"}},
		{
			"half a release",
			[]string{"release", "8c"},
			2,
			[]string{"2 releases begin with 8c", "8c77aa, 8c1d2f"},
		},
		{"no such release", []string{"release", "ab"}, 2, []string{"tocsin get releases lists them"}},
		{"no such action", []string{"action", "ab"}, 2, []string{"tocsin get actions lists them"}},
		{"a path", []string{"release", "../status"}, 2, []string{"neither an ID nor a name"}},
		{"a question", []string{"release", "8c?x=1"}, 2, []string{"neither an ID nor a name"}},
		{"a bad form", []string{"release", "8c1d2f", "-o", "xml"}, 2, []string{"text or json"}},
		{"nothing", []string{"release"}, 2, []string{"accepts 1 arg", "tocsin describe release --help"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h.says(t, tc.code, append([]string{"describe"}, tc.args...), tc.want...)
		})
	}
}

func TestDescribeJSON(t *testing.T) {
	h := startHouse(t)
	out, code := h.tocsin(t, "describe", "release", "8c1", "-o", "json")
	var d api.ReleaseDetail
	if err := json.Unmarshal([]byte(out), &d); err != nil || code != 0 {
		t.Fatalf("exit %d, %v: %s", code, err, out)
	}
	if d.Release.ID != "8c1d2f" || len(d.Actions) != 1 || len(d.Verdict.Metrics) != 2 ||
		len(d.Ledger) != 2 || len(d.Steps) != 3 {
		t.Errorf("got %+v", d)
	}
}

func TestDescribeServiceOfADaemonThatFollowsNoReleases(t *testing.T) {
	h := startHouseWith(t, func(o *api.Options) { o.Releases, o.Actions = nil, nil })
	out := h.says(t, 0, []string{"describe", "service", "cart"}, "1a2b  critical")
	if strings.Contains(out, "Last releases") {
		t.Errorf("printed\n%s", out)
	}
	h.says(t, 1, []string{"describe", "release", "8c1"}, "this daemon does")
	h.says(t, 1, []string{"get", "actions"}, "this daemon does")
	h.says(t, 1, []string{"pause"}, "this daemon does")
	h.says(t, 1, []string{"report"}, "this daemon does")
}

// TestChoices wants that of every state people know what they can do.
func TestChoices(t *testing.T) {
	for state, want := range map[action.State][]string{
		action.Proposed: {"abort"}, action.Waiting: {"approve", "abort"}, action.Refused: {"retry"},
		action.Running: {"abort"}, action.Done: nil, action.Verified: nil, action.Recovered: nil,
		action.NotRecovered: nil, action.Superseded: nil, action.Expired: {"retry"},
		action.Failed: {"retry"}, action.Aborted: {"retry"}, action.Would: nil,
	} {
		var got []string
		for _, c := range choicesOf(&action.Action{ID: "a1", State: state}, time.Now()) {
			if words := strings.Fields(c.command); len(words) == 3 && words[2] == "a1" {
				got = append(got, words[1])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", state, got, want)
		}
	}
	if len(action.States()) != 13 {
		t.Errorf("there are %d states: say what people can do in each", len(action.States()))
	}
}
