package main

import (
	"math"
	"slices"
)

// The classes of registers.
const (
	vectors = iota
	masks
	classes
)

// allocator gives nodes registers while it walks over them in order. When there are none left, it
// takes the one whose node is needed last (Belady, 1966). Constants, parameters and fields that
// have not been overwritten yet are read again; other nodes go to a slot on the stack.
type allocator struct {
	to       *assembler
	order    []*node
	uses     map[*node][]int // Where it is still to be used.
	stored   map[cell]int    // Where a cell is overwritten.
	now      int
	in       [classes][]*node
	register map[*node]int
	slot     map[*node]int
	unused   [classes][]int // Slots.
	slots    [classes]int
	pinned   []*node
}

func newAllocator(to *assembler, order []*node) *allocator {
	a := &allocator{
		to: to, order: order, uses: map[*node][]int{}, stored: map[cell]int{},
		register: map[*node]int{}, slot: map[*node]int{},
	}
	a.in[vectors] = make([]*node, to.vectorCount())
	a.in[masks] = make([]*node, to.maskCount())
	for i, n := range order {
		for _, arg := range n.args {
			a.uses[arg] = append(a.uses[arg], i)
		}
		if n.op == opStore {
			a.stored[n.cell] = i
		}
	}
	return a
}

// class returns the class of registers that n lives in: without mask registers, masks are vectors.
func (a *allocator) class(n *node) int {
	if n.mask() {
		return a.maskClass()
	}
	return vectors
}

func (a *allocator) maskClass() int {
	if a.to.wide {
		return masks
	}
	return vectors
}

// run emits all nodes.
func (a *allocator) run() {
	far, asked := a.to.farRows(a.order), 0 // The requests are spread evenly.
	for i, n := range a.order {
		a.now, a.pinned = i, a.pinned[:0]
		for ; asked < len(far) && asked*len(a.order) <= i*len(far); asked++ {
			a.to.prefetch(far[asked])
		}
		if n.op == opStore {
			a.rescue(n.cell)
			a.to.store(a, n)
		} else {
			a.to.compute(a, n)
		}
		for _, arg := range n.args {
			a.used(arg)
		}
	}
}

// rescue keeps what a cell holds that is about to be overwritten, if it is needed later.
func (a *allocator) rescue(c cell) {
	for n, uses := range a.uses {
		if n.op == opLoad && n.cell == c && len(uses) > 0 && uses[len(uses)-1] > a.now {
			a.get(n)
		}
	}
}

// get returns the register that n is in, and brings it there if need be.
func (a *allocator) get(n *node) int {
	a.pinned = append(a.pinned, n)
	if r, ok := a.register[n]; ok {
		return r
	}
	r := a.take(a.class(n))
	if slot, ok := a.slot[n]; ok {
		a.to.reload(a.class(n), slot, r)
	} else {
		a.to.fetch(n, r)
	}
	a.put(n, r)
	return r
}

// result returns a register for n.
func (a *allocator) result(n *node) int {
	r := a.take(a.class(n))
	a.put(n, r)
	a.pinned = append(a.pinned, n)
	return r
}

func (a *allocator) put(n *node, r int) {
	a.register[n] = r
	a.in[a.class(n)][r] = n
}

// take returns a register without a node.
func (a *allocator) take(class int) int {
	worst, worstAt := -1, -1.0
	for r, n := range a.in[class] {
		if n == nil {
			return r
		}
		if slices.Contains(a.pinned, n) {
			continue
		}
		if at := a.distance(n); at > worstAt {
			worst, worstAt = r, at
		}
	}
	a.evict(class, worst)
	return worst
}

// distance says how far away the next use of n is. What need not be saved counts as farther.
func (a *allocator) distance(n *node) float64 {
	next := a.next(n)
	if next < 0 {
		return math.Inf(1)
	}
	d := float64(next - a.now)
	if a.again(n) {
		return 2 * d
	}
	if _, ok := a.slot[n]; ok {
		return 1.5 * d
	}
	return d
}

// next returns where n is used next, now included, or -1.
func (a *allocator) next(n *node) int {
	for _, at := range a.uses[n] {
		if at >= a.now {
			return at
		}
	}
	return -1
}

// again tells whether n can be read again whenever it is needed.
func (a *allocator) again(n *node) bool {
	if n.op != opLoad {
		return n.free()
	}
	at, ok := a.stored[n.cell]
	uses := a.uses[n]
	return !ok || a.now < at && uses[len(uses)-1] <= at
}

func (a *allocator) evict(class, r int) {
	n := a.in[class][r]
	if _, saved := a.slot[n]; !saved && a.next(n) >= 0 && !a.again(n) {
		slot := a.slots[class]
		if u := a.unused[class]; len(u) > 0 {
			slot, a.unused[class] = u[len(u)-1], u[:len(u)-1]
		} else {
			a.slots[class]++
		}
		a.slot[n] = slot
		a.to.save(class, r, slot)
	}
	a.drop(n)
}

func (a *allocator) drop(n *node) {
	if r, ok := a.register[n]; ok {
		a.in[a.class(n)][r] = nil
		delete(a.register, n)
	}
}

// used notes that n has been used, and frees what it has if that was the last time.
func (a *allocator) used(n *node) {
	uses := a.uses[n]
	for len(uses) > 0 && uses[0] <= a.now {
		uses = uses[1:]
	}
	a.uses[n] = uses
	if len(uses) > 0 {
		return
	}
	a.drop(n)
	if slot, ok := a.slot[n]; ok {
		class := a.class(n)
		a.unused[class] = append(a.unused[class], slot)
		delete(a.slot, n)
	}
}

// direct tells whether an instruction may take n from memory: it is not in a register, and it does
// not pay to put it there.
func (a *allocator) direct(n *node) bool {
	if _, ok := a.register[n]; ok || !n.free() {
		return false
	}
	if _, ok := a.slot[n]; ok {
		return false
	}
	const soon = 24
	for _, at := range a.uses[n] {
		if at > a.now && at < a.now+soon {
			return false
		}
	}
	return true
}
