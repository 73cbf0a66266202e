// Package api serves HTTP: queries over scores, the JSON API, health, readiness, reload and
// metrics.
//
// docs/formats/api.md describes every endpoint. What changes state is refused to strangers: a
// request must be authenticated or come from the same host, and a browser may send it only from a
// page of tocsin's own.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/net/netutil"

	"tocsin/detector"
	"tocsin/incident"
)

// maxConnections is how many clients each listener serves at a time; others wait.
const maxConnections = 512

// Options configures a Server. Zero values of optional fields stand for the defaults given here.
type Options struct {
	Addresses   []string // To listen on; ":9977".
	WebConfig   string   // File of the exporter toolkit with TLS and users; none.
	ExternalURL *url.URL // As people reach the server; its path stands before all others. "/".
	Anonymous   bool     // Whoever reaches the server may change state.
	Version     string   // Of tocsin.

	Gatherer prometheus.Gatherer // Required. Served at /metrics.
	Query    http.Handler        // Required. Serves /api/v1/.

	Ready     func() []Condition          // Required. What readiness depends on.
	Reload    func(context.Context) error // Required.
	Status    func(context.Context) (Status, error)
	Clusters  func(context.Context) ([]Cluster, error)
	Services  Services
	Findings  Findings
	Incidents Incidents
	Opinions  Opinions
	History   History
	Releases  Releases // Nil: releases are not followed.
	Actions   Actions  // Nil: nothing is done about them.
	// Reconcile accepts the damage of the journal that is known, as journal.Reconcile does.
	Reconcile func(ctx context.Context, by, note string) error

	Grace  time.Duration         // How long requests may go on when Run ends; 10s.
	Logger *slog.Logger          // Discards.
	Reg    prometheus.Registerer // Nil keeps the metrics private.
}

// Condition is one thing that readiness depends on.
type Condition struct {
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"` // Why it is not met; "": it is.
	// What is wrong all the same, and does not keep the server from being ready.
	Warning string `json:"warning,omitempty"`
}

// Services knows the services of a cluster and what their signals do.
type Services interface {
	// Services returns those of one cluster, ordered; none of a cluster that is not known.
	Services(ctx context.Context, cluster string) ([]detector.ServiceStatus, error)
}

// Findings knows the findings that are open.
type Findings interface {
	Findings(ctx context.Context) ([]detector.Finding, error)
}

// Incidents knows the incidents as they are now. Errors wrap incident.ErrUnknown and
// incident.ErrResolved.
type Incidents interface {
	Incidents() []incident.Incident
	Acknowledge(id, by string, at time.Time) (incident.Incident, error)
	Resolve(id, by string, at time.Time) (incident.Incident, error)
}

// History reads back what was reported, newest first, and of what was reported repeatedly only
// the newest report, unless all are asked for.
type History interface {
	Read(ctx context.Context, q HistoryQuery) ([]Record, error)
}

// Kinds of record.
const (
	KindFinding  = "finding"
	KindIncident = "incident"
	KindChange   = "change"
	KindFeedback = "feedback"
	KindRelease  = "release" // A release.Record, or what has its fields; the key is the release's ID.
)

// HistoryQuery says which records to read.
type HistoryQuery struct {
	Kind   string
	Key    string            // With this key; with any.
	Match  map[string]string // Whose data hold these values, by path: {"service.cluster": "eu-1"}.
	Since  time.Time         // Reported then or later, unless zero.
	Until  time.Time         // Reported before, unless zero.
	Before int64             // With a smaller number, unless 0.
	Limit  int               // At most so many.
	All    bool              // Every report of the same thing.
}

// Record is one report.
type Record struct {
	Seq  int64
	Key  string
	Data json.RawMessage
}

func (o *Options) setDefaults() error {
	for name, missing := range map[string]bool{
		"Gatherer": o.Gatherer == nil, "Query": o.Query == nil,
		"Ready": o.Ready == nil, "Reload": o.Reload == nil,
		"Status": o.Status == nil, "Clusters": o.Clusters == nil,
		"Services": o.Services == nil, "Findings": o.Findings == nil,
		"Incidents": o.Incidents == nil, "Opinions": o.Opinions == nil,
		"History": o.History == nil,
	} {
		if missing {
			return fmt.Errorf("api: option %s is missing", name)
		}
	}
	if len(o.Addresses) == 0 {
		o.Addresses = []string{":9977"}
	}
	if o.Reconcile == nil {
		o.Reconcile = func(context.Context, string, string) error {
			return errors.New("there is no journal")
		}
	}
	if o.ExternalURL == nil {
		o.ExternalURL = &url.URL{Path: "/"}
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Server is the HTTP server.
type Server struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics
	prefix  string // Path of the external URL, without a slash at its end.
	handler http.Handler

	mu        sync.Mutex // Guards what follows.
	listeners []net.Listener
}

// New returns a server that does not listen yet. It fails if the web configuration file cannot be
// used.
func New(opts Options) (*Server, error) {
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	if err := web.Validate(opts.WebConfig); err != nil {
		return nil, fmt.Errorf("web configuration %s: %w", opts.WebConfig, err)
	}
	s := &Server{
		opts:    opts,
		logger:  opts.Logger,
		metrics: newMetrics(opts.Reg),
		prefix:  strings.TrimRight(opts.ExternalURL.Path, "/"),
	}
	var err error
	s.handler, err = s.newHandler()
	return s, err
}

// Handler returns what Run serves, but for TLS and authentication.
func (s *Server) Handler() http.Handler { return s.handler }

// Listen opens the listening sockets, so that what is wrong with the addresses is known before
// anything runs.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.listeners) > 0 {
		return nil
	}
	for _, address := range s.opts.Addresses {
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", address)
		if err != nil {
			err = fmt.Errorf("listen on %s: %w", address, err)
			return errors.Join(err, s.closeListeners())
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// Addrs returns the addresses on which the server listens.
func (s *Server) Addrs() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	addrs := make([]net.Addr, 0, len(s.listeners))
	for _, l := range s.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// closeListeners closes what Listen has opened. s.mu is held.
func (s *Server) closeListeners() error {
	var err error
	for _, l := range s.listeners {
		err = errors.Join(err, l.Close())
	}
	s.listeners = nil
	return err
}

// Run serves until ctx is done; requests under way may then go on for Grace. It returns nil
// unless serving failed.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	s.mu.Lock()
	listeners := make([]net.Listener, 0, len(s.listeners))
	for _, l := range s.listeners {
		listeners = append(listeners, netutil.LimitListener(l, maxConnections))
	}
	s.mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		ended <- web.ServeMultiple(listeners, server, &web.FlagConfig{
			WebListenAddresses: &s.opts.Addresses,
			WebConfigFile:      &s.opts.WebConfig,
		}, s.logger)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	return s.shutdown(ctx, server, ended)
}

// shutdown lets requests under way end, and cuts off those that do not.
func (s *Server) shutdown(ctx context.Context, server *http.Server, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.logger.Warn("Requests did not end in time and were cut off", "err", err)
		if err := server.Close(); err != nil {
			s.logger.Debug("Server did not close cleanly", "err", err)
		}
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}
