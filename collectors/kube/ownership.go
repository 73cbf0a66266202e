package kube

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// OwnerKind says what a workload is part of, and so who else writes to it.
type OwnerKind string

// The kinds of owner. Nobody is the zero value: people and pipelines that write and go away.
const (
	Nobody            OwnerKind = ""
	HelmRelease       OwnerKind = "Helm release"
	FluxHelmRelease   OwnerKind = "Flux HelmRelease"
	FluxKustomization OwnerKind = "Flux Kustomization"
	ArgoApplication   OwnerKind = "Argo CD application"
	Operator          OwnerKind = "operator" // The controller of any other kind.
)

// Owner is what a workload is part of.
type Owner struct {
	Kind      OwnerKind `json:"kind,omitempty"`
	Namespace string    `json:"namespace,omitempty"` // Empty if the workload does not say.
	Name      string    `json:"name,omitempty"`
}

// String names the owner for people; nobody is the empty string.
func (o Owner) String() string {
	if o.Kind == Nobody {
		return ""
	}
	return strings.TrimSpace(string(o.Kind) + " " + o.Name)
}

// OwnerOf returns the release, application or object that a workload is part of, if it says so.
// What reconciles comes before what only writes: a HelmRelease of Flux leaves Helm's marks, too.
func OwnerOf(m metav1.Object) Owner {
	if c := metav1.GetControllerOfNoCopy(m); c != nil {
		return Owner{Operator, m.GetNamespace(), strings.Clone(c.Kind + " " + c.Name)}
	}
	labels, annotations := m.GetLabels(), m.GetAnnotations()
	for _, flux := range []struct {
		prefix string
		kind   OwnerKind
	}{
		{"helm.toolkit.fluxcd.io/", FluxHelmRelease},
		{"kustomize.toolkit.fluxcd.io/", FluxKustomization},
	} {
		if name := labels[flux.prefix+"name"]; name != "" {
			return Owner{flux.kind, strings.Clone(labels[flux.prefix+"namespace"]), strings.Clone(name)}
		}
	}
	if o, ok := argoApplication(m, labels, annotations); ok {
		return o
	}
	if release := annotations["meta.helm.sh/release-name"]; release != "" {
		namespace := annotations["meta.helm.sh/release-namespace"]
		return Owner{HelmRelease, strings.Clone(namespace), strings.Clone(release)}
	}
	return Owner{}
}

// argoApplication finds the application of Argo CD. Its tracking annotation or label says which;
// older versions track by a label that others set as well, so there the writer decides.
func argoApplication(m metav1.Object, labels, annotations map[string]string) (Owner, bool) {
	name, _, _ := strings.Cut(annotations["argocd.argoproj.io/tracking-id"], ":")
	if name == "" {
		name = labels["argocd.argoproj.io/instance"]
	}
	for _, e := range m.GetManagedFields() {
		if name == "" && strings.HasPrefix(e.Manager, "argocd-") {
			name = labels["app.kubernetes.io/instance"]
		}
	}
	if name == "" {
		return Owner{}, false
	}
	namespace, app, qualified := strings.Cut(name, "_")
	if !qualified { // Names hold no underscore: it divides them from the namespace.
		namespace, app = "", name
	}
	return Owner{ArgoApplication, strings.Clone(namespace), strings.Clone(app)}, true
}
