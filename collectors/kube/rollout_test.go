package kube

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tocsin/fleet"
)

// argoState returns the condition of the Rollouts that the watcher follows.
func (b *bench) argoState() Condition {
	for _, r := range b.watcher.Status().Resources {
		if r.Resource == "rollouts.argoproj.io" {
			return r.State
		}
	}
	return ""
}

// seen is the status of a Rollout whose controller has come to generation, and asks for hash.
func seen(generation, hash, stable string) map[string]any {
	return map[string]any{
		"observedGeneration": generation, "currentPodHash": hash, "stableRS": stable,
	}
}

// write returns a changed copy of a Rollout, of a new generation.
func write(o *unstructured.Unstructured, value any, path ...string) *unstructured.Unstructured {
	o = o.DeepCopy()
	o.SetGeneration(o.GetGeneration() + 1)
	if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
		panic(err) // The test is wrong.
	}
	return o
}

// report returns a copy with another status.
func report(o *unstructured.Unstructured, status map[string]any) *unstructured.Unstructured {
	o = o.DeepCopy()
	o.Object["status"] = status
	return o
}

var newImage = []any{map[string]any{"name": "main", "image": "cart:v3"}}

func TestArgoRolloutsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		o := argoRollout(seen("7", "6d84", "6d84"))
		o.SetAnnotations(map[string]string{"rollout.argoproj.io/revision": "2"})
		api.put(o, argoSet("57c9", "cart:v1", 1, 0), argoSet("6d84", "cart:v2", 2, 4))
		b := start(t, api, Options{})
		b.want()
		if s := b.watcher.Status(); b.argoState() != Fresh || s.Workloads != 1 || !s.Synced {
			t.Errorf("status %+v", s)
		}

		// Somebody writes a template; it is a rollout once the controller has made a ReplicaSet of it.
		o = write(o, newImage, "spec", "template", "spec", "containers")
		api.put(o)
		b.want()
		if got := b.watcher.Rolling(); len(got) != 1 || got[0].Workload != Rollout {
			t.Errorf("rolling: %v", got)
		}
		api.put(argoSet("7777", "cart:v3", 3, 1))
		o = report(o, seen("8", "7777", "6d84"))
		o.SetAnnotations(map[string]string{"rollout.argoproj.io/revision": "3"})
		api.put(o)
		c := b.want("rollout shop/cart: image cart:v2 -> cart:v3")[0]
		if c.Workload != Rollout || c.Old.Hash != hashOfImage(t, "cart:v2") || c.UID != "uid-cart" ||
			c.New.Hash != hashOfImage(t, "cart:v3") || c.Old.Number != 2 || c.New.Number != 3 {
			t.Errorf("change %+v, from %+v to %+v", c, c.Old, c.New)
		}
		if p := b.look("cart", Rollout); p.New.Hash != c.New.Hash {
			t.Errorf("a look says %s, the change %s", p.New.Hash, c.New.Hash)
		}

		api.put(report(o, seen("8", "7777", "7777")))
		b.want()
		if got := b.watcher.Rolling(); len(got) != 0 {
			t.Errorf("rolling at the end: %v", got)
		}
		o = report(write(o, int64(6), "spec", "replicas"), seen("9", "7777", "7777"))
		api.put(o)
		b.want("scaled shop/cart: scaled from 4 to 6")
		o = report(write(o, "2026-01-02T03:04:05Z", "spec", "restartAt"), seen("10", "7777", "7777"))
		api.put(o)
		b.want("restarted shop/cart: pods restarted")

		// A later watcher goes on from there, and finds what happened meanwhile.
		state := b.watcher.State()
		b.stop()
		api.put(argoSet("8888", "cart:v4", 4, 1),
			report(write(o, true, "spec", "paused"), seen("11", "8888", "7777")))
		b = start(t, api, Options{State: state})
		b.want("paused shop/cart: rollout paused", "rollout shop/cart: image cart:v3 -> cart:v4")
		api.remove(o)
		b.want("deleted shop/cart: deleted")
	})
}

func TestATemplateOfAnotherObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.change(func() { api.noStream = true })
		o := argoRollout(seen("7", "57c9", "57c9"))
		unstructured.RemoveNestedField(o.Object, "spec", "template")
		api.put(o, argoSet("57c9", "cart:v1", 1, 4), argoSet("6d84", "cart:v2", 2, 1))
		b := start(t, api, Options{})
		b.want()
		api.put(report(o, seen("7", "6d84", "57c9"))) // Its own specification is as it was.
		b.want("rollout shop/cart: image cart:v1 -> cart:v2")
	})
}

func TestEphemeralMetadataIsNoOtherTemplate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		canary := argoSet("6d84", "cart:v2", 2, 1)
		canary.Annotations["rollout.argoproj.io/ephemeral-metadata"] = `{"labels":{"role":"canary"}}`
		canary.Spec.Template.Labels["role"] = "canary"
		api.put(argoRollout(seen("7", "6d84", "57c9")), canary, argoSet("57c9", "cart:v1", 1, 3))
		b := start(t, api, Options{})
		if p := b.look("cart", Rollout); p.New.Hash != hashOfImage(t, "cart:v2") {
			t.Errorf("new side %+v", p.New)
		}
	})
}

func TestTheExtensionComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.change(func() { api.argo = false })
		api.put(deployment("web", "web:v1"))
		b := start(t, api, Options{})
		b.pass(time.Hour)
		if s := b.watcher.Status(); b.argoState() != Absent || s.State != Fresh || !s.Synced {
			t.Errorf("without the extension: %+v", s)
		}
		begin := time.Now()
		b.pass(time.Hour)
		asked := 0
		for _, r := range api.since(begin) {
			if strings.Contains(r.path, "argoproj") {
				asked++
			}
		}
		if asked > 30 {
			t.Errorf("%d requests in an hour for what is not there", asked)
		}

		api.change(func() { api.argo = true })
		o := argoRollout(seen("7", "6d84", "6d84"))
		api.put(o, argoSet("6d84", "cart:v2", 2, 4))
		b.pass(lookout)
		b.want("created shop/cart: created with image cart:v2")
		if b.argoState() != Fresh {
			t.Errorf("with the extension: %s", b.argoState())
		}

		api.change(func() {
			api.argo = false
			delete(api.objects, "rollouts")
		})
		api.disconnect()
		b.pass(3 * lookout)
		b.want("deleted shop/cart: deleted")
		if s := b.watcher.Status(); b.argoState() != Absent || s.State != Fresh {
			t.Errorf("when it is gone: %+v", s)
		}
	})
}

func TestRolloutsWithoutRights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		forbidden := "rollouts"
		api.fail = func(r *http.Request) int {
			if strings.HasSuffix(r.URL.Path, "/"+forbidden) {
				return http.StatusForbidden
			}
			return 0
		}
		o := argoRollout(seen("7", "57c9", "57c9"))
		api.put(o, argoSet("57c9", "cart:v1", 1, 4))
		b := start(t, api, Options{})
		b.pass(time.Minute)
		if s := b.watcher.Status(); b.argoState() != Refused || s.State != Fresh || !s.Synced {
			t.Errorf("status %+v", s)
		}

		// With half of the rights a Rollout is known by its own template.
		api.change(func() { forbidden = "replicasets" })
		b.pass(5 * time.Minute)
		if b.argoState() != Fresh {
			t.Fatalf("rollouts are %s", b.argoState())
		}
		o = write(o, newImage, "spec", "template", "spec", "containers")
		o = report(o, seen("8", "6d84", "57c9"))
		api.put(o, argoSet("6d84", "cart:v3", 2, 1))
		b.want("rollout shop/cart: image cart:v2 -> cart:v3")

		// When the other half is there, that is no rollout.
		api.change(func() { api.fail = nil })
		b.pass(refusal)
		api.put(report(o, seen("8", "6d84", "6d84")))
		b.want()
		o = report(write(o, int64(5), "spec", "replicas"), seen("9", "6d84", "6d84"))
		api.put(o)
		b.want("scaled shop/cart: scaled from 4 to 5")
	})
}

func TestWarningsOfArgoRollouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(argoRollout(seen("7", "6d84", "6d84")), argoSet("6d84", "cart:v2", 2, 4))
		b := start(t, api, Options{})
		api.put(backOff("cart-6d84-x2x7k", 1, time.Now()))
		c := b.take()
		if len(c) != 1 || c[0].Kind != fleet.Warning || c[0].Workload != Rollout {
			t.Errorf("changes %+v", c)
		}
	})
}
