package remediation

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxAnswer bounds how much is read of what a receiver answers.
const maxAnswer = 1 << 10

// CheckResponse returns nil for an answer with a status of 2xx, else an *Error that quotes the
// answer. A status of 4xx is permanent, but for 408, 425 and 429; a redirection is permanent too.
// It reads the body, which remains the caller's to close.
func CheckResponse(resp *http.Response, now time.Time) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	text := strings.ToValidUTF8(strings.TrimSpace(string(body)), "")
	if err != nil || text == "" {
		text = "no explanation"
	}
	e := &Error{
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now),
		Err:        fmt.Errorf("answered %s: %s", resp.Status, text),
	}
	switch code := resp.StatusCode; code {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
	default:
		e.Permanent = code/100 == 4 || code/100 == 3
	}
	return e
}

// retryAfter reads the two forms of Retry-After: seconds, and a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
