package tocsin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rooms says, for every package of the floor plan, what it does not say by itself: the rooms of this module that it
// may open a door to. A package that is not listed may not exist: the plan is changed first, here and in
// docs/architecture.md. "*" opens all doors.
var rooms = map[string][]string{
	".":                        nil,
	"app":                      {"*"},
	"api":                      {"detector", "fleet", "incident", "release", "remediation/action"},
	"cmd/fleetsim":             {"cmd/fleetsim/sim", "testdata/scenarios"},
	"cmd/fleetsim/sim":         {"fleet"},
	"cmd/tocsin":               {"api", "app", "collectors/replay", "config", "detector", "fleet", "incident", "release", "release/evidence", "release/offline", "release/simulation", "remediation/action"},
	"collectors":               nil,
	"collectors/kube":          {"fleet"},
	"collectors/promql":        {"fleet", "series"},
	"collectors/replay":        {"fleet", "series"},
	"config":                   {"fleet"},
	"config/packs":             nil,
	"detector":                 {"detector/baseline", "detector/budget", "detector/kernel", "detector/kernel/arena", "fleet", "series"},
	"detector/baseline":        {"detector/kernel", "detector/kernel/arena"},
	"detector/budget":          nil,
	"detector/detectortest":    {"detector", "fleet", "series"},
	"detector/kernel":          nil,
	"detector/kernel/arena":    nil,
	"detector/kernel/gen":      nil,
	"fleet":                    nil,
	"incident":                 {"detector", "fleet", "release"},
	"remediation":              {"fleet", "incident"},
	"remediation/action":       {"fleet", "release", "remediation/rollback"},
	"remediation/alertmanager": {"incident", "remediation"},
	"remediation/rollback":     {"collectors/kube", "fleet"},
	"remediation/slack":        {"fleet", "incident", "remediation"},
	"remediation/webhook":      {"incident", "remediation"},
	"release":                  {"fleet", "release/evidence"},
	"release/evidence":         nil,
	"release/offline":          {"release", "release/evidence"},
	"release/simulation":       {"release", "release/evidence"},
	"series":                   {"fleet"},
	"store/journal":            nil,
	"store/tsdb":               {"detector", "fleet", "series"},
	"test/acceptance":          {"*"},
	"test/e2e":                 {"*"},
	"test/quality/fleetrun":    {"app", "cmd/fleetsim/sim", "detector", "fleet", "incident", "series"},
	"test/testbed":             nil,
}

// lodgers says which rooms a dependency lives in. It binds the code, not its tests.
var lodgers = map[string][]string{
	"github.com/prometheus/prometheus/promql/parser": {"config", "store/tsdb"},
	"github.com/prometheus/prometheus/model":         {"config", "collectors/promql", "store/tsdb"},
	"github.com/prometheus/prometheus":               {"store/tsdb"},
	"github.com/mmcloughlin/avo":                     {"detector/kernel/gen"},
	"github.com/slack-go/slack":                      {"remediation/slack", "test/testbed"},
	"github.com/spf13/cobra":                         {"cmd/tocsin", "cmd/fleetsim"},
	"github.com/spf13/viper":                         {"config"},
	"gonum.org/v1/gonum":                             {"detector/baseline"},
	"k8s.io": {
		"app", "collectors/kube", "remediation/rollback", "test/testbed", "test/e2e",
	},
	"modernc.org/sqlite": {"store/journal"},
}

// clocks are the rooms that may ask for the time; in the others time is an argument.
var clocks = []string{"app", "api", "collectors", "remediation", "store", "cmd", "test"}

// roots are the rooms that may begin a context; in the others it is a parameter.
var roots = []string{"app", "cmd", "test"}

// source is one parsed Go file of the module.
type source struct {
	path, room string
	test       bool
	file       *ast.File
}

// sources parses every Go file of the module but those of the test bed's own modules and of generators.
func sources(t *testing.T) []source {
	t.Helper()
	fset := token.NewFileSet()
	var out []source
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (path == "test/e2e/tools" || path == "bin" || d.Name() == "testdata" ||
			(strings.HasPrefix(d.Name(), ".") && path != ".")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, source{
			path: path, room: filepath.ToSlash(filepath.Dir(path)),
			test: strings.HasSuffix(path, "_test.go"), file: f,
		})
		return nil
	})
	if err != nil {
		t.Fatalf("read the sources: %v", err)
	}
	return out
}

func TestEveryRoomIsOnThePlan(t *testing.T) {
	for _, s := range sources(t) {
		if _, ok := rooms[s.room]; !ok {
			t.Errorf("%s: package %s is not on the floor plan (arch_test.go, docs/architecture.md)", s.path, s.room)
		}
	}
}

func TestDoors(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue // A test may bring in what it needs to stage its story.
		}
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			if to, ok := strings.CutPrefix(path, "tocsin/"); ok {
				doors := rooms[s.room]
				if !slices.Contains(doors, "*") && !slices.Contains(doors, to) {
					t.Errorf("%s: %s has no door to %s", s.path, s.room, to)
				}
				continue
			}
			if home, ok := lodging(path); ok && !slices.Contains(home, s.room) {
				t.Errorf("%s: %s lives in %v, not in %s", s.path, path, home, s.room)
			}
		}
	}
}

// lodging returns the rooms of the longest listed prefix of an import path.
func lodging(path string) ([]string, bool) {
	for p := path; p != "."; p = filepath.ToSlash(filepath.Dir(p)) {
		if home, ok := lodgers[p]; ok {
			return home, true
		}
	}
	return nil, false
}

func TestTimeIsAnArgument(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if !ok {
				return true
			}
			switch pkg.Name + "." + sel.Sel.Name {
			case "time.Now", "time.Since", "time.Until":
				if !within(s.room, clocks) {
					t.Errorf("%s: time.%s in %s: time arrives with the data", s.path, sel.Sel.Name, s.room)
				}
			case "context.Background", "context.TODO":
				if !within(s.room, roots) {
					t.Errorf("%s: context.%s in %s: take the caller's", s.path, sel.Sel.Name, s.room)
				}
			}
			return true
		})
	}
}

// within reports whether room is one of tops or lies below one.
func within(room string, tops []string) bool {
	top, _, _ := strings.Cut(room, "/")
	return slices.Contains(tops, top)
}

func TestEveryPackageSaysWhatItDoes(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		if _, ok := comments[s.room]; !ok {
			comments[s.room] = nil
		}
		if s.file.Doc != nil && !s.test {
			comments[s.room] = append(comments[s.room], s.path)
		}
	}
	for room, files := range comments {
		onlyTests := room == "." || room == "test/acceptance" || room == "test/e2e"
		if len(files) != 1 && !onlyTests {
			t.Errorf("%s: want its package comment in one file, got it in %v", room, files)
		}
	}
}

func TestNoInit(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init() hides what happens at start; let New do it", s.path)
			}
		}
	}
}

// TestOperationsNamesRealMetrics keeps docs/operations.md from advising to watch what is not there.
func TestOperationsNamesRealMetrics(t *testing.T) {
	text, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`\btocsin_[a-z_]+`)
	known := map[string]bool{}
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				for _, name := range metric.FindAllString(lit.Value, -1) {
					known[name] = true
				}
			}
			return true
		})
	}
	named := metric.FindAllString(string(text), -1)
	if len(named) == 0 {
		t.Error("docs/operations.md names no metric")
	}
	for _, name := range named {
		if !known[name] {
			t.Errorf("docs/operations.md names %s, which the code does not have", name)
		}
	}
}
