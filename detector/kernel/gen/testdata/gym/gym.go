// Package gym has a twin that does all that a twin may do. The kernels that are generated for it
// are compared with it.
package gym

import "math"

// Width is the number of lanes.
const Width = 16

// Lanes is a row.
type Lanes [Width]float32

// Pair is a part of a block.
type Pair struct{ Low, High Lanes }

// Block has rows of all kinds.
type Block struct {
	Sum, Last Lanes
	Pairs     [3]Pair
	Signed    [Width]int8
	Unsigned  [Width]uint8
	Short     [Width]int16
	Long      [Width]uint16
	Table     [8][Width]int8
	Rows      [4]Lanes
}

// Params are the same for all lanes.
type Params struct {
	Row, Other int
	Gains      [3]float32
	Inner      struct{ Scale float32 }
}

type instructions uint8

const (
	portable instructions = iota
	avx2
	avx512
)

const atOnce = 256

var weights = [3]float32{0.5, 0.25, 0.125}

var law = struct{ first, second float32 }{0.7, 1.3}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// order returns its arguments, the smaller one first.
func order(a, b float32) (float32, float32) {
	if a > b {
		return b, a
	}
	return a, b
}

func (p *Pair) widen(l int, v float32) bool {
	before := p.High[l] - p.Low[l]
	p.Low[l], p.High[l] = min(p.Low[l], v), max(p.High[l], v)
	return p.High[l]-p.Low[l] > before
}

func grade(v float32) float32 {
	switch {
	case v < -1:
		return -2
	case v < 0, v == 0.5:
		return -1
	case !(v < 3) || v >= 2 && v != 2.5:
		return float32(v * law.second)
	}
	return law.first
}

//tocsin:kernel
func exercise(out *Lanes, b *Block, in *Lanes, p *Params) {
	table, row := &b.Table[p.Row], &b.Rows[p.Other]
	for l := range Width {
		v := in[l]
		if v != v {
			out[l] = v
			continue
		}
		var parts [3]float32
		for i, w := range weights {
			parts[i] = float32(w*v) - float32(p.Gains[i]*b.Sum[l])
		}
		wider := float32(0)
		for i := range b.Pairs {
			if i > 0 && parts[i] < 0 {
				continue
			}
			if b.Pairs[i].widen(l, parts[i]) {
				wider++
			}
		}
		low, high := order(parts[0], -parts[2])
		if low == 0 || b.Last[l] != 0 && abs(v) > 1e3 {
			high = float32(math.Sqrt(float64(abs(high))))
		} else if v > 7 {
			b.Sum[l] = 0
			out[l] = low
			mark(b, l, v)
			continue
		}
		integers(b, l, v, table, row)
		b.Sum[l] += grade(v) + wider
		b.Last[l] = v
		out[l] = (low + high) / p.Inner.Scale
	}
}

// mark leaves early.
func mark(b *Block, l int, v float32) {
	if v > 100 {
		return
	}
	b.Last[l] = 2
}

// integers reads and writes narrow rows.
func integers(b *Block, l int, v float32, table *[Width]int8, row *Lanes) {
	small := max(min(v, 100), -100)
	n := int32(small)
	e := int32(math.Float32bits(small)) >> 23
	if n > 50 || e == 130 {
		n = -n ^ 3
	}
	b.Short[l] = int16(float32(float32(b.Short[l])*0.5) + small)
	b.Long[l] = uint16(float32(float32(b.Long[l])*0.5) + 2 + abs(small))
	b.Unsigned[l] = uint8(abs(small) + 28)
	old := float32(table[l])
	table[l] = int8(float32(old*0.5) + float32(small*0.5))
	b.Signed[l] = int8(n & 63)
	row[l] += float32(n) + float32(b.Signed[l])
	for i := 0; i < 2; i++ {
		row[l] = row[l] * 0.5
	}
}
