package app

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/remediation/action"
	"tocsin/store/journal"
)

// TestRetentionKeepsWhatStopsActions has a kill switch outlive the retention of the journal, and an
// action that is not over.
func TestRetentionKeepsWhatStopsActions(t *testing.T) {
	j, err := journal.Open(journal.Options{Path: t.TempDir() + "/journal.db"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	l := actionLedger{j, &archive{j, slog.New(slog.DiscardHandler), newMetrics(prometheus.NewRegistry()).suspect}}
	now := time.Now().UTC()
	old := now.Add(-time.Hour)
	for _, e := range []action.Entry{
		{Pause: &action.Pause{ID: "for-ever", At: old, By: "ann"}},
		{Pause: &action.Pause{ID: "lifted", At: old, By: "ann", Lifted: old, LiftedBy: "ann"}},
		{Pause: &action.Pause{ID: "over", At: old, By: "ann", Until: now.Add(-time.Minute)}},
		{Action: &action.Action{ID: "waits", State: action.Waiting}},
		{Action: &action.Action{ID: "recovered", State: action.Recovered}},
		{Bad: &action.Bad{Name: "cart", Images: []string{"cart:v2"}, At: old}},
	} {
		if err := l.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	all, err := l.Load(t.Context())
	if err != nil || len(all.Actions) != 2 || len(all.Pauses) != 3 || len(all.Bad) != 1 {
		t.Fatalf("%+v, %v; want all that was written", all, err)
	}
	err = j.Append(t.Context(), journal.Entry{Kind: kindStart, Key: "tocsin"}) // The newest always stays.
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Prune(t.Context(), now.Add(time.Hour), keepEvent); err != nil {
		t.Fatal(err)
	}
	kept, err := l.Load(t.Context())
	if err != nil || len(kept.Actions) != 1 || len(kept.Pauses) != 1 ||
		kept.Actions[0].ID != "waits" || kept.Pauses[0].ID != "for-ever" {
		t.Errorf("%+v, %v; want the pause that is in force and the action that waits", kept, err)
	}
}
