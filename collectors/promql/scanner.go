package promql

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxToken bounds what must be in memory in one piece: a label set, a message, a value that
// nobody asked for.
const maxToken = 1 << 20

// What can be wrong with an answer as a whole.
var (
	errTooLarge  = errors.New("the answer is too large")
	errTruncated = errors.New("the answer ends early")
	errMalformed = errors.New("the answer is not what the API gives")
	errWrongType = errors.New("the query gives the wrong type")
)

// scanner reads JSON through a window that moves over a stream, so that an answer of any size
// needs memory for its longest token only. Its methods do nothing once err is set; callers look
// at err where it matters, not after each step.
type scanner struct {
	src  io.Reader
	buf  []byte // The window; what is between pos and end was not consumed.
	pos  int
	end  int
	keep int   // Where a token begins that must stay in the window; -1: none.
	left int64 // Bytes that may yet be read.
	err  error
}

// start makes s read up to limit bytes from src.
func (s *scanner) start(src io.Reader, limit int64) {
	if s.buf == nil {
		s.buf = make([]byte, 32<<10)
	}
	s.src, s.left = src, limit
	s.pos, s.end, s.keep, s.err = 0, 0, -1, nil
}

// fail remembers the first thing that went wrong.
func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// malformed fails with what was expected.
func (s *scanner) malformed(want string) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: want %s", errMalformed, want)
	}
}

// more reads on; it returns false at the end of the stream. Positions may change, but for
// their distance to keep.
func (s *scanner) more() bool {
	if s.err != nil || !s.makeRoom() {
		return false
	}
	for range 100 { // As bufio does: a reader that gives nothing for ever is broken.
		n, err := s.src.Read(s.buf[s.end:])
		s.end += n
		if s.left -= int64(n); s.left < 0 {
			s.fail(errTooLarge)
			return false
		}
		if n > 0 {
			return true
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.fail(err)
			}
			return false
		}
	}
	s.fail(io.ErrNoProgress)
	return false
}

// makeRoom moves what is still needed to the front of the window and widens the window if
// that is all of it.
func (s *scanner) makeRoom() bool {
	from := s.pos
	if s.keep >= 0 {
		from = s.keep
	}
	if from > 0 {
		copy(s.buf, s.buf[from:s.end])
		s.pos -= from
		s.end -= from
		if s.keep >= 0 {
			s.keep = 0
		}
	}
	if s.end < len(s.buf) {
		return true
	}
	if len(s.buf) >= maxToken {
		s.fail(fmt.Errorf("%w: one piece of it has more than %d bytes", errTooLarge, maxToken))
		return false
	}
	wider := make([]byte, 2*len(s.buf))
	copy(wider, s.buf)
	s.buf = wider
	return true
}

// next returns the next byte that is not a space without consuming it, 0 at the end.
func (s *scanner) next() byte {
	for {
		for s.pos < s.end {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\n', '\r':
				s.pos++
			default:
				return c
			}
		}
		if !s.more() {
			return 0
		}
	}
}

// take consumes c and returns true if it comes next.
func (s *scanner) take(c byte) bool {
	if s.next() != c || s.err != nil {
		return false
	}
	s.pos++
	return true
}

// expect consumes c, which must come next.
func (s *scanner) expect(c byte) {
	if !s.take(c) && s.err == nil {
		if s.pos == s.end {
			s.fail(errTruncated)
			return
		}
		s.malformed(fmt.Sprintf("%q", c))
	}
}

// finish makes sure that nothing follows.
func (s *scanner) finish() {
	if s.next() != 0 || (s.err == nil && s.pos < s.end) {
		s.malformed("nothing after the answer")
	}
}

// quoted consumes a string and returns what is between the quotes as it stands, and whether
// there are escapes in it. It is valid until the next read.
func (s *scanner) quoted() (raw []byte, escaped bool) {
	s.expect('"')
	if s.err != nil {
		return nil, false
	}
	s.keep = s.pos
	defer func() { s.keep = -1 }()
	for {
		for s.pos < s.end {
			switch c := s.buf[s.pos]; {
			case c == '"':
				raw = s.buf[s.keep:s.pos]
				s.pos++
				return raw, escaped
			case c == '\\':
				escaped = true
				s.pos++
				if s.pos == s.end && !s.more() {
					s.fail(errTruncated)
					return nil, false
				}
			case c < ' ':
				s.malformed("no control characters in strings")
				return nil, false
			}
			s.pos++
		}
		if !s.more() {
			s.fail(errTruncated)
			return nil, false
		}
	}
}

// key consumes a key of an object and the colon behind it. It is valid until the next key.
func (s *scanner) key() string {
	raw, escaped := s.quoted()
	if escaped && s.err == nil {
		raw = s.unquote(raw)
	}
	name := keyName(raw)
	s.expect(':')
	return name
}

// keyName returns the keys that an answer has without allocating them.
func keyName(raw []byte) string {
	switch string(raw) {
	case "metric":
		return "metric"
	case "value":
		return "value"
	case "values":
		return "values"
	case "histogram":
		return "histogram"
	case "histograms":
		return "histograms"
	case "buckets":
		return "buckets"
	case "count":
		return "count"
	case "sum":
		return "sum"
	}
	return string(raw)
}

// unquote returns what a string with escapes stands for.
func (s *scanner) unquote(raw []byte) []byte {
	var text string
	if err := json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &text); err != nil {
		s.malformed("a well-formed string")
	}
	return []byte(text)
}

// text consumes a string and returns what it stands for.
func (s *scanner) text() string {
	raw, _ := s.quoted()
	if s.err != nil {
		return ""
	}
	return string(s.unquote(raw))
}

// raw consumes one value of any kind as it stands, without a look at its grammar but for
// brackets and strings. It is valid until the next read.
func (s *scanner) raw() []byte {
	c := s.next()
	s.keep = s.pos
	switch c {
	case '{', '[':
		s.brackets()
	case '"':
		s.skipString()
	default:
		s.word()
	}
	start := s.keep
	s.keep = -1
	if s.err != nil {
		return nil
	}
	return s.buf[start:s.pos]
}

// skip consumes one value of any kind, which must be well-formed.
func (s *scanner) skip() {
	if raw := s.raw(); s.err == nil && !json.Valid(raw) {
		s.malformed("JSON")
	}
}

// brackets consumes an object or an array.
func (s *scanner) brackets() {
	depth := 0
	for s.err == nil {
		for s.pos < s.end {
			switch s.buf[s.pos] {
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					s.pos++
					return
				}
			case '"':
				s.skipString()
				if s.err != nil {
					return
				}
				continue
			}
			s.pos++
		}
		if !s.more() {
			s.fail(errTruncated)
		}
	}
}

// skipString consumes a string inside a token that is kept.
func (s *scanner) skipString() {
	s.pos++
	for s.err == nil {
		rest := s.buf[s.pos:s.end]
		i := bytes.IndexByte(rest, '"')
		if i >= 0 {
			rest = rest[:i]
		}
		if j := bytes.IndexByte(rest, '\\'); j >= 0 {
			s.pos += j + 1
			if s.pos == s.end && !s.more() {
				break
			}
			s.pos++
			continue
		}
		if i >= 0 {
			s.pos += i + 1
			return
		}
		if s.pos = s.end; !s.more() {
			break
		}
	}
	s.fail(errTruncated)
}

// word consumes a number or a literal.
func (s *scanner) word() {
	for s.err == nil {
		for s.pos < s.end {
			switch s.buf[s.pos] {
			case ',', ']', '}', ' ', '\t', '\n', '\r', ':', '"', '[', '{':
				return
			}
			s.pos++
		}
		if !s.more() {
			return
		}
	}
}
