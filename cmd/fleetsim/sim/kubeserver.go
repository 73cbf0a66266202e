package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/fleet"
)

// kubeHandler serves as much of the Kubernetes API of a cluster as a watcher of releases needs.
// Everybody may read everything; nobody may write.
func (f *Fleet) kubeHandler(c *cluster) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		const version = "v1.37.1+fleetsim"
		writeJSON(w, map[string]string{"major": "1", "minor": "37", "gitVersion": version})
	})
	const system = "kube-system" // Its UID is taken for that of the cluster.
	mux.HandleFunc("GET /api/v1/namespaces/"+system, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, bareObject{
			typeMeta{"Namespace", "v1"},
			objectMeta{Name: system, UID: uid(c.place.key), ResourceVersion: "1"},
		})
	})
	for _, kind := range []fleet.Workload{fleet.Deployment, fleet.StatefulSet, fleet.DaemonSet} {
		col := &collection{f, c, resourceOf(kind), typeMeta{string(kind), "apps/v1"}}
		col.handle(mux, "/apis/apps/v1/")
	}
	for _, kind := range []string{"ReplicaSet", "ControllerRevision"} {
		col := &collection{f, c, strings.ToLower(kind) + "s", typeMeta{kind, "apps/v1"}}
		col.handle(mux, "/apis/apps/v1/")
	}
	for resource, kind := range map[string]string{eventsResource: "Event", podsResource: "Pod"} {
		col := &collection{f, c, resource, typeMeta{kind, "v1"}}
		col.handle(mux, "/api/v1/")
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		message := r.Method + " " + r.URL.Path + " is not simulated"
		kubeStatus(w, http.StatusNotFound, "NotFound", message)
	})
	return mux
}

// bareObject is an object of which nothing but its name and version matters.
type bareObject struct {
	typeMeta
	Metadata objectMeta `json:"metadata"`
}

// kubeStatus answers with an error in the form of Kubernetes.
func kubeStatus(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// Whoever does not read the answer has lost nothing.
	_ = json.NewEncoder(w).Encode(failure(code, reason, message))
}

func failure(code int, reason, message string) any {
	return struct {
		typeMeta
		Status  string `json:"status"`
		Message string `json:"message"`
		Reason  string `json:"reason"`
		Code    int    `json:"code"`
	}{typeMeta{"Status", "v1"}, "Failure", message, reason, code}
}

// collection is all objects of a resource of a cluster. Workloads and events can be watched.
type collection struct {
	fleet    *Fleet
	cluster  *cluster
	resource string
	object   typeMeta // Of one of them.
}

func (c *collection) handle(mux *http.ServeMux, prefix string) {
	mux.HandleFunc("GET "+prefix+c.resource, c.serve)
	mux.HandleFunc("GET "+prefix+"namespaces/{namespace}/"+c.resource, c.serve)
	mux.HandleFunc("GET "+prefix+"namespaces/{namespace}/"+c.resource+"/{name}", c.get)
}

func (c *collection) get(w http.ResponseWriter, r *http.Request) {
	items, _ := c.items(r.PathValue("namespace"))
	for _, o := range items {
		if o.meta().Name == r.PathValue("name") {
			writeJSON(w, o)
			return
		}
	}
	message := c.resource + " " + r.PathValue("name") + " not found"
	kubeStatus(w, http.StatusNotFound, "NotFound", message)
}

func (c *collection) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	watch := q.Get("watch") == "true" || q.Get("watch") == "1"
	switch {
	case watch && c.derived():
		message := c.resource + " can only be read"
		kubeStatus(w, http.StatusMethodNotAllowed, "MethodNotAllowed", message)
	case watch && q.Get("sendInitialEvents") == "true":
		const message = "sendInitialEvents is not simulated: list first"
		kubeStatus(w, http.StatusUnprocessableEntity, "Invalid", message)
	case watch:
		c.watch(w, r)
	default:
		c.list(w, r.PathValue("namespace"), q.Get("labelSelector"))
	}
}

// derived says whether the objects are made when somebody asks for them.
func (c *collection) derived() bool { return c.makers()[c.resource] != nil }

// list answers in one piece, whatever the limit that is asked for.
func (c *collection) list(w http.ResponseWriter, namespace, selector string) {
	items, version := c.items(namespace)
	wanted, err := parseSelector(selector)
	if err != nil {
		kubeStatus(w, http.StatusBadRequest, "BadRequest", err.Error())
		return
	}
	items = slices.DeleteFunc(items, func(o kubeObject) bool { return !wanted.match(o.meta().Labels) })
	writeJSON(w, struct {
		bareObject
		Items []kubeObject `json:"items"`
	}{bareObject{typeMeta{c.object.Kind + "List", c.object.APIVersion}, at(version)}, items})
}

// at is the metadata of a list or a bookmark.
func at(version uint64) objectMeta {
	return objectMeta{ResourceVersion: strconv.FormatUint(version, 10)}
}

func (c *collection) items(namespace string) (items []kubeObject, version uint64) {
	since, now := epoch{c.fleet.origin()}, c.fleet.Elapsed().Seconds()
	items = []kubeObject{}
	c.cluster.mu.Lock()
	defer c.cluster.mu.Unlock()
	k, services := c.cluster.kube, c.cluster.services
	if c.resource == eventsResource {
		for _, pod := range slices.Sorted(maps.Keys(k.warnings)) {
			warning := k.warnings[pod]
			if s := services[warning.service]; s.in(namespace) {
				items = append(items, warning.object(s, since))
			}
		}
		return items, k.version
	}
	if render := c.makers()[c.resource]; render != nil {
		for _, i := range slices.Sorted(maps.Keys(k.workloads)) {
			if s := services[i]; s.in(namespace) {
				items = append(items, render(s, since, now)...)
			}
		}
		return items, k.version
	}
	for _, i := range slices.Sorted(maps.Keys(k.workloads)) {
		if s := services[i]; resourceOf(s.workload) == c.resource && s.in(namespace) {
			items = append(items, k.workloads[i].object(s, since))
		}
	}
	return items, k.version
}

// in says whether the service is in a namespace; all are in "".
func (s *service) in(namespace string) bool { return namespace == "" || namespace == s.namespace }

// change is a line of a watch.
type change struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

const (
	bookmarkEvery = time.Minute
	watchFor      = 5 * time.Minute // Unless the client asks for another time.
)

// watch writes what happens to a resource as it happens, until the client or the server has had
// enough.
func (c *collection) watch(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, err := strconv.ParseUint(q.Get("resourceVersion"), 10, 64)
	if err != nil {
		from = 0
	}
	patience := watchFor
	if n, err := strconv.Atoi(q.Get("timeoutSeconds")); err == nil && n > 0 {
		patience = time.Duration(n) * time.Second
	}
	end, bookmark := time.NewTimer(patience), time.NewTicker(bookmarkEvery)
	defer end.Stop()
	defer bookmark.Stop()
	w.Header().Set("Content-Type", "application/json")
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	for {
		changes, upTo, news := c.changes(r.PathValue("namespace"), from)
		from = upTo
		for _, change := range changes {
			if out.Encode(change) != nil || change.Type == "ERROR" {
				return
			}
		}
		if flush.Flush() != nil {
			return
		}
		select {
		case <-news:
		case <-bookmark.C:
			if out.Encode(change{"BOOKMARK", bareObject{c.object, at(from)}}) != nil {
				return
			}
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// changes returns what happened after a version, up to which version that is, and a channel that
// is closed when there is more.
func (c *collection) changes(
	namespace string, from uint64,
) (changes []change, upTo uint64, news <-chan struct{}) {
	since := epoch{c.fleet.origin()}
	c.cluster.mu.Lock()
	defer c.cluster.mu.Unlock()
	k := c.cluster.kube
	if oldest := k.version - uint64(len(k.log)); from < oldest {
		message := fmt.Sprintf("version %d is too old, list again", from)
		expired := failure(http.StatusGone, "Expired", message)
		return []change{{"ERROR", expired}}, from, k.news
	}
	for i := range k.log {
		e := &k.log[i]
		s := c.cluster.services[e.service]
		if e.version <= from || e.resource != c.resource || !s.in(namespace) {
			continue
		}
		if c.resource == eventsResource {
			changes = append(changes, change{e.kind, e.warning.object(s, since)})
		} else {
			changes = append(changes, change{e.kind, e.workload.object(s, since)})
		}
	}
	return changes, k.version, k.news
}

// kubeconfig serves a file with a context for each cluster, named like it.
func (f *Fleet) kubeconfig(w http.ResponseWriter, r *http.Request) {
	type named map[string]any
	var clusters, contexts []named
	for _, c := range f.clusters {
		server := "http://" + r.Host + "/clusters/" + c.name + "/kube"
		clusters = append(clusters, named{"name": c.name, "cluster": named{"server": server}})
		context := named{"cluster": c.name, "user": "anybody"}
		contexts = append(contexts, named{"name": c.name, "context": context})
	}
	writeJSON(w, named{ // JSON is YAML.
		"apiVersion": "v1", "kind": "Config", "current-context": f.clusters[0].name,
		"clusters": clusters, "contexts": contexts,
		"users": []named{{"name": "anybody", "user": named{"username": "anybody"}}},
	})
}
