package journal

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// What a process that this test has started is to do.
const (
	childVariable = "TOCSIN_JOURNAL_TEST_CHILD"
	childPath     = "TOCSIN_JOURNAL_TEST_PATH"
	childLife     = "TOCSIN_JOURNAL_TEST_LIFE"
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childVariable) {
	case "append":
		err = appendForEver(os.Getenv(childPath), os.Getenv(childLife))
	case "limit":
		err = appendUntilFull(os.Getenv(childPath))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child returns a command that runs this test binary as something else.
func child(t testing.TB, what, path, life string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childVariable+"="+what, childPath+"="+path, childLife+"="+life)
	cmd.Stderr = os.Stderr
	return cmd
}

// appendForEver appends from four goroutines and prints the key of each event that was
// acknowledged.
func appendForEver(path, life string) error {
	j, err := Open(Options{Path: path})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for g := range 4 {
		go func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("%s-%d-%d", life, g, n)
				err := j.Append(context.Background(), Entry{Kind: "incident", Key: key, Data: strings.Repeat("x", n%500)})
				if err != nil {
					failed <- err
					return
				}
				fmt.Println(key)
			}
		}()
	}
	return <-failed
}

// TestKill kills a process that appends, again and again: what it was told is written must be
// there.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	random := rand.New(rand.NewPCG(5, 6))
	acknowledged := make(map[string]bool)
	for life := range 25 {
		for _, key := range killed(t, path, fmt.Sprint(life), random.IntN(60)) {
			acknowledged[key] = true
		}
		j, err := Open(Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := j.Verify(t.Context()); err != nil || r.Err() != nil || j.Damaged() != nil {
			t.Errorf("life %d: Verify() = %+v, %v; Damaged() = %v", life, r, err, j.Damaged())
		}
		there := make(map[string]bool)
		for _, e := range all(t, j) {
			there[e.Key] = true
		}
		for key := range acknowledged {
			if !there[key] {
				t.Fatalf("life %d: event %s was acknowledged and is lost", life, key)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d events acknowledged", len(acknowledged))
}

// killed starts a process, kills it after so many acknowledgements, and returns all that it gave.
func killed(t *testing.T, path, life string, after int) []string {
	t.Helper()
	cmd := child(t, "append", path, life)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break // A line without an end was not printed to its end.
		}
		if err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, strings.TrimSpace(line)); len(keys) == after+1 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("process was not killed but ended: %v", err)
	}
	return keys
}

// appendUntilFull appends while no file may become larger than 300 KB, then without a limit.
func appendUntilFull(path string) error {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	j, err := Open(Options{Path: path})
	if err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 300_000, Max: was.Max}); err != nil {
		return err
	}
	written := 0
	for ; ; written++ {
		err := j.Append(context.Background(), Entry{Kind: "x", Data: strings.Repeat("x", 5000)})
		if err != nil {
			break
		}
	}
	if st := j.Status(); st.WriteError == "" || j.Damaged() != nil {
		return fmt.Errorf("on a full disk: status %+v, damaged: %t", st, j.Damaged() != nil)
	}
	if _, err := j.Read(context.Background(), Query{}); err != nil {
		return fmt.Errorf("read on a full disk: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if err := j.Append(context.Background(), Entry{Kind: "x"}); err != nil {
		return fmt.Errorf("append with room again: %w", err)
	}
	r, err := j.Verify(context.Background())
	if err != nil || r.Err() != nil || r.Events != int64(written+1) {
		return fmt.Errorf("after %d appends: %+v, %w", written+1, r, err)
	}
	return j.Close()
}

func TestFileLimit(t *testing.T) {
	cmd := child(t, "limit", filepath.Join(t.TempDir(), "journal.db"), "")
	cmd.Stderr = nil
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestDiskFull(t *testing.T) {
	j := open(t, Options{maxPages: 40})
	big := strings.Repeat("x", 3000)
	n := 0
	var err error
	for ; err == nil; n++ {
		err = j.Append(t.Context(), Entry{Kind: "big", Key: fmt.Sprint(n), Data: big})
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("Append() = %v, want ErrFull", err)
	}
	j.Record(Entry{Kind: "finding", Key: "f1", Data: big})
	if st := j.Status(); st.Waiting != 1 || st.WriteError == "" || st.Last != int64(n-1) {
		t.Errorf("Status() = %+v", st)
	}
	if got := len(all(t, j)); got != n-1 {
		t.Errorf("%d events are there, want %d", got, n-1)
	}
	// Room again: what was recorded goes first, with the next append.
	if _, err := j.Prune(t.Context(), epoch.AddDate(99, 0, 0), nil); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(t.Context(), Entry{Kind: "small"}); err != nil {
		t.Fatal(err)
	}
	events := all(t, j)
	if len(events) != 3 || events[1].Kind != "finding" || events[2].Kind != "small" {
		t.Errorf("events = %v", events)
	}
	if st := j.Status(); st.Waiting != 0 || st.WriteError != "" {
		t.Errorf("Status() = %+v", st)
	}
}

func TestBufferOverflow(t *testing.T) {
	j := open(t, Options{maxPages: 12, Buffer: 32})
	big := strings.Repeat("x", 50_000)
	if err := j.Append(t.Context(), Entry{Kind: "big", Data: big}); !errors.Is(err, ErrFull) {
		t.Fatalf("Append() = %v, want ErrFull", err)
	}
	for n := range 40 {
		j.Record(Entry{Kind: "finding", Key: fmt.Sprint(n % 32), Data: big[:40_000+n]})
	}
	if st := j.Status(); st.Waiting != 32 {
		t.Errorf("of 32 keys %d wait", st.Waiting)
	}
	j.Record(Entry{Kind: "finding", Key: "one more", Data: big})
	j.mu.Lock()
	waiting := append([]row(nil), j.buffer...)
	j.mu.Unlock()
	last := waiting[len(waiting)-1]
	if len(waiting) > 32 || last.key != "one more" {
		t.Errorf("buffer holds %d, the last %s", len(waiting), last.key)
	}
	for _, r := range waiting {
		if r.key == "7" && len(r.data) != 40_000+39+2 {
			t.Errorf("report of %d bytes was not superseded by a newer one", len(r.data))
		}
	}
	if err := j.Close(); err == nil || !strings.Contains(err.Error(), "not written") {
		t.Errorf("Close() = %v", err)
	}
}

// TestDamageWhileOpen destroys the file under a journal that is at work.
func TestDamageWhileOpen(t *testing.T) {
	j := open(t, Options{})
	fill(t, j, 30)
	err := j.do(t.Context(), func(db *sql.DB) error {
		if _, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			return err
		}
		db.SetMaxIdleConns(0) // What is in its cache would hide the damage for a while.
		return os.WriteFile(j.opts.Path, bytes.Repeat([]byte("noise"), 10_000), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(t.Context(), Entry{Kind: "incident", Key: "i1"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Damaged(); !errors.Is(err, ErrDamaged) {
		t.Errorf("Damaged() = %v", err)
	}
	latest, err := j.Latest(t.Context(), "incident")
	if err != nil || latest["i1"].Seq != 31 {
		t.Errorf("Latest() = %v, %v", latest, err)
	}
	aside, err := filepath.Glob(j.opts.Path + ".damaged-*")
	if err != nil || len(aside) == 0 {
		t.Errorf("nothing was set aside: %v", err)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := open(t, Options{Retention: 24 * time.Hour})
		now := time.Now()
		for n := range 48 {
			e := Entry{Kind: "x", At: now.Add(time.Duration(n-47) * time.Hour)}
			if err := j.Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- j.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		st := j.Status()
		if st.Verified.At.IsZero() || st.Verified.Events != 48 {
			t.Errorf("Verified = %+v", st.Verified)
		}
		if st.First != 26 || st.Last != 48 {
			t.Errorf("events %d to %d are left, want 26 to 48", st.First, st.Last)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestConcurrentAppends(t *testing.T) {
	j := open(t, Options{Queue: 4})
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for n := range 20 {
				e := Entry{Kind: "x", Key: fmt.Sprintf("%d-%d", g, n)}
				if err := j.Append(t.Context(), e, e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		if _, err := j.Verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	r, err := j.Verify(t.Context())
	if err != nil || r.Err() != nil || r.Events != 640 {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
	events, err := j.Read(t.Context(), Query{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(events); n += 2 {
		if events[n].Key != events[n+1].Key {
			t.Fatalf("the entries of one append are apart: %v, %v", events[n], events[n+1])
		}
	}
}

func TestAppendGivesUp(t *testing.T) {
	j := open(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := j.Append(ctx, Entry{Kind: "x"})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Append() = %v", err)
	}
	for _, e := range []Entry{
		{Key: "no kind"},
		{Kind: "x", Data: func() {}},
		{Kind: "x", Data: strings.Repeat("x", maxData)},
	} {
		if err := j.Append(t.Context(), e); err == nil {
			t.Errorf("Append(%s %s) succeeded", e.Kind, e.Key)
		}
	}
	if err := j.Append(t.Context()); err != nil {
		t.Errorf("Append() of nothing = %v", err)
	}
}
