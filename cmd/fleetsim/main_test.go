package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tocsin/testdata/scenarios"
)

func run(ctx context.Context, args ...string) (string, error) {
	c := command()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(ctx)
	return out.String(), err
}

func TestBadInputStartsNothing(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("\n- kind: leak\n  servce: cart\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--clusters", "many"}, `invalid argument "many"`},
		{[]string{"--cluster", "3"}, "unknown flag: --cluster"},
		{[]string{"east"}, `unknown command "east"`},
		{[]string{"--pods", "0x10000"}, "pods: 65536 is not between 1 and 1000"},
		{[]string{"--exporters", "http,statsd"}, `exporters: unknown "statsd"`},
		{[]string{"--start", "yesterday"}, `--start: "yesterday" is not a time; write one such as 2026`},
		{[]string{"--scenario", "nowhere.yaml"}, "--scenario: open nowhere.yaml: no such file"},
		{[]string{"--scenario", broken}, "broken.yaml:3: [0].servce: leak has no such field; write service"},
		{[]string{"--scenario", "demo", "--services", "1"}, `demo.yaml:2: service: no service is called "checkout"`},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			_, err := run(t.Context(), append(tc.args, "--listen-address", "127.0.0.1:0")...)
			if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a usage error with %s", err, tc.want)
			}
		})
	}
}

func TestBuiltInScenariosFitTheDefaultFleet(t *testing.T) {
	names, err := fs.Glob(scenarios.Files(), "*.yaml")
	if err != nil || len(names) < 3 {
		t.Fatalf("scenarios are %v, %v", names, err)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // It starts, sees that it has to stop, and does.
			_, err := run(ctx, "--scenario", strings.TrimSuffix(name, ".yaml"), "--listen-address",
				"127.0.0.1:0")
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

func TestAddressInUseIsNoUsageError(t *testing.T) {
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	_, err = run(t.Context(), "--listen-address", other.Addr().String())
	if err == nil || errors.As(err, new(usageError)) {
		t.Errorf("got %v", err)
	}
}

func TestVersionAndHelp(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"--help"}} {
		if out, err := run(t.Context(), args...); err != nil || !strings.Contains(out, "fleetsim") {
			t.Errorf("%v: %s %v", args, out, err)
		}
	}
}
