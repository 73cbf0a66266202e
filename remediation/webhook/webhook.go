// Package webhook tells anything that accepts JSON by POST. docs/formats/webhook.md describes
// what is sent.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"tocsin/incident"
	"tocsin/remediation"
)

// Names of the headers that receivers look at.
const (
	SignatureHeader   = "X-Tocsin-Signature"
	IdempotencyHeader = "Idempotency-Key"
)

// Version of the format. It changes when a receiver that reads the present one would
// misunderstand the next.
const Version = "1"

// Options configures a Notifier.
type Options struct {
	URL        string // Or URLFile is required.
	URLFile    string // Read anew for each message.
	Secret     string // Key of the signature; without one, messages are not signed.
	SecretFile string // Read anew for each message.

	NoResolved bool         // The end of an incident is not told.
	Client     *http.Client // Default: one without credentials that dials with DialContext.
}

// Notifier posts JSON.
type Notifier struct {
	opts   Options
	client *http.Client
}

var _ remediation.Notifier = (*Notifier)(nil)

// New returns a Notifier.
func New(o Options) (*Notifier, error) {
	if (o.URL == "") == (o.URLFile == "") {
		return nil, errors.New("webhook: want either URL or URLFile")
	}
	if o.URL != "" {
		if err := checkURL(o.URL); err != nil {
			return nil, err
		}
	}
	if o.Client == nil {
		o.Client = newClient()
	}
	client := *o.Client
	client.CheckRedirect = stayAtHost
	return &Notifier{opts: o, client: &client}, nil
}

// checkURL does not quote the URL, which is often a secret.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("webhook: the URL is not one of http or https with a host")
	}
	return nil
}

// stayAtHost follows redirections that send the same request to the same host again. What goes
// elsewhere would take the signature and the message with it: it is not followed and counts as
// refused.
func stayAtHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	same := req.URL.Scheme == first.URL.Scheme && req.URL.Host == first.URL.Host
	if len(via) > 3 || !same || req.Method != first.Method {
		return http.ErrUseLastResponse
	}
	return nil
}

// Integration returns the name under which it is counted.
func (n *Notifier) Integration() string { return "webhook" }

// SendsResolved says whether the end of an incident is told.
func (n *Notifier) SendsResolved() bool { return !n.opts.NoResolved }

// Event says why a message is sent.
type Event string

// The events.
const (
	Opened       Event = "opened"
	Updated      Event = "updated"
	Acknowledged Event = "acknowledged"
	Resolved     Event = "resolved"
	Reminder     Event = "reminder"
)

// Message is what is posted.
type Message struct {
	Version  string            `json:"version"`
	Event    Event             `json:"event"`
	Key      string            `json:"key"` // Of the incident and the receiver.
	Receiver string            `json:"receiver"`
	Link     string            `json:"link,omitempty"`
	Peers    string            `json:"peers,omitempty"` // Those of the incident in a line.
	Incident incident.Incident `json:"incident"`
}

// Notify posts one message. The handle is the state that the receiver knows.
func (n *Notifier) Notify(ctx context.Context, note remediation.Notification) (string, error) {
	body, err := json.Marshal(Message{
		Version:  Version,
		Event:    eventOf(&note),
		Key:      note.Key,
		Receiver: note.Receiver,
		Link:     note.Link,
		Peers:    note.Incident.Peers.String(),
		Incident: note.Incident,
	})
	if err != nil {
		return "", &remediation.Error{Permanent: true, Err: fmt.Errorf("encode message: %w", err)}
	}
	if err := n.post(ctx, body, note.Key+"/"+note.Digest); err != nil {
		return "", fmt.Errorf("post to webhook: %w", err)
	}
	return string(note.Incident.State), nil
}

func eventOf(note *remediation.Notification) Event {
	state := note.Incident.State
	switch {
	case state == incident.Resolved:
		return Resolved
	case note.Handle == "":
		return Opened
	case note.Repeat:
		return Reminder
	case state == incident.Acknowledged && note.Handle != string(state):
		return Acknowledged
	}
	return Updated
}

func (n *Notifier) post(ctx context.Context, body []byte, idempotency string) error {
	target, err := Secret(n.opts.URL, n.opts.URLFile)
	if err != nil {
		return err
	}
	if err := checkURL(target); err != nil {
		return &remediation.Error{Permanent: true, Err: err}
	}
	key, err := Secret(n.opts.Secret, n.opts.SecretFile)
	if err != nil {
		return err
	}
	return Post(ctx, n.client, target, key, idempotency, body)
}

// Post sends a body of JSON, signed if there is a key, with an ID that is the same however often it
// is sent. Its error never holds the URL, which is often a secret.
func Post(
	ctx context.Context, client *http.Client, target, key, idempotency string, body []byte,
) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return hideURL(err)
	}
	now := time.Now()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tocsin")
	req.Header.Set(IdempotencyHeader, idempotency)
	if key != "" {
		req.Header.Set(SignatureHeader, Sign(key, now, body))
	}
	resp, err := client.Do(req)
	if err != nil {
		return hideURL(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return remediation.CheckResponse(resp, now)
}

// hideURL takes the URL out of an error, as it is often a secret.
func hideURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Secret returns a value that is given, or what is in a file.
func Secret(value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Sign returns the value of the signature header: the time in seconds, and the HMAC-SHA256 of the
// time, a dot and the body. The time is part of what is signed, so that a message cannot be
// replayed later.
func Sign(key string, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
