package app

import (
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	_ "modernc.org/sqlite"

	"tocsin/api"
	"tocsin/config"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/store/journal"
)

// forge changes events of the journal in dir behind tocsin's back.
func forge(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "journal.db"))
	if err == nil {
		_, err = db.Exec(statement)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestADamagedJournalIsNotTrusted starts the daemon on a journal in which somebody has changed what
// an incident, a finding and feedback were.
func TestADamagedJournalIsNotTrusted(t *testing.T) {
	dir, now := t.TempDir(), time.Now().UTC()
	j, err := journal.Open(journal.Options{Path: filepath.Join(dir, "journal.db")})
	if err != nil {
		t.Fatal(err)
	}
	cart := fleet.Service{Cluster: "c", Namespace: "shop", Name: "cart"}
	feedback := func(id string) api.Feedback {
		f := about("ann", detector.Useful, now, "a")
		f.ID, f.State = id, api.FeedbackActive
		return f
	}
	err = j.Append(t.Context(),
		journal.Entry{Kind: kindIncident, Key: "sound", Data: incident.Incident{
			ID: "sound", Service: cart, State: incident.Resolved, Severity: incident.Info, Opened: now,
		}},
		journal.Entry{Kind: kindIncident, Key: "forged", Data: incident.Incident{
			ID: "forged", Service: cart, State: incident.Open, Severity: incident.Info, Opened: now,
		}},
		journal.Entry{Kind: kindFinding, Key: "torn", Data: detector.Finding{ID: "torn", Service: cart}},
		journal.Entry{Kind: kindFeedback, Key: "f1", Data: feedback("f1")},
		journal.Entry{Kind: kindFeedback, Key: "f2", Data: feedback("f2")},
	)
	if err = errors.Join(err, j.Close()); err != nil {
		t.Fatal(err)
	}
	forge(t, dir, `
		UPDATE events SET data = replace(data, '"info"', '"critical"') WHERE key = 'forged';
		UPDATE events SET data = '{' WHERE key = 'torn';
		UPDATE events SET data = replace(data, 'useful', 'not useful') WHERE key = 'f2'`)

	const text = "clusters: [{name: c, prometheus: {url: 'http://127.0.0.1:1'}}]"
	c, err := config.Parse("t.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Options{Config: c, Settings: config.Settings{StoragePath: dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	var known []string
	for _, i := range a.incidents.Incidents() {
		known = append(known, i.ID)
	}
	slices.Sort(known)
	if !slices.Equal(known, []string{"forged", "sound"}) {
		t.Errorf("incidents are %q; want both: better too many than too few", known)
	}
	if len(a.opinions.active) != 1 || a.opinions.active["f1"].ID != "f1" {
		t.Errorf("in force is %+v; want f1", a.opinions.active)
	}
	for kind, want := range map[string]float64{
		kindIncident: 1, kindFinding: 1, kindFeedback: 1, kindSent: 0,
	} {
		if got := testutil.ToFloat64(a.metrics.suspect.WithLabelValues(kind)); got != want {
			t.Errorf("%g suspect events of kind %s, want %g", got, kind, want)
		}
	}
	last := func() api.Condition { all := a.conditions(); return all[len(all)-1] }
	const says = "event 2: hash does not match"
	if c := last(); c.Name != "journal" || c.Reason != "" || !strings.Contains(c.Warning, says) {
		t.Errorf("readiness says %+v; want a warning of event 2", c)
	}
	if err := a.journal.Reconcile(t.Context(), "ann", "nothing was lost"); err != nil {
		t.Fatal(err)
	}
	if c := last(); c.Warning != "" {
		t.Errorf("once it is reconciled readiness says %+v", c)
	}
}
