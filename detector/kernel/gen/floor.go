package main

import "slices"

// floor returns a kernel that loads and stores the rows that k does, and makes one addition for
// each: what the memory alone costs. What is stored is what was there: zero is added. Only rows that
// k does not load get the sum of those that it does not store.
func (k *kernel) floor() *kernel {
	f := &kernel{name: k.name, params: k.params, gradual: true, graph: newGraph()}
	stored := map[cell]bool{}
	for _, s := range k.stores {
		stored[s.cell] = true
	}
	sum, zero := f.graph.float(1), f.graph.float(0)
	var both []cell
	for _, c := range k.loads() {
		if stored[c] {
			both = append(both, c)
		} else {
			sum = f.graph.op2(opAdd, sum, f.graph.node(node{op: opLoad, cell: c}))
		}
	}
	for _, s := range k.stores {
		n := sum
		if slices.Contains(both, s.cell) {
			n = f.graph.op2(opAdd, zero, f.graph.node(node{op: opLoad, cell: s.cell}))
		}
		f.stores = append(f.stores, &node{op: opStore, args: []*node{n}, cell: s.cell})
	}
	return f
}

// loads returns the rows that k needs.
func (k *kernel) loads() []cell {
	var cells []cell
	for _, n := range k.needed() {
		for _, a := range n.args {
			if a.op == opLoad && !slices.Contains(cells, a.cell) {
				cells = append(cells, a.cell)
			}
		}
	}
	slices.SortFunc(cells, compareCells)
	return cells
}
