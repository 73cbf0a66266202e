package api

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxBody bounds the body of a request.
const maxBody = 1 << 20

// endpoint is one thing that the server answers.
type endpoint struct {
	method  string // "" for all that the handler knows.
	path    string // As http.ServeMux has it.
	name    string // Of the handler, in metrics.
	changes bool   // State; strangers are refused.
	serve   http.HandlerFunc
}

// endpoints returns all that there is.
func (s *Server) endpoints() []endpoint {
	metrics := promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{
		MaxRequestsInFlight: 8,
		Timeout:             30 * time.Second,
		EnableOpenMetrics:   true,
	})
	const own = "/api/tocsin/v1/"
	return []endpoint{
		{"GET", "/{$}", "index", false, s.index},
		{"GET", "/-/healthy", "healthy", false, s.healthy},
		{"GET", "/-/ready", "ready", false, s.ready},
		{"POST", "/-/reload", "reload", true, s.reload},
		{"PUT", "/-/reload", "reload", true, s.reload},
		{"GET", "/metrics", "metrics", false, metrics.ServeHTTP},
		{"", "/api/v1/", "query", false, s.opts.Query.ServeHTTP},
		{"GET", own + "status", "status", false, answer(s.status)},
		{"GET", own + "clusters", "clusters", false, answer(s.clusters)},
		{"GET", own + "services", "services", false, answer(s.services)},
		{"GET", own + "services/{cluster}/{namespace}/{service}", "service", false, answer(s.service)},
		{"GET", own + "findings", "findings", false, answer(s.findings)},
		{"GET", own + "findings/{id}", "finding", false, answer(s.finding)},
		{"GET", own + "incidents", "incidents", false, answer(s.incidents)},
		{"GET", own + "incidents/{id}", "incident", false, answer(s.incident)},
		{"POST", own + "incidents/{id}/acknowledge", "acknowledge", true, answer(s.acknowledge)},
		{"POST", own + "incidents/{id}/resolve", "resolve", true, answer(s.resolve)},
		{"POST", own + "findings/{id}/feedback", "feedback_finding", true, answer(s.judgeFinding)},
		{"POST", own + "incidents/{id}/feedback", "feedback_incident", true, answer(s.judgeIncident)},
		{"GET", own + "feedback", "feedbacks", false, answer(s.feedbacks)},
		{"GET", own + "feedback/{id}", "feedback", false, answer(s.feedback)},
		{"DELETE", own + "feedback/{id}", "feedback_undo", true, answer(s.undoFeedback)},
		{"GET", own + "releases", "releases", false, answer(s.releases)},
		{"GET", own + "releases/{id}", "release", false, answer(s.release)},
		{"POST", own + "releases/{id}/mark", "mark", true, answer(s.mark)},
		{"GET", own + "actions", "actions", false, answer(s.actions)},
		{"GET", own + "actions/{id}", "action", false, answer(s.action)},
		{"POST", own + "actions/{id}/approve", "approve", true, answer(s.approve)},
		{"POST", own + "actions/{id}/abort", "abort", true, answer(s.abort)},
		{"POST", own + "actions/{id}/retry", "retry", true, answer(s.retry)},
		{"GET", own + "pauses", "pauses", false, answer(s.pauses)},
		{"POST", own + "pauses", "pause", true, answer(s.suspend)},
		{"DELETE", own + "pauses/{id}", "resume", true, answer(s.proceed)},
		{"GET", own + "report", "report", false, s.report},
		{"GET", own + "changes", "changes", false, answer(s.changes)},
		{"POST", own + "journal/reconcile", "reconcile", true, answer(s.reconcile)},
		{"GET", own + "changes/{id...}", "change", false, answer(s.change)},
	}
}

// newHandler puts the endpoints together with what stands before them.
func (s *Server) newHandler() (http.Handler, error) {
	crossSite := http.NewCrossOriginProtection()
	if u := s.opts.ExternalURL; u.Host != "" {
		if err := crossSite.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("external URL %s: %w", u, err)
		}
	}
	mux := http.NewServeMux()
	for _, e := range s.endpoints() {
		s.metrics.preset(e.name)
		h := http.Handler(e.serve)
		if e.changes {
			h = s.guard(h, crossSite)
		}
		pattern := strings.TrimSpace(e.method + " " + e.path)
		mux.Handle(pattern, s.observe(e.name, h))
	}
	s.metrics.preset("other")
	mux.Handle("/", s.observe("other", http.HandlerFunc(s.unknown)))
	return s.underPrefix(mux), nil
}

// underPrefix serves h below the path of the external URL.
func (s *Server) underPrefix(h http.Handler) http.Handler {
	if s.prefix == "" {
		return h
	}
	mux := http.NewServeMux()
	mux.Handle(s.prefix+"/", http.StripPrefix(s.prefix, h))
	mux.Handle("/{$}", http.RedirectHandler(s.prefix+"/", http.StatusFound))
	return mux
}

// observe counts and times requests, bounds their bodies, sets the headers that keep browsers
// from guessing, and turns a panic into an answer.
func (s *Server) observe(name string, h http.Handler) http.Handler {
	duration := s.metrics.duration.WithLabelValues(name)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		s.metrics.inFlight.Inc()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				s.recovered(rec, r, p)
			}
			s.metrics.inFlight.Dec()
			duration.Observe(time.Since(start).Seconds())
			s.metrics.requests.WithLabelValues(name, rec.class()).Inc()
		}()
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h.ServeHTTP(rec, r)
	})
}

// recovered answers a request whose handler has panicked. http.ErrAbortHandler is not a bug but a
// wish.
func (s *Server) recovered(w *recorder, r *http.Request, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	s.metrics.panics.Inc()
	s.logger.Error("Request ended in a panic", "method", r.Method, "path", r.URL.Path,
		"err", p, "stack", string(debug.Stack()))
	if w.code == 0 {
		fail(w, http.StatusInternalServerError, errorInternal, "a bug, which was logged")
	}
}

// recorder remembers the status code of an answer.
type recorder struct {
	http.ResponseWriter
	code int
}

func (w *recorder) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the writer's other abilities.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) class() string {
	if w.code == 0 {
		return classes[1] // Nothing was written, which net/http makes a 200.
	}
	return classes[min(max(w.code/100, 1), len(classes))-1]
}

// unknown answers for paths that are none, and for methods that a path does not have.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) {
	known := make(map[string]bool)
	for _, e := range s.endpoints() {
		if e.method != "" && matches(e.path, r.URL.Path) {
			known[e.method] = true
		}
	}
	if len(known) == 0 {
		fail(w, http.StatusNotFound, errorNotFound, "there is nothing at "+r.URL.Path)
		return
	}
	var methods []string
	for _, m := range []string{"GET", "POST", "PUT", "DELETE"} {
		if known[m] {
			methods = append(methods, m)
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	fail(w, http.StatusMethodNotAllowed, errorMethod, fmt.Sprintf("%s does not know %s; use %s",
		r.URL.Path, r.Method, strings.Join(methods, " or ")))
}

// matches says whether path is one that a pattern stands for.
func matches(pattern, path string) bool {
	pattern = strings.TrimSuffix(pattern, "{$}")
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	for i, part := range want {
		switch {
		case strings.HasSuffix(part, "...}"):
			return i < len(got)
		case i >= len(got) || part != got[i] && !strings.HasPrefix(part, "{"):
			return false
		}
	}
	return len(want) == len(got)
}
