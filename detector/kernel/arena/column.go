package arena

import "unsafe"

// Chunk is how many blocks a full chunk has: as many as a kernel takes in one call.
const Chunk = 256

// Column is a column of blocks in chunks. All its chunks are full but the last one. T may not
// have pointers in it: what it holds is out of the garbage collector's sight. A Column belongs to
// one goroutine at a time. Blocks do not keep their column alive: who holds on to them must hold on
// to it, too.
type Column[T any] struct {
	pool   *Pool
	chunks [][]T
	pieces []piece
}

// NewColumn returns a column without blocks, in pool, or in a pool of its own if that is nil.
func NewColumn[T any](pool *Pool) *Column[T] {
	if pool == nil {
		pool = &Pool{}
	}
	return &Column[T]{pool: pool}
}

// Len returns how many blocks there are.
func (c *Column[T]) Len() int {
	if len(c.chunks) == 0 {
		return 0
	}
	return (len(c.chunks)-1)*Chunk + len(c.chunks[len(c.chunks)-1])
}

// At returns the block i. Grow and Free end its life.
func (c *Column[T]) At(i int) *T { return &c.chunks[i/Chunk][i%Chunk] }

// Chunks returns how many chunks there are.
func (c *Column[T]) Chunks() int { return len(c.chunks) }

// Chunk returns the blocks from i*Chunk on, up to Chunk of them. Grow and Free end their life.
func (c *Column[T]) Chunk(i int) []T { return c.chunks[i] }

// Grow adds zero blocks until there are at least n. Only the blocks of the last chunk move.
func (c *Column[T]) Grow(n int) {
	for c.Len() < n {
		if k := len(c.chunks); k == 0 || len(c.chunks[k-1]) == Chunk {
			c.chunks = append(c.chunks, nil)
			c.pieces = append(c.pieces, piece{})
		}
		k := len(c.chunks) - 1
		c.resize(k, min(n-k*Chunk, Chunk))
	}
}

// resize makes chunk k, the last one, n blocks long.
func (c *Column[T]) resize(k, n int) {
	old := c.chunks[k]
	if n <= cap(old) {
		c.chunks[k] = old[:n]
		return
	}
	var block T
	room := min(capacity(n), Chunk)
	got := c.pool.get(room * int(unsafe.Sizeof(block)))
	chunk := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(got.memory))), room)[:n]
	copy(chunk, old)
	if old != nil {
		c.pool.put(c.pieces[k])
	}
	c.chunks[k], c.pieces[k] = chunk, got
}

// Free gives all blocks back. The column is then empty and may grow again. The blocks of a column
// that is dropped without it stay where they are for as long as its pool.
func (c *Column[T]) Free() {
	for _, p := range c.pieces {
		c.pool.put(p)
	}
	c.chunks, c.pieces = nil, nil
}
