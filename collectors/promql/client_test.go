package promql

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"tocsin/series"
)

// askThrough asks one query through a client made from c and returns why it failed.
func askThrough(t *testing.T, c config.HTTPClientConfig, url string) *failure {
	t.Helper()
	return askWithin(t, c, url, 0)
}

func askWithin(t *testing.T, c config.HTTPClientConfig, url string, header time.Duration) *failure {
	t.Helper()
	client, err := NewHTTPClient(c, header)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	q := perService
	var a answer
	a.reset(span{from: time.Now().Add(-time.Minute).UnixMilli(), step: 1, steps: 1}, 10)
	o := Options{Client: client, URL: url, Timeout: time.Minute, MaxBytes: 1 << 20}
	api, err := newAPI(&o, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return api.ask(t.Context(), "up", newTable("eu", &q, series.NewRegistry(0)), &a)
}

func TestClientAuthenticates(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config string
		check  func(r *http.Request) bool
	}{
		{"basic", "basic_auth: {username: me, password: canary}", func(r *http.Request) bool {
			user, password, ok := r.BasicAuth()
			return ok && user == "me" && password == "canary"
		}},
		{"bearer", "authorization: {credentials: canary}", func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "Bearer canary"
		}},
		{
			"tenant and headers", "http_headers: {X-Scope-OrgID: {values: [team-1]}, X-Key: {secrets: [canary]}}",
			func(r *http.Request) bool {
				return r.Header.Get("X-Scope-OrgID") == "team-1" && r.Header.Get("X-Key") == "canary"
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !tc.check(r) {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				_, _ = io.WriteString(w, vectorOf())
			}))
			server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // It meets strangers.
			server.StartTLS()
			defer server.Close()
			ca := filepath.Join(t.TempDir(), "ca.pem")
			block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
			if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			tls := "\ntls_config: {ca_file: " + ca + "}"
			for text, want := range map[string]result{
				tc.config + tls:         answered,
				"{}":                    unreachable, // An unknown authority.
				strings.Trim(tls, "\n"): unauthorized,
			} {
				c, err := config.LoadHTTPConfig(text)
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				got := answered
				f := askThrough(t, *c, server.URL)
				if f != nil {
					got = f.result
				}
				if got != want {
					t.Errorf("%s: %s (%v), want %s", text, got, f, want)
				}
				if f != nil && strings.Contains(f.reason, "canary") {
					t.Errorf("the reason tells a secret: %s", f.reason)
				}
			}
		})
	}
}

// A token in the URL must not get into reasons, which people see.
func TestReasonsTellNoSecrets(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := strings.Replace(server.URL, "http://", "http://me:canary@", 1) + "/?token=canary"
	for range 2 { // Of a server that is there, and of one that is not.
		f := askThrough(t, config.DefaultHTTPClientConfig, url)
		if f == nil || strings.Contains(f.reason, "canary") {
			t.Errorf("reason: %v", f)
		}
		server.Close()
	}
}

func TestClientGivesUpOnSilence(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer server.Close()
	defer close(stop)
	f := askWithin(t, config.DefaultHTTPClientConfig, server.URL, 50*time.Millisecond)
	if f == nil || f.result != timedOut || f.reason != errNoHeader.Error() {
		t.Errorf("failure: %+v", f)
	}
}

func TestClientRedirects(t *testing.T) {
	var other int
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		other++
		_, _ = io.WriteString(w, vectorOf())
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/same"):
			http.Redirect(w, r, strings.Replace(r.URL.Path, "/same", "/here", 1), http.StatusTemporaryRedirect)
		case strings.HasPrefix(r.URL.Path, "/other"):
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		case strings.HasPrefix(r.URL.Path, "/found"):
			http.Redirect(w, r, "/here", http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/loop"):
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		case r.FormValue("query") == "up":
			_, _ = io.WriteString(w, vectorOf())
		}
	}))
	defer server.Close()
	c := config.DefaultHTTPClientConfig
	c.BearerToken = "canary"
	for path, want := range map[string]result{
		"/same": answered, "/here": answered, "/other": unreachable, "/found": unreachable, "/loop": unreachable,
	} {
		got := answered
		f := askThrough(t, c, server.URL+path)
		if f != nil {
			got = f.result
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", path, got, f, want)
		}
	}
	if other != 0 {
		t.Error("another host was asked")
	}
	c.FollowRedirects = false
	if f := askThrough(t, c, server.URL+"/same"); f == nil || f.result != misdirected {
		t.Errorf("redirect that is not followed: %v", f)
	}
}

func TestForbiddenAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"169.254.169.254": true, "169.254.0.1": true, "fe80::1": true, "fe80::1%eth0": true,
		"::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "fd00:ec2::254": true,
		"100.100.100.200": true, "168.63.129.16": true, "224.0.0.1": true, "ff02::1": true,
		"127.0.0.1": false, "::1": false, "10.0.0.1": false, "192.168.1.1": false, "8.8.8.8": false,
		"fd00::1": false, "100.100.100.201": false,
	} {
		if got := forbidden(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: forbidden %t", text, got)
		}
	}
	if err := control("tcp", "[fe80::1]:9090", nil); !errors.Is(err, errForbidden) {
		t.Errorf("dial: %v", err)
	}
	if err := control("tcp", "127.0.0.1:9090", nil); err != nil {
		t.Errorf("dial: %v", err)
	}
}

// Neither directly nor through a proxy, nor by a redirect.
func TestClientRefusesMetadataAddresses(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, vectorOf())
	}))
	defer proxy.Close()
	redirect := httptest.NewServer(http.RedirectHandler("http://169.254.169.254/", http.StatusTemporaryRedirect))
	defer redirect.Close()
	through, err := config.LoadHTTPConfig("proxy_url: " + proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*failure{
		"directly": askThrough(t, config.DefaultHTTPClientConfig, "http://169.254.169.254"),
		"by proxy": askThrough(t, *through, "http://169.254.169.254"),
		"redirect": askThrough(t, config.DefaultHTTPClientConfig, redirect.URL),
	} {
		if f == nil || f.result != unreachable {
			t.Errorf("%s: %v", name, f)
		}
	}
}

func TestNewHTTPClientRefuses(t *testing.T) {
	c := config.DefaultHTTPClientConfig
	c.TLSConfig.CAFile = filepath.Join(t.TempDir(), "missing.pem")
	if _, err := NewHTTPClient(c, 0); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing CA file: %v", err)
	}
	c = config.DefaultHTTPClientConfig
	c.BearerToken, c.BasicAuth = "a", &config.BasicAuth{Username: "b"}
	if _, err := NewHTTPClient(c, 0); err == nil {
		t.Error("two ways to authenticate were taken")
	}
}

// BenchmarkQuery measures the way from a request to columns, over HTTP on loopback.
func BenchmarkQuery(b *testing.B) {
	const n = 2000
	body := []byte(steady(n))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.Copy(w, bytes.NewReader(body))
	}))
	defer server.Close()
	client, err := NewHTTPClient(config.DefaultHTTPClientConfig, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer client.CloseIdleConnections()
	o := Options{Client: client, URL: server.URL, Timeout: time.Minute, MaxBytes: 64 << 20}
	api, err := newAPI(&o, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	table := newTable("eu", meshQuery(), series.NewRegistry(0))
	ctx := context.Background()
	var a answer
	sp := span{from: time.Now().Add(-time.Minute).UnixMilli(), step: 15_000, steps: 1}
	b.ReportAllocs()
	for b.Loop() {
		a.reset(sp, n)
		if f := api.ask(ctx, "up", table, &a); f != nil {
			b.Fatal(f)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/value")
}
