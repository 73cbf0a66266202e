package remediation

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"tocsin/incident"
)

// Sent is what a receiver knows of an incident.
type Sent struct {
	Key      string            `json:"key"`
	Incident string            `json:"incident"` // Its ID.
	State    incident.State    `json:"state"`
	Severity incident.Severity `json:"severity"`
	Acts     string            `json:"acts,omitempty"`    // Of its acts, by what they had come to.
	Digest   string            `json:"digest"`            // Of what was told.
	Handle   string            `json:"handle,omitempty"`  // Of the notifier.
	At       time.Time         `json:"at"`                // Of the last message or reminder.
	Partial  bool              `json:"partial,omitempty"` // A part of it is not told yet.
}

// told says whether the receiver has heard of the incident.
func (s *Sent) told() bool { return !s.At.IsZero() }

// Ledger keeps what receivers know, so that a restart tells nobody twice. A message that went out
// just before a crash may be missing in it; it is then sent again under the same Key.
type Ledger interface {
	// Load returns the newest Sent for each key.
	Load(ctx context.Context) (map[string]Sent, error)
	// Save returns when s will survive a crash. It may be called concurrently.
	Save(ctx context.Context, s Sent) error
}

// Outcome says what became of a notification.
type Outcome string

// The outcomes.
const (
	OutcomeSent    Outcome = "sent"
	OutcomeFailed  Outcome = "failed"   // It is tried again.
	OutcomeGivenUp Outcome = "given up" // It is not tried again as it is.
	OutcomeMuted   Outcome = "muted"    // It is held until the mute interval ends.
	OutcomeSkipped Outcome = "skipped"  // There was no need for it any more.
)

// Record says what became of a notification, for the journal.
type Record struct {
	At          time.Time         `json:"at"`
	Key         string            `json:"key"`
	Receiver    string            `json:"receiver"`
	Integration string            `json:"integration"`
	Incident    string            `json:"incident"` // Its ID.
	State       incident.State    `json:"state"`
	Severity    incident.Severity `json:"severity"`
	Repeat      bool              `json:"repeat,omitempty"`
	Outcome     Outcome           `json:"outcome"`
	Reason      string            `json:"reason,omitempty"`
	Attempt     int               `json:"attempt,omitempty"`
}

// digest stands for all of an incident that people are told.
func digest(i *incident.Incident) string {
	causes := make([]string, len(i.Causes))
	for n, c := range i.Causes {
		causes[n] = c.Change.ID
	}
	effects := slices.Clone(i.Effects)
	slices.SortFunc(effects, func(a, b incident.Effect) int {
		return cmp.Or(a.Service.Compare(b.Service), strings.Compare(a.Signal, b.Signal))
	})
	told := []any{
		i.ID, i.State, i.Severity, i.Title, i.Reason, i.End.UTC(), i.AcknowledgedBy,
		i.Services, effects, causes,
	}
	if peers := i.Peers.String(); peers != "" {
		told = append(told, peers)
	}
	if r := i.Release; r != nil {
		told = append(told, r.ID, r.State, r.Effect, r.Interval, r.Chance, r.Facts, r.Clusters)
	}
	for _, a := range i.Acts {
		told = append(told, a.ID, a.State, a.Text)
	}
	return sumOf(told)
}

// acts stands for what the acts of an incident have come to: a new act, or a new state of one, is
// told without delay. It is empty if there are none.
func acts(i *incident.Incident) string {
	var told []any
	for _, a := range i.Acts {
		told = append(told, a.ID, a.State)
	}
	if told == nil {
		return ""
	}
	return sumOf(told)
}

func sumOf(told []any) string {
	text, err := json.Marshal(told)
	if err != nil {
		panic("remediation: an incident has no JSON: " + err.Error()) // Strings always have.
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}
