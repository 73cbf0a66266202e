package journal

import (
	"encoding/json"
	"strings"
)

// stride is how many rows a walk asks for at a time, so that no read holds up the database's own
// upkeep for long.
const stride = 1000

// walker goes through the events behind from, up to and with to, in their order and around
// damaged pages.
type walker struct {
	query querier
	from  int64
	prev  *hash // Of the event from; nil: not known.
	to    int64
}

// chain checks that each event follows from the one before, and returns how many could be read.
func (w *walker) chain(found func(Break)) (events int64, err error) {
	next, prev := w.from+1, w.prev
	skipped := func(b Break) {
		found(b)
		next, prev = b.Through+1, nil
	}
	err = w.rows(func(r row, _ []byte) {
		if r.seq > next {
			skipped(Break{Seq: next, Through: r.seq - 1, Problem: missing})
		}
		if prev != nil && r.follow(*prev) != r.hash {
			found(Break{Seq: r.seq, Through: r.seq, Problem: mismatch})
		}
		sum := r.hash
		next, prev = r.seq+1, &sum
		events++
	}, skipped)
	if err == nil && next <= w.to {
		found(Break{Seq: next, Through: w.to, Problem: missing})
	}
	return events, err
}

// rows calls fn for each row that can be read, and lost for each stretch that cannot.
func (w *walker) rows(fn func(r row, before []byte), lost func(Break)) error {
	at := w.from
	for at < w.to {
		last, n, err := w.page(at, stride, fn, lost)
		switch {
		case corrupt(err):
			resume, err := w.beyond(last)
			if err != nil {
				return err
			}
			lost(Break{Seq: last + 1, Through: resume, Problem: unreadable})
			at = resume
		case err != nil:
			return err
		case n < stride:
			return nil
		default:
			at = last
		}
	}
	return nil
}

// page reads up to limit rows behind after. It returns the number of the last, and how many there
// were.
func (w *walker) page(
	after int64, limit int, fn func(row, []byte), lost func(Break),
) (last int64, n int, err error) {
	last = after
	const where = "WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?"
	rows, err := w.query(columns+where, after, w.to, limit)
	if err != nil {
		return last, 0, err
	}
	for rows.Next() {
		r, before, err := scan(rows)
		// In a damaged tree numbers may come in any order; going back could go on for ever.
		if r.seq <= last {
			continue
		}
		last = r.seq
		n++
		if err != nil {
			lost(Break{Seq: r.seq, Through: r.seq, Problem: unreadable})
			continue
		}
		fn(r, before)
	}
	err = rows.Err()
	if cerr := rows.Close(); err == nil {
		err = cerr
	}
	return last, n, err
}

// beyond returns the number of an event behind which reading goes on after a damaged page that
// begins behind at.
func (w *walker) beyond(at int64) (int64, error) {
	broken := func(from int64) (bool, error) {
		_, _, err := w.page(from, 1, func(row, []byte) {}, func(Break) {})
		if corrupt(err) {
			return true, nil
		}
		return false, err
	}
	low, step := at, int64(1)
	for {
		high := min(at+step, w.to)
		bad, err := broken(high)
		if err != nil {
			return 0, err
		}
		if !bad || high == w.to {
			return w.bisect(low, high, broken)
		}
		low, step = high, step*2
	}
}

// bisect finds the first number in (low, high] behind which reading goes on; behind high it does,
// or all is over.
func (w *walker) bisect(low, high int64, broken func(int64) (bool, error)) (int64, error) {
	for high-low > 1 {
		mid := low + (high-low)/2
		bad, err := broken(mid)
		if err != nil {
			return 0, err
		}
		if bad {
			low = mid
		} else {
			high = mid
		}
	}
	return high, nil
}

// matches says whether data holds all values of match at their paths.
func matches(data []byte, match map[string]string) bool {
	if len(match) == 0 {
		return true
	}
	var top any
	if json.Unmarshal(data, &top) != nil {
		return false
	}
	for path, want := range match {
		at := top
		for name := range strings.SplitSeq(path, ".") {
			fields, _ := at.(map[string]any)
			at = fields[name]
		}
		if got, ok := at.(string); !ok || got != want {
			return false
		}
	}
	return true
}
