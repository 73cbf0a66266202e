package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/rollback"
)

// Executor acts on the workloads of one cluster; rollback.Executor is one. Its methods may be called
// concurrently, and an action is asked for as often as it takes: it happens once all the same.
type Executor interface {
	Inspect(ctx context.Context, r rollback.Request) (*rollback.Facts, error)
	Undo(ctx context.Context, r rollback.Request) (*rollback.Effect, error)
	Pause(ctx context.Context, r rollback.Request) (*rollback.Effect, error)
	Resume(ctx context.Context, r rollback.Request) (*rollback.Effect, error)
	Abort(ctx context.Context, r rollback.Request) (*rollback.Effect, error)
	Verify(ctx context.Context, r rollback.Request) (*rollback.Outcome, error)
	Holds(ctx context.Context) ([]rollback.Hold, error)
	Restore(ctx context.Context, h rollback.Hold) error
	Stopped(ctx context.Context, namespace, name string) (why string, err error)
}

var _ Executor = (*rollback.Executor)(nil)

// ErrNoExecutor means that nobody can act on a cluster. Options.Executor may wrap it.
var ErrNoExecutor = errors.New("tocsin has no identity that may write there")

// Context is what others know of a release and its surroundings. A reason that is empty means that
// it is not so.
type Context struct {
	Before     string `json:"before,omitempty"`     // What was wrong before the release began.
	FleetWide  string `json:"fleet_wide,omitempty"` // Unrelated services have the same trouble.
	Dependency string `json:"dependency,omitempty"` // Something that it calls fails.
	Nodes      string `json:"nodes,omitempty"`      // The nodes of its pods fail.
	Doubt      string `json:"doubt,omitempty"`      // The journal is damaged, or a clock is wrong.

	Related  []fleet.Service `json:"related,omitempty"`  // Services of its chain of calls, besides the policy's.
	Services int             `json:"services,omitempty"` // Of the whole fleet.
}

// Health says how a service fares after an action.
type Health struct {
	Well   bool      `json:"well"`   // What the release has made worse is as it was, and nothing else is wrong.
	Reason string    `json:"reason"` // One sentence for people.
	DataAt time.Time `json:"data_at"`
}

// Ledger keeps what is decided and done, so that a crash loses nothing of it.
type Ledger interface {
	// Load returns the newest of each action, pause and set of bad images.
	Load(ctx context.Context) (Memory, error)
	// Append returns when the entry will survive a crash. It may be called concurrently.
	Append(ctx context.Context, e Entry) error
}

// Memory is what a Ledger knows.
type Memory struct {
	Actions []Action
	Pauses  []Pause
	Bad     []Bad
}

// Entry is one of an action, a pause and a set of bad images as it is now.
type Entry struct {
	At     time.Time `json:"at"`
	Why    string    `json:"why"` // What has changed.
	Action *Action   `json:"action,omitempty"`
	Pause  *Pause    `json:"pause,omitempty"`
	Bad    *Bad      `json:"bad,omitempty"`
}

// AlarmKind says what people are to be told besides what becomes of actions.
type AlarmKind string

// The kinds of alarm.
const (
	AlarmStorm     AlarmKind = "storm"      // So many releases went bad that all actions are stopped.
	AlarmBreaker   AlarmKind = "breaker"    // So many actions failed that all others are stopped.
	AlarmReverted  AlarmKind = "reverted"   // Somebody or something has brought a bad revision back.
	AlarmNoHelp    AlarmKind = "no_help"    // An action failed or did not help.
	AlarmBadImages AlarmKind = "bad_images" // A release has images that were judged bad elsewhere.
	AlarmHold      AlarmKind = "hold"       // An owner that was suspended could not be given back its work.
)

// Alarm is something that people must look at. All but AlarmBadImages are worth a page.
type Alarm struct {
	Kind    AlarmKind     `json:"kind"`
	At      time.Time     `json:"at"`
	Text    string        `json:"text"`
	Release string        `json:"release,omitempty"` // Its ID.
	Action  string        `json:"action,omitempty"`  // Its ID.
	Service fleet.Service `json:"service,omitzero"`
}

// Options configures an Engine. Zero values of optional fields stand for the defaults given here.
// No function may call the Engine, but for Executor's results, which call Note.
type Options struct {
	Policy Policy // What Apply changes later.

	// Executor returns who acts on a cluster. Required. It is called for each action.
	Executor func(cluster string) (Executor, error)
	// Review reads the evidence of a release again, as of now, and judges it. Required.
	Review func(ctx context.Context, release string) (release.Record, error)
	// Context says what else is known of a release. Nothing is.
	Context func(ctx context.Context, r *release.Record) Context
	// Team says who owns a service. Nobody does.
	Team func(s fleet.Service) string
	// LastGood returns what a release is taken back to: release.Manager's. Required.
	LastGood func(k release.Key, other string) (release.Known, bool)
	// Health says how the service of an action fares. Nil: nobody knows, and no action recovers.
	Health func(ctx context.Context, a Action) (Health, error)
	// Webhook has the user's own automation take a release back, once for each ID of an action.
	// Nil: there is none.
	Webhook func(ctx context.Context, a Action) error

	Ledger Ledger       // Required.
	Report func(Action) // Told of each change of an action, in order for each. Nobody.
	Alarm  func(Alarm)  // Nobody.

	Recheck  time.Duration // Between two looks at what was refused for the time being; 15s.
	Timeout  time.Duration // Of one question to a cluster or to Review; 30s.
	Backoff  time.Duration // Before asking a cluster again that did not answer, doubled up to 1m; 1s.
	Patience time.Duration // With a cluster that answers nothing, before an action has failed; 10m.
	Keep     time.Duration // How long what is over is remembered; 35 days.

	Reg    prometheus.Registerer // Nil keeps the metrics private.
	Logger *slog.Logger          // Discards.
}

func (o *Options) validate() error {
	for _, f := range []struct {
		name    string
		missing bool
	}{
		{"Executor", o.Executor == nil},
		{"Review", o.Review == nil},
		{"LastGood", o.LastGood == nil},
		{"Ledger", o.Ledger == nil},
	} {
		if f.missing {
			return fmt.Errorf("act on releases: %s is required", f.name)
		}
	}
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.Recheck, 15 * time.Second},
		{&o.Timeout, 30 * time.Second},
		{&o.Backoff, time.Second},
		{&o.Patience, 10 * time.Minute},
		{&o.Keep, 35 * 24 * time.Hour},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	if o.Context == nil {
		o.Context = func(context.Context, *release.Record) Context { return Context{} }
	}
	if o.Team == nil {
		o.Team = func(fleet.Service) string { return "" }
	}
	if o.Report == nil {
		o.Report = func(Action) {}
	}
	if o.Alarm == nil {
		o.Alarm = func(Alarm) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
