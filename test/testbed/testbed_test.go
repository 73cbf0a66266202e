package testbed

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPrometheusScrapesAndComesBack(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "# TYPE bells gauge\nbells 7\n")
	}))
	defer target.Close()
	p := StartPrometheus(t, PrometheusOptions{Targets: []Target{{
		Job: "tower", Address: strings.TrimPrefix(target.URL, "http://"),
		Labels: map[string]string{"instance": "here"},
	}}})
	seven := func() error {
		got, err := p.Query("bells")
		if err != nil {
			return err
		}
		if got[`{__name__="bells",instance="here",job="tower"}`] != 7 {
			return fmt.Errorf("bells = %v", got)
		}
		return nil
	}
	Eventually(t, 30*time.Second, "the first scrape", seven)
	p.Kill()
	if p.Running() {
		t.Error("Prometheus runs after Kill")
	}
	if _, err := p.Query("bells"); err == nil {
		t.Error("a killed Prometheus answers")
	}
	p.Start()
	Eventually(t, 30*time.Second, "a scrape after the restart", seven)
	p.Stop()
	if err := p.Err(); err != nil {
		t.Errorf("Prometheus ended with %v", err)
	}
}

func TestAlertmanagerTellsItsReceiver(t *testing.T) {
	r := StartReceiver(t)
	a := StartAlertmanager(t, AlertmanagerOptions{Webhook: r.URL})
	resp, err := http.Post(a.URL+"/api/v2/alerts", "application/json",
		bytes.NewBufferString(`[{"labels":{"alertname":"bell"},"annotations":{"summary":"it rings"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	Eventually(t, 30*time.Second, "the alert", func() error {
		alerts, err := a.Alerts()
		if err == nil && (len(alerts) != 1 || alerts[0].Labels["alertname"] != "bell") {
			err = fmt.Errorf("alerts = %v", alerts)
		}
		return err
	})
	Eventually(t, 30*time.Second, "the notification", func() error {
		if len(r.Notifications()) != 1 {
			return errors.New("none yet")
		}
		return nil
	})
	n := r.Notifications()[0]
	if n.Status != "firing" || n.Alerts[0].Annotations["summary"] != "it rings" {
		t.Errorf("notification = %+v", n)
	}
}

func TestAProcessThatIgnoresItsSignalIsKilled(t *testing.T) {
	ready := t.TempDir() + "/ready"
	p := Start(t, ProcessOptions{
		Name: "stubborn", Path: "/bin/sh", Grace: 100 * time.Millisecond,
		Args: []string{"-c", "trap '' TERM; echo deaf; : > $0; while :; do sleep 0.1; done", ready},
		Ready: func() error {
			_, err := os.Stat(ready)
			return err
		},
	})
	p.Stop()
	if p.Running() || p.Err() == nil {
		t.Errorf("running %v, error %v after Stop", p.Running(), p.Err())
	}
	if got := p.Log(); got != "deaf\n" {
		t.Errorf("log = %q", got)
	}
	if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the process is still there: %v", err)
	}
}

func TestPortsDiffer(t *testing.T) {
	seen := map[int]bool{}
	for range 100 {
		p := Port(t)
		if seen[p] {
			t.Fatalf("port %d given twice", p)
		}
		seen[p] = true
	}
}
