package rollback_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"tocsin/fleet"
	"tocsin/remediation/rollback"
)

func TestTheKillSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		stopped := func() string {
			t.Helper()
			why, err := s.Stopped(t.Context(), "ops", "stop")
			if err != nil {
				t.Fatal(err)
			}
			return why
		}
		if why := stopped(); why != "" {
			t.Errorf("without a ConfigMap it is stopped: %s", why)
		}
		for _, tc := range []struct {
			paused string
			want   bool
		}{{"true", true}, {"False", false}, {"", false}, {"please", true}, {"no", false}} {
			s.mu.Lock()
			s.objects["/api/v1/namespaces/ops/configmaps/stop"] = object{
				"apiVersion": "v1", "kind": "ConfigMap",
				"metadata": object{"name": "stop", "namespace": "ops"},
				"data":     object{"paused": tc.paused, "why": "holidays"},
			}
			s.mu.Unlock()
			if why := stopped(); (why != "") != tc.want || tc.want && !strings.Contains(why, "holidays") {
				t.Errorf("paused: %q says %q", tc.paused, why)
			}
		}
		s.deny["get configmaps"] = true
		_, err := s.Stopped(t.Context(), "ops", "stop")
		var refusal *rollback.Refusal
		if !errors.As(err, &refusal) || refusal.Code != rollback.Forbidden ||
			!strings.Contains(refusal.Next, "configmaps") {
			t.Errorf("Stopped() = %v", err)
		}
	})
}
