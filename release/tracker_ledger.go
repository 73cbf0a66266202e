package release

import (
	"fmt"
	"slices"
	"time"
)

// Standing is what is known of a revision of a service.
type Standing string

// The standings. A revision that was called bad stays so until a person says otherwise.
const (
	Unknown  Standing = "unknown"
	Accepted Standing = "accepted"
	Bad      Standing = "regressed"
)

// Known is a revision of a workload and its standing.
type Known struct {
	Hash     string    `json:"hash"`
	First    time.Time `json:"first,omitzero"` // Release of it; zero: before anybody looked.
	Last     time.Time `json:"last,omitzero"`  // Last release of it.
	Standing Standing  `json:"standing"`
	At       time.Time `json:"at,omitzero"` // When it got its standing.
	Release  string    `json:"release,omitempty"`
	By       string    `json:"by,omitempty"` // Who gave it, if a person.
}

// known returns the entry of a hash, nil if there is none.
func (f *Followed) known(hash string) *Known {
	for i := range f.Ledger {
		if f.Ledger[i].Hash == hash {
			return &f.Ledger[i]
		}
	}
	return nil
}

// note records that a revision was released at a time; zero if it ran before that.
func (f *Followed) note(hash string, at time.Time, most int) {
	if hash == "" {
		return
	}
	if k := f.known(hash); k != nil {
		if at.After(k.Last) {
			k.Last = at
		}
		return
	}
	f.Ledger = append(f.Ledger, Known{Hash: hash, First: at, Last: at, Standing: Unknown})
	for len(f.Ledger) > most {
		f.forget(hash)
	}
}

// forget drops the revision that has not been released for longest, but none that is needed: the
// current one, the new one, the ones of the running release, and the last good one.
func (f *Followed) forget(hash string) {
	keep := []string{hash, f.Current, f.good("")}
	if r := f.Running; r != nil {
		keep = append(keep, r.Old.Hash, r.New.Hash, r.Good)
	}
	oldest := -1
	for i, k := range f.Ledger {
		if slices.Contains(keep, k.Hash) {
			continue
		}
		if oldest < 0 || k.Last.Before(f.Ledger[oldest].Last) {
			oldest = i
		}
	}
	f.Ledger = slices.Delete(f.Ledger, max(oldest, 0), max(oldest, 0)+1)
}

// good returns the accepted revision that was accepted last, other than one; empty if there is
// none.
func (f *Followed) good(other string) string {
	var best *Known
	for i := range f.Ledger {
		k := &f.Ledger[i]
		if k.Standing == Accepted && k.Hash != other && (best == nil || best.At.Before(k.At)) {
			best = k
		}
	}
	if best == nil {
		return ""
	}
	return best.Hash
}

// back reports whether going from one revision to another is going back: the other ran first.
func (f *Followed) back(from, to string) bool {
	a, b := f.known(from), f.known(to)
	return a != nil && b != nil && b.First.Before(a.First)
}

// stand gives a revision its standing.
func (f *Followed) stand(hash string, s Standing, at time.Time, id, by string) {
	k := f.known(hash)
	if k == nil || k.Standing == Bad && by == "" {
		return
	}
	k.Standing, k.At, k.Release, k.By = s, at, id, by
}

// Judged takes in a verdict on a running release. A release that was called Regressed once stays
// so, and its revision is bad from then on. Healthy only counts if it is the last word when the
// soak time is over.
func (t *Tracker) Judged(id string, v Verdict) error {
	f, ok := t.running[id]
	if !ok {
		return fmt.Errorf("judge release %s: %w", id, ErrNotRunning)
	}
	r, at := f.Running, v.At.UTC()
	if t.settle(f, at); f.Running == nil {
		return fmt.Errorf("judge release %s: %w", id, ErrNotRunning)
	}
	if r.Result == Regressed || at.Before(r.JudgedAt) {
		return nil
	}
	r.Result, r.JudgedAt = v.Result, at
	if v.Result == Regressed {
		f.stand(r.New.Hash, Bad, at, r.ID, "")
	}
	return nil
}

// Mark records what a person says of a revision. It overrules verdicts.
func (t *Tracker) Mark(k Key, hash string, s Standing, by string, at time.Time) error {
	f := t.workloads[k]
	if f == nil || f.known(hash) == nil {
		return fmt.Errorf("mark revision %s of %s: %w", hash, k.Service, ErrUnknownRevision)
	}
	if by == "" || s != Unknown && s != Accepted && s != Bad {
		return fmt.Errorf("mark revision %s of %s as %q by %q: want a standing and a name",
			hash, k.Service, s, by)
	}
	f.stand(hash, s, at.UTC(), "", by)
	if r := f.Running; r != nil && s == Accepted {
		if r.New.Hash != hash && r.Good == "" {
			r.Good = hash
		}
		if r.New.Hash == hash && r.Result == Regressed {
			r.Result = Inconclusive
		}
	}
	return nil
}

// LastGood returns the revision of a workload that was accepted last, other than the one given;
// false if there is none. It is what a release is taken back to.
func (t *Tracker) LastGood(k Key, other string) (Known, bool) {
	f := t.workloads[k]
	if f == nil {
		return Known{}, false
	}
	good := f.known(f.good(other))
	if good == nil {
		return Known{}, false
	}
	return *good, true
}

// Ledger returns what is known of the revisions of a workload, by first appearance.
func (t *Tracker) Ledger(k Key) []Known {
	f := t.workloads[k]
	if f == nil {
		return nil
	}
	out := slices.Clone(f.Ledger)
	slices.SortStableFunc(out, func(a, b Known) int { return a.First.Compare(b.First) })
	return out
}
