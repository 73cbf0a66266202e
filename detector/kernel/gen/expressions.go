package main

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
)

// results are what a function with several results returns.
type results []value

// eval returns the value of an expression.
func (x *program) eval(e ast.Expr) value {
	if tv := x.info.Types[e]; tv.Value != nil {
		return x.constant(e, tv.Value, tv.Type)
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		return x.eval(e.X)
	case *ast.Ident:
		return x.variable(e)
	case *ast.BinaryExpr:
		return x.operate(e)
	case *ast.UnaryExpr:
		return x.unary(e)
	case *ast.CallExpr:
		return x.call(e)
	case *ast.IndexExpr, *ast.SelectorExpr:
		return x.load(e, x.part(e))
	case *ast.StarExpr:
		return x.load(e, x.eval(e.X))
	case *ast.CompositeLit:
		return x.composite(e)
	}
	x.refuse(e, "%T", e)
	return nil
}

func (x *program) variable(e *ast.Ident) value {
	object := x.info.ObjectOf(e)
	if v, ok := x.state.vars[object]; ok && v != nil {
		return v
	}
	if init, ok := x.inits[object]; ok {
		return x.eval(init)
	}
	x.refuse(e, "%s has no value here", e.Name)
	return nil
}

// mask evaluates a condition.
func (x *program) mask(e ast.Expr) *node {
	n, ok := x.eval(e).(*node)
	if !ok || !n.mask() {
		x.refuse(e, "no condition")
	}
	return n
}

// unfused refuses a product as an operand of a sum: some processors' compilers would round once
// instead of twice.
func (x *program) unfused(at ast.Node, op token.Token, operands ...ast.Expr) {
	if op != token.ADD && op != token.SUB {
		return
	}
	for _, e := range operands {
		inner := ast.Unparen(e)
		if u, ok := inner.(*ast.UnaryExpr); ok {
			inner = ast.Unparen(u.X)
		}
		product, ok := inner.(*ast.BinaryExpr)
		if ok && product.Op == token.MUL && x.info.Types[inner].Value == nil &&
			isBasic(x.info.TypeOf(inner), types.Float32) {
			x.refuse(at, "a product that is added to: write float32(a*b)")
		}
	}
}

func isBasic(t types.Type, kind types.BasicKind) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Kind() == kind
}

func (x *program) operate(e *ast.BinaryExpr) value {
	switch e.Op {
	case token.LAND:
		a := x.mask(e.X)
		if a.op == opFalse {
			return a
		}
		return x.graph.both(a, x.mask(e.Y))
	case token.LOR:
		a := x.mask(e.X)
		if a.op == opTrue {
			return a
		}
		return x.graph.either(a, x.mask(e.Y))
	case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
		return x.compare(e, e.Op, x.eval(e.X), x.eval(e.Y), x.info.TypeOf(e.X))
	}
	x.unfused(e, e.Op, e.X, e.Y)
	return x.binary(e, e.Op, x.eval(e.X), x.eval(e.Y), x.info.TypeOf(e))
}

var floatOps = map[token.Token]op{
	token.ADD: opAdd, token.SUB: opSub, token.MUL: opMul, token.QUO: opDiv,
}

var intOps = map[token.Token]op{
	token.ADD: opAddInt, token.SUB: opSubInt, token.AND: opAnd, token.OR: opOr, token.XOR: opXor,
}

// binary returns a op b, both of type t.
func (x *program) binary(at ast.Node, op token.Token, a, b value, t types.Type) value {
	if _, ok := a.(*rowIndex); ok && op == token.ADD {
		a, b = b, a
	}
	if a, ok := a.(constant.Value); ok {
		return x.binaryInt(at, op, a, b)
	}
	left := a.(*node)
	if by, ok := b.(constant.Value); ok {
		return x.shift(at, op, left, by, t)
	}
	right := b.(*node)
	if isBasic(t, types.Float32) {
		if o, ok := floatOps[op]; ok {
			return x.graph.op2(o, left, right)
		}
	} else if op == token.SHL || op == token.SHR {
		if right.op == opConst {
			return x.shift(at, op, left, constant.MakeInt64(int64(right.bits)), t)
		}
	} else if op == token.AND_NOT {
		return x.graph.op2(opAndNot, right, left)
	} else if o, ok := intOps[op]; ok {
		return x.graph.op2(o, left, right)
	}
	x.refuse(at, "%s of %s", op, t)
	return nil
}

// binaryInt computes with ints that are the same in all lanes: indices. One may be a parameter.
func (x *program) binaryInt(at ast.Node, op token.Token, a constant.Value, b value) value {
	if row, ok := b.(*rowIndex); ok && op == token.ADD {
		more, _ := constant.Int64Val(a)
		return &rowIndex{row.base, row.offset, row.plus + more}
	}
	other, ok := b.(constant.Value)
	if !ok {
		x.refuse(at, "%s of an int and %T", op, b)
	}
	switch op {
	case token.SHL, token.SHR:
		by, _ := constant.Uint64Val(other)
		return constant.Shift(a, op, uint(by))
	case token.QUO:
		return constant.BinaryOp(a, token.QUO_ASSIGN, other)
	}
	return constant.BinaryOp(a, op, other)
}

func (x *program) shift(
	at ast.Node, op token.Token, a *node, by constant.Value, t types.Type,
) *node {
	n, _ := constant.Int64Val(by)
	switch {
	case op == token.SHL:
		return x.graph.shift(opShiftLeft, a, uint8(n))
	case op == token.SHR && isBasic(t, types.Uint32):
		return x.graph.shift(opShiftRight, a, uint8(n))
	case op == token.SHR:
		return x.graph.shift(opShiftSign, a, uint8(n))
	}
	x.refuse(at, "%s of lanes and an int", op)
	return nil
}

// compare returns a op b as a mask; t is the type of a.
func (x *program) compare(at ast.Node, op token.Token, a, b value, t types.Type) value {
	if a, ok := a.(constant.Value); ok {
		b, ok := b.(constant.Value)
		if !ok {
			x.refuse(at, "comparison of an int with %T", b)
		}
		return x.graph.truth(constant.Compare(a, op, b))
	}
	left, right := a.(*node), b.(*node)
	if op == token.GTR || op == token.GEQ {
		left, right = right, left
		op = map[token.Token]token.Token{token.GTR: token.LSS, token.GEQ: token.LEQ}[op]
	}
	switch {
	case left.mask():
		neither := x.graph.both(x.graph.not(left), x.graph.not(right))
		same := x.graph.either(x.graph.both(left, right), neither)
		if op == token.NEQ {
			return x.graph.not(same)
		}
		return same
	case isBasic(t, types.Float32):
		pred := map[token.Token]uint8{token.LSS: isLess, token.LEQ: isAtMost}[op]
		if op == token.NEQ {
			return x.graph.not(x.graph.compare(isEqual, left, right))
		}
		return x.graph.compare(pred, left, right)
	}
	return x.compareInt(at, op, left, right, t)
}

func (x *program) compareInt(at ast.Node, op token.Token, a, b *node, t types.Type) *node {
	switch {
	case op == token.EQL:
		return x.graph.op2(opEqualInt, a, b)
	case op == token.NEQ:
		return x.graph.not(x.graph.op2(opEqualInt, a, b))
	case !isBasic(t, types.Int32):
		x.refuse(at, "%s of %s", op, t)
	case op == token.LSS:
		return x.graph.op2(opGreaterInt, b, a)
	}
	return x.graph.not(x.graph.op2(opGreaterInt, a, b))
}

func (x *program) unary(e *ast.UnaryExpr) value {
	if e.Op == token.AND {
		if lit, ok := e.X.(*ast.CompositeLit); ok {
			x.refuse(lit, "address of a literal")
		}
		return x.address(e.X)
	}
	v := x.eval(e.X)
	if c, ok := v.(constant.Value); ok {
		return constant.UnaryOp(e.Op, c, 0)
	}
	n := v.(*node)
	switch e.Op {
	case token.NOT:
		return x.graph.not(n)
	case token.ADD:
		return n
	case token.XOR:
		return x.graph.op2(opXor, n, x.graph.bits(1<<32-1))
	}
	if isBasic(x.info.TypeOf(e), types.Float32) {
		return x.graph.op2(opXor, n, x.graph.bits(1<<31))
	}
	return x.graph.op2(opSubInt, x.graph.bits(0), n)
}

func (x *program) composite(e *ast.CompositeLit) value {
	a := x.zero(e, x.info.TypeOf(e)).(aggregate)
	for i, el := range e.Elts {
		pair, ok := el.(*ast.KeyValueExpr)
		if !ok {
			a[i] = x.eval(el)
			continue
		}
		if field, ok := x.info.Uses[keyName(pair)].(*types.Var); ok && field.IsField() {
			a[fieldIndex(x.info.TypeOf(e), field.Name())] = x.eval(pair.Value)
		} else {
			at, _ := constant.Int64Val(x.eval(pair.Key).(constant.Value))
			a[at] = x.eval(pair.Value)
		}
	}
	return a
}

func keyName(p *ast.KeyValueExpr) *ast.Ident {
	name, _ := p.Key.(*ast.Ident)
	return name
}

func fieldIndex(t types.Type, name string) int {
	s := t.Underlying().(*types.Struct)
	for i := range s.NumFields() {
		if s.Field(i).Name() == name {
			return i
		}
	}
	return -1
}
