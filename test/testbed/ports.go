package testbed

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Port returns a TCP port of 127.0.0.1 that nobody listens on. It lies below the range that the
// kernel gives to outgoing connections, so that it stays free while its server is down. It is
// claimed until the test ends by a listener on the same port of 127.0.0.2: two test binaries that
// run side by side never get the same one.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 11000 + rand.IntN(20000)
		claim, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if probe, err := net.Listen("tcp", address(port)); err == nil && probe.Close() == nil {
			t.Cleanup(func() { _ = claim.Close() })
			return port
		}
		_ = claim.Close()
	}
	t.Fatal("testbed: no free port between 11000 and 31000 on 127.0.0.1 and 127.0.0.2")
	return 0
}

// address returns host:port on the loopback interface.
func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
