// Package arena keeps columns of blocks in large pieces of memory outside of the heap: backed by
// huge pages where the system has them, never moved, and given back when a column goes. A tick
// walks over all of it, so that small pages would cost it a tenth to a fifth.
package arena

import (
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"unsafe"
)

const (
	regionSize = 64 << 20 // Mapped at once. What is not touched takes no memory.
	hugePage   = 2 << 20
	line       = 64 // Pieces begin at lines of the cache.
)

// Pool is memory for columns. Its methods may be called concurrently. The zero value is ready for
// use; a Pool may not be copied. All of its memory is given back when neither it nor a column of
// it can be reached any more.
type Pool struct {
	mu      sync.Mutex // Guards what follows.
	regions *regions
	unused  map[int][]piece // By size.
	used    int64
	mapped  int64
}

// regions are those of one pool.
type regions struct{ list []*region }

func (r *regions) unmap() {
	for _, region := range r.list {
		region.give()
	}
}

// region is a stretch of memory that pieces are cut from.
type region struct {
	memory []byte
	cut    int // Up to here.
	pieces int // In use.
	unmap  func() error
}

func (r *region) give() {
	if err := r.unmap(); err != nil {
		panic(fmt.Sprintf("arena: unmap: %v", err)) // It was mapped as it is: nothing else can be wrong.
	}
}

// piece is a part of a region.
type piece struct {
	memory []byte
	region *region
}

// Used returns the bytes that columns have, and Mapped those that the system was asked for.
func (p *Pool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Mapped returns how much address space the pool has. Only what has been touched takes memory.
func (p *Pool) Mapped() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mapped
}

// get returns a piece of zeros.
func (p *Pool) get(size int) piece {
	size = (size + line - 1) / line * line
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used += int64(size)
	if list := p.unused[size]; len(list) > 0 {
		got := list[len(list)-1]
		p.unused[size] = list[:len(list)-1]
		got.region.pieces++
		clear(got.memory)
		return got
	}
	r := p.room(size)
	got := piece{r.memory[r.cut : r.cut+size : r.cut+size], r}
	r.cut += size
	r.pieces++
	return got
}

// room returns a region that has size bytes left: the newest one or a new one.
func (p *Pool) room(size int) *region {
	if p.regions == nil {
		p.regions = &regions{}
		runtime.AddCleanup(p, (*regions).unmap, p.regions)
	}
	list := p.regions.list
	if n := len(list); n > 0 && len(list[n-1].memory)-list[n-1].cut >= size {
		return list[n-1]
	}
	r := newRegion(max(regionSize, (size+hugePage-1)/hugePage*hugePage))
	p.regions.list = append(list, r)
	p.mapped += int64(len(r.memory))
	return r
}

// put takes a piece back. A region of which nothing is in use is given back to the system.
func (p *Pool) put(back piece) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := len(back.memory)
	p.used -= int64(size)
	back.region.pieces--
	if back.region.pieces > 0 {
		if p.unused == nil {
			p.unused = map[int][]piece{}
		}
		p.unused[size] = append(p.unused[size], back)
		return
	}
	p.drop(back.region)
}

func (p *Pool) drop(r *region) {
	for size, list := range p.unused {
		kept := slices.DeleteFunc(list, func(other piece) bool { return other.region == r })
		if p.unused[size] = kept; len(kept) == 0 {
			delete(p.unused, size)
		}
	}
	p.regions.list = slices.DeleteFunc(p.regions.list, func(other *region) bool { return other == r })
	p.mapped -= int64(len(r.memory))
	r.give()
}

// aligned cuts the ends off memory so that it begins with a huge page and has size bytes.
func aligned(memory []byte, size int) []byte {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(memory)))
	skip := int(-at & (hugePage - 1))
	return memory[skip : skip+size : skip+size]
}

// capacity rounds n up, by a sixth at most, so that pieces come in few sizes and a column that grows
// block by block does not move each time.
func capacity(n int) int {
	switch {
	case n <= 4:
		return n
	case n <= 16:
		return (n + 1) / 2 * 2
	}
	step := 1 << (bits.Len(uint(n-1)) - 4)
	return (n + step - 1) / step * step
}
