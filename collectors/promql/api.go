package promql

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// api asks the query API of one source. Its methods may be called concurrently.
type api struct {
	client   *http.Client
	base     *url.URL
	timeout  time.Duration
	maxBytes int64
	now      func() time.Time

	get      atomic.Bool // The source takes no POST.
	decoders sync.Pool   // Of *decoder: the windows are larger than what they leave behind.
}

func newAPI(o *Options, now func() time.Time) (*api, error) {
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the URL of cluster %s is not well-formed", o.Cluster)
	}
	return &api{
		client: o.Client, base: base, timeout: o.Timeout, maxBytes: o.MaxBytes, now: now,
		decoders: sync.Pool{New: func() any { return new(decoder) }},
	}, nil
}

// ask has expr evaluated at the instants of a, and fills a. Nil means that the source
// answered, be it with nothing.
func (c *api) ask(ctx context.Context, expr string, t rows, a *answer) *failure {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, expr, a.span)
	if err != nil {
		return explain(ctx, err)
	}
	defer func() {
		// A connection is only used again if nothing is left on it.
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
		_ = resp.Body.Close()
	}()
	if f := c.unusable(resp, a.span); f != nil {
		return f
	}
	d := c.decoders.Get().(*decoder)
	defer c.decoders.Put(d)
	if err := d.decode(resp.Body, c.maxBytes, t, a); err != nil {
		return explain(ctx, err)
	}
	return nil
}

// unusable returns why the body of an answer is not worth reading, nil if it is.
func (c *api) unusable(resp *http.Response, s span) *failure {
	switch coding := resp.Header.Get("Content-Encoding"); {
	case resp.StatusCode/100 != 2:
		return refusal(resp, c.now())
	case resp.ContentLength > c.maxBytes:
		return &failure{result: refused, reason: fmt.Sprintf("%s: %d bytes", errTooLarge,
			resp.ContentLength)}
	case coding != "" && coding != "identity":
		return &failure{result: malformed, reason: "the answer is compressed, unasked"}
	}
	return lateBy(resp, s)
}

// send posts the query, or gets it from a source that takes no POST: the rules of a mesh or
// of a proxy may allow nothing else.
func (c *api) send(ctx context.Context, expr string, s span) (*http.Response, error) {
	path, form := "query", url.Values{"query": {expr}}
	if s.steps == 1 {
		form.Set("time", seconds(s.from))
	} else {
		path = "query_range"
		form.Set("start", seconds(s.from))
		form.Set("end", seconds(s.to()))
		form.Set("step", seconds(s.step))
	}
	form.Set("timeout", seconds(c.timeout.Milliseconds()))
	if !c.get.Load() {
		resp, err := c.post(ctx, path, form)
		if err != nil || resp.StatusCode != http.StatusMethodNotAllowed {
			return resp, err
		}
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		c.get.Store(true)
	}
	u := c.base.JoinPath("api/v1", path)
	params := u.Query()
	for name, values := range form {
		params[name] = values
	}
	u.RawQuery = params.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	return c.client.Do(req)
}

func (c *api) post(ctx context.Context, path string, form url.Values) (*http.Response, error) {
	u := c.base.JoinPath("api/v1", path)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(),
		strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.client.Do(req)
}
