package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// The limits of one request. An API server answers a watch's headers at once, but some proxies hold
// them back until the first event, and the first bookmark takes a minute.
const (
	answerTimeout = 20 * time.Second // To the headers of an answer.
	watchTimeout  = 90 * time.Second // To the headers of a watch.
	bodyTimeout   = 2 * time.Minute  // To the end of an answer that is not a watch.
)

// errNoAnswer means that a server accepted a request and then said nothing.
var errNoAnswer = errors.New("the API server accepted the request but did not answer in time")

// transport sees every request to a cluster. It ends those that are not answered, which client-go
// would wait for without end, and while answers are failures it lets one request a second through,
// however many watches want to reconnect.
type transport struct {
	next    http.RoundTripper
	health  *health
	metrics *metrics
	slow    *rate.Limiter
	failing *atomic.Bool // What came last was of no use: requests are few.
	apart   bool         // Of looks: what they are answered says nothing about watches.
}

func newTransport(next http.RoundTripper, h *health, m *metrics) *transport {
	slow := rate.NewLimiter(rate.Every(time.Second), 1)
	return &transport{next: next, health: h, metrics: m, slow: slow, failing: &h.failing}
}

// newLookTransport returns the transport of looks, which slow down on their own account.
func newLookTransport(next http.RoundTripper, h *health, m *metrics) *transport {
	t := newTransport(next, h, m)
	t.failing, t.apart = new(atomic.Bool), true
	return t
}

// WrappedRoundTripper lets client-go find the connections to close.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip sends a request and returns the answer.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.failing.Load() {
		t.slow.Allow() // Should this one fail, the next waits a second from now.
	} else if err := t.slow.Wait(req.Context()); err != nil {
		return nil, err
	}
	watch := req.URL.Query().Has("watch")
	limit := answerTimeout
	if watch {
		limit = watchTimeout
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(limit, func() { cancel(errNoAnswer) })
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errNoAnswer) || errors.Is(err, context.DeadlineExceeded) {
			err = errNoAnswer
		}
		if !errors.Is(req.Context().Err(), context.Canceled) { // Else the asker has left.
			t.fail(unreachable)
		}
		cancel(nil)
		return nil, err
	}
	t.judge(resp.StatusCode)
	b := &body{ReadCloser: resp.Body, failing: t.failing, cancel: cancel}
	if !watch {
		b.timer = time.AfterFunc(bodyTimeout, func() { cancel(errNoAnswer) })
	}
	resp.Body = b
	return resp, nil
}

// judge decides what an answer says about the server.
func (t *transport) judge(code int) {
	switch {
	case code == http.StatusTooManyRequests:
		t.fail(throttled)
		t.health.contacted(time.Now())
	case code == http.StatusUnauthorized:
		t.fail(refused)
	case code == http.StatusForbidden && t.apart: // A right that another look may not need.
		t.metrics.requests.WithLabelValues(refused).Inc()
	case code == http.StatusForbidden:
		t.fail(refused)
		t.health.contacted(time.Now())
	case code >= http.StatusInternalServerError:
		t.fail(broken)
	default: // Whether the answer makes sense, its reader finds out.
		t.metrics.requests.WithLabelValues(answered).Inc()
		if t.apart {
			t.failing.Store(false)
		}
	}
}

func (t *transport) fail(outcome string) {
	t.failing.Store(true)
	t.metrics.requests.WithLabelValues(outcome).Inc()
}

// body is the answer's body. It holds the request's context until it is closed, and notices a
// connection that breaks, so that the watches which share it do not all reconnect at once.
type body struct {
	io.ReadCloser
	failing *atomic.Bool
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	once    sync.Once
}

// Read reads from the answer.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && !errors.Is(err, context.Canceled) {
		b.failing.Store(true)
	}
	return n, err
}

// Close ends the request.
func (b *body) Close() error {
	b.once.Do(func() {
		if b.timer != nil {
			b.timer.Stop()
		}
		b.cancel(nil)
	})
	return b.ReadCloser.Close()
}
