package api

import (
	"net/http"
	"time"
)

// Status says how the daemon is. What the parts say of themselves has the form that each of them
// documents.
type Status struct {
	Version       string       `json:"version"`
	Started       time.Time    `json:"started"`
	UptimeSeconds float64      `json:"uptime_seconds"`
	Roles         []string     `json:"roles"`
	Ready         bool         `json:"ready"`
	Conditions    []Condition  `json:"conditions"` // Of readiness; filled in by the server.
	Config        ConfigStatus `json:"config"`
	Clusters      []Cluster    `json:"clusters"` // Without Metrics and Workloads.

	// Signals that no series of any cluster has: mistyped, or not there.
	UnmatchedSignals []UnmatchedSignal `json:"unmatched_signals"`

	Detector      any `json:"detector"`      // detector.Status without its clusters.
	Journal       any `json:"journal"`       // journal.Status.
	Scores        any `json:"scores"`        // tsdb.Status.
	Notifications any `json:"notifications"` // Receivers, by name.
}

// ConfigStatus says which configuration is in force.
type ConfigStatus struct {
	File   string    `json:"file"`
	Hash   string    `json:"hash"`            // Of the file in force.
	Loaded time.Time `json:"loaded"`          // When it was.
	Failed time.Time `json:"failed,omitzero"` // When a newer one was refused, if one was,
	Error  string    `json:"error,omitempty"` // and why.
}

// UnmatchedSignal is a signal whose query finds nothing.
type UnmatchedSignal struct {
	Cluster string `json:"cluster"`
	Signal  string `json:"signal"`
	Reason  string `json:"reason"`
}

// Cluster says how well a cluster is known.
type Cluster struct {
	Name      string    `json:"name"`
	Reachable bool      `json:"reachable"` // Its metrics.
	Stale     bool      `json:"stale"`     // Nothing new for too long.
	Reason    string    `json:"reason,omitempty"`
	Newest    time.Time `json:"newest,omitzero"` // Instant that was scored.
	Services  int       `json:"services"`
	Series    int       `json:"series"`
	Warm      int       `json:"warm"`
	Warming   int       `json:"warming"`
	Silent    int       `json:"silent"`
	Findings  int       `json:"findings"` // Open.
	Incidents int       `json:"incidents"`
	Backfill  float64   `json:"backfill_ratio"` // How much of the wanted history was read.

	Budget    any `json:"budget,omitempty"`    // detector.BudgetStatus.
	Metrics   any `json:"metrics,omitempty"`   // promql.Status: packs and signals.
	Workloads any `json:"workloads,omitempty"` // kube.Status: resources.
}

func (s *Server) status(r *http.Request) (page, error) {
	if _, err := parameters(r); err != nil {
		return page{}, err
	}
	st, err := s.opts.Status(r.Context())
	if err != nil {
		return page{}, err
	}
	st.Version = s.opts.Version
	st.Ready, st.Conditions = true, s.opts.Ready()
	for _, c := range st.Conditions {
		st.Ready = st.Ready && c.Reason == ""
	}
	return page{data: st}, nil
}

func (s *Server) clusters(r *http.Request) (page, error) {
	p, err := parameters(r, "cluster", "limit", "cursor")
	if err != nil {
		return page{}, err
	}
	all, err := s.opts.Clusters(r.Context())
	if err != nil {
		return page{}, err
	}
	kept := all[:0:0]
	for _, c := range all {
		if want, ok := p["cluster"]; !ok || want == c.Name {
			kept = append(kept, c)
		}
	}
	return cut(p, "clusters", kept, func(c Cluster) string { return c.Name })
}

// cut returns the page of a list, ordered by name, that p asks for.
func cut[T any](p params, list string, items []T, name func(T) string) (page, error) {
	limit, err := p.limit()
	if err != nil {
		return page{}, err
	}
	from, err := p.cursor(list)
	if err != nil {
		return page{}, err
	}
	out := make([]T, 0, min(limit, len(items)))
	for _, item := range items {
		switch {
		case name(item) <= from:
		case len(out) == limit:
			return page{data: out, next: next(list, name(out[limit-1]))}, nil
		default:
			out = append(out, item)
		}
	}
	return page{data: out}, nil
}
