package incident_test

import (
	"strings"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
)

func TestAlarmOfAllServices(t *testing.T) {
	w := newWorld(t, incident.Options{})
	alarm := incident.Alarm{
		Kind: "storm", At: noon, Text: "all actions are stopped: 12 releases went bad", Page: true,
	}
	w.m.Alarm(alarm)
	w.m.Alarm(alarm)
	if i := w.last(); len(w.reports) != 1 || i.Title != alarm.Text ||
		i.Severity != incident.Critical || i.Service != (fleet.Service{}) || i.Alarm != "storm" {
		t.Fatalf("%d reports, the last is %+v", len(w.reports), i)
	}
	first := w.last().ID
	alarm.At, alarm.Text = noon.Add(time.Hour), "all actions are stopped: 14 releases went bad"
	w.m.Alarm(alarm)
	w.m.Alarm(incident.Alarm{Kind: "breaker", At: alarm.At, Text: "3 actions failed", Page: true})
	w.wantOpen(2)
	w = w.restart(nil)
	alarm.At = noon.Add(2 * time.Hour)
	w.m.Alarm(alarm)
	if i := w.last(); i.ID != first || !strings.Contains(i.Title, "14") || !i.Start.Equal(noon) {
		t.Errorf("got %+v, want %s again", i, first)
	}

	w.m.Advance("prod-eu", noon.Add(25*time.Hour))
	w.wantOpen(1) // Nothing was heard of the other one for a day.
	if _, err := w.m.Acknowledge(first, "ann", noon.Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if i, err := w.m.Resolve(first, "ann", noon.Add(25*time.Hour)); err != nil ||
		i.State != incident.Resolved || i.AcknowledgedBy != "ann" {
		t.Errorf("got %+v, %v", i, err)
	}
	w.wantOpen(0)
	alarm.At = noon.Add(26 * time.Hour)
	w.m.Alarm(alarm)
	if i := w.last(); i.ID == first || i.State != incident.Open {
		t.Errorf("got %s %s", i.ID, i.State)
	}
}

func TestAlarmOfARelease(t *testing.T) {
	cart := service("shop", "cart")
	e := bad(cart)
	e.Verdict.Tier = release.Pause
	held := incident.Alarm{
		Kind: "hold", At: noon.Add(5 * time.Minute), Text: "Application shop/cart stays suspended",
		Release: e.Release.ID, Service: cart, Action: "x", Page: true,
	}
	t.Run("whose incident is open", func(t *testing.T) {
		w := newWorld(t, incident.Options{})
		w.m.Release(e)
		w.m.Alarm(held)
		w.m.Alarm(held)
		w.wantOpen(1)
		i := w.last()
		if len(w.reports) != 2 || i.Severity != incident.Critical || len(i.Acts) != 1 ||
			i.Acts[0].Text != held.Text || !i.Acts[0].Urgent {
			t.Errorf("%d reports, the last is %s with %+v", len(w.reports), i.Severity, i.Acts)
		}
	})
	t.Run("that says what the action says", func(t *testing.T) {
		w := newWorld(t, incident.Options{})
		w.m.Release(e)
		w.m.Act(incident.Act{
			Release: e.Release.ID, ID: "x", At: held.At, State: "not_recovered", Final: true,
		})
		noHelp := held
		noHelp.Kind = "no_help"
		w.m.Alarm(noHelp)
		if i := w.last(); len(w.reports) != 2 || len(i.Acts) != 1 || !i.Acts[0].Urgent {
			t.Errorf("%d reports, acts %+v", len(w.reports), i.Acts)
		}
	})
	t.Run("of which nobody knows", func(t *testing.T) {
		w := newWorld(t, incident.Options{})
		images := held
		images.Kind, images.Text, images.Page = "bad_images", "the images were judged bad in us-1", false
		w.m.Alarm(images)
		i := w.last()
		if want := "cart in prod-eu: the images were judged bad in us-1"; i.Title != want ||
			i.Severity != incident.Warning || len(i.Services) != 1 {
			t.Errorf("got %s %q %v", i.Severity, i.Title, i.Services)
		}
		w.pass(time.Minute)
		w.m.Remove("prod-eu")
		w.wantOpen(0)
	})
}
