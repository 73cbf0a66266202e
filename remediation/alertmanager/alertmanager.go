// Package alertmanager tells Alertmanagers by their API v2. An incident is one alert, whose
// labels say where it is and never change while it is open; what is known of it is in
// annotations.
package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"tocsin/incident"
	"tocsin/remediation"
)

// AlertName is the label alertname of all alerts.
const AlertName = "TocsinIncident"

const (
	grace      = time.Second // What slower Alertmanagers get once one has accepted.
	leastValid = 4 * time.Minute
	maxText    = 4000 // Bytes of an annotation.
	maxCauses  = 3
)

// Options configures a Notifier. Zero values of optional fields stand for the defaults given
// here.
type Options struct {
	URLs   []string          // Required: of one cluster, without /api/v2.
	Labels map[string]string // Added to every alert; none.

	Refresh    time.Duration // How often an open incident is sent again; 1m.
	NoResolved bool          // The end is not told: the alert ends by itself.
	Client     *http.Client  // Default: http.DefaultClient, which has no credentials.
}

// Notifier posts alerts to all of its Alertmanagers. It has done so when one has accepted.
type Notifier struct {
	opts      Options
	endpoints []string
}

var _ remediation.Notifier = (*Notifier)(nil)

// New returns a Notifier.
func New(o Options) (*Notifier, error) {
	if len(o.URLs) == 0 {
		return nil, errors.New("alertmanager: URLs are required")
	}
	if o.Refresh <= 0 {
		o.Refresh = time.Minute
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	n := &Notifier{opts: o}
	for _, text := range o.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("alertmanager: %q is not a URL of http or https", text)
		}
		n.endpoints = append(n.endpoints, u.JoinPath("api/v2/alerts").String())
	}
	return n, nil
}

// Integration returns the name under which it is counted.
func (n *Notifier) Integration() string { return "alertmanager" }

// SendsResolved says whether the end of an incident is told.
func (n *Notifier) SendsResolved() bool { return !n.opts.NoResolved }

// Refresh returns how often an open incident is sent again.
func (n *Notifier) Refresh() time.Duration { return n.opts.Refresh }

// Notify posts the alert of an incident. The handle holds its labels, because an alert with
// others would be another.
func (n *Notifier) Notify(ctx context.Context, note remediation.Notification) (string, error) {
	labels, handle, err := n.identity(&note)
	if err != nil {
		return "", &remediation.Error{Permanent: true, Err: err}
	}
	i := &note.Incident
	now := time.Now()
	a := alert{
		Labels:       labels,
		Annotations:  annotations(&note),
		StartsAt:     i.Start,
		EndsAt:       now.Add(max(4*n.opts.Refresh, leastValid)),
		GeneratorURL: note.Link,
	}
	if i.State == incident.Resolved {
		a.EndsAt = i.End
		if a.EndsAt.After(now) || a.EndsAt.IsZero() {
			a.EndsAt = now // The cluster's clock is ahead: it is over all the same.
		}
	}
	if !a.StartsAt.Before(a.EndsAt) { // Alertmanager would refuse it.
		a.StartsAt = a.EndsAt.Add(-time.Second)
	}
	body, err := json.Marshal([]alert{a})
	if err != nil {
		return "", &remediation.Error{Permanent: true, Err: fmt.Errorf("encode alert: %w", err)}
	}
	if err := n.postAll(ctx, body); err != nil {
		return "", err
	}
	return handle, nil
}

// postAll sends to all Alertmanagers at once. Once one has accepted, the others have little time
// left: it tells them itself.
func (n *Notifier) postAll(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(n.endpoints))
	for _, endpoint := range n.endpoints {
		go func() { answers <- n.post(ctx, endpoint, body) }()
	}
	var errs []error
	accepted := false
	for range n.endpoints {
		err := <-answers
		if err != nil {
			errs = append(errs, err)
		} else if !accepted {
			accepted = true
			timer := time.AfterFunc(grace, cancel)
			defer timer.Stop()
		}
	}
	if accepted {
		return nil
	}
	return joined(errs)
}

// joined makes one error of those of all Alertmanagers: permanent if all are, to be tried again
// when the first one asks for it.
func joined(errs []error) error {
	e := &remediation.Error{Permanent: true, Err: errors.Join(errs...)}
	for _, err := range errs {
		var one *remediation.Error
		if !errors.As(err, &one) {
			return &remediation.Error{Err: e.Err}
		}
		e.Permanent = e.Permanent && one.Permanent
		if one.RetryAfter > 0 && (e.RetryAfter == 0 || one.RetryAfter < e.RetryAfter) {
			e.RetryAfter = one.RetryAfter
		}
	}
	return e
}

func (n *Notifier) post(ctx context.Context, endpoint string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post alert: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "tocsin")
	resp, err := n.opts.Client.Do(req)
	if err != nil {
		return fmt.Errorf("post alert: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := remediation.CheckResponse(resp, time.Now()); err != nil {
		return fmt.Errorf("post alert to %s: %w", req.URL.Host, err)
	}
	return nil
}
