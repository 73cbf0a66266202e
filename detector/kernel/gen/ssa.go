package main

import (
	"fmt"
	"math"
)

// op is what a node does. All vectors are lanes of 32 bits; whether they are floats or integers
// is a matter of the op.
type op uint8

const (
	opConst op = iota // bits
	opParam           // A number of a parameter struct, the same in all lanes.
	opLoad            // A row of a block.

	opAdd
	opSub
	opMul
	opDiv
	opDivRare // a == 0 ? 0 : a / b, where a is hardly ever anything else.
	opSqrt
	opLess // a < b ? a : b, which is what the processor calls a minimum.
	opMore // a > b ? a : b
	opMin  // Go's min, but for NaN: of two zeros the negative one.
	opMax  // Go's max, but for NaN: of two zeros the positive one.

	opAddInt
	opSubInt
	opAnd
	opAndNot // ^a & b
	opOr
	opXor
	opShiftLeft  // imm
	opShiftRight // imm
	opShiftSign  // imm
	opToFloat
	opToInt // Truncates.

	opSelect // mask ? a : b

	// From here on masks.
	opTrue
	opFalse
	opCompare // imm: a predicate
	opEqualInt
	opGreaterInt
	opBoth
	opEither
	opNot
	opNotBoth // !a && b

	opStore // Last, and without result.
)

// The predicates of opCompare.
const (
	isEqual = iota
	isLess
	isAtMost
)

// cell is a row of a block in memory.
type cell struct {
	base   int    // The parameter that points to it.
	row    dynRow // Zero unless the row is chosen by a parameter.
	offset int64
	elem   elem
}

// dynRow is an index that the kernel is told: parameter base, an int at offset, times size bytes.
type dynRow struct {
	base     int
	offset   int64
	size     int64
	from, to int64 // Where the array that is indexed lies.
}

// extent returns where c may lie in what its parameter points to.
func (c cell) extent() (from, to int64) {
	if c.row != (dynRow{}) {
		return c.row.from, c.row.to
	}
	return c.offset, c.offset + int64(width*c.elem.size())
}

// elem is the type of a row's elements.
type elem uint8

const (
	float32s elem = iota
	int8s
	uint8s
	int16s
	uint16s
)

// size returns the bytes of one element.
func (e elem) size() int { return [...]int{4, 1, 1, 2, 2}[e] }

// node is one value of the kernel in all its lanes: the result of an op.
type node struct {
	op    op
	id    int // In the order of the program.
	key   int // Where it is computed: see order.
	args  []*node
	bits  uint32 // opConst
	imm   uint8
	cell  cell // opLoad, opStore, opParam
	plus0 bool // It is never the negative zero.
}

func (n *node) mask() bool { return n.op >= opTrue && n.op < opStore }

// free tells whether n can be had from memory at any time before its cell is overwritten.
func (n *node) free() bool { return n.op <= opLoad }

// graph makes nodes, and equal ones once.
type graph struct {
	nodes []*node
	known map[string]*node
}

func newGraph() *graph { return &graph{known: map[string]*node{}} }

func (g *graph) node(n node) *node {
	key := fmt.Sprint(n.op, n.bits, n.imm, n.cell)
	for _, a := range n.args {
		key += fmt.Sprint(" ", a.id)
	}
	if old, ok := g.known[key]; ok {
		return old
	}
	n.id, n.key = len(g.nodes), len(g.nodes)
	n.plus0 = plus0(&n)
	g.nodes = append(g.nodes, &n)
	g.known[key] = &n
	return &n
}

// plus0 tells whether n, rounded to nearest, can never be the negative zero.
func plus0(n *node) bool {
	switch n.op {
	case opConst:
		return n.bits != 1<<31
	case opAdd:
		return n.args[0].plus0 || n.args[1].plus0
	case opSub:
		return n.args[0].plus0
	case opAnd:
		return n.args[0].op == opConst && n.args[0].bits>>31 == 0 ||
			n.args[1].op == opConst && n.args[1].bits>>31 == 0
	case opSelect:
		return n.args[1].plus0 && n.args[2].plus0
	case opMin, opLess, opMore:
		return n.args[0].plus0 && n.args[1].plus0
	case opMax:
		return n.args[0].plus0 && n.args[1].plus0 || positive(n.args[0]) || positive(n.args[1])
	case opToFloat:
		return true
	}
	return false
}

func positive(n *node) bool { return n.op == opConst && n.bits>>31 == 0 }

func (g *graph) bits(b uint32) *node     { return g.node(node{op: opConst, bits: b}) }
func (g *graph) float(f float32) *node   { return g.bits(math.Float32bits(f)) }
func (g *graph) op1(o op, a *node) *node { return g.node(node{op: o, args: []*node{a}}) }

func (g *graph) shift(o op, a *node, by uint8) *node {
	if a.op == opConst {
		switch o {
		case opShiftLeft:
			return g.bits(a.bits << by)
		case opShiftRight:
			return g.bits(a.bits >> by)
		case opShiftSign:
			return g.bits(uint32(int32(a.bits) >> by))
		}
	}
	return g.node(node{op: o, args: []*node{a}, imm: by})
}

// op2 makes a op b, or what that is already.
func (g *graph) op2(o op, a, b *node) *node {
	if a.op == opConst && b.op == opConst {
		if bits, ok := fold(o, a.bits, b.bits); ok {
			return g.bits(bits)
		}
	}
	one := math.Float32bits(1)
	switch {
	case o == opAndNot && a.op == opConst:
		return g.op2(opAnd, b, g.bits(^a.bits))
	case o == opMul && a.op == opConst && a.bits == one:
		return b
	case (o == opMul || o == opDiv) && b.op == opConst && b.bits == one:
		return a
	case o == opSub && b.op == opConst && b.bits == 0:
		return a
	case (o == opMin || o == opMax) && a == b:
		return a
	}
	// A minimum is one instruction if the operands are not both zero with different signs, or if
	// the right one comes last, which is taken when they are equal.
	switch {
	case o == opMin && b.plus0:
		return g.op2(opLess, b, a)
	case o == opMin && a.plus0:
		return g.op2(opLess, a, b)
	case o == opMax && b.plus0:
		return g.op2(opMore, a, b)
	case o == opMax && a.plus0:
		return g.op2(opMore, b, a)
	}
	if commutes(o) && a.id > b.id {
		a, b = b, a
	}
	return g.node(node{op: o, args: []*node{a, b}})
}

func commutes(o op) bool {
	switch o {
	case opAdd, opMul, opMin, opMax, opAddInt, opAnd, opOr, opXor, opBoth, opEither, opEqualInt:
		return true
	}
	return false
}

// fold computes a op b as the kernel would.
func fold(o op, a, b uint32) (uint32, bool) {
	x, y := math.Float32frombits(a), math.Float32frombits(b)
	switch o {
	case opAdd:
		x += y
	case opSub:
		x -= y
	case opMul:
		x *= y
	case opDiv:
		x /= y
	case opMin:
		x = min(x, y)
	case opMax:
		x = max(x, y)
	case opAddInt:
		return a + b, true
	case opSubInt:
		return a - b, true
	case opAnd:
		return a & b, true
	case opAndNot:
		return ^a & b, true
	case opOr:
		return a | b, true
	case opXor:
		return a ^ b, true
	default:
		return 0, false
	}
	return math.Float32bits(x), true
}

func (g *graph) truth(is bool) *node {
	if is {
		return g.node(node{op: opTrue})
	}
	return g.node(node{op: opFalse})
}

func (g *graph) compare(pred uint8, a, b *node) *node {
	if a.op == opConst && b.op == opConst {
		x, y := math.Float32frombits(a.bits), math.Float32frombits(b.bits)
		return g.truth([...]bool{isEqual: x == y, isLess: x < y, isAtMost: x <= y}[pred])
	}
	return g.node(node{op: opCompare, args: []*node{a, b}, imm: pred})
}

// not negates a mask. Negations move outwards until they meet a select, where they cost nothing.
func (g *graph) not(m *node) *node {
	switch m.op {
	case opTrue, opFalse:
		return g.truth(m.op == opFalse)
	case opNot:
		return m.args[0]
	}
	return g.op1(opNot, m)
}

func (g *graph) both(a, b *node) *node {
	switch {
	case a.op == opTrue || a == b || b.op == opFalse:
		return b
	case b.op == opTrue || a.op == opFalse:
		return a
	case a.op == opNot && b.op == opNot:
		return g.not(g.either(a.args[0], b.args[0]))
	case a.op == opNot:
		return g.op2(opNotBoth, a.args[0], b)
	case b.op == opNot:
		return g.op2(opNotBoth, b.args[0], a)
	}
	return g.op2(opBoth, a, b)
}

func (g *graph) either(a, b *node) *node {
	switch {
	case a.op == opFalse || a == b || b.op == opTrue:
		return b
	case b.op == opFalse || a.op == opTrue:
		return a
	case a.op == opNot || b.op == opNot:
		return g.not(g.both(g.not(a), g.not(b)))
	}
	return g.op2(opEither, a, b)
}

// choose makes mask ? a : b.
func (g *graph) choose(mask, a, b *node) *node {
	switch {
	case a == b || mask.op == opTrue:
		return a
	case mask.op == opFalse:
		return b
	case mask.op == opNot:
		return g.choose(mask.args[0], b, a)
	case a.mask():
		return g.either(g.both(mask, a), g.both(g.not(mask), b))
	}
	if mask.op == opCompare && mask.imm == isLess {
		switch x, y := mask.args[0], mask.args[1]; {
		case a == x && b == y:
			return g.op2(opLess, x, y)
		case a == y && b == x:
			return g.op2(opMore, y, x)
		}
	}
	zero := a.op == opConst && a.bits == 0
	if zero && mask.op == opCompare && mask.imm == isEqual && mask.args[1] == a &&
		b.op == opDiv && b.args[0] == mask.args[0] {
		return g.op2(opDivRare, b.args[0], b.args[1])
	}
	// Of nested selects that fall back to the same value, the masks are joined: that is done once
	// for all of them.
	if a.op == opSelect && a.args[2] == b {
		return g.choose(g.both(mask, a.args[0]), a.args[1], b)
	}
	if a.op == opSelect && a.args[1] == b {
		return g.choose(g.both(mask, g.not(a.args[0])), a.args[2], b)
	}
	return g.node(node{op: opSelect, args: []*node{mask, a, b}})
}
