package release_test

import (
	"fmt"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/release"
)

// rack is a release of ten pods of which some are new, as looks find them: nobody serves anything.
type rack struct {
	t       *testing.T
	manager *release.Manager
	events  []release.Event
	now     time.Duration
}

func newRack(t *testing.T) *rack {
	t.Helper()
	r := &rack{t: t}
	m, err := release.NewManager(release.ManagerOptions{
		Report: func(e release.Event) { r.events = append(r.events, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.manager = m
	m.Change(rollout(shop, 0, "a", "b"))
	return r
}

// pods are so many pods of a revision in some trouble; none is ready.
func pods(hash string, n int, waiting, terminated string) []release.Pod {
	var out []release.Pod
	for i := range n {
		out = append(out, release.Pod{
			Name: fmt.Sprintf("%s-%d", hash, i), Started: noon.Add(time.Second),
			Waiting: waiting, Terminated: terminated,
		})
	}
	return out
}

func ready(pods []release.Pod) []release.Pod {
	for i := range pods {
		pods[i].Ready = true
	}
	return pods
}

// show looks at the pods every 15 s for some time.
func (r *rack) show(d time.Duration, old, fresh []release.Pod, conditions ...release.Condition) {
	side := func(hash string, pods []release.Pod) release.Side {
		s := release.Side{Hash: hash, Created: int32(len(pods)), Pods: pods}
		for _, p := range pods {
			if p.Ready {
				s.Ready++
				s.Available++
			}
		}
		return s
	}
	for end := r.now + d; r.now < end; {
		r.now += 15 * time.Second
		r.manager.Observe(release.Progress{
			Key: shop, At: noon.Add(r.now), UID: "u1", Desired: 10,
			Old: side("a", old), New: side("b", fresh), Conditions: conditions,
		})
		r.manager.Advance("eu", noon.Add(r.now))
	}
}

func (r *rack) record() release.Record {
	r.t.Helper()
	all := r.manager.Records()
	if len(all) != 1 {
		r.t.Fatalf("%d releases are known, want 1", len(all))
	}
	return all[0]
}

func (r *rack) warns(k release.Key, reason, pod string, after time.Duration) {
	c := change(k, fleet.Warning, after)
	c.Event = &fleet.Event{
		Reason: reason, Message: "Back-off restarting failed container", Object: "Pod/" + pod,
		First: c.At, Last: c.At,
	}
	r.manager.Change(c)
}

// exceeded is what Kubernetes says of a rollout that does not progress.
var exceeded = release.Condition{Reason: string(release.DeadlineExceeded)}

func TestFactsOfKubernetes(t *testing.T) {
	old := func() []release.Pod { return ready(pods("a", 8, "", "")) }
	for _, tc := range []struct {
		name   string
		play   func(*rack)
		want   release.Result
		tier   release.Tier
		metric release.FactKind
	}{
		{"all pods are well", func(r *rack) {
			r.show(5*time.Minute, old(), ready(pods("b", 2, "", "")))
		}, release.Inconclusive, release.Watch, ""},
		{"all new pods crash", func(r *rack) {
			r.show(90*time.Second, old(), pods("b", 3, "CrashLoopBackOff", "Error"))
		}, release.Regressed, release.AtOnce, release.CrashLoop},
		{"two of ten new pods crash", func(r *rack) {
			fresh := ready(pods("b", 10, "", ""))
			copy(fresh, pods("b", 2, "CrashLoopBackOff", ""))
			r.show(75*time.Second, old(), fresh)
		}, release.Regressed, release.RollBack, release.CrashLoop},
		{"two of thirty new pods crash: a bad node", func(r *rack) {
			fresh := ready(pods("b", 30, "", ""))
			copy(fresh, pods("b", 2, "CrashLoopBackOff", ""))
			r.show(5*time.Minute, old(), fresh)
		}, release.Inconclusive, release.Pause, release.CrashLoop},
		{"two pods crash once and then come up", func(r *rack) {
			r.show(15*time.Second, old(), pods("b", 2, "CrashLoopBackOff", "Error"))
			r.show(2*time.Minute, old(), ready(pods("b", 2, "", "Error")))
		}, release.Inconclusive, release.Watch, ""},
		{"the only new pod has just begun to crash", func(r *rack) {
			r.show(15*time.Second, old(), pods("b", 1, "CrashLoopBackOff", ""))
		}, release.Inconclusive, release.Watch, ""},
		{"the only new pod crashes for half a minute", func(r *rack) {
			r.show(45*time.Second, old(), pods("b", 1, "CrashLoopBackOff", ""))
		}, release.Inconclusive, release.Pause, release.CrashLoop},
		{"the only new pod crashes for longer", func(r *rack) {
			r.show(90*time.Second, old(), pods("b", 1, "CrashLoopBackOff", ""))
		}, release.Regressed, release.RollBack, release.CrashLoop},
		{"one of two new pods crashes", func(r *rack) {
			fresh := append(ready(pods("b", 2, "", ""))[1:], pods("b", 1, "CrashLoopBackOff", "")...)
			r.show(5*time.Minute, old(), fresh)
		}, release.Inconclusive, release.Pause, release.CrashLoop},
		{"and the deadline is exceeded", func(r *rack) {
			fresh := append(ready(pods("b", 2, "", ""))[1:], pods("b", 1, "CrashLoopBackOff", "")...)
			r.show(5*time.Minute, old(), fresh, exceeded)
		}, release.Regressed, release.RollBack, release.CrashLoop},
		{"old pods crash, too", func(r *rack) {
			r.show(15*time.Second, append(old(), pods("a9", 1, "CrashLoopBackOff", "")...), nil)
			r.show(5*time.Minute, old(), pods("b", 3, "CrashLoopBackOff", ""), exceeded)
		}, release.Inconclusive, release.Pause, release.DeadlineExceeded},
		{"an event says that an old pod crashes, too", func(r *rack) {
			r.show(15*time.Second, old(), nil)
			r.warns(shop, "BackOff", "a-1", time.Minute)
			r.show(5*time.Minute, old(), pods("b", 3, "CrashLoopBackOff", ""))
		}, release.Inconclusive, release.Watch, release.CrashLoop},
		{"three other workloads crash since the same time", func(r *rack) {
			for i := range 3 {
				k := shop
				k.Service.Name = fmt.Sprintf("other-%d", i)
				r.warns(k, "BackOff", "other", time.Minute)
			}
			r.show(5*time.Minute, old(), pods("b", 3, "CrashLoopBackOff", ""))
		}, release.Inconclusive, release.Watch, release.CrashLoop},
		{"three other workloads have crashed for a day", func(r *rack) {
			for i := range 3 {
				k := shop
				k.Service.Name = fmt.Sprintf("other-%d", i)
				r.warns(k, "BackOff", "other", -24*time.Hour)
			}
			r.show(5*time.Minute, old(), pods("b", 3, "CrashLoopBackOff", ""))
		}, release.Regressed, release.AtOnce, release.CrashLoop},
		{"nobody has seen the old pods work", func(r *rack) {
			r.show(5*time.Minute, nil, pods("b", 3, "CrashLoopBackOff", ""))
		}, release.Inconclusive, release.Pause, release.CrashLoop},
		{"the ledger says that the old revision worked", func(r *rack) {
			if err := r.manager.Mark(shop, "a", release.Accepted, "kim", noon); err != nil {
				r.t.Fatal(err)
			}
			r.show(5*time.Minute, nil, pods("b", 3, "CrashLoopBackOff", ""))
		}, release.Regressed, release.AtOnce, release.CrashLoop},
		{"half of the new pods were killed for their memory", func(r *rack) {
			fresh := append(ready(pods("b", 2, "", "OOMKilled")), ready(pods("c", 2, "", ""))...)
			r.show(time.Minute, old(), fresh)
		}, release.Regressed, release.RollBack, release.OOMKilled},
		{"two of many were", func(r *rack) {
			fresh := append(ready(pods("b", 2, "", "OOMKilled")), ready(pods("c", 5, "", ""))...)
			r.show(5*time.Minute, old(), fresh)
		}, release.Inconclusive, release.Pause, release.OOMKilled},
		{"one was", func(r *rack) {
			fresh := append(ready(pods("b", 1, "", "OOMKilled")), ready(pods("c", 1, "", ""))...)
			r.show(5*time.Minute, old(), fresh)
		}, release.Inconclusive, release.Watch, ""},
		{"old pods are killed for their memory now and then", func(r *rack) {
			before := append(old(), ready(pods("a9", 1, "", "OOMKilled"))...)
			r.show(5*time.Minute, before, ready(pods("b", 2, "", "OOMKilled")))
		}, release.Inconclusive, release.Watch, release.OOMKilled},
		{"the image is not there yet", func(r *rack) {
			r.show(5*time.Minute, old(), pods("b", 2, "ImagePullBackOff", ""))
		}, release.Inconclusive, release.Pause, release.ImagePull},
		{"the image is not there when the deadline is over", func(r *rack) {
			r.show(time.Minute, old(), pods("b", 2, "ImagePullBackOff", ""), exceeded)
		}, release.Regressed, release.RollBack, release.ImagePull},
		{"the image is there for some", func(r *rack) {
			fresh := append(pods("b", 2, "ErrImagePull", ""), ready(pods("c", 2, "", ""))...)
			r.show(2*time.Minute, old(), fresh, exceeded)
		}, release.Inconclusive, release.Pause, release.ImagePull},
		{"a configuration is missing for good", func(r *rack) {
			r.show(11*time.Minute, old(), pods("b", 2, "CreateContainerConfigError", ""))
		}, release.Regressed, release.RollBack, release.FailedStart},
		{"probes fail while pods start", func(r *rack) {
			r.show(time.Minute, old(), pods("b", 2, "", ""))
			r.probes(time.Minute)
			r.show(5*time.Minute, old(), pods("b", 2, "", ""))
		}, release.Inconclusive, release.Watch, ""},
		{"probes fail and the rollout does not progress", func(r *rack) {
			r.show(8*time.Minute, old(), pods("b", 2, "", ""))
			r.probes(8 * time.Minute)
			r.show(4*time.Minute, old(), pods("b", 2, "", ""))
		}, release.Regressed, release.RollBack, release.FailedProbes},
		{"pods are not scheduled, and nothing says why", func(r *rack) {
			r.show(2*time.Minute, old(), pods("b", 2, "", ""), exceeded)
		}, release.Inconclusive, release.Pause, release.DeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRack(t)
			tc.play(r)
			rec := r.record()
			v := rec.Verdict
			if v.Result != tc.want || v.Tier != tc.tier || v.Metric != string(tc.metric) {
				t.Errorf("%v, %v, %q: %s; want %v, %v, %q",
					v.Result, v.Tier, v.Metric, v.Reason, tc.want, tc.tier, tc.metric)
			}
			if decided := rec.Decided != nil; decided != (tc.want == release.Regressed) {
				t.Errorf("decided: %v", decided)
			}
			byFacts := rec.DecidedBy == release.ByFacts && rec.DataAt.Equal(noon.Add(r.now))
			if tc.want == release.Regressed && !byFacts {
				t.Errorf("decided by %q, by data of %s", rec.DecidedBy, rec.DataAt)
			}
		})
	}
}

// probes tells that the probes of the first new pod fail.
func (r *rack) probes(after time.Duration) {
	c := change(shop, fleet.Warning, after)
	c.Event = &fleet.Event{
		Reason: "Unhealthy", Message: "Readiness probe failed", Object: "Pod/b-0",
		First: c.At, Last: c.At,
	}
	r.manager.Change(c)
}
