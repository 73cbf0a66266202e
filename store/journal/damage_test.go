package journal

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// written is a journal that was closed, and all its events as they were.
type written struct {
	path   string
	events []Event
}

// write makes a journal of n events.
func write(t testing.TB, n int) written {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := Open(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, j, n)
	w := written{path: path, events: all(t, j)}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

func all(t testing.TB, j *Journal) []Event {
	t.Helper()
	events, err := j.Read(context.Background(), Query{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// alter runs SQL on a journal that is closed.
func (w written) alter(t testing.TB, query string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", w.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// copyTo returns a copy of the journal in a directory of its own.
func (w written) copyTo(t testing.TB) written {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	for _, suffix := range []string{"", ".anchor"} {
		b, err := os.ReadFile(w.path + suffix)
		if err == nil {
			err = os.WriteFile(path+suffix, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return written{path: path, events: w.events}
}

func TestVerifyNamesWhatIsWrong(t *testing.T) {
	base := write(t, 60)
	for _, tc := range []struct {
		name string
		sql  string
		want []Break
	}{
		{"time", "UPDATE events SET at = at + 1 WHERE seq = 20", []Break{{20, 20, mismatch}}},
		{"kind", "UPDATE events SET kind = 'findinh' WHERE seq = 20", []Break{{20, 20, mismatch}}},
		{"key", "UPDATE events SET key = 'other' WHERE seq = 20", []Break{{20, 20, mismatch}}},
		{"data", "UPDATE events SET data = data || ' ' WHERE seq = 20", []Break{{20, 20, mismatch}}},
		{
			"border between kind and key", "UPDATE events SET kind = 'findingf', key = '9' WHERE seq = 20",
			[]Break{{20, 20, mismatch}},
		},
		{"hash", "UPDATE events SET hash = zeroblob(32) WHERE seq = 20", mismatches(20, 21)},
		{"short hash", "UPDATE events SET hash = x'00' WHERE seq = 20", []Break{{20, 20, unreadable}}},
		{"one lost", "DELETE FROM events WHERE seq = 20", []Break{{20, 20, missing}}},
		{"many lost", "DELETE FROM events WHERE seq BETWEEN 10 AND 29", []Break{{10, 29, missing}}},
		{"the first lost", "DELETE FROM events WHERE seq <= 3", []Break{{1, 3, missing}}},
		{"the last lost", "DELETE FROM events WHERE seq > 57", []Break{{58, 60, missing}}},
		{"all lost", "DELETE FROM events", []Break{{1, 60, missing}}},
		{
			"two exchanged", `UPDATE events SET seq = -1 WHERE seq = 20; UPDATE events SET seq = 20 WHERE seq = 30;
				UPDATE events SET seq = 30 WHERE seq = -1`,
			[]Break{{20, 20, mismatch}, {21, 21, mismatch}, {30, 30, mismatch}, {31, 31, mismatch}},
		},
		{
			"one put in between", `UPDATE events SET seq = -seq WHERE seq > 20;
				INSERT INTO events SELECT 21, at, kind, key, data, hash FROM events WHERE seq = 20;
				UPDATE events SET seq = 1 - seq WHERE seq < 0`,
			append([]Break{{21, 21, mismatch}}, mismatches(22, 61)...),
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := base.copyTo(t)
			w.alter(t, tc.sql)
			j := open(t, Options{Path: w.path})
			if err := j.Damaged(); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tc.want[0].String()) {
				t.Errorf("Damaged() = %v, want %v", err, tc.want[0])
			}
			r, err := j.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, r.Breaks); diff != "" {
				t.Error(diff)
			}
			if !errors.Is(r.Err(), ErrDamaged) {
				t.Errorf("Err() = %v", r.Err())
			}
			readable(t, j, w.events)
		})
	}
}

func mismatches(from, to int64) []Break {
	var out []Break
	for seq := from; seq <= to; seq++ {
		out = append(out, Break{seq, seq, mismatch})
	}
	return out
}

// readable checks that every event that is read is either as it was written or said to be
// suspect, and that the journal can be appended to.
func readable(t testing.TB, j *Journal, events []Event) {
	t.Helper()
	bySeq := make(map[int64]Event)
	for _, e := range events {
		bySeq[e.Seq] = e
	}
	for _, e := range all(t, j) {
		was, known := bySeq[e.Seq]
		if e.Suspect || !known && (e.Kind == KindBreak || e.Kind == "after") {
			continue
		}
		if diff := cmp.Diff(was, e); diff != "" {
			t.Fatalf("event %d is not what was written, and nobody says so: %s", e.Seq, diff)
		}
	}
	if err := j.Append(context.Background(), Entry{Kind: "after", Key: "a"}); err != nil {
		t.Fatalf("append after damage: %v", err)
	}
}

func TestReconcile(t *testing.T) {
	w := write(t, 30)
	w.alter(t, "DELETE FROM events WHERE seq = 12")
	j := open(t, Options{Path: w.path})
	if j.Damaged() == nil {
		t.Fatal("the gap was not found")
	}
	if err := j.Reconcile(t.Context(), "ann", "looked at the cluster: nothing was lost"); err != nil {
		t.Fatal(err)
	}
	if err := j.Damaged(); err != nil {
		t.Errorf("after Reconcile(): %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	j = open(t, Options{Path: w.path})
	if err := j.Damaged(); err != nil {
		t.Errorf("after reopening: %v", err)
	}
	r, err := j.Verify(t.Context())
	if err != nil || r.Err() != nil || r.Reconciled != 1 || len(r.Breaks) != 1 {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	w.alter(t, "DELETE FROM events WHERE seq = 20")
	j = open(t, Options{Path: w.path})
	if err := j.Damaged(); err == nil || !strings.Contains(err.Error(), "event 20") {
		t.Errorf("after new damage: %v", err)
	}
	// What was recorded before is written with it.
	if err := j.Append(t.Context(), Entry{Kind: "after"}); err != nil {
		t.Fatal(err)
	}
	breaks, err := j.Read(t.Context(), Query{Kinds: []string{KindBreak, KindReconciled}})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range breaks {
		kinds = append(kinds, e.Kind+" "+e.Key)
	}
	if want := []string{"break 12", "reconciled ", "break 20"}; !slices.Equal(kinds, want) {
		t.Errorf("events = %v, want %v", kinds, want)
	}
}

func TestOldCopy(t *testing.T) {
	w := write(t, 20)
	old, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	j := open(t, Options{Path: w.path})
	fill(t, j, 15)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	j = open(t, Options{Path: w.path})
	if err := j.Damaged(); err == nil || !strings.Contains(err.Error(), "events 21 to 35: missing") {
		t.Errorf("Damaged() = %v", err)
	}
	readable(t, j, w.events)
	if last := all(t, j); last[len(last)-1].Seq < 36 {
		t.Errorf("a lost number was given again: %d", last[len(last)-1].Seq)
	}
}

// TestBitFlips flips single bits of the file. Each must be noticed, or change nothing that can be
// read.
func TestBitFlips(t *testing.T) {
	base := write(t, 400)
	size, err := os.ReadFile(base.path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	groups := make([][]int, 8) // Together, for most of the time is spent waiting for the disk.
	for i := range 25 {
		groups[i%8] = append(groups[i%8], 4*i) // The header of the file.
	}
	for i := range 200 {
		groups[i%8] = append(groups[i%8], random.IntN(len(size)))
	}
	for i, positions := range groups {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			outcomes := make(map[string]int)
			for _, at := range positions {
				outcomes[flip(t, base, at, 1<<(at%8))]++
			}
			t.Log(outcomes)
		})
	}
}

// flip opens a copy of base in which some bits of one byte are flipped, and returns what came of
// it.
func flip(t testing.TB, base written, at int, mask byte) string {
	t.Helper()
	w := base.copyTo(t)
	b, err := os.ReadFile(w.path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= mask
	if err := os.WriteFile(w.path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := Open(Options{Path: w.path})
	if err != nil {
		return "refused" // And says why; nothing was changed.
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Errorf("byte %d: %v", at, err)
		}
	}()
	r, err := j.Verify(context.Background())
	if err != nil {
		t.Fatalf("byte %d: verify: %v", at, err)
	}
	readable(t, j, base.events)
	switch {
	case r.Mended != "":
		return "mended"
	case j.Damaged() != nil:
		return "noticed"
	}
	got := all(t, j)
	if diff := cmp.Diff(base.events, got[:len(got)-1]); diff != "" {
		t.Errorf("byte %d ^ %#x was not noticed: %s", at, mask, diff)
	}
	return "harmless"
}

// TestTornLog flips bits of the write-ahead log that a killed process has left behind.
func TestTornLog(t *testing.T) {
	source := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, Options{Path: source})
	fill(t, j, 50)
	events := all(t, j)
	files := make(map[string][]byte)
	for _, suffix := range []string{"", "-wal", ".anchor"} {
		b, err := os.ReadFile(source + suffix)
		if err != nil {
			t.Fatal(err)
		}
		files[suffix] = b
	}
	random := rand.New(rand.NewPCG(3, 4))
	noticed := 0
	for range 60 {
		path := filepath.Join(t.TempDir(), "journal.db")
		log := bytes.Clone(files["-wal"])
		log[random.IntN(len(log))] ^= 1 << random.IntN(8)
		for suffix, b := range map[string][]byte{"": files[""], "-wal": log, ".anchor": files[".anchor"]} {
			if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		j, err := Open(Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		if j.Damaged() != nil {
			noticed++
		} else if got := all(t, j); cmp.Diff(events, got) != "" {
			t.Error("events were lost, and nobody says so")
		}
		readable(t, j, events)
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d of 60 noticed", noticed)
}

func TestForeignFiles(t *testing.T) {
	for _, tc := range []struct {
		name  string
		make  func(path string) error
		wants error
		aside bool
	}{
		{"empty", content(""), nil, false},
		{"text", content(strings.Repeat("hello ", 999)), nil, true},
		{"zeros", content(strings.Repeat("\x00", 8192)), nil, true},
		{"another database", foreign("CREATE TABLE t (x); INSERT INTO t VALUES (1)"), ErrForeign, false},
		{
			"a newer format", foreign(fmt.Sprintf("CREATE TABLE t (x); PRAGMA application_id = %d; "+
				"PRAGMA user_version = 2", applicationID)), ErrForeign, false,
		},
		{
			"a journal without its tables", foreign(fmt.Sprintf("CREATE TABLE t (x); PRAGMA application_id = %d; "+
				"PRAGMA user_version = 1", applicationID)), nil, true,
		},
		{"a directory", func(p string) error { return os.Mkdir(p, 0o700) }, os.ErrInvalid, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			if err := tc.make(path); err != nil {
				t.Fatal(err)
			}
			j, err := Open(Options{Path: path})
			if tc.wants != nil {
				if err == nil || errors.Is(tc.wants, ErrForeign) && !errors.Is(err, ErrForeign) {
					t.Errorf("Open() = %v, want %v", err, tc.wants)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := j.Close(); err != nil {
					t.Error(err)
				}
			}()
			aside, err := filepath.Glob(path + ".damaged-*")
			if err != nil {
				t.Fatal(err)
			}
			if got := len(aside) > 0; got != tc.aside || (j.Damaged() != nil) != tc.aside {
				t.Errorf("set aside: %v, Damaged() = %v", aside, j.Damaged())
			}
			readable(t, j, nil)
		})
	}
}

// content returns a function that makes a file.
func content(text string) func(path string) error {
	return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
}

// foreign returns a function that makes a database by SQL.
func foreign(query string) func(path string) error {
	return func(path string) error {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			return err
		}
		_, err = db.Exec(query)
		return errors.Join(err, db.Close())
	}
}

func FuzzForeignFile(f *testing.F) {
	f.Add([]byte("SQLite format 3\x00"))
	w := write(f, 20)
	b, err := os.ReadFile(w.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, file []byte) {
		path := filepath.Join(t.TempDir(), "journal.db")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(Options{Path: path})
		if err != nil {
			return
		}
		if _, err := j.Read(context.Background(), Query{Limit: 1000}); err != nil {
			t.Errorf("read: %v", err)
		}
		if _, err := j.Verify(context.Background()); err != nil {
			t.Errorf("verify: %v", err)
		}
		if err := j.Append(context.Background(), Entry{Kind: "x"}); err != nil {
			t.Errorf("append: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

func FuzzDamagedByte(f *testing.F) {
	base := write(f, 300)
	f.Add(uint32(100), byte(1))
	f.Add(uint32(5000), byte(0x80))
	f.Fuzz(func(t *testing.T, at uint32, mask byte) {
		info, err := os.Stat(base.path)
		if err != nil {
			t.Fatal(err)
		}
		flip(t, base, int(at)%int(info.Size()), mask)
	})
}
