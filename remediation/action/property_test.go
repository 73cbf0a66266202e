package action_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
)

var histories = flag.Int("histories", 40, "random histories to go through")

// TestRandomHistories has several tocsins act on the same clusters while people release, approve,
// stop, reload and revert, and while processes crash and networks part. Whatever the order: no
// release is taken back twice, none on an inconclusive verdict or on stale evidence, none outside
// policy, and everything that was written stands in a ledger with its reason.
func TestRandomHistories(t *testing.T) {
	writes := 0
	for seed := range *histories {
		synctest.Test(t, func(t *testing.T) {
			h := newHistory(t, uint64(seed))
			for range 150 {
				h.happen()
				pass(time.Duration(h.random.IntN(40)+1) * time.Second)
			}
			h.end()
			writes += h.writes
		})
		if t.Failed() {
			t.Fatalf("history %d", seed)
		}
	}
	if writes < *histories {
		t.Errorf("only %d writes in %d histories", writes, *histories)
	}
	t.Logf("%d writes in %d histories", writes, *histories)
}

// history is a fleet in which anything may happen.
type history struct {
	t        *testing.T
	random   *dice
	clusters map[string]*cluster
	nodes    []*node

	mu      sync.Mutex
	records map[string]*release.Record // All that ever were.
	current map[string]string          // The newest release of each workload: its ID.
	stale   bool                       // Evidence is old.
	undone  map[string]int             // Undos by release.
	good    map[string]bool            // Releases of good revisions.
	number  int
	writes  int
}

// dice may be thrown by several.
type dice struct {
	mu     sync.Mutex
	random *rand.Rand
}

// IntN returns a number from 0 on and below n.
func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.random.IntN(n)
}

// node is one tocsin.
type node struct {
	*history
	name   string
	ledger *ledger
	engine *action.Engine
	policy action.Policy
	stop   func()

	mu      sync.Mutex
	parted  map[string]bool // Clusters that it cannot reach.
	seen    map[string]view // What it read last of each release.
	stopped time.Time       // Since when people have stopped everything; zero: they have not.
	frail   bool            // It dies at its next write.
}

// view is evidence as it was read.
type view struct {
	at     time.Time
	record release.Record
}

// What services are called says what policy allows. In all policies: of "mine" nothing, of "ask..."
// after an approval, of "auto..." everything, but if the annotation says never.
var names = []string{"mine", "ask", "auto", "auto-never", "auto-chain"}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{
		t: t, random: &dice{random: rand.New(rand.NewPCG(seed, 7))}, clusters: map[string]*cluster{},
		records: map[string]*release.Record{}, current: map[string]string{},
		undone: map[string]int{}, good: map[string]bool{},
	}
	for _, c := range []string{"eu", "us"} {
		k := newCluster()
		k.slow, k.rollout = time.Second, 20*time.Second
		k.lose = func(string) bool { return h.chance(5) }
		for _, name := range names {
			o := &object{hash: "v1", images: map[string][]string{}}
			if name == "auto-never" {
				o.mode = "never"
			}
			k.objects["shop/"+name] = o
		}
		h.clusters[c] = k
	}
	for i := range 3 {
		n := &node{
			history: h, name: fmt.Sprint("tocsin-", i), ledger: newLedger(), policy: h.somePolicy(),
			parted: map[string]bool{}, seen: map[string]view{},
		}
		h.nodes = append(h.nodes, n)
		n.start()
	}
	return h
}

// chance is true once in n times.
func (h *history) chance(n int) bool {
	return h.random.IntN(n) == 0
}

// somePolicy is one of those that people might have. The rules of names hold in all of them.
func (h *history) somePolicy() action.Policy {
	p := action.DefaultPolicy()
	all := []action.Kind{action.KindPause, action.KindRollback}
	p.Rules = []action.Rule{
		{Scope: action.Scope{Services: []string{"ask*"}}, Mode: action.Ask, Actions: all},
		{Scope: action.Scope{Services: []string{"auto*"}}, Mode: action.Auto, Actions: all},
	}
	p.Limits = action.Limits{Cluster: 3 + h.random.IntN(20), Team: 5, Fleet: 5 + h.random.IntN(20)}
	p.CoolDown = []time.Duration{time.Minute, time.Hour, 6 * time.Hour}[h.random.IntN(3)]
	p.Relapse = []time.Duration{time.Second, 10 * time.Minute}[h.random.IntN(2)]
	p.Soak = time.Minute
	p.HoldBadImages = h.random.IntN(2) == 0
	if h.random.IntN(2) == 0 {
		p.Dependencies = map[string][]string{"auto": {"auto-chain"}}
	}
	return p
}

func (n *node) start() {
	var e *action.Engine
	note := func(ctx context.Context, s rollback.Step) error { return e.Note(ctx, s) }
	ctx, cancel := context.WithCancel(n.t.Context())
	e, err := action.New(ctx, action.Options{
		Policy: n.policy, Ledger: n.ledger, Review: n.review, LastGood: n.lastGood,
		Executor: func(name string) (action.Executor, error) {
			return &side{cluster: n.view(name), tell: note, away: func() bool {
				n.mu.Lock()
				defer n.mu.Unlock()
				return n.parted[name]
			}}, nil
		},
		Health: func(context.Context, action.Action) (action.Health, error) {
			return action.Health{Well: !n.chance(6), Reason: "so it is", DataAt: time.Now()}, nil
		},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.engine = e
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Run(ctx); err != nil {
			n.t.Error(err)
		}
	}()
	n.stop = func() {
		cancel()
		<-done
	}
	n.history.mu.Lock()
	defer n.history.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(n.records)) {
		e.Release(*n.records[id])
	}
}

// view is a cluster that tells this node of its own writes.
func (n *node) view(name string) *cluster {
	c := n.clusters[name]
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wrote == nil {
		c.wrote = func(verb string, r *rollback.Request, o *object) { n.judge(name, verb, r, o) }
	}
	return c
}

func (n *node) review(_ context.Context, id string) (release.Record, error) {
	n.history.mu.Lock()
	defer n.history.mu.Unlock()
	r := n.records[id]
	if r == nil {
		return release.Record{}, release.ErrNotRunning
	}
	out := *r
	out.DataAt = time.Now().Add(-10 * time.Second)
	if n.stale {
		out.DataAt = time.Now().Add(-time.Hour)
	}
	out.Verdict.At = out.DataAt
	n.mu.Lock()
	n.seen[id] = view{time.Now(), out}
	n.mu.Unlock()
	return out, nil
}

func (n *node) lastGood(k release.Key, other string) (release.Known, bool) {
	n.history.mu.Lock()
	defer n.history.mu.Unlock()
	var best *release.Record
	for _, r := range n.records {
		if r.Release.Key == k && r.Release.New.Hash != other && n.good[r.Release.ID] &&
			(best == nil || r.Release.Start.After(best.Release.Start)) {
			best = r
		}
	}
	if best == nil {
		return release.Known{Hash: "v1", Standing: release.Accepted}, other != "v1"
	}
	return release.Known{Hash: best.Release.New.Hash, Standing: release.Accepted}, true
}

// judge holds a write against all that must be so. The cluster's lock is held.
func (h *history) judge(clusterName, verb string, r *rollback.Request, o *object) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.writes++
	id := h.current[clusterName+"/"+r.Target.Name]
	rec := h.records[id]
	if rec == nil || rec.Release.New.Hash != r.Bad {
		h.t.Errorf("%s %s of revision %s, which %s is not the release of", verb, r.Target, r.Bad, id)
		return
	}
	if verb == "resume" {
		if v := rec.Verdict; v.Result != release.Healthy || !o.paused {
			h.t.Errorf("%s %s, whose verdict is %s", verb, r.Target, v.Result)
		}
		return
	}
	writer, a := h.author(r.Action)
	if writer == nil {
		h.t.Errorf("%s %s: no ledger knows action %s", verb, r.Target, r.Action)
		return
	}
	if a.State != action.Running || a.Claimed.IsZero() || a.Verdict.Reason == "" || a.Release != id {
		h.t.Errorf("%s %s: the ledger says %s, release %s for %q", verb, r.Target, a.State, a.Release,
			a.Verdict.Reason)
	}
	switch name := r.Target.Name; {
	case name == "mine" || o.mode == "never":
		h.t.Errorf("%s %s, which policy forbids", verb, r.Target)
	case name == "ask" && a.Approver == "":
		h.t.Errorf("%s %s, which nobody approved", verb, r.Target)
	}
	writer.mu.Lock()
	saw, stopped := writer.seen[id], writer.stopped
	writer.mu.Unlock()
	if !stopped.IsZero() && now.After(stopped) {
		h.t.Errorf("%s %s, although people have stopped everything at %s", verb, r.Target, stopped)
	}
	if now.Sub(saw.at) > 30*time.Second || saw.at.Sub(saw.record.DataAt) > 2*time.Minute {
		h.t.Errorf("%s %s on evidence that was %s old, read %s ago", verb, r.Target,
			saw.at.Sub(saw.record.DataAt), now.Sub(saw.at))
	}
	if verb == "pause" {
		return
	}
	if v := saw.record.Verdict; v.Result != release.Regressed || v.Tier < release.RollBack {
		h.t.Errorf("%s %s on a verdict that is %s, %s", verb, r.Target, v.Result, v.Tier)
	}
	if rec.Release.Back {
		h.t.Errorf("%s %s, which is a rollback itself", verb, r.Target)
	}
	if h.undone[id]++; h.undone[id] > 1 {
		h.t.Errorf("%s %s for the %d. time", verb, r.Target, h.undone[id])
	}
	if writer.frail { // Killed before the reply arrives.
		writer.frail = false
		writer.ledger.crash(0, func() {})
	}
}

// author returns the tocsin that claims an action, and the action as its ledger has it.
func (h *history) author(id string) (*node, *action.Action) {
	var found *node
	var a *action.Action
	for _, n := range h.nodes {
		n.ledger.mu.Lock()
		e := n.ledger.memory[id]
		n.ledger.mu.Unlock()
		if e.Action != nil && (found == nil || e.Action.State == action.Running) {
			found, a = n, e.Action
		}
	}
	return found, a
}

// happen has one thing happen.
func (h *history) happen() {
	name := names[h.random.IntN(len(names))]
	where := []string{"eu", "us"}[h.random.IntN(2)]
	n := h.nodes[h.random.IntN(len(h.nodes))]
	switch h.random.IntN(20) {
	case 0, 1, 2:
		h.deploy(where, name, "")
	case 3, 4, 5, 6, 7:
		h.evidence(where, name)
	case 8:
		h.revert(where, name)
	case 9:
		h.reconcile(where, name)
	case 10:
		h.mu.Lock()
		h.stale = !h.stale && h.random.IntN(2) == 0
		h.mu.Unlock()
	case 11:
		n.crash()
	case 12:
		n.policy = h.somePolicy()
		if err := n.engine.Apply(n.policy); err != nil {
			h.t.Error(err)
		}
	case 13:
		n.mu.Lock()
		n.parted[where] = n.random.IntN(3) == 0
		n.mu.Unlock()
	case 14, 15, 16:
		n.approve()
	case 17:
		n.meddle()
	case 18:
		n.pauseOrContinue()
	case 19:
		n.mu.Lock()
		n.frail = true
		n.mu.Unlock()
	}
}

// deploy begins a release, of a new revision if none is given.
func (h *history) deploy(where, name, hash string) {
	c := h.clusters[where]
	c.mu.Lock()
	o := c.objects["shop/"+name]
	h.mu.Lock()
	now := time.Now()
	h.number++
	if hash == "" {
		hash = fmt.Sprint("v", h.number+1)
	}
	old := o.hash
	if old == hash {
		h.mu.Unlock()
		c.mu.Unlock()
		return
	}
	o.hash, o.paused = hash, false
	if h.random.IntN(2) == 0 {
		o.action = ""
	}
	o.version++
	o.images[hash] = []string{name + ":" + hash}
	id := fmt.Sprintf("%s-%s-%d", where, name, h.number)
	key := release.Key{
		Service: fleet.Service{Cluster: where, Namespace: "shop", Name: name}, Workload: fleet.Deployment,
	}
	h.over(where+"/"+name, release.Superseded, now)
	h.records[id] = &release.Record{Release: release.Release{
		Key: key, ID: id, UID: "uid", State: release.Rolling, Start: now, Old: fleet.Revision{Hash: old},
		New:  fleet.Revision{Hash: hash, Images: o.images[hash]},
		Back: slices.Contains([]string{"v1", "v2", "v3"}, hash),
		Seen: &release.Progress{Old: release.Side{Available: 2}},
	}}
	h.current[where+"/"+name] = id
	h.good[id] = h.random.IntN(3) == 0
	record := *h.records[id]
	h.mu.Unlock()
	c.mu.Unlock()
	h.tell(record)
}

// over ends the current release of a workload. The lock is held.
func (h *history) over(workload string, s release.State, now time.Time) {
	id := h.current[workload]
	if r := h.records[id]; r != nil && r.Release.State.Running() {
		ended := *r
		ended.Release.State, ended.Release.End = s, now
		h.records[id] = &ended
	}
}

func (h *history) tell(r release.Record) {
	for _, n := range h.nodes {
		n.engine.Release(r)
	}
}

// evidence has a release that is not good look worse, or less bad.
func (h *history) evidence(where, name string) {
	h.mu.Lock()
	id := h.current[where+"/"+name]
	r := h.records[id]
	if r == nil || !r.Release.State.Running() || h.good[id] {
		h.mu.Unlock()
		return
	}
	next := *r
	v := release.Verdict{Reason: "errors", EValue: 10}
	switch h.random.IntN(6) {
	case 0:
		v.Result = release.Healthy
	case 1:
	case 2, 3:
		v.Tier = release.Pause
	default:
		v.Result, v.Tier = release.Regressed, release.RollBack+release.Tier(h.random.IntN(2))
		if next.Decided == nil {
			decided := v
			decided.At = time.Now()
			next.Decided = &decided
		}
	}
	next.Verdict = v
	h.records[id] = &next
	h.mu.Unlock()
	h.tell(next)
}

// revert has a person take a release back, or tells of what tocsin has done.
func (h *history) revert(where, name string) {
	h.mu.Lock()
	r := h.records[h.current[where+"/"+name]]
	h.mu.Unlock()
	if r == nil || !r.Release.State.Running() {
		return
	}
	c := h.clusters[where]
	c.mu.Lock()
	h.mu.Lock()
	o := c.objects["shop/"+name]
	if h.random.IntN(2) == 0 && o.hash == r.Release.New.Hash {
		o.hash, o.action = r.Release.Old.Hash, ""
		o.version++
	} else if o.hash != r.Release.New.Hash && h.random.IntN(2) == 0 {
		o.hash, o.action = r.Release.New.Hash, "" // Brought back, and nobody takes it for a release.
		o.version++
	}
	back := o.hash != r.Release.New.Hash
	if back {
		h.over(where+"/"+name, release.RolledBack, time.Now())
	}
	record := *h.records[r.Release.ID]
	h.mu.Unlock()
	c.mu.Unlock()
	if back {
		h.tell(record)
	}
}

// reconcile has something bring the revision of the last release back, which is a release of its own.
func (h *history) reconcile(where, name string) {
	h.mu.Lock()
	r := h.records[h.current[where+"/"+name]]
	h.mu.Unlock()
	if r != nil && h.undone[r.Release.ID] > 0 {
		h.deploy(where, name, r.Release.New.Hash)
	}
}

// crash kills a tocsin, and starts the next one.
func (n *node) crash() {
	n.ledger.crash(0, func() {})
	n.stop()
	n.ledger.mend()
	n.mu.Lock()
	n.frail = false
	n.mu.Unlock()
	n.start()
}

func (n *node) approve() {
	for _, a := range n.engine.Actions() {
		if a.State != action.Waiting {
			continue
		}
		_, err := n.engine.Approve(n.t.Context(), a.ID, "ann", "")
		if err != nil && !errors.Is(err, action.ErrNotRecorded) && !errors.Is(err, action.ErrExpired) &&
			!errors.Is(err, action.ErrOver) && !errors.Is(err, action.ErrNotWaiting) {
			n.t.Error(err)
		}
	}
}

// meddle aborts or retries whatever there is.
func (n *node) meddle() {
	all := n.engine.Actions()
	if len(all) == 0 {
		return
	}
	a := all[n.random.IntN(len(all))]
	if n.random.IntN(2) == 0 {
		_, _ = n.engine.Abort(n.t.Context(), a.ID, "ann", "") // It may be too late for it.
		return
	}
	_, _ = n.engine.Retry(n.t.Context(), a.ID, "ann", "") // It may make no sense.
}

// pauseOrContinue stops everything, or lets it go on.
func (n *node) pauseOrContinue() {
	n.mu.Lock()
	stopped := !n.stopped.IsZero()
	n.mu.Unlock()
	if !stopped {
		if n.random.IntN(4) > 0 {
			n.goOn() // A storm or the breaker may have stopped it.
			return
		}
		_, err := n.engine.Suspend(n.t.Context(), action.Pause{By: "ann"})
		n.mu.Lock()
		n.stopped = time.Now()
		if err != nil { // A restart forgets it.
			n.stopped = time.Time{}
		}
		n.mu.Unlock()
		return
	}
	n.mu.Lock()
	n.stopped = time.Time{}
	n.mu.Unlock()
	n.goOn()
}

func (n *node) goOn() {
	for _, p := range n.engine.Pauses() {
		if p.Active(time.Now()) {
			_, _ = n.engine.Continue(n.t.Context(), p.ID, "ann") // The ledger may be dead.
		}
	}
}

// end lets everything heal and come to its end, and then holds the clusters against the ledgers.
func (h *history) end() {
	h.mu.Lock()
	h.stale = false
	h.mu.Unlock()
	for _, n := range h.nodes {
		n.mu.Lock()
		n.parted, n.frail = map[string]bool{}, false
		n.mu.Unlock()
		n.crash()
	}
	pass(time.Hour)
	for _, n := range h.nodes {
		n.stop()
	}
	for where, c := range h.clusters {
		for name, o := range c.objects {
			for _, w := range o.writes {
				if w.verb == "resume" {
					continue // It is a step of the pause.
				}
				h.settled(where+"/"+name, w)
			}
		}
	}
}

// settled wants a write to be known to a ledger as done.
func (h *history) settled(where string, w write) {
	for _, n := range h.nodes {
		a := n.ledger.memory[w.action].Action
		if a != nil && (a.Tried || !a.Written.IsZero() || a.State == action.Superseded) {
			return
		}
	}
	h.t.Errorf("%s of %s at %s by action %s is in no ledger as done", w.verb, where, w.at, w.action)
}
