package api

import (
	"net/http"
	"time"

	"tocsin/remediation/action"
)

// reportSpan is what a report is about that nobody has asked for a time of.
const reportSpan = 7 * 24 * time.Hour

// report says what was done about releases in a time, or would have been: as JSON, or as text for
// people.
func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("format") != "text" {
		answer(func(r *http.Request) (page, error) {
			report, err := s.reported(r)
			return page{data: report}, err
		})(w, r)
		return
	}
	report, err := s.reported(r)
	if err != nil {
		answer(func(*http.Request) (page, error) { return page{}, err })(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(report.String())) // A client that has gone misses nothing.
}

func (s *Server) reported(r *http.Request) (action.Report, error) {
	p, err := parameters(r, "format", "from", "to")
	if err != nil {
		return action.Report{}, err
	}
	if _, err := p.oneOf("format", "json", "text"); err != nil {
		return action.Report{}, err
	}
	from, err := p.time("from")
	if err != nil {
		return action.Report{}, err
	}
	to, err := p.time("to")
	if err != nil {
		return action.Report{}, err
	}
	if to.IsZero() {
		to = time.Now().UTC()
	}
	if from.IsZero() {
		from = to.Add(-reportSpan)
	}
	if !from.Before(to) {
		return action.Report{}, bad("from %s is not before to %s",
			from.Format(time.RFC3339), to.Format(time.RFC3339))
	}
	if s.opts.Actions == nil {
		return action.Report{}, errInactive()
	}
	return s.opts.Actions.Weekly(from, to), nil
}
