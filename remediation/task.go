package remediation

import (
	"container/heap"
	"time"

	"github.com/cenkalti/backoff/v5"

	"tocsin/incident"
)

// task is all that one notifier has to tell of one incident.
type task struct {
	key      string
	incident incident.Incident // As it is now.
	digest   string            // Of it.
	route    *Route            // Nil: it would not be told if it had not been already.
	opened   time.Time         // Group wait counts from here.
	ended    time.Time         // When the engine heard that it is resolved.
	sent     Sent              // What the receiver knows.

	refreshed time.Time // When it was last sent, news or not.
	attempts  int       // In vain, since the last success.
	backoff   *backoff.ExponentialBackOff
	retry     time.Time // Not before this.
	hopeless  string    // The rank that the receiver has refused for good.
	muted     bool      // It was recorded that a mute interval holds it.
	pending   bool      // There is something to tell.

	busy  bool      // An attempt is under way.
	due   time.Time // When to look at it again.
	index int       // In the queue; -1: not in it.
}

// rank is what a change of makes an update urgent.
func (t *task) rank() string { return rank(&t.incident) }

func rank(i *incident.Incident) string {
	return string(i.State) + "/" + string(i.Severity) + "/" + acts(i)
}

// queue holds tasks by when they are due; those that wait for something to happen are not in it.
type queue []*task

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for the heap only.
func (q *queue) Push(x any) {
	t := x.(*task)
	t.index = len(*q)
	*q = append(*q, t)
}

// Pop is for the heap only.
func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	t.index = -1
	return t
}

// set makes a task due at a time, wherever it was.
func (q *queue) set(t *task, due time.Time) {
	t.due = due
	if t.index >= 0 {
		heap.Fix(q, t.index)
	} else {
		heap.Push(q, t)
	}
}

func (q *queue) remove(t *task) {
	if t.index >= 0 {
		heap.Remove(q, t.index)
	}
}
