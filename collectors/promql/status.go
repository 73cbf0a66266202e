package promql

import (
	"slices"
	"time"
)

// State says what a source is doing.
type State string

// The states of a source.
const (
	Starting    State = "starting" // It has not answered yet.
	Backfilling State = "backfilling"
	Live        State = "live"
	Stale       State = "stale" // It has not answered for too long.
)

// SignalState says how it stands with the query of one signal.
type SignalState string

// The states of a signal.
const (
	Waiting        SignalState = "waiting" // It has not been asked for yet.
	OK             SignalState = "ok"
	Off            SignalState = "off" // It is not asked for; reason says why.
	MatchesNothing SignalState = "matches nothing"
	Failing        SignalState = "error" // It was not answered and is asked for again.
)

var states = []SignalState{Waiting, OK, Off, MatchesNothing, Failing}

// Status says how it stands with a source.
type Status struct {
	Cluster   string    `json:"cluster"`
	State     State     `json:"state"`
	Reachable bool      `json:"reachable"`        // It answered when it was last asked.
	Reason    string    `json:"reason,omitempty"` // Why it does not answer, or is not asked.
	Since     time.Time `json:"since,omitzero"`   // Since when Reachable is what it is.

	LastAnswer time.Time       `json:"last_answer,omitzero"`
	LastTick   time.Time       `json:"last_tick,omitzero"` // The newest instant that was handed on.
	LagSeconds float64         `json:"lag_seconds"`        // How old that was then.
	Backfill   *BackfillStatus `json:"backfill,omitempty"`
	Packs      []PackStatus    `json:"packs"`
	Signals    []SignalStatus  `json:"signals"`
}

// BackfillStatus says how much of a source's history was read.
type BackfillStatus struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	At     time.Time `json:"at,omitzero"` // The newest instant that was read.
	Done   bool      `json:"done"`
	Ratio  float64   `json:"ratio"`
	Values int       `json:"values"`
	Reason string    `json:"reason,omitempty"` // Why it is less than what was wanted.
}

// PackStatus says whether a source has the metrics of a pack.
type PackStatus struct {
	Pack   string `json:"pack"`
	Found  bool   `json:"found"`
	Reason string `json:"reason,omitempty"`
}

// SignalStatus says how it stands with the query of one signal.
type SignalStatus struct {
	Signal      string      `json:"signal"`
	Pack        string      `json:"pack,omitempty"`
	State       SignalState `json:"state"`
	Reason      string      `json:"reason,omitempty"`
	Series      int         `json:"series"` // Services in the last answer.
	LastSuccess time.Time   `json:"last_success,omitzero"`
	Warnings    []string    `json:"warnings,omitempty"` // Of the source, with its last answer.
}

// Status returns how it stands with the source. It may be called at any time.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.status
	if s.staleLocked() {
		out.State = Stale
	}
	if b := s.status.Backfill; b != nil {
		progress := *b
		out.Backfill = &progress
	}
	out.Packs = slices.Clone(s.status.Packs)
	out.Signals = slices.Clone(s.status.Signals)
	for i := range out.Signals {
		out.Signals[i].Warnings = slices.Clone(out.Signals[i].Warnings)
	}
	return out
}

// staleLocked reports whether the source has been silent for too long. s.mu is held.
func (s *Source) staleLocked() bool {
	return !s.heard.IsZero() && time.Since(s.heard) >= s.opts.StaleAfter
}

// refresh sets the gauges that change with time alone.
func (s *Source) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	stale := 0.0
	if s.staleLocked() {
		stale = 1
	}
	s.metrics.stale.WithLabelValues(s.opts.Cluster).Set(stale)
}

// reached notes that the source answered.
func (s *Source) reached() {
	now := s.now()
	s.mu.Lock()
	was := s.status.Reachable
	s.heard, s.status.LastAnswer = time.Now(), now.UTC()
	if !was {
		s.status.Reachable, s.status.Since = true, now.UTC()
	}
	s.status.Reason = ""
	s.mu.Unlock()
	if !was {
		s.logger.Info("Source answers")
	}
	s.refresh()
}

// unreached notes why it did not.
func (s *Source) unreached(f *failure) {
	now := s.now()
	s.mu.Lock()
	was := s.status.Reason
	if s.status.Reachable || was == "" {
		s.status.Since = now.UTC()
	}
	s.status.Reachable, s.status.Reason = false, f.reason
	s.mu.Unlock()
	if was != f.reason {
		s.logger.Warn("Source does not answer", "result", f.result.String(), "reason", f.reason)
	}
	s.refresh()
}

// idle notes that the source answers and there is nothing to ask it for.
func (s *Source) idle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Reason = "nothing to ask for: it has the metrics of no pack, or all queries are off"
}

// enter notes what the source is doing.
func (s *Source) enter(state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.State = state
}

// note updates the status of a query from its last round.
func (s *Source) note(q *query, state SignalState, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.status.Signals[q.number]
	if st.State != state {
		s.logger.Debug("Signal changed", "signal", q.Signal, "state", string(state),
			"reason", reason)
		s.metrics.signals.WithLabelValues(s.opts.Cluster, string(st.State)).Dec()
		s.metrics.signals.WithLabelValues(s.opts.Cluster, string(state)).Inc()
	}
	st.State, st.Reason = state, reason
	switch state {
	case OK, MatchesNothing:
		st.LastSuccess, st.Series = s.now().UTC(), len(q.answer.refs)
		st.Warnings = append(st.Warnings[:0], q.answer.warnings...)
		s.metrics.series.WithLabelValues(s.opts.Cluster, q.Signal).Set(float64(st.Series))
	case Off:
		st.Series = 0
		s.metrics.series.DeleteLabelValues(s.opts.Cluster, q.Signal)
	}
}
