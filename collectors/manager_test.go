package collectors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// world is what a manager's sources do: it notes who runs.
type world struct {
	t *testing.T

	mu      sync.Mutex
	running map[string]int // By cluster and version.
	builds  map[string]int
	removed []string
	broken  map[string]error // What Build of a cluster answers.
	ends    map[string]error // What Run of a cluster answers at once.
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, running: map[string]int{}, builds: map[string]int{}, broken: map[string]error{}, ends: map[string]error{},
	}
}

func (w *world) spec(name, version string) ClusterSpec {
	return ClusterSpec{Name: name, Key: version, Build: func() ([]Source, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.builds[name+version]++
		if err := w.broken[name]; err != nil {
			return nil, err
		}
		return []Source{&source{w, name, name + version}}, nil
	}}
}

func (w *world) runs() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for key, n := range w.running {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s:%d", key, n))
		}
	}
	slices.Sort(out)
	return out
}

type source struct {
	world    *world
	name, id string
}

func (s *source) Run(ctx context.Context) error {
	w := s.world
	w.mu.Lock()
	for key, n := range w.running {
		if n > 0 && key[:1] == s.name {
			w.t.Errorf("%s begins while %s runs", s.id, key)
		}
	}
	w.running[s.id]++
	err := w.ends[s.name]
	w.mu.Unlock()
	if err == nil {
		<-ctx.Done()
		time.Sleep(100 * time.Millisecond) // It takes a while to stop.
	}
	w.mu.Lock()
	w.running[s.id]--
	w.mu.Unlock()
	return err
}

// manage runs a manager in a bubble until test returns.
func manage(t *testing.T, test func(*world, *Manager)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m := NewManager(ManagerOptions{Removed: func(name string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.removed = append(w.removed, name)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		test(w, m)
		cancel()
		<-done
		if got := w.runs(); len(got) > 0 {
			t.Errorf("after Run: %v still run", got)
		}
	})
}

func settled(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestApplyChangesOnlyWhatChanged(t *testing.T) {
	manage(t, func(w *world, m *Manager) {
		m.Apply([]ClusterSpec{w.spec("a", "1"), w.spec("b", "1"), w.spec("c", "1")})
		settled(time.Second)
		if got, want := w.runs(), []string{"a1:1", "b1:1", "c1:1"}; !slices.Equal(got, want) {
			t.Fatalf("running %v, want %v", got, want)
		}
		m.Apply([]ClusterSpec{w.spec("a", "1"), w.spec("b", "2"), w.spec("d", "1")})
		settled(time.Second)
		if got, want := w.runs(), []string{"a1:1", "b2:1", "d1:1"}; !slices.Equal(got, want) {
			t.Fatalf("running %v, want %v", got, want)
		}
		if w.builds["a1"] != 1 {
			t.Errorf("the unchanged cluster was built %d times", w.builds["a1"])
		}
		if !slices.Equal(w.removed, []string{"c"}) {
			t.Errorf("removed %v, want c alone", w.removed)
		}
	})
}

func TestAClusterThatComesBackWaitsForItsEnd(t *testing.T) {
	manage(t, func(w *world, m *Manager) {
		m.Apply([]ClusterSpec{w.spec("a", "1")})
		settled(time.Second)
		m.Apply(nil)
		m.Apply([]ClusterSpec{w.spec("a", "1")})
		settled(time.Second)
		if got, want := w.runs(), []string{"a1:1"}; !slices.Equal(got, want) {
			t.Fatalf("running %v, want %v", got, want)
		}
		if w.builds["a1"] != 2 || len(w.removed) != 1 {
			t.Errorf("built %d times, removed %v; want 2 and once", w.builds["a1"], w.removed)
		}
	})
}

func TestFailuresAreShownAndRetried(t *testing.T) {
	manage(t, func(w *world, m *Manager) {
		w.broken["a"] = errors.New("no such file ca.pem")
		w.ends["b"] = errors.New("broken pipe")
		m.Apply([]ClusterSpec{w.spec("a", "1"), w.spec("b", "1"), w.spec("c", "1")})
		settled(10 * time.Second)
		for _, s := range m.Status() {
			want := map[string]string{"a": "no such file ca.pem", "b": "broken pipe"}[s.Name]
			if s.Reason != want || (s.State == Failed) != (want != "") {
				t.Errorf("status of %s: %s, %q; want reason %q", s.Name, s.State, s.Reason, want)
			}
		}
		w.mu.Lock()
		builds := w.builds["a1"]
		delete(w.broken, "a")
		delete(w.ends, "b")
		w.mu.Unlock()
		if builds < 2 || builds > 10 {
			t.Errorf("built %d times in 10s, want a few", builds)
		}
		settled(2 * time.Minute)
		if got, want := w.runs(), []string{"a1:1", "b1:1", "c1:1"}; !slices.Equal(got, want) {
			t.Errorf("running %v, want %v", got, want)
		}
	})
}
