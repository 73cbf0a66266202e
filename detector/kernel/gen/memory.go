package main

import (
	"go/ast"
	"go/constant"
	"go/types"
)

// width is the number of lanes.
const width = 16

// rowIndex is an index that the kernel is told: an int of a parameter struct, plus a constant.
type rowIndex struct {
	base   int
	offset int64
	plus   int64
}

// elemOf returns the type of a row's elements, if t is a row.
func elemOf(t types.Type) (elem, bool) {
	a, ok := t.Underlying().(*types.Array)
	if !ok || a.Len() != width {
		return 0, false
	}
	return elemOfBasic(a.Elem())
}

func elemOfBasic(t types.Type) (elem, bool) {
	b, ok := t.Underlying().(*types.Basic)
	if !ok {
		return 0, false
	}
	e, ok := map[types.BasicKind]elem{
		types.Float32: float32s, types.Int8: int8s, types.Uint8: uint8s,
		types.Int16: int16s, types.Uint16: uint16s,
	}[b.Kind()]
	return e, ok
}

// part returns a pointer to what an index or a selector denotes, or the value itself if it has no
// address.
func (x *program) part(e ast.Expr) value {
	switch e := e.(type) {
	case *ast.IndexExpr:
		return x.index(e, x.base(e.X), x.eval(e.Index))
	case *ast.SelectorExpr:
		s := x.info.Selections[e]
		if s == nil || s.Kind() != types.FieldVal || len(s.Index()) != 1 {
			x.refuse(e, "selection of %s", e.Sel.Name)
		}
		return x.field(e, x.base(e.X), s.Index()[0])
	}
	return x.address(e)
}

// base returns a pointer to the array or struct that e is, or its value if it has no address.
func (x *program) base(e ast.Expr) value {
	if _, ok := x.info.TypeOf(e).Underlying().(*types.Pointer); ok {
		return x.eval(e)
	}
	switch inner := ast.Unparen(e).(type) {
	case *ast.Ident:
		if object := x.info.ObjectOf(inner); x.inits[object] == nil {
			return &local{object: object}
		}
		return x.eval(e)
	case *ast.IndexExpr, *ast.SelectorExpr:
		return x.part(inner)
	case *ast.StarExpr:
		return x.eval(inner.X)
	}
	return x.eval(e)
}

// address returns a pointer to e.
func (x *program) address(e ast.Expr) value {
	switch inner := ast.Unparen(e).(type) {
	case *ast.Ident:
		return &local{object: x.info.ObjectOf(inner)}
	case *ast.StarExpr:
		return x.eval(inner.X)
	case *ast.IndexExpr, *ast.SelectorExpr:
		return x.part(inner)
	}
	x.refuse(e, "address of %T", e)
	return nil
}

// index returns a pointer to an element of what base points to.
func (x *program) index(at ast.Node, base, i value) value {
	if p, ok := base.(*place); ok {
		return x.indexPlace(at, p, i)
	}
	c, ok := i.(constant.Value)
	if !ok {
		x.refuse(at, "index %T into a variable", i)
	}
	n, _ := constant.Int64Val(c)
	switch b := base.(type) {
	case *local:
		return &local{b.object, append(append([]int{}, b.path...), int(n))}
	case aggregate:
		return b[n]
	}
	x.refuse(at, "index into %T", base)
	return nil
}

func (x *program) indexPlace(at ast.Node, p *place, i value) value {
	a, ok := p.typ.Underlying().(*types.Array)
	if !ok {
		x.refuse(at, "index into %s", p.typ)
	}
	to := *p
	to.typ = a.Elem()
	size := x.sizes.Sizeof(a.Elem())
	switch i := i.(type) {
	case lane:
		if a.Len() != width {
			x.refuse(at, "lane of %s", p.typ)
		}
		to.inLane = true
	case constant.Value:
		n, _ := constant.Int64Val(i)
		if n < 0 || n >= a.Len() {
			x.refuse(at, "index %d of %s", n, p.typ)
		}
		to.offset += n * size
	case *rowIndex:
		if to.row != (dynRow{}) {
			x.refuse(at, "two indices that the kernel is told")
		}
		to.row = dynRow{i.base, i.offset, size, p.offset, p.offset + a.Len()*size}
		to.offset += i.plus * size
	default:
		x.refuse(at, "index that differs between lanes")
	}
	return &to
}

// field returns a pointer to a field of what base points to.
func (x *program) field(at ast.Node, base value, i int) value {
	switch b := base.(type) {
	case *local:
		return &local{b.object, append(append([]int{}, b.path...), i)}
	case aggregate:
		return b[i]
	case *place:
		s := b.typ.Underlying().(*types.Struct)
		fields := make([]*types.Var, s.NumFields())
		for f := range fields {
			fields[f] = s.Field(f)
		}
		to := *b
		to.offset += x.sizes.Offsetsof(fields)[i]
		to.typ = s.Field(i).Type()
		return &to
	}
	x.refuse(at, "field of %T", base)
	return nil
}

// load returns what a pointer points to. What is no pointer is a value already.
func (x *program) load(at ast.Node, pointer value) value {
	switch p := pointer.(type) {
	case *local:
		v := x.state.vars[p.object]
		if init, ok := x.inits[p.object]; ok {
			v = x.eval(init)
		}
		for _, i := range p.path {
			a, ok := v.(aggregate)
			if !ok {
				x.refuse(at, "part of %s, which has no value here", p.object.Name())
			}
			v = a[i]
		}
		if v == nil {
			x.refuse(at, "%s has no value here", p.object.Name())
		}
		return v
	case *place:
		return x.loadPlace(at, p)
	}
	return pointer
}

func (x *program) loadPlace(at ast.Node, p *place) value {
	if p.inLane {
		return x.current(x.state, x.cell(at, p))
	}
	b, ok := p.typ.Underlying().(*types.Basic)
	switch {
	case !ok:
		return p // An array or struct in memory: what is wanted is a part of it.
	case b.Kind() == types.Float32:
		return x.graph.node(node{op: opParam, cell: cell{base: p.base, offset: p.offset}})
	case b.Kind() == types.Int:
		return &rowIndex{base: p.base, offset: p.offset}
	}
	x.refuse(at, "parameter of type %s", p.typ)
	return nil
}

func (x *program) cell(at ast.Node, p *place) cell {
	e, ok := elemOfBasic(p.typ)
	if !ok || !p.inLane {
		x.refuse(at, "row of %s", p.typ)
	}
	return cell{base: p.base, row: p.row, offset: p.offset, elem: e}
}

// length returns the length of the array that v is or points to.
func (x *program) length(at ast.Node, v value) int {
	switch v := v.(type) {
	case aggregate:
		return len(v)
	case *local:
		return x.length(at, x.load(at, v))
	case *place:
		if a, ok := v.typ.Underlying().(*types.Array); ok {
			return int(a.Len())
		}
	}
	x.refuse(at, "length of %T", v)
	return 0
}

// set assigns v to what e denotes.
func (x *program) set(e ast.Expr, v value) {
	if name, ok := e.(*ast.Ident); ok {
		if name.Name != "_" {
			x.state.vars[x.info.ObjectOf(name)] = v
		}
		return
	}
	switch p := x.address(e).(type) {
	case *local:
		x.state.vars[p.object] = x.replace(e, x.state.vars[p.object], p.path, v)
	case *place:
		n, ok := v.(*node)
		if !ok || n.mask() {
			x.refuse(e, "store of %T", v)
		}
		x.state.cells[x.cell(e, p)] = n
	default:
		x.refuse(e, "assignment to %T", p)
	}
}

// replace returns v with the part at path replaced.
func (x *program) replace(at ast.Node, v value, path []int, part value) value {
	if len(path) == 0 {
		return part
	}
	a, ok := v.(aggregate)
	if !ok {
		x.refuse(at, "assignment to a part of %T", v)
	}
	c := append(aggregate{}, a...)
	c[path[0]] = x.replace(at, a[path[0]], path[1:], part)
	return c
}

// mayBeSame tells whether two different cells may be the same row: rows of one array, at least one
// of them by an index that the kernel is told.
func mayBeSame(a, b cell) bool {
	if a.base != b.base || a.row == b.row && a.offset == b.offset {
		return false
	}
	if a.row == (dynRow{}) && b.row == (dynRow{}) {
		return false
	}
	aFrom, aTo := a.extent()
	bFrom, bTo := b.extent()
	return aFrom < bTo && bFrom < aTo
}
