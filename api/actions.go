package api

import (
	"encoding/json"
	"errors"
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
	By   string `json:"by"`   // Who says so; the user of basic authentication if it is missing.
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
	o, err := ordered(r)
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
		return page{}, &failure{http.StatusConflict, errorConflict, err}
	case err != nil:
		return page{}, err
	}
	s.logger.Info("Incident was changed by a person",
		"path", r.URL.Path, "by", o.By, "client", r.RemoteAddr)
	return page{data: i}, nil
}

// reconcile accepts the damage of the journal.
func (s *Server) reconcile(r *http.Request) (page, error) {
	o, err := ordered(r)
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

// ordered reads the body of r: who wants something done. The type of the content matters: a form
// that another site has a browser send cannot have it.
func ordered(r *http.Request) (order, error) {
	var o order
	if _, err := parameters(r); err != nil {
		return o, err
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return o, &failure{
			http.StatusUnsupportedMediaType, errorBadData,
			errors.New(`send {"by": "your name"} with Content-Type: application/json`),
		}
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return o, &failure{http.StatusRequestEntityTooLarge, errorBadData, err}
		}
		return o, bad(`the body is not {"by": "your name"}: %w`, err)
	}
	if user, _, ok := r.BasicAuth(); ok && o.By == "" {
		o.By = user
	}
	o.By = strings.TrimSpace(o.By)
	if o.By == "" || len(o.By) > maxName {
		return o, bad("by: write who does this, in at most %d letters", maxName)
	}
	return o, nil
}
