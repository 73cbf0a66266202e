package api

import (
	"encoding/base64"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// params are those that a request has given, all of them known.
type params map[string]string

// parameters reads those of r. One that is not among known is refused, with the one that may have
// been meant.
func parameters(r *http.Request, known ...string) (params, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("the query string cannot be read: %w", err)
	}
	p := make(params, len(values))
	for name, given := range values {
		if !slices.Contains(known, name) {
			return nil, bad("unknown parameter %q; %s", name, advice(name, known))
		}
		if len(given) > 1 {
			return nil, bad("parameter %s is given %d times", name, len(given))
		}
		p[name] = given[0]
	}
	return p, nil
}

// advice says what to write in place of an unknown name.
func advice(name string, known []string) string {
	if len(known) == 0 {
		return "there are none here"
	}
	best, least := "", max(len(name)/2, 1)
	for _, k := range known {
		if d := distance(name, k); d <= least {
			best, least = k, d-1
		}
	}
	if best == "" {
		return "known are " + strings.Join(known, ", ")
	}
	return "write " + best
}

// distance counts the letters that have to be put in, taken out or exchanged to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// limit returns how many items a page may have.
func (p params) limit() (int, error) {
	text, ok := p["limit"]
	if !ok {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, bad("limit %q: write a number from 1 to %d", text, maxLimit)
	}
	return n, nil
}

// time returns the time that a parameter names: in RFC 3339, or as seconds since 1970.
func (p params) time(name string) (time.Time, error) {
	text, ok := p[name]
	if !ok {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e10 {
		return time.Time{}, bad(
			"%s %q: write a time as 2026-03-01T12:00:00Z or in seconds since 1970", name, text)
	}
	whole, rest := math.Modf(seconds)
	return time.Unix(int64(whole), int64(rest*1e9)).UTC(), nil
}

// oneOf returns a parameter that may have only some values.
func (p params) oneOf(name string, values ...string) (string, error) {
	text, ok := p[name]
	if !ok || slices.Contains(values, text) {
		return text, nil
	}
	return "", bad("%s %q: write one of %s", name, text, strings.Join(values, ", "))
}

// cursor reads where a page begins, as next has written it for the same list.
func (p params) cursor(list string) (string, error) {
	text, ok := p["cursor"]
	if !ok {
		return "", nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	of, at, found := strings.Cut(string(plain), ":")
	if err != nil || !found || of != list {
		return "", bad("cursor %q is none of this list; begin without one", text)
	}
	return at, nil
}

// number reads a cursor that is a number.
func (p params) number(list string) (int64, error) {
	at, err := p.cursor(list)
	if err != nil || at == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(at, 10, 64)
	if err != nil || n < 1 {
		return 0, bad("cursor %q is none of this list; begin without one", p["cursor"])
	}
	return n, nil
}

// next returns the cursor of a list from at on.
func next(list, at string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + ":" + at))
}
