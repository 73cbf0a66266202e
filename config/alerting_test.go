package config

import "testing"

func TestTeams(t *testing.T) {
	c, err := Parse("tocsin.yaml", []byte(head+`alerting:
  budget: {pages_per_week: 2, per: team}
  teams:
    - {name: payments, namespaces: [pay-*, billing]}
    - {name: platform, namespaces: ['*-system', pay-tools]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for namespace, want := range map[string]string{
		"pay-eu": "payments", "billing": "payments", "pay-tools": "payments",
		"kube-system": "platform", "shop": "shop", "": "",
	} {
		if got := c.Alerting.Team(namespace); got != want {
			t.Errorf("Team(%q) = %q, want %q", namespace, got, want)
		}
	}
}
