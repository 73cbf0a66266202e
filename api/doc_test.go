package api

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/collectors/kube"
	"tocsin/collectors/promql"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/remediation"
	"tocsin/remediation/action"
	"tocsin/store/journal"
	"tocsin/store/tsdb"
)

// section is what docs/formats/api.md says of one endpoint.
type section struct{ title, text string }

// documentation reads the page: all of it, and the sections of endpoints.
func documentation(t *testing.T) (string, []section) {
	t.Helper()
	text, err := os.ReadFile("../docs/formats/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var out []section
	for part := range strings.SplitSeq(string(text), "\n### `") {
		title, rest, ok := strings.Cut(part, "`\n")
		if ok && !strings.Contains(title, "\n") {
			rest, _, _ = strings.Cut(rest, "\n## ")
			out = append(out, section{title, rest})
		}
	}
	return string(text), out
}

func TestEveryEndpointIsDocumented(t *testing.T) {
	_, sections := documentation(t)
	var documented, served []string
	for _, s := range sections {
		documented = append(documented, s.title)
	}
	for _, e := range newHouse(t).server(t, nil).endpoints() {
		title := strings.TrimSpace(e.method + " " + strings.TrimSuffix(e.path, "{$}"))
		served = append(served, title)
		for _, s := range sections {
			says := strings.Contains(s.text, "Changes state.")
			if s.title == title && says != e.changes && e.method != "PUT" {
				t.Errorf("%s: the page does not say rightly whether it changes state", title)
			}
		}
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("documented are\n%s\nserved are\n%s",
			strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

// TestEveryParameterIsDocumented asks each list for a parameter that it cannot have, and compares
// what it says that it knows with what the page says.
func TestEveryParameterIsDocumented(t *testing.T) {
	_, sections := documentation(t)
	s := newHouse(t).server(t, nil)
	listed := regexp.MustCompile(`(?s)Parameters: (.*?)\.(\s|$)`)
	names := regexp.MustCompile("`([a-z]+)`")
	inside := regexp.MustCompile(`\([^)]*\)`)
	for _, sec := range sections {
		path, ok := strings.CutPrefix(sec.title, "GET "+base)
		if !ok || strings.Contains(path, "{") {
			continue
		}
		answer := ask(t, s, "GET", base+path+"?zzzzzzzzzzzz=1", "")
		_, known, _ := strings.Cut(answer.Error, "known are ")
		var documented []string
		if m := listed.FindStringSubmatch(sec.text); m != nil {
			for _, n := range names.FindAllStringSubmatch(inside.ReplaceAllString(m[1], ""), -1) {
				documented = append(documented, n[1])
			}
		}
		want := strings.FieldsFunc(known, func(r rune) bool { return r == ',' || r == ' ' })
		slices.Sort(documented)
		slices.Sort(want)
		if !slices.Equal(documented, want) {
			t.Errorf("%s: documented are %v, known are %v", sec.title, documented, want)
		}
	}
}

// TestEveryFieldIsDocumented looks for the names of all fields that an answer can have.
func TestEveryFieldIsDocumented(t *testing.T) {
	text, _ := documentation(t)
	seen := make(map[reflect.Type]bool)
	for _, v := range []any{
		Response{},
		Status{},
		Cluster{},
		detector.Status{},
		journal.Status{},
		tsdb.Status{},
		remediation.Status{},
		promql.Status{},
		kube.Status{},
		detector.ServiceStatus{},
		detector.Finding{},
		incident.Incident{},
		fleet.Change{},
		Feedback{},
		ReleaseDetail{},
		action.Action{},
		action.Pause{},
		action.Report{},
	} {
		for _, name := range fields(reflect.TypeOf(v), seen) {
			if !strings.Contains(text, "`"+name+"`") && !strings.Contains(text, `"`+name+`":`) {
				t.Errorf("%T: field %s is not documented", v, name)
			}
		}
	}
}

// fields returns the names that a type and those within have in JSON, apart from
// detector.Status's clusters, which are not shown.
func fields(typ reflect.Type, seen map[reflect.Type]bool) []string {
	for typ.Kind() == reflect.Slice || typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct || seen[typ] || typ == reflect.TypeFor[time.Time]() ||
		typ == reflect.TypeFor[detector.ClusterStatus]() {
		return nil
	}
	seen[typ] = true
	var out []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "-" {
			out = append(append(out, name), fields(f.Type, seen)...)
		}
	}
	return out
}

// statusData and clusterData are Status and Cluster with the types that the daemon puts into them.
type statusData struct {
	Status
	Detector      detector.Status      `json:"detector"`
	Journal       journal.Status       `json:"journal"`
	Scores        tsdb.Status          `json:"scores"`
	Notifications []remediation.Status `json:"notifications"`
}

type clusterData struct {
	Cluster
	Metrics   promql.Status `json:"metrics"`
	Workloads kube.Status   `json:"workloads"`
}

// TestExamples decodes the examples as strictly as can be.
func TestExamples(t *testing.T) {
	_, sections := documentation(t)
	types := map[string]any{
		"status":    new(statusData),
		"clusters":  new([]clusterData),
		"services":  new([]detector.ServiceStatus),
		"findings":  new([]detector.Finding),
		"incidents": new([]incident.Incident),
		"changes":   new([]fleet.Change),
		"feedback":  new([]Feedback),
		"releases":  new([]release.Record),
		"actions":   new([]action.Action),
		"pauses":    new([]action.Pause),
		"report":    new(action.Report),
	}
	for name, into := range types {
		i := slices.IndexFunc(sections, func(s section) bool { return s.title == "GET "+base+name })
		if i < 0 {
			t.Fatalf("%s is not documented", name)
		}
		_, example, ok := strings.Cut(sections[i].text, "```json\n")
		example, _, closed := strings.Cut(example, "```")
		if !ok || !closed {
			t.Errorf("%s has no example", name)
			continue
		}
		answer := Response{Data: into}
		d := json.NewDecoder(bytes.NewReader([]byte(example)))
		d.DisallowUnknownFields()
		if err := d.Decode(&answer); err != nil || answer.Status != "success" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
