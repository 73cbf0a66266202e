package kube

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tocsin/fleet"
)

func TestAuthors(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const fields = `{"f:spec":{"f:template":{}}}`
	for _, tc := range []struct {
		name   string
		fields []metav1.ManagedFieldsEntry
		meta   metav1.ObjectMeta
		want   string
	}{
		{name: "nobody says"},
		{name: "kubectl apply", want: "kubectl (apply)", fields: []metav1.ManagedFieldsEntry{
			edited("kubectl-client-side-apply", "Update", "", at, fields),
		}},
		{name: "server-side apply", want: "kubectl (apply)", fields: []metav1.ManagedFieldsEntry{
			edited("kubectl", "Apply", "", at, fields),
		}},
		{name: "the newest", want: "kubectl (edit)", fields: []metav1.ManagedFieldsEntry{
			edited("kubectl-edit", "Update", "", at.Add(time.Second), fields),
			edited("kubectl-create", "Update", "", at, fields),
			edited("kube-controller-manager", "Update", "status", at.Add(time.Hour), fields),
			edited("labeller", "Update", "", at.Add(time.Hour), `{"f:metadata":{}}`),
		}},
		{
			name: "Helm", want: "helm, Helm release shop",
			fields: []metav1.ManagedFieldsEntry{edited("helm", "Update", "", at, fields)},
			meta:   metav1.ObjectMeta{Annotations: map[string]string{"meta.helm.sh/release-name": "shop"}},
		},
		{
			name: "Argo CD", want: "argocd-controller (apply), Argo CD application shop",
			fields: []metav1.ManagedFieldsEntry{edited("argocd-controller", "Apply", "", at, fields)},
			meta: metav1.ObjectMeta{Annotations: map[string]string{
				"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/cart",
			}},
		},
		{
			name: "Flux, without a record", want: "Flux Kustomization shop",
			meta: metav1.ObjectMeta{Labels: map[string]string{"kustomize.toolkit.fluxcd.io/name": "shop"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.meta.ManagedFields = tc.fields
			s := sight(fleet.Deployment, &tc.meta)
			c := s.change("east", fleet.Rollout, "", s.moment(s.template, edit{}, at))
			if c.Author != tc.want {
				t.Errorf("author = %q, want %q", c.Author, tc.want)
			}
		})
	}
}

// The API server's record is as fine as a second.
func TestTheAuthorOfAChangeWithinASecondOfTheOneBefore(t *testing.T) {
	at := time.Unix(1e9, 0).UTC()
	before := edit{"kubectl (apply)", at}
	for name, tc := range map[string]struct {
		record edit
		author string
	}{
		"a later one":                  {edit{"kubectl (apply)", at.Add(time.Second)}, "kubectl (apply)"},
		"the same second, another":     {edit{"kubectl (set)", at}, "kubectl (set)"},
		"the record of the one before": {before, ""},
	} {
		s := &sighting{}
		if got := s.moment(tc.record, before, at.Add(time.Minute)); got.by != tc.author {
			t.Errorf("%s: by %q, want %q", name, got.by, tc.author)
		}
	}
}

func TestATemplatesHashIsThatOfWhatPeopleWrote(t *testing.T) {
	hash := func(f func(*corev1.PodTemplateSpec)) string {
		p := template("cart:v1")
		f(&p)
		h, _, err := digest(&p)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	plain := hash(func(*corev1.PodTemplateSpec) {})
	for name, f := range map[string]func(*corev1.PodTemplateSpec){
		"the ReplicaSet's label":  func(p *corev1.PodTemplateSpec) { p.Labels["pod-template-hash"] = "x" },
		"the revision's label":    func(p *corev1.PodTemplateSpec) { p.Labels["controller-revision-hash"] = "x" },
		"the time of a restart":   func(p *corev1.PodTemplateSpec) { p.Annotations = map[string]string{restartedAt: "x"} },
		"an empty set of labels":  func(p *corev1.PodTemplateSpec) { p.Annotations = map[string]string{} },
		"an empty list of things": func(p *corev1.PodTemplateSpec) { p.Spec.Volumes = []corev1.Volume{} },
	} {
		if hash(f) != plain {
			t.Errorf("the hash depends on %s", name)
		}
	}
	for name, f := range map[string]func(*corev1.PodTemplateSpec){
		"a label":       func(p *corev1.PodTemplateSpec) { p.Labels["x"] = "y" },
		"an annotation": func(p *corev1.PodTemplateSpec) { p.Annotations = map[string]string{"x": "y"} },
		"a value":       func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Env[0].Value = "other" },
	} {
		if hash(f) == plain {
			t.Errorf("the hash does not depend on %s", name)
		}
	}
}

func TestDifferences(t *testing.T) {
	for _, tc := range []struct {
		before, after string
		want          []string
	}{
		{`{}`, `{}`, nil},
		{`{"a":1}`, `{"a":2,"b":{"c":3}}`, []string{"a", "b"}},
		{`{"l":[{"name":"x","v":1},{"name":"y"}]}`, `{"l":[{"name":"y"},{"name":"x","v":2}]}`, []string{"l[x].v"}},
		{`{"l":[{"name":"x"}]}`, `{"l":[{"name":"x"},{"name":"z"}]}`, []string{"l[z]"}},
		{`{"l":[1,2]}`, `{"l":[2,1]}`, []string{"l"}},
		{`{"l":[{"name":"x"},{"name":"x"}]}`, `{"l":[]}`, []string{"l"}},
		{`{"l":{}}`, `{"l":[]}`, []string{"l"}},
		{`no`, `{}`, nil},
	} {
		if got := differences([]byte(tc.before), []byte(tc.after)); !slices.Equal(got, tc.want) {
			t.Errorf("differences(%s, %s) = %q, want %q", tc.before, tc.after, got, tc.want)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","current-context":"east",
		"clusters":[{"name":"a","cluster":{"server":"https://a.test"}},{"name":"b","cluster":{"server":"https://b.test"}}],
		"users":[{"name":"u","user":{"token":"t"}}],
		"contexts":[{"name":"west","context":{"cluster":"b","user":"u"}},{"name":"east","context":{"cluster":"a","user":"u"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		kubeconfig, context string
		host, err           string
	}{
		{kubeconfig: path, host: "https://a.test"},
		{kubeconfig: path, context: "west", host: "https://b.test"},
		{kubeconfig: path, context: "north", err: `context "north"`},
		{kubeconfig: path + "x", err: path + "x"},
		{err: "not in a cluster"},
	} {
		c, err := Config(tc.kubeconfig, tc.context)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("Config(%q, %q) says %v, want %q", tc.kubeconfig, tc.context, err, tc.err)
			}
			continue
		}
		if err != nil || c.Host != tc.host {
			t.Errorf("Config(%q, %q) = %v, %v; want %s", tc.kubeconfig, tc.context, c, err, tc.host)
		}
	}
	names, err := Contexts(path)
	if err != nil || !slices.Equal(names, []string{"east", "west"}) {
		t.Errorf("Contexts() = %q, %v", names, err)
	}
	if _, err := Contexts(path + "x"); err == nil {
		t.Error("Contexts of no file says nothing")
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"complete":["Deployment/"],"workloads":[{"kind":"Deployment","name":"a","template":"AAAA"}],
		"groups":[{"change":{"event":{"reason":"BackOff"}}},{"change":{}}],"seen":{"a":1}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s State
		if json.Unmarshal(text, &s) != nil {
			return
		}
		m := restore(Options{State: &s, Namespaces: []string{""}})
		for _, w := range m.workloads {
			w.revision()
		}
		m.expire(time.Unix(0, 0), time.Minute)
		m.state()
	})
}

func FuzzDifferences(f *testing.F) {
	f.Add([]byte(`{"l":[{"name":"x","v":1}]}`), []byte(`{"l":[{"name":"x","v":{}}]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		there, back := differences(a, b), differences(b, a)
		if !slices.Equal(there, back) {
			t.Errorf("%q one way, %q the other", there, back)
		}
		if d := differences(a, a); len(d) > 0 {
			t.Errorf("%s differs from itself in %q", a, d)
		}
		if json.Valid(a) && string(inflate(deflate(a))) != string(a) {
			t.Errorf("%s does not survive deflation", a)
		}
	})
}
