package api

import (
	"net/http"
	"slices"

	"tocsin/detector"
	"tocsin/fleet"
)

// services lists services with the newest score of each of their signals.
func (s *Server) services(r *http.Request) (page, error) {
	p, err := parameters(r, "cluster", "namespace", "service", "signal", "state", "limit", "cursor")
	if err != nil {
		return page{}, err
	}
	_, err = p.oneOf("state", string(detector.Warming), string(detector.Normal),
		string(detector.Finds), string(detector.Silent))
	if err != nil {
		return page{}, err
	}
	names, err := s.clusterNames(r, p)
	if err != nil {
		return page{}, err
	}
	var kept []detector.ServiceStatus
	for _, name := range names {
		all, err := s.opts.Services.Services(r.Context(), name)
		if err != nil {
			return page{}, err
		}
		for _, service := range all {
			if p.wants(&service) {
				kept = append(kept, service)
			}
		}
	}
	slices.SortFunc(kept, func(a, b detector.ServiceStatus) int {
		return a.Service.Compare(b.Service)
	})
	return cut(p, "services", kept, func(s detector.ServiceStatus) string {
		// Sorts as Compare does: no name has a character below the separator.
		return s.Service.Cluster + "\x00" + s.Service.Namespace + "\x00" + s.Service.Name
	})
}

// clusterNames returns the clusters that p asks for.
func (s *Server) clusterNames(r *http.Request, p params) ([]string, error) {
	if name, ok := p["cluster"]; ok {
		return []string{name}, nil
	}
	all, err := s.opts.Clusters(r.Context())
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(all))
	for _, c := range all {
		names = append(names, c.Name)
	}
	return names, nil
}

// wants says whether p asks for s. A signal and a state narrow down its signals, too.
func (p params) wants(s *detector.ServiceStatus) bool {
	if !p.names(s.Service) {
		return false
	}
	signal, state := p["signal"], p["state"]
	if signal == "" && state == "" {
		return true
	}
	kept := make([]detector.SeriesStatus, 0, len(s.Signals))
	for _, x := range s.Signals {
		if (signal == "" || signal == x.Signal) && (state == "" || state == string(x.State)) {
			kept = append(kept, x)
		}
	}
	s.Signals = kept
	return len(kept) > 0
}

// names says whether p asks for a service.
func (p params) names(s fleet.Service) bool {
	for name, value := range map[string]string{
		"cluster": s.Cluster, "namespace": s.Namespace, "service": s.Name,
	} {
		if want, ok := p[name]; ok && want != value {
			return false
		}
	}
	return true
}

// service returns one service.
func (s *Server) service(r *http.Request) (page, error) {
	if _, err := parameters(r); err != nil {
		return page{}, err
	}
	want := fleet.Service{
		Cluster:   r.PathValue("cluster"),
		Namespace: r.PathValue("namespace"),
		Name:      r.PathValue("service"),
	}
	all, err := s.opts.Services.Services(r.Context(), want.Cluster)
	if err != nil {
		return page{}, err
	}
	for _, service := range all {
		if service.Service == want {
			return page{data: service}, nil
		}
	}
	return page{}, absent("service %s is not known", want)
}
