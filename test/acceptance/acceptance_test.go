// Package acceptance has tests of the whole daemon in process, against a real Prometheus and a real Alertmanager.
package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin/app"
	"tocsin/cmd/fleetsim/sim"
	"tocsin/config"
	"tocsin/test/testbed"
)

// simulate starts a fleet that lives until the test ends, and returns the host:port that serves it.
func simulate(t *testing.T, opts sim.Options) (*sim.Fleet, string) {
	t.Helper()
	fleet, err := sim.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(fleet.Handler())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1) // Holds what Run returns.
	go func() { done <- fleet.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		server.Close()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("run the fleet: %v", err)
		}
	})
	return fleet, strings.TrimPrefix(server.URL, "http://")
}

// targets are the pages of a fleet's clusters.
func targets(fleet *sim.Fleet, address string) []testbed.Target {
	var out []testbed.Target
	for _, name := range fleet.Clusters() {
		out = append(out, testbed.Target{
			Job: "fleet", Address: address, Path: "/clusters/" + name + "/metrics",
			Labels: map[string]string{"cluster": name},
		})
	}
	return out
}

// daemon is a running tocsin.
type daemon struct {
	URL      string
	file     string // Of its configuration.
	config   *config.Config
	settings config.Settings

	t    *testing.T
	stop context.CancelFunc
	done chan error // Holds what Run returned.
}

// start runs a daemon on the configuration text, with its state in dir, until the test ends or end is called.
func start(t *testing.T, text, dir string) *daemon {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tocsin.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", testbed.Port(t))
	settings := config.Settings{
		ConfigFile: file, ListenAddress: address, StoragePath: dir, ExternalURL: "http://" + address,
	}
	a, err := app.New(app.Options{
		Config: c, Settings: settings,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{
		URL: "http://" + address, file: file, config: c, settings: settings,
		t: t, stop: cancel, done: make(chan error, 1),
	}
	go func() { d.done <- a.Run(ctx) }()
	t.Cleanup(d.end)
	testbed.Eventually(t, time.Minute, "the daemon to listen", func() error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return d
}

// end stops the daemon, once.
func (d *daemon) end() {
	d.stop()
	if err, ok := <-d.done; ok {
		close(d.done)
		if err != nil {
			d.t.Errorf("run the daemon: %v", err)
		}
	}
}

// get reads the data of an answer of the JSON API.
func get[T any](d *daemon, path string) (T, error) {
	var out struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   T      `json:"data"`
	}
	resp, err := http.Get(d.URL + path)
	if err != nil {
		return out.Data, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return out.Data, err
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out.Data, fmt.Errorf("GET %s: %w: %.200s", path, err, body)
	}
	if out.Status != "success" {
		return out.Data, fmt.Errorf("GET %s: %s", path, out.Error)
	}
	return out.Data, nil
}

// query evaluates PromQL over the daemon's scores.
func (d *daemon) query(expr string) ([]sample, error) {
	type result struct {
		Result []sample `json:"result"`
	}
	r, err := get[result](d, "/api/v1/query?query="+url.QueryEscape(expr))
	return r.Result, err
}

type sample struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}
