package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/timeinterval"
	commonconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the generated parts of the documentation")

// TestConfigurationPage keeps docs/configuration.md true to the structs: their fields, defaults
// and comments.
func TestConfigurationPage(t *testing.T) {
	d := &documenter{comments: structComments(t), titles: make(map[reflect.Type]string)}
	d.section("The file", reflect.ValueOf(*Default()))
	d.client()
	d.timeInterval()
	checkPage(t, "../docs/configuration.md", "fields", d.out.String())
	if len(d.missing) > 0 {
		t.Errorf("fields without a comment: %v", d.missing)
	}
}

// TestExamples parses the examples of the pages.
func TestExamples(t *testing.T) {
	for _, page := range []string{
		"../docs/configuration.md", "../docs/notifications.md", "../docs/signals.md",
		"../docs/budget.md", "../docs/rollback.md",
	} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		examples := strings.Split(string(text), "```yaml\n")
		for _, example := range examples[1:] {
			example, _, _ = strings.Cut(example, "```")
			if !strings.Contains("\n"+example, "\nclusters") {
				example = head + example
			}
			if _, err := Parse(page, []byte(example)); err != nil {
				t.Errorf("%s\n%v", example, err)
			}
		}
	}
}

// TestSignalsPage keeps docs/signals.md true to the packs.
func TestSignalsPage(t *testing.T) {
	packs, err := Packs()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, p := range packs {
		fmt.Fprintf(&b, "### %s\n\n%s Chosen where the source has one of: `%s`.\n",
			p.Name, strings.TrimSpace(p.Description), strings.Join(p.Probe, "`, `"))
		fmt.Fprintf(&b, "The namespace is in `%s`, the service in `%s`.\n\n",
			strings.Join(p.Signals[0].NamespaceLabels, "`, `"), strings.Join(p.Signals[0].ServiceLabels, "`, `"))
		b.WriteString("| signal | what it means | kind | bad | gates |\n|---|---|---|---|---|\n")
		for _, s := range p.Signals {
			fmt.Fprintf(&b, "| `%s` | %s | %s, %s | %s | %s |\n",
				s.Name, s.Description, s.Kind, s.Unit, s.Bad, gates(s))
		}
		for _, s := range p.Signals {
			fmt.Fprintf(&b, "\n`%s`:\n```\n%s\n```\n", s.Name, s.Query)
		}
		for _, s := range p.Pods {
			fmt.Fprintf(&b, "\nPods, set `%s`: %s The pod is in `%s`, the namespace in `%s`.\n",
				s.Name, s.Description, strings.Join(s.PodLabels, "`, `"), strings.Join(s.NamespaceLabels, "`, `"))
			for _, m := range s.metrics() {
				fmt.Fprintf(&b, "\n`%s.%s`:\n```\n%s\n```\n", s.Name, m.name, m.query)
			}
		}
		b.WriteString("\n")
	}
	checkPage(t, "../docs/signals.md", "packs", strings.TrimSuffix(b.String(), "\n"))
	checkPage(t, "../docs/signals.md", "pod_workload", "```\n"+podWorkload+"\n```\n")
}

// gates says in words what a signal needs for a finding.
func gates(s Signal) string {
	var out []string
	if s.MinVolume > 0 {
		out = append(out, fmt.Sprintf("`%s` at %g or more", s.Volume, s.MinVolume))
	}
	if s.MinEffect > 0 {
		out = append(out, fmt.Sprintf("off by %g", s.MinEffect))
	}
	if s.MinEffectRelative > 0 {
		out = append(out, fmt.Sprintf("off by %g%%", 100*s.MinEffectRelative))
	}
	if s.ZeroWith != "" {
		out = append(out, fmt.Sprintf("0 where it is absent beside `%s`", s.ZeroWith))
	}
	return strings.Join(out, "; ")
}

// checkPage compares the part of a page between two marks with what it should be.
func checkPage(t *testing.T, path, mark, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+mark+": written by go test ./config -run Page -rewrite -->\n", "<!-- end of "+mark+" -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no part between %q and %q", path, begin, end)
	}
	if got == want {
		return
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not true any more; go test ./config -run Page -rewrite mends it (-page +structs):\n%s",
		path, cmp.Diff(got, want))
}

// documenter writes a section for each struct, in the order in which they are met.
type documenter struct {
	comments map[string]string       // Of structs by their names, and of fields by Struct.Field.
	titles   map[reflect.Type]string // The first field that leads to a struct.
	out      strings.Builder
	seen     []reflect.Type
	missing  []string
}

// section documents a struct whose fields have their default values, and then what it leads to.
func (d *documenter) section(title string, v reflect.Value) {
	d.seen = append(d.seen, v.Type())
	fmt.Fprintf(&d.out, "### %s\n\n%s\n\n| field | value | default | |\n|---|---|---|---|\n",
		title, d.comments[v.Type().Name()])
	var inner []reflect.Value
	for i := range v.NumField() {
		if next := d.field(v, i); next.IsValid() {
			inner = append(inner, next)
		}
	}
	d.out.WriteString("\n")
	for _, next := range inner {
		if !slices.Contains(d.seen, next.Type()) {
			d.section(d.title(next.Type(), ""), next)
		}
	}
}

// field documents one field, and returns the struct that it leads to.
func (d *documenter) field(v reflect.Value, i int) reflect.Value {
	f, value := v.Type().Field(i), v.Field(i)
	name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	switch {
	case !f.IsExported() || name == "-":
		return reflect.Value{}
	case f.Type == reflect.TypeFor[commonconfig.HTTPClientConfig]():
		d.row("...", "", "", "The fields of [an HTTP client](#http-client).")
		return reflect.Value{}
	case option == "inline":
		byDefault := "as `global`"
		if v.Type() == reflect.TypeFor[Global]() {
			byDefault = ""
		}
		title := d.title(f.Type, strings.ToLower(f.Name))
		d.row("...", "", byDefault, fmt.Sprintf("The fields of [%s](#%s).", title, title))
		return value
	}
	comment := d.comments[v.Type().Name()+"."+f.Name]
	if comment == "" {
		d.missing = append(d.missing, v.Type().Name()+"."+f.Name)
	}
	text, next := d.kind(f.Type, name)
	byDefault := ""
	if !next.IsValid() || !isStruct(f.Type) {
		byDefault = defaultOf(value)
	}
	d.row(name, text, byDefault, comment)
	return next
}

func (d *documenter) row(name, kind, byDefault, comment string) {
	if name != "..." {
		name = "`" + name + "`"
	}
	comment = strings.ReplaceAll(comment, "|", `\|`)
	fmt.Fprintf(&d.out, "| %s | %s | %s | %s |\n", name, kind, byDefault, comment)
}

// title names the section of a struct.
func (d *documenter) title(t reflect.Type, field string) string {
	if _, ok := d.titles[t]; !ok {
		d.titles[t] = field
	}
	return d.titles[t]
}

// kind names the type of a field, and returns the struct with its defaults that it leads to.
func (d *documenter) kind(t reflect.Type, field string) (string, reflect.Value) {
	switch reflect.New(t).Interface().(type) {
	case *Duration:
		return "duration", reflect.Value{}
	case *commonconfig.Secret:
		return "secret", reflect.Value{}
	case *URL:
		return "URL", reflect.Value{}
	case *Free:
		return "size or share", reflect.Value{}
	case *Matchers:
		return "list of matchers", reflect.Value{}
	case *PackNames:
		return "`auto` or list of names", reflect.Value{}
	case *[]timeinterval.TimeInterval:
		return "list of [times](#times)", reflect.Value{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.kind(t.Elem(), field)
	case reflect.Slice:
		text, next := d.kind(t.Elem(), field)
		return "list of " + text, next
	case reflect.Map:
		return "mapping", reflect.Value{}
	case reflect.Struct:
		title := d.title(t, field)
		return fmt.Sprintf("[%s](#%s)", title, title), withDefaults(t)
	case reflect.Int:
		return "whole number", reflect.Value{}
	case reflect.Float64:
		return "number", reflect.Value{}
	case reflect.Bool:
		return "true or false", reflect.Value{}
	}
	return "text", reflect.Value{}
}

func isStruct(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// withDefaults returns a struct as it is before the file says anything of it.
func withDefaults(t reflect.Type) reflect.Value {
	c := Default()
	for v, i := reflect.ValueOf(c).Elem(), 0; i < v.NumField(); i++ {
		if v.Field(i).Type() == t {
			return v.Field(i)
		}
	}
	if t == reflect.TypeFor[Backfill]() {
		return reflect.ValueOf(c.Global.Backfill)
	}
	if t == reflect.TypeFor[Budget]() {
		return reflect.ValueOf(c.Alerting.Budget)
	}
	for v, i := reflect.ValueOf(c.Remediation), 0; i < v.NumField(); i++ {
		if v.Field(i).Type() == t {
			return v.Field(i)
		}
	}
	out := reflect.New(t)
	if x, ok := out.Interface().(inheritor); ok {
		_, d := parse("", nil)
		x.inherit(d, c, &yaml.Node{Kind: yaml.MappingNode})
	}
	return out.Elem()
}

// defaultOf prints a default value; nothing if it is empty.
func defaultOf(v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.Len() == 0 || v.IsZero() && v.Kind() != reflect.Bool {
		return ""
	}
	var items []string
	switch x := v.Interface().(type) {
	case []string:
		items = x
	case PackNames:
		items = x
	default:
		items = []string{fmt.Sprint(x)}
	}
	return "`" + strings.Join(items, "`, `") + "`"
}

// structComments reads the comments of the package's structs and their fields.
func structComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if d, ok := decl.(*ast.GenDecl); ok {
				commentsOf(d, out)
			}
		}
	}
	return out
}

func commentsOf(d *ast.GenDecl, out map[string]string) {
	for _, spec := range d.Specs {
		s, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		body, ok := s.Type.(*ast.StructType)
		if !ok {
			continue
		}
		out[s.Name.Name] = oneLine(d.Doc)
		for _, f := range body.Fields.List {
			for _, name := range f.Names {
				out[s.Name.Name+"."+name.Name] = oneLine(f.Doc)
			}
		}
	}
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }
