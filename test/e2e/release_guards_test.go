//go:build e2e

package e2e

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/test/testbed"
)

// guarded are tales of bad releases in which more happens than a release. All take place on the
// stage of TestReleasesAreJudgedAndTakenBack.
var guarded = []struct {
	name string
	play func(s *stage, t *testing.T)
}{
	{"reconciler is suspended", ownedByArgoCD},
	{"helm owns it", ownedByHelm},
	{"config changed since", withConfig},
	{"ask and approve", approved},
	{"ask and a third release", overtaken},
	{"ask and a person undoes", byHand},
	{"observe", observed},
}

// ownedByArgoCD is the tale of a reconciler that would bring the bad release back, and is told to
// leave cart alone for a time.
func ownedByArgoCD(s *stage, t *testing.T) {
	x := s.tale(t, fleet.Deployment)
	x.create(applications, "argocd", object{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": object{"name": "judged"},
	})
	x.patch(object{"metadata": object{"annotations": object{
		"argocd.argoproj.io/tracking-id": "judged:apps/Deployment:" + x.namespace + "/cart",
	}}})
	x.roll("cart:v2-bad")
	x.reconcile("cart:v2-bad", "judged")
	x.ends(action.Recovered)
	x.want("cart:v1")
	held := x.Kubectl("-n", "argocd", "get", "application/judged", "-o",
		`jsonpath={.metadata.annotations.argocd\.argoproj\.io/skip-reconcile}`)
	if held != "true" {
		t.Errorf("the application is not held: %q", held)
	}
}

// ownedByHelm is the tale of a workload that policy leaves to Helm: people are told how.
func ownedByHelm(s *stage, t *testing.T) {
	x := s.tale(t, fleet.Deployment)
	x.patch(object{"metadata": object{"annotations": object{
		"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": x.namespace,
	}}})
	x.roll("cart:v2-bad")
	a := x.ends(action.Refused)
	if !strings.Contains(a.Reason, "Helm") {
		t.Errorf("it is refused because %q", a.Reason)
	}
	x.want("cart:v2-bad")
	x.deploy("cart:v1") // As the person would who is told.
}

// withConfig is the tale of a release that came with another configuration: the old revision has
// never run with it.
func withConfig(s *stage, t *testing.T) {
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	x := s.tale(t, fleet.Deployment, func(spec object) {
		pod := spec["template"].(object)["spec"].(object)
		settings := object{"configMapRef": object{"name": "settings", "optional": true}}
		pod["containers"].([]any)[0].(object)["envFrom"] = []any{settings}
	})
	x.roll("cart:v2-bad")
	x.create(configMaps, x.namespace, object{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "settings"},
		"data": object{"level": "debug"},
	})
	a := x.ends(action.Refused)
	if !strings.Contains(a.Reason, "ConfigMap/settings") {
		t.Errorf("it is refused because %q", a.Reason)
	}
	x.want("cart:v2-bad")
	x.deploy("cart:v1")
}

// cli runs tocsin as a person does.
func (x *tale) cli(args ...string) string {
	x.t.Helper()
	args = append(args, "--url", x.tocsin.URL, "--by", "ann")
	out, err := exec.CommandContext(x.t.Context(), testbed.Build(x.t, "tocsin"), args...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tocsin %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// approved is the tale of a person who is asked.
func approved(s *stage, t *testing.T) {
	x := s.tale(t, fleet.Deployment)
	x.roll("cart:v2-bad")
	a := x.ends(action.Waiting)
	x.want("cart:v2-bad")
	x.cli("approve", a.ID)
	if a = x.ends(action.Recovered); a.Approver != "ann" {
		t.Errorf("approved by %q", a.Approver)
	}
	x.want("cart:v1")
}

// overtaken is the tale of somebody who releases a better revision while tocsin asks.
func overtaken(s *stage, t *testing.T) {
	x := s.tale(t, fleet.Deployment)
	x.roll("cart:v2-bad")
	x.ends(action.Waiting)
	x.deploy("cart:v3")
	x.ends(action.Superseded)
	x.want("cart:v3")
	x.untouched()
}

// byHand is the tale of somebody who takes the release back while tocsin asks.
func byHand(s *stage, t *testing.T) {
	x := s.tale(t, fleet.Deployment)
	x.roll("cart:v2-bad")
	x.ends(action.Waiting)
	x.Kubectl("-n", x.namespace, "rollout", "undo", "deployment/cart")
	x.ends(action.Superseded)
	x.want("cart:v1")
	x.untouched()
}

// untouched wants tocsin to have written nothing.
func (x *tale) untouched() {
	x.t.Helper()
	if id := x.get().GetAnnotations()["tocsin/action"]; id != "" {
		x.t.Errorf("tocsin wrote: cart bears the action %s", id)
	}
}

// observed is the tale of a release that would have been taken back, and what the report says of it.
func observed(s *stage, t *testing.T) {
	x := s.tale(t, fleet.Deployment)
	x.roll("cart:v2-bad")
	x.judged("cart:v2-bad", release.Regressed)
	x.ends(action.Would)
	x.want("cart:v2-bad")
	x.untouched()
	x.deploy("cart:v1")
	testbed.Eventually(t, patient, "the report to say how it ended", func() error {
		if text := x.tocsin.cliReport(t); !strings.Contains(text, x.namespace+"/cart") ||
			!strings.Contains(text, "rolled back") {
			return errors.New(text)
		}
		return nil
	})
}

// cliReport returns what tocsin reports of the last seven days.
func (d *daemon) cliReport(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), testbed.Build(t, "tocsin"), "report", "--url", d.URL).CombinedOutput()
	if err != nil {
		t.Fatalf("tocsin report: %v\n%s", err, out)
	}
	return string(out)
}
