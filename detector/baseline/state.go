package baseline

import (
	"encoding/binary"
	"math"
	"runtime"
	"slices"
	"time"

	"tocsin/detector/kernel"
	"tocsin/detector/kernel/arena"
)

// bytesPerBlock is the size of a block's state as AppendState writes it.
const bytesPerBlock = 4 * kernel.Width * (kernel.Fields + 2*kernel.Buckets + kernel.Hours)

// StateSize returns how many bytes AppendState writes for so many slots.
func StateSize(slots int) int {
	return (slots + kernel.Width - 1) / kernel.Width * bytesPerBlock
}

// AppendState appends all that is known about the slots to dst, block by block, as
// docs/formats/snapshot.md says.
func (c *Columns) AppendState(dst []byte) []byte {
	for i := range c.blocks.Len() {
		dst = appendLanes(dst, c.blocks.At(i)[:])
		for _, rows := range c.seasons.At(i).Rows() {
			dst = appendLanes(dst, rows)
		}
	}
	runtime.KeepAlive(c)
	return dst
}

func appendLanes(dst []byte, rows []kernel.Lanes) []byte {
	const size = 4 * kernel.Width
	at := len(dst)
	dst = slices.Grow(dst, len(rows)*size)[:at+len(rows)*size]
	for i := range rows {
		row := dst[at+i*size:][:size]
		for l, v := range rows[i] {
			binary.LittleEndian.PutUint32(row[4*l:], math.Float32bits(v))
		}
	}
	return dst
}

// Restore returns columns in the state that AppendState wrote, which has StateSize(slots) bytes; at
// is the instant of their newest tick.
func Restore(p Params, pool *arena.Pool, at time.Time, slots int, state []byte) *Columns {
	if len(state) != StateSize(slots) {
		panic("baseline: state does not fit")
	}
	c := New(p, pool)
	c.at = at
	blocks := len(state) / bytesPerBlock
	c.blocks.Grow(blocks)
	c.seasons.Grow(blocks)
	for i := range blocks {
		state = readLanes(c.blocks.At(i)[:], state)
		for _, rows := range c.seasons.At(i).Rows() {
			state = readLanes(rows, state)
		}
	}
	return c
}

func readLanes(rows []kernel.Lanes, state []byte) []byte {
	for i := range rows {
		for l := range rows[i] {
			rows[i][l] = math.Float32frombits(binary.LittleEndian.Uint32(state[4*l:]))
		}
		state = state[4*kernel.Width:]
	}
	return state
}

// AppendGroups appends groups to dst.
func AppendGroups(dst []byte, groups []kernel.Group) []byte {
	for i := range groups {
		dst = appendLanes(dst, groups[i][:])
	}
	return dst
}

// GroupSize returns how many bytes AppendGroups writes for so many services.
func GroupSize(services int) int {
	return (services + kernel.Width - 1) / kernel.Width * 4 * kernel.Width * kernel.GroupFields
}

// RestoreGroups returns what AppendGroups wrote.
func RestoreGroups(state []byte) []kernel.Group {
	groups := make([]kernel.Group, len(state)/GroupSize(1))
	for i := range groups {
		state = readLanes(groups[i][:], state)
	}
	return groups
}
