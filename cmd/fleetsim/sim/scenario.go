package sim

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ScenarioError is one thing that is wrong with a scenario.
type ScenarioError struct {
	File    string
	Line    int
	Field   string
	Problem string
	Want    string // What to write instead.
}

func (e *ScenarioError) Error() string {
	text := fmt.Sprintf("%s:%d: ", e.File, e.Line)
	if e.Field != "" {
		text += e.Field + ": "
	}
	text += e.Problem
	if e.Want != "" {
		text += "; write " + e.Want
	}
	return text
}

// ParseScenario reads a list of faults in YAML or JSON. Its error joins a *ScenarioError for
// everything that is wrong.
func ParseScenario(file string, text []byte) ([]Fault, error) {
	p := &parser{file: file}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.SequenceNode {
		p.fail(root, "", "a scenario is a list of faults",
			"- {at: 3m, kind: error_burst, service: checkout}")
		return nil, errors.Join(p.errs...)
	}
	faults := make([]Fault, 0, len(root.Content))
	for i, n := range root.Content {
		faults = append(faults, p.fault(fmt.Sprintf("[%d]", i), n))
	}
	return faults, errors.Join(p.errs...)
}

type parser struct {
	file string
	errs []error
}

func (p *parser) fail(n *yaml.Node, field, problem, want string) {
	p.errs = append(p.errs, &ScenarioError{p.file, n.Line, field, problem, want})
}

func (p *parser) fault(at string, n *yaml.Node) Fault {
	if n.Kind != yaml.MappingNode {
		p.fail(n, at, "a fault is a mapping", "{at: 3m, kind: error_burst, service: checkout}")
		return Fault{}
	}
	values := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if values[n.Content[i].Value] != nil {
			p.fail(n.Content[i], at+"."+n.Content[i].Value, "is there twice", "it once")
		}
		values[n.Content[i].Value] = n.Content[i+1]
	}
	kind, ok := p.kind(at, n, values["kind"])
	if !ok {
		return Fault{}
	}
	f := fields[kind].defaults
	f.Kind, f.file, f.line = kind, p.file, n.Line
	for i := 0; i+1 < len(n.Content); i += 2 {
		p.field(&f, at, n.Content[i], n.Content[i+1])
	}
	f.normalize()
	return f
}

func (p *parser) kind(at string, fault, n *yaml.Node) (Kind, bool) {
	names := make([]string, 0, len(fields))
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	if n == nil {
		p.fail(fault, at+".kind", "is missing", "one of "+strings.Join(names, ", "))
		return "", false
	}
	if !slices.Contains(names, n.Value) {
		p.fail(n, at+".kind", fmt.Sprintf("unknown kind %q", n.Value), nearest(n.Value, names))
		return "", false
	}
	return Kind(n.Value), true
}

// field sets the field of f that key names from n.
func (p *parser) field(f *Fault, at string, key, n *yaml.Node) {
	name := key.Value
	if !f.Kind.uses(name) {
		known := slices.Concat(commonFields, fields[f.Kind].names)
		p.fail(key, at+"."+name, fmt.Sprintf("%s has no such field", f.Kind), nearest(name, known))
		return
	}
	at += "." + name
	switch name {
	case "kind":
	case "cluster":
		f.Cluster = p.pattern(at, n)
	case "service":
		f.Service = p.pattern(at, n)
	case "reason":
		f.Reason = p.reason(at, n)
	case "crash":
		if err := n.Decode(&f.Crash); err != nil {
			p.fail(n, at, fmt.Sprintf("%q is neither true nor false", n.Value), "true")
		}
	case "pods":
		if err := n.Decode(&f.Pods); err != nil || f.Pods < 1 {
			p.fail(n, at, fmt.Sprintf("%q is not a number of pods", n.Value),
				"1 or more, or leave it out for all")
		}
	case "at", "for", "ramp", "every":
		*f.duration(name) = p.duration(at, n)
	default:
		*f.number(name) = p.number(at, name, n)
	}
}

func (f *Fault) duration(name string) *time.Duration {
	return map[string]*time.Duration{
		"at": &f.At, "for": &f.For, "ramp": &f.Ramp, "every": &f.Every,
	}[name]
}

func (f *Fault) number(name string) *float64 {
	return map[string]*float64{
		"errors": &f.Errors, "latency": &f.Latency, "tail": &f.Tail, "cpu": &f.CPU,
		"per_minute": &f.PerMinute, "drop": &f.Drop,
	}[name]
}

func (p *parser) duration(at string, n *yaml.Node) time.Duration {
	d, err := time.ParseDuration(n.Value)
	if err != nil || d < 0 {
		p.fail(n, at, fmt.Sprintf("%q is not a duration", n.Value), "one such as 90s, 3m or 1h30m")
		return 0
	}
	if strings.HasSuffix(at, ".every") && d < time.Second {
		p.fail(n, at, "is too short", "1s or more")
	}
	return d
}

func (p *parser) number(at, name string, n *yaml.Node) float64 {
	var x float64
	low, high, want := 0.0, 1.0, "a share between 0 and 1"
	if name == "latency" || name == "tail" || name == "cpu" {
		low, high, want = 0.01, 100, "a factor between 0.01 and 100"
	}
	if err := n.Decode(&x); err != nil || math.IsNaN(x) || x < low || x > high {
		p.fail(n, at, fmt.Sprintf("%q is out of range", n.Value), want)
		return 0
	}
	return x
}

func (p *parser) pattern(at string, n *yaml.Node) string {
	if _, err := path.Match(n.Value, ""); err != nil || n.Kind != yaml.ScalarNode || n.Value == "" {
		p.fail(n, at, fmt.Sprintf("%q is not a name or glob", n.Value),
			"a name such as checkout or a glob such as check*")
		return ""
	}
	return n.Value
}

func (p *parser) reason(at string, n *yaml.Node) string {
	reasons := []string{reasonError, reasonOOM}
	if !slices.Contains(reasons, n.Value) {
		p.fail(n, at, fmt.Sprintf("unknown reason %q", n.Value), nearest(n.Value, reasons))
	}
	return n.Value
}

// nearest returns the name that takes the fewest edits to become what was written, and names all if
// none is near.
func nearest(written string, names []string) string {
	best, fewest := "", len(written)/2+1
	for _, name := range names {
		if d := edits(written, name); d < fewest {
			best, fewest = name, d
		}
	}
	if best == "" {
		return "one of " + strings.Join(names, ", ")
	}
	return best
}

// edits is the distance of Levenshtein.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
