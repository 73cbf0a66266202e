package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"tocsin/remediation/action"
)

// Actions knows what is done about releases that have regressed, and does what people ask for.
// action.Engine is one. Its methods may be called concurrently. Errors wrap those that package
// action exports; then nothing has changed.
type Actions interface {
	Actions() []action.Action
	Approve(ctx context.Context, id, by, note string) (action.Action, error)
	Abort(ctx context.Context, id, by, why string) (action.Action, error)
	Retry(ctx context.Context, id, by, note string) (action.Action, error)

	Pauses() []action.Pause
	// Suspend stops actions: p has a scope, an end, an author and a reason.
	Suspend(ctx context.Context, p action.Pause) (action.Pause, error)
	Continue(ctx context.Context, id, by string) (action.Pause, error)

	// Weekly reports on the actions of a time.
	Weekly(from, to time.Time) action.Report
}

var _ Actions = (*action.Engine)(nil)

// errInactive answers for a daemon that does nothing about releases.
func errInactive() error {
	return unavailable("this daemon does nothing about releases")
}

// actionError says what an error of Actions is to a client.
func actionError(r *http.Request, what string, err error) error {
	switch {
	case errors.Is(err, action.ErrUnknown):
		return absent("there is no %s with the ID %q", what, r.PathValue("id"))
	case errors.Is(err, action.ErrOver), errors.Is(err, action.ErrExpired),
		errors.Is(err, action.ErrNotWaiting), errors.Is(err, action.ErrTooLate):
		return conflict(err)
	case errors.Is(err, action.ErrInvalid):
		return bad("%w", err)
	case errors.Is(err, action.ErrNotRecorded):
		return unavailable("%w", err)
	}
	return err
}

func actionList() list {
	l := list{
		name: "actions",
		data: with(map[string]string{"state": "state", "kind": "kind", "release": "release"}),
	}
	for _, state := range action.States() {
		l.live = append(l.live, string(state))
	}
	return l
}

// actions lists what the engine remembers, the newest first.
func (s *Server) actions(r *http.Request) (page, error) {
	if s.opts.Actions == nil {
		return page{}, errInactive()
	}
	return s.serveLive(r, actionList(), func() []item {
		all := s.opts.Actions.Actions()
		items := make([]item, 0, len(all))
		for _, a := range all {
			items = append(items, item{
				id: a.ID, at: a.Changed, order: a.Proposed, service: a.Service,
				values: map[string]string{
					"state": string(a.State), "kind": string(a.Kind), "release": a.Release,
				},
				data: a,
			})
		}
		return items
	})
}

func (s *Server) action(r *http.Request) (page, error) {
	if _, err := parameters(r); err != nil {
		return page{}, err
	}
	if s.opts.Actions == nil {
		return page{}, errInactive()
	}
	all := s.opts.Actions.Actions()
	i := slices.IndexFunc(all, func(a action.Action) bool { return a.ID == r.PathValue("id") })
	if i < 0 {
		return page{}, actionError(r, "action", action.ErrUnknown)
	}
	return page{data: all[i]}, nil
}

// decision is what a person wants of an action.
type decision func(ctx context.Context, id, by, note string) (action.Action, error)

func (s *Server) approve(r *http.Request) (page, error) {
	return s.decide(r, func(e Actions) decision { return e.Approve })
}

func (s *Server) abort(r *http.Request) (page, error) {
	return s.decide(r, func(e Actions) decision { return e.Abort })
}

func (s *Server) retry(r *http.Request) (page, error) {
	return s.decide(r, func(e Actions) decision { return e.Retry })
}

// decide does what a person has decided about the action of r's ID and returns it as it is then.
func (s *Server) decide(r *http.Request, which func(Actions) decision) (page, error) {
	if s.opts.Actions == nil {
		return page{}, errInactive()
	}
	o, err := s.ordered(r)
	if err != nil {
		return page{}, err
	}
	if o.By, err = s.signed(r, o.By); err != nil {
		return page{}, err
	}
	if o.Note, err = noted("note", o.Note); err != nil {
		return page{}, err
	}
	a, err := which(s.opts.Actions)(r.Context(), r.PathValue("id"), o.By, o.Note)
	if err != nil {
		return page{}, actionError(r, "action", err)
	}
	s.logger.Info("A person has decided about an action", "path", r.URL.Path, "state", a.State,
		"service", a.Service, "by", o.By, "client", r.RemoteAddr)
	return page{data: a}, nil
}

// noted reads what a person adds.
func noted(field, text string) (string, error) {
	text = strings.TrimSpace(text)
	if utf8.RuneCountInString(text) > maxOpinionNote {
		return "", bad("%s: write at most %d letters", field, maxOpinionNote)
	}
	return text, nil
}
