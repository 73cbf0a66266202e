package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

// Handler serves the fleet:
//
//	GET    /                          an index for people
//	GET    /clusters/<name>/metrics   the metrics of a cluster
//	GET    /clusters/<name>/kube/     its Kubernetes API: workloads and Warning events
//	GET    /sd                        the clusters, for http_sd_configs
//	GET    /kubeconfig                a context for each cluster
//	GET    /api/state                 State
//	POST   /api/scenario              faults that begin now (at counts from now), in YAML or JSON
//	DELETE /api/scenario              ends all faults
//	POST   /api/pods                  Outside
//	GET    /-/healthy                 200
func (f *Fleet) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, c := range f.clusters {
		mux.Handle("GET /clusters/"+c.name+"/metrics", f.metrics(c))
		kube := "/clusters/" + c.name + "/kube"
		mux.Handle(kube+"/", http.StripPrefix(kube, f.kubeHandler(c)))
	}
	mux.HandleFunc("GET /{$}", f.index)
	mux.HandleFunc("GET /sd", f.discovery)
	mux.HandleFunc("GET /kubeconfig", f.kubeconfig)
	mux.HandleFunc("GET /api/state",
		func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, f.State()) })
	mux.HandleFunc("POST /api/scenario", f.postScenario)
	mux.HandleFunc("DELETE /api/scenario", func(w http.ResponseWriter, _ *http.Request) {
		f.Calm()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /api/pods", f.postPods)
	mux.HandleFunc("GET /-/healthy", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// metrics serves one cluster. Compression costs more than it saves on a loopback.
func (f *Fleet) metrics(c *cluster) http.Handler {
	gather := func() ([]*dto.MetricFamily, error) { return c.gather(f), nil }
	opts := promhttp.HandlerOpts{EnableOpenMetrics: true, DisableCompression: true}
	h := promhttp.HandlerFor(prometheus.GathererFunc(gather), opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		out := c.outage(f.Elapsed().Seconds())
		c.mu.Unlock()
		if out {
			http.Error(w, "scrape outage on the script", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

var indexPage = template.Must(template.New("index").Parse(`<!doctype html><title>fleetsim</title>
<h1>fleetsim</h1><p>{{.Now}} in the fleet, seed {{.Seed}}.
<ul>{{range .Clusters}}<li><a href="/clusters/{{.Name}}/metrics">{{.Name}}</a>,
{{len .Services}} services{{end}}</ul>
<p><a href="/api/state">state</a>, <a href="/sd">targets</a>, <a href="/kubeconfig">kubeconfig</a>,
{{len .Faults}} faults on the script.
`))

func (f *Fleet) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := indexPage.Execute(w, f.State()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// target is an entry of Prometheus' http_sd format.
type target struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func (f *Fleet) discovery(w http.ResponseWriter, r *http.Request) {
	targets := make([]target, 0, len(f.clusters))
	for _, c := range f.clusters {
		targets = append(targets, target{
			Targets: []string{r.Host},
			Labels: map[string]string{
				"__metrics_path__": "/clusters/" + c.name + "/metrics",
				"cluster":          c.name,
			},
		})
	}
	writeJSON(w, targets)
}

const maxBody = 4 << 20

func (f *Fleet) postScenario(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	faults, err := ParseScenario("request", text)
	if err == nil {
		now := f.Elapsed()
		for i := range faults {
			faults[i].At += now
		}
		err = f.Inject(faults...)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, map[string]int{"faults": len(faults)})
}

func (f *Fleet) postPods(w http.ResponseWriter, r *http.Request) {
	var request Outside
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		http.Error(w, fmt.Sprintf("read pods: %v", err), http.StatusBadRequest)
		return
	}
	switch err := f.SetPods(request); {
	case errors.Is(err, ErrUnknownCluster):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
