package main

import (
	"cmp"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"slices"
)

// value is what an expression of the twin is to the generator: a *node, a constant.Value, an
// aggregate, a pointer (a place or a local), or the lane.
type value any

// lane is the index of the series in its block.
type lane struct{}

// aggregate is a local array or struct. It is never changed, but replaced.
type aggregate []value

// place is memory: part of a block or of a parameter struct.
type place struct {
	base   int
	row    dynRow
	offset int64
	typ    types.Type
	inLane bool // The row has been indexed by the lane.
}

// local is a pointer to a variable or to a part of it.
type local struct {
	object types.Object
	path   []int
}

// state is what the program knows at one point: its variables, and which rows it has changed.
type state struct {
	vars  map[types.Object]value
	cells map[cell]*node
	out   []value // What the function has returned.
}

func newState() *state {
	return &state{vars: map[types.Object]value{}, cells: map[cell]*node{}}
}

func (s *state) clone() *state {
	return &state{vars: maps.Clone(s.vars), cells: maps.Clone(s.cells), out: s.out}
}

// comparePositions orders variables, so that the same twin always gives the same kernel.
func comparePositions(a, b types.Object) int { return cmp.Compare(a.Pos(), b.Pos()) }

// merge returns the state in which lanes of mask are as in a and the others as in b. Variables
// that before does not have are out of scope.
func (x *program) merge(mask *node, before, a, b *state) *state {
	m := newState()
	for _, object := range slices.SortedFunc(maps.Keys(before.vars), comparePositions) {
		m.vars[object] = x.mix(mask, a.vars[object], b.vars[object])
	}
	for _, s := range []*state{a, b} {
		for _, c := range slices.SortedFunc(maps.Keys(s.cells), compareCells) {
			if _, ok := m.cells[c]; !ok {
				m.cells[c] = x.graph.choose(mask, x.current(a, c), x.current(b, c))
			}
		}
	}
	m.out = a.out
	if a.out == nil {
		m.out = b.out
	} else if b.out != nil {
		m.out = x.mix(mask, aggregate(a.out), aggregate(b.out)).(aggregate)
	}
	return m
}

// current returns what cell c holds in state s.
func (x *program) current(s *state, c cell) *node {
	if n, ok := s.cells[c]; ok {
		return n
	}
	return x.graph.node(node{op: opLoad, cell: c})
}

// mix returns a in the lanes of mask and b in the others; nil if there is no such value.
func (x *program) mix(mask *node, a, b value) value {
	switch a := a.(type) {
	case *node:
		if b, ok := b.(*node); ok {
			return x.graph.choose(mask, a, b)
		}
	case constant.Value:
		if b, ok := b.(constant.Value); ok && constant.Compare(a, token.EQL, b) {
			return a
		}
	case aggregate:
		b, ok := b.(aggregate)
		if !ok || len(a) != len(b) {
			return nil
		}
		m := make(aggregate, len(a))
		for i := range a {
			m[i] = x.mix(mask, a[i], b[i])
		}
		return m
	case *place:
		if b, ok := b.(*place); ok && *a == *b {
			return a
		}
	case *local:
		if b, ok := b.(*local); ok && a.object == b.object && slices.Equal(a.path, b.path) {
			return a
		}
	case lane:
		return a
	}
	return nil
}
