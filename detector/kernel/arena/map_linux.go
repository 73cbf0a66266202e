package arena

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// newRegion maps size bytes, a multiple of a huge page, and asks for huge pages.
func newRegion(size int) *region {
	all, err := unix.Mmap(-1, 0, size+hugePage, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		panic(fmt.Sprintf("arena: map %d bytes: %v", size, err)) // As the runtime does without memory.
	}
	memory := aligned(all, size)
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // Without huge pages it works as well, but slower.
	return &region{memory: memory, unmap: func() error { return unix.Munmap(all) }}
}
