package journal

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPrune(t *testing.T) {
	j := open(t, Options{})
	fill(t, j, 2500)
	// The newest of f1 and f2 are 2492 and 2493; those of the first thousand are pruned in any
	// case.
	n, err := j.Prune(t.Context(), epoch.Add(2495*time.Minute), func(e Event) bool { return e.Key == "f1" })
	if err != nil || n != 2495 {
		t.Fatalf("Prune() = %d, %v", n, err)
	}
	want := []int64{2496, 2497, 2498, 2499, 2500, 2501}
	events := all(t, j)
	if diff := cmp.Diff(want, seqs(events)); diff != "" {
		t.Error(diff)
	}
	if last := events[5]; last.Key != "f1" || !last.At.Equal(epoch.Add(2491*time.Minute)) || last.Suspect {
		t.Errorf("kept event = %+v", last)
	}
	if r, err := j.Verify(t.Context()); err != nil || r.Err() != nil || r.First != 2496 || r.Events != 6 {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	again := open(t, Options{Path: j.opts.Path})
	if err := again.Damaged(); err != nil {
		t.Error(err)
	}
	fill(t, again, 5)
	if r, err := again.Verify(t.Context()); err != nil || r.Err() != nil || r.Last != 2506 {
		t.Errorf("Verify() after reopening = %+v, %v", r, err)
	}
	if n, err := again.Prune(t.Context(), epoch.Add(-time.Hour), nil); n != 0 || err != nil {
		t.Errorf("Prune() of nothing = %d, %v", n, err)
	}
	// Everything is old, yet the last event stays, and what is kept is not written for ever.
	n, err = again.Prune(t.Context(), epoch.AddDate(1, 0, 0), func(Event) bool { return true })
	if err != nil || n != 10 {
		t.Errorf("Prune() of all = %d, %v", n, err)
	}
	if r, err := again.Verify(t.Context()); err != nil || r.Err() != nil {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
	latest, err := again.Latest(t.Context(), "finding")
	if err != nil || len(latest) < 6 {
		t.Errorf("Latest() = %v, %v", latest, err)
	}
}

func TestPruneOfDamage(t *testing.T) {
	w := write(t, 50)
	w.alter(t, "DELETE FROM events WHERE seq = 10; DELETE FROM checkpoint")
	j := open(t, Options{Path: w.path})
	if _, err := j.Prune(t.Context(), epoch.Add(20*time.Minute), nil); err != nil {
		t.Fatal(err)
	}
	r, err := j.Verify(t.Context())
	if err != nil || len(r.Breaks) != 0 {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
	if j.Damaged() == nil {
		t.Error("damage is forgotten with the events concerned; nobody has reconciled it")
	}
	w = write(t, 50)
	j = open(t, Options{Path: w.path})
	if _, err := j.Prune(t.Context(), epoch.Add(20*time.Minute), nil); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	w.alter(t, "DELETE FROM checkpoint")
	j = open(t, Options{Path: w.path})
	if j.Damaged() == nil {
		t.Error("the loss of the checkpoint was not noticed")
	}
}
