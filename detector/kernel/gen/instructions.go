package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
)

// instruction says how an op of two operands is written for each instruction set. The second
// operand may come from memory.
type instruction struct{ narrow, wide string }

var instructions = map[op]instruction{
	opAdd:  {"VADDPS", "VADDPS"},
	opSub:  {"VSUBPS", "VSUBPS"},
	opMul:  {"VMULPS", "VMULPS"},
	opDiv:  {"VDIVPS", "VDIVPS"},
	opLess: {"VMINPS", "VMINPS"},
	opMore: {"VMAXPS", "VMAXPS"},

	opAddInt: {"VPADDD", "VPADDD"},
	opSubInt: {"VPSUBD", "VPSUBD"},
	opAnd:    {"VANDPS", "VPANDD"},
	opAndNot: {"VANDNPS", "VPANDND"},
	opOr:     {"VORPS", "VPORD"},
	opXor:    {"VXORPS", "VPXORD"},

	opEqualInt:   {"VPCMPEQD", "VPCMPEQD"},
	opGreaterInt: {"VPCMPGTD", "VPCMPGTD"},

	opBoth:    {"VANDPS", "KANDW"},
	opEither:  {"VORPS", "KORW"},
	opNotBoth: {"VANDNPS", "KANDNW"},
}

// unary says the same of ops of one operand.
var unary = map[op]string{
	opSqrt: "VSQRTPS", opToFloat: "VCVTDQ2PS", opToInt: "VCVTTPS2DQ",
	opShiftLeft: "VPSLLD", opShiftRight: "VPSRLD", opShiftSign: "VPSRAD",
}

// compute emits what n is.
func (s *assembler) compute(a *allocator, n *node) {
	switch n.op {
	case opSqrt, opToFloat, opToInt:
		from := s.vector(a.get(n.args[0]))
		s.do(unary[n.op], from, s.result(a, n))
	case opShiftLeft, opShiftRight, opShiftSign:
		from := s.vector(a.get(n.args[0]))
		s.do(unary[n.op], operand.U8(n.imm), from, s.result(a, n))
	case opMin, opMax:
		s.extreme(a, n)
	case opCompare:
		x := s.vector(a.get(n.args[0]))
		y, broadcast := s.source(a, n.args[1])
		s.do("VCMPPS"+broadcast, operand.U8(n.imm), y, x, s.result(a, n))
	case opSelect:
		s.choose(a, n)
	case opNot:
		s.negate(a, n)
	case opDivRare:
		s.divideRarely(a, n)
	case opTrue, opFalse:
		panic("a condition that is always the same")
	default:
		s.binary(a, n)
	}
}

// result frees the operands that are not needed any more and returns a register for n.
func (s *assembler) result(a *allocator, n *node) operand.Op {
	for _, arg := range n.args {
		a.used(arg)
	}
	return s.registerOf(a.class(n), a.result(n))
}

func (s *assembler) binary(a *allocator, n *node) {
	in, ok := instructions[n.op]
	if !ok {
		panic(fmt.Sprintf("op %d has no instruction", n.op))
	}
	name := in.narrow
	if s.wide {
		name = in.wide
	}
	x, y := n.args[0], n.args[1]
	if commutes(n.op) && a.direct(x) && !a.direct(y) {
		x, y = y, x
	}
	left := s.registerOf(a.class(x), a.get(x))
	right, broadcast := s.source(a, y)
	s.do(name+broadcast, right, left, s.result(a, n))
}

// source returns an operand that may come from memory, and what that adds to the name of the
// instruction.
func (s *assembler) source(a *allocator, n *node) (operand.Op, string) {
	if a.direct(n) {
		switch {
		case n.op == opLoad && n.cell.elem == float32s:
			return s.memory(n.cell), ""
		case n.op == opConst && n.bits != 0 && s.wide:
			return s.table.address(n.bits), "_BCST"
		case n.op == opConst && n.bits != 0:
			return s.table.address(n.bits), ""
		case n.op == opParam && s.wide:
			return s.memory(n.cell), "_BCST"
		}
	}
	return s.registerOf(a.class(n), a.get(n)), ""
}

// extreme emits a minimum or maximum that knows the sign of zero.
func (s *assembler) extreme(a *allocator, n *node) {
	x := s.vector(a.get(n.args[0]))
	if s.wide {
		const signOfResult = 4
		y, broadcast := s.source(a, n.args[1])
		s.do("VRANGEPS"+broadcast, operand.U8(signOfResult+uint8(n.op-opMin)), y, x, s.result(a, n))
		return
	}
	y := s.vector(a.get(n.args[1]))
	pick, join := "VMINPS", "VORPS"
	if n.op == opMax {
		pick, join = "VMAXPS", "VANDPS"
	}
	to, spare := s.vector(a.result(n)), s.vector(a.take(vectors))
	s.do(pick, y, x, to)
	s.do(pick, x, y, spare)
	s.do(join, spare, to, to)
}

// choose emits mask ? x : y.
func (s *assembler) choose(a *allocator, n *node) {
	mask := s.registerOf(a.class(n.args[0]), a.get(n.args[0]))
	x, y := n.args[1], n.args[2]
	zero := func(n *node) bool { return n.op == opConst && n.bits == 0 }
	switch {
	case s.wide && zero(y) && x.op == opConst && a.direct(x):
		s.do("VBROADCASTSS_Z", s.table.address(x.bits), mask, s.result(a, n))
	case s.wide && zero(y):
		s.do("VMOVAPS_Z", s.vector(a.get(x)), mask, s.result(a, n))
	case s.wide:
		other := s.vector(a.get(y))
		from, broadcast := s.source(a, x)
		s.do("VBLENDMPS"+broadcast, from, other, mask, s.result(a, n))
	case zero(y):
		from, _ := s.source(a, x)
		s.do("VANDPS", from, mask, s.result(a, n))
	case zero(x):
		from, _ := s.source(a, y)
		s.do("VANDNPS", from, mask, s.result(a, n))
	default:
		other := s.vector(a.get(y))
		from, _ := s.source(a, x)
		s.do("VBLENDVPS", mask, from, other, s.result(a, n))
	}
}

// divideRarely emits a division that is jumped over when the dividend is zero in all lanes: it is by
// far the dearest operation.
func (s *assembler) divideRarely(a *allocator, n *node) {
	const notEqual = 4
	x, y := s.vector(a.get(n.args[0])), s.vector(a.get(n.args[1]))
	to := s.vector(a.result(n))
	some := s.registerOf(a.maskClass(), a.take(a.maskClass()))
	skip := fmt.Sprintf("none%d", n.id)
	s.do(map[bool]string{true: "VPXORD", false: "VXORPS"}[s.wide], to, to, to)
	s.ctx.VCMPPS(operand.U8(notEqual), to, x, some)
	if s.wide {
		s.ctx.KORTESTW(some, some)
		s.ctx.JZ(operand.LabelRef(skip))
		s.ctx.VDIVPS_Z(y, x, some, to)
	} else {
		s.ctx.VPTEST(some, some)
		s.ctx.JZ(operand.LabelRef(skip))
		s.ctx.VDIVPS(y, x, to)
		s.ctx.VANDPS(some, to, to)
	}
	s.ctx.Label(skip)
}

func (s *assembler) negate(a *allocator, n *node) {
	from := s.registerOf(a.class(n.args[0]), a.get(n.args[0]))
	if s.wide {
		s.do("KNOTW", from, s.result(a, n))
		return
	}
	s.do("VXORPS", s.table.address(1<<32-1), from, s.result(a, n))
}

// store emits a store of n's argument to its row, or of some of its lanes.
func (s *assembler) store(a *allocator, n *node) {
	to := s.memory(n.cell)
	if len(n.args) == 2 {
		value := s.vector(a.get(n.args[1]))
		s.ctx.VMOVUPS(value, s.registerOf(masks, a.get(n.args[0])), to)
		return
	}
	r := a.get(n.args[0])
	switch e := n.cell.elem; {
	case e == float32s:
		s.ctx.VMOVUPS(s.vector(r), to)
	case s.wide && e.size() == 1:
		s.ctx.VPMOVDB(zmm[r], to)
	case s.wide:
		s.ctx.VPMOVDW(zmm[r], to)
	default:
		s.narrow(a, r, to, e)
	}
}

// narrow stores eight numbers of 32 bits as numbers of 16 or 8, in which they fit.
func (s *assembler) narrow(a *allocator, r int, to operand.Mem, e elem) {
	low, spare := zmm[r].AsX(), zmm[a.take(vectors)].AsX()
	s.ctx.VEXTRACTI128(operand.U8(1), zmm[r].AsY(), spare)
	if e == uint16s {
		s.ctx.VPACKUSDW(spare, low, spare)
	} else {
		s.ctx.VPACKSSDW(spare, low, spare)
	}
	switch e {
	case int8s:
		s.ctx.VPACKSSWB(spare, spare, spare)
		s.ctx.VMOVQ(spare, to)
	case uint8s:
		s.ctx.VPACKUSWB(spare, spare, spare)
		s.ctx.VMOVQ(spare, to)
	default:
		s.ctx.VMOVUPS(spare, to)
	}
}
