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
	z, center, width []Lanes, blocks []Block, days []Day, y, floor []Lanes, p *Params,
) {
	tickAll(instructions(o), z, center, width, blocks, days, y, floor, p)
}

// Calibrate is Calibrate.
func (o On) Calibrate(score []Lanes, tails []Tail, nominal []Lanes, p *TailParams) {
	calibrateAll(instructions(o), score, tails, nominal, p)
}

// Nominal is Nominal.
func (o On) Nominal(dst, z []Lanes) { nominalAll(instructions(o), dst, z) }

// Bounds is Bounds.
func (o On) Bounds(lower, upper, center, width []Lanes, tails []Tail) {
	boundsAll(instructions(o), lower, upper, center, width, tails)
}

// Roll is Roll.
func (o On) Roll(tails []Tail) { rollAll(instructions(o), tails) }
