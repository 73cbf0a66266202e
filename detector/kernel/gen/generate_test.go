package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeneratedFilesAreUpToDate generates them again: nobody has edited them, nor a twin alone.
func TestGeneratedFilesAreUpToDate(t *testing.T) {
	files, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the twins say: run go generate ./detector/kernel", name)
		}
	}
}

// TestKernelsEqualTheirTwin tests the kernels of package gym.
func TestKernelsEqualTheirTwin(t *testing.T) {
	gym, err := filepath.Abs(filepath.Join("testdata", "gym"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := generate(gym)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range files {
		overlay.Replace[filepath.Join(gym, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-overlay", path, gym).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRefusals gives what cannot be a kernel, or would not equal its twin everywhere.
func TestRefusals(t *testing.T) {
	const head = "package kernel\nimport \"math\"\nvar _ = math.Pi\nconst Width = 16\n" +
		"type Lanes [Width]float32\ntype Params struct{ I, J int; F float32 }\n\n//tocsin:kernel\n"
	for _, tc := range []struct{ name, twin, want string }{
		{
			"a product that may be fused",
			"func f(y *Lanes) { for l := range Width { y[l] = y[l]*y[l] + 1 } }",
			"float32(a*b)",
		},
		{
			"the same in an assignment",
			"func f(y *Lanes) { for l := range Width { y[l] += 2 * y[l] } }",
			"float32(a*b)",
		},
		{
			"a loop that depends on data",
			"func f(y *Lanes) { for l := range Width {\n" +
				"for x := y[l]; x > 1; x = x / 2 { y[l] = x } } }",
			"loop",
		},
		{
			"a return from a loop",
			"func f(y *Lanes) { for l := range Width { y[l] = g(y[l]) } }\n" +
				"func g(v float32) float32 { for range 3 { if v > 1 { return 1 }\n v = v / 2 }\n return v }",
			"return from a loop",
		},
		{
			"a function that lanes do not have",
			"func f(y *Lanes) { for l := range Width { y[l] = float32(math.Exp(float64(y[l]))) } }",
			"math.Exp",
		},
		{
			"two rows that may be the same",
			"func f(d *[9]Lanes, p *Params) { for l := range Width { d[p.I][l] = d[p.J][l] } }",
			"may be the same",
		},
		{
			"a parameter by value",
			"func f(y *Lanes, a float32) { for l := range Width { y[l] = a } }",
			"pointers only",
		},
		{
			"a store to a parameter",
			"func f(y *Lanes, p *Params) { for l := range Width { p.F = y[l] } }",
			"row of float32",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "f.go"), []byte(head+tc.twin), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := generate(dir); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one about %q", err, tc.want)
			}
		})
	}
}
