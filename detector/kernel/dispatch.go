package kernel

// instructions is a set of vector instructions that the kernels are written for.
type instructions uint8

const (
	portable instructions = iota // The twins.
	avx2
	avx512
)

// best is what this processor has. It is found out once and never changes.
var best = detect()

// atOnce is how many blocks an assembly function takes in one call.
const atOnce = 256

func (i instructions) String() string { return [...]string{"portable", "AVX2", "AVX-512"}[i] }

// Instructions returns the name of the instructions that the kernels use here.
func Instructions() string { return best.String() }
