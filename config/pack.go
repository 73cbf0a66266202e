package config

import (
	"embed"
	"fmt"
	"path"
	"reflect"
	"sync"
)

//go:embed packs/*.yaml
var packFiles embed.FS

// Pack is a set of signals for the metrics of one kind of software.
type Pack struct {
	// Name of the pack.
	Name string `yaml:"name"`
	// Whose metrics these are.
	Description string `yaml:"description"`
	// Names of metrics. A source that has one of them has use for the pack.
	Probe []string `yaml:"probe"`
	// What is asked for.
	Signals []Signal `yaml:"signals"`
	// What the pods of a release are asked for, in order of preference.
	Pods []PodSet `yaml:"pods"`
}

// Packs returns the shipped packs by name.
func Packs() ([]Pack, error) {
	files, err := packFiles.ReadDir("packs")
	if err != nil {
		return nil, fmt.Errorf("read packs: %w", err)
	}
	var out []Pack
	for _, f := range files {
		name := path.Join("packs", f.Name())
		text, err := packFiles.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read packs: %w", err)
		}
		pack, err := parsePack(name, text)
		if err != nil {
			return nil, err
		}
		out = append(out, pack)
	}
	return out, nil
}

// shipped returns the shipped packs, which a test has seen to be well-formed. They are parsed
// once, because every cluster and every reload needs them; nobody may change them.
var shipped = sync.OnceValue(func() []Pack {
	packs, err := Packs()
	if err != nil {
		panic(fmt.Sprintf("config: a shipped pack is broken: %v", err))
	}
	return packs
})

// parsePack reads one pack as strictly as a configuration file.
func parsePack(name string, text []byte) (Pack, error) {
	d := newDecoder(name)
	var p Pack
	if root := d.document(text); root != nil {
		d.value("", root, reflect.ValueOf(&p).Elem(), nil)
	}
	for i := range p.Signals {
		p.Signals[i].Pack = p.Name
		p.Signals[i].check(d, fmt.Sprintf("signals[%d]", i))
	}
	for i := range p.Pods {
		p.Pods[i].Pack = p.Name
		p.Pods[i].check(d, fmt.Sprintf("pods[%d]", i))
	}
	if _, err := d.result(); err != nil {
		return Pack{}, err
	}
	return p, nil
}
