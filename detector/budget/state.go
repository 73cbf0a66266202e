package budget

import (
	"encoding/binary"
	"errors"
	"math"
)

// The sizes of a unit without a name and levels, and of a level, in AppendState.
const (
	unitSize  = 4 + 4*4 + 2*8 + 2*12 + 4 + 11*8
	tallySize = 4 + 4 + 4 + 1
)

// AppendState appends all that l knows to dst; docs/formats/snapshot.md describes it.
func (l *Ledger) AppendState(dst []byte) []byte {
	le := binary.LittleEndian
	u64 := func(v uint64) { dst = le.AppendUint64(dst, v) }
	u32 := func(v int) { dst = le.AppendUint32(dst, uint32(v)) }
	u64(uint64(l.epoch))
	u64(uint64(l.day))
	u32(len(l.units))
	for i := range l.units {
		u := &l.units[i]
		u32(len(u.name))
		dst = append(dst, u.name...)
		u32(u.series)
		u32(u.others)
		u32(u.equal)
		u32(u.sent)
		u64(uint64(u.last))
		u64(uint64(u.lastPage))
		for _, e := range u.own {
			u64(uint64(e.Day))
			u32(e.Series)
		}
		u32(len(u.levels))
		for _, x := range u.levels {
			u32(int(math.Float32bits(x.counted)))
			u32(int(x.seen))
			u32(int(x.burst))
			dst = append(dst, x.inBurst)
		}
		for _, p := range u.numbers() {
			u64(math.Float64bits(*p))
		}
	}
	return dst
}

// numbers are the float64 of a unit, in the order of its state.
func (u *unit) numbers() [11]*float64 {
	s := &u.status
	return [...]*float64{
		&u.exposed, &u.pages, &u.weeks,
		&s.Asked, &s.Achieved, &s.Expected, &s.Threshold, &s.Start, &s.Own, &s.Pool, &s.Nominal,
	}
}

var errState = errors.New("malformed: budget")

// Restore returns the ledger that AppendState wrote.
func Restore(p Params, state []byte) (*Ledger, error) {
	le := binary.LittleEndian
	ok := true
	bytes := func(n int) []byte {
		if !ok || n < 0 || n > len(state) {
			ok = false
			return make([]byte, 8)
		}
		head := state[:n]
		state = state[n:]
		return head
	}
	u64 := func() uint64 { return le.Uint64(bytes(8)) }
	u32 := func() int { return int(int32(le.Uint32(bytes(4)))) }
	l := New(p)
	l.epoch, l.day = int64(u64()), int64(u64())
	count := u32()
	if !ok || count < 0 || count > len(state)/unitSize {
		return nil, errState
	}
	l.units = make([]unit, count)
	for i := range l.units {
		u := &l.units[i]
		u.name = string(bytes(u32()))
		u.series, u.others, u.equal, u.sent = u32(), u32(), u32(), u32()
		u.last, u.lastPage = int64(u64()), int64(u64())
		for k := range u.own {
			u.own[k] = Entry{int64(u64()), u32()}
		}
		levels := u32()
		if ok = ok && levels >= 0 && levels <= min(Levels, len(state)/tallySize); !ok {
			return nil, errState
		}
		u.reach(levels - 1)
		for k := range u.levels {
			x := &u.levels[k]
			x.counted = math.Float32frombits(uint32(u32()))
			x.seen, x.burst, x.inBurst = int32(u32()), int32(u32()), bytes(1)[0]
			ok = ok && x.counted >= 0 && x.counted < math.MaxInt32
		}
		for _, p := range u.numbers() {
			*p = math.Float64frombits(u64())
			ok = ok && *p >= 0 && *p < math.MaxInt32
		}
		ok = ok && u.series >= 0 && u.others >= 0 && u.equal >= 0 && u.sent >= 0
		u.status.Unit, u.status.Series, u.status.Pages = u.name, u.series, u.sent
	}
	l.renumber()
	if !ok || len(state) > 0 || len(l.index) != len(l.units) {
		return nil, errState
	}
	l.pour()
	return l, nil
}
