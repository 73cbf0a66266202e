package app

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/config"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/store/journal"
)

// TestWhatRanWellBeforeIsGood has releases of a service of which nobody has judged any revision.
func TestWhatRanWellBeforeIsGood(t *testing.T) {
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name    string
		watched time.Duration // Before the release.
		pods    time.Duration // Age of the old pods; 0: they are gone.
		harm    bool
		want    bool
	}{
		{"its pods ran for long", time.Minute, 3 * time.Hour, false, true},
		{"its pods are gone, and it was watched for long", 2 * time.Hour, 0, false, true},
		{"its pods are young", time.Minute, 10 * time.Minute, false, false},
		{"nobody knows for how long it ran", time.Minute, 0, false, false},
		{"something was wrong", 2 * time.Hour, 3 * time.Hour, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := vouching(t, start, tc.watched, tc.harm)
			f := newFollowedBy(t, a, start)
			f.old = tc.pods
			f.run(t, time.Minute)
			k := release.Key{Service: f.service, Workload: fleet.Deployment}
			if good, ok := a.releases.LastGood(k, "v2"); ok != tc.want || ok && good.Hash != "v1" {
				t.Errorf("last good %+v, %t; want %t", good, ok, tc.want)
			}
		})
	}
}

// vouching returns as much of an App as vouching takes: detection has scored the cluster's services
// for two hours.
func vouching(t *testing.T, start time.Time, watched time.Duration, harm bool) *App {
	t.Helper()
	j, err := journal.Open(journal.Options{Path: t.TempDir() + "/journal.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	a := &App{
		journal: j, logger: slog.New(slog.DiscardHandler), began: start.Add(-watched),
		config: config.Default(),
	}
	if a.releases, err = release.NewManager(release.ManagerOptions{Report: func(release.Event) {}}); err != nil {
		t.Fatal(err)
	}
	a.incidents, err = incident.New(incident.Options{Report: func(incident.Incident) {}})
	if err != nil {
		t.Fatal(err)
	}
	cart := fleet.Service{Cluster: "here", Namespace: "shop", Name: "cart"}
	for at := start.Add(-2 * time.Hour); at.Before(start.Add(time.Minute)); at = at.Add(15 * time.Second) {
		if harm && at.Equal(start.Add(-10*time.Minute)) {
			a.incidents.Find(detector.Finding{
				ID: "a", Service: cart, Signal: "errors", State: detector.Open, Start: at, At: at,
				Direction: detector.Up, Harmful: true, Score: 9, Observed: 0.2,
			})
		}
		a.incidents.Scored("here", at, []fleet.Service{cart})
		a.incidents.Advance("here", at)
	}
	return a
}

// newFollowedBy returns a follower for the App's manager.
func newFollowedBy(t *testing.T, a *App, start time.Time) *followed {
	t.Helper()
	f := newFollowed(t, 0)
	f.manager, f.vouch = a.releases, a.vouch
	f.metrics = newFollowMetrics(prometheus.NewRegistry())
	a.releases.Change(fleet.Change{
		ID: "c", At: start, Service: f.service, Workload: fleet.Deployment, UID: "u", Kind: fleet.Rollout,
		Old: &fleet.Revision{Hash: "v1"}, New: &fleet.Revision{Hash: "v2"},
	})
	return f
}
