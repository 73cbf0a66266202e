package remediation

import (
	"context"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// attempt is one message on its way.
type attempt struct {
	task     *task
	notifier Notifier
	news     news
	message  Notification
	digest   string
	first    bool // It was not tried before.
}

// start begins an attempt.
func (l *lane) start(t *task, n news) attempt {
	t.busy, t.muted = true, false
	l.inFlight++
	version := t.digest
	if n == reminder { // Each reminder is a message of its own.
		version += "-" + strconv.FormatInt(t.sent.At.Unix(), 36)
	}
	return attempt{
		task:     t,
		notifier: l.notifier,
		news:     n,
		digest:   t.digest,
		first:    t.attempts == 0,
		message: Notification{
			Key:      t.key,
			Digest:   version,
			Receiver: l.id.receiver,
			Incident: t.incident,
			Link:     l.engine.opts.Link(t.incident),
			Handle:   t.sent.Handle,
			Repeat:   n == reminder || n == refresh,
		},
	}
}

// attempt sends a message and notes what became of it. It outlives ctx by as long as one attempt
// may take, lest a message be sent whose fate nobody knows.
func (l *lane) attempt(ctx context.Context, a attempt) {
	ctx = context.WithoutCancel(ctx)
	m := l.engine.metrics
	if !a.first {
		m.retries.WithLabelValues(l.id.integration).Inc()
	}
	begin := time.Now()
	handle, err := l.notify(ctx, &a)
	now := time.Now()
	m.duration.WithLabelValues(l.id.integration).Observe(now.Sub(begin).Seconds())

	sent, changed := a.outcome(handle, err, now)
	if changed {
		l.save(ctx, sent)
	}
	l.engine.mu.Lock()
	record, noteworthy := l.settle(a, sent, err, now)
	l.engine.mu.Unlock()
	l.signal()
	if noteworthy {
		l.engine.opts.Record(record)
	}
}

func (l *lane) notify(ctx context.Context, a *attempt) (handle string, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.engine.opts.Timeout)
	defer cancel()
	return a.notifier.Notify(ctx, a.message)
}

// save puts into the ledger what a receiver knows. If that fails, people are told all the same.
func (l *lane) save(ctx context.Context, s Sent) {
	if l.engine.opts.Ledger == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.engine.opts.Timeout)
	defer cancel()
	if err := l.engine.opts.Ledger.Save(ctx, s); err != nil {
		l.engine.metrics.unsaved.Inc()
		l.logger.Error("Saving what a receiver knows failed, a restart may tell it again",
			"incident", s.Incident, "err", err)
	}
}

// outcome returns what the receiver knows after an attempt, and whether that is news to the
// ledger.
func (a *attempt) outcome(handle string, err error, now time.Time) (sent Sent, changed bool) {
	i := &a.message.Incident
	sent = a.task.sent // Nobody changes it while the task is busy.
	sent.Key, sent.Incident = a.message.Key, i.ID
	if handle != "" && handle != sent.Handle {
		sent.Handle, changed = handle, true
	}
	switch {
	case err != nil && changed:
		sent.At, sent.Partial = now, true
	case err == nil && a.news != refresh:
		sent.State, sent.Severity, sent.Acts, sent.Digest = i.State, i.Severity, acts(i), a.digest
		sent.At, sent.Partial, changed = now, false, true
	}
	return sent, changed
}

// settle ends an attempt. The record is worth keeping unless it says again what is known.
func (l *lane) settle(a attempt, sent Sent, err error, now time.Time) (r Record, noteworthy bool) {
	t := a.task
	t.busy, t.sent = false, sent
	l.inFlight--
	outcome, result := OutcomeSent, resultSent
	if err == nil {
		t.attempts, t.backoff, t.retry, t.hopeless = 0, nil, time.Time{}, ""
		t.refreshed = now
		l.lastSuccess, l.failures, l.reason = now, 0, ""
		noteworthy = a.news != refresh
	} else {
		outcome, result = l.failed(t, a, err, now)
		noteworthy = outcome == OutcomeGivenUp || a.first
	}
	l.engine.metrics.notifications.WithLabelValues(l.id.integration, result).Inc()
	r = l.record(t, outcome, "", now)
	r.State, r.Severity = a.message.Incident.State, a.message.Incident.Severity
	r.Repeat, r.Attempt = a.news == reminder, t.attempts
	if err != nil {
		r.Reason = err.Error()
	}
	if l.tasks[t.incident.ID] == t {
		l.touch(t, now)
	}
	return r, noteworthy
}

// failed notes a failure and when to try again.
func (l *lane) failed(t *task, a attempt, err error, now time.Time) (Outcome, string) {
	t.attempts++
	l.lastFailure, l.reason = now, err.Error()
	l.failures++
	permanent, after := judgeError(err)
	args := []any{"incident", t.incident.ID, "attempt", t.attempts, "err", err}
	if permanent {
		t.hopeless = rank(&a.message.Incident)
		l.logger.Error("Notification given up", args...)
		return OutcomeGivenUp, resultGivenUp
	}
	if t.backoff == nil {
		t.backoff = &backoff.ExponentialBackOff{
			InitialInterval:     l.engine.opts.MinBackoff,
			RandomizationFactor: 0.3,
			Multiplier:          2,
			MaxInterval:         l.engine.opts.MaxBackoff,
		}
		t.backoff.Reset()
	}
	t.retry = now.Add(t.backoff.NextBackOff())
	if after > 0 { // The receiver means all messages, not this one.
		l.paused = now.Add(min(after, l.engine.opts.MaxBackoff))
	}
	if t.attempts == 1 {
		l.logger.Warn("Notification failed, it is tried again", args...)
	} else {
		l.logger.Debug("Notification failed again", args...)
	}
	return OutcomeFailed, resultFailed
}
