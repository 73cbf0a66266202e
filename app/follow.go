package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/sync/errgroup"

	"tocsin/collectors/kube"
	"tocsin/collectors/promql"
	"tocsin/fleet"
	"tocsin/release"
)

// looks is how many workloads of a cluster are looked at at the same time.
const looks = 8

// stretches bounds how often a source is asked in one round for what does not fit into one answer:
// the rest is asked for in the next round.
const stretches = 4

// onlooker sees how far rollouts are.
type onlooker interface {
	Look(context.Context, fleet.Service, fleet.Workload) (kube.Progress, error)
	Rolling() []kube.Target
	Status() kube.Status
}

// podSource knows what pods did.
type podSource interface {
	Pods(context.Context, promql.PodRange) (promql.PodHistory, error)
}

// follower brings to the manager of releases what is known of those that run in one cluster. While
// none runs it asks nobody for anything.
type follower struct {
	cluster  string
	interval time.Duration
	watcher  onlooker
	source   podSource
	manager  *release.Manager
	vouch    func(release string, now time.Time) // Told of each that was looked at.
	metrics  *followMetrics
	logger   *slog.Logger

	round sync.Mutex // Held during a round: samples arrive in the order of time. Guards what follows.
	begun bool       // What was rolling out before anybody watched is known.
	last  time.Time  // When the newest round began.
}

// followMetrics count what is asked because of releases.
type followMetrics struct {
	rounds   *prometheus.CounterVec
	failures *prometheus.CounterVec
	queries  prometheus.Counter
	samples  prometheus.Counter
	duration prometheus.Histogram
}

func newFollowMetrics(reg prometheus.Registerer) *followMetrics {
	f := promauto.With(reg)
	m := &followMetrics{
		rounds: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_app_release_rounds_total",
			Help: "Rounds in which running releases were looked at, by cluster.",
		}, []string{"cluster"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "tocsin_app_release_failures_total",
			Help: "What could not be learnt of a running release in a round.",
		}, []string{"what"}),
		queries: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_app_release_queries_total",
			Help: "Queries for the pods of running releases.",
		}),
		samples: f.NewCounter(prometheus.CounterOpts{
			Name: "tocsin_app_release_samples_total",
			Help: "Samples of pods of running releases.",
		}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "tocsin_app_release_round_seconds",
			Help:    "How long a round took.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
		}),
	}
	for _, what := range []string{"look", "pods"} {
		m.failures.WithLabelValues(what)
	}
	return m
}

// Run follows releases until ctx is done.
func (f *follower) Run(ctx context.Context) error {
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			f.follow(ctx, now)
		}
	}
}

// follow makes one round: it looks at the rollouts, fetches what their pods did, and has the
// releases judged. What cannot be learnt is missing evidence, and is tried again in the next round.
func (f *follower) follow(ctx context.Context, now time.Time) {
	f.round.Lock()
	defer f.round.Unlock()
	f.last = now
	wants := append(f.manager.Wanted(f.cluster, now), f.underWay()...)
	if len(wants) > 0 {
		began := time.Now()
		f.metrics.rounds.WithLabelValues(f.cluster).Inc()
		f.look(ctx, wants)
		wants = f.manager.Wanted(f.cluster, now)
		for _, w := range wants {
			if w.Release != "" {
				f.vouch(w.Release, now)
			}
		}
		f.fetch(ctx, wants)
		f.metrics.duration.Observe(time.Since(began).Seconds())
	}
	if ctx.Err() == nil {
		f.manager.Advance(f.cluster, now)
	}
}

// refresh makes a round unless one began a moment ago: several actions may ask for it at once.
func (f *follower) refresh(ctx context.Context, now time.Time) {
	f.round.Lock()
	recent := now.Sub(f.last) < time.Second
	f.round.Unlock()
	if !recent {
		f.follow(ctx, now)
	}
}

// underWay returns, once, the workloads that are rolling out when the watcher has come to know them:
// nobody has told of these releases.
func (f *follower) underWay() []release.Want {
	if f.begun || !f.watcher.Status().Synced {
		return nil
	}
	f.begun = true
	var out []release.Want
	for _, t := range f.watcher.Rolling() {
		out = append(out, release.Want{Key: release.Key{Service: t.Service, Workload: t.Workload}})
	}
	return out
}

// look has the manager know how far each rollout is.
func (f *follower) look(ctx context.Context, wants []release.Want) {
	var group errgroup.Group
	group.SetLimit(looks)
	for _, w := range wants {
		group.Go(func() error {
			p, err := f.watcher.Look(ctx, w.Service, w.Workload)
			switch {
			case err == nil:
				f.manager.Observe(progress(&p))
			case ctx.Err() == nil && !errors.Is(err, kube.ErrGone) && !errors.Is(err, kube.ErrUnobserved):
				f.metrics.failures.WithLabelValues("look").Inc()
				f.logger.Warn("Rollout is not seen", "service", w.Service, "err", err)
			}
			return nil
		})
	}
	_ = group.Wait() // Nobody returns an error.
}

// stretch is a stretch of time of which samples are wanted.
type stretch struct{ since, until time.Time }

// fetch has the manager know what pods did. Releases of which the same time is wanted are asked for
// together.
func (f *follower) fetch(ctx context.Context, wants []release.Want) {
	together := make(map[stretch][]release.Want)
	var order []stretch
	for _, w := range wants {
		s := stretch{w.Since, w.Until}
		if w.Release == "" || !w.Until.After(w.Since) {
			continue
		}
		if together[s] == nil {
			order = append(order, s)
		}
		together[s] = append(together[s], w)
	}
	for _, s := range order {
		if err := f.fetchStretch(ctx, s, together[s]); err != nil && ctx.Err() == nil {
			f.metrics.failures.WithLabelValues("pods").Inc()
			f.logger.Warn("What pods did is not known", "cluster", f.cluster,
				"releases", len(together[s]), "since", s.since, "err", err)
		}
	}
}

func (f *follower) fetchStretch(ctx context.Context, s stretch, wants []release.Want) error {
	r := promql.PodRange{From: s.since.Add(time.Millisecond), To: s.until, Step: f.interval}
	for _, w := range wants {
		r.Targets = append(r.Targets, promql.PodTarget{
			Service: w.Service, Pods: slices.Concat(w.Old, w.New), Match: w.Match,
		})
	}
	for range stretches {
		h, err := f.source.Pods(ctx, r)
		if err != nil {
			return fmt.Errorf("ask for the pods of %d releases: %w", len(wants), err)
		}
		f.metrics.queries.Add(float64(h.Queries))
		f.metrics.samples.Add(float64(h.Samples))
		f.logger.Debug("Pods of releases", "cluster", f.cluster, "releases", len(wants),
			"since", r.From, "until", h.Until, "queries", h.Queries, "samples", h.Samples,
			"dropped", h.Dropped, "failed", len(h.Failed))
		for _, i := range h.Instants {
			f.manager.Sample(f.cluster, i.At, samples(i.Pods))
		}
		if h.Until.IsZero() {
			return nil // No further instant is closed yet.
		}
		unknown := unanswered(h.Failed)
		for _, w := range wants {
			if !unknown[w.Service] {
				f.manager.Fetched(w.Release, h.Until)
			}
		}
		if len(unknown) > 0 || h.Until.Add(f.interval).After(s.until) {
			return nil
		}
		r.From = h.Until.Add(time.Millisecond)
	}
	return nil
}

// unanswered returns the services of which not even the traffic is known, though it may be when it
// is asked for again. What a source calls a bad query stays bad.
func unanswered(failures []promql.PodFailure) map[fleet.Service]bool {
	out := make(map[fleet.Service]bool)
	for _, failure := range failures {
		if failure.Metric == promql.PodRequests && failure.Retry {
			out[failure.Service] = true
		}
	}
	return out
}

// progress says in the manager's words what the watcher saw.
func progress(p *kube.Progress) release.Progress {
	out := release.Progress{
		Key: release.Key{Service: p.Service, Workload: p.Workload},
		At:  p.At, UID: p.UID, Strategy: release.Strategy(p.Strategy), Weight: p.Weight,
		Paused: p.Paused, Desired: p.Desired, Old: side(&p.Old), New: side(&p.New),
	}
	for _, c := range p.Conditions {
		out.Conditions = append(out.Conditions, release.Condition(c))
	}
	return out
}

func side(s *kube.Side) release.Side {
	out := release.Side{
		Hash: s.Hash, Created: s.Created, Ready: s.Ready, Available: s.Available, Match: s.Match,
	}
	for _, p := range s.Pods {
		out.Pods = append(out.Pods, release.Pod(p))
	}
	return out
}

// samples says in the manager's words what the source knows of pods.
func samples(pods []promql.PodSample) []release.Sample {
	out := make([]release.Sample, len(pods))
	for i := range pods {
		p := &pods[i]
		out[i] = release.Sample{
			Service: p.Service, Pod: p.Pod, Window: p.Window,
			Requests: p.Requests, Errors: p.Errors, ErrorsUnknown: !p.ErrorsKnown,
			CPUSeconds: p.CPUSeconds, Restarts: p.Restarts,
			MemoryBytes: p.MemoryBytes, MemoryLimit: p.MemoryLimit,
			Bounds: p.Bounds, Latency: p.Latency,
		}
	}
	return out
}
