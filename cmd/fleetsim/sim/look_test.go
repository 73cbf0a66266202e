package sim

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tocsin/collectors/kube"
	"tocsin/fleet"
	"tocsin/test/testbed"
)

// watchEast runs a Watcher of tocsin on the cluster east until the test ends, and waits until it
// has read everything.
func watchEast(t *testing.T, f *Fleet) *kube.Watcher {
	t.Helper()
	config := kubeConfig(t, f)
	w, err := kube.New(kube.Options{
		Cluster: "east", Config: config, Report: func(fleet.Change) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	testbed.Eventually(t, time.Minute, "a synced watcher", func() error {
		if s := w.Status(); !s.Synced {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	return w
}

func TestReleasesCanBeLookedAt(t *testing.T) {
	opts := calm
	opts.Services = 20
	opts.Faults = []Fault{
		{Kind: BadRelease, Service: "checkout", At: time.Minute, Crash: true},
		{Kind: BadRelease, Service: "*-db", At: time.Minute, Errors: 0.2},
		{Kind: BadRelease, Service: "audit-agent", At: time.Minute, Errors: 0.2},
	}
	f := newFleet(t, opts)
	w := watchEast(t, f)
	look := func(namespace, name string, kind fleet.Workload) kube.Progress {
		t.Helper()
		service := fleet.Service{Cluster: "east", Namespace: namespace, Name: name}
		p, err := w.Look(t.Context(), service, kind)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := look("shop", "checkout", fleet.Deployment)
	for _, p := range []kube.Progress{
		before,
		look("data", "orders-db", fleet.StatefulSet), look("data", "audit-agent", fleet.DaemonSet),
	} {
		if p.Desired != 4 || p.New.Available != 4 || len(p.New.Pods) != 4 || p.Old.Created != 0 {
			t.Errorf("%s before the release: %+v", p.Service, p)
		}
	}

	advance(t, f, 80*time.Second)
	for _, p := range []kube.Progress{
		look("data", "orders-db", fleet.StatefulSet), look("data", "audit-agent", fleet.DaemonSet),
	} {
		if p.Old.Created == 0 || p.New.Created == 0 || p.Old.Hash == p.New.Hash || p.Old.Hash == "" ||
			len(p.Old.Pods) != int(p.Old.Created) || len(p.New.Pods) != int(p.New.Created) {
			t.Errorf("%s during the release: %+v", p.Service, p)
		}
	}
	advance(t, f, 2*time.Minute)
	p := look("shop", "checkout", fleet.Deployment)
	if p.Old.Hash != before.New.Hash || p.New.Hash == p.Old.Hash || p.Old.Created == 0 ||
		len(p.New.Pods) != 1 || p.New.Ready != 0 {
		t.Fatalf("during the release: %+v", p)
	}
	bad := p.New.Pods[0]
	if bad.Terminated != "Error" || bad.Started.Before(calm.Start.Add(time.Minute)) {
		t.Errorf("the new pod is %+v", bad)
	}
	for _, pod := range p.Old.Pods {
		if !pod.Ready || !regexp.MustCompile("^(?:"+p.Old.Match+")$").MatchString(pod.Name) ||
			regexp.MustCompile("^(?:"+p.New.Match+")$").MatchString(pod.Name) {
			t.Errorf("old pod %+v; %q matches the old, %q the new", pod, p.Old.Match, p.New.Match)
		}
	}
	testbed.Eventually(t, time.Minute, "a rollout under way", func() error {
		if got := w.Rolling(); len(got) != 1 || got[0].Service != before.Service {
			return fmt.Errorf("rolling: %v", got)
		}
		return nil
	})
}

func TestPodsAndRevisionsAreOnlyRead(t *testing.T) {
	f := newFleet(t, calm)
	client := kubeClient(t, f)
	only := metav1.ListOptions{LabelSelector: "app=checkout, pod-template-hash notin (x,y)"}
	pods, err := client.CoreV1().Pods("shop").List(t.Context(), only)
	if err != nil || len(pods.Items) != 4 || pods.Items[0].Labels["app"] != "checkout" {
		t.Errorf("pods: %+v, %v", pods, err)
	}
	only.LabelSelector = "app!=checkout,app in (checkout, cart)"
	pods, err = client.CoreV1().Pods("shop").List(t.Context(), only)
	if err != nil || len(pods.Items) != 4 || pods.Items[0].Labels["app"] != "cart" {
		t.Errorf("pods: %+v, %v", pods, err)
	}
	only.LabelSelector = "!app"
	if _, err = client.CoreV1().Pods("shop").List(t.Context(), only); err == nil {
		t.Error("a selector that is not simulated selects")
	}
	if _, err := client.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{}); err == nil {
		t.Error("pods can be watched")
	}
}
