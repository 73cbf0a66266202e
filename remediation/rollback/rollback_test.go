package rollback_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tocsin/collectors/kube"
	"tocsin/fleet"
	"tocsin/remediation/rollback"
)

// scene is a workload cart of which a bad release was just rolled out, and who is to undo it.
type scene struct {
	*apiServer
	*rollback.Executor
	request rollback.Request
	path    string
	steps   []string // Stages.
	details string
}

const (
	space    = "/api/v1/namespaces/shop/"
	settings = space + "configmaps/settings"
	token    = space + "secrets/token"
)

func paths(kind fleet.Workload) string {
	switch kind {
	case fleet.StatefulSet:
		return "/apis/apps/v1/namespaces/shop/statefulsets/cart"
	case fleet.DaemonSet:
		return "/apis/apps/v1/namespaces/shop/daemonsets/cart"
	case rollback.Rollout:
		return "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/cart"
	}
	return "/apis/apps/v1/namespaces/shop/deployments/cart"
}

// canary is the value of a variable: nobody is to be told.
const canary = "s3cr3t-canary"

// podTemplate is one that names a ConfigMap and a Secret.
func podTemplate(image string) object {
	return object{
		"metadata": object{"labels": object{"app": "cart"}},
		"spec": object{"containers": []any{object{
			"name": "main", "image": image,
			"env": []any{object{"name": "PASSWORD", "value": canary}},
			"envFrom": []any{
				object{"configMapRef": object{"name": "settings"}},
				object{"secretRef": object{"name": "token"}},
				object{"configMapRef": object{"name": "extra", "optional": true}},
			},
		}}},
	}
}

func hashOf(t *testing.T, template object) string {
	t.Helper()
	var pod corev1.PodTemplateSpec
	text, err := json.Marshal(template)
	if err == nil {
		err = json.Unmarshal(text, &pod)
	}
	if err != nil {
		t.Fatal(err)
	}
	hash, err := kube.TemplateHash(&pod)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// stage sets a scene inside a synctest bubble: v1 ran well until a minute ago.
func stage(t *testing.T, kind fleet.Workload) *scene {
	t.Helper()
	s := &scene{apiServer: newAPIServer(t), path: paths(kind)}
	apiVersion := "apps/v1"
	if kind == rollback.Rollout {
		apiVersion = "argoproj.io/v1alpha1"
	}
	s.put(settings, object{"data": object{"level": "info"}})
	s.put(token, object{"data": object{"token": "c2VjcmV0"}})
	s.put(s.path, object{
		"apiVersion": apiVersion, "kind": string(kind),
		"spec": object{
			"replicas": 2, "selector": object{"matchLabels": object{"app": "cart"}},
			"template": podTemplate("cart:v1"), "updateStrategy": object{"type": "RollingUpdate"},
		},
	})
	time.Sleep(time.Hour)
	healthy := time.Now()
	time.Sleep(time.Minute)
	s.deploy("cart:v2")
	s.request = rollback.Request{
		Action: "a1",
		Target: rollback.Target{
			Cluster: "test", Kind: kind, Namespace: "shop", Name: "cart", UID: "uid-cart",
		},
		Bad: hashOf(t, podTemplate("cart:v2")), Good: hashOf(t, podTemplate("cart:v1")), Healthy: healthy,
	}
	if kind == rollback.Rollout {
		s.request.Bad = hashOf(t, defaulted(podTemplate("cart:v2")))
		s.request.Good = hashOf(t, defaulted(podTemplate("cart:v1")))
	}
	s.Executor = s.executor(t, rollback.Options{})
	return s
}

// executor returns one more executor on the same cluster.
func (s *scene) executor(t *testing.T, o rollback.Options) *rollback.Executor {
	t.Helper()
	o.Cluster, o.Config = "test", s.config()
	var mu sync.Mutex
	if o.Note == nil {
		o.Note = func(_ context.Context, step rollback.Step) error {
			mu.Lock()
			defer mu.Unlock()
			s.steps = append(s.steps, string(step.Stage))
			s.details += step.Detail
			return nil
		}
	}
	e, err := rollback.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (s *scene) deploy(image string) {
	s.edit(s.path, func(o object) { o["spec"].(object)["template"] = podTemplate(image) })
}

// image is what the workload runs now.
func (s *scene) image() string {
	pod := template(s.get(s.path))["spec"].(object)
	return pod["containers"].([]any)[0].(object)["image"].(string)
}

func annotate(o object, key, value string) {
	m := meta(o)
	if m["annotations"] == nil {
		m["annotations"] = object{}
	}
	m["annotations"].(object)[key] = value
}

func (s *scene) annotation(key string) string {
	return stringsOf(meta(s.get(s.path))["annotations"])[key]
}

// want checks what the workload runs and how often tocsin wrote it.
func (s *scene) want(t *testing.T, image string, writes int) {
	t.Helper()
	if got, n := s.image(), s.wrote("/cart"); got != image || n != writes {
		t.Errorf("it runs %s after %d writes, want %s after %d", got, n, image, writes)
	}
}

// wantRefusal checks that an error is a refusal with a code, and says a word to people.
func wantRefusal(t *testing.T, err error, code rollback.Code, word string) {
	t.Helper()
	var r *rollback.Refusal
	if !errors.As(err, &r) {
		t.Fatalf("got %v, want a refusal %s", err, code)
	}
	if r.Code != code || !strings.Contains(r.Error(), word) {
		t.Errorf("refused as %s: %v; want %s with %q", r.Code, r, code, word)
	}
	if r.Next == "" || !strings.Contains(r.Error(), "shop/cart in test") {
		t.Errorf("the refusal does not say what is to be done, or to what: %v", r)
	}
}

var allKinds = []fleet.Workload{
	fleet.Deployment, fleet.StatefulSet, fleet.DaemonSet, rollback.Rollout,
}

func TestUndo(t *testing.T) {
	for _, kind := range allKinds {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stage(t, kind)
				s.edit(s.path, func(o object) {
					annotate(o, "team/tracking", "kept")
					o["spec"].(object)["replicas"] = 7 // As an autoscaler does.
				})
				effect, err := s.Undo(t.Context(), s.request)
				if err != nil {
					t.Fatal(err)
				}
				s.want(t, "cart:v1", 1)
				if effect.State != rollback.Done || effect.From.Images[0] != "cart:v2" ||
					effect.To.Images[0] != "cart:v1" {
					t.Errorf("effect %+v", effect)
				}
				now := s.get(s.path)
				if hashOf(t, template(now)) != s.request.Good ||
					now["spec"].(object)["replicas"] != 7.0 || s.annotation("team/tracking") != "kept" ||
					s.annotation(rollback.ActionAnnotation) != "a1" {
					t.Errorf("the workload is now %v", now)
				}
				if owned := fmt.Sprint(meta(now)["managedFields"]); strings.Contains(owned, "f:spec") ||
					len(effect.Warnings) > 0 && kind != rollback.Rollout {
					t.Errorf("fields stay owned: %s, %v", owned, effect.Warnings)
				}
				labels := template(now)["metadata"].(object)["labels"].(object)
				if len(labels) != 1 || template(now)["$patch"] != nil {
					t.Errorf("the template holds what controllers add: %v", template(now))
				}
				if got := strings.Join(s.steps, " "); got != "judged rehearsed writing written" {
					t.Errorf("steps %s", got)
				}
				text, err := json.Marshal(effect)
				if err != nil || strings.Contains(string(text)+s.details, canary) {
					t.Errorf("effect %s, %v, details %s", text, err, s.details)
				}
				again, err := s.Undo(t.Context(), s.request)
				if err != nil || again.State != rollback.Already {
					t.Errorf("asked for again: %+v, %v", again, err)
				}
				s.want(t, "cart:v1", 1)
			})
		})
	}
}

func TestDryRunDoesAllButTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		s.request.DryRun = true
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil {
			t.Fatal(err)
		}
		s.want(t, "cart:v2", 0)
		plan := strings.Join(effect.Writes, "\n")
		if effect.State != rollback.Planned ||
			!strings.Contains(plan, "replace /spec/template by that of revision 1") ||
			!strings.Contains(plan, "test /metadata/resourceVersion") {
			t.Errorf("effect %+v", effect)
		}
		if got := strings.Join(s.steps, " "); got != "judged rehearsed" {
			t.Errorf("steps %s", got)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		name   string
		kind   fleet.Workload // Deployment.
		change func(s *scene)
		code   rollback.Code
		word   string
	}{
		{
			name: "gone", code: rollback.NotFound, word: "not there",
			change: func(s *scene) { s.drop(s.path) },
		},
		{
			name: "another of the same name", code: rollback.Replaced, word: "same name",
			change: func(s *scene) {
				s.request.Target.UID = "older"
			},
		},
		{
			name: "being deleted", code: rollback.Terminating, word: "deleted",
			change: func(s *scene) {
				s.edit(s.path, func(o object) { meta(o)["deletionTimestamp"] = "2026-01-01T00:00:00Z" })
			},
		},
		{
			name: "people said never", code: rollback.OptedOut, word: "never",
			change: func(s *scene) {
				s.edit(s.path, func(o object) { annotate(o, rollback.ModeAnnotation, "never") })
			},
		},
		{
			name: "people mistyped", code: rollback.OptedOut, word: "nevr",
			change: func(s *scene) {
				s.edit(s.path, func(o object) { annotate(o, rollback.ModeAnnotation, "nevr") })
			},
		},
		{
			name: "people want to be asked", code: rollback.NeedsApproval, word: "ask",
			change: func(s *scene) {
				s.edit(s.path, func(o object) { annotate(o, rollback.ModeAnnotation, "ask") })
			},
		},
		{
			name: "a third release", code: rollback.Superseded, word: "kubectl (edit)",
			change: func(s *scene) {
				s.deploy("cart:v3")
			},
		},
		{
			name: "undone by people", code: rollback.Undone, word: "kubectl (edit)",
			change: func(s *scene) {
				s.deploy("cart:v1")
			},
		},
		{
			name: "history gone", code: rollback.HistoryGone, word: "revisionHistoryLimit",
			change: func(s *scene) {
				s.drop("/apis/apps/v1/namespaces/shop/replicasets/cart-1")
			},
		},
		{
			name: "updates on delete", kind: fleet.DaemonSet,
			code: rollback.UpdateOnDelete, word: "OnDelete",
			change: func(s *scene) {
				s.edit(s.path, func(o object) {
					o["spec"].(object)["updateStrategy"].(object)["type"] = "OnDelete"
				})
			},
		},
		{
			name: "bad pods behind the partition", kind: fleet.StatefulSet,
			code: rollback.Partitioned, word: "cart-0",
			change: func(s *scene) {
				s.pod("cart-0", "cart-2")
				s.edit(s.path, func(o object) {
					o["spec"].(object)["updateStrategy"].(object)["rollingUpdate"] = object{"partition": 1}
				})
			},
		},
		{
			name: "template elsewhere", kind: rollback.Rollout,
			code: rollback.Unsupported, word: "workloadRef",
			change: func(s *scene) {
				s.edit(s.path, func(o object) { o["spec"].(object)["workloadRef"] = object{"name": "other"} })
			},
		},
		{name: "Helm", code: rollback.OwnedByHelm, word: "helm rollback web", change: (*scene).helm},
		{
			name: "Helm at work", code: rollback.HelmPending, word: "pending-upgrade",
			change: func(s *scene) {
				s.helm()
				s.request.Owners = map[kube.OwnerKind]rollback.Way{kube.HelmRelease: rollback.Drift}
				s.put(space+"secrets/sh.helm.release.v1.web.v9", helmSecret("9", "superseded"))
				s.put(space+"secrets/sh.helm.release.v1.web.v10", helmSecret("10", "pending-upgrade"))
			},
		},
		{name: "Argo CD", code: rollback.OwnedByArgoCD, word: "within seconds", change: (*scene).argo},
		{
			name: "Argo CD without its application", code: rollback.OwnerMissing, word: "argocd",
			change: func(s *scene) {
				s.argo()
				s.request.Owners = map[kube.OwnerKind]rollback.Way{kube.ArgoApplication: rollback.Suspend}
			},
		},
		{name: "Flux", code: rollback.OwnedByFlux, word: "git", change: (*scene).flux},
		{
			name: "an operator", code: rollback.OwnedByOther, word: "Kafka events",
			change: func(s *scene) {
				s.edit(s.path, func(o object) {
					meta(o)["ownerReferences"] = []any{
						object{"kind": "Kafka", "name": "events", "controller": true},
					}
				})
			},
		},
		{
			name: "a ConfigMap has changed", code: rollback.ConfigChanged, word: "settings",
			change: func(s *scene) {
				s.put(settings, object{"data": object{"level": "debug"}})
			},
		},
		{
			name: "a ConfigMap has changed, by its mark", code: rollback.ConfigChanged, word: "settings",
			change: func(s *scene) {
				s.request.Marks = map[string]string{"ConfigMap/settings": "other"}
			},
		},
		{
			name: "a ConfigMap without a record", code: rollback.ConfigChanged, word: "nobody knows",
			change: func(s *scene) {
				s.edit(settings, func(o object) { meta(o)["managedFields"] = []any{} })
			},
		},
		{
			name: "a Secret is gone", code: rollback.ConfigMissing, word: "Secret/token",
			change: func(s *scene) {
				s.drop(token)
			},
		},
		{
			name: "an optional ConfigMap has come", code: rollback.ConfigChanged, word: "extra",
			change: func(s *scene) {
				s.put(space+"configmaps/extra", object{})
			},
		},
		{
			name: "a migration", code: rollback.Migration, word: "yes, of the database",
			change: func(s *scene) {
				s.edit(s.path, func(o object) {
					annotate(o, rollback.MigrationAnnotation, "yes, of the database")
				})
			},
		},
		{
			name: "a Job of the release", code: rollback.Migration, word: "migrate",
			change: func(s *scene) {
				s.edit(s.path, func(o object) {
					meta(o)["labels"] = object{"app.kubernetes.io/instance": "web"}
				})
				s.put("/apis/batch/v1/namespaces/shop/jobs/migrate",
					object{"metadata": object{"labels": object{"app.kubernetes.io/instance": "web"}}})
			},
		},
		{
			name: "an image that nobody has", code: rollback.ImageUnknown, word: "cart:v1",
			change: func(s *scene) {
				time.Sleep(2 * time.Hour)
			},
		},
		{
			name: "a clock that is ahead", code: rollback.ConfigChanged, word: "settings",
			change: func(s *scene) {
				s.put(settings, object{"data": object{"level": "debug"}})
				s.request.Healthy = time.Now().Add(time.Hour)
			},
		},
		{
			name: "no right to write", code: rollback.Forbidden, word: "verbs: [patch]",
			change: func(s *scene) {
				s.deny["patch deployments"] = true
			},
		},
		{
			name: "no right to read", code: rollback.Forbidden,
			word:   `apiGroups: ["apps"], resources: [replicasets]`,
			change: func(s *scene) { s.deny["list replicasets"] = true },
		},
		{
			name: "no right to free a stuck pod", kind: fleet.StatefulSet,
			code: rollback.Forbidden, word: "delete pods",
			change: func(s *scene) { s.deny["delete pods"] = true },
		},
		{
			name: "quota", code: rollback.Quota, word: "raise it",
			change: func(s *scene) {
				s.answerPatch(403, metav1.StatusReasonForbidden,
					"deployments is forbidden: exceeded quota: small")
			},
		},
		{
			name: "webhook", code: rollback.Admission, word: "friday",
			change: func(s *scene) {
				s.answerPatch(400, metav1.StatusReasonBadRequest,
					`admission webhook "friday" denied the request: no`)
			},
		},
		{
			name: "invalid", code: rollback.Invalid, word: "by hand",
			change: func(s *scene) {
				s.answerPatch(422, metav1.StatusReasonInvalid, "spec.template: Invalid value")
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tc.kind == "" {
					tc.kind = fleet.Deployment
				}
				s := stage(t, tc.kind)
				tc.change(s)
				_, err := s.Undo(t.Context(), s.request)
				wantRefusal(t, err, tc.code, tc.word)
				if n := s.wrote(""); n != 0 {
					t.Errorf("wrote %d times all the same", n)
				}
				if last := s.steps[len(s.steps)-1]; last != string(rollback.Refused) {
					t.Errorf("the last step is %s", last)
				}
			})
		})
	}
}

// answerPatch has the API server refuse to patch.
func (s *scene) answerPatch(code int, reason metav1.StatusReason, message string) {
	s.refuse = func(method, _ string, _ bool) *metav1.Status {
		if method != "PATCH" {
			return nil
		}
		return status(code, reason, message)
	}
}

func (s *scene) helm() {
	s.edit(s.path, func(o object) {
		annotate(o, "meta.helm.sh/release-name", "web")
		annotate(o, "meta.helm.sh/release-namespace", "shop")
	})
}

func helmSecret(version, state string) object {
	return object{"metadata": object{"labels": object{
		"owner": "helm", "name": "web", "version": version, "status": state,
	}}}
}

func (s *scene) argo() {
	s.edit(s.path, func(o object) {
		annotate(o, "argocd.argoproj.io/tracking-id", "web:apps/Deployment:shop/cart")
	})
}

func (s *scene) flux() {
	s.edit(s.path, func(o object) {
		meta(o)["labels"] = object{"kustomize.toolkit.fluxcd.io/name": "web"}
	})
}

// pod puts a pod of a StatefulSet's revision that is not ready.
func (s *scene) pod(name, revision string) {
	s.put(space+"pods/"+name, object{
		"metadata": object{
			"labels":          object{"app": "cart", "controller-revision-hash": revision},
			"ownerReferences": ownedBy(s.get(s.path)),
		},
		"status": object{"conditions": []any{object{"type": "Ready", "status": "False"}}},
	})
}

func TestWhatDoesNotStandInTheWay(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(s *scene)
	}{
		{"approved", func(s *scene) {
			s.edit(s.path, func(o object) { annotate(o, rollback.ModeAnnotation, "ask") })
			s.request.Approved = true
		}},
		{"Helm, with drift allowed", func(s *scene) {
			s.helm()
			s.request.Owners = map[kube.OwnerKind]rollback.Way{kube.HelmRelease: rollback.Drift}
			s.put(space+"secrets/sh.helm.release.v1.web.v9", helmSecret("9", "deployed"))
		}},
		{"a ConfigMap with a new label, by its mark", func(s *scene) {
			healthy := rollback.Request{Target: s.request.Target, Good: s.request.Good}
			facts, err := s.Inspect(context.Background(), healthy)
			if err != nil {
				panic(err)
			}
			s.request.Marks = facts.Marks()
			s.edit(settings, func(o object) { meta(o)["labels"] = object{"chart": "2"} })
		}},
		{"a Job on a schedule", func(s *scene) {
			s.put("/apis/batch/v1/namespaces/shop/jobs/nightly", object{"metadata": object{
				"annotations": object{rollback.MigrationAnnotation: "yes"},
				"ownerReferences": []any{
					object{"kind": "CronJob", "name": "nightly", "uid": "x", "controller": true},
				},
			}})
		}},
		{"an old image that a node has", func(s *scene) {
			time.Sleep(2 * time.Hour)
			s.put("/api/v1/nodes/node-1", object{"status": object{"images": []any{
				object{"names": []any{"docker.io/library/cart:v1"}},
			}}})
		}},
		{"a webhook that cannot rehearse", func(s *scene) {
			s.refuse = func(method, _ string, dryRun bool) *metav1.Status {
				if !dryRun {
					return nil
				}
				return status(400, metav1.StatusReasonBadRequest,
					"admission webhook \"old\" does not support dry run")
			}
		}},
		{"a restart since", func(s *scene) {
			s.edit(s.path, func(o object) {
				meta(template(o))["annotations"] = object{"kubectl.kubernetes.io/restartedAt": "now"}
			})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stage(t, fleet.Deployment)
				tc.change(s)
				if _, err := s.Undo(t.Context(), s.request); err != nil {
					t.Fatal(err)
				}
				s.want(t, "cart:v1", 1)
			})
		})
	}
}

func TestAPausedRolloutIsUndoneInOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		s.halted = true
		s.edit(s.path, func(o object) { o["status"] = object{} })
		hold := s.request
		hold.Action = "p1"
		if _, err := s.Pause(t.Context(), hold); err != nil {
			t.Fatal(err)
		}
		if again, err := s.Pause(t.Context(), hold); err != nil || again.State != rollback.Already {
			t.Errorf("paused again: %+v, %v", again, err)
		}
		if s.get(s.path)["spec"].(object)["paused"] != true {
			t.Fatal("it is not paused")
		}
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil || !effect.Resumed {
			t.Fatalf("effect %+v, %v", effect, err)
		}
		if _, paused := s.get(s.path)["spec"].(object)["paused"]; paused {
			t.Error("it is still paused")
		}
		s.want(t, "cart:v1", 2)
	})
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		_, err := s.Pause(t.Context(), s.request)
		wantRefusal(t, err, rollback.NotRolling, "complete")
		_, err = s.Resume(t.Context(), s.request)
		wantRefusal(t, err, rollback.NotPaused, "not paused")
		s.edit(s.path, func(o object) { o["spec"].(object)["paused"] = true })
		if _, err := s.Resume(t.Context(), s.request); err != nil {
			t.Fatal(err)
		}
		s.want(t, "cart:v2", 1)
		s.argo() // What is paused is in no manifest.
		s.edit(s.path, func(o object) { o["spec"].(object)["paused"] = true })
		s.request.Action = "a2"
		if _, err := s.Resume(t.Context(), s.request); err != nil {
			t.Error(err)
		}
		set := stage(t, fleet.StatefulSet)
		_, err = set.Pause(t.Context(), set.request)
		wantRefusal(t, err, rollback.Unsupported, "cannot be paused")
	})
}

func TestAbortOfAnArgoRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, rollback.Rollout)
		s.edit(s.path, func(o object) { o["status"] = object{"stableRS": "cart-2"} })
		_, err := s.Abort(t.Context(), s.request)
		wantRefusal(t, err, rollback.NotRolling, "undo it")
		s.edit(s.path, func(o object) {
			o["status"] = object{"stableRS": "cart-1"}
		})
		s.lose = func(string, string) bool { s.lose = nil; return true }
		effect, err := s.Abort(t.Context(), s.request)
		if err != nil || effect.State != rollback.Done {
			t.Fatalf("effect %+v, %v", effect, err)
		}
		if s.get(s.path)["status"].(object)["abort"] != true {
			t.Error("it is not aborted")
		}
		s.want(t, "cart:v2", 1)         // The claim; the abort itself is of the status.
		s.edit(s.path, func(o object) { // The canary goes while Verify looks.
			status := o["status"].(object)
			status["availableReplicas"], status["updatedReplicas"] = int64(2), int64(1)
		})
		time.AfterFunc(time.Minute, func() {
			s.edit(s.path, func(o object) {
				status := o["status"].(object)
				status["availableReplicas"], status["updatedReplicas"] = int64(2), int64(0)
			})
		})
		outcome, err := s.Verify(t.Context(), s.request)
		if err != nil || outcome.Result != rollback.Complete || outcome.Took < time.Minute {
			t.Errorf("Verify() = %+v, %v", outcome, err)
		}
		d := stage(t, fleet.Deployment)
		_, err = d.Abort(t.Context(), d.request)
		wantRefusal(t, err, rollback.Unsupported, "knows no abort")
	})
}

func TestWhatOnlyACanaryBearsDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, rollback.Rollout)
		s.mu.Lock()
		for name, role := range map[string]string{"cart-1": "stable", "cart-2": "canary"} {
			o := s.objects["/apis/apps/v1/namespaces/shop/replicasets/"+name]
			annotate(o, "rollout.argoproj.io/ephemeral-metadata",
				`{"labels":{"role":"`+role+`"},"annotations":{"note":"x"}}`)
			m := meta(template(o))
			m["labels"].(object)["role"] = role
			m["annotations"] = object{"note": "x"}
		}
		s.mu.Unlock()
		effect, err := s.Undo(t.Context(), s.request)
		if err != nil || effect.State != rollback.Done {
			t.Fatalf("effect %+v, %v", effect, err)
		}
		s.want(t, "cart:v1", 1)
		if m := meta(template(s.get(s.path))); m["labels"].(object)["role"] != nil {
			t.Errorf("the template is of a role: %v", m)
		}
	})
}

func TestARequestThatCannotBeMeant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		for name, spoil := range map[string]func(r *rollback.Request){
			"no action":          func(r *rollback.Request) { r.Action = "" },
			"action is no label": func(r *rollback.Request) { r.Action = "a/b c" },
			"another cluster":    func(r *rollback.Request) { r.Target.Cluster = "prod" },
			"a path":             func(r *rollback.Request) { r.Target.Name = "../x" },
			"no bad revision":    func(r *rollback.Request) { r.Bad = "" },
			"bad is good":        func(r *rollback.Request) { r.Bad = r.Good },
			"healthy never":      func(r *rollback.Request) { r.Healthy = time.Time{} },
		} {
			r := s.request
			spoil(&r)
			before := s.requests
			if _, err := s.Undo(t.Context(), r); err == nil || s.requests != before {
				t.Errorf("%s: %v after %d requests", name, err, s.requests-before)
			}
		}
		r := s.request
		r.Target.Kind = "CronJob"
		_, err := s.Undo(t.Context(), r)
		wantRefusal(t, err, rollback.Unsupported, "CronJob")
	})
}

func TestInspectTellsAllThatStandsInTheWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		f, err := s.Inspect(t.Context(), s.request)
		if err != nil || len(f.Refusals) != 0 || len(f.Revisions) != 2 || len(f.Config) != 3 {
			t.Fatalf("facts %+v, %v", f, err)
		}
		s.helm()
		s.put(settings, object{"data": object{"level": "debug"}})
		s.edit(s.path, func(o object) { annotate(o, rollback.MigrationAnnotation, "yes") })
		s.deploy("cart:v3")
		f, err = s.Inspect(t.Context(), s.request)
		if err != nil {
			t.Fatal(err)
		}
		var codes []rollback.Code
		for _, r := range f.Refusals {
			codes = append(codes, r.Code)
		}
		want := []rollback.Code{
			rollback.Superseded, rollback.OwnedByHelm, rollback.Migration, rollback.ConfigChanged,
		}
		if len(codes) != len(want) || codes[0] != want[0] || codes[1] != want[1] || codes[2] != want[2] ||
			codes[3] != want[3] {
			t.Errorf("refusals %v, want %v", codes, want)
		}
		text, err := json.Marshal(f)
		if err != nil || strings.Contains(string(text), "c2VjcmV0") ||
			strings.Contains(string(text), canary) {
			t.Errorf("facts %s, %v", text, err)
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stage(t, fleet.Deployment)
		reg := prometheus.NewRegistry()
		for range 2 { // A cluster goes and comes back.
			e := s.executor(t, rollback.Options{Reg: reg})
			if _, err := e.Undo(t.Context(), s.request); err != nil {
				t.Fatal(err)
			}
			const name = "tocsin_rollback_actions_total"
			text := fmt.Sprintf("# HELP %[1]s Actions that were asked for, by what became of them.\n"+
				"# TYPE %[1]s counter\n", name)
			for _, verb := range []string{"abort", "pause", "resume", "undo"} {
				for _, result := range []string{"done", "failed", "refused", "unsettled"} {
					n := 0
					if verb == "undo" && result == "done" {
						n = 1
					}
					text += fmt.Sprintf("%s{cluster=%q,result=%q,verb=%q} %d\n", name, "test", result, verb, n)
				}
			}
			if err := testutil.GatherAndCompare(reg, strings.NewReader(text), name); err != nil {
				t.Error(err)
			}
			e.Close()
		}
	})
}

func TestTheDocumentationKnowsAllCodes(t *testing.T) {
	text, err := os.ReadFile("../../docs/rollback.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range rollback.Codes() {
		if !strings.Contains(string(text), "`"+string(code)+"`") {
			t.Errorf("docs/rollback.md does not explain %s", code)
		}
	}
}
