package budget

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
)

// The sizes in AppendState of a unit without a name and levels, of a level, and of a unit of an
// edition.
const (
	unitSize    = 4 + 4*4 + 2*8 + 4 + 11*8
	tallySize   = 4 + 4 + 4 + 1
	editionSize = 4 + 4
)

// AppendState appends all that l knows to dst; docs/formats/snapshot.md describes it.
func (l *Ledger) AppendState(dst []byte) []byte {
	w := writer{dst}
	w.u64(uint64(l.epoch))
	w.u64(uint64(l.day))
	w.pool(&l.elsewhere)
	for i := range l.own {
		w.edition(&l.own[i])
	}
	w.u32(len(l.units))
	for i := range l.units {
		w.unit(&l.units[i])
	}
	return w.b
}

// Restore returns the ledger that AppendState wrote.
func Restore(p Params, state []byte) (*Ledger, error) {
	r := reader{b: state}
	l := New(p)
	l.epoch, l.day = int64(r.u64()), int64(r.u64())
	l.elsewhere = r.pool()
	for i := range l.own {
		l.own[i] = r.edition()
	}
	l.units = make([]unit, r.count(unitSize))
	for i := range l.units {
		r.unit(&l.units[i])
	}
	l.renumber()
	if r.bad || len(r.b) > 0 || len(l.index) != len(l.units) {
		return nil, errors.New("malformed: budget")
	}
	l.pour()
	return l, nil
}

// numbers are the float64 of a unit, in the order of its state.
func (u *unit) numbers() [11]*float64 {
	s := &u.status
	return [...]*float64{
		&u.exposed, &u.pages, &u.weeks,
		&s.Asked, &s.Achieved, &s.Expected, &s.Threshold, &s.Start, &s.Own, &s.Others, &s.Nominal,
	}
}

type writer struct{ b []byte }

func (w *writer) u32(v int)     { w.b = binary.LittleEndian.AppendUint32(w.b, uint32(v)) }
func (w *writer) u64(v uint64)  { w.b = binary.LittleEndian.AppendUint64(w.b, v) }
func (w *writer) f64(v float64) { w.u64(math.Float64bits(v)) }

func (w *writer) text(s string) {
	w.u32(len(s))
	w.b = append(w.b, s...)
}

func (w *writer) pool(p *pool) {
	w.f64(p.exposed)
	for _, v := range p.counted {
		w.f64(v)
	}
}

func (w *writer) edition(e *edition) {
	w.u64(uint64(e.day))
	w.pool(&e.shown)
	w.u32(len(e.series))
	for _, name := range sortedKeys(e.series) {
		w.text(name)
		w.u32(e.series[name])
	}
}

func (w *writer) unit(u *unit) {
	w.text(u.name)
	w.u32(u.series)
	w.u32(u.others)
	w.u32(u.equal)
	w.u32(u.sent)
	w.u64(uint64(u.last))
	w.u64(uint64(u.lastPage))
	w.u32(len(u.levels))
	for _, x := range u.levels {
		w.u32(int(math.Float32bits(x.counted)))
		w.u32(int(x.seen))
		w.u32(int(x.burst))
		w.b = append(w.b, x.inBurst)
	}
	for _, p := range u.numbers() {
		w.f64(*p)
	}
}

// reader takes apart what a writer made. After the first mistake all it returns is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return make([]byte, 8)
	}
	head := r.b[:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) u32() int    { return int(int32(binary.LittleEndian.Uint32(r.bytes(4)))) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.bytes(8)) }

// f64 returns a number, which is finite and not below 0.
func (r *reader) f64() float64 {
	v := math.Float64frombits(r.u64())
	r.bad = r.bad || !(v >= 0 && v < math.MaxInt32)
	return v
}

// natural returns a number that is not below 0.
func (r *reader) natural() int {
	v := r.u32()
	r.bad = r.bad || v < 0
	return v
}

// count returns how many things follow, of at least size bytes each.
func (r *reader) count(size int) int {
	n := r.natural()
	if r.bad = r.bad || n > len(r.b)/size; r.bad {
		return 0
	}
	return n
}

func (r *reader) text() string { return string(r.bytes(r.u32())) }

func (r *reader) pool() pool {
	p := pool{exposed: r.f64()}
	for k := range p.counted {
		p.counted[k] = r.f64()
	}
	return p
}

func (r *reader) edition() edition {
	e := edition{day: int64(r.u64()), shown: r.pool(), series: make(map[string]int)}
	for range r.count(editionSize) {
		name := r.text()
		e.series[name] = r.natural()
	}
	return e
}

func (r *reader) unit(u *unit) {
	u.name = r.text()
	u.series, u.others, u.equal, u.sent = r.natural(), r.natural(), r.natural(), r.natural()
	u.last, u.lastPage = int64(r.u64()), int64(r.u64())
	levels := r.count(tallySize)
	if r.bad = r.bad || levels > Levels; r.bad {
		return
	}
	u.reach(levels - 1)
	for k := range u.levels {
		x := &u.levels[k]
		x.counted = math.Float32frombits(uint32(r.u32()))
		x.seen, x.burst, x.inBurst = int32(r.u32()), int32(r.u32()), r.bytes(1)[0]
		r.bad = r.bad || !(x.counted >= 0 && x.counted < math.MaxInt32)
	}
	for _, p := range u.numbers() {
		*p = r.f64()
	}
	u.status.Unit, u.status.Series, u.status.Pages = u.name, u.series, u.sent
}

// sortedKeys returns the keys of m in order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
