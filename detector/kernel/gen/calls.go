package main

import (
	"go/ast"
	"go/constant"
	"go/types"
)

// call converts, computes or runs a function in place.
func (x *program) call(e *ast.CallExpr) value {
	if x.info.Types[e.Fun].IsType() {
		return x.convert(e)
	}
	switch f := ast.Unparen(e.Fun).(type) {
	case *ast.Ident:
		object := x.info.Uses[f]
		if b, ok := object.(*types.Builtin); ok {
			return x.builtin(e, b.Name())
		}
		return x.run(e, object, e.Args)
	case *ast.SelectorExpr:
		object := x.info.Uses[f.Sel]
		if object.Pkg() != nil && object.Pkg().Path() == "math" {
			return x.math(e, f.Sel.Name)
		}
		return x.method(e, f)
	}
	x.refuse(e, "call of %T", e.Fun)
	return nil
}

func (x *program) builtin(e *ast.CallExpr, name string) value {
	if name == "len" {
		return constant.MakeInt64(int64(x.length(e, x.eval(e.Args[0]))))
	}
	o := map[string]op{"min": opMin, "max": opMax}[name]
	if o == opConst || !isBasic(x.info.TypeOf(e), types.Float32) {
		x.refuse(e, "%s of %s", name, x.info.TypeOf(e))
	}
	v := x.eval(e.Args[0]).(*node)
	for _, a := range e.Args[1:] {
		v = x.graph.op2(o, v, x.eval(a).(*node))
	}
	return v
}

// math runs the functions of package math that are the same in lanes.
func (x *program) math(e *ast.CallExpr, name string) value {
	switch name {
	case "Float32bits", "Float32frombits":
		return x.eval(e.Args[0])
	case "NaN":
		return x.graph.bits(0x7fc00000)
	case "Sqrt":
		// A square root of a float32 is the same whether it is rounded once or twice.
		if c, ok := e.Args[0].(*ast.CallExpr); ok && isBasic(x.info.TypeOf(c.Args[0]), types.Float32) {
			return x.graph.op1(opSqrt, x.eval(c.Args[0]).(*node))
		}
	}
	x.refuse(e, "math.%s", name)
	return nil
}

// convert is a conversion between types of 32 bits, or from a row's narrower elements.
func (x *program) convert(e *ast.CallExpr) value {
	to, from := x.info.TypeOf(e), x.info.TypeOf(e.Args[0])
	v := x.eval(e.Args[0])
	if c, ok := v.(constant.Value); ok {
		return x.constant(e, c, to)
	}
	n, ok := v.(*node)
	if !ok {
		return v // Between names for the same type.
	}
	switch fromFloat, toFloat := isFloat(from), isFloat(to); {
	case fromFloat == toFloat:
		return n
	case fromFloat:
		return x.graph.op1(opToInt, n)
	case isBasic(from, types.Uint32):
		x.refuse(e, "conversion of a uint32: go by way of int32")
	}
	return x.graph.op1(opToFloat, n)
}

func isFloat(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsFloat != 0
}

func (x *program) method(e *ast.CallExpr, f *ast.SelectorExpr) value {
	s := x.info.Selections[f]
	if s == nil || s.Kind() != types.MethodVal {
		x.refuse(e, "call of %s", f.Sel.Name)
	}
	d := x.funcs[s.Obj()]
	if d == nil {
		x.refuse(e, "call of %s", f.Sel.Name)
	}
	_, wantsPointer := s.Obj().Type().(*types.Signature).Recv().Type().(*types.Pointer)
	_, hasPointer := x.info.TypeOf(f.X).(*types.Pointer)
	var receiver value
	switch {
	case wantsPointer && !hasPointer:
		receiver = x.address(f.X)
	case hasPointer && !wantsPointer:
		receiver = x.load(f, x.eval(f.X))
	default:
		receiver = x.eval(f.X)
	}
	return x.invoke(d, append([]value{receiver}, x.arguments(e.Args)...))
}

func (x *program) run(e *ast.CallExpr, f types.Object, args []ast.Expr) value {
	d := x.funcs[f]
	if d == nil {
		x.refuse(e, "call of %s", f.Name())
	}
	return x.invoke(d, x.arguments(args))
}

func (x *program) arguments(list []ast.Expr) []value {
	var args []value
	for _, e := range list {
		v := x.eval(e)
		if many, ok := v.(results); ok {
			args = append(args, many...)
		} else {
			args = append(args, v)
		}
	}
	return args
}

// invoke runs the body of a function. args begin with the receiver, if it has one.
func (x *program) invoke(d *ast.FuncDecl, args []value) value {
	var names []*ast.Ident
	if d.Recv != nil {
		names = append(names, d.Recv.List[0].Names...)
	}
	for _, field := range d.Type.Params.List {
		names = append(names, field.Names...)
	}
	for i, name := range names {
		x.state.vars[x.info.Defs[name]] = args[i]
	}
	if r := d.Type.Results; r != nil && r.List[0].Names != nil {
		x.refuse(d, "%s: results with names", d.Name.Name)
	}
	x.state.out = nil
	x.block(d.Body.List, func() {})
	out := x.state.out
	x.state.out = nil
	if len(out) == 1 {
		return out[0]
	}
	return results(out)
}
