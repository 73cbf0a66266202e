// Package main generates the vector kernels of package kernel. It reads the portable twins that
// have the directive //tocsin:kernel, and writes each for AVX2 and AVX-512, and the functions
// that call what the processor has. So a kernel is described once, in Go that runs everywhere.
//
// A twin is a loop over lanes. Its functions are run in place, its loops turn by turn, and both
// branches of its ifs: what comes out is a graph of operations on 16 lanes (see Pharr and Mark,
// "ispc: a SPMD compiler for high-performance CPU programming", 2012). Each operation of the
// graph is one of the twin's, rounded as there, so that both agree to the bit.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// The files that are generated.
const (
	assemblyFile = "kernel_amd64.s"
	stubsFile    = "kernel_amd64.go"
	portableFile = "kernel_portable.go"
)

func main() {
	dir := flag.String("dir", ".", "folder of package kernel")
	flag.Parse()
	files, err := generate(*dir)
	if err == nil {
		for name, text := range files {
			err = os.WriteFile(filepath.Join(*dir, name), text, 0o644)
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
