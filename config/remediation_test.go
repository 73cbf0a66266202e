package config

import (
	"strings"
	"testing"
	"time"
)

func TestRulesInheritFromRemediation(t *testing.T) {
	c, err := Parse("tocsin.yaml", []byte(head+`remediation:
  mode: ask
  actions: [rollback]
  owners: {helm: drift, hold: 2h}
  rules:
    - match: {clusters: [prod]}
      mode: auto
    - match: {namespaces: [test-*]}
      actions: [pause]
      owners: {flux: suspend}
  dependencies: {shop/web: [cart], web: [login]}
`))
	if err != nil {
		t.Fatal(err)
	}
	r := &c.Remediation
	first, second := r.Rules[0], r.Rules[1]
	if first.Mode != "auto" || strings.Join(first.Actions, " ") != "rollback" || first.Owners != r.Owners {
		t.Errorf("the first rule is %+v", first)
	}
	if second.Mode != "ask" || strings.Join(second.Actions, " ") != "pause" ||
		second.Owners.Helm != "drift" || second.Owners.Flux != "suspend" ||
		time.Duration(second.Owners.Hold) != 2*time.Hour {
		t.Errorf("the second rule is %+v", second)
	}
	if got := r.Calls("shop", "web"); len(got) != 1 || got[0] != "cart" {
		t.Errorf("shop/web calls %v", got)
	}
	if got := r.Calls("other", "web"); len(got) != 1 || got[0] != "login" {
		t.Errorf("other/web calls %v", got)
	}
}

func TestNothingIsWrittenByDefault(t *testing.T) {
	c, err := Parse("tocsin.yaml", []byte(head))
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Remediation; r.Mode != "observe" || r.MaxMode != "" || len(r.Rules) != 0 {
		t.Errorf("the default is %+v", r)
	}
}

func TestWhoWrites(t *testing.T) {
	for _, tc := range []struct{ text, file, context string }{
		{"{context: eu}", "", "eu"},
		{"{kubeconfig: a, context: eu}", "a", "eu"},
		{"{kubeconfig: a, context: eu, act_as: {context: writer}}", "a", "writer"},
		{"{in_cluster: true, act_as: {kubeconfig: b, context: writer}}", "b", "writer"},
	} {
		c, err := Parse("tocsin.yaml", []byte(head+"    kubernetes: "+tc.text+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		file, context := c.Clusters[0].Kubernetes.Writer()
		if file != tc.file || context != tc.context {
			t.Errorf("%s: %q, %q", tc.text, file, context)
		}
	}
}

func TestMistakesInRemediation(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{
			"unknown modes, kinds and ways",
			"  mode: automatic\n  actions: [rolback, notify]\n  owners: {helm: suspend}\n",
			[]string{
				`6: remediation.mode: unknown value "automatic"; write one of observe, ask, auto`,
				`7: remediation.actions[0]: unknown value "rolback"; write rollback`,
				`7: remediation.actions[1]: unknown value "notify"; write one of pause, rollback, webhook`,
				`8: remediation.owners.helm: unknown value "suspend"; write one of ask, drift`,
			},
		},
		{
			"rules that match nothing",
			"  rules:\n    - match: {clusters: [prodd], kinds: [Deploiment, ReplicaSet]}\n",
			[]string{
				`7: remediation.rules[0].match.clusters[0]: "prodd" matches no cluster; write prod`,
				`7: remediation.rules[0].match.kinds[0]: "Deploiment" matches no kind of workload; write Deployment`,
				`7: remediation.rules[0].match.kinds[1]: "ReplicaSet" matches no kind of workload; ` +
					`write one of Deployment, StatefulSet, DaemonSet, Rollout`,
			},
		},
		{
			"unknown teams and bad patterns",
			"  rules:\n    - match: {teams: [shopp], services: ['[']}\n" +
				"alerting:\n  teams:\n    - {name: shop, namespaces: [shop]}\n",
			[]string{
				`7: remediation.rules[0].match.teams[0]: "shopp" matches no team of alerting.teams; write shop`,
				`7: remediation.rules[0].match.services[0]: "[" is not a pattern of names; ` +
					`write a name, or a pattern such as pay-*`,
			},
		},
		{
			"a rule behind one that takes everything",
			"  rules:\n    - mode: ask\n    - match: {clusters: [prod]}\n",
			[]string{
				`7: remediation.rules[0].match: it matches everything: later rules never count; ` +
					`write it as the last rule`,
			},
		},
		{
			"a most that is less",
			"  mode: auto\n  max_mode: ask\n",
			[]string{`7: remediation.max_mode: ask is below the mode auto; write auto, or leave it out`},
		},
		{
			"windows",
			"  freeze:\n    - {why: rest}\n    - {intervals: [weekend]}\n",
			[]string{
				`7: remediation.freeze[0].intervals: is missing or empty; write [the name of a time interval]`,
				`8: remediation.freeze[1].intervals[0]: time interval "weekend" is not defined; ` +
					`write time_intervals: with one of this name`,
			},
		},
		{
			"an unknown interval",
			"  maintenance:\n    - {intervals: [wekend]}\ntime_intervals:\n  - {name: weekend, time_intervals: []}\n",
			[]string{`7: remediation.maintenance[0].intervals[0]: unknown value "wekend"; write weekend`},
		},
		{
			"bounds",
			"  breaker: 0\n  cool_down: 0s\n  limits_per_hour: {fleet: -1}\n  storm: {share: 5}\n",
			[]string{
				`6: remediation.breaker: is not above 0; write more than 0`,
				`7: remediation.cool_down: is not above 0; write more than 0`,
				`8: remediation.limits_per_hour.fleet: is not above 0; write more than 0`,
				`9: remediation.storm.share: 5 is not above 0, or is more than 1; write a share such as 0.05`,
			},
		},
		{
			"half a kill switch, no webhook, strange services",
			"  kill_switch: {name: stop}\n  actions: [webhook]\n  dependencies: {shop/*: [a/b/c]}\n",
			[]string{
				`6: remediation.kill_switch: namespace or name is missing; write both, or none of them`,
				`7: remediation.actions: there is no webhook to call; write remediation.webhook with a url`,
				`8: remediation.dependencies.shop/*: "shop/*" is not the name of a service; ` +
					`write namespace/name, or name`,
				`8: remediation.dependencies.shop/*[0]: "a/b/c" is not the name of a service; ` +
					`write namespace/name, or name`,
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("f", []byte(head+"remediation:\n"+tc.text))
			if err == nil {
				t.Fatal("nothing is wrong with it")
			}
			got := strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n")
			if want := "\n" + strings.Join(tc.want, "\n"); got != want {
				t.Errorf("got%s\nwant%s", got, want)
			}
		})
	}
}

func TestNamespacesThatNobodyWatches(t *testing.T) {
	text := head + "    kubernetes: {context: a, namespaces: [shop, pay]}\n" +
		"remediation:\n  rules:\n    - match: {namespaces: [shp]}\n"
	_, err := Parse("f", []byte(text))
	if err == nil || !strings.Contains(err.Error(), `"shp" matches no watched namespace; write shop`) {
		t.Errorf("Parse() = %v", err)
	}
}
