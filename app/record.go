package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/api"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/release"
	"tocsin/store/journal"
)

// The kinds of event that the daemon writes into the journal. Each has the ID of what it is about as key.
const (
	kindFinding      = "finding"
	kindChange       = "change"
	kindIncident     = "incident"
	kindNotification = "notification" // What became of a message.
	kindSent         = "sent"         // The ledger: what each receiver has been told.
	kindFeedback     = api.KindFeedback
	kindRelease      = api.KindRelease // How far a release is, and what it was judged to be.
	kindMark         = "mark"          // What a person says of a revision.
	kindAction       = "action"        // What is done about a release.
	kindPause        = "pause"         // What stops actions.
	kindBad          = "bad_images"    // Images that were judged bad.
	kindAlarm        = "alarm"
	kindCheck        = "check" // Of the judge of releases, by quiet history.
	kindReload       = "reload"
	kindStart        = "start"
)

// recorder brings findings, changes and the time of each cluster to the incident manager, one after the other, and
// writes down the first two. It decouples those that watch from the disk.
type recorder struct {
	journal   *journal.Journal
	incidents *incident.Manager
	releases  *release.Manager
	logger    *slog.Logger
	inbox     chan occurrence // As many as may wait; those who send wait when it is full: nothing is dropped.
	seen      *recent         // Changes that are written down.
	rosters   rosters
	nodes     nodeTrouble
}

// occurrence is one of a finding, a change, an instant of a cluster, and the end of a cluster.
type occurrence struct {
	finding *detector.Finding
	change  *fleet.Change
	cluster string
	at      time.Time       // Of the instant; zero: the cluster is no longer watched.
	scored  []fleet.Service // At the instant.
	settled chan struct{}   // Instead of all that: closed when everything before is recorded.
}

func newRecorder(
	j *journal.Journal, m *incident.Manager, rel *release.Manager, logger *slog.Logger, reg prometheus.Registerer,
) *recorder {
	r := &recorder{
		journal:   j,
		incidents: m,
		releases:  rel,
		logger:    logger,
		inbox:     make(chan occurrence, 4096),
		seen:      newRecent(10_000),
		rosters:   rosters{scored: make(map[string][]fleet.Service)},
		nodes:     nodeTrouble{last: make(map[fleet.Service]time.Time)},
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tocsin_app_inbox_occurrences",
		Help: "Findings, changes and instants that wait to be recorded.",
	}, func() float64 { return float64(len(r.inbox)) }))
	return r
}

// find implements detector.Options.Report.
func (r *recorder) find(f detector.Finding) { r.inbox <- occurrence{finding: &f} }

// change implements kube.Options.Report.
func (r *recorder) change(c fleet.Change) { r.inbox <- occurrence{change: &c} }

// advance implements detector.Options.Services. What happened before an instant comes before it in the inbox.
func (r *recorder) advance(s *detector.ServiceScores) {
	if !s.History {
		r.inbox <- occurrence{cluster: s.Cluster, at: s.At, scored: r.rosters.of(s)}
	}
}

// settle waits until everything that is in the inbox now is recorded, or ctx is done.
func (r *recorder) settle(ctx context.Context) error {
	settled := make(chan struct{})
	select {
	case r.inbox <- occurrence{settled: settled}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remove forgets a cluster after all that was still to be said of it.
func (r *recorder) remove(cluster string) { r.inbox <- occurrence{cluster: cluster} }

// Run records until ctx is done and what had arrived by then is recorded. Those who send must have stopped before.
func (r *recorder) Run(ctx context.Context) error {
	for {
		select {
		case o := <-r.inbox:
			r.take(o)
		case <-ctx.Done():
			for {
				select {
				case o := <-r.inbox:
					r.take(o)
				default:
					return nil
				}
			}
		}
	}
}

func (r *recorder) take(o occurrence) {
	switch {
	case o.finding != nil:
		f := o.finding
		r.journal.Record(journal.Entry{Kind: kindFinding, Key: f.ID, At: f.At, Data: f})
		r.logger.Debug("Finding", "id", f.ID, "state", f.State, "service", f.Service, "signal", f.Signal,
			"score", f.Score, "observed", f.Observed, "expected", f.Expected)
		r.incidents.Find(*f)
	case o.change != nil:
		r.takeChange(o.change)
	case o.settled != nil:
		close(o.settled)
	case o.at.IsZero():
		r.rosters.remove(o.cluster)
		r.incidents.Remove(o.cluster)
	default:
		r.incidents.Scored(o.cluster, o.at, o.scored)
		r.incidents.Advance(o.cluster, o.at)
	}
}

// takeChange writes a change down once. A watcher that starts anew may report what it reported before; a group of
// events is reported again as it grows.
func (r *recorder) takeChange(c *fleet.Change) {
	version := c.At
	if c.Event != nil {
		version = c.Event.Last
	}
	if r.seen.add(c.ID, version) {
		r.journal.Record(journal.Entry{Kind: kindChange, Key: c.ID, At: version, Data: c})
		r.logger.Info("Change", "kind", c.Kind, "service", c.Service, "summary", c.Summary, "author", c.Author)
	}
	r.incidents.Change(*c)
	r.releases.Change(*c)
	r.nodes.note(c)
}

// recent remembers the newest versions of the last so many keys.
type recent struct {
	limit int
	order []string
	at    map[string]time.Time
}

func newRecent(limit int) *recent {
	return &recent{limit: limit, at: make(map[string]time.Time)}
}

// add remembers a version of key and tells whether it is newer than the one that was known.
func (r *recent) add(key string, at time.Time) bool {
	known, ok := r.at[key]
	if ok && !at.After(known) {
		return false
	}
	if !ok {
		if len(r.order) >= r.limit {
			delete(r.at, r.order[0])
			r.order = r.order[1:]
		}
		r.order = append(r.order, key)
	}
	r.at[key] = at
	return true
}
