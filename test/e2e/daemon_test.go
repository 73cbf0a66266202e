//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/collectors/kube"
	"tocsin/fleet"
	"tocsin/test/testbed"
)

// namespace is where the chart is installed.
const namespace = "observability"

// helm runs helm, as admin of the cluster that a kubeconfig names if one is given, and returns what it prints.
func helm(t *testing.T, kubeconfig string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(testbed.Tools(t, "k8s"), "helm"), args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "KUBECONFIG="+kubeconfig)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("helm %v: %v\n%s", args, err, log.String())
	}
	return string(out)
}

func chartFolder(t *testing.T) string {
	return filepath.Join(testbed.Root(t), "deploy", "helm", "tocsin")
}

// checkConfig wants a configuration to be one that the daemon starts with.
func checkConfig(t *testing.T, program, file string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program, "check", "config", file).CombinedOutput(); err != nil {
		t.Errorf("tocsin check config: %v\n%s", err, out)
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheChartsDefaultsAreAValidConfiguration(t *testing.T) {
	text := helm(t, "", "template", "tocsin", chartFolder(t), "--show-only", "templates/config.yaml")
	var object corev1.ConfigMap
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(t.TempDir(), "tocsin.yaml"), object.Data["tocsin.yaml"])
	checkConfig(t, testbed.Build(t, "tocsin"), file)
}

// TestTheChartsAccountSuffices runs the daemon with what the chart gives it on a real API server: its configuration,
// its flags and the token of its service account. Changes and events arrive, and all else is refused to the token.
func TestTheChartsAccountSuffices(t *testing.T) {
	c := testbed.StartCluster(t, testbed.ClusterOptions{Name: "chart"})
	page, service := simulate(t)
	prometheus := testbed.StartPrometheus(t, testbed.PrometheusOptions{Targets: []testbed.Target{page}})
	account := filepath.Join(t.TempDir(), "kubeconfig")
	install(t, c, map[string]any{"config": map[string]any{
		"global": map[string]any{"interval": "1s", "lag": "2s", "window": "10s"},
		"clusters": []any{map[string]any{
			"name":       c.Name,
			"prometheus": map[string]any{"url": prometheus.URL},
			"kubernetes": map[string]any{"kubeconfig": account},
		}},
	}})
	writeAccount(t, c, account)
	refusesAllElse(t, account, service)
	c.Kubectl("create", "namespace", service.Namespace)
	deploy(c, service, "shop:v1")
	seesPods(t, c, account, service)

	d := startDaemon(t, c)
	testbed.Eventually(t, soon, "the cluster to be known", func() error { return known(d, c.Name) })
	c.Kubectl("set", "image", "-n", service.Namespace, "deployment/"+service.Name, "main=shop:v2")
	change := d.change(fleet.Rollout, service)
	if change.Summary != "image shop:v1 -> shop:v2" || change.Author != "kubectl (set)" {
		t.Errorf("the rollout is %q by %q", change.Summary, change.Author)
	}
	c.Kubectl("set", "image", "-n", service.Namespace, "deployment/"+service.Name, "main=shop:bad")
	if change := d.change(fleet.Warning, service); change.Event == nil || change.Event.Reason != "BackOff" {
		t.Errorf("the crash loop is %+v", change)
	}

	d.Stop()
	if err := d.Err(); err != nil {
		t.Errorf("the daemon ended with %v after SIGTERM", err)
	}
}

// simulate starts a fleet of one cluster that lives until the test ends. It returns its page of metrics, and one of
// its services as the daemon will name it.
func simulate(t *testing.T) (testbed.Target, fleet.Service) {
	t.Helper()
	f, err := sim.New(sim.Options{Clusters: 1, Services: 4, Pods: 2, ReleaseEvery: -1, Spikes: -1})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(f.Handler())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1) // Holds what Run returns.
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		server.Close()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("run the fleet: %v", err)
		}
	})
	cluster := f.State().Clusters[0]
	return testbed.Target{
		Job: "fleet", Address: strings.TrimPrefix(server.URL, "http://"),
		Path: "/clusters/" + cluster.Name + "/metrics",
	}, fleet.Service{Cluster: "chart", Namespace: cluster.Services[0].Namespace, Name: cluster.Services[0].Name}
}

// install installs the chart into a namespace that takes only pods of the restricted profile, and waits for its pod
// to be let in. Nothing runs in it: kwok's nodes have no disks.
func install(t *testing.T, c *testbed.Cluster, values map[string]any) {
	t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	c.Kubectl("create", "namespace", namespace)
	c.Kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	helm(t, c.Kubeconfig, "install", "tocsin", chartFolder(t), "--namespace", namespace,
		"--values", write(t, filepath.Join(t.TempDir(), "values.json"), string(text)))
	testbed.Eventually(t, soon, "the pod of the chart", func() error {
		_, err := c.Get("/api/v1/namespaces/" + namespace + "/pods/tocsin-0")
		return err
	})
}

// writeAccount writes a kubeconfig with a token of the chart's service account, as a pod of it would get one.
func writeAccount(t *testing.T, c *testbed.Cluster, path string) {
	t.Helper()
	config, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(c.Kubectl("create", "token", "tocsin", "--namespace", namespace))
	for _, user := range config.AuthInfos {
		user.Token = token
	}
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
}

// refusesAllElse wants the token of the chart's account to be refused what the daemon does not need.
func refusesAllElse(t *testing.T, account string, service fleet.Service) {
	t.Helper()
	config, err := kube.Config(account, "")
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, core, apps := t.Context(), client.CoreV1(), client.AppsV1()
	if _, err := apps.Deployments("").List(ctx, metav1.ListOptions{}); err != nil {
		t.Errorf("deployments cannot be listed: %v", err)
	}
	patch := []byte(`{"spec":{"paused":true}}`)
	for what, try := range map[string]func() error{
		"list secrets": func() error {
			_, err := core.Secrets("").List(ctx, metav1.ListOptions{})
			return err
		},
		"get a secret beside it": func() error {
			_, err := core.Secrets(namespace).Get(ctx, "sh.helm.release.v1.tocsin.v1", metav1.GetOptions{})
			return err
		},
		"list config maps": func() error {
			_, err := core.ConfigMaps("").List(ctx, metav1.ListOptions{})
			return err
		},
		"patch a deployment": func() error {
			_, err := apps.Deployments(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, patch,
				metav1.PatchOptions{})
			return err
		},
		"patch the stateful set that it is": func() error {
			_, err := apps.StatefulSets(namespace).Patch(ctx, "tocsin", types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		},
		"delete a pod": func() error { return core.Pods(namespace).Delete(ctx, "tocsin-0", metav1.DeleteOptions{}) },
		"create a token": func() error {
			return client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("serviceaccounts").Name("tocsin").
				SubResource("token").Do(ctx).Error()
		},
	} {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want it to be forbidden", what, err)
		}
	}
}

// seesPods has the account look at a workload, as the daemon does while a release runs.
func seesPods(t *testing.T, c *testbed.Cluster, account string, service fleet.Service) {
	t.Helper()
	config, err := kube.Config(account, "")
	if err != nil {
		t.Fatal(err)
	}
	w := startWatch(t, c, kube.Options{Config: config})
	defer w.stop()
	testbed.Eventually(t, soon, "the pods", func() error {
		p, err := w.Look(t.Context(), service, fleet.Deployment)
		if err == nil && !complete(p) {
			err = fmt.Errorf("progress %+v", p)
		}
		return err
	})
}

// deploy creates a Deployment of a service.
func deploy(c *testbed.Cluster, service fleet.Service, image string) {
	labels := map[string]string{"app": service.Name}
	c.Apply(map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]string{"name": service.Name, "namespace": service.Namespace},
		"spec": map[string]any{
			"replicas": 2,
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec":     map[string]any{"containers": []any{map[string]string{"name": "main", "image": image}}},
			},
		},
	})
	c.Kubectl("rollout", "status", "-n", service.Namespace, "deployment/"+service.Name, "--timeout=120s")
}

// daemon is tocsin as a process.
type daemon struct {
	*testbed.Process
	URL string
	t   *testing.T
}

// startDaemon runs tocsin with the flags and the configuration that the installed chart has; only the paths and the
// address are those of the test.
func startDaemon(t *testing.T, c *testbed.Cluster) *daemon {
	t.Helper()
	dir := t.TempDir()
	text := c.Kubectl("get", "configmap", "tocsin", "-n", namespace, "-o", `jsonpath={.data.tocsin\.yaml}`)
	file := write(t, filepath.Join(dir, "tocsin.yaml"), text)
	program := testbed.Build(t, "tocsin")
	checkConfig(t, program, file)
	var args []string
	out := c.Kubectl("get", "statefulset", "tocsin", "-n", namespace, "-o",
		"jsonpath={.spec.template.spec.containers[0].args}")
	if err := json.Unmarshal([]byte(out), &args); err != nil {
		t.Fatalf("flags of the chart: %v: %s", err, out)
	}
	address := fmt.Sprintf("127.0.0.1:%d", testbed.Port(t))
	for flag, value := range map[string]string{
		"--config.file": file, "--storage.path": filepath.Join(dir, "data"), "--web.listen-address": address,
	} {
		i := slices.IndexFunc(args, func(arg string) bool { return strings.HasPrefix(arg, flag+"=") })
		if i < 0 {
			t.Fatalf("the chart does not give %s: %v", flag, args)
		}
		args[i] = flag + "=" + value
	}
	d := &daemon{URL: "http://" + address, t: t}
	d.Process = testbed.Start(t, testbed.ProcessOptions{
		Name: "tocsin", Path: program, Args: args,
		Ready: func() error {
			_, err := d.get("/-/ready")
			return err
		},
	})
	return d
}

// get returns what the daemon answers, if that is a 200.
func (d *daemon) get(path string) ([]byte, error) {
	resp, err := http.Get(d.URL + path)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.300s", path, resp.Status, body)
	}
	return body, err
}

// read returns the data of an answer of the JSON API.
func read[T any](d *daemon, path string) (T, error) {
	var out struct {
		Data T `json:"data"`
	}
	body, err := d.get(path)
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	return out.Data, err
}

// known wants a cluster to be reached, its metrics and its workloads, and nothing to be refused to the daemon.
func known(d *daemon, name string) error {
	type cluster struct {
		Reachable, Stale bool
		Reason           string
		Services         int
		Workloads        kube.Status
	}
	all, err := read[[]cluster](d, "/api/tocsin/v1/clusters?cluster="+name)
	if err != nil {
		return err
	}
	if len(all) != 1 || !all[0].Reachable || all[0].Stale || all[0].Reason != "" || all[0].Services < 4 ||
		!all[0].Workloads.Synced {
		return fmt.Errorf("clusters are %+v", all)
	}
	for _, r := range all[0].Workloads.Resources {
		if r.State != kube.Fresh && r.State != kube.Absent { // There are no Argo Rollouts.
			return fmt.Errorf("%s is %s: %s", r.Resource, r.State, r.Reason)
		}
	}
	return nil
}

// change waits for a change of a kind to a service, and returns the newest.
func (d *daemon) change(kind fleet.ChangeKind, service fleet.Service) fleet.Change {
	d.t.Helper()
	var found fleet.Change
	query := url.Values{
		"cluster": {service.Cluster}, "namespace": {service.Namespace}, "service": {service.Name}, "kind": {string(kind)},
	}
	testbed.Eventually(d.t, soon, "a "+string(kind)+" of "+service.String(), func() error {
		all, err := read[[]fleet.Change](d, "/api/tocsin/v1/changes?"+query.Encode())
		if err == nil && len(all) == 0 {
			err = errors.New("there is none")
		}
		if err == nil {
			found = all[0]
		}
		return err
	})
	return found
}
