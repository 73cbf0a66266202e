package detector

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tocsin/fleet"
)

// Opinion is what a person thinks of a finding.
type Opinion string

// The opinions. NotUseful raises the threshold of the series, Useful lowers it, and Expected
// raises it at the same time of the week.
const (
	Useful    Opinion = "useful"
	NotUseful Opinion = "not useful"
	Expected  Opinion = "expected"
)

// Feedback is an opinion on one series.
type Feedback struct {
	ID       string        `json:"id"`
	Service  fleet.Service `json:"service"`
	Signal   string        `json:"signal,omitempty"` // Empty: every signal of the service.
	Opinion  Opinion       `json:"opinion"`
	At       time.Time     `json:"at"` // When the finding began that it is about; it fades from there.
	By       string        `json:"by,omitempty"`
	Note     string        `json:"note,omitempty"`
	Finding  string        `json:"finding,omitempty"`  // ID of the finding, or
	Incident string        `json:"incident,omitempty"` // of the incident that was judged.
}

// check tells what is wrong with f.
func (f *Feedback) check() error {
	switch {
	case f.ID == "":
		return errors.New("feedback without an ID")
	case f.Service.Cluster == "" || f.Service.Name == "":
		return fmt.Errorf("feedback %s: no service", f.ID)
	case f.Opinion != Useful && f.Opinion != NotUseful && f.Opinion != Expected:
		return fmt.Errorf("feedback %s: unknown opinion %q", f.ID, f.Opinion)
	case f.At.IsZero():
		return fmt.Errorf("feedback %s: no time", f.ID)
	}
	return nil
}

// SetFeedback replaces all feedback that is in force. To undo one, call it without that one.
func (e *Engine) SetFeedback(list []Feedback) error {
	seen := make(map[string]bool)
	for i := range list {
		if err := list[i].check(); err != nil {
			return fmt.Errorf("detector: %w", err)
		}
		if seen[list[i].ID] {
			return fmt.Errorf("detector: feedback %s is there twice", list[i].ID)
		}
		seen[list[i].ID] = true
	}
	list = slices.Clone(list)
	return e.onAll(nil, func(s *shard) { s.setFeedback(list) })
}

// seriesName is what feedback is about.
type seriesName struct {
	service fleet.Service
	signal  string
}

// setFeedback replaces the feedback of the shard's clusters.
func (s *shard) setFeedback(list []Feedback) {
	s.feedback = make(map[seriesName][]Feedback)
	for _, f := range list {
		if s.engine.shard(f.Service.Cluster) == s {
			name := seriesName{f.Service, f.Signal}
			s.feedback[name] = append(s.feedback[name], f)
		}
	}
}

// FeedbackLasts is how long after its At feedback moves a threshold.
const FeedbackLasts = 8 * 7 * 24 * time.Hour

// How feedback moves a threshold. All of it but Expected fades evenly to nothing.
const (
	notUsefulStep  = 0.5 // A score of 0.5 more is three times rarer.
	notUsefulMost  = 2.0
	usefulStep     = 0.25
	usefulMost     = 1.0
	expectedStep   = 3.0
	expectedWithin = time.Hour
)

// offset returns what feedback adds to the threshold of slot at the instant at hand, and the IDs
// of the feedback behind it.
func (col *column) offset(slot int) (float64, []string) {
	all := col.cluster.shard.feedback
	if len(all) == 0 {
		return 0, nil
	}
	service := col.cluster.names[col.service[slot]]
	var o offset
	for _, signal := range [...]string{"", col.signal.Name} {
		for i := range all[seriesName{service, signal}] {
			o.add(&all[seriesName{service, signal}][i], col.cluster.at)
		}
	}
	return o.sum(), o.ids
}

// offset adds up feedback on one series.
type offset struct {
	useful, notUseful, expected float64
	ids                         []string
}

func (o *offset) add(f *Feedback, at time.Time) {
	age := at.Sub(f.At)
	if age < 0 || age >= FeedbackLasts {
		return
	}
	fresh := 1 - float64(age)/float64(FeedbackLasts)
	switch f.Opinion {
	case Useful:
		o.useful += float64(usefulStep * fresh)
	case NotUseful:
		o.notUseful += float64(notUsefulStep * fresh)
	case Expected:
		const week = 7 * 24 * time.Hour
		if past := age % week; past > expectedWithin && week-past > expectedWithin {
			return
		}
		o.expected = expectedStep
	}
	o.ids = append(o.ids, f.ID)
}

func (o *offset) sum() float64 {
	return min(o.notUseful, notUsefulMost) - min(o.useful, usefulMost) + o.expected
}
