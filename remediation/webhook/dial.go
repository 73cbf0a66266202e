package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// ErrAddress means that messages are not sent to an address, whatever name has led there.
var ErrAddress = errors.New("link-local addresses and metadata services get no messages")

// metadata are the addresses at which clouds give out credentials, beyond those that are
// link-local.
var metadata = [...]netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // Amazon.
	netip.MustParseAddr("fd20:ce::254"),    // Google.
	netip.MustParseAddr("168.63.129.16"),   // Azure.
	netip.MustParseAddr("100.100.100.200"), // Alibaba.
	netip.MustParseAddr("192.0.0.192"),     // Oracle.
}

// translated is where IPv6 hosts reach IPv4 addresses: these are in the last four bytes.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// DialContext connects like a net.Dialer, but not to addresses for which ErrAddress is. It looks
// at the address that a name has been resolved to, so that a name that resolves differently the
// next time gains nothing. A client that is given in Options is to use it.
func DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, Control: control}
	return d.DialContext(ctx, network, address)
}

// control implements net.Dialer.Control: address is never a name.
func control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if !permitted(at.Addr()) {
		return ErrAddress
	}
	return nil
}

// permitted says whether messages may be sent to an address.
func permitted(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if translated.Contains(a) {
		bytes := a.As16()
		a = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified() &&
		!slices.Contains(metadata[:], a)
}

// newClient returns a client that has no credentials and asks no proxy, which would dial itself.
func newClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DialContext, transport.Proxy = DialContext, nil
	return &http.Client{Transport: transport}
}
