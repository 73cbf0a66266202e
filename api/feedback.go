package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

// maxOpinionNote is how many letters an opinion may add.
const maxOpinionNote = 1000

// Errors of Opinions.
var (
	// ErrNoFeedback means that nobody has given feedback of this ID.
	ErrNoFeedback = errors.New("there is no such feedback")
	// ErrFeedbackOver means that the feedback is in force no more.
	ErrFeedbackOver = errors.New("the feedback is in force no more")
	// ErrTooOld means that an opinion would move no threshold any more.
	ErrTooOld = errors.New("it began more than 8 weeks ago: an opinion has no effect any more")
	// ErrNotRecorded means that the opinion could not be written down and so has no effect.
	ErrNotRecorded = errors.New("nothing was changed, because it cannot be written down")
)

// Opinions keeps what people think of findings. Its methods may be called concurrently.
type Opinions interface {
	// Give puts feedback in force that has neither ID nor state, and returns it with both. It
	// takes the place of what its author said before of the same findings. What is in force
	// already, word for word, is returned as it is. Errors wrap ErrTooOld or ErrNotRecorded: then
	// nothing has changed.
	Give(context.Context, Feedback) (Feedback, error)
	// Undo takes feedback out of force. Errors wrap ErrNoFeedback, ErrFeedbackOver or
	// ErrNotRecorded.
	Undo(ctx context.Context, id, by string, at time.Time) (Feedback, error)
}

// FeedbackState says whether feedback is in force.
type FeedbackState string

// The states of feedback.
const (
	FeedbackActive   FeedbackState = "active"
	FeedbackReplaced FeedbackState = "replaced" // Its author thinks otherwise now.
	FeedbackUndone   FeedbackState = "undone"
	FeedbackExpired  FeedbackState = "expired"
)

// Feedback is what a person thinks of a finding, or of all findings that an incident had then.
type Feedback struct {
	ID       string           `json:"id"`
	State    FeedbackState    `json:"state"`
	Opinion  detector.Opinion `json:"opinion"`
	Note     string           `json:"note,omitempty"`
	By       string           `json:"by"`
	At       time.Time        `json:"at"`
	Finding  string           `json:"finding,omitempty"`  // ID of what it is about; of an incident
	Incident string           `json:"incident,omitempty"` // this one.
	Service  fleet.Service    `json:"service"`            // Of the finding; where the incident began.
	Signal   string           `json:"signal,omitempty"`   // Of the finding.
	Series   []JudgedSeries   `json:"series"`             // Whose thresholds it moves.
	Ended    time.Time        `json:"ended,omitzero"`     // When it was in force no more.
	EndedBy  string           `json:"ended_by,omitempty"` // The person, if one did it.
	Reason   string           `json:"reason,omitempty"`   // Why it expired.
}

// JudgedSeries is a series that feedback is about.
type JudgedSeries struct {
	Service    fleet.Service `json:"service"`
	Signal     string        `json:"signal"`
	Finding    string        `json:"finding"`
	Start      time.Time     `json:"start"`                 // Of the finding.
	ReplacedBy string        `json:"replaced_by,omitempty"` // ID of its author's newer feedback.
}

// opinion is the body of a request that gives feedback.
type opinion struct {
	Opinion detector.Opinion `json:"opinion"`
	Note    string           `json:"note"`
	By      string           `json:"by"`
}

// judgeFinding takes what a person thinks of a finding.
func (s *Server) judgeFinding(r *http.Request) (page, error) {
	return s.judge(r, func(f *Feedback) error {
		open, err := s.opts.Findings.Findings(r.Context())
		if err != nil {
			return err
		}
		found, err := find(s, r, KindFinding, open, func(f *detector.Finding) string { return f.ID })
		if err != nil {
			return err
		}
		f.Finding, f.Service, f.Signal = found.ID, found.Service, found.Signal
		f.Series = judged(found)
		return nil
	})
}

// judgeIncident takes what a person thinks of an incident: of each of its findings.
func (s *Server) judgeIncident(r *http.Request) (page, error) {
	return s.judge(r, func(f *Feedback) error {
		known := s.opts.Incidents.Incidents()
		i, err := find(s, r, KindIncident, known, func(i *incident.Incident) string { return i.ID })
		if err != nil {
			return err
		}
		f.Incident, f.Service = i.ID, i.Service
		f.Series = judged(i.Findings...)
		return nil
	})
}

func judged(findings ...detector.Finding) []JudgedSeries {
	out := make([]JudgedSeries, len(findings))
	for i, f := range findings {
		out[i] = JudgedSeries{Service: f.Service, Signal: f.Signal, Finding: f.ID, Start: f.Start}
	}
	return out
}

// judge takes the opinion in r of what about writes into the feedback.
func (s *Server) judge(r *http.Request, about func(*Feedback) error) (page, error) {
	f, err := s.opined(r)
	if err != nil {
		return page{}, err
	}
	if err := about(&f); err != nil {
		return page{}, err
	}
	if len(f.Series) == 0 {
		return page{}, bad("incident %s has no finding that an opinion could be about", f.Incident)
	}
	if f, err = s.opts.Opinions.Give(r.Context(), f); err != nil {
		return page{}, feedbackError(r, err)
	}
	s.logger.Info("Feedback was given", "id", f.ID, "opinion", f.Opinion, "path", r.URL.Path,
		"by", f.By, "client", r.RemoteAddr)
	return page{data: f}, nil
}

// opined reads an opinion from the body of r.
func (s *Server) opined(r *http.Request) (Feedback, error) {
	var o opinion
	if _, err := parameters(r); err != nil {
		return Feedback{}, err
	}
	if err := decode(r, &o, `{"opinion": "useful", "note": "why"}`); err != nil {
		return Feedback{}, err
	}
	switch o.Opinion {
	case detector.Useful, detector.NotUseful, detector.Expected:
	default:
		return Feedback{}, bad("opinion: %q is none; write %s, %s or %s",
			o.Opinion, detector.Useful, detector.NotUseful, detector.Expected)
	}
	if o.Note = strings.TrimSpace(o.Note); utf8.RuneCountInString(o.Note) > maxOpinionNote {
		return Feedback{}, bad("note: write at most %d letters", maxOpinionNote)
	}
	by, err := s.signed(r, o.By)
	return Feedback{Opinion: o.Opinion, Note: o.Note, By: by, At: time.Now().UTC()}, err
}

// signed returns the author of r. Who is authenticated by name cannot speak for somebody else.
func (s *Server) signed(r *http.Request, by string) (string, error) {
	by, err := s.author(r, by)
	if name := s.authenticated(r); err == nil && name != "" && name != by {
		return "", bad("by: you are authenticated as %q; leave it out", name)
	}
	return by, err
}

// signature reads a body that says nothing but who sends it. Who is authenticated by name may leave
// it out.
func (s *Server) signature(r *http.Request) (string, error) {
	if _, err := parameters(r); err != nil {
		return "", err
	}
	var o struct {
		By string `json:"by"`
	}
	if r.ContentLength != 0 {
		if err := decode(r, &o, `{"by": "your name"}`); err != nil {
			return "", err
		}
	}
	return s.signed(r, o.By)
}

// undoFeedback takes an opinion out of force.
func (s *Server) undoFeedback(r *http.Request) (page, error) {
	by, err := s.signature(r)
	if err != nil {
		return page{}, err
	}
	f, err := s.opts.Opinions.Undo(r.Context(), r.PathValue("id"), by, time.Now().UTC())
	if err != nil {
		return page{}, feedbackError(r, err)
	}
	s.logger.Info("Feedback was undone", "id", f.ID, "by", by, "client", r.RemoteAddr)
	return page{data: f}, nil
}

// feedbackError says what an error of Opinions is to a client.
func feedbackError(r *http.Request, err error) error {
	switch {
	case errors.Is(err, ErrNoFeedback):
		return absent("there is no feedback with the ID %q", r.PathValue("id"))
	case errors.Is(err, ErrFeedbackOver), errors.Is(err, ErrTooOld):
		return conflict(err)
	case errors.Is(err, ErrNotRecorded):
		return unavailable("%w", err)
	}
	return err
}

// find returns what the ID in r's path stands for: one of live, or the last report of the journal.
func find[T any](s *Server, r *http.Request, kind string, live []T, id func(*T) string) (T, error) {
	var out T
	want := r.PathValue("id")
	for i := range live {
		if id(&live[i]) == want {
			return live[i], nil
		}
	}
	q := HistoryQuery{Kind: kind, Key: want, Limit: 1}
	records, err := s.opts.History.Read(r.Context(), q)
	if err != nil {
		return out, err
	}
	if len(records) == 0 {
		return out, absent("there is no %s with the ID %q", kind, want)
	}
	if err := json.Unmarshal(records[0].Data, &out); err != nil {
		return out, fmt.Errorf("read %s %s: %w", kind, want, err)
	}
	return out, nil
}

func feedbackList() list {
	return list{
		name: "feedback", kind: KindFeedback,
		data: with(map[string]string{
			"signal": "signal", "state": "state", "opinion": "opinion", "by": "by",
			"finding": "finding", "incident": "incident",
		}),
		over: []string{
			string(FeedbackActive), string(FeedbackReplaced),
			string(FeedbackUndone), string(FeedbackExpired),
		},
	}
}

func (s *Server) feedbacks(r *http.Request) (page, error) {
	return s.serve(r, feedbackList(), func() ([]item, error) { return nil, nil })
}

func (s *Server) feedback(r *http.Request) (page, error) {
	return s.one(r, feedbackList(), func() ([]item, error) { return nil, nil })
}
