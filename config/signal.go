package config

import (
	"errors"
	"slices"

	"go.yaml.in/yaml/v3"
)

// auto stands for the packs whose metrics the source has.
const auto = "auto"

// The values that kind and bad can have.
var (
	kinds      = []string{"rate", "ratio", "latency", "saturation", "count", "gauge"}
	directions = []string{"up", "down", "both"}
)

// Signal is one measured quantity that services have. One that has the name of a shipped
// signal changes that one: what it does not give stays as it was.
type Signal struct {
	// Name: lower-case letters, digits and underscores. It becomes the label `signal`.
	Name string `yaml:"name"`
	// What it means, for people.
	Description string `yaml:"description,omitempty"`
	// PromQL that gives one sample for each service. `$window`, `$interval`, `$service` and
	// `$pod_workload` stand for what signals.md says.
	Query string `yaml:"query"`
	// How its values come about: rate, ratio, latency, saturation, count or gauge.
	Kind string `yaml:"kind"`
	// Which way it turns when things get worse: up, down or both.
	Bad string `yaml:"bad"`
	// What it is counted in, for people: s, requests/s, bytes.
	Unit string `yaml:"unit,omitempty"`
	// Name of the signal that says how much there was to measure.
	Volume string `yaml:"volume,omitempty"`
	// While that signal is below this, this one opens no finding.
	MinVolume float64 `yaml:"min_volume,omitempty"`
	// Smaller deviations open no finding, in the unit of the signal.
	MinEffect float64 `yaml:"min_effect,omitempty"`
	// Smaller deviations open no finding, as a share of what was expected: 0.2 is 20%.
	MinEffectRelative float64 `yaml:"min_effect_relative,omitempty"`
	// Name of a signal. Where that one has a value and this one has none, this one is 0.
	ZeroWith string `yaml:"zero_with,omitempty"`
	// Labels that may hold the namespace; the first that a series has counts.
	NamespaceLabels []string `yaml:"namespace_labels"`
	// Labels that may hold the name of the service; the first that a series has counts.
	ServiceLabels []string `yaml:"service_labels"`
	// Whether it is asked for.
	Enabled bool `yaml:"enabled"`

	// Pack is the name of the pack that the signal comes from; empty for your own.
	Pack string `yaml:"-"`
}

// inherit starts from the shipped signal of the same name, if there is one.
func (s *Signal) inherit(d *decoder, _ any, n *yaml.Node) {
	*s = newSignal()
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "name" {
			if shipped, ok := findSignal(d.packs, n.Content[i+1].Value); ok {
				*s = shipped
			}
		}
	}
}

// newSignal returns a signal with nothing but defaults.
func newSignal() Signal {
	return Signal{
		NamespaceLabels: []string{
			"namespace", "k8s_namespace_name", "kubernetes_namespace", "exported_namespace",
		},
		ServiceLabels: []string{
			"workload", "deployment", "service", "service_name", "app",
			"app_kubernetes_io_name", "exported_job", "job",
		},
		Enabled: true,
	}
}

// PackChoice says which packs are asked for.
type PackChoice struct {
	// `auto`: those whose metrics the source has. Or a list of names.
	Enabled PackNames `yaml:"enabled"`
	// Names of packs that are not asked for in any case.
	Disabled []string `yaml:"disabled,omitempty"`
}

// Auto says whether packs are chosen by what the source has.
func (p PackChoice) Auto() bool { return slices.Equal(p.Enabled, PackNames{auto}) }

// Has says whether the pack may be asked for.
func (p PackChoice) Has(pack string) bool {
	return !slices.Contains(p.Disabled, pack) && (p.Auto() || slices.Contains(p.Enabled, pack))
}

// PackNames is a list of names of packs, or auto.
type PackNames []string

// UnmarshalYAML reads auto or a list.
func (p *PackNames) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Value == auto {
		*p = PackNames{auto}
		return nil
	}
	var names []string
	if n.Kind != yaml.SequenceNode || n.Decode(&names) != nil {
		return &lineError{n.Line, "auto, or a list of names", errors.New("want auto or a list")}
	}
	*p = names
	return nil
}

// MarshalYAML returns what UnmarshalYAML reads.
func (p PackNames) MarshalYAML() (any, error) {
	if slices.Equal(p, PackNames{auto}) {
		return auto, nil
	}
	return []string(p), nil
}

// AllSignals returns the shipped signals, changed as the file says, and then its own; those
// that are not enabled too.
func (c *Config) AllSignals() []Signal { return mergeSignals(shipped(), c.Signals) }

// mergeSignals puts those of own that change a shipped signal in its place, and adds the rest.
func mergeSignals(packs []Pack, own []Signal) []Signal {
	var out []Signal
	index := make(map[string]int)
	for _, p := range packs {
		for _, s := range p.Signals {
			index[s.Name] = len(out)
			out = append(out, s)
		}
	}
	for _, s := range own {
		if i, ok := index[s.Name]; ok {
			out[i] = s
		} else {
			out = append(out, s)
		}
	}
	return out
}

func findSignal(packs []Pack, name string) (Signal, bool) {
	for _, p := range packs {
		for _, s := range p.Signals {
			if s.Name == name {
				return s, true
			}
		}
	}
	return Signal{}, false
}
