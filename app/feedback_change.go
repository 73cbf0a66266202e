package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"tocsin/api"
	"tocsin/detector"
	"tocsin/store/journal"
)

// repeated returns what is in force and says the same as f, so that a request that is sent twice
// changes nothing.
func (o *opinions) repeated(f api.Feedback) (api.Feedback, bool) {
	for _, old := range o.active {
		if old.By == f.By && old.Opinion == f.Opinion && old.Note == f.Note &&
			old.Finding == f.Finding && old.Incident == f.Incident &&
			slices.EqualFunc(old.Series, f.Series, sameSeries) {
			return old, true
		}
	}
	return api.Feedback{}, false
}

// sameSeries tells whether b is about the finding that a is about, and not replaced.
func sameSeries(a, b api.JudgedSeries) bool {
	return a.Finding == b.Finding && a.ReplacedBy == b.ReplacedBy
}

// replaced returns how the older feedback of f's author stands once f is in force.
func (o *opinions) replaced(f *api.Feedback) []api.Feedback {
	judged := make(map[string]bool, len(f.Series))
	for _, s := range f.Series {
		judged[s.Finding] = true
	}
	var out []api.Feedback
	for _, old := range o.active {
		if old.By != f.By {
			continue
		}
		old.Series = slices.Clone(old.Series)
		touched, left := false, 0
		for i := range old.Series {
			s := &old.Series[i]
			if s.ReplacedBy == "" && judged[s.Finding] {
				s.ReplacedBy, touched = f.ID, true
			}
			if s.ReplacedBy == "" {
				left++
			}
		}
		if touched && left == 0 {
			old.State, old.Ended, old.EndedBy = api.FeedbackReplaced, f.At, f.By
		}
		if touched {
			out = append(out, old)
		}
	}
	return out
}

// surplus returns the ends of the oldest opinions that are too many once changed is in force. The
// newest stays.
func (o *opinions) surplus(changed []api.Feedback, now time.Time) []api.Feedback {
	after := maps.Clone(o.active)
	enforce(after, changed)
	n := 0
	for _, f := range after {
		n += len(f.Series)
	}
	var out []api.Feedback
	for _, f := range inOrder(after)[:len(after)-1] {
		if n <= maxJudged {
			break
		}
		n -= len(f.Series)
		out = append(out, expire(f, now, "too much feedback in force"))
	}
	return out
}

// faded tells whether f moves no threshold any more.
func faded(f *api.Feedback, now time.Time) bool {
	return !slices.ContainsFunc(f.Series, func(s api.JudgedSeries) bool {
		return s.ReplacedBy == "" && now.Sub(s.Start) < detector.FeedbackLasts
	})
}

func expire(f api.Feedback, now time.Time, reason string) api.Feedback {
	f.State, f.Ended, f.Reason = api.FeedbackExpired, now, reason
	return f
}

// change writes feedback down as it is to be, and puts it in force. o.mu is held.
func (o *opinions) change(ctx context.Context, at time.Time, changed []api.Feedback) error {
	if len(changed) == 0 {
		return nil
	}
	if err := o.write(ctx, at, changed); err != nil {
		o.unsure = true
		o.metrics.events.WithLabelValues(opinionUnwritten).Inc()
		return fmt.Errorf("%w: %w", api.ErrNotRecorded, err)
	}
	enforce(o.active, changed)
	for _, f := range changed {
		if f.State != api.FeedbackActive {
			o.metrics.events.WithLabelValues(string(f.State)).Inc()
		}
	}
	return o.put()
}

// write has the journal write feedback down. It goes on when the one who asked for it has gone:
// what is written is to take effect.
func (o *opinions) write(ctx context.Context, at time.Time, changed []api.Feedback) error {
	entries := make([]journal.Entry, len(changed))
	for i, f := range changed {
		entries[i] = journal.Entry{Kind: kindFeedback, Key: f.ID, At: at, Data: f}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin)
	defer cancel()
	return o.journal.Append(ctx, entries...)
}

// enforce brings what is in force up to date with what has changed.
func enforce(active map[string]api.Feedback, changed []api.Feedback) {
	for _, f := range changed {
		delete(active, f.ID)
		if f.State == api.FeedbackActive {
			active[f.ID] = f
		}
	}
}

// put tells the detector what is in force. o.mu is held.
func (o *opinions) put() error {
	var list []detector.Feedback
	counts := make(map[detector.Opinion]int)
	for _, f := range inOrder(o.active) {
		counts[f.Opinion]++
		list = append(list, forDetector(f)...)
	}
	for _, opinion := range everyOpinion {
		o.metrics.inForce.WithLabelValues(string(opinion)).Set(float64(counts[opinion]))
	}
	if err := o.apply(list); err != nil {
		o.unsure = true // To be tried again.
		return fmt.Errorf("put feedback in force: %w", err)
	}
	return nil
}

// forDetector says what feedback is for each of its series. The detector refuses what began at no
// time, and all else with it.
func forDetector(f api.Feedback) []detector.Feedback {
	var out []detector.Feedback
	for _, s := range f.Series {
		if s.ReplacedBy != "" || s.Start.IsZero() {
			continue
		}
		one := detector.Feedback{
			ID: f.ID, Service: s.Service, Signal: s.Signal, Opinion: f.Opinion,
			At: s.Start, By: f.By, Note: f.Note, Finding: s.Finding, Incident: f.Incident,
		}
		if f.Incident != "" {
			one.ID += "/" + s.Finding
		}
		out = append(out, one)
	}
	return out
}

// inOrder returns feedback as it was given, the oldest first.
func inOrder(active map[string]api.Feedback) []api.Feedback {
	return slices.SortedFunc(maps.Values(active), func(a, b api.Feedback) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
	})
}

func opinionID(f *api.Feedback) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %d",
		f.Finding, f.Incident, f.By, f.Opinion, f.At.UnixNano()))
	return hex.EncodeToString(h[:10])
}
