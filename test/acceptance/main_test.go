package acceptance

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets more tests run side by side than there are cores, unless somebody has said how many: they wait for
// instants to come, and hardly compute.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err) // The testing package has that flag.
		}
	}
	os.Exit(m.Run())
}
