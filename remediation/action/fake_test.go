package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/fleet"
	"tocsin/release"
	"tocsin/remediation/action"
	"tocsin/remediation/rollback"
)

// cluster is an API server that behaves, and fails on demand. Each of its workloads keeps which
// action wrote it last.
type cluster struct {
	mu      *sync.Mutex
	objects map[string]*object // By namespace/name.
	fail    func(verb string) error
	lose    func(verb string) bool                            // The write happens and its reply does not arrive.
	slow    time.Duration                                     // Between the last note and the write.
	stopped string                                            // Its kill switch.
	result  rollback.Result                                   // Of a rollout; Complete.
	rollout time.Duration                                     // How long it takes.
	wrote   func(verb string, r *rollback.Request, o *object) // Just before a write is accepted.
	holds   []rollback.Hold
	hold    bool // An undo suspends an owner.
}

// object is a workload.
type object struct {
	hash    string
	images  map[string][]string // By hash.
	action  string
	mode    string
	paused  bool
	version int
	refusal *rollback.Refusal // What speaks against an undo.
	writes  []write
	done    []string // Actions that it has seen.
}

// write is one write that was accepted.
type write struct {
	at           time.Time
	verb, action string
}

func newCluster() *cluster {
	return &cluster{mu: &sync.Mutex{}, objects: map[string]*object{}, result: rollback.Complete}
}

func (c *cluster) object(t rollback.Target) (*object, error) {
	o := c.objects[t.Namespace+"/"+t.Name]
	if o == nil {
		return nil, &rollback.Refusal{Code: rollback.NotFound, Target: t, What: "it is not there"}
	}
	return o, nil
}

// trouble returns what goes wrong with a request.
func (c *cluster) trouble(ctx context.Context, verb string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.fail != nil {
		return c.fail(verb)
	}
	return nil
}

// side is one tocsin's way to a cluster.
type side struct {
	*cluster
	tell func(context.Context, rollback.Step) error
	away func() bool // It cannot reach the cluster; nil: it can.
}

// trouble returns what goes wrong with a request.
func (s *side) trouble(ctx context.Context, verb string) error {
	if s.away != nil && s.away() {
		return errors.New("no route to host")
	}
	return s.cluster.trouble(ctx, verb)
}

var _ action.Executor = (*side)(nil)

func (s *side) Inspect(ctx context.Context, r rollback.Request) (*rollback.Facts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.trouble(ctx, "inspect"); err != nil {
		return nil, err
	}
	o, err := s.object(r.Target)
	if err != nil {
		return nil, err
	}
	f := &rollback.Facts{
		UID: "uid", Hash: o.hash, Action: o.action, Mode: o.mode, Paused: o.paused,
		Image: "ran a minute ago",
	}
	for hash, images := range o.images {
		f.Revisions = append(f.Revisions, rollback.Revision{Hash: hash, Images: images})
	}
	if refusal := o.judge(&r); refusal != nil {
		f.Refusals = append(f.Refusals, refusal)
	}
	if o.refusal != nil {
		f.Refusals = append(f.Refusals, o.refusal)
	}
	return f, nil
}

// judge says what the object itself says against an undo.
func (o *object) judge(r *rollback.Request) *rollback.Refusal {
	refuse := func(c rollback.Code, what string) *rollback.Refusal {
		return &rollback.Refusal{Code: c, Target: r.Target, What: what, Next: "look"}
	}
	switch {
	case o.mode == "ask" && !r.Approved:
		return refuse(rollback.NeedsApproval, "its annotation says ask")
	case o.hash == r.Good:
		return refuse(rollback.Undone, "it runs the good revision already")
	case o.hash != r.Bad:
		return refuse(rollback.Superseded, "it runs another revision")
	case slices.Contains(o.done, r.Action):
		return refuse(rollback.Repeated, "somebody reverted it")
	}
	return nil
}

// still says whether there is nothing to stop, or nothing that stands still.
func (o *object) still(r *rollback.Request, verb string) *rollback.Refusal {
	switch {
	case verb == "resume" && !o.paused:
		return &rollback.Refusal{Code: rollback.NotPaused, Target: r.Target, What: "it is not paused"}
	case verb == "pause" && o.paused:
		return &rollback.Refusal{Code: rollback.NotRolling, Target: r.Target, What: "it is paused"}
	}
	return nil
}

func (s *side) Undo(ctx context.Context, r rollback.Request) (*rollback.Effect, error) {
	return s.write(ctx, r, "undo", func(o *object) { o.hash, o.paused = r.Good, false })
}

func (s *side) Pause(ctx context.Context, r rollback.Request) (*rollback.Effect, error) {
	return s.write(ctx, r, "pause", func(o *object) { o.paused = true })
}

func (s *side) Resume(ctx context.Context, r rollback.Request) (*rollback.Effect, error) {
	return s.write(ctx, r, "resume", func(o *object) { o.paused = false })
}

func (s *side) Abort(ctx context.Context, r rollback.Request) (*rollback.Effect, error) {
	return s.write(ctx, r, "abort", func(o *object) { o.hash = r.Good })
}

// write does what the API server and the executor do together.
func (s *side) write(
	ctx context.Context, r rollback.Request, verb string, change func(*object),
) (*rollback.Effect, error) {
	asked := verb
	if r.DryRun {
		asked = "rehearse"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.trouble(ctx, asked); err != nil {
		return nil, err
	}
	for {
		o, err := s.object(r.Target)
		if err != nil {
			return nil, err
		}
		if o.action == r.Action {
			return &rollback.Effect{Action: r.Action, State: rollback.Already}, nil
		}
		if refusal := o.judge(&r); refusal != nil {
			return nil, fmt.Errorf("%s: %w", verb, refusal)
		}
		if o.refusal != nil && verb != "pause" && verb != "resume" {
			return nil, fmt.Errorf("%s: %w", verb, o.refusal)
		}
		if refusal := o.still(&r, verb); refusal != nil {
			return nil, fmt.Errorf("%s: %w", verb, refusal)
		}
		if r.DryRun {
			return &rollback.Effect{Action: r.Action, State: rollback.Planned, Writes: []string{verb}}, nil
		}
		version := o.version
		if err := s.before(ctx, r, verb); err != nil {
			return nil, err
		}
		if o.version != version {
			continue // A conflict: it is judged again.
		}
		effect := &rollback.Effect{Action: r.Action, State: rollback.Done, Attempts: 1}
		if s.hold {
			effect.Hold = &rollback.Hold{Action: r.Action, Until: time.Now().Add(r.Hold)}
			s.holds = append(s.holds, *effect.Hold)
		}
		if s.wrote != nil {
			s.wrote(verb, &r, o)
		}
		change(o)
		o.action = r.Action
		o.done = append(o.done, r.Action)
		o.version++
		o.writes = append(o.writes, write{time.Now(), verb, r.Action})
		if s.lose != nil && s.lose(verb) {
			return nil, fmt.Errorf("%s: %w: the reply was lost", verb, rollback.ErrUnsettled)
		}
		return effect, nil
	}
}

// before is all that happens until the write, without the lock.
func (s *side) before(ctx context.Context, r rollback.Request, verb string) error {
	slow := s.slow
	s.mu.Unlock()
	defer s.mu.Lock()
	step := rollback.Step{Action: r.Action, Target: r.Target, Verb: verb, Stage: rollback.Writing}
	if err := s.tell(context.WithoutCancel(ctx), step); err != nil {
		return fmt.Errorf("the step could not be recorded: %w", err)
	}
	time.Sleep(slow)
	return context.Cause(ctx)
}

func (s *side) Verify(ctx context.Context, r rollback.Request) (*rollback.Outcome, error) {
	s.mu.Lock()
	rollout, err := s.rollout, s.trouble(ctx, "verify")
	s.mu.Unlock()
	if err != nil {
		return &rollback.Outcome{Result: rollback.Unverified}, err
	}
	select {
	case <-time.After(rollout):
	case <-ctx.Done():
		return &rollback.Outcome{Result: rollback.Unverified}, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.object(r.Target)
	if err != nil {
		return &rollback.Outcome{Result: rollback.Unverified}, err
	}
	out := &rollback.Outcome{Result: s.result, Reason: "3 of 3 pods"}
	switch {
	case o.hash == r.Bad:
		out.Result, out.Reason, out.By = rollback.Reverted, "argocd brought it back", "argocd"
	case o.hash != r.Good:
		out.Result, out.Reason = rollback.Overtaken, "somebody deployed another revision"
	}
	return out, nil
}

func (s *side) Holds(context.Context) ([]rollback.Hold, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.holds), nil
}

func (s *side) Restore(ctx context.Context, h rollback.Hold) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.trouble(ctx, "restore"); err != nil {
		return err
	}
	s.holds = slices.DeleteFunc(s.holds, func(k rollback.Hold) bool { return k.Action == h.Action })
	return nil
}

func (s *side) Stopped(ctx context.Context, _, _ string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.trouble(ctx, "switch"); err != nil {
		return "", err
	}
	return s.stopped, nil
}

// ledger survives crashes, and fails on demand.
type ledger struct {
	mu      sync.Mutex
	memory  map[string]action.Entry
	entries []action.Entry
	fail    error
	left    int // Entries until the crash, and one more; 0: there is none.
	died    func()
}

func newLedger() *ledger { return &ledger{memory: map[string]action.Entry{}} }

// crash has the process die after so many entries: nothing that it says is kept any more, and what it
// must keep it is told it could not.
func (l *ledger) crash(after int, died func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.died = after+1, died
}

// mend ends that.
func (l *ledger) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left, l.died, l.fail = 0, nil, nil
}

func (l *ledger) Append(ctx context.Context, e action.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 1 {
		l.fail = errors.New("killed")
		l.died()
	}
	l.left = max(l.left-1, 0)
	if l.fail != nil {
		return l.fail
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	text, err := json.Marshal(e) // What a journal keeps.
	if err == nil {
		e = action.Entry{}
		err = json.Unmarshal(text, &e)
	}
	if err != nil {
		panic(err)
	}
	key := ""
	switch {
	case e.Action != nil:
		key = e.Action.ID
	case e.Pause != nil:
		key = e.Pause.ID
	case e.Bad != nil:
		key = e.Bad.Key()
	}
	l.memory[key] = e
	l.entries = append(l.entries, e)
	return nil
}

func (l *ledger) Load(context.Context) (action.Memory, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var m action.Memory
	for _, e := range l.memory {
		switch {
		case e.Action != nil:
			m.Actions = append(m.Actions, *e.Action)
		case e.Pause != nil:
			m.Pauses = append(m.Pauses, *e.Pause)
		case e.Bad != nil:
			m.Bad = append(m.Bad, *e.Bad)
		}
	}
	return m, l.fail
}

// world is a fleet with releases, and one tocsin that acts on it.
type world struct {
	t        testing.TB
	clusters map[string]*cluster
	ledger   *ledger
	options  action.Options // What start takes.
	engine   *action.Engine
	registry *prometheus.Registry
	stop     func()
	twist    func(*release.Record) // What is different about releases.

	mu      sync.Mutex // Of all that follows, and of clusters: the test's but while time passes.
	records map[string]*release.Record
	context action.Context
	health  action.Health
	unread  error
	lag     time.Duration // Of the evidence.
	good    map[string]release.Known

	telling sync.Mutex
	alarms  []action.Alarm
	states  []string // What became of actions, in order.
}

// newWorld returns a world with service shop/cart in cluster eu.
func newWorld(t testing.TB, p action.Policy) *world {
	w := &world{
		t: t, clusters: map[string]*cluster{}, ledger: newLedger(),
		records: map[string]*release.Record{}, good: map[string]release.Known{},
		health: action.Health{Well: true, Reason: "nothing is wrong"},
		stop:   func() {},
	}
	w.mu.Lock()
	w.options.Policy = p
	w.service("eu", "cart")
	return w
}

// auto is the policy of those who trust tocsin.
func auto() action.Policy {
	p := action.DefaultPolicy()
	p.Default.Mode = action.Auto
	return p
}

func with(p action.Policy, change func(*action.Policy)) action.Policy {
	change(&p)
	return p
}

// service adds a workload that runs v1.
func (w *world) service(clusterName, name string) *object {
	c := w.clusters[clusterName]
	if c == nil {
		c = newCluster()
		c.mu = &w.mu
		w.clusters[clusterName] = c
	}
	o := &object{hash: "v1", images: map[string][]string{
		"v1": {name + ":v1"}, "v2": {name + ":v2"}, "v3": {name + ":v3"},
	}}
	c.objects["shop/"+name] = o
	return o
}

func (w *world) of(clusterName, name string) *object {
	return w.clusters[clusterName].objects["shop/"+name]
}

// start starts a tocsin that knows what the ledger knows.
func (w *world) start() {
	w.t.Helper()
	o := w.options
	w.registry = prometheus.NewRegistry()
	o.Reg, o.Ledger = w.registry, w.ledger
	o.Executor = func(name string) (action.Executor, error) {
		w.mu.Lock()
		c := w.clusters[name]
		w.mu.Unlock()
		if c == nil {
			return nil, fmt.Errorf("cluster %s: %w", name, action.ErrNoExecutor)
		}
		return &side{cluster: c, tell: w.engine.Note}, nil
	}
	o.Review = w.review
	o.Context = func(context.Context, *release.Record) action.Context {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.context
	}
	o.LastGood = func(k release.Key, other string) (release.Known, bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		g, ok := w.good[k.Service.Name]
		if !ok {
			g = release.Known{Hash: "v1", Standing: release.Accepted}
		}
		return g, g.Hash != "" && g.Hash != other
	}
	o.Health = func(context.Context, action.Action) (action.Health, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		h := w.health
		if h.DataAt.IsZero() {
			h.DataAt = time.Now()
		}
		return h, nil
	}
	o.Report = func(a action.Action) {
		w.telling.Lock()
		defer w.telling.Unlock()
		line := a.Service.Cluster + "/" + a.Service.Name + " " + string(a.Kind) + " " + string(a.State)
		if len(w.states) == 0 || w.states[len(w.states)-1] != line {
			w.states = append(w.states, line)
		}
	}
	o.Alarm = func(a action.Alarm) {
		w.telling.Lock()
		defer w.telling.Unlock()
		w.alarms = append(w.alarms, a)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	e, err := action.New(ctx, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.engine = e
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := e.Run(ctx); err != nil {
			w.t.Error(err)
		}
	}()
	w.stop = func() {
		w.mu.Unlock()
		cancel()
		<-done
		w.mu.Lock()
	}
}

// pass lets time pass, and all that is due in it happen.
func (w *world) pass(d time.Duration) {
	w.mu.Unlock()
	pass(d)
	w.mu.Lock()
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// alarmed returns the alarms so far.
func (w *world) alarmed() []action.Alarm {
	w.telling.Lock()
	defer w.telling.Unlock()
	return slices.Clone(w.alarms)
}

func (w *world) lastAlarm() action.AlarmKind {
	all := w.alarmed()
	return all[len(all)-1].Kind
}

func (w *world) review(ctx context.Context, id string) (release.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.unread, ctx.Err()); err != nil {
		return release.Record{}, err
	}
	r := w.records[id]
	if r == nil {
		return release.Record{}, release.ErrNotRunning
	}
	out := *r
	out.DataAt = time.Now().Add(-w.lag)
	out.Verdict.At = out.DataAt
	return out, nil
}

// bad is the evidence of a release that has regressed.
func bad(tier release.Tier) release.Verdict {
	v := release.Verdict{
		Result: release.Regressed, Tier: tier, At: time.Now(), EValue: 5000, Metric: "errors",
		Reason: "errors worse by +4% of requests",
	}
	if tier < release.RollBack {
		v.Result, v.EValue = release.Inconclusive, 200
	}
	return v
}

// release begins a release of a service to a revision, and tells of it with a verdict.
func (w *world) release(clusterName, name, hash string, v release.Verdict) string {
	now := time.Now()
	o := w.of(clusterName, name)
	old := o.hash
	o.hash = hash
	o.version++
	o.action = "" // Whoever applies a manifest takes it away or not; here they do.
	id := fmt.Sprintf("%s-%s-%s-%d", clusterName, name, hash, now.Unix())
	r := &release.Record{
		Release: release.Release{
			Key: release.Key{
				Service:  fleet.Service{Cluster: clusterName, Namespace: "shop", Name: name},
				Workload: fleet.Deployment,
			},
			ID: id, UID: "uid", State: release.Rolling, Start: now.Add(-time.Minute),
			Old: fleet.Revision{Hash: old, Images: o.images[old]},
			New: fleet.Revision{Hash: hash, Images: o.images[hash]},
			Seen: &release.Progress{
				Old: release.Side{Hash: old, Available: 2}, New: release.Side{Hash: hash, Available: 1},
			},
		},
		Verdict: v, DataAt: now,
	}
	if v.Result == release.Regressed {
		decided := v
		decided.At = now.Add(-time.Minute)
		r.Decided = &decided
	}
	w.records[id] = r
	w.tell(id, w.twist)
	return id
}

// tell changes what is known of a release, and tells of it.
func (w *world) tell(id string, change func(r *release.Record)) {
	r := *w.records[id]
	if change != nil {
		change(&r)
	}
	w.records[id] = &r
	w.engine.Release(r)
}

// the returns the action about a release of a kind.
func (w *world) the(id string, undo bool) action.Action {
	w.t.Helper()
	for _, a := range w.engine.Actions() {
		if a.Release == id && (a.Kind != action.KindPause) == undo {
			return a
		}
	}
	w.t.Fatalf("there is no action about release %s; there are %v", id, w.engine.Actions())
	return action.Action{}
}

// want compares what became of actions, line by line.
func (w *world) want(lines ...string) {
	w.t.Helper()
	w.telling.Lock()
	defer w.telling.Unlock()
	if got, want := strings.Join(w.states, "\n"), strings.Join(lines, "\n"); got != want {
		w.t.Errorf("what became of actions:\n%s\nwant\n%s", got, want)
	}
}

// undos counts the writes that took a workload back.
func (o *object) undos() int {
	n := 0
	for _, w := range o.writes {
		if w.verb != "pause" && w.verb != "resume" {
			n++
		}
	}
	return n
}

// guard returns what a guard said of an action.
func guard(a action.Action, name string) action.Guard {
	for _, g := range a.Guards {
		if g.Name == name {
			return g
		}
	}
	return action.Guard{Name: "none"}
}

// refusals lists what speaks against an action: guard:code.
func refusals(a action.Action) string {
	var out []string
	for _, g := range a.Guards {
		if !g.Passed {
			out = append(out, g.Name+":"+g.Code)
		}
	}
	return strings.Join(out, " ")
}
