package api

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "tocsin is healthy\n")
}

// ready says of each condition whether it is met, and answers 503 until all are.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	code := http.StatusOK
	var text strings.Builder
	for _, c := range s.opts.Ready() {
		if c.Reason == "" && c.Warning != "" {
			fmt.Fprintf(&text, "%s: ready, but %s\n", c.Name, c.Warning)
			continue
		}
		if c.Reason == "" {
			fmt.Fprintf(&text, "%s: ready\n", c.Name)
			continue
		}
		code = http.StatusServiceUnavailable
		fmt.Fprintf(&text, "%s: not ready: %s\n", c.Name, c.Reason)
	}
	if code == http.StatusOK {
		text.WriteString("tocsin is ready\n")
	} else {
		text.WriteString("tocsin is not ready\n")
	}
	plain(w, code, text.String())
}

// reload applies the configuration file. The old one stays in force if it cannot be used.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if err := s.opts.Reload(r.Context()); err != nil {
		text := fmt.Sprintf("the old configuration stays: %v\n", err)
		plain(w, http.StatusInternalServerError, text)
		return
	}
	plain(w, http.StatusOK, "the configuration was reloaded\n")
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // A client that has gone misses nothing.
}

// links are what the index leads to.
var links = [...]struct{ Path, Text string }{
	{"/api/tocsin/v1/incidents?state=open", "open incidents"},
	{"/api/tocsin/v1/findings?state=open", "open findings"},
	{"/api/tocsin/v1/services", "services"},
	{"/api/tocsin/v1/changes", "changes"},
	{"/api/tocsin/v1/feedback?state=active", "feedback in force"},
	{"/api/tocsin/v1/clusters", "clusters"},
	{"/api/tocsin/v1/status", "status"},
	{"/api/v1/query?query=topk(10,tocsin_score)", "highest scores"},
	{"/api/v1/status/config", "configuration"},
	{"/-/ready", "readiness"},
	{"/metrics", "metrics"},
}

var indexPage = template.Must(template.New("index").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>tocsin</title>
<style>body { font: 16px/1.5 sans-serif; margin: 2em }</style>
<h1>tocsin {{.Version}}</h1>
<p>Queries in PromQL are answered below {{.Prefix}}/api/v1/, as by a Prometheus.
<ul>
{{range .Links}}<li><a href="{{$.Prefix}}{{.Path}}">{{.Text}}</a>
{{end}}</ul>
</html>
`))

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	values := map[string]any{"Version": s.opts.Version, "Prefix": s.prefix, "Links": links}
	if err := indexPage.Execute(w, values); err != nil {
		s.logger.Debug("Client went away", "err", err)
	}
}
