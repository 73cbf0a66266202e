package promql

import (
	"strconv"
	"time"
)

// span is the instants that a query is asked for: one, or several at equal distances.
// Times are Unix milliseconds.
type span struct {
	from, step int64
	steps      int // At least 1.
}

// to returns the last instant.
func (s span) to() int64 { return s.from + s.step*int64(s.steps-1) }

// at returns the instant with index i.
func (s span) at(i int) time.Time { return time.UnixMilli(s.from + s.step*int64(i)).UTC() }

// index returns which instant ms is; false if none. A source may round by a millisecond.
func (s span) index(ms int64) (int, bool) {
	off := ms - s.from + 1
	if off < 0 || s.step == 0 {
		return 0, false
	}
	i := off / s.step
	return int(i), i < int64(s.steps) && off%s.step <= 2
}

// align returns the last multiple of step that is not after ms.
func align(ms, step int64) int64 {
	rest := ms % step
	if rest < 0 {
		rest += step
	}
	return ms - rest
}

// seconds writes ms the way the API takes times and distances.
func seconds(ms int64) string {
	if ms%1000 == 0 {
		return strconv.FormatInt(ms/1000, 10)
	}
	return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64)
}
