package arena_test

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"tocsin/detector/kernel/arena"
)

type block [3][16]float32

// fill writes to all blocks from i on what only they have.
func fill(c *arena.Column[block], from int) {
	for i := from; i < c.Len(); i++ {
		c.At(i)[2][15] = float32(i)
	}
}

func check(t *testing.T, c *arena.Column[block]) {
	t.Helper()
	seen := 0
	for k := range c.Chunks() {
		for i := range c.Chunk(k) {
			if got := c.Chunk(k)[i][2][15]; got != float32(seen) || c.At(seen)[2][15] != got {
				t.Fatalf("block %d holds %v", seen, got)
			}
			seen++
		}
	}
	if seen != c.Len() {
		t.Fatalf("%d blocks in chunks, %d in all", seen, c.Len())
	}
}

func TestGrowKeepsBlocks(t *testing.T) {
	var pool arena.Pool
	c := arena.NewColumn[block](&pool)
	for n := 1; n < 3000; n += 1 + n/7 {
		old := c.Len()
		c.Grow(n)
		if c.Len() != n {
			t.Fatalf("%d blocks, want %d", c.Len(), n)
		}
		for i := old; i < n; i++ {
			if *c.At(i) != (block{}) {
				t.Fatalf("block %d is not zero", i)
			}
		}
		fill(c, old)
		check(t, c)
	}
	if used, least := pool.Used(), int64(c.Len())*192; used < least || used > least*9/8 {
		t.Errorf("%d bytes used for %d", used, least)
	}
	for k := range c.Chunks() - 1 {
		if len(c.Chunk(k)) != arena.Chunk {
			t.Errorf("chunk %d has %d blocks", k, len(c.Chunk(k)))
		}
	}
}

func TestFullChunksStay(t *testing.T) {
	c := arena.NewColumn[block](nil)
	c.Grow(arena.Chunk)
	first := c.At(0)
	c.Grow(40 * arena.Chunk)
	if c.At(0) != first {
		t.Error("the first chunk moved")
	}
	if at := uintptr(unsafe.Pointer(c.At(0))); at%64 != 0 {
		t.Errorf("blocks begin at %#x", at)
	}
}

// TestFreedBlocksAreZeroAndUsedAgain lets columns come and go.
func TestFreedBlocksAreZeroAndUsedAgain(t *testing.T) {
	var pool arena.Pool
	rng := rand.New(rand.NewPCG(1, 2))
	var columns []*arena.Column[block]
	for range 500 {
		if len(columns) > 20 {
			i := rng.IntN(len(columns))
			check(t, columns[i])
			columns[i].Free()
			columns = append(columns[:i], columns[i+1:]...)
		}
		c := arena.NewColumn[block](&pool)
		c.Grow(1 + rng.IntN(600))
		for i := range c.Len() {
			if *c.At(i) != (block{}) {
				t.Fatal("a block that was used before is not zero")
			}
		}
		fill(c, 0)
		columns = append(columns, c)
	}
	if used, mapped := pool.Used(), pool.Mapped(); mapped > 64<<20 || used > mapped {
		t.Errorf("%d bytes used, %d mapped", used, mapped)
	}
	for _, c := range columns {
		c.Free()
		c.Free()
	}
	if used, mapped := pool.Used(), pool.Mapped(); used != 0 || mapped != 0 {
		t.Errorf("%d bytes used, %d mapped: want nothing left", used, mapped)
	}
}

// TestLargeBlocks asks for more than a region at once.
func TestLargeBlocks(t *testing.T) {
	var pool arena.Pool
	c := arena.NewColumn[[1 << 19]byte](&pool)
	c.Grow(arena.Chunk)
	c.At(arena.Chunk - 1)[1<<19-1] = 1
	if used := pool.Used(); used != 128<<20 {
		t.Errorf("%d bytes used", used)
	}
	c.Free()
}
