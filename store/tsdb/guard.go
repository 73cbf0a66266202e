package tsdb

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// hysteresis is by how much more than the limit has to be free before appends go on.
const hysteresis = 1.1

// pause is how long appends stop after the disk has refused one.
const pause = 10 * time.Second

// space says how much room a file system has.
type space struct {
	free, total int64 // Bytes; free is what an ordinary user may have.
}

func statfs(dir string) (space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return space{}, fmt.Errorf("find free space of %s: %w", dir, err)
	}
	return space{
		free:  int64(s.Bavail) * s.Bsize,
		total: int64(s.Blocks) * s.Bsize,
	}, nil
}

// guard stops appends before the disk is full, for the Prometheus TSDB ends the process when it
// cannot write a chunk.
type guard struct {
	opts    *Options
	logger  *slog.Logger
	metrics *metrics
	flush   func() // Writes the chunks that are still in memory only.

	mu     sync.Mutex // Guards what follows.
	reason string     // Why appends are stopped; "" if they are not.
	until  time.Time  // Not before this time do they go on.
	space  space
}

func newGuard(opts *Options, m *metrics, flush func()) *guard {
	g := &guard{opts: opts, logger: opts.Logger, metrics: m, flush: flush}
	g.check()
	return g
}

// run looks at the free space until ctx is done.
func (g *guard) run(ctx context.Context) {
	tick, end := g.opts.poll()
	defer end()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
			g.check()
		}
	}
}

// check stops appends when space is low, and lets them go on when there is enough again.
func (g *guard) check() {
	s, err := g.opts.free(g.opts.Dir)
	g.mu.Lock()
	was := g.reason
	switch limit := g.limit(s); {
	case err != nil:
		// What cannot be known is no reason to stop: the disk will say.
		g.logger.Warn("Free space is not known", "err", err)
	case s.free < limit:
		g.reason = fmt.Sprintf("%d bytes free, fewer than %d", s.free, limit)
	case g.reason != "" && float64(s.free) >= float64(limit)*hysteresis &&
		!g.opts.now().Before(g.until):
		g.reason = ""
	}
	g.space = s
	g.show()
	now := g.reason
	g.mu.Unlock()

	g.metrics.free.Set(float64(s.free))
	switch {
	case was == "" && now != "":
		g.logger.Error("Scores are not stored: disk space is low", "reason", now, "dir", g.opts.Dir)
		g.settle()
	case was != "" && now == "":
		g.logger.Info("Scores are stored again", "dir", g.opts.Dir)
	}
}

// settle writes finished chunks while there is still room, so that none is left to be written
// when there is none.
func (g *guard) settle() {
	defer func() {
		if p := recover(); p != nil {
			g.logger.Error("Chunks were not written", "err", p)
		}
	}()
	g.flush()
}

// refused stops appends for a while because the disk has refused one.
func (g *guard) refused(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reason == "" {
		g.logger.Error("Scores are not stored: the disk refused them",
			"err", err, "dir", g.opts.Dir)
	}
	g.reason = err.Error()
	g.until = g.opts.now().Add(pause)
	g.show()
}

// limit returns how much has to be free.
func (g *guard) limit(s space) int64 {
	return max(g.opts.MinFree, int64(g.opts.MinFreeShare*float64(s.total)))
}

// show sets the metric. g.mu is held.
func (g *guard) show() {
	g.metrics.writable.Set(1)
	if g.reason != "" {
		g.metrics.writable.Set(0)
	}
}

func (g *guard) state() (writable bool, reason string, free int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.reason == "", g.reason, g.space.free
}
