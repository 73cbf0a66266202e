package action_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
)

// story runs a test in a world where time is cheap.
func story(t *testing.T, p action.Policy, tell func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, p)
		w.start()
		defer func() { w.stop() }()
		tell(w)
	})
}

func TestABadReleaseIsTakenBack(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.clusters["eu"].rollout = time.Minute
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Hour)
		w.want(
			"eu/cart rollback proposed", "eu/cart rollback running", "eu/cart rollback done",
			"eu/cart rollback verified", "eu/cart rollback recovered",
		)
		o, a := w.of("eu", "cart"), w.the(id, true)
		if o.hash != "v1" || o.undos() != 1 || o.action != a.ID {
			t.Errorf("the workload runs %s after %d undos by %s", o.hash, o.undos(), o.action)
		}
		if a.Rolled.Sub(a.Written) != time.Minute || a.Ended.Sub(a.Rolled) != 10*time.Minute {
			t.Errorf("rolled out after %s, soaked for %s", a.Rolled.Sub(a.Written), a.Ended.Sub(a.Rolled))
		}
		if got := a.Sentence(); !strings.HasPrefix(got, "Has rolled back to v1 at ") {
			t.Errorf("Sentence() = %q", got)
		}
		for _, g := range a.Guards {
			if !g.Passed {
				t.Errorf("guard %s spoke against it: %s", g.Name, g.Reason)
			}
		}
	})
}

func TestObserveDoesEverythingButTheWrite(t *testing.T) {
	story(t, action.DefaultPolicy(), func(w *world) {
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Minute)
		w.want("eu/cart rollback proposed", "eu/cart rollback would")
		a := w.the(id, true)
		if w.of("eu", "cart").undos() != 0 || a.Decided.IsZero() || len(a.Guards) != 9 {
			t.Errorf("wrote %d times, decided at %s, %d guards", w.of("eu", "cart").undos(), a.Decided,
				len(a.Guards))
		}
		if g := guard(a, "identity"); !g.Passed {
			t.Errorf("the write was not rehearsed: %s", g.Reason)
		}
		w.pass(29 * time.Minute)
		w.tell(id, func(r *release.Record) {
			r.Release.State, r.Release.End, r.Release.EndedBy = release.RolledBack, time.Now(), "ann"
		})
		w.pass(time.Minute)
		report := w.engine.Weekly(time.Now().Add(-time.Hour), time.Now())
		if tot := report.Total; tot.Would != 1 || tot.ByPeople != 1 || tot.Saved < 29 {
			t.Errorf("Weekly() = %+v", tot)
		}
		if text := report.String(); !strings.Contains(text, "rolled back by ann") {
			t.Errorf("the report does not say how it ended:\n%s", text)
		}
	})
}

func TestAskWaitsForAPerson(t *testing.T) {
	ask := with(auto(), func(p *action.Policy) { p.Default.Mode = action.Ask })
	story(t, ask, func(w *world) {
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(5 * time.Minute)
		a := w.the(id, true)
		if a.State != action.Waiting || a.Deadline.Sub(a.Decided) != 30*time.Minute {
			t.Fatalf("it is %s until %s", a.State, a.Deadline)
		}
		if got := a.Sentence(); !strings.Contains(got, "tocsin approve "+a.ID) {
			t.Errorf("Sentence() = %q", got)
		}
		if _, err := w.engine.Approve(t.Context(), a.ID, "", ""); !errors.Is(err, action.ErrInvalid) {
			t.Errorf("nobody could approve: %v", err)
		}
		if _, err := w.engine.Approve(t.Context(), "undo-x", "ann", ""); !errors.Is(err, action.ErrUnknown) {
			t.Errorf("what nobody knows could be approved: %v", err)
		}
		if _, err := w.engine.Approve(t.Context(), a.ID, "ann", "looks bad"); err != nil {
			t.Fatal(err)
		}
		w.pass(20 * time.Minute)
		if a = w.the(id, true); a.State != action.Recovered || a.Approver != "ann" {
			t.Errorf("it is %s, approved by %q", a.State, a.Approver)
		}
		if _, err := w.engine.Approve(t.Context(), a.ID, "bob", ""); !errors.Is(err, action.ErrOver) {
			t.Errorf("what is over could be approved: %v", err)
		}
	})
}

func TestAnApprovalExpires(t *testing.T) {
	ask := with(auto(), func(p *action.Policy) { p.Default.Mode = action.Ask })
	story(t, ask, func(w *world) {
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(31 * time.Minute)
		a := w.the(id, true)
		if a.State != action.Expired {
			t.Fatalf("it is %s", a.State)
		}
		if _, err := w.engine.Approve(t.Context(), a.ID, "ann", ""); !errors.Is(err, action.ErrExpired) {
			t.Errorf("what has expired could be approved: %v", err)
		}
		if _, err := w.engine.Retry(t.Context(), a.ID, "ann", ""); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if a = w.the(id, true); a.State != action.Waiting || a.Attempt != 2 {
			t.Errorf("after a retry it is %s, attempt %d", a.State, a.Attempt)
		}
	})
}

func TestEvidenceIsReadAgainAfterTheApproval(t *testing.T) {
	ask := with(auto(), func(p *action.Policy) { p.Default.Mode = action.Ask })
	story(t, ask, func(w *world) {
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Minute)
		w.records[id].Verdict.Result = release.Inconclusive
		if _, err := w.engine.Approve(t.Context(), w.the(id, true).ID, "ann", ""); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		a := w.the(id, true)
		if w.of("eu", "cart").undos() != 0 || refusals(a) != "verdict:inconclusive" {
			t.Errorf("it is %s: %s", a.State, refusals(a))
		}
		w.records[id].Verdict.Result = release.Regressed
		w.pass(time.Minute) // The approval still counts.
		if w.of("eu", "cart").undos() != 1 {
			t.Errorf("it is %s", w.the(id, true).State)
		}
	})
}

func TestAWeakVerdictPausesAStrongOneTakesBack(t *testing.T) {
	story(t, auto(), func(w *world) {
		id := w.release("eu", "cart", "v2", bad(release.Pause))
		w.pass(time.Minute)
		if o := w.of("eu", "cart"); !o.paused || o.hash != "v2" {
			t.Fatalf("paused: %v, runs %s", o.paused, o.hash)
		}
		w.tell(id, func(r *release.Record) {
			r.Release.Paused = true
			r.Verdict = bad(release.RollBack)
		})
		w.pass(time.Hour)
		w.want(
			"eu/cart pause proposed", "eu/cart pause running", "eu/cart pause verified",
			"eu/cart rollback proposed", "eu/cart rollback running", "eu/cart rollback done",
			"eu/cart rollback verified", "eu/cart rollback recovered",
		)
		if o := w.of("eu", "cart"); o.paused || o.hash != "v1" || o.undos() != 1 {
			t.Errorf("paused: %v, runs %s", o.paused, o.hash)
		}
	})
}

func TestAPauseEndsWhenTheReleaseIsHealthy(t *testing.T) {
	story(t, auto(), func(w *world) {
		id := w.release("eu", "cart", "v2", bad(release.Pause))
		w.pass(time.Minute)
		o := w.of("eu", "cart")
		if !o.paused {
			t.Fatal("it is not paused")
		}
		w.tell(id, func(r *release.Record) {
			r.Release.Paused, r.Verdict = true, release.Verdict{Reason: "nothing more is known"}
		})
		w.pass(time.Minute)
		if !o.paused {
			t.Fatal("it goes on although nobody knows whether it is healthy")
		}
		w.tell(id, func(r *release.Record) {
			r.Verdict = release.Verdict{Result: release.Healthy, Reason: "no metric is worse"}
		})
		w.pass(time.Minute)
		if a := w.the(id, false); o.paused || a.State != action.Recovered {
			t.Errorf("paused: %v, the action is %s", o.paused, a.State)
		}
	})
}

func TestWhatCannotBeTakenBackIsPaused(t *testing.T) {
	story(t, auto(), func(w *world) {
		o := w.of("eu", "cart")
		o.refusal = &rollback.Refusal{Code: rollback.Migration, What: "Job migrate ran with it", Next: "look"}
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Minute)
		if a := w.the(id, true); a.State != action.Refused || !a.Final || o.undos() != 0 {
			t.Fatalf("it is %s: %s", a.State, refusals(a))
		}
		if a := w.the(id, false); a.State != action.Verified || !o.paused {
			t.Errorf("the pause is %s: %s", a.State, refusals(a))
		}
		w.tell(id, func(r *release.Record) { r.Release.Paused = true })
		o.refusal = nil // People have dealt with it.
		if _, err := w.engine.Retry(t.Context(), w.the(id, true).ID, "ann", "it was harmless"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		if a := w.the(id, true); a.State != action.Recovered || o.paused || o.undos() != 1 {
			t.Errorf("it is %s: %s", a.State, refusals(a))
		}
	})
}

func TestAnAnnotationThatComesLate(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.clusters["eu"].slow = time.Second
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(500 * time.Millisecond)
		o := w.of("eu", "cart")
		o.mode = "ask"
		o.version++
		w.pass(time.Minute)
		if a := w.the(id, true); a.State != action.Waiting || o.undos() != 0 {
			t.Errorf("it is %s: %s", a.State, refusals(a))
		}
	})
}

func TestAReleaseOfConfigurationAlone(t *testing.T) {
	story(t, auto(), func(w *world) {
		o := w.of("eu", "cart")
		o.images["v2"] = o.images["v1"] // Only its environment differs.
		w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Hour)
		if o.undos() != 1 {
			t.Errorf("%d undos: %s", o.undos(), refusals(w.engine.Actions()[0]))
		}
	})
}

func TestALostReplyIsFoundOnTheWorkload(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.clusters["eu"].lose = func(string) bool { return true }
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Hour)
		if a := w.the(id, true); a.State != action.Recovered || w.of("eu", "cart").undos() != 1 {
			t.Errorf("it is %s after %d undos", a.State, w.of("eu", "cart").undos())
		}
	})
}

func TestAClusterThatIsAwayIsAskedAgain(t *testing.T) {
	story(t, auto(), func(w *world) {
		away := true
		w.clusters["eu"].fail = func(verb string) error {
			if away && verb != "inspect" && verb != "rehearse" {
				return errors.New("connection refused")
			}
			return nil
		}
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(3 * time.Minute)
		if a := w.the(id, true); a.Over() {
			t.Fatalf("it is %s: %s", a.State, a.Reason)
		}
		away = false
		w.pass(time.Hour)
		if a := w.the(id, true); a.State != action.Recovered || w.of("eu", "cart").undos() != 1 {
			t.Errorf("it is %s after %d undos", a.State, w.of("eu", "cart").undos())
		}
	})
}

func TestAClusterThatStaysAwayIsGivenUp(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.clusters["eu"].fail = func(verb string) error {
			if verb == "undo" {
				return errors.New("connection refused")
			}
			return nil
		}
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Hour)
		a := w.the(id, true)
		if a.State != action.Failed || w.of("eu", "cart").undos() != 0 || len(w.alarmed()) != 1 {
			t.Fatalf("it is %s (%s), %d alarms", a.State, a.Reason, len(w.alarmed()))
		}
		w.clusters["eu"].fail = nil
		if _, err := w.engine.Retry(t.Context(), a.ID, "ann", "it is back"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		if a := w.the(id, true); a.State != action.Recovered {
			t.Errorf("after a retry it is %s", a.State)
		}
	})
}

// TestPatienceCountsFromTheLastAttempt has an action be called off, and a single failure an hour later.
func TestPatienceCountsFromTheLastAttempt(t *testing.T) {
	story(t, auto(), func(w *world) {
		c := w.clusters["eu"]
		c.slow = time.Second
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(500 * time.Millisecond)
		p, err := w.engine.Suspend(t.Context(), action.Pause{By: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		failures := 0
		c.fail = func(verb string) error {
			if verb == "undo" && failures == 0 {
				failures++
				return errors.New("connection refused")
			}
			return nil
		}
		if _, err := w.engine.Continue(t.Context(), p.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		if a := w.the(id, true); a.State != action.Recovered || failures != 1 {
			t.Errorf("it is %s after %d failures: %s", a.State, failures, a.Reason)
		}
	})
}

func TestWhatDoesNotHelpIsNotTriedAgain(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.health = action.Health{Reason: "errors are as bad as before"}
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(3 * time.Hour)
		a := w.the(id, true)
		if a.State != action.NotRecovered || w.of("eu", "cart").undos() != 1 {
			t.Errorf("it is %s after %d undos", a.State, w.of("eu", "cart").undos())
		}
		if len(w.alarmed()) != 1 || w.alarmed()[0].Kind != action.AlarmNoHelp {
			t.Errorf("alarms: %v", w.alarmed())
		}
		if _, err := w.engine.Retry(t.Context(), a.ID, "ann", ""); !errors.Is(err, action.ErrOver) {
			t.Errorf("Retry() = %v", err)
		}
	})
}

func TestAReconcilerIsNotFought(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.clusters["eu"].rollout = time.Minute
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(10 * time.Second)
		o := w.of("eu", "cart")
		o.hash, o.action = "v2", "" // It brings the manifest back while the undo rolls out.
		w.pass(2 * time.Minute)
		if a := w.the(id, true); a.State != action.NotRecovered {
			t.Errorf("it is %s", a.State)
		}
		again := w.release("eu", "cart", "v2", bad(release.AtOnce))
		w.pass(time.Hour)
		if a := w.the(again, true); !strings.Contains(refusals(a), "once:reverted") || !a.Final {
			t.Errorf("it is %s: %s", a.State, refusals(a))
		}
		if o.undos() != 1 {
			t.Errorf("%d undos", o.undos())
		}
		kinds := ""
		for _, a := range w.alarmed() {
			kinds += string(a.Kind) + " "
		}
		if kinds != "reverted reverted " {
			t.Errorf("alarms: %s", kinds)
		}
	})
}

func TestSomebodyElseWasFaster(t *testing.T) {
	for _, tc := range []struct {
		name string
		hash string
	}{
		{"undone by a person", "v1"},
		{"a third release on top", "v3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			story(t, auto(), func(w *world) {
				w.clusters["eu"].slow = time.Second
				id := w.release("eu", "cart", "v2", bad(release.RollBack))
				w.pass(500 * time.Millisecond)
				o := w.of("eu", "cart")
				o.hash = tc.hash
				o.version++
				w.pass(time.Minute)
				if a := w.the(id, true); a.State != action.Superseded || o.undos() != 0 {
					t.Errorf("it is %s after %d undos", a.State, o.undos())
				}
			})
		})
	}
}

func TestAThirdReleaseDuringTheSoakTime(t *testing.T) {
	story(t, auto(), func(w *world) {
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(5 * time.Minute)
		w.release("eu", "cart", "v3", release.Verdict{})
		for _, r := range w.records {
			if r.Release.New.Hash == "v3" {
				r.Release.Start = time.Now()
			}
		}
		for other, r := range w.records {
			if r.Release.New.Hash == "v3" {
				w.tell(other, func(*release.Record) {})
			}
		}
		w.pass(time.Minute)
		if a := w.the(id, true); a.State != action.Superseded {
			t.Errorf("it is %s", a.State)
		}
	})
}

func TestThePersonWhoStopsIt(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.clusters["eu"].slow = time.Second // Time enough to stop it between the last look and the write.
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(500 * time.Millisecond)
		a := w.the(id, true)
		if a.State != action.Running {
			t.Fatalf("it is %s", a.State)
		}
		if _, err := w.engine.Abort(t.Context(), a.ID, "ann", "we look ourselves"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		if a = w.the(id, true); a.State != action.Aborted || w.of("eu", "cart").undos() != 0 {
			t.Fatalf("it is %s after %d undos", a.State, w.of("eu", "cart").undos())
		}
		if _, err := w.engine.Abort(t.Context(), a.ID, "bob", ""); !errors.Is(err, action.ErrOver) {
			t.Errorf("Abort() = %v", err)
		}
		if _, err := w.engine.Retry(t.Context(), a.ID, "ann", ""); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		if a = w.the(id, true); a.State != action.Recovered {
			t.Errorf("after a retry it is %s: %s", a.State, refusals(a))
		}
		if _, err := w.engine.Abort(t.Context(), a.ID, "ann", ""); !errors.Is(err, action.ErrOver) {
			t.Errorf("Abort() = %v", err)
		}
	})
}

func TestTheKillSwitchDuringAnAction(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.clusters["eu"].slow = time.Second
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(500 * time.Millisecond)
		p, err := w.engine.Suspend(t.Context(), action.Pause{By: "ann", Why: "holidays"})
		if err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if a := w.the(id, true); refusals(a) != "switch:paused" || w.of("eu", "cart").undos() != 0 {
			t.Fatalf("it is %s: %s", a.State, refusals(a))
		}
		if _, err := w.engine.Continue(t.Context(), p.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * time.Second)
		a := w.the(id, true)
		if a.State != action.Verified {
			t.Fatalf("it is %s: %s", a.State, refusals(a))
		}
		if _, err := w.engine.Abort(t.Context(), a.ID, "ann", ""); !errors.Is(err, action.ErrTooLate) {
			t.Errorf("Abort() = %v", err)
		}
		if _, err := w.engine.Suspend(t.Context(), action.Pause{By: "ann"}); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour) // What is written is seen to its end.
		if a = w.the(id, true); a.State != action.Recovered {
			t.Errorf("it is %s", a.State)
		}
	})
}

func TestTheKillSwitchOfACluster(t *testing.T) {
	p := with(auto(), func(p *action.Policy) { p.KillSwitch = action.Switch{Namespace: "ops", Name: "stop"} })
	story(t, p, func(w *world) {
		c := w.clusters["eu"]
		c.stopped = "ConfigMap ops/stop says so"
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Minute)
		if a := w.the(id, true); refusals(a) != "switch:kill_switch" {
			t.Fatalf("it is %s: %s", a.State, refusals(a))
		}
		c.stopped = ""
		c.fail = func(verb string) error {
			if verb == "switch" {
				return errors.New("forbidden")
			}
			return nil
		}
		w.pass(time.Minute)
		if a := w.the(id, true); refusals(a) != "switch:kill_switch_unread" {
			t.Fatalf("it is %s: %s", a.State, refusals(a))
		}
		c.fail = nil
		w.pass(time.Hour)
		if a := w.the(id, true); a.State != action.Recovered {
			t.Errorf("it is %s: %s %v", a.State, refusals(a), a.Steps)
		}
	})
}

// TestACrashAtEveryStep kills tocsin at each entry of its ledger: before it was kept and after. The
// next one goes on from what the ledger and the workload say.
func TestACrashAtEveryStep(t *testing.T) {
	for kept := range 8 {
		for _, lost := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, auto())
				w.clusters["eu"].rollout = time.Minute
				w.start()
				w.clusters["eu"].lose = func(string) bool { return lost }
				dead := false
				w.ledger.crash(kept, func() { dead = true })
				id := w.release("eu", "cart", "v2", bad(release.RollBack))
				w.pass(3 * time.Hour)
				w.stop()
				w.ledger.mend()
				w.start()
				w.engine.Release(*w.records[id])
				w.pass(3 * time.Hour)
				w.stop()
				a := w.the(id, true)
				if a.State != action.Recovered || w.of("eu", "cart").undos() != 1 {
					t.Errorf("after %d entries (died: %v, reply lost: %v) it is %s (%s %s) after %d undos", kept,
						dead, lost, a.State, a.Reason, refusals(a), w.of("eu", "cart").undos())
				}
			})
		}
	}
}

func TestNothingIsDoneThatIsNotWrittenDown(t *testing.T) {
	story(t, auto(), func(w *world) {
		w.ledger.mu.Lock()
		w.ledger.fail = errors.New("disk full")
		w.ledger.mu.Unlock()
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Hour)
		if a := w.the(id, true); refusals(a) != "verdict:unrecorded" || w.of("eu", "cart").undos() != 0 {
			t.Errorf("it is %s: %s", a.State, refusals(a))
		}
	})
}

func TestASuspendedOwnerGetsItsWorkBack(t *testing.T) {
	story(t, auto(), func(w *world) {
		c := w.clusters["eu"]
		c.hold = true
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(30 * time.Minute)
		if a := w.the(id, true); a.State != action.Recovered || a.Hold == nil || len(c.holds) != 1 {
			t.Fatalf("it is %s, hold %v", a.State, a.Hold)
		}
		w.stop()
		w.start() // It is remembered across a restart.
		c.fail = func(verb string) error {
			if verb == "restore" {
				return errors.New("away")
			}
			return nil
		}
		w.pass(31 * time.Minute)
		if len(c.holds) != 1 || w.lastAlarm() != action.AlarmHold {
			t.Errorf("holds %v, alarms %v", c.holds, w.alarmed())
		}
		c.fail = nil
		w.pass(5 * time.Minute)
		if a := w.the(id, true); a.Hold != nil || len(c.holds) != 0 {
			t.Errorf("hold %v, %v", a.Hold, c.holds)
		}
	})
}

// TestAClockThatJumps has the clock be an hour off after a restart in the soak time.
func TestAClockThatJumps(t *testing.T) {
	for _, jump := range []time.Duration{-time.Hour, time.Hour} {
		story(t, auto(), func(w *world) {
			id := w.release("eu", "cart", "v2", bad(release.RollBack))
			w.pass(time.Minute)
			w.stop()
			a := w.the(id, true)
			a.Rolled = a.Rolled.Add(-jump)
			w.ledger.memory[a.ID] = action.Entry{Action: &a}
			w.start()
			w.pass(30 * time.Second)
			if a = w.the(id, true); a.State != action.Verified {
				t.Errorf("a jump by %s ends the soak time: it is %s", jump, a.State)
			}
			w.pass(20 * time.Minute)
			if a = w.the(id, true); a.State != action.Recovered {
				t.Errorf("after a jump by %s it is %s", jump, a.State)
			}
		})
	}
}

func TestTheBreaker(t *testing.T) {
	story(t, with(auto(), func(p *action.Policy) { p.Breaker = 2 }), func(w *world) {
		w.clusters["eu"].result = rollback.Failed
		for _, name := range []string{"a", "b", "c"} {
			w.service("eu", name)
			w.release("eu", name, "v2", bad(release.RollBack))
			w.pass(5 * time.Minute)
		}
		if n := w.of("eu", "a").undos() + w.of("eu", "b").undos() + w.of("eu", "c").undos(); n != 2 {
			t.Errorf("%d undos", n)
		}
		var broken action.Pause
		for _, p := range w.engine.Pauses() {
			if p.Cause == action.ByBreaker {
				broken = p
			}
		}
		w.clusters["eu"].result = rollback.Complete
		if _, err := w.engine.Continue(t.Context(), broken.ID, "ann"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if w.of("eu", "c").undos() != 1 {
			t.Error("it did not go on")
		}
	})
}

func TestAStormFreezesEverything(t *testing.T) {
	story(t, with(auto(), func(p *action.Policy) { p.Limits = action.Limits{Cluster: 50, Team: 50, Fleet: 50} }),
		func(w *world) {
			undos := 0
			for n := range 15 {
				name := string(rune('a' + n))
				w.service("eu", name)
				w.release("eu", name, "v2", bad(release.RollBack))
				w.pass(time.Second)
				undos += w.of("eu", name).undos()
			}
			if undos != 10 {
				t.Errorf("%d undos", undos)
			}
			if len(w.alarmed()) != 1 || w.alarmed()[0].Kind != action.AlarmStorm {
				t.Errorf("alarms: %v", w.alarmed())
			}
			w.pass(2 * time.Hour)
			if w.of("eu", "o").undos() != 1 {
				t.Error("it did not go on after an hour")
			}
		})
}

func TestTheSameImagesElsewhere(t *testing.T) {
	p := with(auto(), func(p *action.Policy) { p.HoldBadImages = true })
	story(t, p, func(w *world) {
		w.service("us", "cart")
		other := w.release("us", "cart", "v2", release.Verdict{Reason: "too little traffic"})
		w.pass(time.Minute)
		w.want()
		w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Minute)
		a := w.the(other, false)
		if a.State != action.Verified || !w.of("us", "cart").paused || a.Memory == nil {
			t.Errorf("it is %s: %s", a.State, refusals(a))
		}
		if b, ok := w.engine.Bad(a.Service, []string{"cart:v2"}); !ok || b.Cluster != "eu" {
			t.Errorf("Bad() = %v, %v", b, ok)
		}
		if len(w.alarmed()) != 1 || w.alarmed()[0].Kind != action.AlarmBadImages {
			t.Errorf("alarms: %v", w.alarmed())
		}
	})
}

func TestTheWebhookTakesItBack(t *testing.T) {
	p := with(auto(), func(p *action.Policy) {
		p.Default.Actions = []action.Kind{action.KindRollback, action.KindWebhook}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, p)
		calls := 0
		w.options.Webhook = func(context.Context, action.Action) error {
			if calls++; calls == 1 {
				return errors.New("busy")
			}
			return nil
		}
		w.start()
		defer func() { w.stop() }()
		o := w.of("eu", "cart")
		o.refusal = &rollback.Refusal{Code: rollback.OwnedByArgoCD, What: "Argo CD would bring it back"}
		id := w.release("eu", "cart", "v2", bad(release.RollBack))
		w.pass(time.Minute)
		if a := w.the(id, true); a.State != action.Done || a.Kind != action.KindWebhook || calls != 2 {
			t.Fatalf("%s is %s after %d calls: %s", a.Kind, a.State, calls, refusals(a))
		}
		o.hash = "v1" // The revert arrives.
		w.pass(time.Hour)
		if a := w.the(id, true); a.State != action.Recovered || o.undos() != 0 {
			t.Errorf("it is %s: %s", a.State, a.Reason)
		}
	})
}
