package detector

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector/budget"
	"tocsin/detector/kernel/arena"
	"tocsin/series"
)

// ErrStopped means that Run has returned.
var ErrStopped = errors.New("detector stopped")

// Options configures an Engine. Zero values of optional fields stand for the defaults given here.
// The functions are called from the goroutine of a shard, concurrently for clusters of different
// shards, and must not block for long nor call the Engine.
type Options struct {
	Signals  []Signal             // What may come. Batches of other signals are dropped and counted.
	Registry *series.Registry     // Required. The one that the senders of batches use.
	Scores   func(*Scores)        // Told of every tick; nobody.
	Services func(*ServiceScores) // Told of every instant, after its scores and findings; nobody.
	Report   func(Finding)        // Told of findings, by instant, service and signal; nobody.
	Shards   int                  // Goroutines that share the clusters; as many as processors.
	Inbox    int                  // Batches that may wait at each shard; 256.
	Tuning   Tuning
	Budget   Budget
	Reg      prometheus.Registerer // Nil keeps the metrics private.
	Logger   *slog.Logger          // Discards.
}

// Tuning says when a score is a finding. Zero values stand for the defaults given here.
type Tuning struct {
	OpenScore   float64       // The least score that the budget may open a finding at; 3.5.
	CloseScore  float64       // A finding ends below half of what opened it, or below this; 2.
	OpenAfter   int           // Ticks, of OpenOf, that open a finding; 3.
	OpenOf      int           // 5, at most 8.
	CloseAfter  int           // Consecutive ticks that close one; 6.
	WarmUp      int           // Samples a series needs before it is scored; 60.
	StaleAfter  time.Duration // Silence after which a finding ends; 10m, at least 5 ticks.
	ForgetAfter time.Duration // Silence after which a series is forgotten; 168h.
	AbsorbAfter time.Duration // What lasts so long without growing is normal; 2h, at least 120 ticks.
	Period      time.Duration // Of the season; 24h.
}

func (t *Tuning) defaults() error {
	t.OpenScore = or(t.OpenScore, 3.5)
	t.CloseScore = or(t.CloseScore, min(2, t.OpenScore))
	t.OpenAfter = or(t.OpenAfter, 3)
	t.OpenOf = or(t.OpenOf, max(5, t.OpenAfter))
	t.CloseAfter = or(t.CloseAfter, 6)
	t.WarmUp = or(t.WarmUp, 30)
	t.StaleAfter = or(t.StaleAfter, 10*time.Minute)
	t.ForgetAfter = or(t.ForgetAfter, 7*24*time.Hour)
	t.AbsorbAfter = or(t.AbsorbAfter, 2*time.Hour)
	t.Period = or(t.Period, 24*time.Hour)
	switch {
	case t.CloseScore > t.OpenScore:
		return fmt.Errorf("close score %g is above open score %g", t.CloseScore, t.OpenScore)
	case t.OpenAfter < 1 || t.OpenAfter > t.OpenOf || t.OpenOf > 8:
		return fmt.Errorf("open after %d of %d ticks: want 1 to 8 of at most 8", t.OpenAfter, t.OpenOf)
	case t.CloseAfter < 1 || t.WarmUp < 2:
		return fmt.Errorf("close after %d, warm up %d: want at least 1 and 2", t.CloseAfter, t.WarmUp)
	case t.StaleAfter < 0 || t.ForgetAfter < t.StaleAfter || t.AbsorbAfter < 0:
		return errors.New("durations must be positive, and forgetting later than staleness")
	case t.Period < time.Minute:
		return fmt.Errorf("period %s is shorter than a minute", t.Period)
	}
	return nil
}

func or[T comparable](value, byDefault T) T {
	var zero T
	if value == zero {
		return byDefault
	}
	return value
}

// Engine scores batches and reports findings. Its methods may be called concurrently.
type Engine struct {
	opts     Options
	logger   *slog.Logger
	metrics  *metrics
	shards   []*shard
	batches  sync.Pool // Of *series.Batch: copies on their way to a shard.
	exchange *budget.Exchange
	memory   *arena.Pool   // Of all columns.
	stopped  chan struct{} // Closed when Run has returned.

	mu      sync.Mutex // Guards what follows, and the shards while no Run is under way.
	running bool
	ran     bool
}

var _ series.Sink = (*Engine)(nil)

// New returns an engine that knows nothing. It does nothing until Run.
func New(opts Options) (*Engine, error) {
	if opts.Registry == nil {
		return nil, errors.New("detector: no registry")
	}
	if err := opts.Tuning.defaults(); err != nil {
		return nil, fmt.Errorf("detector: tuning: %w", err)
	}
	if err := opts.Budget.defaults(); err != nil {
		return nil, fmt.Errorf("detector: budget: %w", err)
	}
	if err := checkSignals(opts.Signals); err != nil {
		return nil, fmt.Errorf("detector: %w", err)
	}
	opts.Shards = or(max(opts.Shards, 0), runtime.GOMAXPROCS(0))
	opts.Inbox = or(max(opts.Inbox, 0), 256)
	opts.Logger = or(opts.Logger, slog.New(slog.DiscardHandler))
	e := &Engine{
		opts:     opts,
		logger:   opts.Logger.With("component", "detector"),
		metrics:  newMetrics(opts.Reg),
		batches:  sync.Pool{New: func() any { return new(series.Batch) }},
		exchange: budget.NewExchange(opts.Budget.Clusters),
		memory:   new(arena.Pool),
		stopped:  make(chan struct{}),
	}
	for range opts.Shards {
		e.shards = append(e.shards, newShard(e, opts.Signals))
	}
	e.metrics.watchInboxes(opts.Reg, e.shards)
	e.metrics.watchMemory(opts.Reg, e.memory)
	return e, nil
}

// Append hands a copy of b to the shard of its cluster. It implements series.Sink.
func (e *Engine) Append(ctx context.Context, b *series.Batch) error {
	if len(b.Refs) != len(b.Values) || b.Cluster == "" || b.At.IsZero() {
		return fmt.Errorf("detector: bad batch of %s of %q: %d refs, %d values, at %s",
			b.Signal, b.Cluster, len(b.Refs), len(b.Values), b.At)
	}
	mine := e.batches.Get().(*series.Batch)
	refs, values := mine.Refs, mine.Values
	*mine = *b
	mine.Refs = append(refs[:0], b.Refs...)
	mine.Values = append(values[:0], b.Values...)
	select {
	case e.shard(b.Cluster).inbox <- mine:
		return nil
	default:
	}
	select {
	case e.shard(b.Cluster).inbox <- mine:
		return nil
	case <-ctx.Done():
		e.metrics.dropped[dropBehind].Add(float64(len(b.Refs)))
		return fmt.Errorf("detector: hand over %s of %s: %w", b.Signal, b.Cluster, ctx.Err())
	case <-e.stopped:
		e.metrics.dropped[dropBehind].Add(float64(len(b.Refs)))
		return ErrStopped
	}
}

func (e *Engine) shard(cluster string) *shard {
	h := fnv.New32a()
	_, _ = h.Write([]byte(cluster)) // Never fails.
	return e.shards[h.Sum32()%uint32(len(e.shards))]
}

// Run works until ctx is done, finishes what has arrived by then, and returns nil. It can be
// called once.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.ran {
		e.mu.Unlock()
		return errors.New("detector: run twice")
	}
	e.ran, e.running = true, true
	e.mu.Unlock()

	var wg sync.WaitGroup
	for _, s := range e.shards {
		wg.Go(func() { s.run(ctx) })
	}
	wg.Wait()

	e.mu.Lock()
	e.running = false
	e.mu.Unlock()
	close(e.stopped)
	return nil
}

// on calls f when nobody else touches s, after all batches that have arrived; done gives up
// waiting.
func (e *Engine) on(done <-chan struct{}, s *shard, f func()) error {
	e.mu.Lock()
	if !e.running {
		defer e.mu.Unlock()
		s.settle()
		f()
		return nil
	}
	e.mu.Unlock()
	finished := make(chan struct{})
	select {
	case s.control <- func() { f(); close(finished) }:
		<-finished
		return nil
	case <-e.stopped:
		return e.on(done, s, f)
	case <-done:
		return errors.New("detector: gave up waiting for a shard")
	}
}

// onAll calls f for each shard in turn.
func (e *Engine) onAll(done <-chan struct{}, f func(*shard)) error {
	for _, s := range e.shards {
		if err := e.on(done, s, func() { f(s) }); err != nil {
			return err
		}
	}
	return nil
}

// SetSignals replaces the signals. A signal that is gone, or that is of another kind now, is
// forgotten with its findings; one that only changed its gates keeps what it has learnt.
func (e *Engine) SetSignals(signals []Signal) error {
	if err := checkSignals(signals); err != nil {
		return fmt.Errorf("detector: %w", err)
	}
	return e.onAll(nil, func(s *shard) { s.setSignals(slices.Clone(signals)) })
}

// RemoveCluster forgets a cluster and resolves its findings. The next Snapshot removes its file.
func (e *Engine) RemoveCluster(name string) error {
	s := e.shard(name)
	return e.on(nil, s, func() { s.removeCluster(name) })
}

// Keep removes all clusters but those named.
func (e *Engine) Keep(clusters ...string) error {
	return e.onAll(nil, func(s *shard) {
		for _, name := range s.names() {
			if !slices.Contains(clusters, name) {
				s.removeCluster(name)
			}
		}
	})
}

// LastAt returns the newest instant of a cluster that is complete; zero if there is none. Batches
// up to there would be dropped: history is of use only after it.
func (e *Engine) LastAt(cluster string) time.Time {
	var at time.Time
	s := e.shard(cluster)
	if err := e.on(nil, s, func() {
		if c := s.clusters[cluster]; c != nil {
			at = c.closed
		}
	}); err != nil {
		return time.Time{}
	}
	return at
}
