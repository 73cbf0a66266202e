package journal

import "time"

// maxBufferBytes is what recorded entries may take in memory.
const maxBufferBytes = 64 << 20

// Record takes entries into a buffer and returns at once. The writer tries until the disk has
// them: findings are not lost because it is full for a while. Should the buffer fill up, a newer
// entry takes the place of an older one of its kind and key, then the oldest go; both are counted
// and logged. A crash loses what is in the buffer.
func (j *Journal) Record(entries ...Entry) {
	now := time.Now()
	var rows []row
	for _, e := range entries {
		encoded, err := encode([]Entry{e}, now)
		if err != nil {
			j.metrics.dropped.WithLabelValues(reasonEncode).Inc()
			j.logger.Error("Event has no form in JSON and was lost", "err", err)
		}
		rows = append(rows, encoded...)
	}
	j.mu.Lock()
	for _, r := range rows {
		j.hold(r)
	}
	j.metrics.queue.WithLabelValues(queueRecord).Set(float64(len(j.buffer)))
	j.mu.Unlock()
	j.signal()
}

// hold puts r into the buffer. j.mu is held.
func (j *Journal) hold(r row) {
	full := len(j.buffer) >= j.opts.Buffer || j.bufferBytes+len(r.data) > maxBufferBytes
	if full {
		for i := j.inFlight; i < len(j.buffer); i++ {
			if old := &j.buffer[i]; old.kind == r.kind && old.key == r.key {
				j.bufferBytes += len(r.data) - len(old.data)
				*old = r
				j.metrics.dropped.WithLabelValues(reasonSuperseded).Inc()
				return
			}
		}
		j.dropOldest()
	}
	j.buffer = append(j.buffer, r)
	j.bufferBytes += len(r.data)
}

// dropOldest makes room in the buffer: a sixteenth of it, for it is not cheap. j.mu is held.
func (j *Journal) dropOldest() {
	n := min(1+len(j.buffer)/16, len(j.buffer)-j.inFlight)
	for _, r := range j.buffer[j.inFlight : j.inFlight+n] {
		j.bufferBytes -= len(r.data)
	}
	j.buffer = append(j.buffer[:j.inFlight], j.buffer[j.inFlight+n:]...)
	j.metrics.dropped.WithLabelValues(reasonBuffer).Add(float64(n))
	j.logger.Error("Journal buffer is full and events were lost", "events", n, "err", j.writeError)
}
