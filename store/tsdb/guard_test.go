package tsdb

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestLowSpace(t *testing.T) {
	var free atomic.Int64
	free.Store(50 << 30)
	b := start(t, Options{
		free: func(string) (space, error) { return space{free: free.Load(), total: 100 << 30}, nil },
	})
	tick := epoch
	write := func(want string) {
		t.Helper()
		tick = tick.Add(15 * time.Second)
		b.clock.set(tick)
		b.guard.check()
		b.write(b.scores("errors", tick, map[string]float64{"a": 1}))
		if st := b.Status(); st.Writable != (want == "") || !strings.Contains(st.Reason, want) {
			t.Errorf("with %d bytes free: %v, %q; want %q", free.Load(), st.Writable, st.Reason, want)
		}
	}
	write("")
	free.Store(5<<30 + 1)
	write("")
	free.Store(5<<30 - 1)
	write("fewer than 5368709120")
	free.Store(5<<30 + 1)
	write("fewer than 5368709120") // Not yet enough to go on.
	free.Store(6 << 30)
	write("")
	if n := b.dropped(dropDisk); n != 2 {
		t.Errorf("%d dropped, want 2", n)
	}
	b.want("tocsin_score", tick, map[string]float64{"a": 1})
}

func TestLimitOfSmallDisk(t *testing.T) {
	b := start(t, Options{
		free: func(string) (space, error) { return space{free: 1<<30 - 1, total: 10 << 30}, nil },
	})
	if st := b.Status(); st.Writable {
		t.Error("writes with less than 1 GiB free")
	}
	b = start(t, Options{
		MinFree: -1, MinFreeShare: -1,
		free: func(string) (space, error) { return space{free: 0, total: 10 << 30}, nil },
	})
	if st := b.Status(); !st.Writable {
		t.Errorf("does not write though no limit is set: %s", st.Reason)
	}
	b = start(t, Options{
		free: func(string) (space, error) { return space{}, errors.New("no such call") },
	})
	if st := b.Status(); !st.Writable {
		t.Errorf("does not write because free space is not known: %s", st.Reason)
	}
}

// TestGuardLooksBySelf lets the space run out while nothing is written.
func TestGuardLooksBySelf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Int64
		free.Store(50 << 30)
		flushed := 0
		o := Options{
			Dir:  t.TempDir(),
			free: func(string) (space, error) { return space{free: free.Load(), total: 100 << 30}, nil },
		}
		if err := o.setDefaults(); err != nil {
			t.Fatal(err)
		}
		g := newGuard(&o, newMetrics(nil), func() { flushed++ })
		go g.run(t.Context())
		time.Sleep(3 * time.Second)
		free.Store(1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if writable, _, _ := g.state(); writable || flushed != 1 {
			t.Errorf("writable: %v, flushed %d times", writable, flushed)
		}
	})
}

// TestDiskRefuses makes the write-ahead log refuse, as a disk does that is full without having
// said so.
func TestDiskRefuses(t *testing.T) {
	b := start(t, Options{})
	b.guard.refused(errors.New("write wal: no space left on device"))
	b.write(b.scores("errors", epoch, map[string]float64{"a": 1}))
	st := b.Status()
	if st.Writable || !strings.Contains(st.Reason, "no space left") || b.dropped(dropDisk) != 1 {
		t.Errorf("Status() = %+v", st)
	}
	b.guard.check()
	if writable, _, _ := b.guard.state(); writable {
		t.Error("goes on at once")
	}
	b.clock.set(epoch.Add(pause))
	b.guard.check()
	b.write(b.scores("errors", epoch, map[string]float64{"a": 1}))
	b.want("tocsin_score", epoch, map[string]float64{"a": 1})
}

// TestFlushPanics is about the Prometheus TSDB, which panics when it cannot write a chunk.
func TestFlushPanics(t *testing.T) {
	o := Options{Dir: t.TempDir(), free: func(string) (space, error) { return space{}, nil }}
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	g := newGuard(&o, newMetrics(nil), func() { panic("no space left on device") })
	if writable, _, _ := g.state(); writable {
		t.Error("writable")
	}
}

func TestStatfs(t *testing.T) {
	s, err := statfs(t.TempDir())
	if err != nil || s.total <= 0 || s.free < 0 || s.free > s.total {
		t.Errorf("statfs() = %+v, %v", s, err)
	}
	if _, err := statfs(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("statfs() of nothing = %v", err)
	}
}
