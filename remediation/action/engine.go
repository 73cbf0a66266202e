package action

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"tocsin/release"
)

// Engine acts on releases that have regressed. Its methods may be called concurrently.
//
// Each release has a lane, in which one thing happens at a time. An action is never changed: each
// change makes a new one, is kept by the ledger, and then takes the place of the old one.
type Engine struct {
	opts    Options
	logger  *slog.Logger
	metrics *metrics
	wake    chan struct{} // Holds one: lanes are to be started.

	mu      sync.Mutex // Guards what follows, and what lanes say it guards.
	policy  *policy
	lanes   map[string]*lane           // By release.
	idle    []*lane                    // That Run has to start.
	running map[string]*release.Record // The newest of each release that runs.
	actions map[string]*Action
	pauses  map[string]*Pause
	bad     map[string]*Bad          // By badKey.
	newest  map[release.Key]sighting // The newest release of each workload.
	undone  map[release.Key]undone   // The last one that was taken back, by whomever.
	claims  map[string]claim         // Undos of the last hours, by action.
	storm   map[string]time.Time     // When different bad releases were first seen.
	failed  int                      // Actions in a row that failed or did not help.
}

// sighting is a release as it was last seen.
type sighting struct {
	release string
	hash    string
	start   time.Time
}

// undone is a revision that was taken back.
type undone struct {
	hash string
	at   time.Time
}

// New returns an Engine that knows what the ledger knows.
func New(ctx context.Context, o Options) (*Engine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	p, err := newPolicy(o.Policy)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		opts:    o,
		logger:  o.Logger.With("component", "action"),
		metrics: newMetrics(o.Reg),
		wake:    make(chan struct{}, 1),
		policy:  p,
		lanes:   make(map[string]*lane),
		running: make(map[string]*release.Record),
		actions: make(map[string]*Action),
		pauses:  make(map[string]*Pause),
		bad:     make(map[string]*Bad),
		newest:  make(map[release.Key]sighting),
		undone:  make(map[release.Key]undone),
		claims:  make(map[string]claim),
		storm:   make(map[string]time.Time),
	}
	known, err := o.Ledger.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("load what was done about releases: %w", err)
	}
	e.restore(known, time.Now())
	return e, nil
}

// restore takes over what an earlier process knew. What it had begun is gone on with by Run.
func (e *Engine) restore(m Memory, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	slices.SortFunc(m.Actions, func(a, b Action) int { return a.Ended.Compare(b.Ended) })
	var lifted time.Time // When people last went on in spite of the breaker.
	for _, p := range m.Pauses {
		if p.Cause == ByBreaker && p.Lifted.After(lifted) {
			lifted = p.Lifted
		}
	}
	for i := range m.Actions {
		a := &m.Actions[i]
		if a.over() && now.Sub(a.Changed) > e.opts.Keep {
			continue
		}
		e.actions[a.ID] = a
		if a.Kind.undoes() && (a.acting() || !a.Written.IsZero()) {
			e.claims[a.ID] = claimOf(a)
		}
		if !a.Written.IsZero() && a.Kind.undoes() {
			e.undone[a.key()] = undone{a.Bad.Hash, a.Written}
		}
		if l := e.lane(a.Release, a.key()); !a.over() || a.Hold != nil {
			e.start(l)
		}
		if a.Ended.After(lifted) {
			e.tally(a)
		}
	}
	for i := range m.Pauses {
		if p := &m.Pauses[i]; p.active(now) || now.Sub(p.At) <= e.opts.Keep {
			e.pauses[p.ID] = p
		}
	}
	for i := range m.Bad {
		if b := &m.Bad[i]; now.Sub(b.At) <= e.opts.Keep && b.Forgiven.IsZero() {
			e.bad[b.Key()] = b
		}
	}
	e.gauge(now)
}

// lane returns the lane of a release, which it makes if there is none. The caller holds mu.
func (e *Engine) lane(id string, k release.Key) *lane {
	l := e.lanes[id]
	if l == nil {
		l = &lane{
			engine: e, release: id, key: k, nudge: make(chan struct{}, 1),
			surveys: make(map[string]survey), due: make(map[string]time.Time),
		}
		e.lanes[id] = l
	}
	return l
}

// start has Run work on a lane, if it does not already. The caller holds mu.
func (e *Engine) start(l *lane) {
	l.poke()
	if l.active {
		return
	}
	l.active = true
	e.idle = append(e.idle, l)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Release takes in what is known of a release now. It does not wait for anything to be done.
// After a restart it must be given all that run and those that ended lately.
func (e *Engine) Release(r release.Record) {
	rel := &r.Release
	e.mu.Lock()
	defer e.mu.Unlock()
	if seen := e.newest[rel.Key]; !rel.Start.Before(seen.start) && seen.release != rel.ID {
		e.newest[rel.Key] = sighting{rel.ID, rel.New.Hash, rel.Start}
		for _, l := range e.lanes {
			if l.key == rel.Key && l.active {
				l.poke()
			}
		}
	}
	if rel.State == release.RolledBack {
		if u := e.undone[rel.Key]; rel.End.After(u.at) {
			e.undone[rel.Key] = undone{rel.New.Hash, rel.End}
		}
	}
	e.running[rel.ID] = &r
	if !rel.State.Running() {
		delete(e.running, rel.ID)
	}
	l := e.lanes[rel.ID]
	if l == nil && (!rel.State.Running() || !e.concerns(&r)) {
		return
	}
	l = e.lane(rel.ID, rel.Key)
	l.record = &r
	e.start(l)
}

// concerns says whether there may be something to do about a release. The caller holds mu.
func (e *Engine) concerns(r *release.Record) bool {
	v, _ := counting(r)
	if v.Tier >= release.Pause && v.Result != release.Healthy || v.Result == release.Regressed {
		return true
	}
	return e.known(r) != nil
}

// Apply changes the policy. What is under way goes on; what has been refused or waits is looked at
// again. On error nothing has changed.
func (e *Engine) Apply(p Policy) error {
	next, err := newPolicy(p)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.policy = next
	e.again()
	return nil
}

// again has everything that is open looked at. The caller holds mu.
func (e *Engine) again() {
	for _, l := range e.lanes {
		if l.active {
			l.force = true
			l.poke()
		}
	}
}

// Run acts until ctx is done, and then returns when what is under way has come to a point from
// which the next process can go on.
func (e *Engine) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	e.trip(ctx, time.Now()) // A crash may have come between the last failure and the pause.
	tidy := time.NewTicker(time.Minute)
	defer tidy.Stop()
	for {
		e.mu.Lock()
		idle := e.idle
		e.idle = nil
		e.mu.Unlock()
		for _, l := range idle {
			running.Go(func() { l.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-tidy.C:
			e.tidy(time.Now())
		}
	}
}

// tidy forgets what is over for long.
func (e *Engine) tidy(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := make(map[string]bool)
	for id, a := range e.actions {
		if a.over() && a.Hold == nil && now.Sub(a.Changed) > e.opts.Keep {
			delete(e.actions, id)
			continue
		}
		kept[a.Release] = true
	}
	for id, l := range e.lanes {
		if !l.active && !kept[id] {
			delete(e.lanes, id)
		}
	}
	for id, p := range e.pauses {
		if !p.active(now) && now.Sub(p.At) > e.opts.Keep {
			delete(e.pauses, id)
		}
	}
	for key, b := range e.bad {
		if now.Sub(b.At) > e.opts.Keep {
			delete(e.bad, key)
		}
	}
	for key, s := range e.newest {
		if now.Sub(s.start) > e.opts.Keep {
			delete(e.newest, key)
		}
	}
	for key, u := range e.undone {
		if now.Sub(u.at) > e.opts.Keep {
			delete(e.undone, key)
		}
	}
	e.prune(now)
	e.gauge(now)
}

// Actions returns all actions that are remembered, the newest first.
func (e *Engine) Actions() []Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]Action, 0, len(e.actions))
	for _, a := range e.actions {
		out = append(out, a.clone())
	}
	slices.SortFunc(out, func(a, b Action) int {
		return cmp.Or(b.Proposed.Compare(a.Proposed), strings.Compare(a.ID, b.ID))
	})
	return out
}

// Action returns an action; false if it is not known.
func (e *Engine) Action(id string) (Action, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.actions[id]
	if a == nil {
		return Action{}, false
	}
	return a.clone(), true
}

// get returns an action that nobody may change, nil if it is not known.
func (e *Engine) get(id string) *Action {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.actions[id]
}
