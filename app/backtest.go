package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"tocsin/collectors/promql"
	"tocsin/config"
	"tocsin/detector"
	"tocsin/series"
)

// BacktestOptions says what to test. Zero values of optional fields stand for the defaults given
// here.
type BacktestOptions struct {
	Config *config.Config // Required.
	Start  time.Time      // Required. Incidents that open from here on count,
	End    time.Time      // up to here. Now.
	// How long before Start learning begins, as far as the sources have it; negative: not at all. 14d.
	WarmUp   time.Duration
	Step     time.Duration // Between instants; the interval of each cluster.
	Clusters []string      // Names; all of the configuration.
	Labels   string        // CSV file of what is known to have happened; none.
	Parallel int           // Clusters at a time; 2.

	// Progress is told how much is done, from 0 to 1, and of which instant of which cluster. It is
	// called by one goroutine at a time. Nobody.
	Progress func(done float64, cluster string, at time.Time)
	Logger   *slog.Logger // Discards.
}

// InputError is something that was asked for and cannot be: a cell of a file, or a flag.
type InputError struct {
	File    string // Empty: it was not in a file.
	Line    int    // 0: it is the file as a whole.
	Problem string
}

func (e *InputError) Error() string {
	switch {
	case e.File == "":
		return e.Problem
	case e.Line == 0:
		return e.File + ": " + e.Problem
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Problem)
}

func inputError(format string, args ...any) *InputError {
	return &InputError{Problem: fmt.Sprintf(format, args...)}
}

// Backtest runs the past of the configured clusters through the detector and the incident manager
// of the daemon, and says what people would have been told. What was asked for wrongly is an
// *InputError, a source that does not answer a *promql.SourceError. The same past gives the same
// report.
func Backtest(ctx context.Context, opts BacktestOptions) (*BacktestReport, error) {
	if err := opts.validate(time.Now()); err != nil {
		return nil, err
	}
	clusters, err := opts.choose()
	if err != nil {
		return nil, err
	}
	var labels []BacktestLabel
	if opts.Labels != "" {
		if labels, err = readLabels(opts.Labels, opts.Config); err != nil {
			return nil, err
		}
	}
	b := &backtest{opts: opts, clusters: clusters, done: make(map[string]float64)}
	if err := b.reach(ctx); err != nil {
		return nil, err
	}
	results := make([]*backtestCluster, len(clusters))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(opts.Parallel)
	for _, members := range b.groups() {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return b.group(ctx, members, results)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return newBacktestReport(&opts, results, labels)
}

// validate checks o and fills in defaults.
func (o *BacktestOptions) validate(now time.Time) error {
	if o.Config == nil {
		return errors.New("backtest: no configuration")
	}
	if o.End.IsZero() {
		o.End = now.Add(-time.Minute).Truncate(time.Minute)
	}
	o.WarmUp = max(cmp.Or(o.WarmUp, 14*24*time.Hour), 0)
	if o.Parallel <= 0 {
		o.Parallel = 2
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Start, o.End = o.Start.UTC(), o.End.UTC()
	switch {
	case o.Start.IsZero():
		return inputError("no start: say with --start where the test begins")
	case !o.Start.Before(o.End):
		return inputError("start %s is not before end %s", o.Start.Format(time.RFC3339),
			o.End.Format(time.RFC3339))
	case o.End.After(now):
		return inputError("end %s lies in the future", o.End.Format(time.RFC3339))
	case o.Step < 0:
		return inputError("step %s is negative", o.Step)
	}
	return nil
}

// choose returns the clusters to test.
func (o *BacktestOptions) choose() ([]config.Cluster, error) {
	return chooseClusters(o.Config, o.Clusters, func(c *config.Cluster) error {
		interval := time.Duration(c.Interval)
		if o.Step < interval && o.Step != 0 || o.Step%interval != 0 {
			return inputError("step %s: cluster %s has an interval of %s; want a multiple of it", o.Step,
				c.Name, interval)
		}
		if o.End.Sub(o.Start) < cmp.Or(o.Step, interval) {
			return inputError("no instant of cluster %s lies between start and end", c.Name)
		}
		return nil
	})
}

// chooseClusters returns the clusters of a configuration with the given names, all if there are
// none.
func chooseClusters(
	c *config.Config, names []string, check func(*config.Cluster) error,
) ([]config.Cluster, error) {
	all, err := clusterList(c)
	if err != nil {
		return nil, err
	}
	known := make([]string, len(all))
	for i := range all {
		known[i] = all[i].Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, inputError("no cluster is called %q; want one of %s", name, enumerate(known))
		}
	}
	var out []config.Cluster
	for i := range all {
		if len(names) > 0 && !slices.Contains(names, all[i].Name) {
			continue
		}
		if err := check(&all[i]); err != nil {
			return nil, err
		}
		out = append(out, all[i])
	}
	if len(out) == 0 {
		return nil, inputError("the configuration names no cluster")
	}
	slices.SortFunc(out, func(a, b config.Cluster) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// enumerate lists some names.
func enumerate(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

// backtest is a test under way.
type backtest struct {
	opts     BacktestOptions
	clusters []config.Cluster

	mu   sync.Mutex // Guards what follows.
	done map[string]float64
}

// progress adds up what is done of all clusters.
func (b *backtest) progress(cluster string, at time.Time) {
	if b.opts.Progress == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	from := b.opts.Start.Add(-b.opts.WarmUp)
	b.done[cluster] = float64(at.Sub(from)) / float64(b.opts.End.Sub(from)) / float64(len(b.clusters))
	sum := 0.0
	for _, d := range b.done {
		sum += d
	}
	b.opts.Progress(min(sum, 1), cluster, at)
}

// budget returns how many pages people accept from the clusters that are tested: those that are not
// keep their share of what is for a team or the fleet.
func (o *BacktestOptions) budget(tested int) detector.Budget {
	out := budget(o.Config)
	if out.Per != detector.PerService && out.Clusters > 0 {
		out.PagesPerWeek *= float64(tested) / float64(out.Clusters)
		out.Clusters = tested
	}
	return out
}

// reach makes sure that all sources answer before hours are spent on some of them.
func (b *backtest) reach(ctx context.Context) error {
	registry := series.NewRegistry(0)
	return forEach(b.clusters, reachParallel, func(_ int, cluster *config.Cluster) error {
		source, err := b.source(cluster, registry, &planSink{})
		if err != nil {
			return err
		}
		return source.Reach(ctx)
	})
}

const reachParallel = 8

// forEach calls do for all clusters, some at a time, and returns all errors in order.
func forEach(
	clusters []config.Cluster, parallel int, do func(i int, cluster *config.Cluster) error,
) error {
	errs := make([]error, len(clusters))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i := range clusters {
		g.Go(func() error {
			errs[i] = do(i, &clusters[i])
			return nil
		})
	}
	_ = g.Wait() // The errors are in their places.
	return errors.Join(errs...)
}

// groups returns the places in b.clusters of those that share a budget.
func (b *backtest) groups() [][]int {
	var out [][]int
	together := b.opts.budget(len(b.clusters)).Per != detector.PerService
	for i := range b.clusters {
		if together && i > 0 {
			out[0] = append(out[0], i)
		} else {
			out = append(out, []int{i})
		}
	}
	return out
}

// group tests clusters that share a budget: they have one detector, built as the daemon's is.
func (b *backtest) group(ctx context.Context, members []int, results []*backtestCluster) error {
	registry := series.NewRegistry(b.opts.Config.Global.MaxSeriesPerCluster)
	witnesses := make(map[string]*witness, len(members))
	for _, i := range members {
		w, err := newWitness(&b.clusters[i], &b.opts, registry)
		if err != nil {
			return err
		}
		witnesses[w.name] = w
	}
	options := detectorOptions(b.opts.Config)
	options.Budget = b.opts.budget(len(b.clusters))
	options.Registry, options.Shards = registry, min(len(members), runtime.GOMAXPROCS(0))
	options.Scores = func(s *detector.Scores) { witnesses[s.Cluster].tracer.scores(s) }
	options.Services = func(s *detector.ServiceScores) { witnesses[s.Cluster].instant(s) }
	options.Report = func(f detector.Finding) { witnesses[f.Service.Cluster].find(f) }
	engine, err := detector.New(options)
	if err != nil {
		return fmt.Errorf("build the detector: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1) // Holds what Run returns.
	go func() { done <- engine.Run(running) }()
	convoy := newConvoy(len(members), b.opts.Parallel)
	pasts := make([]promql.Past, len(members))
	g, ctx := errgroup.WithContext(ctx)
	for n, i := range members {
		g.Go(func() (err error) {
			pasts[n], err = b.replay(ctx, &b.clusters[i], registry, engine, convoy)
			return err
		})
	}
	err = g.Wait()
	stop()
	if err := errors.Join(err, <-done); err != nil {
		return err
	}
	for n, i := range members {
		results[i] = witnesses[b.clusters[i].Name].result(pasts[n])
	}
	return nil
}

// replay reads the past of one cluster, as far as the convoy is.
func (b *backtest) replay(
	ctx context.Context, cluster *config.Cluster, registry *series.Registry, engine *detector.Engine,
	convoy *convoy,
) (promql.Past, error) {
	began := time.Now()
	source, err := b.source(cluster, registry, engine)
	if err != nil {
		return promql.Past{}, err
	}
	convoy.enter()
	defer convoy.leave()
	step := cmp.Or(b.opts.Step, time.Duration(cluster.Interval))
	past, err := source.Replay(ctx, promql.History{
		From: b.opts.Start.Add(-b.opts.WarmUp), To: b.opts.End, Step: step,
		Progress: func(at time.Time, _ int) {
			b.progress(cluster.Name, at)
			if !at.Truncate(aDay).Equal(at.Add(step).Truncate(aDay)) {
				engine.LastAt(cluster.Name) // It waits until the day is judged.
				convoy.wait(ctx)
			}
		},
	})
	if err != nil {
		return past, err
	}
	b.opts.Logger.Info("Cluster is tested", "cluster", cluster.Name, "instants", past.Instants,
		"values", past.Values,
		"queries", past.Queries, "bytes", past.Bytes, "took", time.Since(began).Round(time.Millisecond))
	return past, nil
}

// source builds what reads a cluster's past, asking as much of it as a backfill would.
func (b *backtest) source(
	cluster *config.Cluster, registry *series.Registry, sink series.Sink,
) (*promql.Source, error) {
	queries, err := queries(b.opts.Config, cluster)
	if err != nil {
		return nil, err
	}
	return clusterSource(cluster, promql.Options{
		Queries: queries, Registry: registry, Sink: sink, Backfill: backfillLimits(cluster),
		Logger: b.opts.Logger,
	})
}

// clusterSource builds a source that is asked as the configuration says.
func clusterSource(cluster *config.Cluster, o promql.Options) (*promql.Source, error) {
	client, err := promql.NewHTTPClient(cluster.Prometheus.Client(),
		time.Duration(cluster.QueryTimeout))
	if err != nil {
		return nil, fmt.Errorf("build the HTTP client of cluster %s: %w", cluster.Name, err)
	}
	o.Cluster, o.URL, o.Client = cluster.Name, string(cluster.Prometheus.URL), client
	o.Interval, o.Lag = time.Duration(cluster.Interval), time.Duration(cluster.Lag)
	o.Window, o.Timeout = time.Duration(cluster.Window), time.Duration(cluster.QueryTimeout)
	o.Concurrency = cluster.Concurrency
	s, err := promql.New(o)
	if err != nil {
		return nil, fmt.Errorf("build the source of cluster %s: %w", cluster.Name, err)
	}
	return s, nil
}

// backfillLimits returns what may be asked of a source's history, whether the daemon asks for it or
// not.
func backfillLimits(cluster *config.Cluster) promql.Backfill {
	on := *cluster
	on.Backfill.Enabled = true
	return backfill(on, nil)
}
