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

// maxName bounds what a person may call themselves.
const maxName = 200

// order is the body of a request to acknowledge or resolve an incident.
type order struct {
	By string `json:"by"` // Who says so; the user of basic authentication if it is missing.
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
	if _, err := parameters(r); err != nil {
		return page{}, err
	}
	by, err := orderedBy(r)
	if err != nil {
		return page{}, err
	}
	i, err := do(r.PathValue("id"), by, time.Now())
	switch {
	case errors.Is(err, incident.ErrUnknown):
		return page{}, absent("there is no open incident with the ID %q", r.PathValue("id"))
	case errors.Is(err, incident.ErrResolved):
		return page{}, &failure{http.StatusConflict, errorConflict, err}
	case err != nil:
		return page{}, err
	}
	s.logger.Info("Incident was changed by a person", "path", r.URL.Path, "by", by, "client", r.RemoteAddr)
	return page{data: i}, nil
}

// orderedBy reads the body of r and returns who wants something done. The type of the content matters: a form that
// another site has a browser send cannot have it.
func orderedBy(r *http.Request) (string, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return "", &failure{
			http.StatusUnsupportedMediaType, errorBadData,
			errors.New(`send {"by": "your name"} with Content-Type: application/json`),
		}
	}
	var o order
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return "", &failure{http.StatusRequestEntityTooLarge, errorBadData, err}
		}
		return "", bad(`the body is not {"by": "your name"}: %w`, err)
	}
	if user, _, ok := r.BasicAuth(); ok && o.By == "" {
		o.By = user
	}
	o.By = strings.TrimSpace(o.By)
	if o.By == "" || len(o.By) > maxName {
		return "", bad("by: write who does this, in at most %d letters", maxName)
	}
	return o.By, nil
}
