package kube_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tocsin/collectors/kube"
)

func TestOwners(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		name string
		meta metav1.ObjectMeta
		want kube.Owner
		text string
	}{
		{name: "nobody", meta: metav1.ObjectMeta{Labels: map[string]string{"app.kubernetes.io/instance": "shop"}}},
		{
			name: "Helm",
			meta: metav1.ObjectMeta{Annotations: map[string]string{
				"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "web",
			}},
			want: kube.Owner{Kind: kube.HelmRelease, Namespace: "web", Name: "shop"}, text: "Helm release shop",
		},
		{
			name: "Flux through Helm",
			meta: metav1.ObjectMeta{
				Annotations: map[string]string{"meta.helm.sh/release-name": "shop"},
				Labels: map[string]string{
					"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "flux-system",
				},
			},
			want: kube.Owner{Kind: kube.FluxHelmRelease, Namespace: "flux-system", Name: "shop"},
			text: "Flux HelmRelease shop",
		},
		{
			name: "Argo CD by annotation, in any namespace",
			meta: metav1.ObjectMeta{Annotations: map[string]string{
				"argocd.argoproj.io/tracking-id": "team_shop:apps/Deployment:web/cart",
			}},
			want: kube.Owner{Kind: kube.ArgoApplication, Namespace: "team", Name: "shop"},
			text: "Argo CD application shop",
		},
		{
			name: "Argo CD by a label of all, and by who wrote",
			meta: metav1.ObjectMeta{
				Labels:        map[string]string{"app.kubernetes.io/instance": "shop"},
				ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "argocd-controller"}},
			},
			want: kube.Owner{Kind: kube.ArgoApplication, Name: "shop"}, text: "Argo CD application shop",
		},
		{
			name: "an operator, whatever else it says",
			meta: metav1.ObjectMeta{
				Namespace:       "web",
				Annotations:     map[string]string{"meta.helm.sh/release-name": "shop"},
				OwnerReferences: []metav1.OwnerReference{{Kind: "Kafka", Name: "events", Controller: &yes}},
			},
			want: kube.Owner{Kind: kube.Operator, Namespace: "web", Name: "Kafka events"},
			text: "operator Kafka events",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := kube.OwnerOf(&tc.meta)
			if got != tc.want || got.String() != tc.text {
				t.Errorf("OwnerOf() = %+v, %q; want %+v, %q", got, got, tc.want, tc.text)
			}
		})
	}
}

func TestTheHashIsOfWhatPeopleWrote(t *testing.T) {
	template := func(image string, labels map[string]string) *corev1.PodTemplateSpec {
		return &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
		}
	}
	hash := func(p *corev1.PodTemplateSpec) string {
		h, err := kube.TemplateHash(p)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	plain := template("cart:v1", map[string]string{"app": "cart"})
	marked := template("cart:v1", map[string]string{"app": "cart", "pod-template-hash": "abc"})
	if hash(plain) != hash(marked) || marked.Labels["pod-template-hash"] != "abc" {
		t.Error("the hash depends on what controllers add, or takes it away")
	}
	if hash(plain) == hash(template("cart:v2", plain.Labels)) {
		t.Error("another image has the same hash")
	}
}
