// Package testbed starts real servers as child processes for tests: Prometheus, Alertmanager, and
// whole Kubernetes control planes. Each is built once from its module (test/e2e/tools), listens on
// free ports of the loopback interface, keeps its files in the test's own folders, is waited for
// until it serves, and has ended when the test has: by its handle in t.Cleanup, and on Linux by the
// kernel if the test binary is killed.
package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Tools returns the folder that holds the programs of a group: prometheus, alertmanager or k8s. The
// first call on a machine builds them, which takes minutes; `make tools` does so ahead of the
// tests' deadlines.
func Tools(t testing.TB, group string) string {
	t.Helper()
	build := filepath.Join(Root(t), "test", "e2e", "tools", "build")
	cmd := exec.CommandContext(t.Context(), build, group)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("testbed: build %s: %v\n%s", group, err, log.String())
	}
	return strings.TrimSpace(string(out))
}

// Root returns the folder of the checkout: the nearest one above the test that holds the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("testbed: find the checkout: %v", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module tocsin\n") {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("testbed: the test does not run inside the checkout")
		}
		dir = filepath.Dir(dir)
	}
}

// Eventually calls probe about twenty times a second until it returns nil and fails the test if it
// has not within the time given. What names that which is waited for.
func Eventually(t testing.TB, within time.Duration, what string, probe func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := poll(ctx, nil, probe); err != nil {
		t.Fatalf("testbed: wait for %s: %v", what, err)
	}
}

// poll calls probe until it returns nil, ctx is done, or gone is closed.
func poll(ctx context.Context, gone <-chan struct{}, probe func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the last answer was: %w", context.Cause(ctx), err)
		case <-gone:
			return errors.New("the process has ended")
		case <-tick.C:
		}
	}
}

// serves returns a probe that wants a 200 from url.
func serves(client *http.Client, url string, header http.Header) func() error {
	return func() error {
		_, err := get(client, url, header)
		return err
	}
}

// get returns the body of a 200 answer of at most 16 MiB.
func get(client *http.Client, url string, header http.Header) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if closed := resp.Body.Close(); err == nil {
		err = closed
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("get %s: %s: %.200s", url, resp.Status, body)
	}
	return body, err
}
