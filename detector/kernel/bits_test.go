package kernel_test

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"tocsin/detector/kernel"
)

var rewrite = flag.Bool("rewrite", false, "write what the twins say now to testdata/bits.txt")

// TestBitsAreTheSameEverywhere compares what every set of instructions, on every kind of machine and
// with every setting of the compiler, makes of the same values: the hash is in testdata. It changes
// with the twins only: go test ./detector/kernel -rewrite.
func TestBitsAreTheSameEverywhere(t *testing.T) {
	const file = "testdata/bits.txt"
	if *rewrite {
		text := bitsOf(kernel.Available()[0]) + "\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, on := range kernel.Available() {
		if got := bitsOf(on) + "\n"; got != string(want) {
			t.Errorf("%s: bits %s, want %s", on, got, want)
		}
	}
}

// bitsOf returns a hash of all that the kernels know and say after some thousand ticks. The values are
// made without functions that a machine may round in its own way.
func bitsOf(on kernel.On) string {
	w := newTwin(on, 2)
	rng := rand.New(rand.NewPCG(11, 12))
	values := make([]float64, 2*kernel.Width)
	for tick := range 3000 {
		for i := range values {
			noise := float64(rng.IntN(1<<20)+rng.IntN(1<<20)) / (1 << 20)
			values[i] = float64(i) + noise
			switch {
			case i%8 == 1:
				values[i] = math.NaN()
			case i%8 == 2:
				values[i] = float64(tick % 96)
			case i%8 == 3 && rng.IntN(50) == 0:
				values[i] = 1e9
			case i%8 == 4:
				values[i] = 0
			case i%8 == 5 && tick > 2000:
				values[i] += 10
			}
		}
		w.feed(values)
	}
	h := fnv.New64a()
	for _, name := range []string{"blocks", "seasons", "groups", "news", "score", "center", "upper", "together"} {
		_, _ = h.Write(w.columns()[name])
	}
	return fmt.Sprintf("%016x", h.Sum64())
}
