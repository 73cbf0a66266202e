package api

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"

	"go.yaml.in/yaml/v3"
)

// guard refuses to change state for those that it does not know, and for pages of other sites.
func (s *Server) guard(h http.Handler, crossSite *http.CrossOriginProtection) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := crossSite.Check(r); err != nil {
			s.metrics.refused.WithLabelValues(refusedCrossSite).Inc()
			fail(w, http.StatusForbidden, errorForbidden,
				"a page of another site may not change anything here")
			return
		}
		if !s.known(r) {
			s.metrics.refused.WithLabelValues(refusedStranger).Inc()
			s.logger.Warn("Change of state was refused", "path", r.URL.Path, "client", r.RemoteAddr)
			fail(w, http.StatusForbidden, errorForbidden, "only users of --web.config.file and "+
				"clients on the same host may change anything; see docs/formats/api.md")
			return
		}
		h.ServeHTTP(w, r)
	})
}

// known says whether the client of r may change state: it has shown a certificate or a password,
// or is on this host.
func (s *Server) known(r *http.Request) bool {
	if s.opts.Anonymous || s.hasUsers() || r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true
	}
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(header) != "" {
			return false // A proxy on this host speaks for somebody who is elsewhere.
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// hasUsers says whether the web configuration names users: then nobody else has come this far.
// The file is read each time because the exporter toolkit does so, too.
func (s *Server) hasUsers() bool {
	if s.opts.WebConfig == "" {
		return false
	}
	var config struct {
		Users map[string]string `yaml:"basic_auth_users"`
	}
	text, err := os.ReadFile(s.opts.WebConfig)
	if err = errors.Join(err, yaml.Unmarshal(text, &config)); err != nil {
		s.logger.Error("Web configuration cannot be read", "file", s.opts.WebConfig, "err", err)
		return false
	}
	return len(config.Users) > 0
}
