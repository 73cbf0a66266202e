package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// program runs a twin on nodes instead of numbers: what comes out is what the twin computes, as a
// graph without branches. Both sides of an if are run, and what they leave is mixed lane by lane.
type program struct {
	name  string // Of the package.
	fset  *token.FileSet
	info  *types.Info
	funcs map[types.Object]*ast.FuncDecl
	inits map[types.Object]ast.Expr // Of package variables.
	sizes types.Sizes

	graph  *graph
	params []*types.Var
	state  *state
}

// load reads the package in dir, but for its tests and what is generated.
func load(dir string) (*program, []*ast.FuncDecl, error) {
	x := &program{
		fset: token.NewFileSet(),
		info: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{},
			Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
		},
		funcs: map[types.Object]*ast.FuncDecl{},
		inits: map[types.Object]ast.Expr{},
		sizes: types.SizesFor("gc", "amd64"),
	}
	files, err := x.parse(dir)
	if err != nil {
		return nil, nil, err
	}
	conf := types.Config{
		Importer: importer.ForCompiler(x.fset, "source", nil),
		Error:    func(error) {}, // What is generated is not there yet. Twins do not need it.
	}
	_, _ = conf.Check(x.name, x.fset, files, x.info)
	return x, x.declarations(files), nil
}

// parse reads the files of dir that are not generated and no tests, in the order of their names.
func (x *program) parse(dir string) ([]*ast.File, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, name := range names {
		base := filepath.Base(name)
		generated := base == stubsFile || base == portableFile
		if generated || strings.HasSuffix(base, "_test.go") || strings.HasSuffix(base, "_amd64.go") {
			continue
		}
		f, err := parser.ParseFile(x.fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		x.name = f.Name.Name
		files = append(files, f)
	}
	return files, nil
}

// declarations notes all functions and variables and returns the twins.
func (x *program) declarations(files []*ast.File) []*ast.FuncDecl {
	var twins []*ast.FuncDecl
	for _, f := range files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				x.funcs[x.info.Defs[d.Name]] = d
				if _, ok := words(d); ok {
					twins = append(twins, d)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if v, ok := s.(*ast.ValueSpec); ok && d.Tok == token.VAR && len(v.Values) == len(v.Names) {
						for i, name := range v.Names {
							x.inits[x.info.Defs[name]] = v.Values[i]
						}
					}
				}
			}
		}
	}
	return twins
}

// directive asks for a kernel. Words may follow it: with gradual, subnormals count, because in
// this twin they matter; with floor there is also a function that moves the same memory and does
// hardly anything, to compare with.
const directive = "//tocsin:kernel"

// words returns what follows the directive of a function, and whether there is one.
func words(d *ast.FuncDecl) ([]string, bool) {
	if d.Doc == nil {
		return nil, false
	}
	for _, c := range d.Doc.List {
		if list := strings.Fields(c.Text); len(list) > 0 && list[0] == directive {
			return list[1:], true
		}
	}
	return nil, false
}

// kernel is a twin as a graph.
type kernel struct {
	name    string
	gradual bool // Subnormals count.
	floored bool // There is a function to compare with.
	params  []param
	graph   *graph
	stores  []*node
}

// param is a parameter of a kernel: a pointer to blocks, or to numbers that are the same for all.
type param struct {
	name    string
	typ     types.Type // What it points to.
	size    int64
	uniform bool
}

// reserved are names that the generated functions use, or the assembler.
var reserved = []string{"by", "g", "i", "n"}

// refusal says why a twin cannot be a kernel.
type refusal struct{ error }

// catch makes a refusal an error. What else went wrong goes on.
func catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case refusal:
		*err = r.error
	default:
		panic(r)
	}
}

func (x *program) refuse(at ast.Node, format string, args ...any) {
	panic(refusal{fmt.Errorf("%s: %s", x.fset.Position(at.Pos()), fmt.Sprintf(format, args...))})
}

// kernel runs a twin.
func (x *program) kernel(d *ast.FuncDecl) (k *kernel, err error) {
	defer catch(&err)
	x.graph, x.state, x.params = newGraph(), newState(), nil
	options, _ := words(d)
	k = &kernel{
		name: d.Name.Name, graph: x.graph,
		gradual: slices.Contains(options, "gradual"), floored: slices.Contains(options, "floor"),
	}
	for _, field := range d.Type.Params.List {
		for _, name := range field.Names {
			object := x.info.Defs[name].(*types.Var)
			pointer, ok := object.Type().(*types.Pointer)
			if !ok {
				x.refuse(name, "a kernel takes pointers only")
			}
			if slices.Contains(reserved, name.Name) {
				x.refuse(name, "a kernel's parameter cannot be called %s", name.Name)
			}
			t := pointer.Elem()
			x.state.vars[object] = &place{base: len(k.params), typ: t}
			k.params = append(k.params, param{
				name: name.Name, typ: t, size: x.sizes.Sizeof(t), uniform: !holdsRows(t),
			})
		}
	}
	x.block(d.Body.List, func() {})
	for _, c := range slices.SortedFunc(maps.Keys(x.state.cells), compareCells) {
		n := x.state.cells[c]
		if k.params[c.base].uniform {
			x.refuse(d, "parameter %s is written to", k.params[c.base].name)
		}
		if n.op != opLoad || n.cell != c {
			k.stores = append(k.stores, &node{op: opStore, args: []*node{n}, cell: c})
		}
		x.alone(d, c)
	}
	return k, nil
}

// alone refuses a store to one of two rows that may be the same.
func (x *program) alone(d *ast.FuncDecl, stored cell) {
	for _, n := range x.graph.nodes {
		if n.op == opLoad && mayBeSame(n.cell, stored) {
			x.refuse(d, "a store to one of two rows that may be the same")
		}
	}
	for c := range x.state.cells {
		if mayBeSame(c, stored) {
			x.refuse(d, "stores to two rows that may be the same")
		}
	}
}

// holdsRows tells whether t is made of rows of lanes.
func holdsRows(t types.Type) bool {
	switch u := t.Underlying().(type) {
	case *types.Array:
		if _, ok := u.Elem().Underlying().(*types.Basic); ok {
			return u.Len() == width
		}
		return holdsRows(u.Elem())
	case *types.Struct:
		return u.NumFields() > 0 && holdsRows(u.Field(0).Type())
	}
	return false
}

// constant returns a constant as a value of type t.
func (x *program) constant(at ast.Node, v constant.Value, t types.Type) value {
	basic, ok := t.Underlying().(*types.Basic)
	if !ok {
		x.refuse(at, "constant of type %s", t)
	}
	switch basic.Kind() {
	case types.Float32:
		f, _ := constant.Float32Val(v)
		return x.graph.float(f)
	case types.Int32, types.Uint32, types.Int8, types.Uint8, types.Int16, types.Uint16:
		i, _ := constant.Int64Val(constant.ToInt(v))
		return x.graph.bits(uint32(i))
	case types.Bool, types.UntypedBool:
		return x.graph.truth(constant.BoolVal(v))
	case types.Int, types.UntypedInt, types.Uint, types.UntypedRune, types.UntypedFloat:
		return constant.ToInt(v)
	}
	x.refuse(at, "constant of type %s", t)
	return nil
}
