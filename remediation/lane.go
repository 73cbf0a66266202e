package remediation

import (
	"container/heap"
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"tocsin/incident"
)

// laneID names a notifier: the number tells those of one receiver and integration apart.
type laneID struct {
	receiver, integration string
	number                int
}

// key is the dedupe key of an incident in this lane.
func (id laneID) key(incident string) string {
	return id.receiver + "/" + id.integration + "/" + strconv.Itoa(id.number) + "/" + incident
}

// lane brings incidents to one notifier. The engine's mutex guards all but what is given.
type lane struct {
	engine *Engine
	id     laneID
	logger *slog.Logger
	wake   chan struct{} // Holds one: a task may be due.

	notifier Notifier
	tasks    map[string]*task // By the incident's ID.
	queue    queue
	inFlight int
	closed   bool

	paused      time.Time // The receiver has asked for it.
	lastSuccess time.Time
	lastFailure time.Time
	failures    int
	reason      string
}

func newLane(e *Engine, id laneID, n Notifier) *lane {
	return &lane{
		engine:   e,
		id:       id,
		logger:   e.logger.With("receiver", id.receiver, "integration", id.integration),
		wake:     make(chan struct{}, 1),
		notifier: n,
		tasks:    make(map[string]*task),
	}
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// offer brings the task of an incident up to date; route is nil if the receiver is not to hear of
// it.
func (l *lane) offer(i *incident.Incident, route *Route, now time.Time) {
	t := l.tasks[i.ID]
	if t == nil {
		key := l.id.key(i.ID)
		sent := l.engine.known[key]
		if !sent.told() && (route == nil || i.State == incident.Resolved) {
			return
		}
		opened := i.Opened
		if opened.After(now) { // The cluster's clock is ahead of ours.
			opened = now
		}
		t = &task{key: key, sent: sent, opened: opened, refreshed: sent.At, index: -1}
		l.tasks[i.ID] = t
	}
	if i.State == incident.Resolved && t.ended.IsZero() {
		t.ended = now
	}
	t.incident, t.digest, t.route = *i, digest(i), route
	l.touch(t, now)
}

// touch has a task looked at now.
func (l *lane) touch(t *task, now time.Time) {
	if !t.busy {
		l.queue.set(t, now)
	}
	l.signal()
}

// replace gives the lane another notifier, which gets what the old one has not managed to tell.
func (l *lane) replace(n Notifier, now time.Time) {
	l.notifier = n
	l.paused = time.Time{}
	for _, t := range l.tasks {
		t.hopeless, t.retry, t.backoff = "", time.Time{}, nil
		l.touch(t, now)
	}
}

// close ends the lane, because its receiver is gone.
func (l *lane) close(now time.Time) []Record {
	l.closed = true
	l.signal()
	var out []Record
	for _, t := range l.tasks {
		if t.pending {
			out = append(out, l.record(t, OutcomeSkipped, skippedRemoved, now))
			l.engine.metrics.skipped.WithLabelValues(skipLabels[skippedRemoved]).Inc()
		}
		l.drop(t)
	}
	return out
}

// drop forgets a task.
func (l *lane) drop(t *task) {
	l.setPending(t, false)
	l.queue.remove(t)
	delete(l.tasks, t.incident.ID)
	delete(l.engine.known, t.key)
}

func (l *lane) setPending(t *task, pending bool) {
	if t.pending == pending {
		return
	}
	t.pending = pending
	depth := l.engine.metrics.depth.WithLabelValues(l.id.integration)
	if pending {
		depth.Inc()
	} else {
		depth.Dec()
	}
}

// run tells the notifier what is due until ctx is done or the lane is closed, and then waits for
// what is under way.
func (l *lane) run(ctx context.Context) {
	var sending sync.WaitGroup
	defer sending.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		l.engine.mu.Lock()
		attempts, records, next := l.dispatch(time.Now())
		closed := l.closed
		l.engine.mu.Unlock()
		for _, r := range records {
			l.engine.opts.Record(r)
		}
		for _, a := range attempts {
			sending.Go(func() { l.attempt(ctx, a) })
		}
		if closed {
			return
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// dispatch takes what is due, as far as there is room, and returns what to send, what to record
// and when to look again.
func (l *lane) dispatch(now time.Time) (attempts []attempt, records []Record, next time.Time) {
	for len(l.queue) > 0 && !l.closed {
		t := l.queue[0]
		if t.due.After(now) {
			return attempts, records, t.due
		}
		if l.inFlight >= l.engine.opts.Concurrency {
			return attempts, records, time.Time{} // The end of an attempt wakes the lane.
		}
		heap.Pop(&l.queue)
		n, s := l.decide(t, now)
		l.setPending(t, n != nothing && n != refresh && !s.finish)
		switch {
		case s.finish:
			if s.reason != "" {
				records = append(records, l.record(t, OutcomeSkipped, s.reason, now))
				l.engine.metrics.skipped.WithLabelValues(skipLabels[s.reason]).Inc()
			}
			l.drop(t)
		case s.hold:
			if s.reason != "" && !t.muted {
				records = append(records, l.record(t, OutcomeMuted, s.reason, now))
				l.engine.metrics.muted.WithLabelValues(l.id.integration).Inc()
			}
			t.muted = s.reason != ""
			if !s.at.IsZero() {
				l.queue.set(t, s.at)
			}
		default:
			attempts = append(attempts, l.start(t, n))
		}
	}
	return attempts, records, time.Time{}
}

func (l *lane) record(t *task, o Outcome, reason string, now time.Time) Record {
	return Record{
		At:          now,
		Key:         t.key,
		Receiver:    l.id.receiver,
		Integration: l.id.integration,
		Incident:    t.incident.ID,
		State:       t.incident.State,
		Severity:    t.incident.Severity,
		Outcome:     o,
		Reason:      reason,
	}
}

func (l *lane) status() Status {
	s := Status{
		Receiver:    l.id.receiver,
		Integration: l.id.integration,
		LastSuccess: l.lastSuccess,
		LastFailure: l.lastFailure,
		Failures:    l.failures,
		Reason:      l.reason,
	}
	if l.paused.After(time.Now()) {
		s.PausedUntil = l.paused
	}
	for _, t := range l.tasks {
		if t.pending {
			s.Pending++
		}
		if t.pending && t.muted {
			s.Muted++
		}
		if t.attempts > 0 {
			s.Failing++
		}
	}
	return s
}
