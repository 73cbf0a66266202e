// Package scenarios holds what happens in simulated fleets, for demos and tests.
package scenarios

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var files embed.FS

// Files returns the scenarios, by file name.
func Files() fs.FS { return files }
