package tsdb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tocsin/detector"
	"tocsin/series"
)

// What a process that this test has started is to do.
const (
	childVariable = "TOCSIN_TSDB_TEST_CHILD"
	childDir      = "TOCSIN_TSDB_TEST_DIR"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childVariable) {
	case "die":
		err = writeAndDie(os.Getenv(childDir))
	case "limit":
		err = writeUntilFull(os.Getenv(childDir))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child runs this test binary as something else.
func child(t *testing.T, what, dir string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childVariable+"="+what, childDir+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// writeAndDie writes a hundred ticks and ends without closing anything.
func writeAndDie(dir string) error {
	c := clock{at: epoch}
	d, err := Open(Options{Dir: dir, now: c.now})
	if err != nil {
		return err
	}
	reg := series.NewRegistry(0)
	ref, err := reg.Ref(id("a", "errors"))
	if err != nil {
		return err
	}
	for i := range 100 {
		d.WriteScores(&detector.Scores{
			Cluster: "eu-1", Signal: "errors", At: epoch.Add(time.Duration(i) * 15 * time.Second),
			Refs: []series.Ref{ref}, Score: []float32{float32(i)},
			Observed: []float64{1}, Expected: []float64{1}, Lower: []float64{1}, Upper: []float64{1},
		}, reg.ID)
		c.set(epoch.Add(time.Duration(i) * 15 * time.Second))
		d.writer.drain(context.Background())
	}
	os.Exit(0) // What is not written now is lost, as after kill -9.
	return nil
}

// died returns the directory of a database whose process was killed.
func died(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	child(t, "die", dir)
	return dir
}

// writeUntilFull writes while no file may become larger than 300 KB, then without a limit.
func writeUntilFull(dir string) error {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	c := clock{at: epoch}
	d, err := Open(Options{Dir: dir, now: c.now, MinFree: -1, MinFreeShare: -1})
	if err != nil {
		return err
	}
	reg := series.NewRegistry(0)
	s := &detector.Scores{Cluster: "eu-1", Signal: "errors", At: epoch}
	for n := range 500 {
		ref, err := reg.Ref(id(fmt.Sprintf("service-%03d", n), "errors"))
		if err != nil {
			return err
		}
		s.Refs, s.Score = append(s.Refs, ref), append(s.Score, 1)
	}
	none := make([]float64, len(s.Refs))
	s.Observed, s.Expected, s.Lower, s.Upper = none, none, none, none
	tick := func() Status {
		s.At = s.At.Add(15 * time.Second)
		c.set(s.At)
		d.guard.check()
		for n := range s.Score {
			s.Score[n] = float32(n) / 7 * float32(s.At.Unix()%1000)
		}
		d.WriteScores(s, reg.ID)
		d.writer.drain(context.Background())
		return d.Status()
	}
	limit := unix.Rlimit{Cur: 300_000, Max: was.Max}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	st := tick()
	for n := 0; st.Writable; n++ {
		if n > 10_000 {
			return fmt.Errorf("the disk is full and nobody says so: %+v", st)
		}
		st = tick()
	}
	for range 5 {
		tick()
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if st = tick(); !st.Writable {
		return fmt.Errorf("with room again: %+v", st)
	}
	found, err := d.Range(context.Background(), "count(tocsin_score)", s.At, s.At, time.Second)
	if err != nil || len(found) != 1 || found[0].Points[0].Value != 500 {
		return fmt.Errorf("with room again: %v, %w", found, err)
	}
	return d.Close()
}

// TestFileLimit makes writes fail, as those to a full disk do.
func TestFileLimit(t *testing.T) {
	dir := t.TempDir()
	child(t, "limit", dir)
	b := start(t, Options{Dir: dir})
	if got := b.query("count(last_over_time(tocsin_score[1d]))", b.Status().Newest); len(got) != 1 {
		t.Errorf("after a restart: %v", got)
	}
}

func TestKilled(t *testing.T) {
	b := start(t, Options{Dir: died(t)})
	last := epoch.Add(99 * 15 * time.Second)
	b.want("tocsin_score", last, map[string]float64{"a": 99})
	if st := b.Status(); len(st.Mended) != 0 || !st.Newest.Equal(last) || !st.Oldest.Equal(epoch) {
		t.Errorf("Status() = %+v", st)
	}
	b.clock.set(last)
	b.write(b.scores("errors", last.Add(15*time.Second), map[string]float64{"a": 7}))
	b.want("tocsin_score", last.Add(15*time.Second), map[string]float64{"a": 7})
}

func TestTornLog(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func(b []byte) []byte
		mended bool
	}{
		{"cut within a record", func(b []byte) []byte { return b[:len(b)-7] }, true},
		{"flipped bit", func(b []byte) []byte { b[len(b)/2] ^= 4; return b }, true},
		{"zeros behind the end", func(b []byte) []byte { return append(b, make([]byte, 100)...) }, false},
		{"empty", func([]byte) []byte { return nil }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := died(t)
			path := filepath.Join(dir, "wal", "00000000")
			log, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tc.damage(log), 0o600); err != nil {
				t.Fatal(err)
			}
			b := start(t, Options{Dir: dir})
			st := b.Status()
			if (len(st.Mended) > 0) != tc.mended {
				t.Errorf("Mended = %v", st.Mended)
			}
			next := epoch.Add(100 * 15 * time.Second)
			b.clock.set(next)
			b.write(b.scores("errors", next, map[string]float64{"a": 7}))
			b.want("tocsin_score", next, map[string]float64{"a": 7})
		})
	}
}

// compacted returns the directory of a database with a block on disk, and that block's name.
func compacted(t *testing.T) (dir, block string) {
	t.Helper()
	b := start(t, Options{})
	for i := range 12 {
		at := epoch.Add(time.Duration(i) * 30 * time.Minute)
		b.clock.set(at)
		b.write(b.scores("errors", at, map[string]float64{"a": float64(i)}))
	}
	if err := b.db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	blocks := b.db.Blocks()
	if len(blocks) == 0 {
		t.Fatal("there is no block")
	}
	block = blocks[0].Meta().ULID.String()
	if st := b.Status(); !st.Oldest.Equal(epoch) {
		t.Errorf("Oldest = %s, want %s", st.Oldest, epoch)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	return b.opts.Dir, block
}

func TestDamagedBlock(t *testing.T) {
	dir, block := compacted(t)
	if err := os.WriteFile(filepath.Join(dir, block, "index"), []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := start(t, Options{Dir: dir})
	if st := b.Status(); !strings.Contains(fmt.Sprint(st.Mended), block) {
		t.Errorf("Mended = %v, want %s", st.Mended, block)
	}
	if _, err := os.Stat(filepath.Join(dir, "damaged", block, "index")); err != nil {
		t.Errorf("block was not set aside: %v", err)
	}
	at := epoch.Add(330 * time.Minute)
	b.want("tocsin_score", at, map[string]float64{"a": 11})
}

func TestOpenTwice(t *testing.T) {
	b := start(t, Options{})
	if d, err := Open(Options{Dir: b.opts.Dir}); err == nil || !strings.Contains(err.Error(), b.opts.Dir) {
		t.Errorf("second Open() = %v, %v", d, err)
	}
	if _, err := Open(Options{}); err == nil {
		t.Error("Open() without a directory succeeded")
	}
}

func TestRetention(t *testing.T) {
	dir, _ := compacted(t)
	b := start(t, Options{Dir: dir, Retention: 2 * time.Hour})
	for i := range 20 {
		at := epoch.Add(6*time.Hour + time.Duration(i)*30*time.Minute)
		b.clock.set(at)
		b.write(b.scores("errors", at, map[string]float64{"a": 1}))
	}
	if err := b.db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := b.Status(); st.Oldest.Before(epoch.Add(4 * time.Hour)) {
		t.Errorf("Oldest = %s", st.Oldest)
	}
}
