package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Query says which events to read. The zero Query means the oldest 100.
type Query struct {
	Kinds  []string          // Of one of these kinds; of any.
	Key    string            // With this key; with any.
	Match  map[string]string // Whose data hold these values, by path: {"service.cluster": "eu-1"}.
	After  int64             // With a greater number.
	Before int64             // With a smaller number, unless 0.
	Since  time.Time         // At this time or later, unless zero.
	Until  time.Time         // Before this time, unless zero.
	Limit  int               // At most so many; 100.
	Newest bool              // The newest first.
	Latest bool              // Only the newest event of each kind and key.
}

// querier runs a query on some connection.
type querier func(query string, args ...any) (*sql.Rows, error)

// columns are those that scan reads. The event before gives its hash; without it the place in the
// chain is not known.
const columns = `SELECT e.seq, e.at, e.kind, e.key, e.data, e.hash, p.hash
	FROM events e LEFT JOIN events p ON p.seq = e.seq - 1 `

// Read returns the events that q asks for. Each is compared with its hash; those that do not
// agree are marked Suspect and noted as damage. Events on damaged pages are left out, the rest is
// returned.
func (j *Journal) Read(ctx context.Context, q Query) ([]Event, error) {
	query, err := j.reader(ctx)
	if err != nil {
		return nil, err
	}
	events, err := j.read(query, q)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return events, nil
}

// Latest returns, by key, the newest event of each key of a kind: the state from which its owner
// is rebuilt.
func (j *Journal) Latest(ctx context.Context, kind string) (map[string]Event, error) {
	out := make(map[string]Event)
	q := Query{Kinds: []string{kind}, Latest: true, Limit: 1000}
	for {
		events, err := j.Read(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			out[e.Key] = e
			q.After = e.Seq
		}
		if len(events) < q.Limit {
			return out, nil
		}
	}
}

// reader returns a querier that ends with ctx.
func (j *Journal) reader(ctx context.Context) (querier, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return nil, ErrClosed
	case j.readers == nil:
		return nil, errNoDatabase
	}
	db := j.readers
	return func(query string, args ...any) (*sql.Rows, error) {
		return db.QueryContext(ctx, query, args...)
	}, nil
}

func (j *Journal) read(query querier, q Query) ([]Event, error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	where, args := q.where()
	order := " ORDER BY e.seq"
	if q.Newest {
		order += " DESC"
	}
	rows, err := query(columns+where+order+" LIMIT ?", append(args, q.Limit)...)
	if err != nil && !corrupt(err) {
		return nil, err
	}
	var events []Event
	if err == nil {
		events, err = j.collect(rows)
	}
	if corrupt(err) {
		return j.salvage(query, q)
	}
	return events, err
}

// where returns the conditions of q and their arguments.
func (q *Query) where() (string, []any) {
	conditions := []string{"e.seq > ?"}
	args := []any{q.After}
	add := func(condition string, values ...any) {
		conditions = append(conditions, condition)
		args = append(args, values...)
	}
	if len(q.Kinds) > 0 {
		marks := strings.Repeat(", ?", len(q.Kinds))[2:]
		kinds := make([]any, len(q.Kinds))
		for i, k := range q.Kinds {
			kinds[i] = k
		}
		add("e.kind IN ("+marks+")", kinds...)
	}
	if q.Key != "" {
		add("e.key = ?", q.Key)
	}
	if q.Before > 0 {
		add("e.seq < ?", q.Before)
	}
	if !q.Since.IsZero() {
		add("e.at >= ?", q.Since.UnixNano())
	}
	if !q.Until.IsZero() {
		add("e.at < ?", q.Until.UnixNano())
	}
	for path, value := range q.Match {
		// Data that a flipped bit has made invalid would otherwise fail the whole query.
		add("CASE WHEN json_valid(e.data) THEN json_extract(e.data, ?) = ? ELSE 0 END",
			"$."+path, value)
	}
	if q.Latest {
		add(`NOT EXISTS (SELECT 1 FROM events n
			WHERE n.kind = e.kind AND n.key = e.key AND n.seq > e.seq)`)
	}
	return "WHERE " + strings.Join(conditions, " AND "), args
}

// collect reads all of rows and checks each event against its hash.
func (j *Journal) collect(rows *sql.Rows) ([]Event, error) {
	var events []Event
	for rows.Next() {
		r, before, err := scan(rows)
		if err != nil {
			j.note(Break{Seq: r.seq, Problem: unreadable})
			continue
		}
		events = append(events, r.event(!j.follows(&r, before)))
	}
	return events, errors.Join(rows.Err(), rows.Close())
}

// scan reads one row of columns. Columns of the wrong type are an error; seq is right even then.
func scan(rows *sql.Rows) (r row, before []byte, err error) {
	var seq, at, kind, key, data, sum, prev any
	if err := rows.Scan(&seq, &at, &kind, &key, &data, &sum, &prev); err != nil {
		return r, nil, err
	}
	var ok [6]bool
	r.seq, ok[0] = seq.(int64)
	r.at, ok[1] = at.(int64)
	r.kind, ok[2] = kind.(string)
	r.key, ok[3] = key.(string)
	text, isText := data.(string)
	r.data, ok[4] = []byte(text), isText
	b, _ := sum.([]byte)
	ok[5] = len(b) == len(r.hash)
	copy(r.hash[:], b)
	before, _ = prev.([]byte)
	if slices.Contains(ok[:], false) {
		return r, before, errors.New("column of the wrong type")
	}
	return r, before, nil
}

// follows says whether the hash of r is right behind the event before it, and notes it if not.
// Where the event before is missing that cannot be shown; the gap is noted by those that walk the
// chain.
func (j *Journal) follows(r *row, before []byte) bool {
	var prev hash
	switch {
	case len(before) == len(prev):
		prev = hash(before)
	case r.seq > 1:
		j.mu.Lock()
		checkpoint := j.checkpoint
		j.mu.Unlock()
		if checkpoint.seq != r.seq-1 {
			return false
		}
		prev = checkpoint.hash
	}
	if r.follow(prev) == r.hash {
		return true
	}
	j.note(Break{Seq: r.seq, Through: r.seq, Problem: mismatch})
	return false
}

// salvage reads what q asks for from a database with damaged pages: it goes through the whole
// table and around them. It is slow, and it is right.
func (j *Journal) salvage(query querier, q Query) ([]Event, error) {
	j.mu.Lock()
	w := walker{query: query, from: j.checkpoint.seq, to: j.tip.seq}
	j.mu.Unlock()
	newest := make(map[[2]string]int64)
	var events []Event
	err := w.rows(func(r row, before []byte) {
		newest[[2]string{r.kind, r.key}] = r.seq
		if q.selects(&r) {
			events = append(events, r.event(!j.follows(&r, before)))
		}
	}, j.note)
	if err != nil {
		return nil, err
	}
	if q.Latest {
		events = slices.DeleteFunc(events, func(e Event) bool {
			return newest[[2]string{e.Kind, e.Key}] != e.Seq
		})
	}
	if q.Newest {
		slices.Reverse(events)
	}
	return events[:min(len(events), q.Limit)], nil
}

// selects says in Go what where says in SQL, but for Latest.
func (q *Query) selects(r *row) bool {
	return r.seq > q.After && (q.Before == 0 || r.seq < q.Before) &&
		(len(q.Kinds) == 0 || slices.Contains(q.Kinds, r.kind)) &&
		(q.Key == "" || q.Key == r.key) &&
		(q.Since.IsZero() || r.at >= q.Since.UnixNano()) &&
		(q.Until.IsZero() || r.at < q.Until.UnixNano()) &&
		matches(r.data, q.Match)
}
