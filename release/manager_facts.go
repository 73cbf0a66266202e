package release

import (
	"fmt"
	"slices"
	"time"

	"tocsin/fleet"
)

// How long trouble must last before it counts.
const (
	factHeld     = 30 * time.Second // Of several new pods.
	factHeldOne  = time.Minute      // Of one, or of all at once.
	factRecent   = time.Minute      // A pod between two crashes still crashes.
	probesRecent = 5 * time.Minute
	factLook     = 2 * time.Minute // How old the newest look may be.
	factStorm    = 5 * time.Minute // How close together workloads come into the same trouble ...
	factOthers   = 3               // ... and how many of them make it the cluster's.
	factShare    = 10              // One in so many new pods: a bad node is a bad node.
)

// warned names trouble of a workload.
type warned struct {
	key  Key
	kind FactKind
}

// troubled is when it began, and when it was heard of last.
type troubled struct{ first, last time.Time }

// warn remembers trouble of workloads: what many have at once is no release's.
func (m *Manager) warn(k Key, e *fleet.Event) {
	kind := byEvent(e)
	if kind == "" {
		return
	}
	s, w := m.around(k.Service.Cluster), warned{k, kind}
	t, known := s.warned[w]
	if !known && len(s.warned) >= mostWarned {
		for w, t := range s.warned {
			if m.now.Sub(t.last) > 2*factStorm {
				delete(s.warned, w)
			}
		}
		if len(s.warned) >= mostWarned {
			return
		}
	}
	if !known || e.First.Before(t.first) {
		t.first = e.First.UTC()
	}
	if e.Last.After(t.last) {
		t.last = e.Last.UTC()
	}
	s.warned[w] = t
	if f := m.tracker.workloads[k]; f != nil && f.Running != nil {
		if d := m.running[f.Running.ID]; d != nil {
			d.warnOld(kind, e)
		}
	}
}

// warnOld remembers that an old pod of a release is in trouble, too.
func (d *dossier) warnOld(kind FactKind, e *fleet.Event) {
	const prefix = "Pod/"
	if len(e.Object) <= len(prefix) || e.Object[:len(prefix)] != prefix {
		return
	}
	name := e.Object[len(prefix):]
	side, known := d.pods[name]
	if known && !side.fresh || !known && d.matches[0].is(name) && !d.matches[1].is(name) {
		d.oldShow[kind] = name
	}
}

// storm reports whether unrelated workloads of the cluster came into the same trouble at the same
// time.
func (m *Manager) storm(k Key, kind FactKind, since time.Time) bool {
	near := func(at time.Time) bool { return at.Sub(since).Abs() <= factStorm }
	others := map[Key]bool{}
	for w, t := range m.around(k.Service.Cluster).warned {
		if w.key != k && w.kind == kind && near(t.first) {
			others[w.key] = true
		}
	}
	for other, f := range m.tracker.clusters[k.Service.Cluster].releases {
		if other == k {
			continue
		}
		for _, fact := range f.Running.Facts {
			if fact.Kind == kind && near(fact.First) {
				others[other] = true
			}
		}
	}
	return len(others) >= factOthers
}

// scene is what the newest look shows of the new pods.
type scene struct {
	r           *Release
	at          time.Time
	pods        []Pod
	ready       int
	unavailable int
}

// showing returns how many new pods that are not ready are in some trouble, and since when.
func (s *scene) showing(kinds []FactKind, recent time.Duration) (n int, since time.Time) {
	in := func(p *Pod) bool {
		for _, kind := range kinds {
			if byPod(p.Waiting) == kind || byPod(p.Terminated) == kind {
				return true
			}
			for _, f := range s.r.Facts {
				if f.Kind == kind && s.at.Sub(f.Last) <= recent && slices.Contains(f.Pods, p.Name) {
					return true
				}
			}
		}
		return false
	}
	for i := range s.pods {
		if p := &s.pods[i]; !p.Ready && in(p) {
			n++
		}
	}
	return n, s.since(kinds)
}

// since returns when one of some kinds of trouble was first told of.
func (s *scene) since(kinds []FactKind) (first time.Time) {
	for _, f := range s.r.Facts {
		if slices.Contains(kinds, f.Kind) && (first.IsZero() || f.First.Before(first)) {
			first = f.First
		}
	}
	return first
}

// judgeFacts makes the verdict of what Kubernetes itself tells, by the table in docs/verdicts.md.
func (m *Manager) judgeFacts(d *dossier, r *Release, now time.Time) {
	if r.Seen == nil || now.Sub(r.Seen.At) > factLook {
		return // What was known before stands.
	}
	s := scene{r: r, at: r.Seen.At, pods: r.NewPods()}
	for i := range s.pods {
		if s.pods[i].Ready {
			s.ready++
		}
	}
	s.unavailable = len(s.pods) - s.ready
	d.facts = Verdict{}
	if s.unavailable == 0 && len(r.Facts) == 0 {
		return
	}
	for _, rule := range [...]func(*scene) charge{crashes, kills, stuck, probes, deadline} {
		if c := rule(&s); c.tier > Watch {
			m.hearCharge(d, &s, c)
		}
	}
}

// charge is what a rule says of the new pods.
type charge struct {
	kind  FactKind
	tier  Tier
	pods  int
	since time.Time
	what  string
}

// hearCharge lets a charge stand as far as nothing speaks against it.
func (m *Manager) hearCharge(d *dossier, s *scene, c charge) {
	v := Verdict{At: s.at, Result: Regressed, Tier: c.tier, Metric: string(c.kind)}
	if n := len(s.pods); n > 0 {
		v.Effect = float64(c.pods) / float64(n)
		v.Lower, v.Upper = v.Effect, v.Effect
	}
	v.Reason = c.what
	switch old, also := d.oldShow[c.kind]; {
	case also:
		v.Tier, v.Reason = Watch, v.Reason+"; but so does the old pod "+old
	case m.storm(d.key, c.kind, c.since):
		v.Tier = Watch
		v.Reason += "; but so do unrelated workloads of the cluster since the same time"
	case !m.oldWorked(d, s.r):
		v.Tier = min(v.Tier, Pause)
		v.Reason += "; nobody knows whether the old pods were any better"
	}
	if v.Tier < RollBack {
		v.Result = Inconclusive
	}
	if d.facts.At.IsZero() || v.Tier > d.facts.Tier {
		d.facts = v
	}
}

// oldWorked reports whether the old revision is known to have worked.
func (m *Manager) oldWorked(d *dossier, r *Release) bool {
	if d.oldReady {
		return true
	}
	k := m.tracker.workloads[d.key].known(r.Old.Hash)
	return k != nil && k.Standing == Accepted
}

// crashes judges new pods that crash again and again.
func crashes(s *scene) charge {
	kinds := []FactKind{CrashLoop, OOMKilled}
	n, since := s.showing(kinds, factRecent)
	c := charge{kind: CrashLoop, pods: n, since: since}
	if loops, at := s.showing(kinds[:1], factRecent); loops == 0 {
		c.kind = OOMKilled
	} else if n == loops {
		c.since = at
	}
	held := s.at.Sub(c.since)
	c.what = fmt.Sprintf("%d of %d new pods crash again and again for %s",
		n, len(s.pods), held.Round(time.Second))
	switch all := n == len(s.pods); {
	case n == 0:
	case n > 1 && all && held >= factHeldOne:
		c.tier = AtOnce
	case n > 1 && factShare*n >= len(s.pods) && held >= factHeld,
		s.ready == 0 && held >= factHeldOne,
		s.r.State == Stalled:
		c.tier = RollBack
	case held >= factHeld:
		c.tier = Pause
	}
	return c
}

// kills judges new pods that are killed for their memory, also if they run again by now.
func kills(s *scene) charge {
	c := charge{kind: OOMKilled, since: s.since([]FactKind{OOMKilled})}
	for i := range s.pods {
		if byPod(s.pods[i].Terminated) == OOMKilled {
			c.pods++
		}
	}
	c.what = fmt.Sprintf("%d of %d new pods were killed for their memory", c.pods, len(s.pods))
	switch {
	case c.pods > 1 && 2*c.pods >= len(s.pods):
		c.tier = RollBack
	case c.pods > 1:
		c.tier = Pause
	}
	return c
}

// stuck judges new pods whose containers cannot start: an image or a configuration is not there.
// It may come yet, until the rollout has failed.
func stuck(s *scene) charge {
	kinds := []FactKind{ImagePull, FailedStart}
	n, since := s.showing(kinds, factRecent)
	c := charge{kind: ImagePull, pods: n, since: since}
	if pulls, _ := s.showing(kinds[:1], factRecent); pulls == 0 {
		c.kind = FailedStart
	}
	held := s.at.Sub(since)
	c.what = fmt.Sprintf("the containers of %d of %d new pods cannot start for %s",
		n, len(s.pods), held.Round(time.Second))
	switch {
	case n == 0:
	case s.r.State == Stalled && s.ready == 0:
		c.tier = RollBack
	case held >= factHeldOne:
		c.tier = Pause
	}
	return c
}

// probes judges new pods that run but do not become ready.
func probes(s *scene) charge {
	c := charge{kind: FailedProbes, pods: s.unavailable, since: s.since([]FactKind{FailedProbes})}
	i := slices.IndexFunc(s.r.Facts, func(f Fact) bool { return f.Kind == FailedProbes })
	if i < 0 || s.unavailable == 0 || s.r.State != Stalled ||
		s.at.Sub(s.r.Facts[i].Last) > probesRecent {
		return c
	}
	c.what = fmt.Sprintf("%d of %d new pods fail their probes, and the rollout does not progress",
		c.pods, len(s.pods))
	c.tier = Pause
	if s.ready == 0 {
		c.tier = RollBack
	}
	return c
}

// deadline judges a rollout that does not progress. If nothing says why, it may be the cluster.
func deadline(s *scene) charge {
	c := charge{kind: DeadlineExceeded, pods: s.unavailable, since: s.r.Progressed}
	if s.r.State == Stalled && s.unavailable > 0 {
		c.tier = Pause
		c.what = fmt.Sprintf("%d of %d new pods do not become ready, and the rollout does not progress",
			c.pods, len(s.pods))
	}
	return c
}

// outweighs reports whether facts say more than another verdict.
func (v *Verdict) outweighs(w *Verdict) bool {
	return !v.At.IsZero() && (v.Tier > w.Tier || v.Tier == w.Tier && v.Result >= w.Result)
}

// withFacts lets the facts speak for a release, beside what its samples say.
func withFacts(v Verdict, f *Verdict, now time.Time) Verdict {
	v.Result, v.Tier, v.Metric, v.Missing = f.Result, f.Tier, f.Metric, Missing{}
	v.Effect, v.Lower, v.Upper, v.Reason = f.Effect, f.Lower, f.Upper, f.Reason
	if age := now.Sub(f.At); age > factLook {
		v.Reason = fmt.Sprintf("nobody has seen its pods for %s; %s", age.Round(time.Second), f.Reason)
	}
	return v
}
