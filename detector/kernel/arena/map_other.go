//go:build !linux

package arena

// newRegion takes size bytes from the heap.
func newRegion(size int) *region {
	memory := aligned(make([]byte, size+hugePage), size)
	return &region{memory: memory, unmap: func() error { return nil }}
}
