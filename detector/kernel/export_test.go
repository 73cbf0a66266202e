package kernel

// On is the kernels for one set of instructions, for tests and benchmarks.
type On instructions

// Available returns what this processor has, the twins first.
func Available() []On {
	var all []On
	for i := portable; i <= best; i++ {
		all = append(all, On(i))
	}
	return all
}

func (o On) String() string { return instructions(o).String() }

// Tick is Tick.
func (o On) Tick(
	news, score, center, lower, upper []Lanes, blocks []Block, seasons []Season, y []Lanes, p *Params,
) {
	tickAll(instructions(o), news, score, center, lower, upper, blocks, seasons, y, p)
}

// Corroborate is Corroborate.
func (o On) Corroborate(score []Lanes, groups []Group, said, ordinary []Lanes, p *GroupParams) {
	corroborateAll(instructions(o), score, groups, said, ordinary, p)
}
