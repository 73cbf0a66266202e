package kube

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"tocsin/fleet"
)

var cart = fleet.Service{Cluster: "east", Namespace: "shop", Name: "cart"}

// appX selects the pods of template.
var appX = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}

// owned returns the metadata of an object that a controller made.
func owned(name, kind string, by types.UID, label, value string) metav1.ObjectMeta {
	yes := true
	m := meta(name)
	m.ManagedFields = nil
	m.Labels = map[string]string{"app": "x", label: value}
	m.OwnerReferences = []metav1.OwnerReference{{Kind: kind, UID: by, Controller: &yes}}
	return m
}

// replicaSet returns a ReplicaSet of cart as its controller writes it.
func replicaSet(
	hash, image string, number int, created, ready, available int32,
) *appsv1.ReplicaSet {
	set := &appsv1.ReplicaSet{
		ObjectMeta: owned("cart-"+hash, "Deployment", "uid-cart", "pod-template-hash", hash),
	}
	set.Annotations = map[string]string{"deployment.kubernetes.io/revision": fmt.Sprint(number)}
	set.Spec.Template = template(image)
	set.Spec.Template.Labels["pod-template-hash"] = hash
	set.Status = appsv1.ReplicaSetStatus{
		Replicas: created, ReadyReplicas: ready, AvailableReplicas: available,
	}
	return set
}

// revision returns a ControllerRevision as the controllers of StatefulSets and DaemonSets write it.
func revision(t *testing.T, owner, hash, image string, number int64) *appsv1.ControllerRevision {
	text := encode(t, map[string]any{"spec": map[string]any{"template": template(image)}})
	text = []byte(strings.Replace(string(text), `"template":{`, `"template":{"$patch":"replace",`, 1))
	label := "controller.kubernetes.io/hash"
	if owner == "agent" {
		label = "controller-revision-hash"
	}
	return &appsv1.ControllerRevision{
		ObjectMeta: owned(owner+"-"+hash, "", types.UID("uid-"+owner), label, hash),
		Data:       runtime.RawExtension{Raw: text}, Revision: number,
	}
}

// pod returns a pod whose container has run for a while.
func pod(
	name string, by types.UID, label, value string, running time.Duration, ready bool,
) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: owned(name, "", by, label, value)}
	at := metav1.NewTime(time.Now().Add(-running))
	p.Status.Phase, p.Status.StartTime = corev1.PodRunning, &at
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at}},
	}}
	condition := corev1.PodCondition{
		Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: at,
	}
	if ready {
		condition.Status = corev1.ConditionTrue
	}
	p.Status.Conditions = []corev1.PodCondition{condition}
	return p
}

// setPod returns a pod of a ReplicaSet of cart.
func setPod(hash, suffix string, running time.Duration, ready bool) *corev1.Pod {
	set := "cart-" + hash
	return pod(set+"-"+suffix, types.UID("uid-"+set), "pod-template-hash", hash, running, ready)
}

func hashOfImage(t *testing.T, image string) string {
	t.Helper()
	tmpl := template(image)
	hash, err := TemplateHash(&tmpl)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// look looks, which has to work.
func (b *bench) look(name string, kind fleet.Workload) Progress {
	b.t.Helper()
	service := fleet.Service{Cluster: "east", Namespace: "shop", Name: name}
	p, err := b.watcher.Look(b.t.Context(), service, kind)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (s *Side) names() string {
	var names []string
	for _, p := range s.Pods {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

// rolling returns cart in the middle of a rollout from v1 to v2.
func rolling() []metav1.Object {
	d := deployment("cart", "cart:v2")
	d.Spec.Selector = appX
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 4, UpdatedReplicas: 2}
	gone := setPod("57c9", "ggggg", time.Hour, true)
	gone.DeletionTimestamp, gone.Finalizers = &metav1.Time{Time: time.Now()}, []string{"x"}
	other := setPod("57c9", "zzzzz", time.Hour, true)
	other.OwnerReferences[0].UID = "uid-of-another-workload"
	over := setPod("6d84", "fffff", time.Hour, false)
	over.Status.Phase = corev1.PodFailed
	return []metav1.Object{
		d, replicaSet("aaaa", "cart:v0", 1, 0, 0, 0),
		replicaSet("57c9", "cart:v1", 2, 2, 2, 2), replicaSet("6d84", "cart:v2", 3, 2, 1, 0),
		setPod("57c9", "bbbbb", time.Hour, true), setPod("57c9", "ccccc", time.Hour, true), gone, other,
		setPod("6d84", "ddddd", time.Minute, true), setPod("6d84", "22222", time.Second, false), over,
	}
}

func TestLookAtADeployment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		objects := rolling()
		api.put(objects...)
		b := start(t, api, Options{})
		p := b.look("cart", fleet.Deployment)
		if p.Service != cart || p.Workload != fleet.Deployment || p.UID != "uid-cart" || p.Paused ||
			p.Strategy != RollingUpdate || p.Desired != 3 || !p.At.Equal(time.Now()) {
			t.Errorf("progress %+v", p)
		}
		if n := p.New; n.Hash != hashOfImage(t, "cart:v2") || n.Created != 2 || n.Ready != 1 ||
			n.Available != 0 || n.names() != "cart-6d84-22222 cart-6d84-ddddd" {
			t.Errorf("new side %+v", n)
		}
		if o := p.Old; o.Hash != hashOfImage(t, "cart:v1") || o.Created != 2 || o.Ready != 2 ||
			o.Available != 2 || o.names() != "cart-57c9-bbbbb cart-57c9-ccccc" {
			t.Errorf("old side %+v", o)
		}
		if newest := p.New.Pods[0]; newest.Ready || !newest.Started.Equal(p.At.Add(-3*time.Second)) {
			t.Errorf("newest pod %+v at %v", newest, p.At)
		}
		if p.Old.Match != "cart-57c9-[a-z0-9]{5}" || p.New.Match != "cart-6d84-[a-z0-9]{5}" {
			t.Errorf("names match %q and %q", p.Old.Match, p.New.Match)
		}

		// The rollout ends; a third template follows while the Deployment is paused.
		api.put(replicaSet("57c9", "cart:v1", 2, 0, 0, 0), replicaSet("6d84", "cart:v2", 3, 3, 3, 3))
		if p := b.look("cart", fleet.Deployment); p.Old.Created != 0 || len(p.Old.Pods) != 0 ||
			p.Old.Hash != hashOfImage(t, "cart:v1") || p.Old.Match == "" || p.New.Available != 3 {
			t.Errorf("at the end: %+v", p)
		}
		api.put(change(objects[0].(*appsv1.Deployment), func(d *appsv1.Deployment) {
			d.Spec.Paused = true
			d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType
			image("cart:v3")(d)
		}))
		p = b.look("cart", fleet.Deployment)
		if !p.Paused || p.Strategy != Recreate || p.Old.Created != 3 || p.New.Created != 0 ||
			p.New.Hash != hashOfImage(t, "cart:v3") || p.New.Match != "" ||
			p.Old.Hash != hashOfImage(t, "cart:v2") {
			t.Errorf("paused: %+v", p)
		}
	})
}

func TestARestartIsNoOtherSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		d := deployment("cart", "cart:v2")
		d.Spec.Selector = appX
		d.Spec.Template.Annotations = map[string]string{restartedAt: "now"}
		api.put(
			d, replicaSet("57c9", "cart:v1", 2, 1, 1, 1), replicaSet("6d84", "cart:v2", 3, 1, 1, 1),
			replicaSet("7777", "cart:v2", 4, 1, 1, 1), setPod("57c9", "bbbbb", time.Hour, true),
			setPod("6d84", "ddddd", time.Minute, true), setPod("7777", "fffff", time.Second, true),
		)
		p := start(t, api, Options{}).look("cart", fleet.Deployment)
		if p.New.names() != "cart-6d84-ddddd cart-7777-fffff" || p.New.Created != 2 ||
			p.New.Match != "(cart-6d84|cart-7777)-[a-z0-9]{5}" || p.Old.names() != "cart-57c9-bbbbb" {
			t.Errorf("sides %+v and %+v", p.New, p.Old)
		}
	})
}

func TestAnAnswerFromMemoryMayBeBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(rolling()...)
		api.change(func() { api.behind = map[string]string{"replicasets": "cart-6d84"} })
		p := start(t, api, Options{}).look("cart", fleet.Deployment)
		if p.New.Created != 2 || len(p.New.Pods) != 2 {
			t.Errorf("new side %+v", p.New)
		}
	})
}

func TestConditionsAreThoseOfTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		objects := rolling()
		d := objects[0].(*appsv1.Deployment)
		since := metav1.NewTime(time.Now().Add(-time.Minute).Truncate(time.Second))
		for _, c := range []appsv1.DeploymentCondition{
			{Type: "Available", Status: corev1.ConditionTrue, Reason: "MinimumReplicasAvailable"},
			{Type: "Progressing", Status: corev1.ConditionFalse, Reason: deadlineExceeded},
			{Type: "ReplicaFailure", Status: corev1.ConditionTrue, Reason: "FailedCreate"},
		} {
			c.LastTransitionTime, c.Message = since, "quota used up"
			d.Status.Conditions = append(d.Status.Conditions, c)
		}
		api.put(objects...)
		p := start(t, api, Options{}).look("cart", fleet.Deployment)
		if c := p.Conditions; len(c) != 2 || c[0].Reason != deadlineExceeded ||
			!c[0].Since.Equal(since.Time) || c[1].Reason != "FailedCreate" ||
			c[1].Message != "quota used up" {
			t.Errorf("conditions %+v", c)
		}
	})
}

func TestLookAtAStatefulSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		set := statefulSet("db", "db:v2")
		set.Spec.Selector = appX
		set.Status = appsv1.StatefulSetStatus{ObservedGeneration: 1, Replicas: 3, UpdatedReplicas: 1}
		part := int32(2)
		set.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: &part}
		member := func(n int, hash string, running time.Duration) *corev1.Pod {
			return pod(fmt.Sprint("db-", n), "uid-db", "controller-revision-hash", "db-"+hash, running, true)
		}
		api.put(
			set, revision(t, "db", "1a", "db:v1", 1), revision(t, "db", "2b", "db:v2", 2),
			member(0, "1a", time.Hour), member(1, "1a", time.Hour), member(2, "2b", time.Minute),
		)
		b := start(t, api, Options{})
		p := b.look("db", fleet.StatefulSet)
		if p.Strategy != Canary || !p.Paused || p.Weight != 33 || p.Desired != 3 {
			t.Errorf("partitioned: %+v", p)
		}
		if n := p.New; n.Hash != hashOfImage(t, "db:v2") || n.Created != 1 || n.Available != 1 ||
			n.names() != "db-2" || n.Match != "" {
			t.Errorf("new side %+v", n)
		}
		if o := p.Old; o.Hash != hashOfImage(t, "db:v1") || o.Created != 2 || o.Ready != 2 ||
			o.names() != "db-0 db-1" || o.Match != "" {
			t.Errorf("old side %+v", o)
		}

		set = set.DeepCopy()
		set.Status.UpdatedReplicas, set.Spec.UpdateStrategy.RollingUpdate = 3, nil
		set.Spec.MinReadySeconds = 30
		api.put(set, member(0, "2b", time.Second), member(1, "2b", time.Minute))
		p = b.look("db", fleet.StatefulSet)
		if p.Strategy != RollingUpdate || p.Paused || p.Old.Created != 0 || p.New.Ready != 3 ||
			p.New.Available != 2 || p.Old.Hash != hashOfImage(t, "db:v1") {
			t.Errorf("at the end: %+v", p)
		}
	})
}

func TestLookAtALargeDaemonSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		set := daemonSet("agent", "agent:v2")
		set.Spec.Selector = appX
		set.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType
		set.Status = appsv1.DaemonSetStatus{
			ObservedGeneration: 1, DesiredNumberScheduled: 1203,
			CurrentNumberScheduled: 1203, UpdatedNumberScheduled: 3,
		}
		api.put(set,
			revision(t, "agent", "1a", "agent:v1", 1), revision(t, "agent", "2b", "agent:v2", 2))
		for i := range 1203 {
			hash := "1a"
			if i < 3 {
				hash = "2b"
			}
			api.put(pod(fmt.Sprintf("agent-%05d", i), "uid-agent", "controller-revision-hash", hash,
				time.Hour, true))
		}
		p := start(t, api, Options{}).look("agent", fleet.DaemonSet)
		if p.Strategy != OnDelete || !p.Paused || p.Desired != 1203 || p.New.Created != 3 ||
			p.Old.Created != 1200 || p.Old.Available != 1200 || len(p.Old.Pods) != 500 {
			t.Errorf("%s, paused %v, desired %d, new %d, old %d of which %d told",
				p.Strategy, p.Paused, p.Desired, p.New.Created, p.Old.Created, len(p.Old.Pods))
		}
	})
}

// argoRollout returns a Rollout on its way from v1 to v2.
func argoRollout(status map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
		"metadata": map[string]any{
			"namespace": "shop", "name": "cart", "uid": "uid-cart", "generation": int64(7),
		},
		"spec": map[string]any{
			"replicas": int64(4), "selector": map[string]any{"matchLabels": map[string]any{"app": "x"}},
			"strategy": map[string]any{"canary": map[string]any{"steps": []any{
				map[string]any{"setWeight": int64(20)}, map[string]any{"pause": map[string]any{}},
			}}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": "x"}},
				"spec": map[string]any{"containers": []any{
					map[string]any{"name": "main", "image": "cart:v2"},
				}},
			},
		},
		"status": status,
	}}
}

func argoSet(hash, image string, number int, created int32) *appsv1.ReplicaSet {
	set := replicaSet(hash, image, number, created, created, created)
	set.Labels = map[string]string{"app": "x", "rollouts-pod-template-hash": hash}
	set.Annotations = map[string]string{"rollout.argoproj.io/revision": fmt.Sprint(number)}
	delete(set.Spec.Template.Labels, "pod-template-hash")
	set.Spec.Template.Labels["rollouts-pod-template-hash"] = hash
	return set
}

func argoPod(hash, suffix string) *corev1.Pod {
	set := "cart-" + hash
	const label = "rollouts-pod-template-hash"
	return pod(set+"-"+suffix, types.UID("uid-"+set), label, hash, time.Hour, true)
}

func TestLookAtAnArgoRollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		status := map[string]any{
			"observedGeneration": "7", "currentPodHash": "6d84", "stableRS": "57c9",
			"pauseConditions": []any{map[string]any{"reason": "CanaryPauseStep"}},
			"canary": map[string]any{"weights": map[string]any{
				"canary": map[string]any{"weight": int64(20)},
			}},
			"conditions": []any{
				map[string]any{
					"type": "Available", "status": "False", "reason": "AvailableReason",
					"message": "too few", "lastTransitionTime": "2026-01-02T03:04:05Z",
				},
				map[string]any{"type": "Progressing", "status": "False", "reason": "RolloutPaused"},
			},
		}
		o := argoRollout(status)
		api.put(
			o, argoSet("57c9", "cart:v1", 1, 3), argoSet("6d84", "cart:v2", 2, 1),
			argoPod("57c9", "bbbbb"), argoPod("57c9", "ccccc"), argoPod("57c9", "ddddd"),
			argoPod("6d84", "fffff"),
		)
		b := start(t, api, Options{})
		p := b.look("cart", Rollout)
		if p.Strategy != Canary || !p.Paused || p.Weight != 20 || p.Desired != 4 || p.Aborted {
			t.Errorf("progress %+v", p)
		}
		if p.New.Hash != hashOfImage(t, "cart:v2") || p.New.names() != "cart-6d84-fffff" ||
			p.Old.Hash != hashOfImage(t, "cart:v1") || p.Old.Created != 3 || len(p.Old.Pods) != 3 ||
			p.Old.Match != "cart-57c9-[a-z0-9]{5}" {
			t.Errorf("sides %+v and %+v", p.New, p.Old)
		}
		if c := p.Conditions; len(c) != 1 || c[0].Reason != unavailable ||
			c[0].Since.Unix() != 1767323045 {
			t.Errorf("conditions %+v", c)
		}

		delete(status, "canary")
		status["abort"] = true
		api.put(argoRollout(status))
		if p := b.look("cart", Rollout); p.Weight != 25 || !p.Aborted {
			t.Errorf("without a router: %+v", p)
		}
		status["observedGeneration"] = "6"
		api.put(argoRollout(status))
		if _, err := b.watcher.Look(t.Context(), cart, Rollout); !errors.Is(err, ErrUnobserved) {
			t.Errorf("before its controller has seen it: %v", err)
		}
	})
}

func TestLooksThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(rolling()...)
		idle, err := New(Options{Cluster: "east", Config: api.config(), Report: func(fleet.Change) {}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := idle.Look(t.Context(), cart, fleet.Deployment); !errors.Is(err, errNotConnected) {
			t.Errorf("before Run: %v", err)
		}
		b := start(t, api, Options{})
		gone := cart
		gone.Name = "nobody"
		for _, kind := range []fleet.Workload{
			fleet.Deployment, fleet.StatefulSet, fleet.DaemonSet, Rollout,
		} {
			if _, err := b.watcher.Look(t.Context(), gone, kind); !errors.Is(err, ErrGone) {
				t.Errorf("%s that is not there: %v", kind, err)
			}
		}
		if _, err := b.watcher.Look(t.Context(), cart, "Job"); !errors.Is(err, errNoWorkload) {
			t.Errorf("a Job: %v", err)
		}
		elsewhere := cart
		elsewhere.Cluster = "west"
		if _, err := b.watcher.Look(t.Context(), elsewhere, fleet.Deployment); err == nil {
			t.Error("a service of another cluster was found")
		}
		api.change(func() {
			api.fail = func(r *http.Request) int {
				if strings.HasSuffix(r.URL.Path, "/pods") {
					return http.StatusForbidden
				}
				return 0
			}
		})
		_, err = b.watcher.Look(t.Context(), cart, fleet.Deployment)
		rule := `{apiGroups: [""], resources: ["pods"], verbs: [list]}`
		if err == nil || !strings.Contains(err.Error(), rule) ||
			!strings.Contains(err.Error(), cart.String()) {
			t.Errorf("without the right: %v", err)
		}
		for result, want := range map[string]float64{
			lookSeen: 0, lookGone: 4, lookRefused: 1, lookFailed: 2, lookUnobserved: 0,
		} {
			if n := testutil.ToFloat64(b.watcher.metrics.looks.WithLabelValues(result)); n != want {
				t.Errorf("%v looks %s, want %v", n, result, want)
			}
		}
		if s := b.watcher.Status(); s.State != Fresh || b.watcher.health.failing.Load() {
			t.Errorf("the watches suffer from what a look is refused: %+v", s)
		}
	})
}

func TestLooksAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(rolling()...)
		b := start(t, api, Options{})
		begin := time.Now()
		const looks = 100 // Of four requests each.
		for range looks {
			b.look("cart", fleet.Deployment)
		}
		if took := time.Since(begin); took < (4*looks-lookBurst)*time.Second/lookQPS {
			t.Errorf("%d looks took %v", looks, took)
		}

		api.change(func() { api.fail = func(*http.Request) int { return hang } })
		begin = time.Now()
		if _, err := b.watcher.Look(t.Context(), cart, fleet.Deployment); err == nil {
			t.Error("a look at a server that says nothing came to its end")
		}
		if took := time.Since(begin); took > lookTimeout {
			t.Errorf("it took %v", took)
		}
	})
}

func TestNamesThatTellTheirSide(t *testing.T) {
	long := strings.Repeat("x", 50)
	for _, tc := range []struct {
		name string
		sets []string
		want string
	}{
		{name: "one", sets: []string{"cart-57c9"}, want: "cart-57c9-[a-z0-9]{5}"},
		{name: "two", sets: []string{"cart-9", "cart-5"}, want: "(cart-5|cart-9)-[a-z0-9]{5}"},
		{name: "with a dot", sets: []string{"a.b-5"}, want: `a\.b-5-[a-z0-9]{5}`},
		{name: "just not cut", sets: []string{long + "-123456"}, want: long + "-123456-[a-z0-9]{5}"},
		{name: "cut", sets: []string{"cart-5", long + "-1234567"}, want: ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var sets []former
			for _, name := range tc.sets {
				sets = append(sets, former{name: name})
			}
			got := match(sets)
			if got != tc.want {
				t.Fatalf("match() = %q, want %q", got, tc.want)
			}
			re := regexp.MustCompile("^(?:" + got + ")$")
			for _, name := range tc.sets {
				if got != "" && !re.MatchString(name+"-abc12") || re.MatchString(name+"-abc12-abc12") {
					t.Errorf("%q does not tell the pods of %s from others", got, name)
				}
			}
		})
	}
}

func TestWhatPodsTell(t *testing.T) {
	at := metav1.NewTime(time.Unix(1_700_000_000, 0))
	later := metav1.NewTime(at.Add(time.Minute))
	waits := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	runs := func(since metav1.Time) corev1.ContainerState {
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: since}}
	}
	ended := func(reason string, code int32, when metav1.Time) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			Reason: reason, ExitCode: code, FinishedAt: when,
		}}
	}
	for _, tc := range []struct {
		name       string
		init, main []corev1.ContainerStatus
		want       Pod
	}{
		{name: "nothing", want: Pod{Started: at.UTC()}},
		{
			name: "the newest start", want: Pod{Started: later.UTC()},
			main: []corev1.ContainerStatus{{State: runs(later)}, {State: runs(at)}},
		},
		{
			name: "an init container fails", want: Pod{
				Started: at.UTC(), Waiting: "CrashLoopBackOff", Terminated: "Error",
			},
			init: []corev1.ContainerStatus{
				{State: ended("Completed", 0, later)},
				{State: waits("CrashLoopBackOff"), LastTerminationState: ended("Error", 1, at)},
			},
			main: []corev1.ContainerStatus{{State: waits("PodInitializing")}},
		},
		{
			name: "it waits its turn", want: Pod{Started: at.UTC(), Waiting: "ContainerCreating"},
			main: []corev1.ContainerStatus{{State: waits("ContainerCreating")}},
		},
		{
			name: "the first that cannot start",
			want: Pod{Started: at.UTC(), Waiting: "ImagePullBackOff"},
			main: []corev1.ContainerStatus{
				{State: waits("ContainerCreating")}, {State: waits("ImagePullBackOff")},
			},
		},
		{
			name: "memory before what came of it",
			want: Pod{Started: later.UTC(), Terminated: "OOMKilled"},
			main: []corev1.ContainerStatus{
				{State: runs(later), LastTerminationState: ended("OOMKilled", 137, at)},
				{State: ended("Error", 1, later)},
			},
		},
		{
			name: "the newer end", want: Pod{Started: at.UTC(), Terminated: "ContainerCannotRun"},
			main: []corev1.ContainerStatus{{
				State:                ended("ContainerCannotRun", 127, later),
				LastTerminationState: ended("Error", 1, at),
			}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &corev1.Pod{Status: corev1.PodStatus{
				StartTime: &at, InitContainerStatuses: tc.init, ContainerStatuses: tc.main,
			}}
			got := Pod{
				Started: started(p), Waiting: waiting(&p.Status), Terminated: terminated(&p.Status),
			}
			if got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestStrategiesOfArgoRollouts(t *testing.T) {
	status := map[string]any{
		"observedGeneration": "7", "currentPodHash": "6d84",
		"blueGreen": map[string]any{"activeSelector": "6d84"},
	}
	blueGreen := argoRollout(status)
	plain := argoRollout(status)
	spec := func(o *unstructured.Unstructured, strategy map[string]any) {
		if err := unstructured.SetNestedMap(o.Object, strategy, "spec", "strategy"); err != nil {
			t.Fatal(err)
		}
	}
	spec(blueGreen, map[string]any{"blueGreen": map[string]any{"activeService": "cart"}})
	spec(plain, map[string]any{"canary": map[string]any{}})
	s, err := rolloutSubject(blueGreen)
	if err != nil || s.progress.Strategy != Canary || s.progress.Weight != 100 {
		t.Errorf("blue-green: %+v, %v", s, err)
	}
	s, err = rolloutSubject(plain)
	if err != nil || s.progress.Strategy != RollingUpdate || len(s.progress.Conditions) > 0 {
		t.Errorf("a canary without steps: %+v, %v", s, err)
	}
}
