package baseline

import (
	"encoding/binary"
	"math"
	"time"

	"tocsin/detector/kernel"
)

// bytesPerBlock is the size of a block's state as AppendState writes it.
const bytesPerBlock = 4 * kernel.Width * (kernel.Fields + kernel.TailFields + 1 + 2*kernel.Buckets)

// StateSize returns how many bytes AppendState writes for so many slots.
func StateSize(slots int) int {
	return (slots + kernel.Width - 1) / kernel.Width * bytesPerBlock
}

// Clock returns the instant of the newest tick and the part of the day that it is in.
func (c *Columns) Clock() (at time.Time, bucket int) { return c.at, c.bucket }

// AppendState appends all that is known about the slots to dst, block by block, as
// docs/formats/snapshot.md says.
func (c *Columns) AppendState(dst []byte) []byte {
	for i := range c.blocks {
		dst = appendLanes(dst, c.blocks[i][:])
		dst = appendLanes(dst, c.tails[i][:])
		dst = appendLanes(dst, c.floors[i:i+1])
		dst = appendLanes(dst, c.days[i][:])
	}
	return dst
}

func appendLanes(dst []byte, rows []kernel.Lanes) []byte {
	for i := range rows {
		for _, v := range rows[i] {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	return dst
}

// Restore returns columns in the state that AppendState wrote, which has StateSize(slots) bytes.
func Restore(p Params, at time.Time, bucket, slots int, state []byte) *Columns {
	if len(state) != StateSize(slots) || bucket < 0 || bucket >= kernel.Buckets {
		panic("baseline: state does not fit")
	}
	blocks := len(state) / bytesPerBlock
	c := New(p)
	c.at, c.bucket = at, bucket
	c.blocks = make([]kernel.Block, blocks)
	c.days = make([]kernel.Day, blocks)
	c.tails = make([]kernel.Tail, blocks)
	c.floors = make([]kernel.Lanes, blocks)
	for i := range blocks {
		state = readLanes(c.blocks[i][:], state)
		state = readLanes(c.tails[i][:], state)
		state = readLanes(c.floors[i:i+1], state)
		state = readLanes(c.days[i][:], state)
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

// AppendTails appends tails to dst.
func AppendTails(dst []byte, tails []kernel.Tail) []byte {
	for i := range tails {
		dst = appendLanes(dst, tails[i][:])
	}
	return dst
}

// TailSize returns how many bytes AppendTails writes for so many slots.
func TailSize(slots int) int {
	return (slots + kernel.Width - 1) / kernel.Width * 4 * kernel.Width * kernel.TailFields
}

// RestoreTails returns what AppendTails wrote.
func RestoreTails(state []byte) []kernel.Tail {
	tails := make([]kernel.Tail, len(state)/TailSize(1))
	for i := range tails {
		state = readLanes(tails[i][:], state)
	}
	return tails
}
