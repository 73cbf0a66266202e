package action

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
	"tocsin/release"
)

// claim is an undo that was begun.
type claim struct {
	at   time.Time
	key  release.Key
	team string
}

func claimOf(a *Action) claim { return claim{a.Claimed, a.key(), a.Team} }

// blastGuard bounds how much is done in how short a time.
func blastGuard(e *Engine, q *inquiry) Guard {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bounded(q)
}

// bounded asks all bounds. The caller holds mu.
func (e *Engine) bounded(q *inquiry) Guard {
	a, x := q.action, q.action.subject()
	if p := e.paused(x, q.now, ByStorm); p != nil {
		return wait(codeStorm, "tocsin resume "+p.ID, "%s", p)
	}
	if p := e.paused(x, q.now, ByBreaker); p != nil {
		return wait(codeBreaker, "tocsin resume "+p.ID, "%s", p)
	}
	if !a.Kind.undoes() {
		return pass("a pause takes nothing away")
	}
	if other := e.neighbour(q); other != nil {
		return wait(codeChain, "wait for it to end",
			"%s of its chain of calls is being taken back", other.Service)
	}
	var cluster, team, all int
	for id, c := range e.claims {
		if id == a.ID || q.now.Sub(c.at) >= time.Hour {
			continue
		}
		all++
		if c.key.Service.Cluster == a.Service.Cluster {
			cluster++
		}
		if c.team == a.Team && a.Team != "" {
			team++
		}
	}
	for _, b := range []struct {
		code, name string
		n, limit   int
		counts     bool
	}{
		{codeClusterLimit, "cluster " + a.Service.Cluster, cluster, q.policy.Limits.Cluster, true},
		{codeTeamLimit, "team " + a.Team, team, q.policy.Limits.Team, a.Team != ""},
		{codeFleetLimit, "the fleet", all, q.policy.Limits.Fleet, true},
	} {
		if b.counts && b.n >= b.limit {
			return wait(b.code, "undo it by hand, or wait", "%d of %d undos in an hour are used up in %s",
				b.n, b.limit, b.name)
		}
	}
	return pass("%d undos in the last hour", all)
}

// neighbour returns an undo that is under way in the same chain of calls, or of the same workload.
// The caller holds mu.
func (e *Engine) neighbour(q *inquiry) *Action {
	var chain []string
	for _, a := range e.actions {
		if a.ID == q.action.ID || !a.acting() || !a.Kind.undoes() ||
			a.Service.Cluster != q.action.Service.Cluster {
			continue
		}
		if chain == nil {
			chain = q.policy.chain(q.action.Service, q.context.Related)
		}
		if a.key() == q.action.key() || related(chain, a.Service) {
			return a
		}
	}
	return nil
}

// chain names all that a service calls and all that calls it, however far away.
func (p *policy) chain(s fleet.Service, more []fleet.Service) []string {
	out := []string{s.Namespace + "/" + s.Name}
	for _, m := range more {
		out = append(out, m.Namespace+"/"+m.Name)
	}
	for _, edges := range []map[string][]string{p.Dependencies, p.callers} {
		seen := map[string]bool{}
		todo := []string{s.Namespace + "/" + s.Name, s.Name}
		for len(todo) > 0 {
			name := todo[0]
			todo = todo[1:]
			for _, to := range edges[name] {
				if seen[to] {
					continue
				}
				seen[to] = true
				out = append(out, to)
				todo = append(todo, to)
				if _, bare, ok := strings.Cut(to, "/"); ok {
					todo = append(todo, bare)
				}
			}
		}
	}
	return out[1:]
}

// related says whether a service is in a chain.
func related(chain []string, s fleet.Service) bool {
	return slices.Contains(chain, s.Namespace+"/"+s.Name) || slices.Contains(chain, s.Name)
}

// weather counts a release that is bad enough to be taken back, in any mode, and stops all actions
// if there are too many of them. The same images in several clusters count once. It returns the
// pause that it began, nil if it did not. The caller holds mu.
func (e *Engine) weather(q *inquiry) *Pause {
	s := &q.policy.Storm
	key := badKey(q.action.Service, append([]string{q.action.Bad.Hash}, q.action.Bad.Images...))
	if len(q.action.Bad.Images) > 0 {
		key = badKey(q.action.Service, q.action.Bad.Images)
	}
	if _, ok := e.storm[key]; ok {
		return nil
	}
	e.storm[key] = q.now
	n := 0
	for k, at := range e.storm {
		if q.now.Sub(at) < s.Window {
			n++
		} else {
			delete(e.storm, k)
		}
	}
	share := s.Share * float64(q.context.Services)
	tooMany := n > s.Releases || q.context.Services > 0 && s.Share > 0 && n >= 3 && float64(n) > share
	if !tooMany || e.paused(subject{}, q.now, ByStorm) != nil {
		return nil
	}
	return &Pause{
		Cause: ByStorm, By: "tocsin", Until: q.now.Add(s.Freeze),
		Why: fmt.Sprintf("%d different releases went bad within %s: something else may be the matter",
			n, s.Window),
	}
}

// prune forgets claims and releases that count no more. The caller holds mu.
func (e *Engine) prune(now time.Time) {
	for id, c := range e.claims {
		if now.Sub(c.at) > max(e.policy.CoolDown, time.Hour) {
			delete(e.claims, id)
		}
	}
	for key, at := range e.storm {
		if now.Sub(at) > e.policy.Storm.Window {
			delete(e.storm, key)
		}
	}
}
