package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"tocsin/remediation/action"
)

// pauses lists what stops actions, the newest first.
func (s *Server) pauses(r *http.Request) (page, error) {
	if s.opts.Actions == nil {
		return page{}, errInactive()
	}
	return s.serveLive(r, list{name: "pauses"}, func() []item {
		all := s.opts.Actions.Pauses()
		items := make([]item, 0, len(all))
		for _, p := range all {
			items = append(items, item{id: p.ID, at: latest(p.At, p.Lifted), order: p.At, data: p})
		}
		return items
	})
}

// stop is the body of a request that pauses actions.
type stop struct {
	Scope string    `json:"scope"` // "fleet", or cluster, namespace and service with slashes.
	Team  string    `json:"team"`
	Until time.Time `json:"until"`
	For   string    `json:"for"` // In place of Until.
	By    string    `json:"by"`
	Why   string    `json:"why"`
}

// wholeFleet is the scope of everything.
const wholeFleet = "fleet"

// suspend stops actions.
func (s *Server) suspend(r *http.Request) (page, error) {
	if s.opts.Actions == nil {
		return page{}, errInactive()
	}
	if _, err := parameters(r); err != nil {
		return page{}, err
	}
	var in stop
	err := decode(r, &in, `{"scope": "eu-1/shop", "for": "2h", "by": "your name", "why": "a reason"}`)
	if err != nil {
		return page{}, err
	}
	p, err := in.pause(time.Now().UTC())
	if err != nil {
		return page{}, err
	}
	if p.By, err = s.signed(r, in.By); err != nil {
		return page{}, err
	}
	if p, err = s.opts.Actions.Suspend(r.Context(), p); err != nil {
		return page{}, actionError(r, "pause", err)
	}
	s.logger.Warn("Actions were stopped by a person", "scope", p.Scope.String(), "until", p.Until,
		"why", p.Why, "by", p.By, "client", r.RemoteAddr)
	return page{data: p}, nil
}

// pause reads the pause that is asked for, without its author.
func (in *stop) pause(now time.Time) (action.Pause, error) {
	p := action.Pause{Cause: action.ByPeople}
	var err error
	if p.Why, err = noted("why", in.Why); err != nil {
		return p, err
	}
	if p.Scope, err = scope(in.Scope, in.Team); err != nil {
		return p, err
	}
	switch {
	case in.For != "" && !in.Until.IsZero():
		return p, bad("write either for or until")
	case in.For != "":
		d, err := model.ParseDuration(in.For)
		if err != nil || d <= 0 {
			return p, bad("for %q: write a duration such as 2h or 1d", in.For)
		}
		p.Until = now.Add(time.Duration(d))
	case !in.Until.IsZero():
		if p.Until = in.Until.UTC(); !p.Until.After(now) {
			return p, bad("until %s: that is over", p.Until.Format(time.RFC3339))
		}
	}
	return p, nil
}

// scope reads what a pause is about.
func scope(text, team string) (action.Scope, error) {
	var s action.Scope
	if team != "" {
		s.Teams = []string{team}
	}
	if text == wholeFleet || text == "" && team != "" {
		return s, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) > 3 || slices.Contains(parts, "") {
		return s, bad("scope %q: write fleet, cluster, cluster/namespace or "+
			"cluster/namespace/service; * stands for any letters", text)
	}
	for i, to := range []*[]string{&s.Clusters, &s.Namespaces, &s.Services}[:len(parts)] {
		if parts[i] != "*" {
			*to = []string{parts[i]}
		}
	}
	return s, nil
}

// proceed lifts a pause. Who is authenticated by name may send no body.
func (s *Server) proceed(r *http.Request) (page, error) {
	if s.opts.Actions == nil {
		return page{}, errInactive()
	}
	by, err := s.signature(r)
	if err != nil {
		return page{}, err
	}
	p, err := s.opts.Actions.Continue(r.Context(), r.PathValue("id"), by)
	if err != nil {
		return page{}, actionError(r, "pause", err)
	}
	s.logger.Warn("A pause was lifted by a person",
		"scope", p.Scope.String(), "by", by, "client", r.RemoteAddr)
	return page{data: p}, nil
}
