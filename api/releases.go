package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"tocsin/release"
	"tocsin/remediation/action"
)

// Releases knows the releases that run and the newest of those that are over. Its methods may be
// called concurrently.
type Releases interface {
	Records() []release.Record
	// Ledger returns what is known of the revisions of a workload.
	Ledger(release.Key) []release.Known
	// Mark overrules what is known of a revision. Errors wrap release.ErrUnknownRevision, or
	// ErrNotRecorded: then nothing has changed.
	Mark(
		ctx context.Context, k release.Key, hash string, s release.Standing, by string, at time.Time,
	) error
}

// ReleaseDetail is a release with what else is known of its workload and was done about it.
type ReleaseDetail struct {
	release.Record
	Ledger  []release.Known `json:"ledger"`  // Of the workload's revisions, by first appearance.
	Actions []action.Action `json:"actions"` // By when they were proposed.
}

// errUnfollowed answers for a daemon that does not follow releases.
func errUnfollowed() error {
	return unavailable("this daemon does not follow releases")
}

func releaseList() list {
	return list{
		name: "releases", kind: KindRelease,
		data: map[string]string{
			"cluster": "release.service.cluster", "namespace": "release.service.namespace",
			"service": "release.service.service", "state": "release.state",
			"result": "release.result",
		},
		live: []string{string(release.Rolling), string(release.Stalled), string(release.Soaking)},
		over: []string{
			string(release.Done), string(release.Superseded), string(release.RolledBack),
			string(release.Deleted), string(release.Lost),
		},
	}
}

func (s *Server) releases(r *http.Request) (page, error) {
	if s.opts.Releases == nil {
		return page{}, errUnfollowed()
	}
	if err := checkResult(r); err != nil {
		return page{}, err
	}
	return s.serve(r, releaseList(), s.knownReleases)
}

// checkResult refuses a verdict that is none.
func checkResult(r *http.Request) error {
	text := r.URL.Query().Get("result")
	var result release.Result
	if text == "" {
		return nil
	}
	if err := result.UnmarshalText([]byte(text)); err != nil {
		return bad("%w", err)
	}
	return nil
}

// knownReleases returns the releases that their manager has.
func (s *Server) knownReleases() ([]item, error) {
	all := s.opts.Releases.Records()
	items := make([]item, 0, len(all))
	for i := range all {
		x := &all[i].Release
		items = append(items, item{
			id: x.ID, at: latest(x.Start, x.End, x.Progressed, all[i].Verdict.At), order: x.Start,
			service: x.Service,
			values:  map[string]string{"state": string(x.State), "result": x.Result.String()},
			data:    all[i],
		})
	}
	return items, nil
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// release returns one release with all that is known of it.
func (s *Server) release(r *http.Request) (page, error) {
	if _, err := parameters(r); err != nil {
		return page{}, err
	}
	d, err := s.detail(r)
	return page{data: d}, err
}

// detail reads the release of r's ID.
func (s *Server) detail(r *http.Request) (ReleaseDetail, error) {
	if s.opts.Releases == nil {
		return ReleaseDetail{}, errUnfollowed()
	}
	known := s.opts.Releases.Records()
	id := func(x *release.Record) string { return x.Release.ID }
	record, err := find(s, r, KindRelease, known, id)
	if err != nil {
		return ReleaseDetail{}, err
	}
	d := ReleaseDetail{
		Record: record, Ledger: s.opts.Releases.Ledger(record.Release.Key),
		Actions: []action.Action{},
	}
	if d.Ledger == nil {
		d.Ledger = []release.Known{}
	}
	if s.opts.Actions != nil {
		for _, a := range s.opts.Actions.Actions() {
			if a.Release == record.Release.ID {
				d.Actions = append(d.Actions, a)
			}
		}
	}
	slices.SortFunc(d.Actions, func(a, b action.Action) int { return a.Proposed.Compare(b.Proposed) })
	return d, nil
}

// standing is the body of a request that marks a release.
type standing struct {
	Standing release.Standing `json:"standing"`
	By       string           `json:"by"`
}

// mark overrules what is known of the revision that a release has brought.
func (s *Server) mark(r *http.Request) (page, error) {
	if _, err := parameters(r); err != nil {
		return page{}, err
	}
	var in standing
	if err := decode(r, &in, `{"standing": "accepted", "by": "your name"}`); err != nil {
		return page{}, err
	}
	switch in.Standing {
	case release.Accepted, release.Bad, release.Unknown:
	default:
		return page{}, bad("standing: %q is none; write %s, %s or %s",
			in.Standing, release.Accepted, release.Bad, release.Unknown)
	}
	by, err := s.signed(r, in.By)
	if err != nil {
		return page{}, err
	}
	d, err := s.detail(r)
	if err != nil {
		return page{}, err
	}
	x := &d.Release
	err = s.opts.Releases.Mark(r.Context(), x.Key, x.New.Hash, in.Standing, by, time.Now().UTC())
	switch {
	case errors.Is(err, release.ErrUnknownRevision):
		return page{}, conflict(err)
	case errors.Is(err, ErrNotRecorded):
		return page{}, unavailable("%w", err)
	case err != nil:
		return page{}, err
	}
	s.logger.Info("Revision was marked by a person", "release", x.ID, "service", x.Service,
		"standing", in.Standing, "by", by, "client", r.RemoteAddr)
	d, err = s.detail(r)
	return page{data: d}, err
}
