package app

import (
	"context"
	"log/slog"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/store/journal"
)

// TestClustersAreComparedByWhatTheyScore plays ten minutes of four clusters through the recorder:
// what the detector says of their services becomes the peers of an incident.
func TestClustersAreComparedByWhatTheyScore(t *testing.T) {
	j, err := journal.Open(journal.Options{Path: filepath.Join(t.TempDir(), "journal.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	var last incident.Incident
	m, err := incident.New(incident.Options{Report: func(i incident.Incident) { last = i }})
	if err != nil {
		t.Fatal(err)
	}
	releases, err := release.NewManager(release.ManagerOptions{Report: func(release.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder(j, m, releases, slog.New(slog.DiscardHandler), prometheus.NewRegistry())

	nan := float32(math.NaN())
	start := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for n := range 40 {
		at := start.Add(time.Duration(n) * 15 * time.Second)
		if n == 20 {
			r.find(detector.Finding{
				ID: "a", Service: service("here", "cart"), Signal: "errors", State: detector.Open,
				Start: at, At: at, Direction: detector.Up, Harmful: true, Score: 9, Observed: 0.2,
			})
		}
		r.advance(scores("here", at, 0.3))
		r.advance(scores("learning", at, nan)) // No peer: it can say nothing yet.
		r.advance(scores("normal", at, 0.1))
		r.advance(scores("seldom", at, []float32{nan, 0.2}[n%2]))
		past := scores("past", at, 0.1) // No peer: nobody is told of its past.
		past.History = true
		r.advance(past)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := r.Run(stopped); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(incident.Peers{Clusters: 2}, last.Peers); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
}

func service(cluster, name string) fleet.Service {
	return fleet.Service{Cluster: cluster, Namespace: "shop", Name: name}
}

// scores returns what the detector says of a cluster with two services.
func scores(cluster string, at time.Time, cart float32) *detector.ServiceScores {
	return &detector.ServiceScores{
		Cluster: cluster, At: at, Score: []float32{0.5, cart},
		Services: []fleet.Service{service(cluster, "pay"), service(cluster, "cart")},
	}
}
