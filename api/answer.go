package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Types of error, as Prometheus calls them.
const (
	errorBadData     = "bad_data"
	errorNotFound    = "not_found"
	errorConflict    = "conflict"
	errorForbidden   = "forbidden"
	errorMethod      = "method_not_allowed"
	errorInternal    = "internal"
	errorUnavailable = "unavailable"
)

// Response is the envelope of every answer of the JSON API.
type Response struct {
	Status    string `json:"status"`         // "success" or "error".
	Data      any    `json:"data,omitempty"` // Of a success: a list or one object.
	Next      string `json:"next,omitempty"` // Cursor of the next page, if there is one.
	ErrorType string `json:"errorType,omitempty"`
	Error     string `json:"error,omitempty"`
}

// failure is an error that a client is told.
type failure struct {
	code int
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// bad says what is wrong with a request.
func bad(format string, args ...any) error {
	return &failure{http.StatusBadRequest, errorBadData, fmt.Errorf(format, args...)}
}

// absent says what was not found.
func absent(format string, args ...any) error {
	return &failure{http.StatusNotFound, errorNotFound, fmt.Errorf(format, args...)}
}

// conflict says why what is asked for does not fit what is there.
func conflict(err error) error { return &failure{http.StatusConflict, errorConflict, err} }

// unavailable says what is not there now.
func unavailable(format string, args ...any) error {
	return &failure{
		http.StatusServiceUnavailable, errorUnavailable, fmt.Errorf(format, args...),
	}
}

// page is what an endpoint has to answer.
type page struct {
	data any
	next string
}

// answer makes a handler of an endpoint: it writes the envelope around what the endpoint returns.
func answer(serve func(*http.Request) (page, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := serve(r)
		var f *failure
		switch {
		case errors.As(err, &f):
			fail(w, f.code, f.kind, f.Error())
		case r.Context().Err() != nil:
			fail(w, http.StatusServiceUnavailable, errorUnavailable, "the request was given up")
		case err != nil:
			fail(w, http.StatusInternalServerError, errorInternal, err.Error())
		default:
			respond(w, http.StatusOK, Response{Status: "success", Data: p.data, Next: p.next})
		}
	}
}

// fail writes an error.
func fail(w http.ResponseWriter, code int, kind, text string) {
	respond(w, code, Response{Status: "error", ErrorType: kind, Error: text})
}

func respond(w http.ResponseWriter, code int, answer Response) {
	body, err := json.Marshal(answer)
	if err != nil {
		code = http.StatusInternalServerError
		body = []byte(`{"status":"error","errorType":"internal","error":"no form in JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // A client that has gone misses nothing.
}
