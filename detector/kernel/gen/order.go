package main

import (
	"cmp"
	"slices"
)

// order returns the nodes that the stores need, and the stores, in the order in which they are to
// be computed: that of the twin, with three exceptions. What mixes two branches is computed as
// soon as both are known, not where the branches meet. Each row is stored as soon as it is known
// and what it held is not needed any more. And what is made of fields and constants alone waits
// until it is needed. So a field that is loaded, used and left alone for the rest of the twin
// takes a register for that long only.
func (k *kernel) order() []*node {
	list := k.needed()
	users := map[*node][]*node{}
	oldLast := map[cell]int{} // Where what the cell held is needed last.
	for _, n := range list {
		if asap(n.op) {
			n.key = -1
		}
		for _, a := range n.args {
			users[a] = append(users[a], n)
			if asap(n.op) && !a.free() {
				n.key = max(n.key, a.key)
			}
		}
		for _, a := range n.args {
			if a.op == opLoad {
				oldLast[a.cell] = max(oldLast[a.cell], n.key)
			}
		}
	}
	for _, s := range k.stores {
		s.key, s.id = oldLast[s.cell], len(k.graph.nodes)
		for _, a := range s.args {
			if !a.free() {
				s.key = max(s.key, a.key)
			}
			users[a] = append(users[a], s)
		}
	}
	sink(list, users)
	list = append(list, k.stores...)
	slices.SortStableFunc(list, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.id, b.id), compareCells(a.cell, b.cell))
	})
	return list
}

// masked returns k with stores under a mask instead of stores of what is partly old.
func (k *kernel) masked() *kernel {
	m := *k
	m.stores = nil
	for _, s := range k.stores {
		args := s.args
		if n := args[0]; n.op == opSelect && s.cell.elem == float32s &&
			n.args[2].op == opLoad && n.args[2].cell == s.cell {
			args = n.args[:2]
		}
		m.stores = append(m.stores, &node{op: opStore, args: args, cell: s.cell})
	}
	return &m
}

// needed returns the nodes that the stores need, but for those that are in memory.
func (k *kernel) needed() []*node {
	needed := map[*node]bool{}
	var need func(n *node)
	need = func(n *node) {
		if !needed[n] {
			needed[n] = true
			for _, a := range n.args {
				need(a)
			}
		}
	}
	for _, s := range k.stores {
		for _, a := range s.args {
			need(a)
		}
	}
	var list []*node
	for _, n := range k.graph.nodes {
		if needed[n] && !n.free() {
			n.key = n.id
			list = append(list, n)
		}
	}
	return list
}

// sink moves what is made of masks and of what is in memory to where it is used first.
func sink(list []*node, users map[*node][]*node) {
	for _, n := range slices.Backward(list) {
		light := n.op == opSelect || n.op == opLess || n.op == opMore
		for _, a := range n.args {
			light = light && (a.free() || a.mask())
		}
		if !light {
			continue
		}
		n.key = users[n][0].key
		for _, u := range users[n] {
			n.key = min(n.key, u.key)
		}
	}
}

func asap(o op) bool {
	switch o {
	case opSelect, opBoth, opEither, opNot, opNotBoth:
		return true
	}
	return false
}

func compareCells(a, b cell) int {
	return cmp.Or(cmp.Compare(a.base, b.base), cmp.Compare(a.row.offset, b.row.offset),
		cmp.Compare(a.offset, b.offset))
}
