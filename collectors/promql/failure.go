package promql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// result says how a query ended.
type result uint8

// The ways a query ends. Those from cut on may say something about the source and not
// about the query.
const (
	answered     result = iota
	nothing             // An answer without a series.
	badQuery            // The source does not understand it.
	failed              // The source understands it and cannot answer it.
	refused             // The answer is too large or of the wrong type.
	cut                 // The tick was over.
	unauthorized        // 401, 403.
	misdirected         // What answers is not the API.
	malformed           // What answers is not what the API gives.
	throttled           // 429, or 503 that says when to come again.
	serverError         // 5xx.
	timedOut            // No answer in time.
	unreachable         // No connection, or it broke.
	wrongClock          // The source's clock is behind the instant that was asked for.
	results             // How many there are.
)

func (r result) String() string {
	return [...]string{
		"answered", "empty", "bad_query", "failed", "refused", "cut", "unauthorized", "misdirected",
		"malformed", "throttled", "server_error", "timeout", "unreachable", "wrong_clock",
	}[r]
}

// failure is why a query was not answered.
type failure struct {
	result result
	reason string        // For people; holds no credentials.
	after  time.Duration // How long the source wants to be left alone; 0: it does not say.

	unasked bool // Another query met the failure, and this one was spared.
}

func (f *failure) Error() string { return f.reason }

// ofSource reports whether the source may be at fault rather than the query.
func (f *failure) ofSource() bool { return f.result >= cut }

// spare returns the failure of a query that is not asked after f.
func (f *failure) spare() *failure {
	return &failure{result: f.result, reason: "not asked: " + f.reason, after: f.after, unasked: true}
}

// maxRetryAfter bounds how long a source can silence us.
const maxRetryAfter = 15 * time.Minute

var errCut = errors.New("the tick was over")

// explain returns the failure that err stands for, which came from a transport or a decoder.
// ctx is the query's own.
func explain(ctx context.Context, err error) *failure {
	var known *failure
	var fault *apiError
	switch cause := context.Cause(ctx); {
	case errors.As(err, &known):
		return known
	case errors.Is(cause, errCut):
		return &failure{result: cut, reason: "no answer before the tick was over"}
	case errors.Is(err, errNoHeader):
		return &failure{result: timedOut, reason: errNoHeader.Error()}
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(cause, context.DeadlineExceeded):
		return &failure{result: timedOut, reason: "no answer in time"}
	case errors.As(err, &fault):
		return blame(http.StatusOK, fault)
	case errors.Is(err, errTooLarge), errors.Is(err, errWrongType):
		return &failure{result: refused, reason: err.Error()}
	case errors.Is(err, errTruncated), errors.Is(err, io.ErrUnexpectedEOF):
		return &failure{result: malformed, reason: errTruncated.Error()}
	case errors.Is(err, errMalformed):
		return &failure{result: malformed, reason: clean(err.Error())}
	}
	// The URL that url.Error repeats may hold a token.
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return &failure{result: unreachable, reason: clean(err.Error())}
}

// maxErrorBody bounds what is read of an answer that is an error.
const maxErrorBody = 64 << 10

// refusal returns the failure that an HTTP status other than 2xx stands for.
func refusal(resp *http.Response, now time.Time) *failure {
	f := statusFailure(resp)
	if f.result == throttled || f.result == serverError {
		f.after = retryAfter(resp.Header.Get("Retry-After"), now)
	}
	return f
}

func statusFailure(resp *http.Response) *failure {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // What there is.
	status := "HTTP status " + clean(resp.Status)
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return &failure{result: unauthorized, reason: status}
	case code == http.StatusTooManyRequests,
		code == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
		return &failure{result: throttled, reason: status}
	case code < 400:
		return &failure{result: misdirected, reason: status + ", want an answer"}
	}
	var said struct{ Status, ErrorType, Error string }
	if json.Unmarshal(text, &said) == nil && said.Status == "error" {
		return blame(resp.StatusCode, &apiError{clean(said.ErrorType), clean(said.Error)})
	}
	if resp.StatusCode >= 500 {
		return &failure{result: serverError, reason: status}
	}
	return &failure{result: misdirected, reason: status + "; is this the address of the API, " +
		"without /api/v1?"}
}

// blame decides whose fault it is that the API says no.
func blame(code int, e *apiError) *failure {
	switch {
	case e.Type == "bad_data":
		return &failure{result: badQuery, reason: e.Error()}
	case e.Type == "execution", e.Type == "timeout", code == http.StatusUnprocessableEntity:
		return &failure{result: failed, reason: e.Error()}
	case code < 400 || code >= 500:
		return &failure{result: serverError, reason: e.Error()}
	}
	return &failure{result: failed, reason: e.Error()}
}

// retryAfter reads the header of that name, in seconds or as a date.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// lateBy returns the failure of an answer that describes an instant which by the source's own
// clock has not come: that window is not closed, and one of the clocks is wrong.
func lateBy(resp *http.Response, s span) *failure {
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return nil // It does not say.
	}
	ahead := s.at(s.steps - 1).Sub(date)
	if ahead <= time.Second { // The header is cut to seconds.
		return nil
	}
	return &failure{result: wrongClock, reason: fmt.Sprintf(
		"the instant asked for is %s ahead of the source's clock", ahead.Round(time.Second))}
}
