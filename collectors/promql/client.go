package promql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/prometheus/common/config"
)

// defaultHeaderTimeout is how long a source may take to begin its answer: a server that
// accepts connections and never answers must not hold them.
const defaultHeaderTimeout = 30 * time.Second

// maxRedirects bounds how often a source may send a query elsewhere.
const maxRedirects = 5

var (
	errNoHeader  = errors.New("the source accepted the connection and did not answer")
	errForbidden = errors.New("link-local and metadata addresses are refused")
)

// NewHTTPClient returns a client for the API of a source: TLS, authentication, headers and
// proxy as c says. A source that does not begin to answer within headerTimeout (0: 30s) is
// given up. Redirects are followed only on the same host, so that credentials stay there.
// Link-local addresses and those where clouds serve their machines' credentials are refused
// whatever name leads to them.
func NewHTTPClient(c config.HTTPClientConfig, headerTimeout time.Duration) (*http.Client, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("check the HTTP client: %w", err)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: control}
	client, err := config.NewClientFromConfig(c, "promql",
		config.WithDialContextFunc(dialer.DialContext), config.WithUserAgent("tocsin"))
	if err != nil {
		return nil, fmt.Errorf("make the HTTP client: %w", err)
	}
	fill(&headerTimeout, defaultHeaderTimeout)
	client.Transport = &guard{next: client.Transport, timeout: headerTimeout}
	if c.FollowRedirects {
		client.CheckRedirect = checkRedirect
	}
	return client, nil
}

// control refuses addresses after names have been resolved, so that no name leads to one.
func control(_, address string, _ syscall.RawConn) error {
	host, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("check address %s: %w", address, err)
	}
	if forbidden(host.Addr()) {
		return fmt.Errorf("connect to %s: %w", host.Addr(), errForbidden)
	}
	return nil
}

// forbidden reports whether ip is link-local, a group of hosts, or known to serve the
// credentials of machines in a cloud.
func forbidden(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	if b := ip.As16(); netip.MustParsePrefix("64:ff9b::/96").Contains(ip) {
		ip = netip.AddrFrom4([4]byte(b[12:])) // What NAT64 would translate it to.
	}
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return true
	}
	switch ip.String() {
	case "fd00:ec2::254", "100.100.100.200", "168.63.129.16":
		return true
	}
	return false
}

// checkRedirect allows a redirect that repeats the query on the same host.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("the source redirects more than %d times", maxRedirects)
	case req.URL.Host != first.URL.Host,
		req.URL.Scheme != first.URL.Scheme && req.URL.Scheme != "https",
		req.Method != first.Method:
		return fmt.Errorf("the source redirects to %s://%s: give that address instead",
			req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// guard refuses addresses before a proxy can be asked for them, and gives up on a source that
// does not begin to answer.
type guard struct {
	next    http.RoundTripper
	timeout time.Duration
}

// RoundTrip does what http.RoundTripper says.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if ip, err := netip.ParseAddr(req.URL.Hostname()); err == nil && forbidden(ip) {
		return nil, fmt.Errorf("connect to %s: %w", ip, errForbidden)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(g.timeout, func() { cancel(errNoHeader) })
	resp, err := g.next.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errNoHeader) {
		err = cause
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &body{ReadCloser: resp.Body, cancel: cancel}
	return resp, nil
}

// CloseIdleConnections closes the connections that no query uses.
func (g *guard) CloseIdleConnections() {
	if c, ok := g.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// body frees the request's context when the answer has been read.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

// Close closes the body and ends its request.
func (b *body) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
