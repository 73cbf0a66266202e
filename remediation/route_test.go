package remediation_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"

	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/remediation"
)

func matchers(t *testing.T, text string) labels.Matchers {
	t.Helper()
	m, err := labels.ParseMatchers(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRoutes(t *testing.T) {
	route := &remediation.Route{
		Receiver: "default",
		Routes: []*remediation.Route{
			{Receiver: "audit", Matchers: matchers(t, `cluster=~"prod-.*"`), Continue: true},
			{Receiver: "payments", Matchers: matchers(t, `namespace="pay"`), Routes: []*remediation.Route{
				{Receiver: "pager", Matchers: matchers(t, `severity="critical"`)},
				{Matchers: matchers(t, `service="ledger"`)},
			}},
			{Receiver: "europe", Matchers: matchers(t, `region="eu",severity!="info"`)},
			{Receiver: "untagged", Matchers: matchers(t, `region=""`)},
		},
	}
	for _, tc := range []struct {
		service  fleet.Service
		severity incident.Severity
		want     string
	}{
		{
			fleet.Service{Cluster: "prod-eu", Namespace: "pay", Name: "api"},
			incident.Critical,
			"audit pager",
		},
		{
			fleet.Service{Cluster: "prod-eu", Namespace: "pay", Name: "api"},
			incident.Warning,
			"audit payments",
		},
		{
			fleet.Service{Cluster: "prod-eu", Namespace: "pay", Name: "ledger"},
			incident.Info,
			"audit payments",
		},
		{
			fleet.Service{Cluster: "prod-eu", Namespace: "shop", Name: "cart"},
			incident.Critical,
			"audit europe",
		},
		{fleet.Service{Cluster: "prod-eu", Namespace: "shop", Name: "cart"}, incident.Info, "audit"},
		{fleet.Service{Cluster: "test-eu", Namespace: "shop", Name: "cart"}, incident.Info, "default"},
		{
			fleet.Service{Cluster: "other", Namespace: "shop", Name: "cart"},
			incident.Critical,
			"untagged",
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			receivers := make(map[string]*receiver)
			policy := remediation.Policy{Route: route, Receivers: make(map[string][]remediation.Notifier)}
			for _, name := range []string{"default", "audit", "payments", "pager", "europe", "untagged"} {
				receivers[name] = newReceiver()
				policy.Receivers[name] = []remediation.Notifier{receivers[name]}
			}
			e, stop := start(t, remediation.Options{
				Policy: policy,
				Labels: func(cluster string) map[string]string {
					if strings.HasSuffix(cluster, "-eu") {
						return map[string]string{"region": "eu", "severity": "overridden"}
					}
					return nil
				},
				Link: func(i incident.Incident) string { return "http://tocsin/" + i.ID },
			})
			defer stop()
			i := opened("a", tc.severity)
			i.Service = tc.service
			e.Incident(i)
			after(0)
			var got []string
			for name, r := range receivers {
				for _, m := range r.got {
					got = append(got, name)
					if m.Link != "http://tocsin/a" || m.Receiver != name || m.Key != name+"/other/0/a" {
						t.Errorf("link %q, receiver %q, key %q", m.Link, m.Receiver, m.Key)
					}
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != tc.want {
				t.Errorf("%s, %s went to %s, want %s", tc.service, tc.severity, got, tc.want)
			}
		})
	}
}

// A release that is bad in several clusters concerns those who care for any of them: it may have
// begun in one of a test environment.
func TestAReleaseInManyClustersIsForAllOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chat, pager := newReceiver(), newReceiver()
		e, stop := start(t, remediation.Options{
			Policy: remediation.Policy{
				Route: &remediation.Route{Receiver: "chat", Routes: []*remediation.Route{
					{Receiver: "pager", Matchers: matchers(t, `environment="production"`)},
				}},
				Receivers: map[string][]remediation.Notifier{"chat": {chat}, "pager": {pager}},
			},
			Labels: func(cluster string) map[string]string {
				if strings.HasPrefix(cluster, "prod") {
					return map[string]string{"environment": "production"}
				}
				return nil
			},
		})
		defer stop()
		i := opened("a", incident.Critical)
		i.Service.Cluster = "test"
		i.Release = &incident.ReleaseInfo{ID: "v42"}
		e.Incident(i)
		after(time.Second)
		i.Release = &incident.ReleaseInfo{ID: "v42", Clusters: []string{"test", "prod-eu", "prod-us"}}
		e.Incident(i)
		after(time.Minute)
		e.Incident(resolved(i))
		after(time.Minute)
		chat.want(t, "0s a open critical", "30s a open critical edit", "1m1s a resolved critical edit")
		pager.want(t, "1s a open critical", "1m1s a resolved critical edit")
	})
}

func TestRoutesAreChecked(t *testing.T) {
	receivers := map[string][]remediation.Notifier{"a": nil}
	for _, tc := range []struct {
		name  string
		route *remediation.Route
		want  string
	}{
		{"no receiver", &remediation.Route{}, `no receiver ""`},
		{
			"matchers at the top", &remediation.Route{Receiver: "a", Matchers: matchers(t, "x=y")},
			"no matchers",
		},
		{"unknown interval", &remediation.Route{Receiver: "a", Mute: []string{"x"}}, `no time interval "x"`},
		{"unknown deeper", &remediation.Route{Receiver: "a", Routes: []*remediation.Route{
			{Routes: []*remediation.Route{{Receiver: "b", Active: []string{"y"}}}},
		}}, "no receiver \"b\"\nno time interval \"y\""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := remediation.New(t.Context(), remediation.Options{
				Policy: remediation.Policy{Route: tc.route, Receivers: receivers},
			})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
