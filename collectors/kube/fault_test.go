package kube

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
)

func always(code int) func(*http.Request) int {
	return func(*http.Request) int { return code }
}

func TestAFailingClusterIsStaleWithinAMinuteAndSaysWhy(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fail   func(api *apiServer)
		mend   func(api *apiServer)
		reason string
	}{
		{
			name: "hung", reason: "did not answer",
			fail: func(api *apiServer) { api.change(func() { api.fail = always(hang) }) },
		},
		{
			name: "hung after a break", reason: "did not answer",
			fail: func(api *apiServer) { api.change(func() { api.fail = always(hang) }); api.disconnect() },
		},
		{
			name: "internal errors", reason: "500",
			fail: func(api *apiServer) { api.change(func() { api.fail = always(500) }); api.disconnect() },
		},
		{
			name: "asked to slow down", reason: "429",
			fail: func(api *apiServer) { api.change(func() { api.fail = always(429) }); api.disconnect() },
		},
		{
			name: "token expired", reason: "401",
			fail: func(api *apiServer) { api.change(func() { api.token = "second" }); api.disconnect() },
			mend: func(api *apiServer) { api.change(func() { api.token = "first" }) },
		},
		{
			name: "garbage", reason: "invalid character",
			fail: func(api *apiServer) { api.change(func() { api.fail = always(garbage) }); api.disconnect() },
		},
		{
			name: "gone", reason: "closed",
			fail: func(api *apiServer) { api.listener.refuse(true); api.disconnect() },
			mend: func(api *apiServer) { api.listener.refuse(false) },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newAPIServer(t)
				d := deployment("cart", "cart:v1")
				api.put(d)
				reg := prometheus.NewRegistry()
				b := start(t, api, Options{Reg: reg})
				b.pass(5 * time.Minute)
				if s := b.watcher.Status(); s.State != Fresh || !s.Synced || s.Version != "v1.37.1" {
					t.Fatalf("before: %+v", s)
				}
				broke := time.Now()
				tc.fail(api)
				b.pass(time.Minute)
				s := b.watcher.Status()
				if s.State != Stale || !strings.Contains(s.Reason, tc.reason) {
					t.Errorf("after a minute: %s, %q; want stale, %q", s.State, s.Reason, tc.reason)
				}
				if gauge(t, reg, "tocsin_kube_stale") != 1 {
					t.Error("the gauge does not say so")
				}
				b.pass(9 * time.Minute)
				wantSlow(t, api.since(broke))

				mended := time.Now()
				if tc.mend != nil {
					tc.mend(api)
				} else {
					api.change(func() { api.fail = nil })
				}
				api.put(change(d, image("cart:v2")))
				b.pass(2 * time.Minute)
				b.want("rollout shop/cart: image cart:v1 -> cart:v2")
				if s := b.watcher.Status(); s.State != Fresh || s.Reason != "" {
					t.Errorf("%v after it was mended: %+v", time.Since(mended), s)
				}
			})
		})
	}
}

// wantSlow checks that requests to a failing server come at one a second at most.
func wantSlow(t *testing.T, requests []request) {
	t.Helper()
	for i := range requests {
		n := 0
		for j := i; j < len(requests) && requests[j].at.Sub(requests[i].at) < 10*time.Second; j++ {
			n++
		}
		if n > 11 {
			t.Fatalf("%d requests within 10s, the first %+v", n, requests[i])
		}
	}
}

// gauge returns the value of a metric without labels but cluster.
func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestAnUnreachableClusterAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(deployment("cart", "cart:v1"))
		api.fail = always(hang)
		began := time.Now()
		b := start(t, api, Options{})
		b.pass(time.Minute)
		s := b.watcher.Status()
		if s.State != Stale || s.Synced || !strings.Contains(s.Reason, "did not answer") {
			t.Errorf("status = %+v", s)
		}
		wantSlow(t, api.since(began))
		api.change(func() { api.fail = nil })
		b.pass(time.Minute)
		b.want()
		if s := b.watcher.Status(); s.State != Fresh || !s.Synced || s.Workloads != 1 {
			t.Errorf("after it came up: %+v", s)
		}
	})
}

func TestAForbiddenResourceIsOffAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d, s := deployment("cart", "cart:v1"), statefulSet("db", "db:v1")
		api.put(d, s)
		api.fail = func(r *http.Request) int {
			if strings.Contains(r.URL.Path, "statefulsets") || strings.Contains(r.URL.Path, "kube-system") {
				return 403
			}
			return 0
		}
		b := start(t, api, Options{})
		b.pass(5 * time.Minute)
		api.put(change(d, image("cart:v2")))
		b.want("rollout shop/cart: image cart:v1 -> cart:v2")
		status := b.watcher.Status()
		if status.State != Fresh || !status.Synced {
			t.Errorf("status = %+v", status)
		}
		for _, r := range status.Resources {
			if r.Resource == "statefulsets.apps" {
				want := `{apiGroups: ["apps"], resources: ["statefulsets"], verbs: [list, watch]}`
				if r.State != Refused || !strings.Contains(r.Reason, want) {
					t.Errorf("statefulsets: %s, %q", r.State, r.Reason)
				}
			} else if r.State != Fresh && (r.Resource != "rollouts.argoproj.io" || r.State != Absent) {
				t.Errorf("%s: %s, %q", r.Resource, r.State, r.Reason)
			}
		}

		api.change(func() { api.fail = nil })
		b.pass(2 * time.Minute)
		b.want() // What is seen for the first time is not news.
		s = s.DeepCopy()
		s.Generation++
		s.Spec.Template.Spec.Containers[0].Image = "db:v2"
		api.put(s)
		b.want("rollout shop/db: image db:v1 -> db:v2")
	})
}

func TestAClusterThatRefusesEverythingIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.fail = always(403)
		began := time.Now()
		b := start(t, api, Options{})
		b.pass(time.Minute)
		if s := b.watcher.Status(); s.State != Stale || !strings.Contains(s.Reason, "forbidden") {
			t.Errorf("status = %+v", s)
		}
		wantSlow(t, api.since(began))
	})
}

func TestAVersionThatExpiredIsListedAgain(t *testing.T) {
	for _, noStream := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			api := newAPIServer(t)
			api.noStream = noStream
			cart, old := deployment("cart", "cart:v1"), deployment("old", "old:v1")
			api.put(cart, old)
			b := start(t, api, Options{})
			b.pass(time.Minute)
			api.listener.refuse(true)
			api.disconnect()
			api.put(change(cart, image("cart:v2")))
			api.remove(old)
			api.compact()
			b.pass(10 * time.Second)
			api.listener.refuse(false)
			b.pass(2 * time.Minute)
			b.want("rollout shop/cart: image cart:v1 -> cart:v2", "deleted shop/old: deleted")
			b.pass(time.Hour)
			b.want()
		})
	}
}

func TestASilentWatchIsStartedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d := deployment("cart", "cart:v1")
		api.put(d)
		b := start(t, api, Options{})
		// Only what is open already hangs, as it does when a load balancer forgets a connection.
		api.change(func() { api.muted = api.watches })
		b.pass(time.Second)
		api.put(change(d, image("cart:v2")))
		b.pass(silence + time.Minute)
		b.want("rollout shop/cart: image cart:v1 -> cart:v2")
	})
}

func TestNewCredentialsAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.token = "first"
		d := deployment("cart", "cart:v1")
		api.put(d)
		token := "first"
		b := start(t, api, Options{Load: func() (*rest.Config, error) {
			c := api.config()
			c.BearerToken = token
			return c, nil
		}})
		b.pass(time.Minute)
		api.change(func() { api.token = "second" })
		api.disconnect()
		b.pass(5 * time.Minute)
		if s := b.watcher.Status(); s.State != Stale {
			t.Errorf("with the old token: %+v", s)
		}
		token = "second"
		api.put(change(d, image("cart:v2")))
		b.pass(time.Minute)
		b.want("rollout shop/cart: image cart:v1 -> cart:v2")
		if s := b.watcher.Status(); s.State != Fresh {
			t.Errorf("with the new token: %+v", s)
		}
	})
}
