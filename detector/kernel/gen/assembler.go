package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// assembler writes one kernel for one instruction set. Wide is AVX-512: a node is a ZMM register.
// Otherwise it is a YMM register, and the body runs twice for each block: at first half is 0 and
// then 8, and scaled by the size of an element it is part of every address.
type assembler struct {
	ctx    *build.Context
	wide   bool
	table  *table
	params []param

	pointer map[pointer]reg.GPPhysical
	half    reg.GPPhysical
	spills  reg.GPPhysical
	vectors int // Slots.
}

// pointer is what a general register holds: a parameter, or that plus an index in bytes that a
// parameter chooses.
type pointer struct {
	base int
	row  dynRow
}

func pointerTo(c cell) pointer {
	c.row.from, c.row.to = 0, 0
	return pointer{c.base, c.row}
}

// table is the constants of all kernels for one instruction set.
type table struct {
	name  string
	words int // How often a constant is repeated.
	list  []uint32
	index map[uint32]int
}

func newTable(name string, words int) *table {
	return &table{name: name, words: words, index: map[uint32]int{}}
}

// address returns where the constant is.
func (t *table) address(bits uint32) operand.Mem {
	i, ok := t.index[bits]
	if !ok {
		i = len(t.list)
		t.index[bits] = i
		t.list = append(t.list, bits)
	}
	return operand.NewDataAddr(operand.NewStaticSymbol(t.name), 4*i*t.words)
}

// write emits the table. Its size is a multiple of 64 bytes, which the linker aligns it to at
// least in part: no constant crosses a line of the cache.
func (t *table) write(ctx *build.Context) {
	ctx.StaticGlobal(t.name)
	ctx.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, bits := range t.list {
		for range t.words {
			ctx.AppendDatum(operand.U32(bits))
		}
	}
	for n := len(t.list) * t.words; n%16 != 0; n++ {
		ctx.AppendDatum(operand.U32(0))
	}
}

func (s *assembler) vectorCount() int {
	if s.wide {
		return 32
	}
	return 16
}

func (s *assembler) maskCount() int {
	if s.wide {
		return 7 // K0 means no mask.
	}
	return 0
}

// do emits an instruction by its name: avo has a method for each.
func (s *assembler) do(name string, operands ...operand.Op) {
	args := make([]reflect.Value, len(operands))
	for i, o := range operands {
		args[i] = reflect.ValueOf(o)
	}
	reflect.ValueOf(s.ctx).MethodByName(name).Call(args)
}

var general = []reg.GPPhysical{
	reg.RAX, reg.RBX, reg.RCX, reg.RDX, reg.RSI, reg.RDI,
	reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R15,
}

var zmm = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
	reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

var opmask = []reg.OpmaskPhysical{reg.K1, reg.K2, reg.K3, reg.K4, reg.K5, reg.K6, reg.K7}

// vector returns vector register r in full width.
func (s *assembler) vector(r int) operand.Op {
	if s.wide {
		return zmm[r]
	}
	return zmm[r].AsY()
}

// registerOf returns the register r of a node's class.
func (s *assembler) registerOf(class, r int) operand.Op {
	if class == masks {
		return opmask[r]
	}
	return s.vector(r)
}

// function emits the whole of a kernel for at least one block.
func (s *assembler) function(k *kernel, name string) {
	if s.wide {
		k = k.masked()
	}
	order := k.order()
	s.ctx.Function(name)
	s.ctx.SignatureExpr(signature(k))
	s.prologue(name, order)
	if !k.gradual {
		s.flushSubnormals()
	}
	s.ctx.Label("block")
	a := newAllocator(s, order)
	a.run()
	s.vectors = a.slots[vectors]
	if a.slots[masks] > 8 || s.vectors > maxSlots {
		panic(refusal{fmt.Errorf("%s: %d vectors and %d masks do not fit on the stack",
			name, s.vectors, a.slots[masks])})
	}
	s.epilogue(k)
}

// signature returns the type of the assembly function. Its pointers are to float32 because avo
// does not know this package's types; go vet compares names and sizes.
func signature(k *kernel) string {
	var b strings.Builder
	b.WriteString("func(n int")
	for _, p := range k.params {
		fmt.Fprintf(&b, ", %s *float32", p.name)
	}
	b.WriteString(")")
	return b.String()
}

// page is what a processor's prefetching does not look beyond.
const page = 4096

// The stack: the caller's MXCSR, ours, masks, and from the next multiple of 64 on vectors.
const (
	atMasks   = 8
	atVectors = atMasks + 8*2
	maxSlots  = 512
)

// prologue loads pointers.
func (s *assembler) prologue(name string, order []*node) {
	s.pointer = map[pointer]reg.GPPhysical{}
	left := general[:len(general)-1] // The last one is for what lasts for a moment.
	next := func() reg.GPPhysical {
		if len(left) == 0 {
			panic(refusal{fmt.Errorf("%s: more pointers than registers", name)})
		}
		r := left[0]
		left = left[1:]
		return r
	}
	s.spills = next()
	if !s.wide {
		s.half = next()
		s.ctx.XORL(s.half.As32(), s.half.As32())
	}
	for _, p := range pointers(order) {
		if _, ok := s.pointer[p]; ok {
			continue
		}
		r := next()
		s.pointer[p] = r
		s.ctx.Load(s.ctx.ParamIndex(1+p.base), r)
		if p.row != (dynRow{}) {
			index := general[len(general)-1]
			s.ctx.Load(s.ctx.ParamIndex(1+p.row.base), index)
			s.ctx.MOVQ(operand.Mem{Base: index, Disp: int(p.row.offset)}, index)
			s.ctx.IMUL3Q(operand.I32(p.row.size), index, index)
			s.ctx.ADDQ(index, r)
		}
	}
	s.ctx.LEAQ(operand.NewStackAddr(atVectors+63), s.spills)
	s.ctx.ANDQ(operand.I8(-64), s.spills)
}

// flushSubnormals makes subnormals zero: both those that come in and those that would come out.
// Working with them takes some processors a hundred times as long.
func (s *assembler) flushSubnormals() {
	const flushToZero, denormalsAreZero = 1 << 15, 1 << 6
	spare := general[len(general)-1].As32()
	s.ctx.STMXCSR(operand.NewStackAddr(0))
	s.ctx.MOVL(operand.NewStackAddr(0), spare)
	s.ctx.ORL(operand.U32(flushToZero|denormalsAreZero), spare)
	s.ctx.MOVL(spare, operand.NewStackAddr(4))
	s.ctx.LDMXCSR(operand.NewStackAddr(4))
}

// farRows returns the rows of parameters that are larger than what a processor sees coming by itself,
// by address.
func (s *assembler) farRows(order []*node) []cell {
	var cells []cell
	for _, n := range order {
		for _, a := range n.args {
			if a.op == opLoad && s.params[a.cell.base].size >= page/2 && !slices.Contains(cells, a.cell) {
				cells = append(cells, a.cell)
			}
		}
	}
	slices.SortFunc(cells, compareCells)
	return cells
}

// prefetch asks for row c of a block to come.
func (s *assembler) prefetch(c cell) {
	at := s.memory(c)
	size := int(s.params[c.base].size)
	at.Disp += size
	if c.row != (dynRow{}) {
		at.Disp += 3 * size // Such rows lie apart, and are needed at once.
	}
	s.ctx.PREFETCHT0(at)
}

// pointers returns what is pointed to, in the order of its first use.
func pointers(order []*node) []pointer {
	var list []pointer
	for _, n := range order {
		for _, a := range append(n.args, n) {
			if a.op == opLoad || a.op == opParam || a.op == opStore {
				list = append(list, pointerTo(a.cell))
			}
		}
	}
	return list
}

// epilogue goes to the next block or ends.
func (s *assembler) epilogue(k *kernel) {
	if !s.wide {
		s.ctx.XORQ(operand.I8(8), s.half)
		s.ctx.JNZ(operand.LabelRef("block"))
	}
	for base, p := range s.params {
		if p.uniform {
			continue
		}
		for _, r := range general { // In a fixed order.
			for at, held := range s.pointer {
				if held == r && at.base == base {
					s.ctx.ADDQ(operand.I32(p.size), r)
				}
			}
		}
	}
	n, err := s.ctx.Param("n").Resolve()
	if err != nil {
		panic(err)
	}
	s.ctx.DECQ(n.Addr)
	s.ctx.JNZ(operand.LabelRef("block"))
	if !k.gradual {
		s.ctx.LDMXCSR(operand.NewStackAddr(0))
	}
	s.ctx.VZEROUPPER()
	s.ctx.RET()
	s.ctx.AllocLocal(atVectors + 64 + 64*s.vectors)
}

// memory returns the address of a cell: of the whole row, or of the half at hand.
func (s *assembler) memory(c cell) operand.Mem {
	m := operand.Mem{Base: s.pointer[pointerTo(c)], Disp: int(c.offset)}
	if !s.wide && !s.params[c.base].uniform {
		m.Index, m.Scale = s.half, uint8(c.elem.size())
	}
	return m
}

// spill returns the address of a slot on the stack.
func (s *assembler) spill(class, slot int) operand.Mem {
	if class == masks {
		return operand.NewStackAddr(atMasks + 2*slot)
	}
	return operand.Mem{Base: s.spills, Disp: slot * s.bytes()}
}

// bytes returns the size of a vector.
func (s *assembler) bytes() int {
	if s.wide {
		return 64
	}
	return 32
}

func (s *assembler) save(class, r, slot int) {
	if class == masks {
		s.ctx.KMOVW(opmask[r], s.spill(class, slot))
		return
	}
	s.ctx.VMOVUPS(s.vector(r), s.spill(class, slot))
}

func (s *assembler) reload(class, slot, r int) {
	if class == masks {
		s.ctx.KMOVW(s.spill(class, slot), opmask[r])
		return
	}
	s.ctx.VMOVUPS(s.spill(class, slot), s.vector(r))
}

// fetch brings a constant, a parameter or a row from memory to register r.
func (s *assembler) fetch(n *node, r int) {
	to := s.vector(r)
	switch {
	case n.op == opConst && n.bits == 0:
		x := zmm[r].AsX()
		if r >= 16 {
			s.ctx.VPXORD(to, to, to)
			return
		}
		s.ctx.VXORPS(x, x, x)
	case n.op == opConst:
		s.ctx.VBROADCASTSS(s.table.address(n.bits), to)
	case n.op == opParam:
		s.ctx.VBROADCASTSS(s.memory(n.cell), to)
	case n.op == opLoad:
		s.do(loads[n.cell.elem], s.memory(n.cell), to)
	default:
		panic(fmt.Sprintf("op %d is not in memory", n.op))
	}
}

var loads = map[elem]string{
	float32s: "VMOVUPS",
	int8s:    "VPMOVSXBD", uint8s: "VPMOVZXBD", int16s: "VPMOVSXWD", uint16s: "VPMOVZXWD",
}
