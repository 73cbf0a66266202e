package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	commonconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

// value decodes n into v, which is addressable. around is a pointer to the struct that v is in.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value, around any) {
	d.depth++
	defer func() { d.depth-- }()
	if d.nodes++; d.nodes > maxNodes || d.depth > maxDepth {
		d.refuse(path, n)
		return
	}
	if n.Kind == yaml.AliasNode {
		d.value(path, n.Alias, v, around)
		return
	}
	if n.Tag == "!!null" {
		return
	}
	if _, ok := d.lines[path]; !ok {
		d.lines[path] = n.Line
	}
	d.values[path] = n
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
			d.inherit(v, around, n)
		}
		v = v.Elem()
	}
	if decodesItself(v) {
		d.itself(path, n, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(path, n, v)
	case reflect.Slice:
		d.list(path, n, v, around)
	case reflect.Map:
		d.mapping(path, n, v, around)
	default:
		d.scalar(path, n, v)
	}
}

// refuse reports once that a file is out of bounds.
func (d *decoder) refuse(path string, n *yaml.Node) {
	if !d.refused {
		d.fail(n.Line, path, "", "more than %d values, or %d in one another", maxNodes, maxDepth)
	}
	d.refused = true
}

// inherit gives a new struct the defaults that depend on its place.
func (d *decoder) inherit(pointer reflect.Value, around any, n *yaml.Node) {
	if x, ok := pointer.Interface().(inheritor); ok {
		x.inherit(d, around, n)
	}
}

// decodesItself says whether a value has an UnmarshalYAML of its own, but for those structs of
// prometheus/common that only check their fields in it: those are walked, for the sake of
// lines and of unknown fields, and checked by check.
func decodesItself(v reflect.Value) bool {
	if v.Kind() == reflect.Interface {
		return true
	}
	switch v.Addr().Interface().(type) {
	case *commonconfig.HTTPClientConfig, *commonconfig.OAuth2, *commonconfig.BasicAuth,
		*commonconfig.TLSConfig:
		return false
	case yaml.Unmarshaler, interface{ UnmarshalYAML(func(any) error) error }:
		return true
	}
	return false
}

func (d *decoder) itself(path string, n *yaml.Node, v reflect.Value) {
	err := n.Decode(v.Addr().Interface())
	if err == nil {
		return
	}
	line, want := n.Line, wants(v)
	var at *lineError
	if errors.As(err, &at) {
		line, want = max(at.line, line), at.want
	}
	text := err.Error()
	var types *yaml.TypeError
	if errors.As(err, &types) && len(types.Errors) > 0 {
		text = types.Errors[0]
	}
	d.fail(line, path, want, "%s", text[len(yamlLine.FindString(text)):])
}

// wants says what a value that decodes itself looks like.
func wants(v reflect.Value) string {
	switch v.Addr().Interface().(type) {
	case *Duration:
		return "a number with a unit, such as 30s, 5m or 1d"
	case *commonconfig.URL:
		return "a URL such as http://proxy.example.com:3128"
	case *commonconfig.TLSVersion:
		return "TLS12 or TLS13"
	}
	return ""
}

// field is one field of a struct as YAML names it.
type field struct {
	name  string
	value reflect.Value
}

// fieldsOf lists the fields of a struct, those of inlined structs among them. rest is the
// inlined map, which takes all other names.
func fieldsOf(v reflect.Value) (fields []field, rest reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case option == "inline" && f.Type.Kind() == reflect.Struct:
			inner, _ := fieldsOf(v.Field(i))
			fields = append(fields, inner...)
		case option == "inline":
			rest = v.Field(i)
		case f.IsExported() && name != "-" && name != "" && !strings.HasSuffix(name, "_ref"):
			// A _ref names a secret of a secret manager, which tocsin has not.
			fields = append(fields, field{name, v.Field(i)})
		}
	}
	return fields, rest
}

// structure decodes a mapping into the fields of a struct, in the order of the struct, so that
// what is inherited is there before those who inherit it.
func (d *decoder) structure(path string, n *yaml.Node, v reflect.Value) {
	given, ok := d.pairs(path, n)
	if !ok {
		return
	}
	fields, rest := fieldsOf(v)
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
		if p, ok := given[f.name]; ok {
			d.pair(fieldPath(path, f.name), p, f.value, v.Addr().Interface())
			delete(given, f.name)
		}
	}
	if rest.IsValid() {
		d.entries(path, given, rest, v.Addr().Interface())
		return
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		want := nearest(name, names)
		if want == "" {
			slices.Sort(names)
			want = "one of " + strings.Join(names, ", ")
		}
		d.fail(given[name].key.Line, fieldPath(path, name), want, "unknown field")
	}
}

// pair is an entry of a mapping.
type pair struct{ key, value *yaml.Node }

// pairs returns the entries of a mapping by their keys. Those of merged mappings (<<) count
// where the mapping itself has none.
func (d *decoder) pairs(path string, n *yaml.Node) (map[string]pair, bool) {
	if n.Kind != yaml.MappingNode {
		d.fail(n.Line, path, "fields below it, as in `name: value`", "want fields, found %s", kindOf(n))
		return nil, false
	}
	out := make(map[string]pair)
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Tag == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if first, ok := out[key.Value]; ok {
			d.fail(key.Line, fieldPath(path, key.Value), "it once",
				"is already given on line %d", first.key.Line)
			continue
		}
		out[key.Value] = pair{key, value}
	}
	d.merge(path, out, merged)
	return out, true
}

// merge adds the entries of merged mappings.
func (d *decoder) merge(path string, out map[string]pair, merged []*yaml.Node) {
	for len(merged) > 0 {
		m := merged[0]
		merged = merged[1:]
		if d.nodes++; d.nodes > maxNodes {
			d.refuse(path, m)
			return
		}
		switch m.Kind {
		case yaml.AliasNode:
			merged = append(merged, m.Alias)
		case yaml.SequenceNode:
			merged = append(merged, m.Content...)
		case yaml.MappingNode:
			for i := 0; i+1 < len(m.Content); i += 2 {
				key, value := m.Content[i], m.Content[i+1]
				if _, ok := out[key.Value]; key.Tag == "!!merge" {
					merged = append(merged, value)
				} else if !ok {
					out[key.Value] = pair{key, value}
				}
			}
		default:
			d.fail(m.Line, path, "an alias of a mapping", "cannot merge %s", kindOf(m))
		}
	}
}

// pair decodes one entry; its line is that of the key.
func (d *decoder) pair(path string, p pair, v reflect.Value, around any) {
	if p.value.Tag != "!!null" {
		d.lines[path] = p.key.Line
	}
	d.value(path, p.value, v, around)
}

func (d *decoder) list(path string, n *yaml.Node, v reflect.Value, around any) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n.Line, path, "a list: `- ` before each item, or [a, b]",
			"want a list, found %s", kindOf(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	v.Set(out)
	for i, item := range n.Content {
		d.inherit(out.Index(i).Addr(), around, item)
		d.value(fmt.Sprintf("%s[%d]", path, i), item, out.Index(i), around)
	}
}

func (d *decoder) mapping(path string, n *yaml.Node, v reflect.Value, around any) {
	if given, ok := d.pairs(path, n); ok {
		d.entries(path, given, v, around)
	}
}

// entries decodes the entries of a mapping into a Go map, anew.
func (d *decoder) entries(path string, given map[string]pair, v reflect.Value, around any) {
	v.Set(reflect.MakeMap(v.Type()))
	for _, name := range slices.Sorted(maps.Keys(given)) {
		value := reflect.New(v.Type().Elem()).Elem()
		d.pair(fieldPath(path, name), given[name], value, around)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), value)
	}
}

func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value) {
	want, kind := "text", v.Kind()
	switch kind {
	case reflect.Bool:
		want = "true or false"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		want = "a whole number"
	case reflect.Float64:
		want = "a number"
	}
	if n.Kind != yaml.ScalarNode {
		d.fail(n.Line, path, want, "want %s, found %s", want, kindOf(n))
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		d.fail(n.Line, path, want, "%q is not %s", n.Value, want)
	}
}

// kindOf names what a node is, for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return strconv.Quote(n.Value)
}

func fieldPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
