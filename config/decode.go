package config

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxNodes  = 100_000 // Values in one file, aliases expanded.
	maxDepth  = 40      // Of values in values.
	maxErrors = 50      // Listed; people mend the first and try again.
)

// decoder fills a Config from YAML nodes by the tags of its structs. It does not stop at an
// error, and remembers where each field stands, so that what is checked later can say so too.
type decoder struct {
	file   string
	config *Config
	packs  []Pack // The shipped ones.
	errs   Errors
	lines  map[string]int        // Of each field that the file holds, by its path.
	values map[string]*yaml.Node // Where each field's value is.

	nodes   int // Values seen so far.
	depth   int // Of the value at hand.
	refused bool
}

// inheritor is a struct whose defaults depend on where it stands: on the struct around it
// or on what the file says of it.
type inheritor interface {
	inherit(d *decoder, around any, n *yaml.Node)
}

// lineError is an error of one line of a value that decodes itself.
type lineError struct {
	line int
	want string
	err  error
}

func (e *lineError) Error() string { return e.err.Error() }

// parse reads text into a Config and checks it. The decoder has the errors.
func parse(file string, text []byte) (*Config, *decoder) {
	d := newDecoder(file)
	d.config, d.packs = Default(), shipped()
	if root := d.document(text); root != nil {
		d.value("", root, reflect.ValueOf(d.config).Elem(), nil)
		if !d.refused {
			d.config.check(d)
		}
	}
	return d.config, d
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, lines: make(map[string]int), values: make(map[string]*yaml.Node)}
}

// result returns the configuration if nothing is wrong with it.
func (d *decoder) result() (*Config, error) {
	if len(d.errs) == 0 {
		return d.config, nil
	}
	d.errs.sort()
	if more := len(d.errs) - maxErrors; more > 0 {
		last := d.errs[maxErrors-1]
		d.errs = append(d.errs[:maxErrors], &Error{
			File: d.file, Line: last.Line, Problem: fmt.Sprintf("and %d more errors", more),
		})
	}
	return nil, d.errs
}

// document parses the text, which must be one YAML document.
func (d *decoder) document(text []byte) *yaml.Node {
	if len(text) > maxSize {
		d.fail(1, "", "several files or fewer clusters", "the file is larger than %d bytes", maxSize)
		return nil
	}
	dec := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if len(strings.TrimSpace(string(text))) == 0 || err.Error() == "EOF" {
			return &yaml.Node{Kind: yaml.MappingNode, Line: 1}
		}
		d.syntax(err)
		return nil
	}
	if dec.Decode(&second) == nil {
		d.fail(second.Line, "", "one document, without ---", "the file has a second document")
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// syntax reports an error of the YAML parser, which tells its line in the text.
func (d *decoder) syntax(err error) {
	text := err.Error()
	m := yamlLine.FindStringSubmatch(text)
	line, _ := strconv.Atoi(m[1]) // None is 0.
	d.fail(max(line, 1), "", "", "not YAML: %s", text[len(m[0]):])
}

// fail adds an error at a line.
func (d *decoder) fail(line int, field, want, format string, args ...any) {
	d.errs = append(d.errs, &Error{
		File: d.file, Line: line, Field: field, Problem: fmt.Sprintf(format, args...), Want: want,
	})
}

// failAt adds an error at the line of a field; of what is around it if the file does not
// hold the field.
func (d *decoder) failAt(field, want, format string, args ...any) {
	d.fail(d.line(field), field, want, format, args...)
}

// line returns where a field stands.
func (d *decoder) line(field string) int {
	for path := field; path != ""; {
		if line, ok := d.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 1
}

// given says whether the file holds a field.
func (d *decoder) given(field string) bool {
	_, ok := d.lines[field]
	return ok
}
