// Package remediation acts on incidents: it decides who hears of them and what is done, once
// each, and records it.
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
	Digest   string            // Of what is told; the same when that is tried again.
	Receiver string            // Name of the receiver.
	Incident incident.Incident // As it is now.
	Link     string            // Of the incident in tocsin's own UI or API.
	Handle   string            // What the notifier last returned for Key; "" at first.
	Repeat   bool              // Nothing has changed; the receiver is only reminded.
}

// Notifier tells people. Notify may be called concurrently, but not for the same Key. It returns
// a handle under which the message can be edited, which the engine keeps for the next call with
// the same Key. A handle that comes with an error is kept too: part of the work was done. An
// error that is not an *Error is retried.
//
// A Notifier may have further methods:
//
//	Integration() string     // slack, alertmanager, webhook; else it is counted as other.
//	SendsResolved() bool     // Whether it wants to hear of the end; else it does.
//	Refresh() time.Duration  // How often it wants an open incident again, in place of reminders.
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
