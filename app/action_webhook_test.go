package app

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin/config"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
	"tocsin/remediation/webhook"
)

const oneCluster = `clusters:
  - name: prod
    prometheus: {url: "http://prometheus:9090"}
`

func parsed(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("tocsin.yaml", []byte(oneCluster+text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestThePolicyOfActions(t *testing.T) {
	p, err := actionPolicy(parsed(t, `remediation:
  mode: ask
  owners: {helm: drift, argo_cd: suspend, hold: 2h}
  rules:
    - match: {clusters: [prod], kinds: [Deployment]}
      mode: auto
      actions: [rollback]
  freeze:
    - intervals: [night]
      match: {namespaces: [shop]}
  cool_down: 1h
  kill_switch: {namespace: ops, name: stop}
time_intervals:
  - {name: night, time_intervals: [{times: [{start_time: "22:00", end_time: "24:00"}]}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	ways := rollback.Ways{Helm: rollback.Drift, ArgoCD: rollback.Suspend}
	if d := p.Default; d.Mode != action.Ask || d.Owners != ways || d.Hold != 2*time.Hour ||
		len(d.Actions) != 2 {
		t.Errorf("by default %+v", d)
	}
	if r := p.Rules[0]; r.Mode != action.Auto || r.Owners != ways || r.Workloads[0] != "Deployment" ||
		len(r.Actions) != 1 || r.Actions[0] != action.KindRollback {
		t.Errorf("the rule is %+v", r)
	}
	if len(p.Freeze) != 1 || p.Freeze[0].Namespaces[0] != "shop" || len(p.Intervals["night"]) != 1 ||
		p.CoolDown != time.Hour || p.KillSwitch.Name != "stop" {
		t.Errorf("the policy is %+v", p)
	}
}

// TestTheDefaultPolicy has the defaults of the file and of the package agree.
func TestTheDefaultPolicy(t *testing.T) {
	p, err := actionPolicy(parsed(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	want := action.DefaultPolicy()
	if p.Limits != want.Limits || p.Storm != want.Storm || p.Breaker != want.Breaker ||
		p.Soak != want.Soak || p.CoolDown != want.CoolDown || p.Approval != want.Approval ||
		p.Freshness != want.Freshness || p.Confirm != want.Confirm || p.Relapse != want.Relapse ||
		p.Default.Mode != want.Default.Mode || p.Default.Hold != want.Default.Hold {
		t.Errorf("the file's default is %+v, the package's %+v", p, want)
	}
}

func TestTheUsersOwnAutomation(t *testing.T) {
	var got action.Action
	var header http.Header
	answer := http.StatusAccepted
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &got)
		}
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(answer)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "address")
	if err := os.WriteFile(file, []byte(server.URL+"/canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &App{config: parsed(t, "remediation:\n  webhook: {url_file: "+file+", secret: key}\n")}
	act := action.Action{ID: "undo-1", Kind: action.KindWebhook, State: action.Running}
	if err := a.revert(t.Context(), act); err != nil {
		t.Fatal(err)
	}
	if got.ID != "undo-1" || header.Get(webhook.IdempotencyHeader) != "undo-1" ||
		!strings.HasPrefix(header.Get(webhook.SignatureHeader), "t=") {
		t.Errorf("it got %+v with %v", got, header)
	}
	answer = http.StatusFound // It would take the action elsewhere.
	if err := a.revert(t.Context(), act); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("revert() = %v", err)
	}
	server.Close()
	if err := a.revert(t.Context(), act); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("revert() = %v", err)
	}
	a.config.Remediation.Webhook = nil
	if err := a.revert(t.Context(), act); err == nil {
		t.Error("a webhook was called that is not there")
	}
}
