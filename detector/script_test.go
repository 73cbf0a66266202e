package detector_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tocsin/detector/detectortest"
)

var rewrite = flag.Bool("rewrite", false, "write the answers of testdata/scripts anew")

// TestScripts plays each script in testdata/scripts and compares the drawing with what follows
// its "----".
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, want, _ := strings.Cut(string(text), "----\n")
			script, err := detectortest.Parse(head)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := script.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := script.Plot(answer)
			switch {
			case *rewrite:
				if err := os.WriteFile(file, []byte(head+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
			case got != want:
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}
