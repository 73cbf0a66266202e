package detector_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/detector"
	"tocsin/detector/detectortest"
	"tocsin/fleet"
	"tocsin/series"
)

const life = `
step 1m
signal latency kind=latency bad=up unit=s
signal ratio kind=ratio bad=up volume=requests min_volume=0.5
signal requests kind=rate bad=both
series a requests
  3d level=100 daily=0.4 noise=0.05
series a latency
  2d23h level=0.1 noise=0.1
  1h level=0.3 noise=0.1
series a ratio
  3d level=0.01 noise=0.5
series b requests
  1d level=10 noise=0.1
  1d gap
  1d level=10 noise=0.1
series c latency
  2d12h level=0.1 noise=0.1
  12h level=0.5 noise=0.1
`

// TestRestartContinuesBitForBit stops in the middle of a finding, in another process with other
// Refs, and compares with an engine that never stopped.
func TestRestartContinuesBitForBit(t *testing.T) {
	script, err := detectortest.Parse(life)
	if err != nil {
		t.Fatal(err)
	}
	instants := script.Instants()
	cut := len(instants) - 30
	whole, err := script.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	before := feedPart(t, script, nil, instants[:cut], func(e *detector.Engine) {
		if err := e.Snapshot(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	})
	after := feedPart(t, script, func(e *detector.Engine, r *series.Registry) {
		other := series.ID{Service: fleet.Service{Cluster: "x", Name: "y"}, Signal: "z"}
		if _, err := r.Ref(other); err != nil {
			t.Fatal(err)
		}
		if err := e.Restore(dir); err != nil {
			t.Fatal(err)
		}
		if got := e.LastAt(detectortest.Cluster); !got.Equal(instants[cut-1].At) {
			t.Errorf("last at %s, want %s", got, instants[cut-1].At)
		}
	}, instants[cut:], nil)

	if diff := cmp.Diff(whole.Findings, slices.Concat(before.Findings, after.Findings)); diff != "" {
		t.Errorf("findings: %s", diff)
	}
	for id, points := range whole.Points {
		got := slices.Concat(before.Points[id], after.Points[id])
		same := slices.EqualFunc(points, got, func(a, b detectortest.Point) bool {
			return a.At.Equal(b.At) && equal(float64(a.Score), float64(b.Score)) &&
				equal(a.Expected, b.Expected) && equal(a.Lower, b.Lower) && equal(a.Upper, b.Upper)
		})
		if !same {
			t.Errorf("%s: points differ", id.Service.Name+" "+id.Signal)
		}
	}
	for service, scores := range whole.Services {
		got := slices.Concat(before.Services[service], after.Services[service])
		same := func(a, b float32) bool { return equal(float64(a), float64(b)) }
		if !slices.EqualFunc(scores, got, same) {
			t.Errorf("%s: scores of the service differ", service)
		}
	}
}

func equal(a, b float64) bool { return a == b || a != a && b != b }

// feedPart plays instants to a new engine between two calls.
func feedPart(
	t *testing.T, script *detectortest.Script, first func(*detector.Engine, *series.Registry),
	instants []detectortest.Instant, last func(*detector.Engine),
) *detectortest.Answer {
	t.Helper()
	registry := series.NewRegistry(0)
	opts, answer := script.Options(registry)
	engine, err := detector.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if first != nil {
		first(engine, registry)
	}
	err = detectortest.Drive(t.Context(), engine, func() error {
		if err := script.Feed(t.Context(), engine, registry, instants); err != nil {
			return err
		}
		if last != nil {
			last(engine)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// snapshots writes those of two clusters and returns the folder and the path of the first one's
// file.
func snapshots(t *testing.T) (dir, path string) {
	t.Helper()
	w := newWorld(t, nil)
	w.feed(300, 1)
	w.feed(5, 4)
	w.append(w.batch("well/../off", 2, 1))
	dir = t.TempDir()
	if err := w.engine.Snapshot(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "c.snapshot")
}

// refusal restores dir and returns why the snapshot at path was refused, having checked that the
// rest was not.
func refusal(t *testing.T, dir, path string) string {
	t.Helper()
	w := newWorld(t, nil)
	err := w.engine.Restore(dir)
	var refused *detector.SnapshotError
	if !errors.As(err, &refused) || refused.File != path {
		t.Fatalf("Restore() = %v, want a refusal of %s", err, path)
	}
	s := w.status()
	if len(s.Clusters) != 1 || s.Clusters[0].Cluster != "well/../off" || s.Series != 2 {
		t.Fatalf("the rest: %+v", s)
	}
	return refused.Err.Error()
}

func TestRestoreRefuses(t *testing.T) {
	dir, path := snapshots(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		damage func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "torn"},
		{"head only", func(b []byte) []byte { return b[:15] }, "torn"},
		{"half", func(b []byte) []byte { return b[:len(b)/2] }, "torn"},
		{"last byte missing", func(b []byte) []byte { return b[:len(b)-1] }, "torn"},
		{"something after it", func(b []byte) []byte { return append(b, 0) }, "torn"},
		{"foreign", func([]byte) []byte { return bytes.Repeat([]byte("else "), 99) }, "not a snapshot"},
		{"of the model before", func(b []byte) []byte { b[8] = 2; return b }, "version 2, of another model"},
		{"newer", func(b []byte) []byte { b[8] = 4; return b }, "version 4"},
		{"another page", func(b []byte) []byte {
			copy(b[4096:8192], bytes.Repeat([]byte("x"), 4096))
			return b
		}, "checksum"},
		{"count of services", func(b []byte) []byte {
			return reseal(b, servicesAt(b), 0xffffffff)
		}, "malformed"},
		{"no step", func(b []byte) []byte { clear(b[33:41]); return reseal(b, 33, 0) }, "no step"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := os.WriteFile(path, tc.damage(bytes.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := refusal(t, dir, path); !strings.Contains(got, tc.want) {
				t.Errorf("refused because %q, want %q", got, tc.want)
			}
		})
	}
}

// servicesAt returns where the number of services is written: after head, name, closed, step,
// recent, closes, behind and behind at.
func servicesAt(b []byte) int {
	name := int(binary.LittleEndian.Uint32(b[20:]))
	return 24 + name + 8 + 8 + 8*8 + 8 + 4 + 8
}

// reseal writes v at offset and makes the checksum right again.
func reseal(b []byte, offset int, v uint32) []byte {
	binary.LittleEndian.PutUint32(b[offset:], v)
	sum := crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(b[len(b)-4:], sum)
	return b
}

func TestEveryFlippedBitIsSeen(t *testing.T) {
	dir, path := snapshots(t)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += max(1, len(whole)/200) {
		damaged := bytes.Clone(whole)
		damaged[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		refusal(t, dir, path)
	}
}

func TestSnapshotReplacesAndRemoves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	w := newWorld(t, nil)
	files := func() []string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range entries {
			out = append(out, e.Name())
		}
		return out
	}
	w.feed(3, 1)
	long := strings.Repeat("very-long/", 30)
	w.append(w.batch(long, 1, 1))
	for range 2 {
		if err := w.engine.Snapshot(context.Background(), dir); err != nil {
			t.Fatal(err)
		}
	}
	if got := files(); len(got) != 2 || got[0] != "c.snapshot" || len(got[1]) > 255 {
		t.Errorf("files %q", got)
	}
	if err := w.engine.RemoveCluster(long); err != nil {
		t.Fatal(err)
	}
	interrupted := filepath.Join(dir, "c.snapshot.unfinished")
	if err := os.WriteFile(interrupted, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.engine.Snapshot(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c.snapshot"}, files()); diff != "" {
		t.Error(diff)
	}
}

func TestSnapshotOfOneFailsAlone(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, nil)
	w.feed(3, 1)
	w.append(w.batch("d", 1, 1))
	inTheWay := filepath.Join(dir, "c.snapshot.unfinished", "a file")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	err := w.engine.Snapshot(context.Background(), dir)
	if err == nil || !strings.Contains(err.Error(), "write snapshot of c") {
		t.Errorf("Snapshot() = %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "d.snapshot")); err != nil {
		t.Error(err)
	}
	w.counter("tocsin_detector_snapshot_errors_total", 1)
}

func TestInterruptedSnapshotLeavesTheOldOne(t *testing.T) {
	dir, path := snapshots(t)
	if err := os.WriteFile(path+".unfinished", []byte("half a snaps"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	if err := w.engine.Restore(dir); err != nil {
		t.Fatal(err)
	}
	if s := w.status(); s.Series != 5 || s.Findings != 1 {
		t.Errorf("restored %+v", s)
	}
	if _, err := os.Stat(path + ".unfinished"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was left behind: %v", err)
	}
	w.counter("tocsin_detector_series", 3, "warm")
	w.counter("tocsin_detector_series", 2, "warming")
	w.counter("tocsin_detector_open_findings", 1)
	w.counter("tocsin_detector_snapshots_restored_total", 2)
}

func TestRestoreWithoutFolder(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.engine.Restore(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
}

// TestRestoreAfterReload restores under a configuration in which the signal with the finding is
// of another kind.
func TestRestoreAfterReload(t *testing.T) {
	dir, _ := snapshots(t)
	w := newWorld(t, func(o *detector.Options) {
		o.Signals = []detector.Signal{{Name: "latency", Kind: detector.Gauge, Bad: detector.Up}}
	})
	if err := w.engine.Restore(dir); err != nil {
		t.Fatal(err)
	}
	if s := w.status(); s.Series != 0 || s.Findings != 0 {
		t.Errorf("restored %+v", s)
	}
	w.at = w.at.Add(24 * time.Hour)
	w.feed(1, 1)
	want := []string{"c/shop/s0 latency resolved: signal removed"}
	if diff := cmp.Diff(want, w.reports()); diff != "" {
		t.Error(diff)
	}
}

// TestRestoreIntoFullRegistry finds room for one series only.
func TestRestoreIntoFullRegistry(t *testing.T) {
	dir, _ := snapshots(t)
	w := newWorld(t, func(o *detector.Options) { o.Registry = series.NewRegistry(1) })
	if err := w.engine.Restore(dir); err != nil {
		t.Fatal(err)
	}
	if s := w.status(); s.Series != 2 || len(s.Clusters) != 2 {
		t.Errorf("restored %+v", s)
	}
}
