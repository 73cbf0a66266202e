// Package promql pulls the signals of one cluster from any Prometheus-compatible API.
//
// A Source asks one instant query for each signal and tick. All of a tick ask for the same
// instant, a multiple of the interval, and only once it lies a lag behind: only closed windows
// are judged. What a source did not answer is a gap, never a zero; a gap that is short is filled
// by range queries when the source answers again.
package promql

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/series"
)

// Query says how one signal is asked for.
type Query struct {
	Signal string // Name of the signal, unlike that of all other queries.
	Pack   string // Name of the pack it belongs to; empty for one of the user's own.
	Expr   string // PromQL that gives one sample for each service.
	Probe  string // PromQL that gives something if the source has use for Expr; empty: always.

	// Labels that may hold the namespace and the name of the service; the first that is there
	// and not empty counts. The namespace may be missing, the service may not. A service
	// written as namespace/name gives both.
	Namespace []string
	Service   []string

	// ZeroWith names a signal. A service for which that one is above zero and this one has
	// no sample, though both were answered, has a 0 here: a counter that does not exist has
	// not counted anything.
	ZeroWith string
}

// Backfill says how a source's own history is read before the first tick.
type Backfill struct {
	Window     time.Duration // How far back; 0: not at all.
	Step       time.Duration // Distance of instants; Options.Interval.
	Budget     time.Duration // The window shrinks from its old end so that this suffices; 45s.
	MaxPoints  int           // Of each series in one answer; 11,000.
	MaxQueries float64       // In a second; 10.
	MaxValues  int           // Of all signals held at a time; 2 Mi.

	// Gate bounds how many sources hold values at a time: each sends before it asks for a
	// stretch of time and receives after. Nil: no bound.
	Gate chan struct{}
}

// Options configures a Source. Zero values of optional fields stand for the defaults given here.
type Options struct {
	Cluster  string           // Required.
	URL      string           // Required. Address of the API, without /api/v1.
	Client   *http.Client     // Required. NewHTTPClient makes one.
	Queries  []Query          // At least one.
	Pods     []PodQuery       // What pods are asked for while a release runs; nothing.
	Selector string           // Label matchers of this cluster's series; the queries have them already.
	Registry *series.Registry // Required.
	Sink     series.Sink      // Required.

	Interval    time.Duration // Distance of instants; 15s.
	Lag         time.Duration // How long after an instant it is asked for; 10s.
	Window      time.Duration // Range of the rates in Queries; Interval.
	Spread      time.Duration // Queries of a tick start within this; half of Interval.
	Timeout     time.Duration // Of one query; 10s.
	Concurrency int           // Queries at a time; 4.
	CatchUp     time.Duration // How much of an outage is asked for after it; 5m.
	ProbeEvery  time.Duration // How often packs are looked for; 5m.
	RetryOff    time.Duration // When a query that the source called bad is tried again; 10m.
	StaleAfter  time.Duration // Without an answer; 45s, or 3 intervals if those are longer.
	MaxBytes    int64         // Of an answer; 64 MiB.

	// Since is the last instant that Sink has of this cluster: nothing up to it is sent again.
	// Zero: Sink has none.
	Since    time.Time
	Backfill Backfill

	Logger *slog.Logger          // Discards.
	Reg    prometheus.Registerer // Nil keeps the metrics private. Sources may share one.
}

// validate checks o and fills in defaults.
func (o *Options) validate() error {
	u, err := url.Parse(o.URL)
	switch {
	case o.Cluster == "":
		return errors.New("no name of the cluster")
	case err != nil:
		// What url.Parse says holds the URL, and that may hold a password.
		return errors.New("the URL is not well-formed")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return errors.New("the URL does not begin with http:// or https:// and a host")
	case o.Client == nil, o.Registry == nil, o.Sink == nil:
		return errors.New("no client, registry or sink")
	case len(o.Queries) == 0:
		return errors.New("no queries")
	}
	fill(&o.Interval, 15*time.Second)
	fill(&o.Lag, 10*time.Second)
	fill(&o.Spread, o.Interval/2)
	fill(&o.Timeout, 10*time.Second)
	fill(&o.Concurrency, 4)
	fill(&o.CatchUp, 5*time.Minute)
	fill(&o.ProbeEvery, 5*time.Minute)
	fill(&o.RetryOff, 10*time.Minute)
	fill(&o.StaleAfter, max(45*time.Second, 3*o.Interval))
	fill(&o.MaxBytes, 64<<20)
	fill(&o.Logger, slog.New(slog.DiscardHandler))
	return o.validateTimes()
}

// validateTimes checks what must fit together. Instants are counted in milliseconds.
func (o *Options) validateTimes() error {
	b := &o.Backfill
	fill(&b.Step, o.Interval)
	fill(&b.Budget, 45*time.Second)
	fill(&b.MaxPoints, 11_000)
	fill(&b.MaxQueries, 10)
	fill(&b.MaxValues, 2<<20)
	switch {
	case o.Interval < time.Millisecond || o.Interval%time.Millisecond != 0:
		return fmt.Errorf("interval %s: want whole milliseconds", o.Interval)
	case o.Lag < 0, o.Timeout < 0, o.CatchUp < 0, o.Concurrency < 0, o.MaxBytes < 0:
		return errors.New("a lag, timeout, catch-up, concurrency or size below zero")
	case o.Spread < 0 || o.Spread >= o.Interval:
		return fmt.Errorf("spread %s: want less than the interval of %s", o.Spread, o.Interval)
	case b.Window < 0, b.Step < o.Interval, b.Step%o.Interval != 0:
		return fmt.Errorf("backfill of %s by %s: want steps of whole intervals", b.Window, b.Step)
	case b.MaxPoints < 1, b.MaxQueries < 0, b.MaxValues < 1:
		return errors.New("a bound of the backfill below one")
	}
	return nil
}

// fill sets what is zero to its default.
func fill[T comparable](field *T, byDefault T) {
	var zero T
	if *field == zero {
		*field = byDefault
	}
}
