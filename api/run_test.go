package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// run serves s on a free port until the test ends and returns its address and how to stop it.
func run(t *testing.T, h *house, change func(*Options)) (address string, stop func() error) {
	t.Helper()
	s := h.server(t, func(o *Options) {
		o.Addresses = []string{"127.0.0.1:0"}
		if change != nil {
			change(o)
		}
	})
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = func() error {
		cancel()
		err := <-done
		done <- nil
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return s.Addrs()[0].String(), stop
}

// authority makes certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	a.cert, a.key = a.issue("ca", nil)
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate, signs it and leaves it in files of that name.
func (a *authority) issue(name string, usage []x509.ExtKeyUsage) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name string, text []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// client returns one that trusts a, and shows a certificate if it is given the name of one.
func (a *authority) client(name string) *http.Client {
	a.t.Helper()
	config := &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS12}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key"))
		if err != nil {
			a.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config}
	a.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// status returns the code of an answer, or 0 if there was none.
func status(t *testing.T, c *http.Client, method, target string, header ...string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := c.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode
}

// signs gives feedback, with a name and a password unless they are empty, and returns whom the
// server takes for its author.
func signs(t *testing.T, c *http.Client, target, user string) (by string) {
	t.Helper()
	body := strings.NewReader(`{"opinion": "useful"}`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if name, password, ok := strings.Cut(user, ":"); ok {
		r.SetBasicAuth(name, password)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct{ Data Feedback }
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return got.Data.By
}

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth})
	a.issue("ann", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth})
	config := a.write("web.yml", []byte(`tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_ca_file: ca.crt
  client_auth_type: RequireAndVerifyClientCert
`))
	address, _ := run(t, newHouse(t), func(o *Options) { o.WebConfig = config })
	if code := status(t, a.client("ann"), "GET", "https://"+address+"/-/healthy"); code != 200 {
		t.Errorf("with a certificate: %d", code)
	}
	// A proxy in front makes no difference to one who has shown a certificate.
	code := status(t, a.client("ann"), "POST", "https://"+address+"/-/reload", "X-Forwarded-For", "192.0.2.1")
	if code != 200 {
		t.Errorf("reload with a certificate: %d", code)
	}
	url := "https://" + address + base + "findings/f24/feedback"
	for _, name := range []string{"", "bob:secret"} { // There are no users, so bob is nobody.
		if by := signs(t, a.client("ann"), url, name); by != "ann" {
			t.Errorf("feedback with a certificate, and as %q, is by %q", name, by)
		}
	}
	if code := status(t, a.client(""), "GET", "https://"+address+"/-/healthy"); code != 0 {
		t.Errorf("without a certificate: %d", code)
	}
	if code := status(t, http.DefaultClient, "GET", "http://"+address+"/-/healthy"); code == 200 {
		t.Errorf("without TLS: %d", code)
	}
	old := a.client("ann")
	transport := old.Transport.(*http.Transport)
	transport.TLSClientConfig.MinVersion = tls.VersionTLS10
	transport.TLSClientConfig.MaxVersion = tls.VersionTLS11
	if code := status(t, old, "GET", "https://"+address+"/-/healthy"); code != 0 {
		t.Errorf("with TLS 1.1: %d", code)
	}
}

func TestUsers(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "basic_auth_users:\n  ann: %s\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	address, _ := run(t, newHouse(t), func(o *Options) { o.WebConfig = config })
	url := "http://" + address
	const proxied = "X-Forwarded-For"
	for _, tc := range []struct {
		name, method, path, authorization string
		want                              int
	}{
		{"nobody", "GET", "/metrics", "", 401},
		{"nobody reloads", "POST", "/-/reload", "", 401},
		{"ann", "GET", "/metrics", "Basic YW5uOnNlY3JldA==", 200},
		{"ann through a proxy reloads", "POST", "/-/reload", "Basic YW5uOnNlY3JldA==", 200},
		{"wrong password", "GET", "/metrics", "Basic YW5uOnNlY3JlVA==", 401},
		{"bearer nothing", "POST", "/-/reload", "Bearer ", 401},
	} {
		code := status(t, http.DefaultClient, tc.method, url+tc.path,
			"Authorization", tc.authorization, proxied, "192.0.2.1")
		if code != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, code, tc.want)
		}
	}
}

// TestUsersWithCertificates is about a proxy that shows a certificate and speaks for users.
func TestUsersWithCertificates(t *testing.T) {
	a := newAuthority(t)
	a.issue("server", []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth})
	a.issue("proxy", []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth})
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := a.write("web.yml", fmt.Appendf(nil, `tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_ca_file: ca.crt
  client_auth_type: RequireAndVerifyClientCert
basic_auth_users: {ann: %s}
`, hash))
	address, _ := run(t, newHouse(t), func(o *Options) { o.WebConfig = config })
	url := "https://" + address + base + "findings/f24/feedback"
	if by := signs(t, a.client("proxy"), url, "ann:secret"); by != "ann" {
		t.Errorf("feedback is by %q, want ann", by)
	}
}

func TestBadWebConfig(t *testing.T) {
	for name, text := range map[string]string{
		"mistyped": "basic_auth_user: {}\n",
		"no file":  "tls_server_config: {cert_file: none, key_file: none}\n",
		"not YAML": "{",
	} {
		config := filepath.Join(t.TempDir(), "web.yml")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o := newHouse(t).options()
		o.WebConfig = config
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), config) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestListen(t *testing.T) {
	address, _ := run(t, newHouse(t), nil)
	other := newHouse(t).server(t, func(o *Options) { o.Addresses = []string{"127.0.0.1:0", address} })
	if err := other.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("Listen() on a taken address = %v", err)
	}
	if len(other.Addrs()) != 0 {
		t.Errorf("still listens on %v", other.Addrs())
	}
	if err := other.Run(t.Context()); err == nil {
		t.Error("Run() on a taken address succeeded")
	}
}

func TestShutdown(t *testing.T) {
	for _, tc := range []struct {
		name  string
		grace time.Duration
		ends  bool
	}{
		{"waits", time.Minute, true},
		{"cuts off", time.Nanosecond, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begun, end := make(chan bool), make(chan bool)
			address, stop := run(t, newHouse(t), func(o *Options) {
				o.Grace = tc.grace
				o.Query = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					close(begun)
					select {
					case <-end:
					case <-r.Context().Done():
					}
					_, _ = w.Write([]byte("done"))
				})
			})
			code := make(chan int)
			go func() { code <- status(t, http.DefaultClient, "GET", "http://"+address+"/api/v1/query") }()
			<-begun
			stopped := make(chan error)
			go func() { stopped <- stop() }()
			if tc.ends {
				close(end)
			}
			if got := <-code; (got == 200) != tc.ends {
				t.Errorf("request under way: %d", got)
			}
			if err := <-stopped; err != nil {
				t.Errorf("Run() = %v", err)
			}
		})
	}
}
