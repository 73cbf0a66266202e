package rollback_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
)

type object = map[string]any

// apiServer behaves as an API server and the controllers behind it, without a network, so that it
// lives in a synctest bubble: it keeps objects and their versions, patches them, rehearses, knows
// who may do what, and fails on demand. Deployments get ReplicaSets, StatefulSets and DaemonSets
// get ControllerRevisions, and rollouts succeed at once.
type apiServer struct {
	t *testing.T

	mu       sync.Mutex // Guards what follows.
	version  int
	objects  map[string]object // By path.
	writes   []string          // What was written by tocsin: method and path.
	touched  bool              // The last write changed more than who owns which fields.
	requests int

	deny   map[string]bool                                       // Missing: "patch deployments".
	refuse func(method, path string, dryRun bool) *metav1.Status // Nil: behave.
	before func(method, path string, dryRun bool)                // Somebody else acts.
	lose   func(method, path string) bool                        // A reply.
	away   bool                                                  // Nothing is answered.
	audit  func(old, now object)                                 // Sees what tocsin writes.
	halted bool                                                  // Controllers do nothing.
}

var errLost = errors.New("connection reset by peer")

func newAPIServer(t *testing.T) *apiServer {
	return &apiServer{t: t, objects: make(map[string]object), deny: make(map[string]bool)}
}

func (s *apiServer) config() *rest.Config {
	return &rest.Config{Host: "http://cluster.test", Transport: s}
}

// RoundTrip answers a request.
func (s *apiServer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	method, path := r.Method, r.URL.Path
	dryRun := r.URL.Query().Get("dryRun") == "All"
	if s.before != nil {
		s.before(method, path, dryRun)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.away {
		return nil, errLost
	}
	answer, failure := s.serve(r, body, dryRun)
	wrote := method != http.MethodGet && method != http.MethodPost && !dryRun && failure == nil
	if wrote && s.touched {
		s.writes = append(s.writes, method+" "+path)
	}
	if wrote && s.lose != nil && s.lose(method, path) {
		return nil, errLost
	}
	code := http.StatusOK
	if failure != nil {
		answer, code = failure, int(failure.Code)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(text)), Request: r,
	}, nil
}

func status(code int, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reason, Message: message,
	}
}

func (s *apiServer) serve(r *http.Request, body []byte, dryRun bool) (any, *metav1.Status) {
	path := r.URL.Path
	if strings.HasSuffix(path, "/selfsubjectaccessreviews") {
		var review object
		_ = json.Unmarshal(body, &review)
		a := review["spec"].(object)["resourceAttributes"].(object)
		review["status"] = object{"allowed": !s.deny[fmt.Sprint(a["verb"], " ", a["resource"])]}
		return review, nil
	}
	verb, resource := s.meaning(r)
	if s.deny[verb+" "+resource] {
		return nil, status(403, metav1.StatusReasonForbidden,
			fmt.Sprintf("%s is forbidden: User \"tocsin\" cannot %s resource %q", resource, verb, resource))
	}
	if s.refuse != nil {
		if failure := s.refuse(r.Method, path, dryRun); failure != nil {
			return nil, failure
		}
	}
	path = strings.TrimSuffix(path, "/status")
	switch {
	case verb == "list":
		return s.list(r), nil
	case s.objects[path] == nil:
		return nil, status(404, metav1.StatusReasonNotFound, path+" not found")
	case r.Method == http.MethodPatch:
		return s.patch(r, path, body, dryRun)
	case r.Method == http.MethodDelete:
		return s.remove(path, body)
	}
	return metadataOnly(r, s.objects[path]), nil
}

// meaning returns the verb and the resource of a request.
func (s *apiServer) meaning(r *http.Request) (verb, resource string) {
	path := strings.TrimSuffix(r.URL.Path, "/status")
	parts := strings.Split(path, "/")
	verb = strings.ToLower(r.Method)
	for _, known := range []string{
		"deployments", "statefulsets", "daemonsets", "rollouts", "replicasets",
		"controllerrevisions", "pods", "configmaps", "secrets", "nodes", "jobs", "applications",
		"helmreleases", "kustomizations",
	} {
		if parts[len(parts)-1] == known {
			return "list", known
		}
	}
	return verb, parts[len(parts)-2]
}

func metadataOnly(r *http.Request, o object) object {
	if !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadata") {
		return o
	}
	return object{
		"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": o["metadata"],
	}
}

func (s *apiServer) list(r *http.Request) object {
	selector, _ := labels.Parse(r.URL.Query().Get("labelSelector"))
	group, resource, _ := strings.Cut(r.URL.Path, "/namespaces/")
	if resource == "" { // In all namespaces.
		i := strings.LastIndexByte(group, '/')
		group, resource = group[:i], group[i:]
	}
	items := []object{}
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		o := s.objects[path]
		inside := strings.HasPrefix(path, group+"/namespaces/") &&
			strings.Contains(path, strings.TrimPrefix(resource, "/")+"/") ||
			strings.HasPrefix(path, r.URL.Path+"/")
		if inside && selector.Matches(labels.Set(stringsOf(meta(o)["labels"]))) {
			items = append(items, metadataOnly(r, o))
		}
	}
	version, kind := "v1", "List"
	switch r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:] {
	case "pods":
		kind = "PodList"
	case "nodes":
		kind = "NodeList"
	case "jobs":
		version, kind = "batch/v1", "JobList"
	}
	if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		kind = "PartialObjectMetadataList"
	}
	return object{
		"apiVersion": version, "kind": kind, "metadata": object{"resourceVersion": "1"},
		"items": items,
	}
}

func (s *apiServer) remove(path string, body []byte) (any, *metav1.Status) {
	var options metav1.DeleteOptions
	_ = json.Unmarshal(body, &options)
	m := meta(s.objects[path])
	p := options.Preconditions
	if p != nil && (string(*p.UID) != m["uid"] || *p.ResourceVersion != m["resourceVersion"]) {
		return nil, status(409, metav1.StatusReasonConflict, "precondition failed")
	}
	delete(s.objects, path)
	s.touched = true
	s.control()
	return object{"kind": "Status", "apiVersion": "v1", "status": "Success"}, nil
}

// patch applies a JSON patch or a merge patch. Like the real one it answers a failed test as a
// patch that cannot be processed.
func (s *apiServer) patch(
	r *http.Request, path string, body []byte, dryRun bool,
) (any, *metav1.Status) {
	old := s.objects[path]
	o := clone(old)
	if r.Header.Get("Content-Type") == "application/json-patch+json" {
		var ops []struct {
			Op, Path string
			Value    any
		}
		_ = json.Unmarshal(body, &ops)
		for _, op := range ops {
			if err := apply(o, op.Op, op.Path, op.Value); err != nil {
				return nil, status(422, metav1.StatusReasonInvalid, err.Error())
			}
		}
	} else {
		var change object
		_ = json.Unmarshal(body, &change)
		v := meta(change)["resourceVersion"]
		if v != nil && v != meta(old)["resourceVersion"] {
			return nil, status(409, metav1.StatusReasonConflict, "the object has been modified")
		}
		merge(o, change)
	}
	if strings.HasSuffix(r.URL.Path, "/status") {
		kept := clone(old)
		kept["status"] = o["status"]
		o = kept
	}
	if dryRun {
		return o, nil
	}
	before, after := clone(old), clone(o)
	delete(meta(before), "managedFields")
	delete(meta(after), "managedFields")
	s.touched = !reflect.DeepEqual(before, after)
	if s.audit != nil && s.touched {
		s.audit(old, o)
	}
	s.store(path, o, r.URL.Query().Get("fieldManager"))
	return o, nil
}

// apply does one operation of a JSON patch.
func apply(o object, op, path string, value any) error {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "~1", "/")
	}
	_, err := change(o, op, path, parts, value)
	return err
}

// change returns what becomes of at when a part of it is changed.
func change(at any, op, path string, parts []string, value any) (any, error) {
	missing := fmt.Errorf("%s %s: path not found", op, path)
	key, last := parts[0], len(parts) == 1
	if list, ok := at.([]any); ok {
		n, err := strconv.Atoi(key)
		switch {
		case err != nil || n >= len(list):
			return nil, missing
		case last && op == "remove":
			return slices.Delete(list, n, n+1), nil
		case last:
			list[n] = value
			return list, nil
		}
		list[n], err = change(list[n], op, path, parts[1:], value)
		return list, err
	}
	m, ok := at.(object)
	if !ok {
		return nil, missing
	}
	_, there := m[key]
	switch {
	case last && op == "test" && !reflect.DeepEqual(m[key], value):
		return nil, fmt.Errorf("testing value %s failed", path)
	case (!last || op != "add") && !there:
		return nil, missing
	case last && op == "remove":
		delete(m, key)
	case last && op != "test":
		m[key] = value
	case !last:
		inner, err := change(m[key], op, path, parts[1:], value)
		if err != nil {
			return nil, err
		}
		m[key] = inner
	}
	return m, nil
}

// merge applies a merge patch.
func merge(o, change object) {
	for k, v := range change {
		if inner, ok := v.(object); ok {
			old, ok := o[k].(object)
			if !ok {
				old = object{}
				o[k] = old
			}
			merge(old, inner)
		} else if v == nil {
			delete(o, k)
		} else {
			o[k] = v
		}
	}
}

// store keeps an object: a new version, a new generation if the specification differs, and who
// wrote it when.
func (s *apiServer) store(path string, o object, manager string) {
	old := s.objects[path]
	s.version++
	m := meta(o)
	m["resourceVersion"] = strconv.Itoa(s.version)
	m["name"] = path[strings.LastIndexByte(path, '/')+1:]
	if _, rest, ok := strings.Cut(path, "/namespaces/"); ok {
		m["namespace"], _, _ = strings.Cut(rest, "/")
	}
	now := time.Now().UTC().Format(time.RFC3339)
	if old == nil {
		m["generation"], m["creationTimestamp"] = float64(1), now
		if m["uid"] == nil {
			m["uid"] = "uid-" + m["name"].(string)
		}
	}
	if old == nil || !reflect.DeepEqual(o["spec"], old["spec"]) {
		if old != nil {
			m["generation"] = m["generation"].(float64) + 1
		}
	}
	if m["managedFields"] == nil || old != nil && !reflect.DeepEqual(template(o), template(old)) {
		m["managedFields"] = []any{object{
			"manager": manager, "operation": "Update", "time": now, "fieldsType": "FieldsV1",
			"fieldsV1": object{"f:spec": object{"f:template": object{}}},
		}}
	}
	s.objects[path] = o
	s.control()
}

// control does what controllers do: it keeps former templates, and reports rollouts as complete.
func (s *apiServer) control() {
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		o := s.objects[path]
		if s.halted {
			continue
		}
		switch {
		case strings.Contains(path, "/deployments/"), strings.Contains(path, "/rollouts/"):
			s.replicaSet(path, o)
			if strings.Contains(path, "/rollouts/") {
				s.reportRollout(o)
			}
			_, paused := o["spec"].(object)["paused"]
			if strings.Contains(path, "/deployments/") && !paused {
				o["status"] = object{
					"observedGeneration": meta(o)["generation"], "replicas": 2.0, "updatedReplicas": 2.0,
					"availableReplicas": 2.0,
				}
			}
		case strings.Contains(path, "/statefulsets/"), strings.Contains(path, "/daemonsets/"):
			s.controllerRevision(o)
		}
	}
}

// reportRollout writes what the controller of Argo Rollouts does: which ReplicaSet is the current
// one. The API server itself fills nothing into its template, but into that of the ReplicaSet.
func (s *apiServer) reportRollout(o object) {
	report, ok := o["status"].(object)
	if !ok {
		report = object{}
		o["status"] = report
	}
	report["observedGeneration"] = fmt.Sprint(meta(o)["generation"])
	for p, rs := range s.objects {
		if !strings.Contains(p, "/replicasets/"+meta(o)["name"].(string)+"-") {
			continue
		}
		if containers(template(rs))[0].(object)["image"] == containers(template(o))[0].(object)["image"] {
			report["currentPodHash"] = meta(rs)["labels"].(object)["rollouts-pod-template-hash"]
		}
	}
}

// defaulted fills in what a template leaves out, as the API server does with those of its own kinds.
func defaulted(template object) object {
	t := clone(template)
	t["spec"].(object)["schedulerName"] = "default-scheduler"
	return t
}

func containers(template object) []any {
	return template["spec"].(object)["containers"].([]any)
}

// former returns the paths of the objects that hold a workload's templates, oldest first.
func (s *apiServer) former(resource string, o object, number func(object) int) []string {
	var out []string
	for p := range s.objects {
		if strings.Contains(p, "/"+resource+"/"+meta(o)["name"].(string)+"-") {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return number(s.objects[a]) - number(s.objects[b]) })
	return out
}

// replicaSet makes sure of the ReplicaSet of a template, which bears the annotations of its owner.
func (s *apiServer) replicaSet(path string, o object) {
	annotation, label := "deployment.kubernetes.io/revision", "pod-template-hash"
	wanted := clone(template(o))
	if strings.Contains(path, "/rollouts/") {
		annotation, label = "rollout.argoproj.io/revision", "rollouts-pod-template-hash"
		wanted = defaulted(wanted)
	}
	number := func(rs object) int {
		n, _ := strconv.Atoi(stringsOf(meta(rs)["annotations"])[annotation])
		return n
	}
	m, next := meta(o), 1
	former := s.former("replicasets", o, number)
	for _, p := range former {
		next = number(s.objects[p]) + 1
	}
	for _, p := range former {
		annotations := meta(s.objects[p])["annotations"].(object)
		bare := clone(template(s.objects[p]))
		delete(bare["metadata"].(object)["labels"].(object), label)
		if reflect.DeepEqual(bare, wanted) {
			if p != former[len(former)-1] {
				annotations[annotation] = strconv.Itoa(next)
			}
			maps.Copy(annotations, anys(stringsOf(m["annotations"])))
			return
		}
	}
	named := wanted
	hash := fmt.Sprintf("%s-%d", m["name"], len(former)+1)
	named["metadata"].(object)["labels"].(object)[label] = hash
	annotations := anys(stringsOf(m["annotations"]))
	annotations[annotation] = strconv.Itoa(next)
	s.objects["/apis/apps/v1/namespaces/"+m["namespace"].(string)+"/replicasets/"+hash] = object{
		"apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": object{"template": named},
		"metadata": object{
			"name": hash, "namespace": m["namespace"], "uid": "uid-" + hash, "annotations": annotations,
			"labels":            named["metadata"].(object)["labels"],
			"creationTimestamp": time.Now().UTC().Format(time.RFC3339),
			"ownerReferences":   ownedBy(o),
		},
	}
}

// controllerRevision makes sure of the ControllerRevision of a template, and of the workload's
// status: it is stuck as long as there is a pod, since those that a test puts are not ready.
func (s *apiServer) controllerRevision(o object) {
	number := func(r object) int { n, _ := r["revision"].(float64); return int(n) }
	m, current := meta(o), ""
	patch := clone(template(o))
	patch["$patch"] = "replace"
	former := s.former("controllerrevisions", o, number)
	for _, p := range former {
		if reflect.DeepEqual(template(s.objects[p]["data"].(object)), patch) {
			current = p
		}
	}
	if current == "" {
		name := fmt.Sprintf("%s-%d", m["name"], len(former)+1)
		current = "/apis/apps/v1/namespaces/" + m["namespace"].(string) + "/controllerrevisions/" + name
		s.objects[current] = object{
			"apiVersion": "apps/v1", "kind": "ControllerRevision",
			"data": object{"spec": object{"template": patch}},
			"metadata": object{
				"name": name, "namespace": m["namespace"], "uid": "uid-" + name, "ownerReferences": ownedBy(o),
				"labels": template(o)["metadata"].(object)["labels"],
			},
		}
	}
	if len(former) == 0 || current != former[len(former)-1] {
		newest := 0
		for _, p := range former {
			newest = number(s.objects[p])
		}
		s.objects[current]["revision"] = float64(newest + 1)
	}
	done := 2.0
	for p := range s.objects {
		if strings.Contains(p, "/pods/"+m["name"].(string)+"-") {
			done = 1
		}
	}
	o["status"] = object{
		"observedGeneration": meta(o)["generation"], "replicas": 2.0, "updatedReplicas": done,
		"readyReplicas": done, "currentRevision": "x", "updateRevision": "x",
		"desiredNumberScheduled": 2.0, "updatedNumberScheduled": done, "numberAvailable": done,
	}
}

func ownedBy(o object) []any {
	return []any{object{
		"apiVersion": o["apiVersion"], "kind": o["kind"], "name": meta(o)["name"], "uid": meta(o)["uid"],
		"controller": true,
	}}
}

// put creates or replaces an object as somebody other than tocsin.
func (s *apiServer) put(path string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store(path, clone(o), "kubectl-apply")
}

// edit changes an object as somebody other than tocsin.
func (s *apiServer) edit(path string, change func(o object)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := clone(s.objects[path])
	change(o)
	s.store(path, o, "kubectl-edit")
}

// get returns an object as it is now.
func (s *apiServer) get(path string) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.objects[path])
}

func (s *apiServer) drop(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, path)
}

// wrote returns how often something was written.
func (s *apiServer) wrote(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, w := range s.writes {
		if strings.HasSuffix(w, path) {
			n++
		}
	}
	return n
}

func meta(o object) object {
	m, ok := o["metadata"].(object)
	if !ok {
		m = object{}
		o["metadata"] = m
	}
	return m
}

func template(o object) object {
	spec, _ := o["spec"].(object)
	t, _ := spec["template"].(object)
	return t
}

func clone(o object) object {
	text, _ := json.Marshal(o)
	var out object
	_ = json.Unmarshal(text, &out)
	return out
}

func stringsOf(v any) map[string]string {
	out := map[string]string{}
	m, _ := v.(object)
	for k, s := range m {
		out[k] = fmt.Sprint(s)
	}
	return out
}

func anys(m map[string]string) object {
	out := object{}
	for k, v := range m {
		out[k] = v
	}
	return out
}
