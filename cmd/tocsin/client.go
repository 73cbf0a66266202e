package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"
	"unicode"

	commonconfig "github.com/prometheus/common/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const (
	clientTimeout = 30 * time.Second
	maxAnswer     = 64 << 20 // Bytes of an answer; a page of a thousand incidents is less.
)

// clientFlags say how a running daemon is reached.
type clientFlags struct {
	url        string
	configFile string
}

func (f *clientFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "url", "",
		"URL of the running daemon; TOCSIN_URL, or http://localhost:9977 if that is not set.")
	flags.StringVar(&f.configFile, "http.config.file", "",
		"File with credentials and TLS for --url, in the form of promtool's and amtool's.")
}

// asked makes wrong arguments bad input, as wrong flags are.
func asked(checks ...cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := cobra.MatchAll(checks...)(cmd, args)
		if err != nil && !errors.Is(err, errBadInput) {
			return fmt.Errorf("%w: %w; see '%s --help'", errBadInput, err, cmd.CommandPath())
		}
		return err
	}
}

// client talks to the JSON API of a running daemon.
type client struct {
	base  *url.URL
	http  *http.Client
	named bool // The daemon is told by credentials who this is.
}

// client returns a client for the daemon that the flags name.
func (f *clientFlags) client() (*client, error) {
	text := cmp.Or(f.url, os.Getenv("TOCSIN_URL"), "http://localhost:9977")
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: --url %q: want a URL such as https://tocsin.example",
			errBadInput, text)
	}
	c := &commonconfig.HTTPClientConfig{FollowRedirects: true, EnableHTTP2: true}
	if f.configFile != "" {
		if c, _, err = commonconfig.LoadHTTPConfigFile(f.configFile); err != nil {
			return nil, fmt.Errorf("%w: --http.config.file %s: %w", errBadInput, f.configFile, err)
		}
	}
	h, err := commonconfig.NewClientFromConfig(*c, "tocsin")
	if err != nil {
		return nil, fmt.Errorf("%w: --http.config.file %s: %w", errBadInput, f.configFile, err)
	}
	h.Timeout = clientTimeout
	named := c.BasicAuth != nil || c.Authorization != nil || c.OAuth2 != nil ||
		c.TLSConfig.CertFile != "" || c.TLSConfig.Cert != ""
	return &client{base: u, http: h, named: named}, nil
}

// author returns whom the daemon is to take for the author of a change: by, or the user of this
// machine unless the daemon knows better.
func (c *client) author(by string) string {
	if by != "" || c.named {
		return by
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// answerError is an answer that says what went wrong.
type answerError struct {
	code int
	text string
}

func (e *answerError) Error() string {
	if e.code == http.StatusUnauthorized || e.code == http.StatusForbidden {
		return e.text + "; --http.config.file says who you are"
	}
	return e.text
}

// Is makes what the daemon takes for a mistake of the caller bad input.
func (e *answerError) Is(target error) bool {
	switch e.code {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict,
		http.StatusRequestEntityTooLarge:
		return target == errBadInput
	}
	return false
}

// notFound tells whether an error says that there is no such thing.
func notFound(err error) bool { return answered(err, http.StatusNotFound) }

// answered tells whether an error is an answer with this code.
func answered(err error, code int) bool {
	var e *answerError
	return errors.As(err, &e) && e.code == code
}

// call sends a request to a path below the JSON API, with body as JSON unless it is nil, and
// decodes the data of the answer into data. It returns the cursor of the next page, if there is
// one.
func (c *client) call(
	ctx context.Context, method, path string, query url.Values, body, data any,
) (next string, err error) {
	u := c.base.JoinPath("api/tocsin/v1", path)
	u.RawQuery = query.Encode()
	var content []byte
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return "", fmt.Errorf("%s %s: %w", method, u.Redacted(), err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(content))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", method, u.Redacted(), err)
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return "", fmt.Errorf("ask the daemon: %w; --url or TOCSIN_URL says where it is", err)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", u.Redacted(), err)
	}
	return decodeAnswer(resp, text, data)
}

// decodeAnswer reads the envelope of the JSON API.
func decodeAnswer(resp *http.Response, text []byte, data any) (next string, err error) {
	var envelope struct {
		Status string          `json:"status"`
		Data   json.RawMessage `json:"data"`
		Next   string          `json:"next"`
		Error  string          `json:"error"`
	}
	at := resp.Request.URL.Redacted()
	if err := json.Unmarshal(text, &envelope); err != nil {
		// Not of the daemon's own making: a proxy's, or the one that asks for a password.
		said := fmt.Sprintf("%s answers %s: %s", at, resp.Status, oneLine(string(text), 200))
		return "", &answerError{resp.StatusCode, said}
	}
	if envelope.Status != "success" {
		said := oneLine(cmp.Or(envelope.Error, at+" answers "+resp.Status), 1000)
		return "", &answerError{resp.StatusCode, said}
	}
	if err := json.Unmarshal(envelope.Data, data); err != nil {
		return "", fmt.Errorf("read the answer of %s: %w", at, err)
	}
	return envelope.Next, nil
}

// oneLine makes text that others have written fit for a terminal: without control characters, in at
// most so many letters.
func oneLine(text string, most int) string {
	clean := strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if letters := []rune(clean); len(letters) > most {
		return string(letters[:most-1]) + "…"
	}
	return clean
}

// printable makes lines that others have a part in fit for a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}
