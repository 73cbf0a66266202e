package release

import (
	"cmp"
	"slices"
	"time"

	"tocsin/fleet"
)

// rollout takes in a new pod template.
func (t *Tracker) rollout(f *Followed, c *fleet.Change) {
	if c.Old == nil || c.New == nil || c.Old.Hash == "" || c.New.Hash == "" {
		t.ignore(f.Key, Malformed)
		return
	}
	if c.Old.Hash == c.New.Hash {
		t.ignore(f.Key, SameTemplate)
		return
	}
	r := &Release{
		Key: f.Key, UID: cmp.Or(c.UID, f.UID), Start: c.At, Author: c.Author,
		Old: slim(c.Old), New: slim(c.New), Paused: f.Paused,
	}
	r.ID, r.Change = releaseID(f.Key, c.UID, r.New.Hash, r.Start), c.ID
	switch {
	case f.remembers(r), c.ID == "" && f.Current == r.New.Hash && !c.At.Before(f.Latest):
		t.ignore(f.Key, Duplicate)
	case !c.At.After(f.Met):
		t.ignore(f.Key, Late)
	case c.At.Before(f.Latest):
		t.late(f, r)
	default:
		f.UID, f.Change = r.UID, r.Change
		t.begin(f, r)
	}
}

// remembers reports whether a release is known. A watcher that starts again may tell another
// time, but the same change.
func (f *Followed) remembers(r *Release) bool {
	if r.Change != "" && r.Change == f.Change {
		return true
	}
	same := func(p Release) bool { return p.ID == r.ID || r.Change != "" && p.Change == r.Change }
	return f.Running != nil && same(*f.Running) || slices.ContainsFunc(f.Past, same)
}

// begin starts to follow a release, in place of the one that is running.
func (t *Tracker) begin(f *Followed, r *Release) {
	if r.ID == "" {
		r.ID = releaseID(f.Key, r.UID, r.New.Hash, r.Start)
	}
	f.note(r.Old.Hash, time.Time{}, t.opts.Revisions)
	f.note(r.New.Hash, r.Start, t.opts.Revisions)
	r.Good, r.Back = f.good(r.New.Hash), f.back(r.Old.Hash, r.New.Hash)
	r.Was = f.known(r.New.Hash).Standing
	if r.Back {
		r.Undoes = f.undone(r.Old.Hash)
	}
	if f.Running != nil {
		state, reason := Superseded, "released over by "+r.New.Hash
		if r.Back && f.back(f.Running.New.Hash, r.New.Hash) {
			state, reason = RolledBack, "taken back to "+r.New.Hash
		}
		f.Running.EndedBy = r.Author
		t.move(f, f.Running, state, r.Start, reason)
	}
	f.Current, f.Latest = r.New.Hash, r.Start
	c := t.clusters[f.Service.Cluster]
	if len(c.releases) >= t.opts.Releases {
		t.ignore(f.Key, TooManyReleases)
		return
	}
	f.Running, r.Progressed = r, r.Start
	c.releases[f.Key], t.running[r.ID] = f, f
	t.move(f, r, Rolling, r.Start, r.Reason)
}

// undone returns the newest release to a revision.
func (f *Followed) undone(hash string) string {
	if f.Running != nil && f.Running.New.Hash == hash {
		return f.Running.ID
	}
	for i := len(f.Past) - 1; i >= 0; i-- {
		if f.Past[i].New.Hash == hash {
			return f.Past[i].ID
		}
	}
	return ""
}

// late takes in a release that was over before anybody told of it. What began since stays as it
// is.
func (t *Tracker) late(f *Followed, r *Release) {
	next := f.Running
	for i := len(f.Past) - 1; i >= 0 && f.Past[i].Start.After(r.Start); i-- {
		next = &f.Past[i]
	}
	forgotten := len(f.Past) >= t.opts.Past && r.Start.Before(f.Past[0].Start)
	if next == nil || forgotten {
		t.ignore(f.Key, Late)
		return
	}
	f.note(r.Old.Hash, time.Time{}, t.opts.Revisions)
	f.note(r.New.Hash, r.Start, t.opts.Revisions)
	state, reason := Superseded, "released over by "+next.New.Hash
	if next.New.Hash == r.Old.Hash {
		state, reason = RolledBack, "taken back to "+next.New.Hash
	}
	r.State, r.Reason = state, reason+"; it was told of late"
	r.End, r.EndedBy = next.Start, next.Author
	t.report(r, Transition{At: r.End, To: state})
	t.file(f, r)
}

// file keeps a release that is over, without what only a running one needs.
func (t *Tracker) file(f *Followed, r *Release) {
	r.Seen, r.Pending = nil, nil
	i, _ := slices.BinarySearchFunc(f.Past, r, func(a Release, b *Release) int {
		if a.Start.After(b.Start) {
			return 1
		}
		return -1 // Of the same second: in the order of arrival.
	})
	f.Past = slices.Insert(f.Past, i, *r)
	if n := len(f.Past) - t.opts.Past; n > 0 {
		f.Past = slices.Delete(f.Past, 0, n)
	}
}

// created takes in a workload that was not there before. There is nothing to compare it with: no
// release.
func (t *Tracker) created(f *Followed, c *fleet.Change) {
	if c.New == nil || c.New.Hash == "" {
		t.ignore(f.Key, Malformed)
		return
	}
	if c.At.Before(f.Latest) || f.Current != "" && (c.UID == f.UID || c.UID == "") {
		t.ignore(f.Key, Duplicate)
		return
	}
	if f.Running != nil {
		t.move(f, f.Running, Deleted, c.At, "the workload was created anew")
	}
	f.UID, f.Current, f.Latest, f.Paused = c.UID, c.New.Hash, c.At, false
	f.note(c.New.Hash, c.At, t.opts.Revisions)
}

// deleted takes in that a workload is gone. Its ledger stays: it may come back.
func (t *Tracker) deleted(f *Followed, c *fleet.Change) {
	if c.At.Before(f.Latest) || c.UID != "" && f.UID != "" && c.UID != f.UID {
		t.ignore(f.Key, Late)
		return
	}
	if f.Running != nil {
		f.Running.EndedBy = c.Author
		t.move(f, f.Running, Deleted, c.At, "the workload was deleted")
	}
	f.UID, f.Current, f.Paused, f.Gone = cmp.Or(c.UID, f.UID), "", false, c.At
}

// pause takes in that a rollout was halted or goes on. Time on hold is not time without progress.
func (t *Tracker) pause(f *Followed, c *fleet.Change) {
	if c.At.Before(f.PausedAt) {
		t.ignore(f.Key, Late)
		return
	}
	f.Paused, f.PausedAt = c.Kind == fleet.Paused, c.At
	r := f.Running
	if r == nil || r.Seen != nil && c.At.Before(r.Seen.At) {
		return
	}
	if r.Paused && !f.Paused && c.At.After(r.Progressed) {
		r.Progressed = c.At
	}
	r.Paused = f.Paused
}

// over returns when a running release is over if nothing else is heard.
func (t *Tracker) over(r *Release) time.Time {
	if r.State == Soaking {
		return r.Complete.Add(t.opts.Soak)
	}
	seen := r.Start
	if r.Seen != nil {
		seen = r.Seen.At
	}
	return seen.Add(t.opts.Lost)
}

// settle ends a release whose soak time is over. It is accepted if it was healthy to the end:
// nobody knows that of one that was not looked at.
func (t *Tracker) settle(f *Followed, now time.Time) {
	r := f.Running
	if r == nil || r.State != Soaking || t.over(r).After(now) {
		return
	}
	at := t.over(r)
	if r.Result == Healthy && at.Sub(r.JudgedAt) <= t.opts.Fresh {
		f.stand(r.New.Hash, Accepted, at, r.ID, "")
	}
	t.move(f, r, Done, at, "soaked for "+t.opts.Soak.String()+", "+r.Result.String())
}

// lose gives up a release that nobody has seen for too long.
func (t *Tracker) lose(f *Followed, now time.Time) {
	if r := f.Running; r != nil && r.State != Soaking && !t.over(r).After(now) {
		t.move(f, r, Lost, t.over(r), "nothing was seen of it for "+t.opts.Lost.String())
	}
}

// Remove gives up the releases of a cluster that nobody watches any more. What is known of its
// revisions stays: it may come back.
func (t *Tracker) Remove(cluster string, now time.Time) {
	c := t.clusters[cluster]
	if c == nil {
		return
	}
	var running []*Followed
	for _, f := range c.releases {
		running = append(running, f)
	}
	slices.SortFunc(running, func(a, b *Followed) int { return a.compare(b.Key) })
	for _, f := range running {
		t.move(f, f.Running, Lost, now.UTC(), "its cluster is not watched any more")
	}
}

// move brings a release into a state and tells of it. One that is over makes room.
func (t *Tracker) move(f *Followed, r *Release, to State, at time.Time, reason string) {
	if r.State == to {
		return
	}
	from := r.State
	r.State, r.Reason = to, reason
	if !to.Running() {
		r.End = at
		f.Running = nil
		delete(t.running, r.ID)
		delete(t.clusters[f.Service.Cluster].releases, f.Key)
	}
	t.report(r, Transition{At: at, From: from, To: to})
	if !to.Running() {
		t.file(f, r)
	}
}

// report tells of a transition.
func (t *Tracker) report(r *Release, tr Transition) {
	r.Steps++
	tr.Step, tr.Release = r.Steps, r.clone()
	t.opts.Report(tr)
}
