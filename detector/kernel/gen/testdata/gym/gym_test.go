package gym

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/cpu"
)

func raw(b []Block) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&b[0])), len(b)*int(unsafe.Sizeof(b[0])))
}

func TestExercise(t *testing.T) {
	const n = 300 // More than one call takes.
	sets := []instructions{portable}
	if cpu.X86.HasAVX2 {
		sets = append(sets, avx2)
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL {
		sets = append(sets, avx512)
	}
	blocks, out := make([][]Block, len(sets)), make([][]Lanes, len(sets))
	for i := range sets {
		blocks[i], out[i] = make([]Block, n), make([]Lanes, n)
	}
	in := make([]Lanes, n)
	odd := []float64{0, math.Copysign(0, -1), math.NaN(), 0.5, 1, 2.5, 50.5, 1e4, 1e5, -3, 8.5}
	rng := rand.New(rand.NewPCG(1, 1))
	for tick := range 300 {
		for i := range in {
			for l := range in[i] {
				in[i][l] = float32(math.Round(200*rng.NormFloat64()) / 20)
				if rng.IntN(3) == 0 {
					in[i][l] = float32(odd[rng.IntN(len(odd))])
				}
			}
		}
		p := &Params{Row: tick % 8, Other: tick % 4, Gains: [3]float32{0.5, 0.01, -0.25}}
		p.Inner.Scale = 1.5
		for i, set := range sets {
			exerciseAll(set, out[i], blocks[i], in, p)
			if !bytes.Equal(raw(blocks[i]), raw(blocks[0])) {
				t.Fatalf("tick %d: instructions %d: blocks differ", tick, set)
			}
			for j := range n {
				for l, v := range out[i][j] {
					if w := out[0][j][l]; math.Float32bits(v) != math.Float32bits(w) {
						t.Fatalf("tick %d: instructions %d: out is %v, want %v", tick, set, v, w)
					}
				}
			}
		}
	}
}
