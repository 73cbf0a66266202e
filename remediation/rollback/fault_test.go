package rollback_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tocsin/collectors/kube"
	"tocsin/fleet"
	"tocsin/remediation/rollback"
)

// during has somebody else act once, just before tocsin's write arrives.
func (s *scene) during(act func()) {
	var once sync.Once
	s.before = func(method, _ string, dryRun bool) {
		if method == "PATCH" && !dryRun {
			once.Do(act)
		}
	}
}

func TestALostReplyIsLookedForAndNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		s.lose = func(string, string) bool { return true }
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil || effect.State != rollback.Already {
			t.Fatalf("effect %+v, %v", effect, err)
		}
		s.want(t, "cart:v1", 1)
		if got := strings.Join(s.steps, " "); got != "judged rehearsed writing unsettled written" {
			t.Errorf("steps %s", got)
		}
	})
}

func TestAnAPIServerThatGoesAwayLeavesTheQuestionOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		s.lose = func(string, string) bool { s.away = true; return true }
		_, err := s.Undo(t.Context(), s.request)
		if !errors.Is(err, rollback.ErrUnsettled) {
			t.Fatalf("got %v", err)
		}
		s.away = false
		s.lose = nil
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil || effect.State != rollback.Already {
			t.Fatalf("effect %+v, %v", effect, err)
		}
		s.want(t, "cart:v1", 1)
	})
}

func TestAnAPIServerThatIsAwayIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		s.away = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Undo(ctx, s.request)
		var refusal *rollback.Refusal
		if err == nil || errors.As(err, &refusal) || errors.Is(err, rollback.ErrUnsettled) {
			t.Fatalf("got %v", err)
		}
		if !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), "connection reset") {
			t.Errorf("the error does not say why: %v", err)
		}
	})
}

func TestRivals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		replies := 0
		s.lose = func(string, string) bool { replies++; return replies%5 == 0 }
		var wg sync.WaitGroup
		for range 8 {
			e := s.executor(t, rollback.Options{})
			wg.Go(func() {
				if _, err := e.Undo(t.Context(), s.request); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s.want(t, "cart:v1", 1)
	})
}

func TestSomebodyElseActsMeanwhile(t *testing.T) {
	for _, tc := range []struct {
		name   string
		act    func(s *scene)
		image  string
		writes int
		code   rollback.Code // Empty: it is undone.
	}{
		{"a user deploys", func(s *scene) { s.deploy("cart:v3") }, "cart:v3", 0, rollback.Superseded},
		{"a user undoes", func(s *scene) { s.deploy("cart:v1") }, "cart:v1", 0, rollback.Undone},
		{"a user forbids it", func(s *scene) {
			s.edit(s.path, func(o object) { annotate(o, rollback.ModeAnnotation, "never") })
		}, "cart:v2", 0, rollback.OptedOut},
		{"a user deletes it", func(s *scene) { s.drop(s.path) }, "", 0, rollback.NotFound},
		{"an autoscaler scales", func(s *scene) {
			s.edit(s.path, func(o object) { o["spec"].(object)["replicas"] = 9 })
		}, "cart:v1", 1, ""},
		{"a controller reports", func(s *scene) {
			s.edit(s.path, func(o object) { o["status"].(object)["replicas"] = 3 })
		}, "cart:v1", 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stage(t, fleet.Deployment)
				s.during(func() { tc.act(s) })
				_, err := s.Undo(t.Context(), s.request)
				if tc.code != "" {
					wantRefusal(t, err, tc.code, "")
				} else if err != nil {
					t.Error(err)
				}
				if tc.image != "" {
					s.want(t, tc.image, tc.writes)
				}
			})
		})
	}
}

func TestAnActionIsNotRepeatedAfterSomebodyRevertedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		if _, err := s.Undo(t.Context(), s.request); err != nil {
			t.Fatal(err)
		}
		s.deploy("cart:v2")
		if effect, err := s.Undo(t.Context(), s.request); err != nil || effect.State != rollback.Already {
			t.Errorf("effect %+v, %v", effect, err)
		}
		s.edit(s.path, func(o object) { delete(meta(o), "annotations") }) // As kubectl replace does.
		_, err := s.Undo(t.Context(), s.request)
		wantRefusal(t, err, rollback.Repeated, "reverted")
		s.want(t, "cart:v2", 1)
	})
}

func TestAServerThatIsBusyIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		left := 3
		s.refuse = func(method, _ string, dryRun bool) *metav1.Status {
			if method != "PATCH" || dryRun || left == 0 {
				return nil
			}
			left--
			return status(500, metav1.StatusReasonInternalError, "etcdserver: leader changed")
		}
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil || effect.Attempts != 4 {
			t.Fatalf("effect %+v, %v", effect, err)
		}
		s.want(t, "cart:v1", 1)
	})
}

func TestAStepThatCannotBeRecordedIsNotDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		e := s.executor(t, rollback.Options{Note: func(_ context.Context, step rollback.Step) error {
			if step.Stage == rollback.Writing {
				return errors.New("disk full")
			}
			return nil
		}})
		_, err := e.Undo(t.Context(), s.request)
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("got %v", err)
		}
		s.want(t, "cart:v2", 0)
	})
}

func TestAnActionIsCalledOffUntilTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		for _, last := range []rollback.Stage{rollback.Judged, rollback.Rehearsed, rollback.Writing} {
			ctx, cancel := context.WithCancelCause(t.Context())
			e := s.executor(t, rollback.Options{Note: func(_ context.Context, step rollback.Step) error {
				if step.Stage == last {
					cancel(errors.New("the kill switch was used"))
				}
				return nil
			}})
			_, err := e.Undo(ctx, s.request)
			if err == nil || errors.Is(err, rollback.ErrUnsettled) ||
				!strings.Contains(err.Error(), "kill switch") {
				t.Errorf("called off when %s: %v", last, err)
			}
		}
		s.want(t, "cart:v2", 0)
	})
}

// errKilled is what a note panics with where the process is to die.
var errKilled = errors.New("killed")

// TestAnActionSurvivesDeathAtEachStep forgets all that is in memory at each step, in turn, and has
// another process go on from nothing.
func TestAnActionSurvivesDeathAtEachStep(t *testing.T) {
	for _, kind := range allKinds {
		for death := range 5 {
			t.Run(fmt.Sprint(kind, " ", death), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := stage(t, kind)
					left := death
					mortal := s.executor(t, rollback.Options{Note: func(context.Context, rollback.Step) error {
						if left == 0 {
							panic(errKilled)
						}
						left--
						return nil
					}})
					func() {
						defer func() { _ = recover() }()
						_, _ = mortal.Undo(t.Context(), s.request)
					}()
					if _, err := s.Undo(t.Context(), s.request); err != nil {
						t.Fatal(err)
					}
					s.want(t, "cart:v1", 1)
				})
			})
		}
	}
}

func TestVerify(t *testing.T) {
	for _, tc := range []struct {
		name   string
		after  func(s *scene)
		result rollback.Result
		word   string
	}{
		{"it ends well", func(*scene) {}, rollback.Complete, "2 of 2"},
		{"the API server is away for a while", func(s *scene) {
			s.away = true
			go func() {
				time.Sleep(20 * time.Second)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.away = false
			}()
		}, rollback.Complete, "2 of 2"},
		{
			"a reconciler brings it back", func(s *scene) { s.deploy("cart:v2") },
			rollback.Reverted, "kubectl (edit)",
		},
		{
			"a reconciler brings it back within our second", func(s *scene) {
				s.deploy("cart:v2")
				s.edit(s.path, func(o object) {
					fields := meta(o)["managedFields"].([]any)
					ours := clone(fields[0].(object))
					ours["manager"] = "tocsin"
					meta(o)["managedFields"] = append(fields, ours)
				})
			},
			rollback.Reverted, "kubectl (edit)",
		},
		{
			"somebody deploys", func(s *scene) { s.deploy("cart:v3") },
			rollback.Overtaken, "kubectl (edit)",
		},
		{"pods cannot be created", func(s *scene) {
			s.halted = true
			s.edit(s.path, func(o object) {
				o["status"] = object{"observedGeneration": 3, "replicas": 1, "conditions": []any{
					object{
						"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
						"message": "exceeded quota",
					},
					object{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
				}}
			})
		}, rollback.Failed, "exceeded quota"},
		{"nothing moves, for longer than it may", func(s *scene) {
			s.halted = true
			s.edit(s.path, func(o object) {
				o["status"] = object{"observedGeneration": 9}
				o["spec"].(object)["progressDeadlineSeconds"] = 30
			})
		}, rollback.Failed, "no progress for 30s"},
		{"nothing moves", func(s *scene) {
			s.halted = true
			s.edit(s.path, func(o object) { o["status"] = object{"observedGeneration": 2} })
		}, rollback.Unverified, "not seen it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stage(t, fleet.Deployment)
				if _, err := s.Undo(t.Context(), s.request); err != nil {
					t.Fatal(err)
				}
				tc.after(s)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				o, err := s.Verify(ctx, s.request)
				if o.Result != tc.result || !strings.Contains(o.Reason, tc.word) ||
					(err != nil) != (tc.result == rollback.Unverified) {
					t.Errorf("outcome %+v, %v", o, err)
				}
			})
		})
	}
}

func TestVerifyWaitsUntilAnArgoRolloutIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, rollback.Rollout)
		if _, err := s.Undo(t.Context(), s.request); err != nil {
			t.Fatal(err)
		}
		s.halted = true
		report := func(observed, current, phase string) {
			s.edit(s.path, func(o object) {
				o["status"] = object{
					"observedGeneration": observed, "phase": phase, "currentPodHash": current,
					"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
				}
			})
		}
		report("2", "cart-2", "Healthy") // Of the bad revision.
		go func() {
			time.Sleep(5 * time.Second)
			report("3", "cart-1", "Progressing")
			time.Sleep(5 * time.Second)
			report("3", "cart-1", "Healthy")
		}()
		o, err := s.Verify(t.Context(), s.request)
		if err != nil || o.Result != rollback.Complete || o.Took < 9*time.Second {
			t.Errorf("outcome %+v, %v", o, err)
		}
	})
}

func TestAStuckStatefulSetIsFreedOfItsBadPodOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.StatefulSet)
		s.pod("cart-1", "cart-2") // Of the bad revision.
		s.pod("cart-0", "cart-1") // Broken, too, but not by the release.
		if _, err := s.Undo(t.Context(), s.request); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		o, err := s.Verify(ctx, s.request)
		if o.Result != rollback.Unverified || err == nil || fmt.Sprint(o.Deleted) != "[cart-1]" {
			t.Errorf("outcome %+v, %v", o, err)
		}
		s.drop(space + "pods/cart-0")
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.edit(s.path, func(object) {})
		if o, err = s.Verify(ctx, s.request); err != nil || o.Result != rollback.Complete {
			t.Errorf("outcome %+v, %v", o, err)
		}
		if n := s.wrote("pods/cart-1") + s.wrote("pods/cart-0"); n != 1 {
			t.Errorf("%d pods were deleted", n)
		}
	})
}

// application puts what Argo CD keeps of an application.
func (s *scene) application() string {
	path := "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/web"
	s.put(path, object{"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "spec": object{}})
	s.argo()
	s.request.Owners = map[kube.OwnerKind]rollback.Way{kube.ArgoApplication: rollback.Suspend}
	return path
}

func TestAReconcilerIsSuspendedFirstAndRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		path := s.application()
		before := s.get(path)
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil {
			t.Fatal(err)
		}
		s.want(t, "cart:v1", 1)
		if s.writes[0] != "PATCH "+path || effect.Hold == nil {
			t.Fatalf("wrote %v, effect %+v", s.writes, effect)
		}
		a := stringsOf(meta(s.get(path))["annotations"])
		if a["argocd.argoproj.io/skip-reconcile"] != "true" {
			t.Errorf("annotations %v", a)
		}
		other := s.executor(t, rollback.Options{}) // After a restart.
		holds, err := other.Holds(t.Context())
		if err != nil || len(holds) != 1 || holds[0] != *effect.Hold {
			t.Fatalf("holds %+v, want %+v; %v", holds, effect.Hold, err)
		}
		if until := time.Until(holds[0].Until); until < 59*time.Minute || until > time.Hour {
			t.Errorf("it is held for %v", until)
		}
		if err := other.Restore(t.Context(), holds[0]); err != nil {
			t.Fatal(err)
		}
		after := s.get(path)
		if len(stringsOf(meta(after)["annotations"]))+len(stringsOf(meta(after)["labels"])) != 0 ||
			fmt.Sprint(before["spec"]) != fmt.Sprint(after["spec"]) {
			t.Errorf("left behind: %v", after)
		}
		if holds, err := other.Holds(t.Context()); err != nil || len(holds) != 0 {
			t.Errorf("holds %+v, %v", holds, err)
		}
	})
}

func TestAnOwnerThatDoesNotStaySuspendedIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		path := s.application()
		s.before = func(method, p string, dryRun bool) {
			if method == "GET" && p == path { // The application of applications.
				s.edit(path, func(o object) { delete(meta(o), "annotations") })
			}
		}
		_, err := s.Undo(t.Context(), s.request)
		wantRefusal(t, err, rollback.OwnerMissing, "something manages it")
		s.want(t, "cart:v2", 0)
	})
}

func TestAnUndoThatIsRefusedGivesTheOwnerBackItsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		path := s.application()
		s.before = func(method, p string, dryRun bool) {
			if method == "PATCH" && p == s.path && !dryRun {
				s.deploy("cart:v3")
			}
		}
		_, err := s.Undo(t.Context(), s.request)
		wantRefusal(t, err, rollback.Superseded, "")
		if a := stringsOf(meta(s.get(path))["annotations"]); len(a) != 0 {
			t.Errorf("the owner is still suspended: %v", a)
		}
	})
}

func TestFluxIsSuspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		s.flux()
		path := "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/shop/kustomizations/web"
		s.put(path, object{"kind": "Kustomization", "spec": object{}})
		s.request.Owners = map[kube.OwnerKind]rollback.Way{kube.FluxKustomization: rollback.Suspend}
		s.lose = func(string, string) bool { s.lose = nil; return true }
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil || s.get(path)["spec"].(object)["suspend"] != true {
			t.Fatalf("effect %+v, %v", effect, err)
		}
		if err := s.Restore(t.Context(), *effect.Hold); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.get(path)["spec"].(object)["suspend"]; ok {
			t.Error("it is still suspended")
		}
	})
}

func TestARivalThatActsBetweenTwoReadsIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		rival := s.executor(t, rollback.Options{})
		acted := false
		s.before = func(_, path string, _ bool) {
			if acted || !strings.HasSuffix(path, "/replicasets") {
				return
			}
			acted = true
			if _, err := rival.Undo(t.Context(), s.request); err != nil {
				t.Error(err)
			}
		}
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil || effect.State != rollback.Already {
			t.Errorf("effect %+v, %v", effect, err)
		}
		s.want(t, "cart:v1", 1)
	})
}
