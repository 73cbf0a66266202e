package tsdb

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/notifications"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// upstreamVersion is the Prometheus whose API this is. Clients decide by it what they may ask for.
const upstreamVersion = "3.15.0"

// maxForm bounds the body of a query.
const maxForm = 1 << 20

// paths are those of the upstream API that only read. The others (admin, write, targets) are not
// served.
var paths = regexp.MustCompile(`^/api/v1/(` + strings.Join([]string{
	"query", "query_range", "query_exemplars", "format_query", "parse_query",
	"series", "labels", "label/[^/]+/values", "metadata", "rules", "alerts",
	"status/(config|runtimeinfo|buildinfo|flags|tsdb|walreplay)",
}, "|") + `)$`)

// newHandler serves the read-only part of the upstream API.
func newHandler(d *DB) http.Handler {
	router := route.New()
	newAPI(d).Register(router.WithPrefix("/api/v1"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !paths.MatchString(r.URL.Path):
			http.NotFound(w, r)
			return
		case r.URL.Path == "/api/v1/status/config":
			d.serveConfig(w)
			return
		}
		d.metrics.queries.Inc()
		defer d.metrics.queries.Dec()
		ctx, cancel := context.WithTimeout(r.Context(), d.opts.Timeout)
		defer cancel()
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		router.ServeHTTP(w, r.WithContext(ctx))
	})
}

// serveConfig shows tocsin's configuration in the form in which Prometheus shows its own.
func (d *DB) serveConfig(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	data := map[string]string{"yaml": d.opts.Config()}
	answer := map[string]any{"status": "success", "data": data}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		d.logger.Debug("Client went away", "err", err)
	}
}

// newAPI returns the upstream API over d. Of its many dependencies those that tocsin has no use
// for are given as what is always empty, for it calls them without looking whether they are nil.
func newAPI(d *DB) *v1.API {
	var none nothing
	return v1.NewAPI(
		d.engine,
		d.db,
		nil, nil, // Appendables: remote write is off.
		exemplars{},
		func(context.Context) v1.ScrapePoolsRetriever { return none },
		func(context.Context) v1.TargetRetriever { return none },
		func(context.Context) v1.AlertmanagerRetriever { return none },
		func() config.Config { return config.Config{} },
		d.opts.Flags,
		v1.GlobalURLOptions{},
		func(f http.HandlerFunc) http.HandlerFunc { return f }, // It is ready once Open has returned.
		stats{d.db},
		d.opts.Dir,
		false,    // Admin.
		false, 0, // Search.
		d.logger.With("component", "api"),
		func(context.Context) v1.RulesRetriever { return none },
		0, 0, 0, // Remote read is not served.
		false, // Agent.
		nil,   // No other origins.
		d.runtimeInfo,
		&v1.PrometheusVersion{
			Version:   upstreamVersion,
			Revision:  "tocsin " + d.opts.Version,
			GoVersion: runtime.Version(),
		},
		func() []notifications.Notification { return nil },
		func() (<-chan notifications.Notification, func(), bool) { return nil, func() {}, false },
		prometheus.NewRegistry(),
		nil,
		nil,
		false, nil, // Remote write.
		false, false, false, // OTLP.
		false,
		5*time.Minute,
		false,
		false,
		nil,
		nil,
		v1.OpenAPIOptions{},
		parser.NewParser(parser.Options{}),
	)
}

func (d *DB) runtimeInfo() (v1.RuntimeInfo, error) {
	host, err := os.Hostname()
	return v1.RuntimeInfo{
		StartTime:           d.started,
		Hostname:            host,
		ServerTime:          d.opts.now(),
		ReloadConfigSuccess: true,
		LastConfigTime:      d.started,
		GoroutineCount:      runtime.NumGoroutine(),
		GOMAXPROCS:          runtime.GOMAXPROCS(0),
		GOGC:                os.Getenv("GOGC"),
		GODEBUG:             os.Getenv("GODEBUG"),
		StorageRetention:    d.opts.Retention.String(),
	}, err
}

// nothing is every retriever that the upstream API wants, without anything to retrieve.
type nothing struct{}

func (nothing) ScrapePools() []string                       { return nil }
func (nothing) TargetsActive() map[string][]*scrape.Target  { return nil }
func (nothing) TargetsDropped() map[string][]*scrape.Target { return nil }
func (nothing) TargetsDroppedCounts() map[string]int        { return nil }
func (nothing) Alertmanagers() []*url.URL                   { return nil }
func (nothing) DroppedAlertmanagers() []*url.URL            { return nil }
func (nothing) RuleGroups() []*rules.Group                  { return nil }
func (nothing) AlertingRules() []*rules.AlertingRule        { return nil }
func (nothing) ScrapePoolConfig(string) (*config.ScrapeConfig, error) {
	return nil, errors.New("tocsin has no scrape pools")
}

// stats shows what the API may see of the database, and refuses what would change it.
type stats struct{ db *tsdb.DB }

var errReadOnly = errors.New("read only")

func (stats) CleanTombstones() error { return errReadOnly }

func (stats) Delete(context.Context, int64, int64, ...*labels.Matcher) error { return errReadOnly }

func (stats) Snapshot(string, bool) error { return errReadOnly }

func (s stats) Stats(label string, limit int) (*tsdb.Stats, error) {
	return s.db.Head().Stats(label, limit), nil
}

// WALReplayStatus says that all is done: Open returns only then.
func (stats) WALReplayStatus() (tsdb.WALReplayStatus, error) { return tsdb.WALReplayStatus{}, nil }

func (s stats) BlockMetas() ([]tsdb.BlockMeta, error) { return s.db.BlockMetas(), nil }

// exemplars is a storage without any.
type exemplars struct{}

func (exemplars) ExemplarQuerier(context.Context) (storage.ExemplarQuerier, error) {
	return exemplars{}, nil
}

func (exemplars) Select(int64, int64, ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	return nil, nil
}
