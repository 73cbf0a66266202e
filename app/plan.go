package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"tocsin/collectors/promql"
	"tocsin/config"
	"tocsin/detector"
	"tocsin/series"
)

// PlanOptions says what to plan. Zero values of optional fields stand for the defaults given here.
type PlanOptions struct {
	Config   *config.Config // Required.
	Clusters []string       // Names; all of the configuration.
	Horizon  time.Duration  // Disk is planned for this time; as long as things are kept.
	Parallel int            // Clusters at a time; 8.
	Costs    *PlanCosts     // Measured here.
	Logger   *slog.Logger   // Discards.
}

// Plan is what a configuration will need.
type Plan struct {
	Costs    PlanCosts     `json:"costs"`
	Clusters []PlanCluster `json:"clusters"`
	Total    PlanNeed      `json:"total"`
	Disk     PlanDisk      `json:"disk"`
	Limits   PlanLimits    `json:"limits"`
	Notes    []string      `json:"notes"`
}

// PlanCluster is what one cluster needs.
type PlanCluster struct {
	Name    string       `json:"name"`
	Signals []PlanSignal `json:"signals"`
	PlanNeed
}

// PlanSignal is what one signal of a cluster consists of.
type PlanSignal struct {
	Signal  string  `json:"signal"`
	Pack    string  `json:"pack,omitempty"`
	State   string  `json:"state"`
	Reason  string  `json:"reason,omitempty"`
	Counted int     `json:"counted"` // Series that the source counts.
	Series  int     `json:"series"`
	Bytes   int64   `json:"answer_bytes"`
	Seconds float64 `json:"answer_seconds"`
}

// PlanNeed is what a cluster, or all of them, need.
type PlanNeed struct {
	Series           int     `json:"series"`
	ValuesPerSecond  float64 `json:"values_per_second"`
	QueriesPerSecond float64 `json:"queries_per_second"` // To the sources.
	BytesPerRound    int64   `json:"bytes_per_round"`    // Of answers, once every interval.
	BytesPerSecond   float64 `json:"bytes_per_second"`
	SourceSeconds    float64 `json:"source_seconds_per_round"` // That queries took together.
	MemoryBytes      float64 `json:"memory_bytes"`
	Cores            float64 `json:"cores"`
}

// PlanDisk is what is kept.
type PlanDisk struct {
	HorizonSeconds float64 `json:"horizon_seconds"`
	Scores         float64 `json:"scores_bytes"`
	Journal        float64 `json:"journal_bytes"`
	Snapshots      float64 `json:"snapshots_bytes"`
	Total          float64 `json:"total_bytes"` // With storage.min_free.
}

// PlanLimits are what the chart's values should be.
type PlanLimits struct {
	CPURequest    string `json:"cpu_request"`
	MemoryRequest string `json:"memory_request"`
	MemoryLimit   string `json:"memory_limit"`
	Persistence   string `json:"persistence_size"`
}

// MakePlan asks the sources of the configured clusters once for everything that the daemon would
// ask them for at every tick, measures what a series costs on this machine, and adds up. What was
// asked for wrongly is an *InputError, a source that does not answer a *promql.SourceError.
func MakePlan(ctx context.Context, opts PlanOptions) (*Plan, error) {
	if opts.Config == nil {
		return nil, errors.New("plan: no configuration")
	}
	if opts.Horizon < 0 {
		return nil, inputError("horizon %s is negative", opts.Horizon)
	}
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	clusters, err := chooseClusters(opts.Config, opts.Clusters,
		func(*config.Cluster) error { return nil })
	if err != nil {
		return nil, err
	}
	p := &Plan{Clusters: make([]PlanCluster, len(clusters)), Notes: []string{}}
	if opts.Costs == nil {
		if p.Costs, err = measureCosts(ctx); err != nil {
			return nil, err
		}
	} else {
		p.Costs = *opts.Costs
	}
	services := make([]map[string]bool, len(clusters))
	parallel := max(cmp.Or(opts.Parallel, 8), 1)
	err = forEach(clusters, parallel, func(i int, cluster *config.Cluster) error {
		var err error
		p.Clusters[i], services[i], err = survey(ctx, &opts, cluster)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.add(&opts, clusters, services)
	return p, nil
}

// survey counts what one cluster has.
func survey(
	ctx context.Context, opts *PlanOptions, cluster *config.Cluster,
) (PlanCluster, map[string]bool, error) {
	out := PlanCluster{Name: cluster.Name}
	queries, err := queries(opts.Config, cluster)
	if err != nil {
		return out, nil, err
	}
	registry := series.NewRegistry(math.MaxInt32) // That there are too many is to be seen.
	source, err := clusterSource(cluster, promql.Options{
		Queries: queries, Registry: registry, Sink: &planSink{}, Logger: opts.Logger,
	})
	if err != nil {
		return out, nil, err
	}
	found, err := source.Survey(ctx)
	if err != nil {
		return out, nil, err
	}
	asked := 0
	for _, s := range found.Signals {
		out.Signals = append(out.Signals, PlanSignal{
			Signal: s.Signal, Pack: s.Pack, State: string(s.State), Reason: s.Reason,
			Counted: s.Count, Series: s.Series,
			Bytes: s.Bytes, Seconds: s.Took.Seconds(),
		})
		if s.State == promql.Off {
			continue
		}
		asked++
		out.Series += max(s.Series, s.Count*btoi(s.State == promql.Failing))
		out.BytesPerRound += s.Bytes
		out.SourceSeconds += s.Took.Seconds()
	}
	interval := time.Duration(cluster.Interval).Seconds()
	out.ValuesPerSecond = float64(out.Series) / interval
	out.BytesPerSecond = float64(out.BytesPerRound) / interval
	out.QueriesPerSecond = float64(asked)/interval + float64(len(found.Packs))/probeEvery.Seconds()
	services := make(map[string]bool)
	for _, id := range registry.All("") {
		services[id.Service.String()] = true
	}
	return out, services, nil
}

// probeEvery is how often the daemon looks for packs.
const probeEvery = 5 * time.Minute

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

const (
	// idleBytes is what a daemon takes that watches nothing, and idleCores what it spends.
	idleBytes = 60 << 20
	idleCores = 0.004
	// clusterBytes is what a cluster takes beside its series: a connection, a buffer for answers,
	// metrics.
	clusterBytes = 400 << 10
	// garbage is how much memory the garbage collector's default lets grow for what is reachable.
	garbage = 2
	// httpNS is what a value costs between the socket and the decoder, and queryNS what a query does.
	httpNS  = 140
	queryNS = 500_000
)

// add sums up what the clusters need.
func (p *Plan) add(opts *PlanOptions, clusters []config.Cluster, services []map[string]bool) {
	c, t := opts.Config, &p.Total
	series := 0
	for i := range p.Clusters {
		series += p.Clusters[i].Series
	}
	detail := float64(min(series, max(c.Storage.DetailSignals, 0)))
	stored := float64(series) + 4*detail
	perSeries := 0.0 // Stored series for each.
	if series > 0 {
		perSeries = stored / float64(series)
	}
	units := 0
	for i := range p.Clusters {
		k := &p.Clusters[i]
		n := float64(k.Series)
		k.MemoryBytes = clusterBytes + garbage*n*(p.Costs.SeriesBytes+perSeries*p.Costs.HeadBytes)
		value := httpNS + p.Costs.DecodeNS + p.Costs.ScoreNS + perSeries*p.Costs.WriteNS
		k.Cores = (k.ValuesPerSecond*value + k.QueriesPerSecond*queryNS) / 1e9
		t.Series += k.Series
		t.ValuesPerSecond += k.ValuesPerSecond
		t.QueriesPerSecond += k.QueriesPerSecond
		t.BytesPerRound += k.BytesPerRound
		t.BytesPerSecond += k.BytesPerSecond
		t.SourceSeconds += k.SourceSeconds
		t.MemoryBytes += k.MemoryBytes
		t.Cores += k.Cores
		units += len(services[i])
		p.note(c, &clusters[i], k)
	}
	t.MemoryBytes += idleBytes
	t.Cores += idleCores
	p.disk(opts, perSeries, units)
	p.limit()
}

// disk says what is kept after the horizon.
func (p *Plan) disk(opts *PlanOptions, perSeries float64, services int) {
	s := &opts.Config.Storage
	kept := func(retention config.Duration) float64 {
		d := time.Duration(retention)
		if opts.Horizon > 0 {
			d = min(d, opts.Horizon)
		}
		return d.Seconds()
	}
	d := &p.Disk
	d.HorizonSeconds = cmp.Or(opts.Horizon, max(time.Duration(s.Retention),
		time.Duration(s.JournalRetention))).Seconds()
	samples := p.Total.ValuesPerSecond * perSeries // In a second.
	d.Scores = samples * (kept(s.Retention)*p.Costs.SampleBytes + logFor.Seconds()*p.Costs.LogBytes)
	pages := budget(opts.Config)
	perWeek := pages.PagesPerWeek
	if pages.Per == detector.PerService {
		perWeek *= float64(services)
	}
	d.Journal = perWeek * kept(s.JournalRetention) / aWeek.Seconds() * p.Costs.JournalBytes
	// With names, and the file that is being written.
	d.Snapshots = float64(p.Total.Series) * p.Costs.StateBytes * 1.2
	d.Total = d.Scores + d.Journal + d.Snapshots
	if s.MinFree.Percent > 0 {
		d.Total /= 1 - s.MinFree.Percent/100
	} else {
		d.Total += float64(s.MinFree.Bytes)
	}
}

// limit leaves room above the estimate: half as much again for processors and memory, a fifth for
// the disk.
func (p *Plan) limit() {
	const mib = 1 << 20
	up := func(v, to float64) float64 { return math.Ceil(v/to) * to }
	p.Limits = PlanLimits{
		CPURequest:    fmt.Sprintf("%.0fm", up(max(1500*p.Total.Cores, 100), 50)),
		MemoryRequest: fmt.Sprintf("%.0fMi", up(p.Total.MemoryBytes/mib, 64)),
		MemoryLimit:   fmt.Sprintf("%.0fMi", up(1.5*p.Total.MemoryBytes/mib, 128)),
		Persistence:   fmt.Sprintf("%.0fGi", max(up(1.2*p.Disk.Total/(1<<30), 1), 2)),
	}
}

// note says what a person should look at.
func (p *Plan) note(c *config.Config, cluster *config.Cluster, k *PlanCluster) {
	say := func(format string, args ...any) {
		p.Notes = append(p.Notes, k.Name+": "+fmt.Sprintf(format, args...))
	}
	if k.Series > c.Global.MaxSeriesPerCluster {
		say("%d series are more than global.max_series_per_cluster, %d: the rest would be refused",
			k.Series, c.Global.MaxSeriesPerCluster)
	}
	if k.Series == 0 {
		say("no series: is the selector right, and is there a pack for its metrics?")
	}
	interval := time.Duration(cluster.Interval).Seconds()
	if busy := k.SourceSeconds / float64(max(cluster.Concurrency, 1)); busy > interval/2 {
		say("a round takes %.1fs with %d queries at once, of an interval of %.0fs: ask less often",
			busy, cluster.Concurrency, interval)
	}
	i := slices.IndexFunc(k.Signals,
		func(s PlanSignal) bool { return s.State == string(promql.Failing) })
	if i >= 0 {
		say("signal %s was not answered, and is counted as the source counts it: %s",
			k.Signals[i].Signal, k.Signals[i].Reason)
	}
}
