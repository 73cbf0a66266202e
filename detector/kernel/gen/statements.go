package main

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
)

// block runs statements and then what follows them. What follows an if is run in both branches
// when one of them may leave.
func (x *program) block(list []ast.Stmt, then func()) {
	if len(list) == 0 {
		then()
		return
	}
	rest := func() { x.block(list[1:], then) }
	switch s := list[0].(type) {
	case *ast.IfStmt:
		x.ifElse(s, rest)
	case *ast.SwitchStmt:
		x.switchCase(s, rest)
	case *ast.BlockStmt:
		x.block(append(append([]ast.Stmt{}, s.List...), list[1:]...), then)
	case *ast.ReturnStmt:
		x.leave(s)
	case *ast.BranchStmt:
		if s.Tok != token.CONTINUE || s.Label != nil {
			x.refuse(s, "%s", s.Tok)
		}
	default:
		x.statement(s)
		rest()
	}
}

func (x *program) ifElse(s *ast.IfStmt, rest func()) {
	if s.Init != nil {
		x.statement(s.Init)
	}
	var other []ast.Stmt
	if s.Else != nil {
		other = []ast.Stmt{s.Else}
	}
	mask := x.mask(s.Cond)
	x.branch(mask, leaves(s),
		func(then func()) { x.block(s.Body.List, then) },
		func(then func()) { x.block(other, then) }, rest)
}

// branch runs a where mask is true and b where not, and then rest. If they may leave, rest is
// part of both.
func (x *program) branch(mask *node, leave bool, a, b func(then func()), rest func()) {
	switch mask.op {
	case opTrue:
		a(rest)
		return
	case opFalse:
		b(rest)
		return
	}
	then := rest
	if !leave {
		then = func() {}
	}
	before := x.state
	x.state = before.clone()
	a(then)
	yes := x.state
	x.state = before.clone()
	b(then)
	x.state = x.merge(mask, before, yes, x.state)
	if !leave {
		rest()
	}
}

// leaves tells whether a statement may return or continue.
func leaves(s ast.Stmt) bool {
	found := false
	ast.Inspect(s, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.ReturnStmt, *ast.BranchStmt:
			found = true
		case *ast.FuncLit:
			return false
		}
		return !found
	})
	return found
}

func (x *program) switchCase(s *ast.SwitchStmt, rest func()) {
	if s.Init != nil {
		x.statement(s.Init)
	}
	var clauses []*ast.CaseClause
	var other []ast.Stmt
	for _, c := range s.Body.List {
		if c := c.(*ast.CaseClause); c.List != nil {
			clauses = append(clauses, c)
		} else {
			other = c.Body
		}
	}
	x.clauses(s, clauses, other, rest)
}

func (x *program) clauses(
	s *ast.SwitchStmt, list []*ast.CaseClause, other []ast.Stmt, rest func(),
) {
	if len(list) == 0 {
		x.block(other, rest)
		return
	}
	mask := x.graph.truth(false)
	for _, e := range list[0].List {
		m := x.eval(e)
		if s.Tag != nil {
			m = x.compare(s, token.EQL, x.eval(s.Tag), m, x.info.TypeOf(s.Tag))
		}
		mask = x.graph.either(mask, m.(*node))
	}
	x.branch(mask, leaves(s),
		func(then func()) { x.block(list[0].Body, then) },
		func(then func()) { x.clauses(s, list[1:], other, then) }, rest)
}

func (x *program) leave(s *ast.ReturnStmt) {
	x.state.out = []value{}
	for _, e := range s.Results {
		x.state.out = append(x.state.out, x.eval(e))
	}
	if len(s.Results) == 1 {
		if many, ok := x.state.out[0].(results); ok {
			x.state.out = many
		}
	}
}

// statement runs a statement that does not branch.
func (x *program) statement(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		x.assign(s)
	case *ast.IncDecStmt:
		op := token.ADD
		if s.Tok == token.DEC {
			op = token.SUB
		}
		t := x.info.TypeOf(s.X)
		x.set(s.X, x.binary(s, op, x.eval(s.X), x.constant(s, constant.MakeInt64(1), t), t))
	case *ast.DeclStmt:
		x.declare(s)
	case *ast.ExprStmt:
		x.eval(s.X)
	case *ast.RangeStmt:
		x.stays(s.Body)
		x.loop(s)
	case *ast.ForStmt:
		x.stays(s.Body)
		x.count(s)
	case *ast.EmptyStmt:
	default:
		x.refuse(s, "%T", s)
	}
}

func (x *program) declare(s *ast.DeclStmt) {
	for _, spec := range s.Decl.(*ast.GenDecl).Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || s.Decl.(*ast.GenDecl).Tok != token.VAR {
			continue // Constants and types have been seen to.
		}
		for i, name := range v.Names {
			object := x.info.Defs[name]
			if i < len(v.Values) {
				x.state.vars[object] = x.eval(v.Values[i])
			} else {
				x.state.vars[object] = x.zero(name, object.Type())
			}
		}
	}
}

func (x *program) assign(s *ast.AssignStmt) {
	if op, ok := assignOps[s.Tok]; ok {
		x.unfused(s, op, s.Rhs[0])
		t := x.info.TypeOf(s.Lhs[0])
		x.set(s.Lhs[0], x.binary(s, op, x.eval(s.Lhs[0]), x.eval(s.Rhs[0]), t))
		return
	}
	var values []value
	for _, e := range s.Rhs {
		v := x.eval(e)
		if many, ok := v.(results); ok {
			values = append(values, many...)
		} else {
			values = append(values, v)
		}
	}
	for i, e := range s.Lhs {
		x.set(e, values[i])
	}
}

var assignOps = map[token.Token]token.Token{
	token.ADD_ASSIGN: token.ADD, token.SUB_ASSIGN: token.SUB, token.MUL_ASSIGN: token.MUL,
	token.QUO_ASSIGN: token.QUO, token.AND_ASSIGN: token.AND, token.OR_ASSIGN: token.OR,
	token.XOR_ASSIGN: token.XOR, token.SHL_ASSIGN: token.SHL, token.SHR_ASSIGN: token.SHR,
}

// stays refuses a loop that the function may return from: its turns are run in a row.
func (x *program) stays(body *ast.BlockStmt) {
	ast.Inspect(body, func(n ast.Node) bool {
		if r, ok := n.(*ast.ReturnStmt); ok {
			x.refuse(r, "a return from a loop")
		}
		return true
	})
}

// loop runs a loop over a range: the one over the lanes once, others turn by turn.
func (x *program) loop(s *ast.RangeStmt) {
	over := x.eval(s.X)
	n, element := x.elements(s.X, over)
	isRow := false
	if p, ok := over.(*place); ok {
		_, isRow = elemOf(p.typ)
	}
	if isRow || x.overLanes(s) {
		x.bind(s.Key, lane{})
		if s.Value != nil {
			x.bind(s.Value, x.load(s, x.index(s, over, lane{})))
		}
		x.block(s.Body.List, func() {})
		return
	}
	for i := range n {
		x.bind(s.Key, constant.MakeInt64(int64(i)))
		if s.Value != nil {
			x.bind(s.Value, element(i))
		}
		x.block(s.Body.List, func() {})
	}
}

// overLanes tells whether s is `for l := range Width`.
func (x *program) overLanes(s *ast.RangeStmt) bool {
	name, ok := s.X.(*ast.Ident)
	return ok && name.Name == "Width"
}

// elements returns how many turns a loop has, and the value of each.
func (x *program) elements(at ast.Node, over value) (int, func(int) value) {
	switch v := over.(type) {
	case constant.Value:
		n, _ := constant.Int64Val(v)
		return int(n), nil
	case aggregate:
		return len(v), func(i int) value { return v[i] }
	}
	n := x.length(at, over)
	return n, func(i int) value {
		return x.load(at, x.index(at, over, constant.MakeInt64(int64(i))))
	}
}

// count runs `for i := from; i < to; i++` and its like turn by turn.
func (x *program) count(s *ast.ForStmt) {
	if s.Init != nil {
		x.statement(s.Init)
	}
	for turns := 0; ; turns++ {
		switch m := x.mask(s.Cond); {
		case m.op == opFalse:
			return
		case m.op != opTrue || turns > 1000:
			x.refuse(s, "a loop whose end depends on data")
		}
		x.block(s.Body.List, func() {})
		if s.Post != nil {
			x.statement(s.Post)
		}
	}
}

// bind sets a loop's variable.
func (x *program) bind(e ast.Expr, v value) {
	if e == nil {
		return
	}
	x.set(e, v)
}

// zero returns the zero value of t.
func (x *program) zero(at ast.Node, t types.Type) value {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		switch {
		case u.Kind() == types.Bool:
			return x.graph.truth(false)
		case u.Kind() == types.Int:
			return constant.MakeInt64(0)
		}
		return x.graph.bits(0)
	case *types.Array:
		a := make(aggregate, u.Len())
		for i := range a {
			a[i] = x.zero(at, u.Elem())
		}
		return a
	case *types.Struct:
		a := make(aggregate, u.NumFields())
		for i := range a {
			a[i] = x.zero(at, u.Field(i).Type())
		}
		return a
	}
	x.refuse(at, "variable of type %s", t)
	return nil
}
