package kube

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// restartedAt is the annotation by which kubectl rollout restart makes a template differ.
const restartedAt = "kubectl.kubernetes.io/restartedAt"

// hashLabels are what controllers add to the labels of a template or of its pods.
var hashLabels = []string{
	"pod-template-hash", "controller-revision-hash", "rollouts-pod-template-hash",
}

// TemplateHash returns the hash of a pod template that fleet.Revision bears.
func TemplateHash(t *corev1.PodTemplateSpec) (string, error) {
	return hashTemplate(t.DeepCopy())
}

// hashTemplate is TemplateHash of a template that may be changed.
func hashTemplate(t *corev1.PodTemplateSpec) (string, error) {
	text, err := bare(t)
	if err != nil {
		return "", err
	}
	return hashOf(text, 8), nil
}

// bare strips a pod template of what controllers add and returns its text.
func bare(t *corev1.PodTemplateSpec) ([]byte, error) {
	for _, label := range hashLabels {
		delete(t.Labels, label)
	}
	delete(t.Annotations, restartedAt)
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("write the pod template: %w", err)
	}
	return text, nil
}

// digest returns the hash of a pod template and its text without what controllers add. The values
// of environment variables are hashed before they enter the text: they are often secrets,
// and to tell two templates apart it is enough that they differ. The hash of the template is that
// of the whole. The template is changed.
func digest(t *corev1.PodTemplateSpec) (hash string, text []byte, err error) {
	if text, err = bare(t); err != nil {
		return "", nil, err
	}
	hash = hashOf(text, 8)
	if hide(t) {
		if text, err = json.Marshal(t); err != nil {
			return "", nil, fmt.Errorf("write the pod template: %w", err)
		}
	}
	return hash, text, nil
}

// hide replaces the values of environment variables and says whether there are any.
func hide(t *corev1.PodTemplateSpec) bool {
	hidden := false
	for _, containers := range [][]corev1.Container{t.Spec.InitContainers, t.Spec.Containers} {
		for _, c := range containers {
			for i := range c.Env {
				if value := c.Env[i].Value; value != "" {
					c.Env[i].Value = "sha256:" + hashOf([]byte(value), 4)
					hidden = true
				}
			}
		}
	}
	return hidden
}

// hashOf returns the first bytes of a SHA-256 in hexadecimal.
func hashOf(text []byte, size int) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:size])
}

// deflaters are shared by all clusters: a compressor takes half a megabyte and is needed for
// microseconds.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.BestSpeed)
	if err != nil {
		panic(err) // The level is valid.
	}
	return w
}}

// deflate compresses a template to a fifth or so; fleets keep a hundred thousand of them.
func deflate(text []byte) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	_, err := w.Write(text)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err) // A buffer takes everything.
	}
	return bytes.Clone(out.Bytes())
}

// inflate returns what deflate was given, or nil if it was cut or damaged on its way through a
// file, or is larger than any template that an API server accepts.
func inflate(packed []byte) json.RawMessage {
	if len(packed) == 0 {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), 4<<20))
	if err != nil || !json.Valid(text) {
		return nil
	}
	return text
}

// differences names what differs between two templates, as paths:
// spec.containers[api].env[LOG_LEVEL]. Values are not shown.
func differences(before, after json.RawMessage) []string {
	var a, b any
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(after, &b) != nil {
		return nil
	}
	return walk(nil, "", a, b)
}

// walk appends the paths of the outermost values in which a and b differ.
func walk(paths []string, path string, a, b any) []string {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			return walkMap(paths, path, ".", x, y)
		}
	case []any:
		y, ok := b.([]any)
		if !ok {
			break
		}
		if xs, ok := named(x); ok {
			if ys, ok := named(y); ok {
				return walkMap(paths, path, "[", xs, ys)
			}
		}
	}
	if equal(a, b) {
		return paths
	}
	return append(paths, strings.TrimPrefix(path, "."))
}

// walkMap goes through the keys of both maps; open is how a key is appended to the path.
func walkMap(paths []string, path, open string, a, b map[string]any) []string {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		at := path + open + k
		if open == "[" {
			at += "]"
		}
		paths = walk(paths, at, a[k], b[k])
	}
	return paths
}

// named returns a list as a map by its elements' names, if they all have one.
func named(list []any) (map[string]any, bool) {
	out := make(map[string]any, len(list))
	for _, element := range list {
		m, ok := element.(map[string]any)
		if !ok {
			return nil, false
		}
		name, ok := m["name"].(string)
		if _, twice := out[name]; !ok || twice {
			return nil, false
		}
		out[name] = m
	}
	return out, true
}

func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
