package remediation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/incident"
)

// Options configures an Engine. Zero values of optional fields stand for the defaults given here.
type Options struct {
	Policy Policy // What Apply changes later.

	Ledger Ledger                         // Nil: a restart tells everything again.
	Record func(Record)                   // Told what became of notifications; nobody. May block.
	Link   func(incident.Incident) string // Where people see it; nowhere.

	// Labels of a cluster, for matchers; none. It must not call the Engine.
	Labels func(cluster string) map[string]string

	Timeout     time.Duration // Of one attempt; 10s.
	Update      time.Duration // Between two edits that change neither state nor severity; 30s.
	MinBackoff  time.Duration // Before the second attempt; 1s.
	MaxBackoff  time.Duration // Between two attempts, also if a receiver asks for more; 5m.
	Expire      time.Duration // How long the end of an incident is worth telling; 24h.
	Concurrency int           // Attempts at the same time, for each notifier; 4.

	Reg    prometheus.Registerer // Nil keeps the metrics private.
	Logger *slog.Logger          // Discards.
}

func (o *Options) setDefaults() {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&o.Timeout, 10 * time.Second},
		{&o.Update, 30 * time.Second},
		{&o.MinBackoff, time.Second},
		{&o.MaxBackoff, 5 * time.Minute},
		{&o.Expire, 24 * time.Hour},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	if o.Labels == nil {
		o.Labels = func(string) map[string]string { return nil }
	}
	if o.Link == nil {
		o.Link = func(incident.Incident) string { return "" }
	}
	if o.Record == nil {
		o.Record = func(Record) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Engine tells receivers of incidents. Its methods may be called concurrently.
//
// Every notifier of every receiver has a lane with one task for each incident, so that one which
// hangs delays no other, and what waits is bounded by the incidents that there are.
type Engine struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics
	wake    chan struct{} // Holds one: lanes have come.

	mu        sync.Mutex // Guards what follows, and all lanes and tasks.
	policy    *policy
	lanes     map[laneID]*lane
	fresh     []*lane                      // That Run has to start.
	incidents map[string]incident.Incident // Those that are not resolved, by ID.
	known     map[string]Sent              // By key: what receivers knew at the start.
}

// New returns an Engine that knows what the ledger says.
func New(ctx context.Context, o Options) (*Engine, error) {
	o.setDefaults()
	e := &Engine{
		opts:      o,
		logger:    o.Logger.With("component", "remediation"),
		metrics:   newMetrics(o.Reg),
		wake:      make(chan struct{}, 1),
		lanes:     make(map[laneID]*lane),
		incidents: make(map[string]incident.Incident),
		known:     make(map[string]Sent),
	}
	if o.Ledger != nil {
		known, err := o.Ledger.Load(ctx)
		if err != nil {
			return nil, fmt.Errorf("load what receivers know: %w", err)
		}
		for key, s := range known {
			if s.State != incident.Resolved {
				e.known[key] = s
			}
		}
	}
	if err := e.Apply(o.Policy); err != nil {
		return nil, err
	}
	return e, nil
}

// Incident takes an incident as it is now. It does not wait for anybody to be told. After a
// restart it must be given all that are open and those that were resolved lately.
func (e *Engine) Incident(i incident.Incident) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i.State == incident.Resolved {
		delete(e.incidents, i.ID)
	} else {
		e.incidents[i.ID] = i
	}
	e.route(&i, time.Now())
}

// route offers an incident to every lane.
func (e *Engine) route(i *incident.Incident, now time.Time) {
	routes := e.policy.routes(i, e.opts.Labels)
	for id, l := range e.lanes {
		l.offer(i, routes[id.receiver], now)
	}
}

// Apply changes who is told of what. What waits stays, unless its receiver is gone. On error
// nothing has changed.
func (e *Engine) Apply(p Policy) error {
	next, err := newPolicy(p)
	if err != nil {
		return err
	}
	e.mu.Lock()
	records := e.apply(next, time.Now())
	e.mu.Unlock()
	for _, r := range records {
		e.opts.Record(r)
	}
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return nil
}

func (e *Engine) apply(next *policy, now time.Time) []Record {
	e.policy = next
	wanted := make(map[laneID]Notifier)
	for receiver, notifiers := range next.Receivers {
		seen := make(map[string]int)
		for _, n := range notifiers {
			kind := integrationOf(n)
			wanted[laneID{receiver, kind, seen[kind]}] = n
			seen[kind]++
		}
	}
	var records []Record
	for id, l := range e.lanes {
		if _, ok := wanted[id]; !ok {
			records = append(records, l.close(now)...)
			delete(e.lanes, id)
		}
	}
	for id, n := range wanted {
		if l := e.lanes[id]; l != nil {
			l.replace(n, now)
			continue
		}
		l := newLane(e, id, n)
		e.lanes[id] = l
		e.fresh = append(e.fresh, l)
	}
	for _, i := range e.incidents {
		e.route(&i, now)
	}
	return records
}

// Run tells people until ctx is done. It then waits for the attempts that are under way, at most
// Timeout.
func (e *Engine) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		e.mu.Lock()
		fresh := e.fresh
		e.fresh = nil
		e.mu.Unlock()
		for _, l := range fresh {
			running.Go(func() { l.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		}
	}
}

// Status says how a notifier of a receiver fares.
type Status struct {
	Receiver    string    `json:"receiver"`
	Integration string    `json:"integration"`
	Pending     int       `json:"pending"`               // Messages that are due or held.
	Muted       int       `json:"muted"`                 // Of these, held by a mute interval.
	Failing     int       `json:"failing"`               // Of these, tried in vain.
	LastSuccess time.Time `json:"last_success,omitzero"` // Of this process.
	LastFailure time.Time `json:"last_failure,omitzero"` //
	Failures    int       `json:"failures"`              // Since the last success.
	Reason      string    `json:"reason,omitempty"`      // Of the last attempt, if it failed.
	PausedUntil time.Time `json:"paused_until,omitzero"` // The receiver has asked for it.
}

// Status returns how all notifiers fare, by receiver and integration.
func (e *Engine) Status() []Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := make([]laneID, 0, len(e.lanes))
	for id := range e.lanes {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b laneID) int {
		return cmp.Or(strings.Compare(a.receiver, b.receiver),
			strings.Compare(a.integration, b.integration), cmp.Compare(a.number, b.number))
	})
	out := make([]Status, len(ids))
	for i, id := range ids {
		out[i] = e.lanes[id].status()
	}
	return out
}

// integrationOf returns one of integrations.
func integrationOf(n Notifier) string {
	if named, ok := n.(interface{ Integration() string }); ok &&
		slices.Contains(integrations, named.Integration()) {
		return named.Integration()
	}
	return otherIntegration
}

// judgeError says whether err says that trying again cannot help, and how long to wait otherwise.
func judgeError(err error) (permanent bool, after time.Duration) {
	var e *Error
	if errors.As(err, &e) {
		return e.Permanent, e.RetryAfter
	}
	return false, 0
}
