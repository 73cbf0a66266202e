package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/api"
	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/store/journal"
)

// desk is where opinions are given: a journal on disk, and a detector that says what is in force.
type desk struct {
	*opinions
	t       *testing.T
	path    string
	reg     *prometheus.Registry
	inForce []detector.Feedback
	broken  error // What the detector answers.
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, path: filepath.Join(t.TempDir(), "journal.db")}
	d.open()
	t.Cleanup(d.close)
	return d
}

// open begins to keep opinions with what the journal has.
func (d *desk) open() {
	d.t.Helper()
	j, err := journal.Open(journal.Options{Path: d.path})
	if err != nil {
		d.t.Fatal(err)
	}
	d.reg, d.inForce = prometheus.NewRegistry(), nil
	logger := slog.New(slog.DiscardHandler)
	a := &archive{j, logger, newMetrics(d.reg).suspect}
	d.opinions = newOpinions(a, func(list []detector.Feedback) error {
		if d.broken == nil {
			d.inForce = slices.Clone(list)
		}
		return d.broken
	}, logger, d.reg)
	if err := d.restore(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) close() {
	d.t.Helper()
	if err := d.journal.Close(); err != nil {
		d.t.Error(err)
	}
}

// about returns an opinion on findings; several are those of the incident "i". They began an hour
// before, two hours before, ...
func about(by string, opinion detector.Opinion, at time.Time, findings ...string) api.Feedback {
	f := api.Feedback{
		By: by, Opinion: opinion, At: at, Service: fleet.Service{Cluster: "c", Name: "s"},
	}
	for i, id := range findings {
		f.Series = append(f.Series, api.JudgedSeries{
			Service: f.Service, Signal: fmt.Sprint("signal-", id), Finding: id,
			Start: at.Add(-time.Duration(i+1) * time.Hour),
		})
	}
	if f.Finding = findings[0]; len(findings) > 1 {
		f.Finding, f.Incident = "", "i"
	}
	return f
}

// give gives an opinion that must be taken.
func (d *desk) give(f api.Feedback) api.Feedback {
	d.t.Helper()
	out, err := d.Give(d.t.Context(), f)
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// wants compares what the detector has with lines of author, opinion and signal.
func (d *desk) wants(when string, want ...string) {
	d.t.Helper()
	got := []string{}
	for _, f := range d.inForce {
		got = append(got, fmt.Sprintf("%s: %s on %s", f.By, f.Opinion, f.Signal))
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		d.t.Errorf("%s: in force are\n%s\nwant\n%s",
			when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// states returns how the newest event of feedback says that it is.
func (d *desk) states(ids ...string) []api.FeedbackState {
	d.t.Helper()
	events, err := d.journal.Latest(d.t.Context(), kindFeedback)
	if err != nil {
		d.t.Fatal(err)
	}
	var out []api.FeedbackState
	for _, id := range ids {
		f, err := journal.Decode[api.Feedback](events[id])
		if err != nil {
			d.t.Fatal(err)
		}
		out = append(out, f.State)
	}
	return out
}

func TestOpinionsOutliveARestart(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	first := d.give(about("ann", detector.NotUseful, now, "a"))
	d.give(about("bob", detector.Useful, now, "a"))
	d.give(about("ann", detector.Expected, now, "b", "c"))
	all := []string{
		"ann: not useful on signal-a", "bob: useful on signal-a",
		"ann: expected on signal-b", "ann: expected on signal-c",
	}
	d.wants("given", all...)
	for _, f := range d.inForce {
		began := now.Add(-2 * time.Hour)
		if f.Finding == "c" && (!f.At.Equal(began) || f.Incident != "i" || f.By != "ann") {
			t.Errorf("the detector is told %+v; want when the finding began, and of what it is", f)
		}
	}
	d.close()
	d.open()
	d.wants("after a restart", all...)

	if _, err := d.Undo(t.Context(), first.ID, "bob", now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	d.wants("undone", all[1:]...)
	d.close()
	d.open()
	d.wants("undone, after a restart", all[1:]...)
	if got := d.states(first.ID); got[0] != api.FeedbackUndone {
		t.Errorf("the journal has it %s, want undone", got)
	}
	if _, err := d.Undo(t.Context(), first.ID, "bob", now); !errors.Is(err, api.ErrFeedbackOver) {
		t.Errorf("undone twice: %v", err)
	}
	if _, err := d.Undo(t.Context(), "none", "bob", now); !errors.Is(err, api.ErrNoFeedback) {
		t.Errorf("undone what there is not: %v", err)
	}
}

func TestANewerOpinionReplacesTheOlder(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	whole := d.give(about("ann", detector.NotUseful, at(0), "a", "b"))
	d.give(about("bob", detector.NotUseful, at(1), "a"))
	one := d.give(about("ann", detector.Useful, at(2), "a"))
	d.wants("one of two replaced",
		"ann: useful on signal-a", "ann: not useful on signal-b", "bob: not useful on signal-a")
	two := d.give(about("ann", detector.Expected, at(3), "b"))
	d.wants("both replaced",
		"ann: useful on signal-a", "ann: expected on signal-b", "bob: not useful on signal-a")
	if got := d.states(whole.ID, one.ID, two.ID); !slices.Equal(got, []api.FeedbackState{
		api.FeedbackReplaced, api.FeedbackActive, api.FeedbackActive,
	}) {
		t.Errorf("the journal has %q", got)
	}
	if _, err := d.Undo(t.Context(), two.ID, "ann", at(4)); err != nil {
		t.Fatal(err)
	}
	d.wants("what was replaced does not come back",
		"ann: useful on signal-a", "bob: not useful on signal-a")
	again := d.give(about("ann", detector.Useful, at(5), "a"))
	if again.ID != one.ID {
		t.Errorf("the same opinion again is %s, want %s as before", again.ID, one.ID)
	}
	events, err := d.journal.Read(t.Context(), journal.Query{Kinds: []string{kindFeedback}})
	if err != nil || len(events) != 7 { // Four given, two changes of the first, one undone.
		t.Errorf("the journal has %d events, %v; want 7", len(events), err)
	}
}

func TestNothingTakesEffectThatIsNotWrittenDown(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	f := d.give(about("ann", detector.Useful, now, "a"))
	d.close() // Nothing can be written from now on.
	_, err := d.Give(t.Context(), about("ann", detector.NotUseful, now, "a"))
	if !errors.Is(err, api.ErrNotRecorded) {
		t.Errorf("given: %v", err)
	}
	if _, err := d.Undo(t.Context(), f.ID, "ann", now); !errors.Is(err, api.ErrNotRecorded) {
		t.Errorf("undone: %v", err)
	}
	d.wants("neither given nor undone", "ann: useful on signal-a")
	d.open()
	d.wants("after a restart", "ann: useful on signal-a")
}

func TestAFailedWriteIsForgotten(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Whoever asked has gone; what was begun is done.
	if _, err := d.Give(ctx, about("ann", detector.Useful, now, "a")); err != nil {
		t.Fatal(err)
	}
	d.wants("given by somebody who has gone", "ann: useful on signal-a")
	d.broken = errors.New("stopped")
	_, err := d.Give(t.Context(), about("ann", detector.Expected, now, "b"))
	if !errors.Is(err, d.broken) || errors.Is(err, api.ErrNotRecorded) {
		t.Errorf("a detector that refuses: %v", err)
	}
	d.broken = nil
	d.give(about("ann", detector.Expected, now, "c"))
	d.wants("once the detector takes it again",
		"ann: useful on signal-a", "ann: expected on signal-b", "ann: expected on signal-c")
}

func TestOldOpinionsEnd(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	old := d.give(about("ann", detector.Useful, now.Add(-detector.FeedbackLasts), "a"))
	d.give(about("ann", detector.Useful, now, "b"))
	d.close()
	d.open()
	d.wants("older than eight weeks", "ann: useful on signal-b")
	late := about("ann", detector.Useful, now, "c")
	late.Series[0].Start = now.Add(-detector.FeedbackLasts)
	if _, err := d.Give(t.Context(), late); !errors.Is(err, api.ErrTooOld) {
		t.Errorf("of an old finding: %v", err)
	}
	if got := d.states(old.ID); got[0] != api.FeedbackExpired {
		t.Errorf("the journal has it %s, want expired", got)
	}
	const want = `
		# HELP tocsin_app_feedback_in_force People's feedback that moves thresholds, by opinion.
		# TYPE tocsin_app_feedback_in_force gauge
		tocsin_app_feedback_in_force{opinion="expected"} 0
		tocsin_app_feedback_in_force{opinion="not useful"} 0
		tocsin_app_feedback_in_force{opinion="useful"} 1
	`
	err := testutil.GatherAndCompare(d.reg, strings.NewReader(want), "tocsin_app_feedback_in_force")
	if err != nil {
		t.Error(err)
	}
}

func TestTooManyOpinionsEndTheOldest(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	some := func(prefix string, n int) []string {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint(prefix, i))
		}
		return ids
	}
	first := d.give(about("ann", detector.Useful, now, some("a", maxJudged/2)...))
	second := d.give(about("ann", detector.Useful, now.Add(time.Second), some("b", maxJudged/2)...))
	third := d.give(about("ann", detector.Useful, now.Add(2*time.Second), "c"))
	if got := d.states(first.ID, second.ID, third.ID); !slices.Equal(got, []api.FeedbackState{
		api.FeedbackExpired, api.FeedbackActive, api.FeedbackActive,
	}) {
		t.Errorf("the journal has %q", got)
	}
	if len(d.inForce) != maxJudged/2+1 {
		t.Errorf("%d series in force, want %d", len(d.inForce), maxJudged/2+1)
	}
}

func TestRetentionKeepsWhatIsInForce(t *testing.T) {
	d := newDesk(t)
	now := time.Now().UTC()
	d.give(about("ann", detector.Useful, now, "a"))
	undone := d.give(about("ann", detector.Useful, now, "b"))
	if _, err := d.Undo(t.Context(), undone.ID, "ann", now); err != nil {
		t.Fatal(err)
	}
	err := d.journal.Append(t.Context(), journal.Entry{Kind: kindStart, Key: "tocsin"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.journal.Prune(t.Context(), now.Add(time.Hour), keepEvent); err != nil {
		t.Fatal(err)
	}
	d.close()
	d.open()
	d.wants("after all else was removed", "ann: useful on signal-a")
}
