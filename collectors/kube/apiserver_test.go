package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// apiServer behaves as an API server does, on pipes, so that it lives in a synctest bubble: it
// lists, streams lists, watches, sends bookmarks, forgets old versions, and fails on demand.
type apiServer struct {
	t        testing.TB
	listener *pipes
	server   http.Server

	mu       sync.Mutex // Guards what follows.
	uid      string     // Of the cluster.
	token    string     // That is asked for; empty: none.
	version  int
	oldest   int // Versions before are forgotten.
	objects  map[string]map[string]metav1.Object
	log      []logged
	grown    chan struct{} // Closed when something happens.
	requests []request
	fail     func(*http.Request) (code int) // 0: behave; hang: accept and say nothing.
	argo     bool                           // Has Argo Rollouts.
	noStream bool                           // Does not know streaming lists.
	watches  int                            // Opened so far.
	behind   map[string]string              // Objects by resource that a list from memory lacks.
	muted    int                            // How many of them, from the first on, say nothing any more.
}

const (
	hang    = -1 // Accept a request and never answer.
	garbage = -2 // Answer 200 with something that is no JSON.
)

type logged struct {
	version  int
	resource string
	kind     string // ADDED, MODIFIED, DELETED
	object   []byte
}

type request struct {
	at   time.Time
	path string
}

func newAPIServer(t testing.TB) *apiServer {
	s := &apiServer{
		t: t, uid: "cluster-1", version: 100, oldest: 1, argo: true,
		listener: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})},
		objects:  map[string]map[string]metav1.Object{}, grown: make(chan struct{}),
	}
	s.server.Handler = s
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.server.Serve(s.listener)
	}()
	t.Cleanup(func() {
		_ = s.server.Close()
		<-ended
	})
	return s
}

func (s *apiServer) config() *rest.Config {
	return &rest.Config{Host: "http://cluster.test", Dial: s.listener.dial, BearerToken: "first"}
}

// change lets f change the server's behaviour.
func (s *apiServer) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// put creates or replaces objects, as a client would: a new specification gets a new generation.
func (s *apiServer) put(objects ...metav1.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range objects {
		s.version++
		o.SetResourceVersion(strconv.Itoa(s.version))
		resource, kind := resourceOf(o), "MODIFIED"
		all := s.objects[resource]
		if all == nil {
			all = map[string]metav1.Object{}
			s.objects[resource] = all
		}
		name := o.GetNamespace() + "/" + o.GetName()
		if all[name] == nil {
			kind = "ADDED"
		}
		all[name] = o
		s.append(resource, kind, o)
	}
}

// remove deletes an object.
func (s *apiServer) remove(o metav1.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	delete(s.objects[resourceOf(o)], o.GetNamespace()+"/"+o.GetName())
	s.append(resourceOf(o), "DELETED", o)
}

func (s *apiServer) append(resource, kind string, o metav1.Object) {
	s.log = append(s.log, logged{s.version, resource, kind, encode(s.t, o)})
	close(s.grown)
	s.grown = make(chan struct{})
}

// compact forgets what happened so far: a watch that asks for it is told to list again.
func (s *apiServer) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.oldest = s.version
	s.log = nil
}

// disconnect breaks all connections.
func (s *apiServer) disconnect() { s.listener.disconnect() }

// since returns the requests from a moment on.
func (s *apiServer) since(at time.Time) []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.requests, at, func(r request, at time.Time) int {
		return r.at.Compare(at)
	})
	return slices.Clone(s.requests[i:])
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, request{time.Now(), r.URL.Path})
	fail, token, uid := s.fail, s.token, s.uid
	s.mu.Unlock()
	code := 0
	if fail != nil {
		code = fail(r)
	}
	if token != "" && r.Header.Get("Authorization") != "Bearer "+token {
		code = http.StatusUnauthorized
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case code == hang:
		<-r.Context().Done()
	case code == garbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("<html>a proxy's page</html>"))
	case code != 0:
		refuse(w, code)
	case r.URL.Path == "/version":
		answer(w, map[string]string{"gitVersion": "v1.37.1"})
	case r.URL.Path == "/api/v1/namespaces/kube-system":
		answer(w, &corev1.Namespace{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
			ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: types.UID(uid)},
		})
	case strings.Contains(r.URL.Path, "argoproj.io") && !s.hasArgo():
		refuse(w, http.StatusNotFound)
	case strings.HasSuffix(r.URL.Path, "/argoproj.io/v1alpha1"):
		answer(w, map[string]any{
			"kind": "APIResourceList", "resources": []any{map[string]string{"name": "rollouts"}},
		})
	case r.URL.Query().Has("watch"):
		s.watch(w, r, path[len(path)-1], namespaceOf(path))
	case len(path) > 4 && path[len(path)-4] == "namespaces":
		s.get(w, path[len(path)-2], namespaceOf(path), path[len(path)-1])
	default:
		s.list(w, r, path[len(path)-1], namespaceOf(path))
	}
}

func (s *apiServer) hasArgo() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.argo
}

func (s *apiServer) get(w http.ResponseWriter, resource, namespace, name string) {
	s.mu.Lock()
	o := s.objects[resource][namespace+"/"+name]
	s.mu.Unlock()
	if o == nil {
		refuse(w, http.StatusNotFound)
		return
	}
	var fields map[string]any
	_ = json.Unmarshal(encode(s.t, o), &fields)
	fields["apiVersion"], fields["kind"] = kindOfResource(resource)
	answer(w, fields)
}

func namespaceOf(path []string) string {
	for i, part := range path {
		if part == "namespaces" {
			return path[i+1]
		}
	}
	return ""
}

// list answers with what a selector selects, by name, and in pages if that is asked for. A list at
// version 0 may be behind: then it lacks what was put last.
func (s *apiServer) list(w http.ResponseWriter, r *http.Request, resource, namespace string) {
	q := r.URL.Query()
	selector, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	items := []metav1.Object{}
	for _, name := range slices.Sorted(maps.Keys(s.objects[resource])) {
		o := s.objects[resource][name]
		hidden := q.Get("resourceVersion") == "0" && s.behind[resource] == o.GetName() ||
			name <= q.Get("continue")
		if (namespace == "" || o.GetNamespace() == namespace) && !hidden &&
			selector.Matches(labels.Set(o.GetLabels())) {
			items = append(items, o)
		}
	}
	version := s.version
	s.mu.Unlock()
	meta := map[string]string{"resourceVersion": strconv.Itoa(version)}
	if n, err := strconv.Atoi(q.Get("limit")); err == nil && n > 0 && n < len(items) {
		items = items[:n]
		meta["continue"] = items[n-1].GetNamespace() + "/" + items[n-1].GetName()
	}
	apiVersion, kind := kindOfResource(resource)
	answer(w, map[string]any{
		"apiVersion": apiVersion, "kind": kind + "List", "items": items, "metadata": meta,
	})
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, resource, namespace string) {
	q := r.URL.Query()
	stream := q.Get("sendInitialEvents") == "true"
	s.mu.Lock()
	noStream, oldest, at := s.noStream, s.oldest, s.version
	s.watches++
	number := s.watches
	var initial [][]byte
	if stream {
		for _, o := range s.objects[resource] {
			initial = append(initial, encode(s.t, o))
		}
	} else {
		at, _ = strconv.Atoi(q.Get("resourceVersion"))
	}
	s.mu.Unlock()
	if stream && noStream {
		refuse(w, http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	flusher := w.(http.Flusher)
	send := func(kind string, object []byte) {
		if s.mute(number) {
			return
		}
		_, _ = fmt.Fprintf(w, "{\"type\":%q,\"object\":%s}\n", kind, object)
		flusher.Flush()
	}
	flusher.Flush()
	if !stream && at < oldest-1 {
		send("ERROR", encode(s.t, status(http.StatusGone)))
		return
	}
	for _, o := range initial {
		send("ADDED", o)
	}
	if stream {
		send("BOOKMARK", bookmark(s.t, resource, at, true))
	}
	s.follow(r.Context(), send, resource, namespace, at)
}

func (s *apiServer) mute(watch int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return watch <= s.muted
}

// follow sends what happens until the client leaves or the server falls silent, and a bookmark
// every minute.
func (s *apiServer) follow(
	ctx context.Context, send func(string, []byte), resource, namespace string, at int,
) {
	mark := time.NewTicker(time.Minute)
	defer mark.Stop()
	for {
		s.mu.Lock()
		grown, log, version := s.grown, s.log, s.version
		s.mu.Unlock()
		next, _ := slices.BinarySearchFunc(log, at+1, func(l logged, v int) int { return l.version - v })
		for _, l := range log[next:] {
			if l.resource == resource && within(namespace, l.object) {
				send(l.kind, l.object)
			}
		}
		at = version
		select {
		case <-ctx.Done():
			return
		case <-grown:
		case <-mark.C:
			if s.failing(resource) == 0 {
				send("BOOKMARK", bookmark(s.t, resource, at, false))
			}
		}
	}
}

func (s *apiServer) failing(resource string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		return 0
	}
	r, _ := http.NewRequest(http.MethodGet, "http://x/apis/apps/v1/"+resource+"?watch=true", nil)
	return s.fail(r)
}

func within(namespace string, object []byte) bool {
	return namespace == "" || strings.Contains(string(object), `"namespace":"`+namespace+`"`)
}

func bookmark(t testing.TB, resource string, version int, end bool) []byte {
	apiVersion, kind := kindOfResource(resource)
	meta := map[string]any{"resourceVersion": strconv.Itoa(version)}
	if end {
		meta["annotations"] = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	return encode(t, map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta})
}

func status(code int) *metav1.Status {
	reasons := map[int]metav1.StatusReason{
		401: metav1.StatusReasonUnauthorized, 403: metav1.StatusReasonForbidden, 410: metav1.StatusReasonExpired,
		422: metav1.StatusReasonInvalid, 429: metav1.StatusReasonTooManyRequests,
		404: metav1.StatusReasonNotFound, 500: metav1.StatusReasonInternalError,
	}
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
		Code: int32(code), Reason: reasons[code], Message: http.StatusText(code),
	}
}

func refuse(w http.ResponseWriter, code int) {
	if code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "7")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(status(code))
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func encode(t testing.TB, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		t.Errorf("encode %T: %v", v, err)
	}
	return text
}

func resourceOf(o metav1.Object) string {
	switch o.(type) {
	case *appsv1.Deployment:
		return "deployments"
	case *appsv1.StatefulSet:
		return "statefulsets"
	case *appsv1.DaemonSet:
		return "daemonsets"
	case *appsv1.ReplicaSet:
		return "replicasets"
	case *appsv1.ControllerRevision:
		return "controllerrevisions"
	case *corev1.Pod:
		return "pods"
	case *unstructured.Unstructured:
		return "rollouts"
	}
	return "events"
}

func kindOfResource(resource string) (apiVersion, kind string) {
	switch resource {
	case "deployments":
		return "apps/v1", "Deployment"
	case "statefulsets":
		return "apps/v1", "StatefulSet"
	case "daemonsets":
		return "apps/v1", "DaemonSet"
	case "replicasets":
		return "apps/v1", "ReplicaSet"
	case "controllerrevisions":
		return "apps/v1", "ControllerRevision"
	case "pods":
		return "v1", "Pod"
	case "rollouts":
		return "argoproj.io/v1alpha1", "Rollout"
	}
	return "v1", "Event"
}

// pipes is a network of one address.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex // Guards what follows.
	open    []net.Conn
	refused bool
}

// refuse refuses connections, or takes them again.
func (p *pipes) refuse(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused = yes
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	refused := p.refused
	p.mu.Unlock()
	if refused {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	}
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open = append(p.open, here)
		return here, nil
	case <-p.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) disconnect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

// Accept returns the next connection.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses connections from now on.
func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr returns the address.
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
