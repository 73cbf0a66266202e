package incident_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
)

// running returns what is known of a release of a service from v41 to v42 that has begun at noon,
// and of which nothing bad is known.
func running(s fleet.Service) release.Event {
	e := release.Event{At: noon}
	e.Release = release.Release{
		Key: release.Key{Service: s, Workload: fleet.Deployment},
		ID:  "of " + s.String(), Author: "ann", Strategy: release.RollingUpdate,
		Old:   fleet.Revision{Hash: "a", Images: []string{"shop/cart:v41"}},
		New:   fleet.Revision{Hash: "b", Images: []string{"shop/cart:v42"}},
		State: release.Rolling, Start: noon, Change: rollout(s, noon).ID,
		Seen: &release.Progress{
			Desired: 12, Old: release.Side{Created: 9}, New: release.Side{Created: 3},
		},
	}
	return e
}

// bad returns a release that was called bad for its errors a minute after its start.
func bad(s fleet.Service) release.Event {
	e := running(s)
	e.At = noon.Add(time.Minute)
	e.Basis = release.ByPods
	e.Verdict = release.Verdict{
		Result: release.Regressed, Tier: release.RollBack, At: e.At, Elapsed: 40 * time.Second,
		Metric: "errors", Effect: 0.048, Lower: 0.031, Upper: 0.069, EValue: 4210,
	}
	first := e.Verdict
	e.Decided = &first
	return e
}

// at returns the event as it is some time after noon, in another state.
func at(e release.Event, after time.Duration, s release.State) release.Event {
	e.At = noon.Add(after)
	e.Release.State = s
	if !s.Running() {
		e.Release.End = e.At
	}
	return e
}

func TestABadReleaseOpensOneIncident(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	w.m.Change(rollout(cart, noon))
	w.m.Release(running(cart))
	if len(w.reports) != 0 {
		t.Fatalf("a release of which nothing is known is reported: %v", titles(w.reports))
	}
	e := bad(cart)
	e.Release.Facts = []release.Fact{
		{Kind: release.FailedProbes, First: noon.Add(20 * time.Second), Pods: []string{"cart-1", "cart-2"}},
	}
	w.m.Release(e)
	w.m.Release(e) // Twice, as after a restart.

	if len(w.reports) != 1 {
		t.Fatalf("got %d reports, want 1: %v", len(w.reports), titles(w.reports))
	}
	i := w.last()
	want := "cart v42 in prod-eu: errors +4.8 points since the release (rolling, 3 of 12 pods new)"
	if i.Title != want {
		t.Errorf("title is\n%s, want\n%s", i.Title, want)
	}
	if i.Service != cart || i.Severity != incident.Critical || i.State != incident.Open ||
		!i.Start.Equal(noon) || !i.Opened.Equal(e.At) {
		t.Errorf("got %+v", i)
	}
	r := i.Release
	got := []string{
		r.ID, r.Name, r.Images, r.Author, r.Effect, r.Interval, r.Chance, r.After.String(),
		strings.Join(r.Facts, ", "),
	}
	wanted := []string{
		"of prod-eu/shop/cart", "v42", "shop/cart:v41 -> shop/cart:v42", "ann",
		"errors +4.8 points", "+3.1 to +6.9 points",
		"at most one in 4,200 harmless releases ever looks like this", "40s",
		"probes of new pods fail (Unhealthy, 2 pods, since 12:00:20 UTC)",
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("release (-want +got):\n%s", diff)
	}
	if len(i.Causes) != 1 || i.Causes[0].Change.ID != e.Release.Change || i.Causes[0].Score != 1 ||
		i.Causes[0].Why != "the new pods were compared with the old ones: errors +4.8 points" {
		t.Errorf("causes are %+v", i.Causes)
	}
}

func TestReleaseAndFindingsOfAServiceAreOneIncident(t *testing.T) {
	cart, pay := service("shop", "cart"), service("shop", "pay")
	first := finding(cart, "errors", noon.Add(20*time.Second))
	for name, order := range map[string]func(*world){
		"the finding first": func(w *world) {
			w.open(first)
			w.pass(time.Minute)
			w.m.Release(bad(cart))
		},
		"the verdict first": func(w *world) {
			w.m.Release(bad(cart))
			w.open(first)
			w.pass(time.Minute)
		},
		"before the incident opens": func(w *world) {
			w.open(first)
			w.pass(15 * time.Second)
			w.m.Release(bad(cart))
			w.pass(45 * time.Second)
		},
		"a neighbour first": func(w *world) {
			w.open(finding(pay, "errors", noon.Add(10*time.Second)))
			w.pass(time.Minute)
			w.m.Release(bad(cart))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, incident.Options{})
			older := rollout(pay, noon.Add(-time.Second))
			w.m.Change(older)
			w.m.Change(rollout(cart, noon))
			order(w)
			w.wantOpen(1)
			i := w.last()
			if i.Release == nil || i.Severity != incident.Critical ||
				!strings.Contains(i.Title, "since the release (rolling") {
				t.Fatalf("got %s %q", i.Severity, i.Title)
			}
			if i.Causes[0].Change.Service != cart || i.Causes[0].Score != 1 {
				t.Errorf("the first cause is %+v", i.Causes[0])
			}
		})
	}
}

// What was wrong before the release began was not caused by it, whatever it adds.
func TestAReleaseDoesNotCauseWhatWasBefore(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	w.open(finding(cart, "errors", noon.Add(-10*time.Minute)))
	w.m.Change(rollout(cart, noon))
	w.pass(time.Minute)
	w.m.Release(bad(cart))
	if i := w.last(); i.Release == nil || len(i.Causes) != 0 {
		t.Errorf("release %v, causes %+v", i.Release, i.Causes)
	}
}

func TestSuspicionIsAWarning(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	e := bad(cart)
	e.Decided, e.Verdict.Result, e.Verdict.Tier = nil, release.Inconclusive, release.Pause
	w.m.Release(e)
	i := w.last()
	want := "cart v42 in prod-eu: perhaps errors +4.8 points since the release (rolling, 3 of 12 pods new)"
	if i.Severity != incident.Warning || i.Title != want {
		t.Errorf("got %s %q", i.Severity, i.Title)
	}

	t.Run("that is confirmed", func(t *testing.T) {
		w.m.Release(at(bad(cart), 2*time.Minute, release.Rolling))
		if i := w.last(); i.Severity != incident.Critical || strings.Contains(i.Title, "perhaps") {
			t.Errorf("got %s %q", i.Severity, i.Title)
		}
		w.wantOpen(1)
	})
	t.Run("that was wrong", func(t *testing.T) {
		w := newWorld(t, incident.Options{})
		w.m.Release(e)
		calm := at(running(cart), 10*time.Minute, release.Soaking)
		w.m.Release(calm) // Inconclusive: nothing is taken back.
		w.wantOpen(1)
		calm = at(calm, 12*time.Minute, release.Soaking)
		calm.Verdict.Result = release.Healthy
		w.m.Release(calm)
		if i := w.last(); i.State != incident.Resolved || i.Reason != "v42 healthy after all" {
			t.Errorf("got %s %q", i.State, i.Reason)
		}
		w.m.Release(at(e, 13*time.Minute, release.Soaking))
		w.wantOpen(0) // Once is enough, unless it becomes certain.
		w.m.Release(at(bad(cart), 14*time.Minute, release.Soaking))
		w.wantOpen(1)
	})
}

// People are told what a release comes to, not of every sample.
func TestOnlyWhatMattersIsToldAgain(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	e := bad(cart)
	w.m.Release(e)
	wobble := at(e, 75*time.Second, release.Rolling)
	wobble.Verdict.At = wobble.At
	wobble.Verdict.Effect, wobble.Verdict.EValue = 0.046, 5100
	w.m.Release(wobble)
	other := at(e, 90*time.Second, release.Rolling)
	other.Verdict.Metric = "latency"
	w.m.Release(other)
	milder := at(e, 100*time.Second, release.Rolling)
	milder.Verdict = release.Verdict{Result: release.Inconclusive, At: milder.At}
	w.m.Release(milder)
	if len(w.reports) != 1 {
		t.Fatalf("got %d reports: %v", len(w.reports), titles(w.reports))
	}
	if now := w.m.Incidents()[0].Release; now.Effect != "errors +4.6 points" || now.EValue != 5100 {
		t.Errorf("what is known now is %+v", now)
	}
	more := at(wobble, 2*time.Minute, release.Rolling)
	more.Release.Seen = &release.Progress{Desired: 12, New: release.Side{Created: 6}}
	w.m.Release(more)
	if want := "(rolling, 6 of 12 pods new)"; len(w.reports) != 2 ||
		!strings.HasSuffix(w.last().Title, want) {
		t.Errorf("got %v, want one more with %s", titles(w.reports), want)
	}
	w.m.Release(e) // Late.
	if len(w.reports) != 2 {
		t.Error("a late event is told")
	}
}

func TestAnIncidentEndsWithItsRelease(t *testing.T) {
	cart := service("shop", "cart")
	errs := finding(cart, "errors", noon.Add(20*time.Second))
	ended := func(s release.State) func(*world) {
		return func(w *world) {
			e := at(bad(cart), 3*time.Minute, s)
			e.Release.EndedBy = "bob"
			w.m.Release(e)
		}
	}
	for _, tc := range []struct {
		name   string
		end    func(*world)
		reason string
	}{
		{"rolled back", ended(release.RolledBack), "v42 was rolled back by bob"},
		{"superseded", ended(release.Superseded), "v42 was replaced by another release by bob"},
		{"deleted", ended(release.Deleted), "the workload was deleted"},
		{"done", ended(release.Done), "v42 stays, and is not compared with what was before it any more"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, incident.Options{})
			w.m.Release(bad(cart))
			w.open(errs)
			w.pass(2 * time.Minute)
			w.resolve(errs)
			w.pass(time.Hour) // The release runs: that nothing is seen any more does not end it.
			w.wantOpen(1)
			w.open(finding(cart, "errors", w.now))
			w.pass(time.Minute)
			tc.end(w)
			w.pass(time.Hour) // Nor does its end, as long as the service suffers.
			w.wantOpen(1)
			again := finding(cart, "errors", w.now.Add(-time.Hour-time.Minute))
			w.resolve(again)
			w.pass(4 * time.Minute)
			w.wantOpen(1)
			w.pass(2 * time.Minute)
			if i := w.last(); i.State != incident.Resolved || !strings.Contains(i.Reason, tc.reason) {
				t.Fatalf("got %s %q, want %q", i.State, i.Reason, tc.reason)
			}
			w.m.Release(at(bad(cart), 2*time.Hour, release.Rolling)) // Late news of what is over.
			w.wantOpen(0)
		})
	}
}

// An end that is noticed late has a time before the last verdict, and counts all the same.
func TestAnEndThatIsNoticedLate(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	w.m.Release(at(bad(cart), 3*time.Minute, release.Rolling))
	w.m.Release(at(bad(cart), 2*time.Minute, release.RolledBack))
	w.m.Release(at(bad(cart), 4*time.Minute, release.Rolling))
	if i := w.last(); len(w.reports) != 2 || i.Release.State != release.RolledBack {
		t.Errorf("%d reports, the release is %s", len(w.reports), i.Release.State)
	}
}

func TestARevisionThatAPersonAcceptsIsOver(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	w.m.Release(bad(cart))
	e := at(bad(cart), 5*time.Minute, release.Soaking)
	e.AcceptedBy = "ann"
	w.m.Release(e)
	if i := w.last(); i.State != incident.Resolved || i.Reason != "v42 accepted by ann" {
		t.Errorf("got %s %q", i.State, i.Reason)
	}
	w.m.Release(at(e, 6*time.Minute, release.Soaking))
	w.wantOpen(0)

	t.Run("but not what the service suffers", func(t *testing.T) {
		w := newWorld(t, incident.Options{})
		w.m.Release(bad(cart))
		w.open(finding(cart, "errors", noon.Add(20*time.Second)))
		w.pass(time.Minute)
		w.m.Release(e)
		w.wantOpen(1)
		want := "cart in prod-eu: errors 12.4% (usually 0.3%)"
		if i := w.last(); i.Title != want || len(i.Causes) != 0 || i.Release.Withdrawn != "accepted by ann" {
			t.Errorf("title is %s, causes %+v", i.Title, i.Causes)
		}
	})
}

func TestAPersonEndsIt(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	w.m.Release(bad(cart))
	id := w.last().ID
	if _, err := w.m.Acknowledge(id, "ann", noon.Add(2*time.Minute)); err != nil {
		t.Fatal(err)
	}
	w.m.Release(at(bad(cart), 3*time.Minute, release.Stalled))
	if i := w.last(); i.State != incident.Acknowledged || i.AcknowledgedBy != "ann" {
		t.Errorf("got %s by %q", i.State, i.AcknowledgedBy)
	}
	if _, err := w.m.Resolve(id, "ann", noon.Add(4*time.Minute)); err != nil {
		t.Fatal(err)
	}
	for k := range 10 {
		w.m.Release(at(bad(cart), time.Duration(5+k)*time.Minute, release.Rolling))
		w.pass(time.Minute)
	}
	w.wantOpen(0)

	t.Run("but not what tocsin does", func(t *testing.T) {
		w.m.Act(incident.Act{
			Release: bad(cart).Release.ID, ID: "x", At: noon.Add(16 * time.Minute),
			Kind: "rollback", State: "running", Mode: "auto", Text: "Rolls back to v41",
		})
		w.wantOpen(1)
		if i := w.last(); i.ID == id || len(i.Acts) != 1 {
			t.Errorf("got %+v", i)
		}
	})
}

func TestTheNextReleaseTakesThePlace(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	w.m.Release(bad(cart))
	w.m.Release(at(bad(cart), 3*time.Minute, release.Superseded))
	next := at(bad(cart), 5*time.Minute, release.Rolling)
	next.Release.ID, next.Release.Start = "next", noon.Add(3*time.Minute)
	next.Release.Old, next.Release.New = next.Release.New, fleet.Revision{
		Hash: "c", Images: []string{"shop/cart:v43"},
	}
	w.m.Release(next)
	w.wantOpen(1)
	i := w.last()
	want := []incident.ReleaseRef{
		{
			ID: "next", Service: cart, Name: "v43", State: release.Rolling,
			Severity: incident.Critical,
		},
		{
			ID: "of prod-eu/shop/cart", Service: cart, Name: "v42", State: release.Superseded,
			Severity: incident.Critical, Over: true,
		},
	}
	if diff := cmp.Diff(want, i.Releases); diff != "" || i.Release.Name != "v43" {
		t.Errorf("leads %s; releases (-want +got):\n%s", i.Release.Name, diff)
	}
}

func TestActs(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	e := bad(cart)
	w.m.Release(e)
	act := func(after time.Duration, state, text string, final bool) {
		w.m.Act(incident.Act{
			Release: e.Release.ID, ID: "x", At: noon.Add(after), Kind: "rollback", State: state,
			Mode: "ask", Text: text, Final: final,
		})
	}
	act(70*time.Second, "waiting", "Asks for approval: tocsin approve x (expires 12:15)", false)
	act(70*time.Second, "waiting", "Asks for approval: tocsin approve x (expires 12:15)", false)
	act(80*time.Second, "running", "Rolls back to v41", false)
	act(75*time.Second, "approved", "late", false)
	if len(w.reports) != 3 {
		t.Fatalf("got %d reports, want 3", len(w.reports))
	}
	w.m.Release(at(e, 90*time.Second, release.RolledBack))
	w.pass(30 * time.Minute) // It is not known yet whether that helped.
	w.wantOpen(1)
	act(31*time.Minute, "recovered", "Rolled back to v41 at 12:01:20, recovered", true)
	act(32*time.Minute, "running", "nonsense", false)
	w.pass(6 * time.Minute)
	i := w.last()
	if i.State != incident.Resolved || i.Reason != "v42 was rolled back" || len(i.Acts) != 1 ||
		i.Acts[0].State != "recovered" || i.Acts[0].Service != cart {
		t.Fatalf("got %s %q, acts %+v", i.State, i.Reason, i.Acts)
	}

	t.Run("without words", func(t *testing.T) {
		w := newWorld(t, incident.Options{})
		w.m.Release(e)
		w.m.Act(incident.Act{
			Release: e.Release.ID, ID: "y", Kind: "rollback", State: "not_recovered", Mode: "auto",
			By: "ann", Final: true,
		})
		i := w.last()
		if want := "rollback: not recovered by ann (auto mode)"; i.Acts[0].Text != want {
			t.Errorf("text is %q, want %q", i.Acts[0].Text, want)
		}
		w.m.Release(at(e, 2*time.Minute, release.RolledBack))
		w.pass(10 * time.Hour) // A person must look.
		w.wantOpen(1)
	})
	t.Run("of what nobody knows", func(t *testing.T) {
		w := newWorld(t, incident.Options{})
		w.m.Act(incident.Act{Release: "?", ID: "y", State: "running"})
		if len(w.reports) != 0 {
			t.Error("it is told")
		}
	})
}

func TestActsAreBounded(t *testing.T) {
	w := newWorld(t, incident.Options{})
	e := bad(service("shop", "cart"))
	w.m.Release(e)
	for k := range 100 {
		w.m.Act(incident.Act{
			Release: e.Release.ID, ID: time.Duration(k).String(), At: noon.Add(time.Duration(k)),
			Text: strings.Repeat("long\n", 1000), Final: true,
		})
	}
	i := w.last()
	if len(i.Acts) != 20 || i.Acts[19].ID != "99ns" || len(i.Acts[0].Text) > 400 ||
		strings.Contains(i.Acts[0].Text, "\n") {
		t.Errorf("%d acts, the last is %+v", len(i.Acts), i.Acts[len(i.Acts)-1])
	}
}

func TestOneImageInManyClustersIsOneIncident(t *testing.T) {
	w := newWorld(t, incident.Options{})
	var last release.Event
	var clusters []string
	for _, name := range []string{"prod-eu", "us-2", "us-1", "ap"} {
		last = bad(cartOf(name))
		last.At = last.At.Add(time.Duration(len(clusters)) * time.Minute)
		w.m.Release(last)
		clusters = append(clusters, name)
	}
	w.wantOpen(1)
	i := w.last()
	want := "cart v42 in prod-eu and 3 more clusters: errors +4.8 points since the release " +
		"(rolling, 3 of 12 pods new)"
	if i.Title != want || i.Service.Cluster != "prod-eu" {
		t.Errorf("title is\n%s, want\n%s", i.Title, want)
	}
	if diff := cmp.Diff([]string{"prod-eu", "ap", "us-1", "us-2"}, i.Release.Clusters); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}

	elsewhere := finding(cartOf("us-1"), "errors", noon.Add(3*time.Minute))
	w.open(elsewhere)
	advance := func(d time.Duration) {
		for _, name := range clusters {
			w.m.Advance(name, w.now.Add(d))
		}
		w.now = w.now.Add(d)
	}
	advance(4 * time.Minute)
	advance(time.Minute)
	w.wantOpen(1)
	if i := w.last(); len(i.Findings) != 1 || len(i.Services) != 4 {
		t.Errorf("%d findings, services %v", len(i.Findings), i.Services)
	}
	w.m.Act(incident.Act{
		Release: last.Release.ID, ID: "x", At: w.now, State: "recovered", Text: "Rolled back to v41",
		Final: true,
	})
	if got := w.last().Acts[0].Text; got != "ap/cart: Rolled back to v41" {
		t.Errorf("the act is %q", got)
	}

	other := bad(cartOf("mx"))
	other.Release.New.Images = []string{"shop/cart:v43"}
	w.m.Release(other)
	w.wantOpen(2) // Another image.

	for _, name := range clusters {
		w.m.Release(at(bad(cartOf(name)), 6*time.Minute, release.RolledBack))
	}
	advance(time.Minute)
	advance(10 * time.Minute)
	w.wantOpen(2) // One of them still suffers.
	w.resolve(elsewhere)
	advance(time.Minute)
	advance(time.Minute)
	advance(10 * time.Minute)
	w.wantOpen(1)
}

func TestAClusterThatIsTakenAwayLeavesTheOthers(t *testing.T) {
	for _, gone := range []string{"prod-eu", "us-1"} {
		t.Run(gone, func(t *testing.T) {
			w := newWorld(t, incident.Options{})
			w.m.Release(bad(cartOf("prod-eu")))
			w.m.Release(bad(cartOf("us-1")))
			w.open(finding(cartOf("us-1"), "errors", noon))
			w.m.Advance("us-1", noon.Add(15*time.Second))
			w.m.Remove(gone)
			w.wantOpen(1)
			left := w.opened()[0]
			if gone == "prod-eu" && left.Service.Cluster != "us-1" {
				t.Errorf("the incident is of %s", left.Service)
			}
			w.pass(15 * time.Second)
			w.wantOpen(1)
		})
	}
}

func TestAFloodOfBadReleasesIsOneStorm(t *testing.T) {
	w := newWorld(t, incident.Options{MaxOpen: 2})
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		w.m.Release(bad(service(name, name)))
	}
	w.wantOpen(3)
	w.pass(time.Minute)
	w.wantOpen(3)
	storm := w.last()
	want := "fleet storm in cluster prod-eu: 3 services beyond its open incidents, " +
		"worst c v42: errors +4.8 points"
	if storm.Title != want || len(storm.Releases) != 3 {
		t.Errorf("title is\n%s, want\n%s (%d releases)", storm.Title, want, len(storm.Releases))
	}
}

func TestRestartInTheMiddleOfARelease(t *testing.T) {
	cart := service("shop", "cart")
	w := newWorld(t, incident.Options{})
	e := bad(cart)
	w.m.Release(e)
	w.m.Release(bad(cartOf("us-1")))
	w.m.Act(incident.Act{
		Release: e.Release.ID, ID: "x", At: noon.Add(2 * time.Minute), State: "running",
		Text: "Rolls back to v41",
	})
	before := w.last()

	w = w.restart(nil)
	if diff := cmp.Diff(before, w.m.Incidents()[0]); diff != "" {
		t.Errorf("incident (-before +after):\n%s", diff)
	}
	w.m.Release(at(e, 2*time.Minute, release.Rolling))
	w.m.Release(at(bad(cartOf("us-1")), 2*time.Minute, release.Rolling))
	w.wantOpen(1)
	w.open(finding(cartOf("us-1"), "errors", noon))
	w.m.Advance("us-1", noon.Add(3*time.Minute))
	w.m.Advance("us-1", noon.Add(4*time.Minute))
	w.wantOpen(1)
	w.m.Act(incident.Act{
		Release: e.Release.ID, ID: "x", At: noon.Add(3 * time.Minute), State: "recovered",
		Text: "Rolled back to v41", Final: true,
	})
	if i := w.last(); i.ID != before.ID || len(i.Acts) != 1 || i.Acts[0].State != "recovered" ||
		len(i.Releases) != 2 {
		t.Errorf("got %+v", i)
	}

	t.Run("after a person has ended it", func(t *testing.T) {
		w := newWorld(t, incident.Options{})
		w.m.Release(e)
		if _, err := w.m.Resolve(w.last().ID, "ann", noon.Add(2*time.Minute)); err != nil {
			t.Fatal(err)
		}
		w = w.restart(nil)
		w.m.Release(at(e, 3*time.Minute, release.Rolling))
		w.wantOpen(0)
	})
}

func TestTheRevisionInWords(t *testing.T) {
	for _, tc := range []struct {
		old, new  []string
		number    int64
		name, how string
	}{
		{old: []string{"a:1", "b:1"}, new: []string{"a:1", "b:2"}, name: "2", how: "b:1 -> b:2"},
		{
			old: []string{"r:5000/a:1"}, new: []string{"r:5000/a:2@sha256:0123456789abcdef"}, name: "2",
			how: "r:5000/a:1 -> r:5000/a:2@sha256:0123456789abcdef",
		},
		{
			old: []string{"a"}, new: []string{"a@sha256:0123456789abcdef"}, name: "0123456789ab",
			how: "a -> a@sha256:0123456789abcdef",
		},
		{old: []string{"a:1"}, new: []string{"a:1", "proxy:7"}, name: "7", how: "proxy:7"},
		{old: []string{"a:1"}, new: []string{"a:1"}, number: 12, name: "revision 12"},
		{old: []string{"a:1"}, new: []string{"a:1"}, name: "revision b"},
	} {
		w := newWorld(t, incident.Options{})
		e := bad(service("shop", "cart"))
		e.Release.Old.Images, e.Release.New.Images, e.Release.New.Number = tc.old, tc.new, tc.number
		w.m.Release(e)
		if r := w.last().Release; r.Name != tc.name || r.Images != tc.how {
			t.Errorf("%v -> %v: got %q, %q, want %q, %q", tc.old, tc.new, r.Name, r.Images, tc.name, tc.how)
		}
	}
}

func TestTheEvidenceInWords(t *testing.T) {
	inf := math.Inf(1)
	for _, tc := range []struct {
		metric              string
		effect, lower, high float64
		e                   float64
		want, interval      string
		chance              string
	}{
		{"errors", 0.5, 0.4, 0.6, 2e9, "errors +50 points", "+40 to +60 points", "one in a million"},
		{"error_level", 0.0312, 0, inf, 12345, "errors +3.12 points", "", "one in 12,000"},
		{"latency", 0.3, 0.1, 1.5, 100, "latency +30%", "+10% to 2.5 times", "one in 100 "},
		{"latency_p99", 8.2, 7, 9, 1e4, "latency p99 9.2 times", "8 to 10 times", "one in 10,000"},
		{"cpu", 0.5, -0.1, 1, 1e5, "CPU for each request +50%", "-10% to 2 times", "one in 100,000"},
		{
			"memory", 0.0012, 0.001, 0.002, 1500, "memory +0.12% a minute", "+0.1 to +0.2% a minute",
			"one in 1,500",
		},
		{"CrashLoopBackOff", math.NaN(), math.NaN(), inf, 1, "new pods crash", "", ""},
		{"new_thing", math.NaN(), math.NaN(), inf, inf, "new thing", "", "one in a million"},
	} {
		w := newWorld(t, incident.Options{})
		e := bad(service("shop", "cart"))
		v := &e.Verdict
		v.Metric, v.Effect, v.Lower, v.Upper, v.EValue = tc.metric, tc.effect, tc.lower, tc.high, tc.e
		w.m.Release(e)
		i := w.last()
		r := i.Release
		if r.Effect != tc.want || r.Interval != tc.interval || !strings.Contains(r.Chance, tc.chance) {
			t.Errorf("%s: got %q, %q, %q", tc.metric, r.Effect, r.Interval, r.Chance)
		}
		if !strings.Contains(i.Title, tc.want+" since the release") {
			t.Errorf("title is %s", i.Title)
		}
		if _, err := json.Marshal(i); err != nil {
			t.Errorf("%s: %v", tc.metric, err)
		}
	}
}

func TestRecovery(t *testing.T) {
	w := newWorld(t, incident.Options{})
	cart := service("shop", "cart")
	score := func(d time.Duration) {
		for end := w.now.Add(d); w.now.Before(end); {
			w.m.Scored("prod-eu", w.now.Add(15*time.Second), []fleet.Service{cart})
			w.pass(15 * time.Second)
		}
	}
	if r := w.m.Recovered(cart, noon); r.OK || r.Known {
		t.Errorf("before any data: %+v", r)
	}
	errs := finding(cart, "errors", noon.Add(time.Minute))
	score(time.Minute)
	w.open(errs)
	undo := noon.Add(90 * time.Second)
	if r := w.m.Recovered(cart, undo); r.OK || r.Known {
		t.Errorf("before the undo: %+v", r)
	}
	score(time.Minute)
	want := incident.Recovery{Known: true, Reason: "errors 12.4% (usually 0.3%)"}
	if diff := cmp.Diff(want, w.m.Recovered(cart, undo)); diff != "" {
		t.Errorf("while it suffers (-want +got):\n%s", diff)
	}
	if got := w.m.Failing([]fleet.Service{cart, service("shop", "pay")}, undo); !slices.Equal(got, []fleet.Service{cart}) {
		t.Errorf("failing are %v", got)
	}
	if got := w.m.Failing([]fleet.Service{cart}, noon.Add(time.Minute)); len(got) != 0 {
		t.Errorf("failing before it began are %v", got)
	}
	w.resolve(errs)
	score(time.Minute)
	if r := w.m.Recovered(cart, undo); !r.OK || !r.Known {
		t.Errorf("when it is over: %+v", r)
	}
	again := finding(cart, "latency_p99", w.now)
	w.open(again)
	score(15 * time.Second)
	w.resolve(again)
	score(time.Hour)
	want = incident.Recovery{Known: true, Reason: "something was wrong again, 1m30s after it"}
	if diff := cmp.Diff(want, w.m.Recovered(cart, undo)); diff != "" {
		t.Errorf("after a relapse (-want +got):\n%s", diff)
	}
	w.pass(10 * time.Minute) // No scores any more.
	if r := w.m.Recovered(cart, w.now.Add(-time.Minute)); r.OK || r.Known {
		t.Errorf("without data: %+v", r)
	}
	if state := again.State; state == detector.Resolved {
		t.Fatal("the test changed what it must not")
	}
}
