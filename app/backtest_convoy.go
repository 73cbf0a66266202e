package app

import (
	"context"
	"sync"
)

// convoy keeps clusters that share a budget on the same day: none begins one before all have ended
// the one before. So each knows how many series the others had, as in the daemon, and a test gives
// the same whoever is faster. Between enter and leave, only so many are on their way at a time; the
// others wait.
type convoy struct {
	slots chan struct{}

	mu      sync.Mutex // Guards what follows.
	members int
	arrived int
	next    chan struct{} // Closed when all have arrived.
}

func newConvoy(members, parallel int) *convoy {
	return &convoy{slots: make(chan struct{}, parallel), members: members, next: make(chan struct{})}
}

// enter is called by each member before it begins.
func (c *convoy) enter() { c.slots <- struct{}{} }

// leave is called by each member that has entered, at its end.
func (c *convoy) leave() {
	<-c.slots
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members--
	c.release()
}

// wait is called by a member at the end of a day. It returns when all others are there, have left,
// or ctx is done.
func (c *convoy) wait(ctx context.Context) {
	<-c.slots
	c.mu.Lock()
	next := c.next
	c.arrived++
	c.release()
	c.mu.Unlock()
	select {
	case <-next:
	case <-ctx.Done():
	}
	c.enter()
}

// release lets all go on if all are there. c.mu is held.
func (c *convoy) release() {
	if c.arrived > 0 && c.arrived == c.members {
		c.arrived = 0
		close(c.next)
		c.next = make(chan struct{})
	}
}
