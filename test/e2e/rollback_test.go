//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"tocsin/collectors/kube"
	"tocsin/fleet"
	"tocsin/remediation/rollback"
	"tocsin/test/testbed"
)

type object = map[string]any

var resources = map[fleet.Workload]schema.GroupVersionResource{
	fleet.Deployment:  {Group: "apps", Version: "v1", Resource: "deployments"},
	fleet.StatefulSet: {Group: "apps", Version: "v1", Resource: "statefulsets"},
	fleet.DaemonSet:   {Group: "apps", Version: "v1", Resource: "daemonsets"},
	rollback.Rollout:  {Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"},
}

var applications = schema.GroupVersionResource{
	Group: "argoproj.io", Version: "v1alpha1", Resource: "applications",
}

// bed is a cluster that several stories share, each in its own namespace.
type bed struct {
	*testbed.Cluster
	config *rest.Config
	client dynamic.Interface
}

func newBed(t *testing.T, users ...string) *bed {
	t.Helper()
	c := testbed.StartCluster(t, testbed.ClusterOptions{Name: "rollback", Users: users})
	config, err := kube.Config(c.Kubeconfig, "")
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = -1, -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &bed{Cluster: c, config: config, client: client}
}

// story is a workload, cart, that ran v1 well and then got a bad release.
type story struct {
	*bed
	*rollback.Executor
	t         *testing.T
	kind      fleet.Workload
	namespace string
	begin     time.Time
	wire      *wire
	request   rollback.Request
}

func (b *bed) story(t *testing.T, kind fleet.Workload) *story {
	t.Helper()
	name := strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
	s := &story{
		bed: b, t: t, kind: kind, namespace: strings.ReplaceAll(name, "_", "-"),
		begin: time.Now(), wire: &wire{},
	}
	s.create(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, "", object{
		"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": s.namespace},
	})
	s.Executor = s.executor(s.wire, b.config)
	return s
}

// executor returns one that sees the cluster through a wire.
func (s *story) executor(w *wire, config *rest.Config) *rollback.Executor {
	s.t.Helper()
	config = rest.CopyConfig(config)
	config.Wrap(w.wrap)
	e, err := rollback.New(rollback.Options{
		Cluster: s.Name, Config: config, Timeout: 5 * time.Second,
		Poll: 100 * time.Millisecond, Patience: time.Second, Attempts: 30,
		Note: func(_ context.Context, step rollback.Step) error {
			s.log("%s: %s %s", step.Verb, step.Stage, step.Detail)
			return nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// log writes a line of the timeline.
func (s *story) log(format string, args ...any) {
	s.t.Logf("%6.2f s  %s", time.Since(s.begin).Seconds(), fmt.Sprintf(format, args...))
}

// on returns the client of the story's kind of workload.
func (s *story) on() dynamic.ResourceInterface {
	return s.client.Resource(resources[s.kind]).Namespace(s.namespace)
}

func (s *story) create(resource schema.GroupVersionResource, namespace string, o object) {
	s.t.Helper()
	_, err := s.client.Resource(resource).Namespace(namespace).Create(s.t.Context(),
		&unstructured.Unstructured{Object: o}, metav1.CreateOptions{FieldManager: "story"})
	if err != nil {
		s.t.Fatalf("create %v: %v", o["kind"], err)
	}
}

func container(image string) []any {
	return []any{object{"name": "main", "image": image}}
}

func podSpec(image string) object {
	return object{"terminationGracePeriodSeconds": int64(0), "containers": container(image)}
}

// ofImage is a patch that changes the image of a workload.
func ofImage(image string) []byte {
	containers := object{"containers": container(image)}
	body, err := json.Marshal(object{"spec": object{"template": object{"spec": containers}}})
	if err != nil {
		panic(err) // It is made of maps and strings.
	}
	return body
}

// healthy creates cart as v1, lets change alter it first, and waits until it runs.
func (s *story) healthy(change ...func(spec object)) {
	s.t.Helper()
	spec := object{
		"replicas": int64(3), "selector": object{"matchLabels": object{"app": "cart"}},
		"template": object{
			"metadata": object{"labels": object{"app": "cart"}},
			"spec":     podSpec("cart:v1"),
		},
	}
	if s.kind == fleet.DaemonSet {
		delete(spec, "replicas")
	}
	for _, f := range change {
		f(spec)
	}
	s.create(resources[s.kind], s.namespace, object{
		"apiVersion": resources[s.kind].GroupVersion().String(), "kind": string(s.kind), "spec": spec,
		"metadata": object{"name": "cart"},
	})
	s.ran()
}

// ran waits until v1 runs and takes note of it.
func (s *story) ran() {
	s.t.Helper()
	s.rolled()
	s.request = rollback.Request{
		Action: "act-" + s.namespace, Good: s.hash(), Healthy: time.Now(),
		Target: rollback.Target{
			Cluster: s.Name, Kind: s.kind, Namespace: s.namespace, Name: "cart",
			UID: string(s.get().GetUID()),
		},
	}
	s.log("v1 runs")
	s.nextSecond()
}

// nextSecond waits for the clock: the API server's record of who wrote what is as fine as a second,
// and stories are not to depend on which half of it they fall into.
func (s *story) nextSecond() {
	s.t.Helper()
	now := time.Now().Unix()
	testbed.Eventually(s.t, soon, "the next second", func() error {
		if time.Now().Unix() == now {
			return errors.New("not yet")
		}
		return nil
	})
}

// release rolls an image out and waits until pods of it are there.
func (s *story) release(image string) {
	s.t.Helper()
	s.deploy(image)
	s.request.Bad = s.hash()
	testbed.Eventually(s.t, soon, "pods of "+image, func() error {
		pods, err := s.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).
			Namespace(s.namespace).List(s.t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			if imageOf(&p, "spec") == image {
				return nil
			}
		}
		return errors.New("there is none")
	})
	s.log("%s rolls out", image)
}

// deploy changes the image as a user would, who does not look at versions.
func (s *story) deploy(image string) {
	s.t.Helper()
	kind := types.StrategicMergePatchType
	if s.kind == rollback.Rollout {
		kind = types.MergePatchType
	}
	_, err := s.on().Patch(s.t.Context(), "cart", kind, ofImage(image),
		metav1.PatchOptions{FieldManager: "user"})
	if err != nil {
		s.t.Errorf("deploy %s: %v", image, err)
	}
}

// patch changes cart by a merge patch.
func (s *story) patch(change object, subresources ...string) {
	s.t.Helper()
	body, _ := json.Marshal(change)
	_, err := s.on().Patch(s.t.Context(), "cart", types.MergePatchType, body,
		metav1.PatchOptions{FieldManager: "user"}, subresources...)
	if err != nil {
		s.t.Errorf("patch cart: %v", err)
	}
}

func (s *story) get() *unstructured.Unstructured {
	s.t.Helper()
	o, err := s.on().Get(s.t.Context(), "cart", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

func (s *story) hash() string {
	s.t.Helper()
	hash, err := hashOf(s.get())
	if err != nil {
		s.t.Fatal(err)
	}
	return hash
}

// hashOf returns the hash of a workload's template.
func hashOf(o *unstructured.Unstructured) (string, error) {
	template, _, _ := unstructured.NestedMap(o.Object, "spec", "template")
	var pod corev1.PodTemplateSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &pod); err != nil {
		return "", err
	}
	return kube.TemplateHash(&pod)
}

func imageOf(o *unstructured.Unstructured, path ...string) string {
	containers, _, _ := unstructured.NestedSlice(o.Object, append(path, "containers")...)
	if len(containers) == 0 {
		return ""
	}
	return containers[0].(object)["image"].(string)
}

func (s *story) rolled() {
	if s.kind != rollback.Rollout {
		workload := strings.ToLower(string(s.kind)) + "/cart"
		s.Kubectl("-n", s.namespace, "rollout", "status", workload, "--timeout=120s")
	}
}

// undo expects success and the good image, then watches the rollout to its end.
func (s *story) undo() *rollback.Effect {
	s.t.Helper()
	effect, err := s.Undo(s.t.Context(), s.request)
	if err != nil {
		s.t.Fatal(err)
	}
	s.want("cart:v1")
	s.verify(rollback.Complete, "")
	return effect
}

func (s *story) verify(want rollback.Result, word string) *rollback.Outcome {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), soon)
	defer cancel()
	o, err := s.Verify(ctx, s.request)
	if err != nil || o.Result != want || !strings.Contains(o.Reason, word) {
		s.t.Fatalf("outcome %+v, %v; want %s with %q", o, err, want, word)
	}
	return o
}

// want checks which image cart runs.
func (s *story) want(image string) {
	s.t.Helper()
	if got := imageOf(s.get(), "spec", "template", "spec"); got != image {
		s.t.Errorf("cart runs %s, want %s", got, image)
	}
}

// refused expects an undo to be refused, and nothing to be written.
func (s *story) refused(code rollback.Code, word string) {
	s.t.Helper()
	_, err := s.Undo(s.t.Context(), s.request)
	var r *rollback.Refusal
	if !errors.As(err, &r) || r.Code != code || !strings.Contains(r.Error(), word) {
		s.t.Fatalf("got %v, want a refusal %s with %q", err, code, word)
	}
	if n := s.wire.count(); n != 0 {
		s.t.Errorf("tocsin wrote %d times all the same", n)
	}
}

// wire is the network between tocsin and an API server.
type wire struct {
	next http.RoundTripper

	mu     sync.Mutex // Guards what follows.
	writes int        // Of workloads, that the API server accepted.
	before func()     // Called once before the next write.
	after  func()     // Called once after the next write was accepted; its reply is lost.
	lose   int        // So many replies to writes.
}

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = next
	return w
}

// RoundTrip hands a request on.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if !isWrite(r) {
		return w.next.RoundTrip(r)
	}
	w.mu.Lock()
	before := w.before
	w.before = nil
	w.mu.Unlock()
	if before != nil {
		before()
	}
	resp, err := w.next.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.HasSuffix(r.URL.Path, "/cart") {
		w.writes++
	}
	after := w.after
	w.after = nil
	if after != nil {
		after()
	}
	if w.lose > 0 || after != nil {
		w.lose = max(0, w.lose-1)
		_ = resp.Body.Close()
		return nil, errors.New("the reply was lost")
	}
	return resp, nil
}

// isWrite says whether a request changes more than the record of who owns which fields.
func isWrite(r *http.Request) bool {
	if r.Method != http.MethodPatch || r.URL.Query().Get("dryRun") != "" {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return !bytes.Contains(body, []byte("/metadata/managedFields/"))
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes
}

// TestRollbacks plays what may happen around an undo, on one control plane.
func TestRollbacks(t *testing.T) {
	b := newBed(t, "remediator")
	b.definitions(t)
	t.Run("stories", func(t *testing.T) {
		for _, tc := range []struct {
			name string
			kind fleet.Workload
			play func(s *story)
		}{
			{"deployment crashes", fleet.Deployment, undone},
			{"daemonset crashes", fleet.DaemonSet, undone},
			{"statefulset is stuck", fleet.StatefulSet, stuck},
			{"paused", fleet.Deployment, paused},
			{"recreate", fleet.Deployment, recreate},
			{"rivals", fleet.Deployment, rivals},
			{"user deploys", fleet.Deployment, userDeploys},
			{"user undoes", fleet.Deployment, userUndoes},
			{"autoscaler scales", fleet.Deployment, autoscaler},
			{"history gone", fleet.Deployment, historyGone},
			{"config changed", fleet.Deployment, configChanged},
			{"quota", fleet.Deployment, quota},
			{"policy refuses", fleet.Deployment, policyRefuses},
			{"rights", fleet.StatefulSet, rights},
			{"helm", fleet.Deployment, helmOwned},
			{"reconciler unknown", fleet.Deployment, reconcilerUnknown},
			{"reconciler suspended", fleet.Deployment, reconcilerSuspended},
			{"operator", fleet.StatefulSet, operator},
			{"argo rollout", rollback.Rollout, argoRollout},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				tc.play(b.story(t, tc.kind))
			})
		}
	})
	t.Run("two hundred nodes", func(t *testing.T) { twoHundredNodes(b.story(t, fleet.DaemonSet)) })
	t.Run("api server dies", func(t *testing.T) { apiServerDies(b.story(t, fleet.Deployment)) })
}

// definitions teaches the API server the kinds of Argo.
func (b *bed) definitions(t *testing.T) {
	t.Helper()
	for kind, plural := range map[string]string{"Application": "applications", "Rollout": "rollouts"} {
		b.Apply(object{
			"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": object{"name": plural + ".argoproj.io"},
			"spec": object{
				"group": "argoproj.io", "scope": "Namespaced",
				"names": object{"kind": kind, "plural": plural, "singular": strings.ToLower(kind)},
				"versions": []any{object{
					"name": "v1alpha1", "served": true, "storage": true,
					"subresources": object{"status": object{}},
					"schema": object{"openAPIV3Schema": object{
						"type": "object", "x-kubernetes-preserve-unknown-fields": true,
					}},
				}},
			},
		})
		b.Kubectl("wait", "--for=condition=Established", "crd/"+plural+".argoproj.io", "--timeout=60s")
	}
	b.Kubectl("create", "namespace", "argocd")
}

func undone(s *story) {
	s.healthy()
	s.release("cart:bad")
	s.undo()
	again, err := s.Undo(s.t.Context(), s.request)
	if err != nil || again.State != rollback.Already || s.wire.count() != 1 {
		s.t.Errorf("asked for again: %+v, %v, %d writes", again, err, s.wire.count())
	}
}

func stuck(s *story) {
	s.healthy()
	s.release("cart:bad")
	if _, err := s.Undo(s.t.Context(), s.request); err != nil {
		s.t.Fatal(err)
	}
	o := s.verify(rollback.Complete, "")
	s.log("deleted %v", o.Deleted)
	if len(o.Deleted) != 1 || o.Deleted[0] != "cart-2" {
		s.t.Errorf("deleted %v, want the broken pod", o.Deleted)
	}
}

func paused(s *story) {
	s.healthy()
	s.release("cart:bad")
	hold := s.request
	hold.Action += "-pause"
	if _, err := s.Pause(s.t.Context(), hold); err != nil {
		s.t.Fatal(err)
	}
	if effect := s.undo(); !effect.Resumed {
		s.t.Errorf("effect %+v", effect)
	}
}

func recreate(s *story) {
	s.healthy(func(spec object) { spec["strategy"] = object{"type": "Recreate"} })
	s.release("cart:bad")
	s.undo()
}

func rivals(s *story) {
	s.healthy()
	s.release("cart:bad")
	wires := make([]*wire, 8)
	var wg sync.WaitGroup
	for i := range wires {
		wires[i] = &wire{lose: 1}
		e := s.executor(wires[i], s.config)
		wg.Go(func() {
			if _, err := e.Undo(s.t.Context(), s.request); err != nil {
				s.t.Error(err)
			}
		})
	}
	wg.Wait()
	total := 0
	for _, w := range wires {
		total += w.count()
	}
	s.want("cart:v1")
	if g := s.get().GetGeneration(); total != 1 || g != 3 {
		s.t.Errorf("%d writes, generation %d", total, g)
	}
}

func userDeploys(s *story) {
	s.healthy()
	s.release("cart:bad")
	s.wire.before = func() { s.deploy("cart:v3") }
	s.refused(rollback.Superseded, "user")
	s.want("cart:v3")
}

func userUndoes(s *story) {
	s.healthy()
	s.release("cart:bad")
	s.nextSecond()
	s.wire.before = func() { s.Kubectl("-n", s.namespace, "rollout", "undo", "deployment/cart") }
	s.refused(rollback.Undone, "kubectl")
	s.want("cart:v1")
}

func autoscaler(s *story) {
	s.healthy()
	s.release("cart:bad")
	s.wire.before = func() { s.Kubectl("-n", s.namespace, "scale", "deployment/cart", "--replicas=5") }
	s.undo()
	if n, _, _ := unstructured.NestedInt64(s.get().Object, "spec", "replicas"); n != 5 {
		s.t.Errorf("%d replicas, the autoscaler wants 5", n)
	}
}

func historyGone(s *story) {
	s.healthy(func(spec object) { spec["revisionHistoryLimit"] = int64(0) })
	s.release("cart:v2")
	s.rolled()
	testbed.Eventually(s.t, soon, "an empty history", func() error {
		f, err := s.Inspect(s.t.Context(), s.request)
		if err == nil && len(f.Revisions) > 1 {
			err = fmt.Errorf("%d revisions", len(f.Revisions))
		}
		return err
	})
	s.refused(rollback.HistoryGone, "revisionHistoryLimit")
}

func configChanged(s *story) {
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	s.create(configMaps, s.namespace, object{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": object{"name": "settings"},
		"data": object{"level": "info"},
	})
	s.healthy(func(spec object) {
		pod := spec["template"].(object)["spec"].(object)
		settings := object{"configMapRef": object{"name": "settings"}}
		pod["containers"].([]any)[0].(object)["envFrom"] = []any{settings}
	})
	s.release("cart:v2")
	f, err := s.Inspect(s.t.Context(), s.request)
	if err != nil {
		s.t.Fatal(err)
	}
	marks := f.Marks()
	s.Kubectl("-n", s.namespace, "label", "configmap/settings", "chart=2")
	s.request.Marks = marks
	s.request.DryRun = true
	if _, err := s.Undo(s.t.Context(), s.request); err != nil {
		s.t.Errorf("a label is no content: %v", err)
	}
	s.request.DryRun = false
	s.Kubectl("-n", s.namespace, "patch", "configmap/settings", "-p", `{"data":{"level":"debug"}}`)
	s.refused(rollback.ConfigChanged, "ConfigMap/settings")
	s.request.Marks = nil
	s.refused(rollback.ConfigChanged, "kubectl")
	s.want("cart:v2")
}

func quota(s *story) {
	s.healthy(func(spec object) { spec["progressDeadlineSeconds"] = int64(6) })
	s.release("cart:v2")
	s.rolled()
	s.Kubectl("-n", s.namespace, "create", "quota", "small", "--hard=pods=3")
	testbed.Eventually(s.t, soon, "a quota that counts", func() error {
		used := s.Kubectl("-n", s.namespace, "get", "quota", "small", "-o", "jsonpath={.status.used}")
		if !strings.Contains(used, "3") {
			return errors.New("it counts no pods yet")
		}
		return nil
	})
	if _, err := s.Undo(s.t.Context(), s.request); err != nil {
		s.t.Fatal(err) // Its template is within the quota; its pods are not.
	}
	s.verify(rollback.Failed, "exceeded quota")
}

func policyRefuses(s *story) {
	s.healthy()
	s.release("cart:bad")
	match := object{
		"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": s.namespace}},
		"resourceRules": []any{object{
			"apiGroups": []string{"apps"}, "apiVersions": []string{"v1"}, "operations": []string{"UPDATE"},
			"resources": []string{"deployments"},
		}},
	}
	s.Apply(object{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
		"metadata": object{"name": "friday"},
		"spec": object{
			"matchConstraints": match,
			"validations": []any{object{
				"expression": "!('tocsin/action' in object.metadata.?annotations.orValue({}))",
				"message":    "not on a Friday",
			}},
		},
	})
	s.Apply(object{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
		"metadata": object{"name": "friday"},
		"spec":     object{"policyName": "friday", "validationActions": []string{"Deny"}},
	})
	dry := s.request
	dry.DryRun = true
	testbed.Eventually(s.t, soon, "a policy in force", func() error {
		if _, err := s.Undo(s.t.Context(), dry); err != nil {
			return nil
		}
		return errors.New("it lets the write pass")
	})
	s.refused(rollback.Admission, "not on a Friday")
	s.want("cart:bad")
}

// rights are granted one by one, as the refusals name them.
func rights(s *story) {
	s.healthy()
	s.release("cart:bad")
	config, err := kube.Config(s.KubeconfigOf("remediator"), "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.Executor = s.executor(s.wire, config)
	granted := 0
	for ; granted < 20; granted++ {
		_, err := s.Undo(s.t.Context(), s.request)
		var r *rollback.Refusal
		if !errors.As(err, &r) {
			if err != nil {
				s.t.Fatal(err)
			}
			break
		}
		if r.Code != rollback.Forbidden {
			s.t.Fatalf("refused as %s: %v", r.Code, r)
		}
		rule := r.Next[strings.Index(r.Next, "{"):strings.LastIndex(r.Next, "}")]
		resource := between(rule, "resources: [", "]")
		if group := between(rule, `apiGroups: ["`, `"`); group != "" {
			resource += "." + group
		}
		verb := between(rule, "verbs: [", "]")
		s.log("granted: %s %s", verb, resource)
		name := fmt.Sprintf("rule-%d", granted)
		s.Kubectl("-n", s.namespace, "create", "role", name, "--verb="+verb, "--resource="+resource)
		s.Kubectl("-n", s.namespace, "create", "rolebinding", name, "--role="+name, "--user=remediator")
	}
	if granted < 4 || granted == 20 {
		s.t.Errorf("%d rules were missing", granted)
	}
	s.want("cart:v1")
	s.verify(rollback.Complete, "")
}

func between(text, begin, end string) string {
	_, rest, _ := strings.Cut(text, begin)
	inner, _, _ := strings.Cut(rest, end)
	return inner
}

// chart is what helm installs.
const chart = `apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  replicas: 2
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: "{{ .Values.image }}"}]
`

// helm runs the real program.
func (s *story) helm(args ...string) {
	s.t.Helper()
	program := filepath.Join(testbed.Tools(s.t, "k8s"), "helm")
	cmd := exec.CommandContext(s.t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig, "HOME="+s.t.TempDir(),
		"HELM_NAMESPACE="+s.namespace)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("helm %v: %v\n%s", args, err, out)
	}
}

func helmOwned(s *story) {
	dir := s.t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "templates/cart.yaml": chart,
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	s.helm("install", "web", dir, "--set", "image=cart:v1")
	s.ran()
	s.helm("upgrade", "web", dir, "--set", "image=cart:bad")
	s.request.Bad = s.hash()
	s.refused(rollback.OwnedByHelm, "helm rollback web")
	s.request.Owners = map[kube.OwnerKind]rollback.Way{kube.HelmRelease: rollback.Drift}
	release := "secret/sh.helm.release.v1.web.v2"
	s.Kubectl("-n", s.namespace, "label", "--overwrite", release, "status=pending-upgrade")
	s.refused(rollback.HelmPending, "pending-upgrade") // As while helm runs, or after it was killed.
	s.Kubectl("-n", s.namespace, "label", "--overwrite", release, "status=deployed")
	if effect := s.undo(); !effect.Drift || len(effect.Warnings) > 0 {
		s.t.Errorf("effect %+v", effect)
	}
	s.helm("upgrade", "web", dir, "--set", "image=cart:v3")
	s.want("cart:v3")
}

// reconcile brings an image back whenever cart runs another one, as Argo CD does, until the story
// ends or the application says that it is to be skipped.
func (s *story) reconcile(image, application string) {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	s.t.Cleanup(func() { cancel(); <-ended })
	applications := s.client.Resource(applications).Namespace("argocd")
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if application != "" {
				app, err := applications.Get(ctx, application, metav1.GetOptions{})
				if err != nil || app.GetAnnotations()["argocd.argoproj.io/skip-reconcile"] == "true" {
					continue
				}
			}
			o, err := s.on().Get(ctx, "cart", metav1.GetOptions{})
			if err == nil && imageOf(o, "spec", "template", "spec") != image {
				_, _ = s.on().Patch(ctx, "cart", types.StrategicMergePatchType, ofImage(image),
					metav1.PatchOptions{FieldManager: "gitops"})
			}
		}
	}()
}

func reconcilerUnknown(s *story) {
	s.healthy()
	s.release("cart:bad")
	s.nextSecond()
	s.reconcile("cart:bad", "")
	if _, err := s.Undo(s.t.Context(), s.request); err != nil {
		s.t.Fatal(err)
	}
	s.verify(rollback.Reverted, "gitops")
	again, err := s.Undo(s.t.Context(), s.request)
	if err != nil || again.State != rollback.Already || s.wire.count() != 1 {
		s.t.Errorf("tocsin fights: %+v, %v, %d writes", again, err, s.wire.count())
	}
}

func reconcilerSuspended(s *story) {
	s.healthy()
	s.patch(object{"metadata": object{"annotations": object{
		"argocd.argoproj.io/tracking-id": "web:apps/Deployment:" + s.namespace + "/cart",
	}}})
	s.create(applications, "argocd", object{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": object{"name": "web"},
	})
	s.release("cart:bad")
	s.reconcile("cart:bad", "web")
	s.refused(rollback.OwnedByArgoCD, "git")
	s.request.Owners = map[kube.OwnerKind]rollback.Way{kube.ArgoApplication: rollback.Suspend}
	effect := s.undo()
	holds, err := s.Holds(s.t.Context())
	if err != nil || len(holds) != 1 || holds[0] != *effect.Hold {
		s.t.Fatalf("holds %+v, %v", holds, err)
	}
	if err := s.Restore(s.t.Context(), holds[0]); err != nil {
		s.t.Fatal(err)
	}
	testbed.Eventually(s.t, soon, "a reconciler at work again", func() error {
		if got := imageOf(s.get(), "spec", "template", "spec"); got != "cart:bad" {
			return fmt.Errorf("cart runs %s", got)
		}
		return nil
	})
}

func operator(s *story) {
	s.healthy()
	s.patch(object{"metadata": object{"ownerReferences": []any{object{
		"apiVersion": "kafka.example/v1", "kind": "Kafka", "name": "events", "uid": "0b7f3f0e-0000",
		"controller": true,
	}}}})
	s.release("cart:bad")
	s.refused(rollback.OwnedByOther, "Kafka events")
}

// argoRollout plays the controller's part: it is not on the test bed.
func argoRollout(s *story) {
	s.healthy()
	s.replicaSet("1", "cart:v1")
	s.deploy("cart:bad")
	s.replicaSet("2", "cart:bad")
	s.request.Good, s.request.Bad = s.former("1"), s.former("2")
	s.report("2", "Progressing")
	abort := s.request
	abort.Action += "-abort"
	s.wire.lose = 1
	if _, err := s.Abort(s.t.Context(), abort); err != nil {
		s.t.Fatal(err)
	}
	if aborted, _, _ := unstructured.NestedBool(s.get().Object, "status", "abort"); !aborted {
		s.t.Errorf("it is not aborted: %v", s.get().Object["status"])
	}
	effect, err := s.Undo(s.t.Context(), s.request)
	if err != nil || effect.To.Number != 1 {
		s.t.Fatalf("effect %+v, %v", effect, err)
	}
	s.want("cart:v1")
	s.report("1", "Healthy")
	s.verify(rollback.Complete, "")
}

// report writes a status as the controller of Argo Rollouts does.
func (s *story) report(revision, phase string) {
	s.t.Helper()
	s.patch(object{"status": object{
		"observedGeneration": fmt.Sprint(s.get().GetGeneration()), "phase": phase,
		"currentPodHash": "hash" + revision, "stableRS": "hash1",
		"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
	}}, "status")
}

// former returns the hash of the template that a ReplicaSet keeps.
func (s *story) former(revision string) string {
	s.t.Helper()
	o, err := s.client.Resource(replicaSets).Namespace(s.namespace).
		Get(s.t.Context(), "cart-"+revision, metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	hash, err := hashOf(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return hash
}

var replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}

// replicaSet makes what the controller of Argo Rollouts makes of a template.
func (s *story) replicaSet(revision, image string) {
	s.t.Helper()
	labels := object{"app": "cart", "rollouts-pod-template-hash": "hash" + revision}
	s.create(replicaSets, s.namespace, object{
		"apiVersion": "apps/v1", "kind": "ReplicaSet",
		"metadata": object{
			"name": "cart-" + revision, "labels": labels,
			"annotations": object{"rollout.argoproj.io/revision": revision},
			"ownerReferences": []any{object{
				"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "cart",
				"uid": string(s.get().GetUID()), "controller": true,
			}},
		},
		"spec": object{
			"replicas": int64(0), "selector": object{"matchLabels": labels},
			"template": object{"metadata": object{"labels": labels}, "spec": podSpec(image)},
		},
	})
}

// twoHundredNodes has a DaemonSet whose bad revision is on one node when it is undone.
func twoHundredNodes(s *story) {
	var nodes []any
	for i := range 200 {
		nodes = append(nodes, object{
			"apiVersion": "v1", "kind": "Node",
			"metadata": object{"name": fmt.Sprintf("many-%d", i), "labels": object{"pool": "many"}},
		})
	}
	s.Apply(object{"apiVersion": "v1", "kind": "List", "items": nodes})
	s.log("200 nodes are there")
	s.healthy(func(spec object) {
		spec["template"].(object)["spec"].(object)["nodeSelector"] = object{"pool": "many"}
	})
	before := s.pods()
	s.release("cart:bad")
	s.undo()
	kept := 0
	for uid := range s.pods() {
		if before[uid] {
			kept++
		}
	}
	s.log("%d of %d pods never noticed", kept, len(before))
	if len(before) != 200 || kept < 198 {
		s.t.Errorf("%d of %d pods were kept", kept, len(before))
	}
}

// pods returns the UIDs of the story's pods.
func (s *story) pods() map[types.UID]bool {
	s.t.Helper()
	list, err := s.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).
		Namespace(s.namespace).List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	out := make(map[types.UID]bool, len(list.Items))
	for _, p := range list.Items {
		out[p.GetUID()] = true
	}
	return out
}

// apiServerDies kills the API server when the write is on its way to it, and then when the reply is
// on its way back.
func apiServerDies(s *story) {
	s.healthy()
	s.release("cart:bad")
	s.wire.before = s.KillAPIServer
	s.outlast()
	s.release("cart:bad")
	s.request.Action += "-2"
	s.wire.after = s.KillAPIServer
	s.outlast()
	if g := s.get().GetGeneration(); g != 5 || s.wire.count() != 2 {
		s.t.Errorf("generation %d after %d writes", g, s.wire.count())
	}
}

// outlast asks for an undo until there is an answer, while the API server dies and comes back.
func (s *story) outlast() {
	s.t.Helper()
	back := make(chan struct{})
	go func() {
		defer close(back)
		<-s.APIServer.Done()
		s.StartAPIServer()
		s.log("the API server is back")
	}()
	for {
		_, err := s.Undo(s.t.Context(), s.request)
		if err == nil {
			break
		}
		var r *rollback.Refusal
		if errors.As(err, &r) {
			s.t.Fatal(err)
		}
		s.log("undo: %v", err)
	}
	<-back
	s.verify(rollback.Complete, "")
}
