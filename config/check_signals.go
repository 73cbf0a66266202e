package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

var signalName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (p PackChoice) check(d *decoder, path string) {
	names := make([]string, len(d.packs))
	for i, pack := range d.packs {
		names[i] = pack.Name
	}
	known := func(field string, list []string) {
		for i, name := range list {
			d.choice(fmt.Sprintf("%s[%d]", field, i), name, names)
		}
	}
	if !p.Auto() && d.given(path+".enabled") { // Else it is reported where it is inherited from.
		known(path+".enabled", p.Enabled)
	}
	if d.given(path + ".disabled") {
		known(path+".disabled", p.Disabled)
	}
}

func (c *Config) checkSignals(d *decoder) {
	all := mergeSignals(d.packs, c.Signals)
	names := make([]string, len(all))
	needed := make(map[string][]string) // The enabled signals that refer to one.
	for i, s := range all {
		names[i] = s.Name
		for _, other := range []string{s.Volume, s.ZeroWith} {
			if s.Enabled && !slices.Contains(needed[other], s.Name) {
				needed[other] = append(needed[other], s.Name)
			}
		}
	}
	unique := d.unique("signals")
	for i, s := range c.Signals {
		path := fmt.Sprintf("signals[%d]", i)
		unique(path+".name", s.Name)
		s.check(d, path)
		if s.Volume != "" {
			d.choice(path+".volume", s.Volume, names)
		}
		if s.ZeroWith != "" {
			d.choice(path+".zero_with", s.ZeroWith, names)
		}
		if by := needed[s.Name]; !s.Enabled && len(by) > 0 {
			d.failAt(path+".enabled", "the same for them", "%s cannot do without it", strings.Join(by, ", "))
		}
	}
}

func (s Signal) check(d *decoder, path string) {
	named := d.required(path+".name", s.Name, "a name such as checkout_errors")
	if named && !signalName.MatchString(s.Name) {
		d.failAt(path+".name", "lower-case letters, digits and _", "%q is not a name of a signal", s.Name)
	}
	if d.required(path+".kind", s.Kind, "one of "+strings.Join(kinds, ", ")) {
		d.choice(path+".kind", s.Kind, kinds)
	}
	if d.required(path+".bad", s.Bad, "up, down or both") {
		d.choice(path+".bad", s.Bad, directions)
	}
	if d.required(path+".query", s.Query, "PromQL") {
		_, err := s.checkQuery()
		d.promQL(path+".query", s.Query, err)
	}
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"min_volume", s.MinVolume},
		{"min_effect", s.MinEffect},
		{"min_effect_relative", s.MinEffectRelative},
	} {
		if !(f.value >= 0) {
			d.failAt(path+"."+f.name, "0 or more", "%g is below 0", f.value)
		}
	}
	if s.MinVolume > 0 && s.Volume == "" {
		d.failAt(path+".min_volume", "volume too", "needs the name of the signal in volume")
	}
	d.labelNames(path+".namespace_labels", s.NamespaceLabels)
	d.labelNames(path+".service_labels", s.ServiceLabels)
	if len(s.ServiceLabels) == 0 {
		d.failAt(path+".service_labels", "the label that names the service", "is empty")
	}
}

func (d *decoder) labelNames(path string, names []string) {
	for i, name := range names {
		if !model.LegacyValidation.IsValidLabelName(name) {
			d.failAt(fmt.Sprintf("%s[%d]", path, i), "letters, digits and _", "%q is not a label name", name)
		}
	}
}

// promQL reports an error of a query at the line that it is on.
func (d *decoder) promQL(field, query string, err error) {
	if err == nil {
		return
	}
	want := ""
	if strings.Contains(query, "$__") {
		want = "$window or $interval for the variables of Grafana"
	}
	err = shortError(err)
	line := d.line(field)
	var at *parser.ParseErr
	if n := d.values[field]; n != nil && errors.As(err, &at) && n.Style == yaml.LiteralStyle {
		before := query[:min(int(at.PositionRange.Start), len(query))]
		line += 1 + strings.Count(before, "\n")
	}
	d.fail(line, field, want, "not PromQL: %v", err)
}
