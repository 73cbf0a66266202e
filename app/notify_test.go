package app

import (
	"errors"
	"testing"

	"tocsin/config"
	"tocsin/incident"
	"tocsin/remediation"
	"tocsin/remediation/webhook"
)

// TestConfiguredWebhooksDialWithCare is about the client that the configuration builds.
func TestConfiguredWebhooksDialWithCare(t *testing.T) {
	c, err := config.Parse("t.yaml", []byte(`
clusters: [{name: c, prometheus: {url: "http://127.0.0.1:1"}}]
route: {receiver: cloud}
receivers: [{name: cloud, webhook_configs: [{url: "http://169.254.169.254/latest/meta-data"}]}]
`))
	if err != nil {
		t.Fatal(err)
	}
	all, err := notifiers(&c.Receivers[0])
	if err != nil || len(all) != 1 {
		t.Fatalf("%d notifiers, %v", len(all), err)
	}
	_, err = all[0].Notify(t.Context(), remediation.Notification{
		Key: "k", Incident: incident.Incident{ID: "i", State: incident.Open},
	})
	if !errors.Is(err, webhook.ErrAddress) {
		t.Errorf("a metadata service is told: %v", err)
	}
}
