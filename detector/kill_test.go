package detector_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// TestKilledWhileItWrites kills a process that writes snapshots in a loop, and reads what it left.
func TestKilledWhileItWrites(t *testing.T) {
	if dir := os.Getenv("TOCSIN_TEST_SNAPSHOTS"); dir != "" {
		writeForEver(t, dir)
	}
	dir := t.TempDir()
	for round := range 8 {
		kill(t, dir, round+1)
		w := newWorld(t, nil)
		if err := w.engine.Restore(dir); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if s := w.status(); s.Series != 500 {
			t.Fatalf("round %d: %d series, want 500", round, s.Series)
		}
	}
}

// kill starts a writer and kills it while it writes the snapshot after so many.
func kill(t *testing.T, dir string, after int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWhileItWrites$")
	cmd.Env = append(os.Environ(), "TOCSIN_TEST_SNAPSHOTS="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range after {
		if !lines.Scan() {
			t.Fatalf("the writer ended: %v", lines.Err())
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the writer ended by itself")
	}
}

func writeForEver(t *testing.T, dir string) {
	w := newWorld(t, nil)
	w.append(w.batch("c", 500, 1))
	for n := 1; ; n++ {
		w.at = w.at.Add(1e9)
		w.append(w.batch("c", 500, 1))
		if err := w.engine.Snapshot(context.Background(), dir); err != nil {
			t.Fatal(err)
		}
		fmt.Println(n)
	}
}
