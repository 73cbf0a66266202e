package rollback_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"tocsin/fleet"
	"tocsin/remediation/rollback"
)

// people are what others may do to a workload at any moment.
var people = map[string]func(s *scene){
	"release v3":       func(s *scene) { s.deploy("cart:v3") },
	"release it again": func(s *scene) { s.deploy("cart:v2") },
	"undo by hand":     func(s *scene) { s.deploy("cart:v1") },
	"scale": func(s *scene) {
		s.edit(s.path, func(o object) {
			spec := o["spec"].(object)
			spec["replicas"] = spec["replicas"].(float64) + 1
		})
	},
	"pause":  func(s *scene) { s.edit(s.path, func(o object) { o["spec"].(object)["paused"] = true }) },
	"resume": func(s *scene) { s.edit(s.path, func(o object) { delete(o["spec"].(object), "paused") }) },
	"forbid": func(s *scene) {
		s.edit(s.path, func(o object) { annotate(o, rollback.ModeAnnotation, "never") })
	},
	"allow": func(s *scene) {
		s.edit(s.path, func(o object) { annotate(o, rollback.ModeAnnotation, "auto") })
	},
	"replace": func(s *scene) { s.edit(s.path, func(o object) { delete(meta(o), "annotations") }) },
	"configure": func(s *scene) {
		s.put(settings, object{"data": object{"level": "debug"}})
	},
}

// TestRandomHistories lets three tocsins undo one release while people do what they like, replies
// are lost and tocsins die. Whatever the order: there is one write at most, of the bad revision,
// that nobody had forbidden, and it changes nothing but what an undo changes.
func TestRandomHistories(t *testing.T) {
	undone := 0
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			if playHistory(t, rand.New(rand.NewPCG(seed, 1)), fmt.Sprint("seed ", seed)) {
				undone++
			}
		})
	}
	if undone < 25 || undone > 195 {
		t.Errorf("%d of 200 histories have an undo: they show little", undone)
	}
}

// playHistory plays one history and says whether there was an undo in it.
func playHistory(t *testing.T, r *rand.Rand, name string) bool {
	s := stage(t, fleet.Deployment)
	names := slices.Sorted(maps.Keys(people))
	var mu sync.Mutex // Guards r and happened.
	var happened []string
	chance := func(p float64) bool {
		mu.Lock()
		defer mu.Unlock()
		return r.Float64() < p
	}
	s.before = func(method, _ string, dryRun bool) {
		if !chance(0.05) {
			return
		}
		mu.Lock()
		act := names[r.IntN(len(names))]
		happened = append(happened, act)
		mu.Unlock()
		people[act](s)
	}
	s.lose = func(string, string) bool { return chance(0.3) }
	writes := 0
	s.audit = func(old, now object) {
		writes++
		checkWrite(t, s, old, now)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 4 {
				e := s.executor(t, rollback.Options{Attempts: 3, Note: func(context.Context, rollback.Step) error {
					if chance(0.1) {
						panic(errKilled)
					}
					return nil
				}})
				func() {
					defer func() { _ = recover() }()
					_, _ = e.Undo(t.Context(), s.request)
				}()
			}
		})
	}
	wg.Wait()
	if writes > 1 {
		t.Errorf("%s: %d writes; people: %v", name, writes, happened)
	}
	return writes > 0
}

// checkWrite checks one write of tocsin's. It holds the server's lock.
func checkWrite(t *testing.T, s *scene, old, now object) {
	t.Helper()
	if hashOf(t, template(old)) != s.request.Bad || hashOf(t, template(now)) != s.request.Good {
		t.Errorf("it wrote %v over %v", template(now), template(old))
	}
	if stringsOf(meta(old)["annotations"])[rollback.ModeAnnotation] == "never" {
		t.Error("it wrote what was forbidden")
	}
	before, after := clone(old), clone(now)
	for _, o := range []object{before, after} {
		delete(o["spec"].(object), "template")
		delete(o["spec"].(object), "paused")
		if annotations, ok := meta(o)["annotations"].(object); ok {
			delete(annotations, rollback.ActionAnnotation)
			if len(annotations) == 0 {
				delete(meta(o), "annotations")
			}
		}
	}
	if !reflect.DeepEqual(before, after) {
		t.Errorf("it changed more than an undo does: %v to %v", before, after)
	}
}
