// Package config reads the configuration file: its fields, their defaults, and what is wrong.
package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// maxSize bounds a configuration file. A thousand clusters need a third of it.
const maxSize = 1 << 20

// Duration is a time.Duration that is written as Prometheus does: 30s, 5m, 1d.
type Duration = model.Duration

// Config is the configuration file. Defaults are filled in: of the global section into
// clusters, of a route into its children, of packs into the signals that change them.
type Config struct {
	// Fields are decoded in this order: what is inherited stands before those who inherit it.

	// How sources are asked, unless a cluster says otherwise.
	Global Global `yaml:"global"`
	// Which of the shipped signals are asked for.
	Packs PackChoice `yaml:"packs"`
	// What is watched. At least one cluster, here or in `clusters_from`.
	Clusters []Cluster `yaml:"clusters"`
	// Clusters that are found in kubeconfig files.
	ClustersFrom []ClusterSource `yaml:"clusters_from,omitempty"`
	// Signals of your own, and changes to shipped ones. See signals.md.
	Signals []Signal `yaml:"signals,omitempty"`
	// What the pods of a release are asked for: of your own, and changes to what is shipped. See
	// signals.md.
	Pods []PodSet `yaml:"pods,omitempty"`
	// How many pages people accept; it says which scores open findings. See budget.md.
	Alerting Alerting `yaml:"alerting"`
	// When a deviation becomes a finding, beyond what the budget says.
	Detection Detection `yaml:"detection"`
	// Which findings become one incident.
	Incidents Incidents `yaml:"incidents"`
	// How releases are judged while they roll out.
	Releases Releases `yaml:"releases"`
	// What is done about releases that have regressed. See rollback.md.
	Remediation Remediation `yaml:"remediation"`
	// Who hears of which incidents. Without a route they are kept and shown, and nobody is told.
	Route *Route `yaml:"route,omitempty"`
	// Where notifications go.
	Receivers []Receiver `yaml:"receivers,omitempty"`
	// Named times of the week or the year that routes refer to.
	TimeIntervals []TimeInterval `yaml:"time_intervals,omitempty"`
	// What is kept on disk, and for how long.
	Storage Storage `yaml:"storage"`
	// The daemon's own HTTP server.
	Web Web `yaml:"web"`
	// The daemon's own log.
	Log Log `yaml:"log"`
}

// Global says how sources are asked, and what bounds all clusters.
type Global struct {
	Collection `yaml:",inline"`

	// Series that one cluster may have; those beyond it are refused, and status says so.
	MaxSeriesPerCluster int `yaml:"max_series_per_cluster"`
}

// Collection says how the source of a cluster is asked.
type Collection struct {
	// Distance between two instants. Each signal is asked once for each.
	Interval Duration `yaml:"interval"`
	// How long after an instant it is asked for: what the source needs to have all samples of it.
	Lag Duration `yaml:"lag"`
	// What `$window` in a query stands for, the range of rates. At least twice the longest scrape
	// interval of the source; four times is better.
	Window Duration `yaml:"window"`
	// When a query is given up.
	QueryTimeout Duration `yaml:"query_timeout"`
	// Queries at once.
	Concurrency int `yaml:"concurrency"`
	// What is learnt from the source's own history at start.
	Backfill Backfill `yaml:"backfill"`
}

// Backfill says how history is fetched when a cluster starts.
type Backfill struct {
	// Whether history is fetched at all.
	Enabled bool `yaml:"enabled"`
	// How far back. A day teaches the daily profile.
	Window Duration `yaml:"window"`
	// Points of each series that one query may ask for; longer ranges are split. Prometheus refuses
	// more than 11000.
	MaxPointsPerQuery int `yaml:"max_points_per_query"`
	// Queries started in a second.
	MaxQueriesPerSecond float64 `yaml:"max_queries_per_second"`
}

// Detection says when a deviation becomes a finding, beyond what the budget of `alerting` says. A
// score is -log10 of the probability of a value that is at least as unusual: 4 is one in ten
// thousand.
type Detection struct {
	// For experts: whatever the budget allows, a score below this opens no finding.
	OpenScore float64 `yaml:"open_score"`
	// A finding opens when scores are at or above what the budget allows in this many ticks ...
	OpenAfter int `yaml:"open_after"`
	// ... of this many, at most 8.
	OpenOf int `yaml:"open_of"`
	// A finding resolves when scores stay below half of what opened it, or below this, ...
	CloseScore float64 `yaml:"close_score"`
	// ... for this many ticks in a row.
	CloseAfter int `yaml:"close_after"`
	// Samples that a series is learnt from before it is scored.
	WarmUp int `yaml:"warm_up"`
	// The finding of a series that gave no sample for this long resolves: the series has ended.
	StaleAfter Duration `yaml:"stale_after"`
	// What was learnt of a series that gave no sample for this long is forgotten.
	ForgetAfter Duration `yaml:"forget_after"`
	// A deviation that lasts this long is the new normal.
	AbsorbAfter Duration `yaml:"absorb_after"`
	// Length of the season that is learnt.
	Period Duration `yaml:"period"`
}

// Incidents says what belongs together.
type Incidents struct {
	// How long after a finding has opened an incident waits for others that belong to it.
	GroupWait Duration `yaml:"group_wait"`
	// Findings of services that move together within this time are one incident.
	RelatedWindow Duration `yaml:"related_window"`
	// How long all findings of an incident must have been over before it is resolved. One that
	// begins again in that time is the same incident.
	Hold Duration `yaml:"hold"`
	// How long before an incident a change may have caused it.
	CauseWindow Duration `yaml:"cause_window"`
	// Milder incidents are kept and shown, and nobody is told: info, warning or critical.
	MinSeverity string `yaml:"min_severity"`
}

// Web configures the daemon's own HTTP server. Flags and the environment come before it.
type Web struct {
	// Address to listen on. Flag --web.listen-address.
	ListenAddress string `yaml:"listen_address"`
	// URL under which people reach the daemon, for links in notifications. Flag --web.external-url.
	ExternalURL string `yaml:"external_url,omitempty"`
	// File with TLS and authentication of the server, in the format of the Prometheus exporter
	// toolkit. Flag --web.config.file.
	ConfigFile string `yaml:"config_file,omitempty"`
}

// Log configures the daemon's own log. Flags and the environment come before it.
type Log struct {
	// debug, info, warn or error. Flag --log.level.
	Level string `yaml:"level"`
	// logfmt or json. Flag --log.format.
	Format string `yaml:"format"`
}

// Default returns the configuration that an empty file would give. It has no clusters.
func Default() *Config {
	return &Config{
		Global: Global{
			Collection: Collection{
				Interval:     duration(15 * time.Second),
				Lag:          duration(10 * time.Second),
				Window:       duration(2 * time.Minute),
				QueryTimeout: duration(10 * time.Second),
				Concurrency:  4,
				Backfill: Backfill{
					Enabled:             true,
					Window:              duration(24 * time.Hour),
					MaxPointsPerQuery:   11_000,
					MaxQueriesPerSecond: 10,
				},
			},
			MaxSeriesPerCluster: 50_000,
		},
		Packs:    PackChoice{Enabled: PackNames{auto}},
		Alerting: Alerting{Budget: Budget{PagesPerWeek: 2, Per: perService}},
		Detection: Detection{
			OpenScore:   3.5,
			OpenAfter:   3,
			OpenOf:      5,
			CloseScore:  2,
			CloseAfter:  6,
			WarmUp:      30,
			StaleAfter:  duration(10 * time.Minute),
			ForgetAfter: duration(7 * 24 * time.Hour),
			AbsorbAfter: duration(2 * time.Hour),
			Period:      duration(24 * time.Hour),
		},
		Incidents: Incidents{
			GroupWait:     duration(15 * time.Second),
			RelatedWindow: duration(5 * time.Minute),
			Hold:          duration(5 * time.Minute),
			CauseWindow:   duration(time.Hour),
			MinSeverity:   "warning",
		},
		Releases:    defaultReleases(),
		Remediation: defaultRemediation(),
		Storage:     defaultStorage(),
		Web:         Web{ListenAddress: ":9977"},
		Log:         Log{Level: "info", Format: "logfmt"},
	}
}

// Load reads the file at path. Paths in it are relative to its folder, and must exist.
// The error is Errors if the file could be read.
func Load(path string) (*Config, error) {
	text, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, d := parse(path, text)
	c.setDirectory(filepath.Dir(path))
	d.checkFiles()
	return d.result()
}

// Parse reads text, the content of the file called name. It looks at no other file.
// The error is Errors.
func Parse(name string, text []byte) (*Config, error) {
	_, d := parse(name, text)
	return d.result()
}

// String returns c as YAML, with the secrets masked.
func (c *Config) String() string {
	text, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Sprintf("# marshal configuration: %v\n", err)
	}
	return string(text)
}

// read reads a file but for what is beyond maxSize, so that a mistyped path to something
// huge is refused and not loaded.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // Nothing was written.
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

func duration(d time.Duration) Duration { return Duration(d) }
