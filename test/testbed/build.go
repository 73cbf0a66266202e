package testbed

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Build builds a command of this module, such as tocsin, and returns where its program is. It
// shares what is compiled with `make build`; linking takes some seconds.
func Build(t testing.TB, command string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), command)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/"+command)
	cmd.Dir = Root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("testbed: build %s: %v\n%s", command, err, out)
	}
	return path
}
