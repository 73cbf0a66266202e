package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tocsin/fleet"
)

// kubeAPI is what a cluster's Kubernetes API tells: its workloads and the Warning events of their pods, to be listed
// and watched. It belongs to its cluster and is guarded by that one's lock.
type kubeAPI struct {
	version   uint64
	workloads map[int]*written    // By the index of the service.
	warnings  map[string]*warning // By pod.
	log       []entry             // What happened last, for those who watch.
	news      chan struct{}       // Closed when something happens.
}

// entry is one thing that happened: an object of a resource as it became.
type entry struct {
	version  uint64
	resource string
	kind     string // ADDED or MODIFIED.
	service  int
	workload written
	warning  warning
}

// mostEntries bounds the log. Who watches from an earlier version has to list again.
const mostEntries = 4096

const (
	eventsResource = "events"
	forgetEvents   = 3600 // Seconds after which an API server does not know an event any more.
)

func newKubeAPI() *kubeAPI {
	return &kubeAPI{
		workloads: map[int]*written{}, warnings: map[string]*warning{}, news: make(chan struct{}),
	}
}

func (k *kubeAPI) append(e entry) {
	if len(k.log) == mostEntries {
		k.log = slices.Delete(k.log, 0, mostEntries/4)
	}
	k.log = append(k.log, e)
	close(k.news)
	k.news = make(chan struct{})
}

// observe writes down what has become of a service's workload. Workloads of outside have an API of their own.
func (k *kubeAPI) observe(s *service, want revision, seconds float64) {
	if s.external {
		delete(k.workloads, s.index)
		return
	}
	w, kind := k.workloads[s.index], "MODIFIED"
	switch {
	case w == nil:
		_, began := s.releases.revision(seconds)
		w, kind = &written{number: 41 + want.number, templateAt: began, scaledAt: began}, "ADDED"
		k.workloads[s.index] = w
	case w.revision == want && w.replicas == s.replicas:
		return
	default:
		if w.revision != want {
			w.number++
			w.templateAt = seconds
		}
		if w.replicas != s.replicas {
			w.scaledAt = seconds
		}
	}
	k.version++
	w.version = k.version
	w.generation++
	w.revision, w.replicas = want, s.replicas
	k.append(entry{version: k.version, resource: resourceOf(s.workload), kind: kind, service: s.index, workload: *w})
}

// warn writes down that a container waits to be started again.
func (k *kubeAPI) warn(s *service, p *pod, seconds float64) {
	w, kind := k.warnings[p.name], "MODIFIED"
	if w == nil {
		w, kind = &warning{service: s.index, pod: p.name, first: seconds}, "ADDED"
		maps.DeleteFunc(k.warnings, func(_ string, w *warning) bool { return w.last < seconds-forgetEvents })
		k.warnings[p.name] = w
	}
	k.version++
	w.version, w.last = k.version, seconds
	w.count++
	k.append(entry{version: k.version, resource: eventsResource, kind: kind, service: s.index, warning: *w})
}

// report tells the API what has changed since the last step.
func (c *cluster) report(s *service, seconds float64) {
	c.kube.observe(s, s.desired(seconds), seconds)
	for _, p := range s.pods {
		// The kubelet repeats itself every ten seconds or so while it backs off.
		if p.down && p.downUntil-seconds > 2 && seconds >= p.warnedAt+10 && !s.external {
			p.warnedAt = seconds
			c.kube.warn(s, p, seconds)
		}
	}
}

// kubeHandler serves as much of the Kubernetes API of a cluster as a watcher of releases needs. Everybody may read
// everything; nobody may write.
func (f *Fleet) kubeHandler(c *cluster) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"major": "1", "minor": "37", "gitVersion": "v1.37.1+fleetsim"})
	})
	mux.HandleFunc("GET /api/v1/namespaces/kube-system", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, struct {
			typeMeta
			Metadata objectMeta `json:"metadata"`
		}{typeMeta{"Namespace", "v1"}, objectMeta{Name: "kube-system", UID: uid(c.place.key), ResourceVersion: "1"}})
	})
	serve := func(resource, list, version string) {
		h := func(w http.ResponseWriter, r *http.Request) {
			f.kubeResource(w, r, c, resource, typeMeta{list, version})
		}
		prefix := "GET /apis/apps/v1/"
		if version == "v1" {
			prefix = "GET /api/v1/"
		}
		mux.HandleFunc(prefix+resource, h)
		mux.HandleFunc(prefix+"namespaces/{namespace}/"+resource, h)
	}
	for _, kind := range []fleet.Workload{fleet.Deployment, fleet.StatefulSet, fleet.DaemonSet} {
		serve(resourceOf(kind), string(kind)+"List", "apps/v1")
	}
	serve(eventsResource, "EventList", "v1")
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		kubeStatus(w, http.StatusNotFound, "NotFound", r.Method+" "+r.URL.Path+" is not simulated")
	})
	return mux
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

func (f *Fleet) kubeResource(w http.ResponseWriter, r *http.Request, c *cluster, resource string, list typeMeta) {
	q := r.URL.Query()
	watch := q.Get("watch") == "true" || q.Get("watch") == "1"
	switch {
	case watch && q.Get("sendInitialEvents") == "true":
		kubeStatus(w, http.StatusUnprocessableEntity, "Invalid", "sendInitialEvents is not simulated: list first")
	case watch:
		f.kubeWatch(w, r, c, resource, list)
	default:
		f.kubeList(w, r.PathValue("namespace"), c, resource, list)
	}
}

func (f *Fleet) kubeList(w http.ResponseWriter, namespace string, c *cluster, resource string, list typeMeta) {
	at := epoch{f.origin()}
	items := []any{}
	c.mu.Lock()
	version := c.kube.version
	for _, i := range slices.Sorted(maps.Keys(c.kube.workloads)) {
		if s := c.services[i]; resourceOf(s.workload) == resource && (namespace == "" || namespace == s.namespace) {
			items = append(items, c.kube.workloads[i].object(s, at))
		}
	}
	for _, pod := range slices.Sorted(maps.Keys(c.kube.warnings)) {
		if s := c.services[c.kube.warnings[pod].service]; resource == eventsResource && (namespace == "" || namespace == s.namespace) {
			items = append(items, c.kube.warnings[pod].object(s, at))
		}
	}
	c.mu.Unlock()
	writeJSON(w, struct {
		typeMeta
		Metadata objectMeta `json:"metadata"`
		Items    []any      `json:"items"`
	}{list, objectMeta{ResourceVersion: strconv.FormatUint(version, 10)}, items})
}

// change is a line of a watch.
type change struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

const (
	bookmarkEvery = time.Minute
	watchFor      = 5 * time.Minute
)

// kubeWatch writes what happens to a resource as it happens, until the client or the server has had enough.
func (f *Fleet) kubeWatch(w http.ResponseWriter, r *http.Request, c *cluster, resource string, list typeMeta) {
	from, err := strconv.ParseUint(r.URL.Query().Get("resourceVersion"), 10, 64)
	if err != nil {
		from = 0
	}
	patience := watchFor
	if seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds")); err == nil && seconds > 0 {
		patience = time.Duration(seconds) * time.Second
	}
	end, bookmark := time.NewTimer(patience), time.NewTicker(bookmarkEvery)
	defer end.Stop()
	defer bookmark.Stop()
	w.Header().Set("Content-Type", "application/json")
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	for {
		changes, upTo, news := f.kubeChanges(c, resource, r.PathValue("namespace"), from)
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
			meta := typeMeta{list.Kind[:len(list.Kind)-len("List")], list.APIVersion}
			if out.Encode(change{"BOOKMARK", bookmarkObject{meta, objectMeta{ResourceVersion: fmt.Sprint(from)}}}) != nil {
				return
			}
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

type bookmarkObject struct {
	typeMeta
	Metadata objectMeta `json:"metadata"`
}

// kubeChanges returns what happened to a resource after a version, up to which version that is, and a channel that
// is closed when there is more.
func (f *Fleet) kubeChanges(
	c *cluster, resource, namespace string, from uint64,
) (changes []change, upTo uint64, news <-chan struct{}) {
	at := epoch{f.origin()}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kube
	if oldest := k.version - uint64(len(k.log)); from < oldest {
		expired := failure(http.StatusGone, "Expired", fmt.Sprintf("version %d is too old, list again", from))
		return []change{{"ERROR", expired}}, from, k.news
	}
	for i := range k.log {
		e := &k.log[i]
		s := c.services[e.service]
		if e.version <= from || e.resource != resource || (namespace != "" && namespace != s.namespace) {
			continue
		}
		if resource == eventsResource {
			changes = append(changes, change{e.kind, e.warning.object(s, at)})
		} else {
			changes = append(changes, change{e.kind, e.workload.object(s, at)})
		}
	}
	return changes, k.version, k.news
}

// kubeconfig serves a file with a context for each cluster, named like it.
func (f *Fleet) kubeconfig(w http.ResponseWriter, r *http.Request) {
	type named struct {
		Name    string            `json:"name"`
		Cluster map[string]string `json:"cluster,omitempty"`
		Context map[string]string `json:"context,omitempty"`
		User    map[string]string `json:"user,omitempty"`
	}
	var clusters, contexts []named
	for _, c := range f.clusters {
		server := "http://" + r.Host + "/clusters/" + c.name + "/kube"
		clusters = append(clusters, named{Name: c.name, Cluster: map[string]string{"server": server}})
		contexts = append(contexts, named{Name: c.name, Context: map[string]string{"cluster": c.name, "user": "anybody"}})
	}
	writeJSON(w, map[string]any{ // JSON is YAML.
		"apiVersion": "v1", "kind": "Config", "clusters": clusters, "contexts": contexts,
		"users":           []named{{Name: "anybody", User: map[string]string{"username": "anybody"}}},
		"current-context": f.clusters[0].name,
	})
}
