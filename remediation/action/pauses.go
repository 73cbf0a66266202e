package action

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Cause says who stops actions.
type Cause string

// The causes. Those that are no people's are tocsin's own, and people lift them as their own.
const (
	ByPeople  Cause = "people"
	ByStorm   Cause = "storm"   // Too many releases went bad at the same time.
	ByBreaker Cause = "breaker" // Too many actions in a row failed or did not help.
)

// Pause stops actions: the kill switch. One that is under way is called off if it has not been
// written; what has been written is seen to its end.
type Pause struct {
	ID       string    `json:"id"`
	Scope    Scope     `json:"scope,omitzero"` // Everything.
	Cause    Cause     `json:"cause"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until,omitzero"` // Zero: until people lift it.
	By       string    `json:"by"`
	Why      string    `json:"why,omitempty"`
	Lifted   time.Time `json:"lifted,omitzero"`
	LiftedBy string    `json:"lifted_by,omitempty"`
}

// active says whether the pause stops anything.
func (p *Pause) active(now time.Time) bool {
	return p.Lifted.IsZero() && (p.Until.IsZero() || now.Before(p.Until))
}

// String says who stops what, and until when.
func (p *Pause) String() string {
	text := fmt.Sprintf("%s is paused by %s", p.Scope, p.By)
	if !p.Until.IsZero() {
		text += " until " + p.Until.UTC().Format(time.RFC3339)
	}
	if p.Why != "" {
		text += ": " + p.Why
	}
	return text
}

// Suspend stops actions at once: also those that are under way and not written. An error that is
// ErrNotRecorded says that the pause is in force, and that a restart forgets it.
func (e *Engine) Suspend(ctx context.Context, p Pause) (Pause, error) {
	now := time.Now()
	switch {
	case strings.TrimSpace(p.By) == "":
		return Pause{}, fmt.Errorf("pause: %w: nobody says who asks for it", ErrInvalid)
	case !p.Until.IsZero() && !now.Before(p.Until):
		return Pause{}, fmt.Errorf("pause: %w: it would be over already", ErrInvalid)
	}
	if err := p.Scope.check(); err != nil {
		return Pause{}, fmt.Errorf("pause: %w: %w", ErrInvalid, err)
	}
	p.Cause = cmp.Or(p.Cause, ByPeople)
	p.At, p.Lifted, p.LiftedBy = now.UTC(), time.Time{}, ""
	p.ID = newPauseID()
	e.mu.Lock()
	e.pauses[p.ID] = &p
	e.callOff(&p)
	e.gauge(now)
	e.mu.Unlock()
	e.logger.Warn("Actions are paused", "scope", p.Scope, "by", p.By, "until", p.Until, "why", p.Why)
	if err := e.keep(ctx, Entry{At: p.At, Why: "paused", Pause: &p}); err != nil {
		return p, fmt.Errorf("pause: it is in force, and a restart forgets it: %w", err)
	}
	return p, nil
}

// callOff stops what is under way in the scope of a pause. The caller holds mu.
func (e *Engine) callOff(p *Pause) {
	for _, l := range e.lanes {
		if l.cancel == nil {
			continue
		}
		for _, k := range []Kind{KindPause, KindRollback} {
			a := e.actions[newID(l.release, k)]
			if a != nil && a.State == Running && p.Scope.matches(a.subject()) {
				l.cancel(errCalledOff)
			}
		}
	}
}

// Continue lifts a pause. What it has refused is judged anew.
func (e *Engine) Continue(ctx context.Context, id, by string) (Pause, error) {
	if strings.TrimSpace(by) == "" {
		return Pause{}, fmt.Errorf("lift pause %s: %w: nobody says who asks for it", id, ErrInvalid)
	}
	now := time.Now()
	e.mu.Lock()
	p := e.pauses[id]
	e.mu.Unlock()
	if p == nil {
		return Pause{}, fmt.Errorf("lift pause %s: %w", id, ErrUnknown)
	}
	if !p.active(now) {
		return *p, fmt.Errorf("lift pause %s: %w", id, ErrOver)
	}
	lifted := *p
	lifted.Lifted, lifted.LiftedBy = now.UTC(), by
	if err := e.keep(ctx, Entry{At: now.UTC(), Why: "lifted", Pause: &lifted}); err != nil {
		return *p, fmt.Errorf("lift pause %s: %w", id, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pauses[id] = &lifted
	switch lifted.Cause {
	case ByStorm:
		clear(e.storm)
	case ByBreaker:
		e.failed = 0
	}
	e.again()
	e.gauge(now)
	e.logger.Info("Actions go on", "scope", lifted.Scope, "by", by)
	return lifted, nil
}

// Pauses returns all pauses that are remembered, the newest first.
func (e *Engine) Pauses() []Pause {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Pause, 0, len(e.pauses))
	for _, p := range e.pauses {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Pause) int {
		return cmp.Or(b.At.Compare(a.At), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Active says whether the pause stops anything now.
func (p *Pause) Active(now time.Time) bool { return p.active(now) }

// paused returns a pause that stops actions on a workload, nil if none does. The caller holds mu.
func (e *Engine) paused(x subject, now time.Time, causes ...Cause) *Pause {
	var found *Pause
	for _, p := range e.pauses {
		if slices.Contains(causes, p.Cause) && p.active(now) && p.Scope.matches(x) &&
			(found == nil || p.At.Before(found.At)) {
			found = p
		}
	}
	return found
}

func newPauseID() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b) // Never fails.
	return "pause-" + hex.EncodeToString(b)
}
