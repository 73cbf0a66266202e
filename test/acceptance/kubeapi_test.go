package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// kubeAPI behaves as the API server of a cluster that has Deployments and nothing else: it lists, watches, and tells of
// what is put into it. The end-to-end tests have the real one.
type kubeAPI struct {
	URL string

	mu      sync.Mutex // Guards what follows.
	version int
	objects map[string]map[string]any // By namespace/name.
	log     []map[string]any          // Watch events, one for each version.
	grown   chan struct{}             // Closed when the log grows.
}

func startKubeAPI(t *testing.T) *kubeAPI {
	t.Helper()
	k := &kubeAPI{objects: make(map[string]map[string]any), grown: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"major": "1", "minor": "37", "gitVersion": "v1.37.1"})
	})
	mux.HandleFunc("GET /api/v1/namespaces/kube-system", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"kind": "Namespace", "apiVersion": "v1",
			"metadata": map[string]any{"name": "kube-system", "uid": "6f1f4bc6-0001"},
		})
	})
	mux.HandleFunc("GET /apis/apps/v1/deployments", func(w http.ResponseWriter, r *http.Request) {
		k.serve(w, r, "DeploymentList", true)
	})
	for path, list := range map[string]string{
		"/apis/apps/v1/statefulsets": "StatefulSetList",
		"/apis/apps/v1/daemonsets":   "DaemonSetList",
		"/api/v1/events":             "EventList",
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { k.serve(w, r, list, false) })
	}
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections() // Watches never end by themselves.
		server.Close()
	})
	k.URL = server.URL
	return k
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // The client may have gone.
}

func (k *kubeAPI) serve(w http.ResponseWriter, r *http.Request, list string, full bool) {
	q := r.URL.Query()
	if q.Get("sendInitialEvents") == "true" {
		// A server that does not stream lists says so; clients then list and watch.
		w.WriteHeader(http.StatusUnprocessableEntity)
		answer(w, map[string]any{
			"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422,
			"message": "sendInitialEvents is forbidden",
		})
		return
	}
	if q.Get("watch") == "" {
		k.list(w, list, full)
		return
	}
	since, err := strconv.Atoi(q.Get("resourceVersion"))
	if err != nil {
		http.Error(w, "resourceVersion", http.StatusBadRequest)
		return
	}
	k.watch(w, r, since, full)
}

func (k *kubeAPI) list(w http.ResponseWriter, list string, full bool) {
	version := "apps/v1"
	if list == "EventList" {
		version = "v1"
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	items := []any{}
	if full {
		for _, o := range k.objects {
			items = append(items, o)
		}
	}
	answer(w, map[string]any{
		"kind": list, "apiVersion": version, "items": items,
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(k.version)},
	})
}

func (k *kubeAPI) watch(w http.ResponseWriter, r *http.Request, since int, full bool) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	for {
		k.mu.Lock()
		events, grown := k.log[min(since, len(k.log)):], k.grown
		k.mu.Unlock()
		since += len(events)
		if full {
			for _, e := range events {
				if json.NewEncoder(w).Encode(e) != nil {
					return
				}
			}
		}
		if flush.Flush() != nil {
			return
		}
		select {
		case <-grown:
		case <-r.Context().Done():
			return
		}
	}
}

// deploy puts a Deployment of an image into the cluster, or another image into one that is there.
func (k *kubeAPI) deploy(namespace, name, image, manager string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version++
	key, kind := namespace+"/"+name, "MODIFIED"
	generation := 1
	if old, ok := k.objects[key]; ok {
		generation = old["metadata"].(map[string]any)["generation"].(int) + 1
	} else {
		kind = "ADDED"
	}
	o := map[string]any{
		"kind": "Deployment", "apiVersion": "apps/v1",
		"metadata": map[string]any{
			"name": name, "namespace": namespace, "uid": "uid-" + name, "generation": generation,
			"resourceVersion":   strconv.Itoa(k.version),
			"creationTimestamp": "2026-01-01T00:00:00Z",
			"annotations":       map[string]any{"deployment.kubernetes.io/revision": strconv.Itoa(generation)},
			"managedFields": []any{map[string]any{
				"manager": manager, "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
				"time": time.Now().UTC().Format(time.RFC3339),
				"fieldsV1": map[string]any{"f:spec": map[string]any{"f:template": map[string]any{
					"f:spec": map[string]any{"f:containers": map[string]any{}},
				}}},
			}},
		},
		"spec": map[string]any{
			"replicas": 4,
			"selector": map[string]any{"matchLabels": map[string]any{"app": name}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"app": name}},
				"spec":     map[string]any{"containers": []any{map[string]any{"name": name, "image": image}}},
			},
		},
	}
	k.objects[key] = o
	k.log = append(k.log, map[string]any{"type": kind, "object": o})
	close(k.grown)
	k.grown = make(chan struct{})
}

// kubeconfig writes a kubeconfig for the cluster and returns its path.
func (k *kubeAPI) kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": [{"name": "test", "cluster": {"server": %q}}],
		"users": [{"name": "test", "user": {}}],
		"contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]
	}`, k.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
