package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	Steps   []ReleaseStep   `json:"steps"`   // Of its life, the oldest first.
}

// ReleaseStep is one of what the journal has of a release: a step from one state to another, the
// first fact of a kind, or a verdict that was worth telling.
type ReleaseStep struct {
	At      time.Time        `json:"at"`
	From    release.State    `json:"from,omitempty"`
	To      release.State    `json:"to,omitempty"`
	Fact    release.FactKind `json:"fact,omitempty"`
	Verdict *release.Verdict `json:"verdict,omitempty"` // Without its metrics.
	Reason  string           `json:"reason,omitempty"`  // Of the state or of the verdict.
	By      string           `json:"by,omitempty"`      // Who began or ended it.
}

// mostSteps bounds how many steps are shown; the newest stay.
const mostSteps = 200

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
	if d.Steps, err = s.steps(r, record.Release.ID); err != nil {
		return ReleaseDetail{}, err
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

// steps reads what the journal has of a release.
func (s *Server) steps(r *http.Request, id string) ([]ReleaseStep, error) {
	q := HistoryQuery{Kind: KindRelease, Key: id, Limit: mostSteps, All: true}
	records, err := s.opts.History.Read(r.Context(), q)
	if err != nil {
		return nil, err
	}
	out := make([]ReleaseStep, 0, len(records))
	for _, record := range slices.Backward(records) {
		var e release.Event
		if err := json.Unmarshal(record.Data, &e); err != nil {
			return nil, fmt.Errorf("read event %d of release %s: %w", record.Seq, id, err)
		}
		out = append(out, stepOf(&e))
	}
	slices.SortStableFunc(out, func(a, b ReleaseStep) int { return a.At.Compare(b.At) })
	return out, nil
}

// stepOf says what is news in an event.
func stepOf(e *release.Event) ReleaseStep {
	t := e.Transition
	if t == nil {
		v := e.Verdict
		v.Metrics = nil
		return ReleaseStep{At: e.At, Verdict: &v, Reason: v.Reason}
	}
	step := ReleaseStep{At: t.At, From: t.From, To: t.To, Fact: t.Fact}
	switch {
	case t.Fact != "": // The reason is that of the state, which is the same.
	case t.From == "":
		step.By = e.Release.Author
	default:
		step.Reason = e.Release.Reason
		if !t.To.Running() {
			step.By = e.Release.EndedBy
		}
	}
	return step
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
