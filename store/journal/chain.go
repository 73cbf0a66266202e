package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// maxData bounds one event; what is bigger is a mistake of the caller's.
const maxData = 8 << 20

// hash is the SHA-256 of an event's fields behind the hash of the event before.
type hash [sha256.Size]byte

// link is the place in the chain behind which the next event comes. The zero link begins a chain.
type link struct {
	seq  int64
	hash hash
}

// row is an event as it lies in the table.
type row struct {
	seq  int64
	at   int64 // Nanoseconds since 1970, UTC.
	kind string
	key  string
	data []byte
	hash hash
}

// follow returns the hash that r has behind prev. Lengths stand before what varies, so that no two
// events are written alike.
func (r *row) follow(prev hash) hash {
	h := sha256.New()
	var n [8]byte
	number := func(x uint64) {
		binary.BigEndian.PutUint64(n[:], x)
		h.Write(n[:])
	}
	h.Write(prev[:])
	number(uint64(r.seq))
	number(uint64(r.at))
	for _, field := range [...]string{r.kind, r.key} {
		number(uint64(len(field)))
		h.Write([]byte(field))
	}
	number(uint64(len(r.data)))
	h.Write(r.data)
	return hash(h.Sum(nil))
}

// event returns r as callers see it.
func (r *row) event(suspect bool) Event {
	return Event{
		Seq:     r.seq,
		At:      time.Unix(0, r.at).UTC(),
		Kind:    r.kind,
		Key:     r.key,
		Data:    r.data,
		Suspect: suspect,
	}
}

// encode makes rows of entries; seq and hash are left to the writer.
func encode(entries []Entry, now time.Time) ([]row, error) {
	rows := make([]row, 0, len(entries))
	for _, e := range entries {
		if e.Kind == "" {
			return nil, fmt.Errorf("encode event with key %q: it has no kind", e.Key)
		}
		data, err := json.Marshal(e.Data)
		if err != nil {
			return nil, fmt.Errorf("encode event %s %q: %w", e.Kind, e.Key, err)
		}
		if len(data) > maxData {
			return nil, fmt.Errorf("encode event %s %q: %d bytes are more than %d",
				e.Kind, e.Key, len(data), maxData)
		}
		at := e.At
		if at.IsZero() {
			at = now
		}
		rows = append(rows, row{at: at.UnixNano(), kind: e.Kind, key: e.Key, data: data})
	}
	return rows, nil
}
