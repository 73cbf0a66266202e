package baseline

import "tocsin/detector/kernel"

// Hold stops a slot from learning that what it sees is normal: from now on it is judged by what
// was normal before, and the scores of this episode are not held against later ones. Meanwhile
// the shortest horizon learns the new level, in case it stays.
func (c *Columns) Hold(slot int) {
	c.blocks[slot/kernel.Width][kernel.Hold][slot%kernel.Width] = 1
	c.tails[slot/kernel.Width].Hush(slot % kernel.Width)
}

// Release ends a Hold and forgets what was seen meanwhile.
func (c *Columns) Release(slot int) {
	b, l := &c.blocks[slot/kernel.Width], slot%kernel.Width
	b[kernel.Hold][l] = 0
	b[kernel.Mean0][l] = b[kernel.Mean1][l]
	b[kernel.Spread0][l] = b[kernel.Spread1][l]
}

// Absorb ends a Hold and makes what was seen meanwhile the new normal.
func (c *Columns) Absorb(slot int) {
	b, l := &c.blocks[slot/kernel.Width], slot%kernel.Width
	b[kernel.Hold][l] = 0
	b[kernel.Offset][l] += b[kernel.Mean0][l] - b[kernel.Mean1][l]
	b[kernel.Mean1][l], b[kernel.Mean2][l] = b[kernel.Mean0][l], b[kernel.Mean0][l]
	b[kernel.Spread1][l], b[kernel.Spread2][l] = b[kernel.Spread0][l], b[kernel.Spread0][l]
}
