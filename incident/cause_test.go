package incident_test

import (
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/incident"
)

func TestCausesAreRanked(t *testing.T) {
	cart := service("shop", "cart")
	elsewhere := fleet.Service{Cluster: "prod-us", Namespace: "shop", Name: "cart"}
	sidecar := fleet.Service{Cluster: "prod-us", Namespace: "mesh", Name: "proxy"}
	change := func(id string, s fleet.Service, kind fleet.ChangeKind,
		before time.Duration,
	) fleet.Change {
		ch := rollout(s, noon.Add(-before))
		ch.ID, ch.Kind = id, kind
		return ch
	}
	stranger := change("stranger", sidecar, fleet.Rollout, time.Minute)
	stranger.New = &fleet.Revision{Images: []string{"proxy:v9"}}
	w := newWorld(t, incident.Options{})
	for _, ch := range []fleet.Change{
		change("cluster", service("bank", "db"), fleet.Rollout, time.Minute),
		change("image", sidecar, fleet.Rollout, time.Minute),
		change("abroad", elsewhere, fleet.Rollout, time.Minute),
		change("namespace", service("shop", "pay"), fleet.Rollout, time.Minute),
		change("own", cart, fleet.Rollout, time.Minute),
		change("scaled", cart, fleet.Scaled, time.Minute),
		change("symptom", cart, fleet.Warning, -2*time.Minute),
		change("warned", cart, fleet.Warning, time.Minute),
		change("old", cart, fleet.Rollout, 2*time.Hour),
		change("reaction", cart, fleet.Rollout, -5*time.Minute),
		change("far", service("bank", "db"), fleet.Scaled, 50*time.Minute),
		stranger,
	} {
		w.m.Change(ch)
	}
	w.open(finding(cart, "errors", noon))
	w.pass(time.Minute)
	want := []string{"own", "scaled", "namespace", "abroad", "image", "warned", "cluster", "symptom"}
	got := w.last().Causes
	for n, c := range got {
		t.Logf("%.3f %s: %s", c.Score, c.Change.ID, c.Why)
		if n >= len(want) || c.Change.ID != want[n] {
			t.Errorf("cause %d is %s", n, c.Change.ID)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d causes, want %d", len(got), len(want))
	}
	for n, why := range map[int]string{
		3: "the same service in cluster prod-us, 1m before",
		4: "the same image shop:v42 in cluster prod-us, 1m before",
		7: "the same service, a symptom: 2m after it began",
	} {
		if got[n].Why != why {
			t.Errorf("cause %d: %q, want %q", n, got[n].Why, why)
		}
	}
}

// A watch may be late: the cause of an open incident then joins it, once.
func TestLateCause(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	w.open(finding(cart, "errors", noon))
	w.pass(time.Minute)
	ch := rollout(cart, noon.Add(-30*time.Second))
	for range 5 {
		w.m.Change(ch)
		w.pass(time.Minute)
	}
	if len(w.reports) != 2 || len(w.last().Causes) != 1 {
		t.Fatalf("%d reports, causes %v; want a second one with the cause", len(w.reports),
			w.last().Causes)
	}
	for n := range 20 { // Warnings of a crash loop go on and on.
		warning := fleet.Change{
			ID: "backoff", At: noon.Add(time.Minute), Service: cart, Kind: fleet.Warning,
			Event: &fleet.Event{Reason: "BackOff", Count: n},
		}
		w.m.Change(warning)
		w.pass(time.Minute)
	}
	if len(w.reports) > 3 {
		t.Errorf("%d reports because of one warning that repeats", len(w.reports))
	}
}

// The cause window slides on while an incident is open; what was found stays.
func TestCauseOutlivesItsWindow(t *testing.T) {
	w := newWorld(t, incident.Options{MaxChanges: 5})
	cart := service("shop", "cart")
	w.m.Change(rollout(cart, noon.Add(-time.Minute)))
	f := finding(cart, "errors", noon)
	w.open(f)
	w.pass(3 * time.Hour)
	w.resolve(f)
	w.pass(6 * time.Minute)
	if i := w.last(); i.State != incident.Resolved || len(i.Causes) != 1 {
		t.Errorf("%s with causes %v", i.State, i.Causes)
	}
}

func TestWarningsGiveWayToRollouts(t *testing.T) {
	w := newWorld(t, incident.Options{MaxChanges: 5})
	cart := service("shop", "cart")
	w.m.Change(rollout(cart, noon.Add(-30*time.Minute)))
	for n := range 50 {
		w.m.Change(fleet.Change{
			ID: time.Duration(n).String(), At: noon.Add(-time.Duration(n) * time.Second),
			Service: service("bank", "db"), Kind: fleet.Warning,
		})
	}
	w.open(finding(cart, "errors", noon))
	w.pass(time.Minute)
	if i := w.last(); len(i.Causes) != 1 || i.Causes[0].Change.Kind != fleet.Rollout {
		t.Errorf("causes %v, want the rollout", i.Causes)
	}
}
