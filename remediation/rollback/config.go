package rollback

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Config is a ConfigMap or Secret that a template names.
type Config struct {
	Kind     string    `json:"kind"`
	Name     string    `json:"name"`
	Optional bool      `json:"optional,omitempty"`
	Mark     string    `json:"mark,omitempty"`   // Of its content; empty: it is not there.
	Changed  time.Time `json:"changed,omitzero"` // When it was written last.
	By       string    `json:"by,omitempty"`     // Who wrote it last.
}

// String names it: ConfigMap/settings.
func (c *Config) String() string { return c.Kind + "/" + c.Name }

// checkConfig wants the ConfigMaps and Secrets that the good template names to be as they were when
// it was healthy.
func (e *Executor) checkConfig(ctx context.Context, r *Request, _ *workload, f *Facts) error {
	good := find(f.Revisions, r.Good)
	if good == nil {
		return nil
	}
	for _, c := range named(&good.template.Spec) {
		if err := e.readConfig(ctx, r, &c); err != nil {
			return err
		}
		f.Config = append(f.Config, c)
		if err := f.note(r.judgeConfig(&c, f.since(r))); err != nil {
			return err
		}
	}
	return nil
}

// judgeConfig compares by mark if there is one of then, else by time. Times are those of the
// cluster, as fine as a second, and cannot tell a new label from a new value; what somebody takes
// away leaves none. Marks know better.
func (r *Request) judgeConfig(c *Config, since time.Time) error {
	then, marked := r.Marks[c.String()]
	next := "compare it with what the good revision ran with, then undo by hand"
	switch {
	case marked && then == c.Mark, c.Mark == "" && c.Optional && !marked:
		return nil
	case c.Mark == "":
		return r.refuse(ConfigMissing, c.String()+", which the good revision needs, is gone",
			"create it as it was, then try again")
	case marked:
		return r.refuse(ConfigChanged, fmt.Sprintf(
			"%s has changed since the good revision was healthy (last written by %s)", c, c.By), next)
	case c.Changed.IsZero():
		return r.refuse(ConfigChanged, fmt.Sprintf("nobody knows when %s has changed", c), next)
	case c.Changed.Before(since):
		return nil
	}
	return r.refuse(ConfigChanged, fmt.Sprintf(
		"%s was changed at %s by %s, after the good revision was last seen healthy",
		c, c.Changed.UTC().Format(time.RFC3339), c.By), next)
}

// readConfig fills in what the cluster says. Of a Secret only the metadata are read.
func (e *Executor) readConfig(ctx context.Context, r *Request, c *Config) error {
	var object metav1.Object
	var mark string
	var err error
	resource := core("configmaps")
	if c.Kind == "Secret" {
		resource = core("secrets")
		var m *metav1.PartialObjectMetadata
		m, err = e.metadata.Resource(resource).Namespace(r.Target.Namespace).
			Get(ctx, c.Name, metav1.GetOptions{})
		if err == nil {
			object, mark = m, string(m.UID)+"@"+m.ResourceVersion
		}
	} else {
		var m *corev1.ConfigMap
		m, err = e.typed.CoreV1().ConfigMaps(r.Target.Namespace).
			Get(ctx, c.Name, metav1.GetOptions{})
		if err == nil {
			object, mark = m, digest(m)
		}
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return r.explain(err, "get", resource, r.Target.Namespace)
	}
	c.Mark, c.By = mark, "somebody"
	c.Changed = object.GetCreationTimestamp().Time
	for _, e := range object.GetManagedFields() {
		if e.Time != nil && !e.Time.Time.Before(c.Changed) {
			c.Changed, c.By = e.Time.Time, e.Manager
		}
	}
	if len(object.GetManagedFields()) == 0 {
		c.Changed = time.Time{} // Whoever took the record away may have changed more.
	}
	return nil
}

// digest is the mark of a ConfigMap.
func digest(m *corev1.ConfigMap) string {
	text, err := json.Marshal([]any{m.Data, m.BinaryData})
	if err != nil {
		panic(err) // Maps of strings and bytes can be written.
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// named returns the ConfigMaps and Secrets that pods read, sorted. Credentials for registries are
// not among them: they are renewed all the time and no part of a release.
func named(s *corev1.PodSpec) []Config {
	all := map[string]Config{}
	add := func(kind, name string, optional *bool) {
		c := Config{Kind: kind, Name: name, Optional: optional != nil && *optional}
		if name == "" {
			return
		}
		if old, ok := all[c.String()]; ok && !old.Optional {
			return
		}
		all[c.String()] = c
	}
	for _, containers := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range containers {
			namedByContainer(&containers[i], add)
		}
	}
	for i := range s.Volumes {
		namedByVolume(&s.Volumes[i], add)
	}
	return slices.SortedFunc(maps.Values(all), func(a, b Config) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
}

func namedByContainer(c *corev1.Container, add func(kind, name string, optional *bool)) {
	for _, f := range c.EnvFrom {
		if f.ConfigMapRef != nil {
			add("ConfigMap", f.ConfigMapRef.Name, f.ConfigMapRef.Optional)
		}
		if f.SecretRef != nil {
			add("Secret", f.SecretRef.Name, f.SecretRef.Optional)
		}
	}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			continue
		}
		if k := v.ValueFrom.ConfigMapKeyRef; k != nil {
			add("ConfigMap", k.Name, k.Optional)
		}
		if k := v.ValueFrom.SecretKeyRef; k != nil {
			add("Secret", k.Name, k.Optional)
		}
	}
}

func namedByVolume(v *corev1.Volume, add func(kind, name string, optional *bool)) {
	if v.ConfigMap != nil {
		add("ConfigMap", v.ConfigMap.Name, v.ConfigMap.Optional)
	}
	if v.Secret != nil {
		add("Secret", v.Secret.SecretName, v.Secret.Optional)
	}
	if v.Projected == nil {
		return
	}
	for _, p := range v.Projected.Sources {
		if p.ConfigMap != nil {
			add("ConfigMap", p.ConfigMap.Name, p.ConfigMap.Optional)
		}
		if p.Secret != nil {
			add("Secret", p.Secret.Name, p.Secret.Optional)
		}
	}
}
