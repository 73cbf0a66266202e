package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	"tocsin/incident"
)

// What a person may call themselves, and what they may note.
const (
	maxName = 200
	maxNote = 10_000
)

// order is the body of a request that a person sends to change something.
type order struct {
	By   string `json:"by"`   // Who says so; whoever is authenticated if it is missing.
	Note string `json:"note"` // Only for reconcile: what was compared.
}

func (s *Server) acknowledge(r *http.Request) (page, error) {
	return s.act(r, s.opts.Incidents.Acknowledge)
}

func (s *Server) resolve(r *http.Request) (page, error) {
	return s.act(r, s.opts.Incidents.Resolve)
}

// act does something to the incident of r's ID and returns it as it is then.
func (s *Server) act(
	r *http.Request, do func(id, by string, at time.Time) (incident.Incident, error),
) (page, error) {
	o, err := s.ordered(r)
	if err != nil {
		return page{}, err
	}
	if o.Note != "" {
		return page{}, bad("note: an incident has none")
	}
	i, err := do(r.PathValue("id"), o.By, time.Now())
	switch {
	case errors.Is(err, incident.ErrUnknown):
		return page{}, absent("there is no open incident with the ID %q", r.PathValue("id"))
	case errors.Is(err, incident.ErrResolved):
		return page{}, conflict(err)
	case err != nil:
		return page{}, err
	}
	s.logger.Info("Incident was changed by a person",
		"path", r.URL.Path, "by", o.By, "client", r.RemoteAddr)
	return page{data: i}, nil
}

// reconcile accepts the damage of the journal.
func (s *Server) reconcile(r *http.Request) (page, error) {
	o, err := s.ordered(r)
	if err != nil {
		return page{}, err
	}
	if o.Note = strings.TrimSpace(o.Note); o.Note == "" || len(o.Note) > maxNote {
		return page{}, bad("note: write what was compared, in at most %d letters", maxNote)
	}
	if err := s.opts.Reconcile(r.Context(), o.By, o.Note); err != nil {
		return page{}, err
	}
	s.logger.Warn("Damage of the journal was accepted by a person",
		"by", o.By, "client", r.RemoteAddr)
	return page{data: o}, nil
}

// ordered reads the body of r: who wants something done.
func (s *Server) ordered(r *http.Request) (order, error) {
	var o order
	if _, err := parameters(r); err != nil {
		return o, err
	}
	if err := decode(r, &o, `{"by": "your name"}`); err != nil {
		return o, err
	}
	var err error
	o.By, err = s.author(r, o.By)
	return o, err
}

// decode reads the body of r, which has the form of want. The type of the content matters: a form
// that another site has a browser send cannot have it.
func decode(r *http.Request, v any, want string) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return &failure{
			http.StatusUnsupportedMediaType, errorBadData,
			fmt.Errorf("send %s with Content-Type: application/json", want),
		}
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return &failure{http.StatusRequestEntityTooLarge, errorBadData, err}
		}
		return bad("the body is not %s: %w", want, err)
	}
	return nil
}

// author returns who sends r: what the body says, or the name under which r is authenticated.
func (s *Server) author(r *http.Request, by string) (string, error) {
	by = strings.TrimSpace(by)
	if by == "" {
		by = strings.TrimSpace(s.authenticated(r))
	}
	if by == "" || len(by) > maxName {
		return "", bad("by: write who does this, in at most %d letters", maxName)
	}
	return by, nil
}

// authenticated returns the name of the user or of the certificate that r shows; "" if it shows
// neither. Where there are no passwords, a certificate says more than a user's name.
func (s *Server) authenticated(r *http.Request) string {
	user, _, ok := r.BasicAuth()
	shown := r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	if shown && !(ok && s.hasUsers()) {
		return r.TLS.VerifiedChains[0][0].Subject.CommonName
	}
	return user
}
