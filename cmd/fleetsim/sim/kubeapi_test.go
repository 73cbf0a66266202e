package sim

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeConfig returns how to reach the cluster east by the fleet's kubeconfig.
func kubeConfig(t *testing.T, f *Fleet) *rest.Config {
	t.Helper()
	server := httptest.NewServer(f.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	address := strings.TrimPrefix(server.URL, "http://")
	text := get(t, f, http.MethodGet, "http://"+address+"/kubeconfig", "").Body.Bytes()
	loaded, err := clientcmd.Load(text)
	if err != nil {
		t.Fatalf("load the kubeconfig: %v", err)
	}
	config, err := clientcmd.NewNonInteractiveClientConfig(*loaded, "east", nil, nil).ClientConfig()
	if err != nil {
		t.Fatalf("the kubeconfig has no context east: %v", err)
	}
	return config
}

func kubeClient(t *testing.T, f *Fleet) *kubernetes.Clientset {
	t.Helper()
	client, err := kubernetes.NewForConfig(kubeConfig(t, f))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// next returns the next event of a watch, whose type has to be right.
func next[T any](t *testing.T, w watch.Interface, kind watch.EventType) T {
	t.Helper()
	event := <-w.ResultChan()
	object, ok := event.Object.(T)
	if !ok || event.Type != kind {
		t.Fatalf("the watch shows %s %T %v, want %s", event.Type, event.Object, event.Object, kind)
	}
	return object
}

// nextGeneration returns the Deployment whose specification changes next.
func nextGeneration(t *testing.T, w watch.Interface, after int64) *appsv1.Deployment {
	t.Helper()
	for {
		if d := next[*appsv1.Deployment](t, w, watch.Modified); d.Generation > after {
			return d
		}
	}
}

func TestKubernetesAPIShowsReleases(t *testing.T) {
	opts := calm
	opts.Faults = []Fault{
		{Kind: BadRelease, Service: "checkout", At: time.Minute, For: time.Minute},
	}
	f := newFleet(t, opts)
	api := kubeClient(t, f).AppsV1().Deployments("")
	list, err := api.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	var before *appsv1.Deployment
	for i := range list.Items {
		if list.Items[i].Name == "checkout" {
			before = &list.Items[i]
		}
	}
	if len(list.Items) != 5 || before == nil || *before.Spec.Replicas != 4 ||
		before.Spec.Template.Spec.Containers[0].Image != "shop/checkout:v40" {
		t.Fatalf("%d deployments, checkout is %+v", len(list.Items), before)
	}

	w, err := api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	defer w.Stop()
	advance(t, f, 3*time.Minute)
	bad := nextGeneration(t, w, before.Generation)
	if bad.UID != before.UID || bad.Generation != before.Generation+1 || bad.Name != "checkout" ||
		bad.Spec.Template.Spec.Containers[0].Image != "shop/checkout:v40.1" {
		t.Errorf("the bad release is %+v", bad)
	}
	if edit := bad.ManagedFields[0]; edit.Manager != "deploy" ||
		!edit.Time.Time.Equal(calm.Start.Add(time.Minute)) {
		t.Errorf("it was written by %s at %v", edit.Manager, edit.Time)
	}
	good := nextGeneration(t, w, bad.Generation)
	if image := good.Spec.Template.Spec.Containers[0].Image; image != "shop/checkout:v40" {
		t.Errorf("the release after it has image %s", image)
	}
	if n := good.Annotations["deployment.kubernetes.io/revision"]; n != "43" {
		t.Errorf("it is revision %s, want 43", n)
	}
}

func TestKubernetesAPIShowsWarnings(t *testing.T) {
	opts := calm
	opts.Faults = []Fault{{Kind: PodCrash, Service: "cart", Every: 5 * time.Second, Pods: 1}}
	f := newFleet(t, opts)
	client := kubeClient(t, f)
	w, err := client.CoreV1().Events("shop").Watch(t.Context(), metav1.ListOptions{
		ResourceVersion: "0", FieldSelector: "type=Warning",
	})
	if err != nil {
		t.Fatalf("watch: %v", err)
	}
	defer w.Stop()
	advance(t, f, time.Minute)
	first := next[*corev1.Event](t, w, watch.Added)
	again := next[*corev1.Event](t, w, watch.Modified)
	if first.Reason != "BackOff" || first.Type != "Warning" || first.InvolvedObject.Kind != "Pod" ||
		!strings.HasPrefix(first.InvolvedObject.Name,
			"cart-") || again.UID != first.UID || again.Count != 2 {
		t.Errorf("the events are %+v and %+v", first, again)
	}
	list, err := client.CoreV1().Events("").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d events, %v", len(list.Items), err)
	}
}

func TestKubernetesAPIHasLimits(t *testing.T) {
	opts := calm
	opts.Services = 200
	f := newFleet(t, opts)
	client := kubeClient(t, f)
	ns, err := client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	if err != nil || ns.UID == "" {
		t.Errorf("kube-system: %v, %v", ns, err)
	}
	if version, err := client.Discovery().ServerVersion(); err != nil || version.Major != "1" {
		t.Errorf("version: %v, %v", version, err)
	}
	if _, err := client.CoreV1().
		Secrets("").
		List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(
		err,
	) {
		t.Errorf("secrets: %v, want not found", err)
	}
	if err := client.AppsV1().
		Deployments("shop").
		Delete(t.Context(), "cart", metav1.DeleteOptions{}); err == nil {
		t.Error("a deployment can be deleted")
	}
	api := client.AppsV1().DaemonSets("")
	yes := true
	_, err = api.Watch(t.Context(),
		metav1.ListOptions{SendInitialEvents: &yes, AllowWatchBookmarks: true})
	if !apierrors.IsInvalid(err) {
		t.Errorf("a streaming list: %v, want invalid", err)
	}
	for range mostEntries {
		f.clusters[0].kube.warn(f.clusters[0].services[0], f.clusters[0].services[0].pods[0], 0)
	}
	w, err := api.Watch(t.Context(), metav1.ListOptions{ResourceVersion: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := apierrors.FromObject(
		next[*metav1.Status](t, w, watch.Error),
	); !apierrors.IsResourceExpired(err) {
		t.Errorf("a watch from long ago: %v, want expired", err)
	}
}

func TestWatchEndsWithItsClient(t *testing.T) {
	f := newFleet(t, calm)
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodGet,
		"/clusters/east/kube/api/v1/events?watch=true", nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}()
	cancel()
	<-done
}
