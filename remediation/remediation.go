// Package remediation acts on incidents: it decides who hears of them and what is done, once each, and records it.
package remediation

import (
	"context"
	"fmt"
	"time"

	"tocsin/incident"
)

// Notification is one message to one receiver about one incident.
type Notification struct {
	Key      string            // Dedupe key: of receiver and incident; the same when sent again.
	Receiver string            // Name of the receiver.
	Incident incident.Incident // As it is now.
	Link     string            // Of the incident in tocsin's own UI or API.
	Handle   string            // What the notifier returned the last time for this Key ("" at first).
	Repeat   bool              // Nothing has changed; the receiver is only reminded.
}

// Notifier tells people. Notify may be called concurrently. It returns a handle under which the message can be
// edited, which the engine keeps for the next call with the same Key. An error that is not an *Error is retried.
type Notifier interface {
	Notify(ctx context.Context, n Notification) (handle string, err error)
}

// Error says whether and when a notification may be tried again.
type Error struct {
	Permanent  bool          // Trying again cannot help: bad credentials, no such channel.
	RetryAfter time.Duration // As the receiver asked; 0: the engine's own back-off.
	Err        error
}

func (e *Error) Error() string { return fmt.Sprint(e.Err) }
func (e *Error) Unwrap() error { return e.Err }
