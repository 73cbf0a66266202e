package remediation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/remediation"
)

// message is what a fake receiver got, and when.
type message struct {
	at time.Duration // Since the receiver was made.
	remediation.Notification
}

// receiver is a notifier that keeps what it gets, and fails on demand.
type receiver struct {
	begin time.Time
	fail  func(n int) error // Of the nth attempt, from 1; nil: none fails.
	hang  bool              // It answers only when the attempt's time is up.
	slow  time.Duration     // It takes that long.

	mu       sync.Mutex
	got      []message // What was accepted.
	attempts []time.Duration
	now, top int // Attempts under way, and the most there ever were.
}

func newReceiver() *receiver { return &receiver{begin: time.Now()} }

func (r *receiver) Notify(ctx context.Context, n remediation.Notification) (string, error) {
	r.mu.Lock()
	r.attempts = append(r.attempts, time.Since(r.begin))
	attempt := len(r.attempts)
	r.now++
	r.top = max(r.top, r.now)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.now--
		r.mu.Unlock()
	}()
	if r.hang {
		<-ctx.Done()
		return "", ctx.Err()
	}
	time.Sleep(r.slow)
	if r.fail != nil {
		if err := r.fail(attempt); err != nil {
			return "", err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, message{time.Since(r.begin), n})
	return "handle of " + n.Incident.ID, nil
}

// story writes what the receiver got: when, which incident, in which state.
func (r *receiver) story() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, m := range r.got {
		line := fmt.Sprintf("%s %s %s %s", m.at, m.Incident.ID, m.Incident.State, m.Incident.Severity)
		if m.Repeat {
			line += " repeat"
		}
		if m.Handle != "" {
			line += " edit"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (r *receiver) want(t *testing.T, lines ...string) {
	t.Helper()
	if got, want := r.story(), strings.Join(lines, "\n"); got != want {
		t.Errorf("the receiver got\n%s\nwant\n%s", got, want)
	}
}

// refresher is a receiver that wants open incidents again and again.
type refresher struct{ *receiver }

func (refresher) Refresh() time.Duration { return time.Minute }
func (refresher) Integration() string    { return "alertmanager" }

// openOnly is a receiver that does not want to hear of the end.
type openOnly struct{ *receiver }

func (openOnly) SendsResolved() bool { return false }

// ledger survives restarts, and fails on demand.
type ledger struct {
	mu    sync.Mutex
	saved map[string]remediation.Sent
	err   error
}

func (l *ledger) Load(context.Context) (map[string]remediation.Sent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.saved), l.err
}

func (l *ledger) Save(_ context.Context, s remediation.Sent) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if l.saved == nil {
		l.saved = make(map[string]remediation.Sent)
	}
	l.saved[s.Key] = s
	return nil
}

// records keeps what became of notifications.
type records struct {
	mu  sync.Mutex
	all []remediation.Record
}

func (r *records) add(rec remediation.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
}

func (r *records) outcomes() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, rec := range r.all {
		out = append(out, string(rec.Outcome))
	}
	return strings.Join(out, ", ")
}

// toAll is a policy by which one receiver hears of everything.
func toAll(r *remediation.Route, notifiers ...remediation.Notifier) remediation.Policy {
	r.Receiver = "team"
	return remediation.Policy{
		Route:     r,
		Receivers: map[string][]remediation.Notifier{"team": notifiers},
	}
}

// start runs an engine until the returned function is called.
func start(t *testing.T, o remediation.Options) (e *remediation.Engine, stop func()) {
	t.Helper()
	e, err := remediation.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	}
}

func opened(id string, severity incident.Severity) incident.Incident {
	s := fleet.Service{Cluster: "prod-eu", Namespace: "shop", Name: "cart"}
	return incident.Incident{
		ID: id, Service: s, Services: []fleet.Service{s}, State: incident.Open, Severity: severity,
		Title: "cart in prod-eu: errors 12% (usually 1%)",
		Start: time.Now(), Opened: time.Now(), Updated: time.Now(),
	}
}

func retitled(i incident.Incident, title string) incident.Incident {
	i.Title, i.Updated = title, time.Now()
	return i
}

func resolved(i incident.Incident) incident.Incident {
	i.State, i.End, i.Updated, i.Reason = incident.Resolved, time.Now(), time.Now(), "back to normal"
	return i
}

// after lets time pass until all is quiet.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// That it is in other clusters too is worth an edit.
func TestPeersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver()
		e, stop := start(t, remediation.Options{Policy: toAll(&remediation.Route{}, r)})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(time.Minute)
		i.Peers = incident.Peers{Clusters: 4}
		e.Incident(i)
		after(time.Minute)
		e.Incident(i) // They know that.
		after(time.Minute)
		i.Peers.Deviating = 3
		e.Incident(i)
		after(time.Minute)
		r.want(t, "0s a open warning", "1m0s a open warning edit", "3m0s a open warning edit")
	})
}

// What tocsin does does not wait for the next edit, and is told once, also over a restart.
func TestActsAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, known := newReceiver(), &ledger{}
		o := remediation.Options{Policy: toAll(&remediation.Route{}, r), Ledger: known}
		e, stop := start(t, o)
		i := opened("a", incident.Critical)
		i.Release = &incident.ReleaseInfo{ID: "v42"}
		i.Release.Effect = "errors +4.8 points"
		e.Incident(i)
		after(time.Second)
		i.Acts = []incident.Act{{ID: "x", State: "waiting", Text: "Asks for approval"}}
		e.Incident(i)
		after(time.Second)
		i.Acts = []incident.Act{{ID: "x", State: "waiting", Text: "Asks for approval (expires soon)"}}
		e.Incident(i) // The same in other words: an edit, which may wait.
		after(10 * time.Second)
		i.Release = &incident.ReleaseInfo{ID: "v42"}
		i.Release.Effect = "errors +9 points"
		e.Incident(i)
		after(time.Minute)
		stop()
		e, stop = start(t, o)
		defer stop()
		e.Incident(i)
		after(time.Minute)
		i.Acts = []incident.Act{{ID: "x", State: "recovered", Text: "Rolled back"}}
		e.Incident(i)
		after(time.Minute)
		r.want(t, "0s a open critical", "1s a open critical edit", "31s a open critical edit",
			"2m12s a open critical edit")
	})
}

func TestOneIncidentIsOneMessageThatIsEdited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver()
		e, stop := start(t, remediation.Options{Policy: toAll(&remediation.Route{GroupWait: 20 * time.Second}, r)})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(10 * time.Second)
		i = retitled(i, "worse") // Within the group wait.
		e.Incident(i)
		after(20 * time.Second)
		for n := range 10 { // One edit for all of them.
			i = retitled(i, fmt.Sprint("worse ", n))
			e.Incident(i)
			after(time.Second)
		}
		after(time.Minute)
		i.Severity = incident.Critical
		e.Incident(retitled(i, "bad"))
		after(time.Second)
		e.Incident(retitled(i, "very bad"))
		e.Incident(resolved(i))
		after(time.Hour)
		e.Incident(resolved(i)) // Nobody is told twice.
		after(time.Hour)
		r.want(t,
			"20s a open warning",
			"50s a open warning edit",
			"1m40s a open critical edit",
			"1m41s a resolved critical edit")
		if r.got[1].Incident.Title != "worse 9" {
			t.Errorf("the edit says %q", r.got[1].Incident.Title)
		}
	})
}

func TestResolvedBeforeAnybodyWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, rec := newReceiver(), &records{}
		e, stop := start(t, remediation.Options{
			Policy: toAll(&remediation.Route{GroupWait: 30 * time.Second}, r), Record: rec.add,
		})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(10 * time.Second)
		e.Incident(resolved(i))
		after(time.Hour)
		r.want(t)
		if rec.outcomes() != "skipped" {
			t.Errorf("recorded %s", rec.outcomes())
		}
	})
}

func TestRemindersUntilAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, never := newReceiver(), newReceiver()
		e, stop := start(t, remediation.Options{Policy: remediation.Policy{
			Route: &remediation.Route{Receiver: "never", Routes: []*remediation.Route{
				{Receiver: "team", RepeatInterval: time.Hour, Continue: true},
				{Receiver: "never"},
			}},
			Receivers: map[string][]remediation.Notifier{"team": {r}, "never": {never}},
		}})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(2*time.Hour + 30*time.Minute)
		i.State, i.AcknowledgedBy = incident.Acknowledged, "ann"
		e.Incident(i)
		after(5 * time.Hour)
		r.want(t,
			"0s a open warning",
			"1h0m0s a open warning repeat edit",
			"2h0m0s a open warning repeat edit",
			"2h30m0s a acknowledged warning edit")
		if r.got[1].Digest == r.got[2].Digest || r.got[1].Key != r.got[2].Key {
			t.Error("two reminders must differ in their digest, not in their key")
		}
		never.want(t, "0s a open warning", "2h30m0s a acknowledged warning edit")
	})
}

func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, led, rec := newReceiver(), &ledger{}, &records{}
		e, stop := start(t, remediation.Options{
			Policy: toAll(&remediation.Route{RepeatInterval: time.Hour}, refresher{r}), Ledger: led,
			Record: rec.add,
		})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(2*time.Minute + time.Second)
		i.State = incident.Acknowledged
		e.Incident(i)
		after(time.Minute)
		e.Incident(resolved(i))
		after(time.Hour)
		r.want(t,
			"0s a open warning",
			"1m0s a open warning repeat edit",
			"2m0s a open warning repeat edit",
			"2m1s a acknowledged warning edit",
			"3m1s a acknowledged warning repeat edit",
			"3m1s a resolved warning edit")
		if rec.outcomes() != "sent, sent, sent" {
			t.Errorf("recorded %s: what is sent again without news is not worth a record", rec.outcomes())
		}
	})
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, rec := newReceiver(), &records{}
		r.fail = func(n int) error {
			if n <= 12 {
				return errors.New("answered 500")
			}
			return nil
		}
		e, stop := start(t, remediation.Options{
			Policy: toAll(&remediation.Route{}, r),
			Record: rec.add,
		})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(time.Second)
		if s := e.Status()[0]; s.Pending != 1 || s.Failing != 1 || s.Reason != "answered 500" ||
			s.LastFailure.IsZero() {
			t.Errorf("status is %+v", s)
		}
		after(2 * time.Hour)
		if len(r.got) != 1 || len(r.attempts) != 13 {
			t.Fatalf("%d messages after %d attempts", len(r.got), len(r.attempts))
		}
		for n := 1; n < len(r.attempts); n++ {
			gap := r.attempts[n] - r.attempts[n-1]
			want := min(time.Second<<(n-1), 5*time.Minute)
			if gap < want*7/10 || gap > want*13/10+time.Millisecond {
				t.Errorf("attempt %d came after %s, want about %s", n+1, gap, want)
			}
		}
		if rec.outcomes() != "failed, sent" || rec.all[0].Reason != "answered 500" {
			t.Errorf("recorded %s: %+v", rec.outcomes(), rec.all)
		}
		if s := e.Status()[0]; s.Pending+s.Failing+s.Failures != 0 || s.Reason != "" {
			t.Errorf("status is %+v", s)
		}
	})
}

func TestRetryAfterHoldsTheWholeReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver()
		r.fail = func(n int) error {
			if n == 1 {
				err := &remediation.Error{RetryAfter: 40 * time.Second, Err: errors.New("busy")}
				return fmt.Errorf("post: %w", err)
			}
			return nil
		}
		e, stop := start(t, remediation.Options{Policy: toAll(&remediation.Route{}, r)})
		defer stop()
		e.Incident(opened("a", incident.Warning))
		after(time.Second)
		e.Incident(opened("b", incident.Warning))
		after(time.Second)
		if until := e.Status()[0].PausedUntil; time.Until(until) != 38*time.Second {
			t.Errorf("paused until %s, it is %s", until, time.Now())
		}
		after(time.Minute)
		if len(r.got) != 2 || r.got[0].at != 40*time.Second || r.got[1].at != 40*time.Second {
			t.Errorf("got\n%s\nwant two messages after 40s", r.story())
		}
	})
}

func TestPermanentErrorsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, rec := newReceiver(), &records{}
		refused := true
		r.fail = func(int) error {
			if refused {
				return &remediation.Error{Permanent: true, Err: errors.New("channel_not_found")}
			}
			return nil
		}
		policy := toAll(&remediation.Route{}, r)
		e, stop := start(t, remediation.Options{Policy: policy, Record: rec.add})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(time.Hour)
		e.Incident(retitled(i, "other"))
		after(time.Hour)
		if len(r.attempts) != 1 || rec.outcomes() != "given up" ||
			rec.all[0].Reason != "channel_not_found" {
			t.Errorf("%d attempts, recorded %s", len(r.attempts), rec.outcomes())
		}
		if s := e.Status()[0]; s.Pending != 1 || s.Reason != "channel_not_found" {
			t.Errorf("status is %+v", s)
		}
		i.Severity = incident.Critical // That is worth another attempt.
		e.Incident(i)
		after(time.Hour)
		if len(r.attempts) != 2 {
			t.Errorf("%d attempts after it got worse, want 2", len(r.attempts))
		}
		refused = false // Somebody has mended the configuration.
		if err := e.Apply(policy); err != nil {
			t.Fatal(err)
		}
		after(time.Second)
		if len(r.got) != 1 {
			t.Errorf("%d messages after a reload, want 1", len(r.got))
		}
	})
}

func TestHungReceiverDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, well := newReceiver(), newReceiver()
		hung.hang = true
		e, stop := start(t, remediation.Options{
			Policy: toAll(&remediation.Route{}, hung, well), Concurrency: 3, Timeout: 10 * time.Second,
		})
		for n := range 50 {
			e.Incident(opened(fmt.Sprint("i", n), incident.Warning))
		}
		after(0)
		if len(well.got) != 50 || well.got[49].at != 0 {
			t.Errorf("the other receiver got %d of 50 messages at once", len(well.got))
		}
		after(time.Minute)
		if hung.top != 3 {
			t.Errorf("%d attempts at the same time, want 3", hung.top)
		}
		begin := time.Now()
		stop()
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("stopping took %s", d)
		}
	})
}

// What is under way when the daemon stops is brought to its end, and saved.
func TestStopFinishesWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, led := newReceiver(), &ledger{}
		r.slow = 5 * time.Second
		e, stop := start(t, remediation.Options{Policy: toAll(&remediation.Route{}, r), Ledger: led})
		e.Incident(opened("a", incident.Warning))
		after(time.Second)
		stop()
		if len(r.got) != 1 || led.saved["team/other/0/a"].Handle != "handle of a" {
			t.Errorf("%d messages, saved %v", len(r.got), led.saved)
		}
	})
}

// office is a time interval, every day from 8 to 18.
var office = map[string][]timeinterval.TimeInterval{
	"office": {{Times: []timeinterval.TimeRange{{StartMinute: 8 * 60, EndMinute: 18 * 60}}}},
}

func TestMute(t *testing.T) {
	for _, tc := range []struct {
		name  string
		route remediation.Route
	}{
		{"active only in the interval", remediation.Route{Active: []string{"office"}}},
		{"muted outside of it", remediation.Route{Mute: []string{"night"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // It begins at midnight.
				r, rec := newReceiver(), &records{}
				policy := toAll(&tc.route, r)
				policy.Intervals = maps.Clone(office)
				policy.Intervals["night"] = []timeinterval.TimeInterval{{Times: []timeinterval.TimeRange{
					{StartMinute: 0, EndMinute: 8 * 60}, {StartMinute: 18 * 60, EndMinute: 24 * 60},
				}}}
				e, stop := start(t, remediation.Options{Policy: policy, Record: rec.add})
				defer stop()
				short, long := opened("short", incident.Warning), opened("long", incident.Warning)
				e.Incident(short)
				e.Incident(long)
				after(time.Hour)
				if s := e.Status()[0]; s.Muted != 2 || s.Pending != 2 {
					t.Errorf("status is %+v", s)
				}
				e.Incident(resolved(short))
				after(18 * time.Hour) // 19:00
				e.Incident(resolved(long))
				after(14 * time.Hour) // 9:00
				r.want(t, "8h0m0s long open warning", "32h0m0s long resolved warning edit")
				if rec.outcomes() != "muted, muted, skipped, sent, muted, sent" {
					t.Errorf("recorded %s", rec.outcomes())
				}
			})
		})
	}
}

func TestRestartTellsNobodyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, led := newReceiver(), &ledger{}
		route := &remediation.Route{RepeatInterval: 2 * time.Hour}
		o := remediation.Options{Policy: toAll(route, r), Ledger: led}
		e, stop := start(t, o)
		a, b := opened("a", incident.Warning), opened("b", incident.Warning)
		c := opened("c", incident.Warning)
		for _, i := range []incident.Incident{a, b, c} {
			e.Incident(i)
		}
		after(time.Hour)
		stop()

		e, stop = start(t, o)
		defer stop()
		over, done := resolved(b), resolved(opened("d", incident.Warning))
		for _, i := range []incident.Incident{a, over, retitled(c, "worse"), done} {
			e.Incident(i)
		}
		after(time.Hour)
		got := strings.Split(r.story(), "\n")
		slices.Sort(got[3:5])
		want := []string{
			"1h0m0s b resolved warning edit", "1h0m0s c open warning edit",
			"2h0m0s a open warning repeat edit",
		}
		if !slices.Equal(got[3:], want) {
			t.Errorf("after the restart\n%s\nwant\n%s",
				strings.Join(got[3:], "\n"), strings.Join(want, "\n"))
		}
		if r.got[5].Handle != "handle of a" {
			t.Errorf("the handle is lost: %q", r.got[5].Handle)
		}
	})
}

// A crash between sending and saving: the message comes again, and can be recognised.
func TestCrashBeforeSaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, led := newReceiver(), &ledger{}
		o := remediation.Options{Policy: toAll(&remediation.Route{}, r), Ledger: led}
		e, stop := start(t, o)
		led.err = errors.New("disk full")
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(time.Hour)
		e.Incident(retitled(i, "worse"))
		after(time.Hour)
		if len(r.got) != 2 || r.got[1].Handle != "handle of a" {
			t.Errorf("with a full disk the receiver got\n%s\nwant a message and an edit", r.story())
		}
		stop()
		led.err = nil
		e, stop = start(t, o)
		defer stop()
		e.Incident(i)
		after(time.Hour)
		if len(r.got) != 3 || r.got[2].Key != r.got[0].Key || r.got[2].Digest != r.got[0].Digest {
			t.Errorf("after the crash: %+v", r.got[2:])
		}
	})
}

// half is a receiver whose first message arrives only in part.
type half struct{ *receiver }

func (h half) Notify(ctx context.Context, n remediation.Notification) (string, error) {
	handle, err := h.receiver.Notify(ctx, n)
	if n.Handle == "" {
		return "half", errors.New("the thread is missing")
	}
	return handle, err
}

func TestHandleWithAnErrorIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, led := newReceiver(), &ledger{}
		o := remediation.Options{Policy: toAll(&remediation.Route{}, half{r}), Ledger: led}
		e, stop := start(t, o)
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(0)
		stop()
		if got := led.saved["team/other/0/a"]; got.Handle != "half" || !got.Partial {
			t.Errorf("saved %+v", got)
		}
		e, stop = start(t, o)
		defer stop()
		e.Incident(resolved(i)) // Something stands there: it must not stand there as open.
		after(time.Minute)
		if len(r.got) != 2 || r.got[1].Handle != "half" ||
			r.got[1].Incident.State != incident.Resolved {
			t.Errorf("got\n%s", r.story())
		}
	})
}

func TestReceiverThatDoesNotWantTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver()
		e, stop := start(t, remediation.Options{Policy: toAll(&remediation.Route{}, openOnly{r})})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(time.Minute)
		e.Incident(resolved(i))
		after(time.Hour)
		r.want(t, "0s a open warning")
	})
}

func TestEndExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, rec := newReceiver(), &records{}
		r.fail = func(n int) error {
			if n > 1 {
				return errors.New("gone")
			}
			return nil
		}
		e, stop := start(t, remediation.Options{
			Policy: toAll(&remediation.Route{}, r),
			Record: rec.add,
		})
		defer stop()
		i := opened("a", incident.Warning)
		e.Incident(i)
		after(time.Minute)
		e.Incident(resolved(i))
		after(25 * time.Hour)
		tried := len(r.attempts)
		after(24 * time.Hour)
		if len(r.attempts) != tried || rec.outcomes() != "sent, failed, skipped" ||
			e.Status()[0].Pending != 0 {
			t.Errorf("%d attempts, then %d; recorded %s", tried, len(r.attempts), rec.outcomes())
		}
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, down, fresh, rec := newReceiver(), newReceiver(), newReceiver(), &records{}
		down.fail = func(int) error { return errors.New("down") }
		route := &remediation.Route{Receiver: "a", Routes: []*remediation.Route{
			{Receiver: "a", Continue: true}, {Receiver: "b", Continue: true}, {Receiver: "c"},
		}}
		policy := remediation.Policy{Route: route, Receivers: map[string][]remediation.Notifier{
			"a": {r}, "b": {down}, "c": {down},
		}}
		e, stop := start(t, remediation.Options{Policy: policy, Record: rec.add})
		defer stop()
		i := opened("i", incident.Warning)
		e.Incident(i)
		after(time.Minute)

		bad := policy
		bad.Route = &remediation.Route{Receiver: "nobody"}
		if err := e.Apply(bad); err == nil || !strings.Contains(err.Error(), `"nobody"`) {
			t.Errorf("a route to nobody: %v", err)
		}
		// b has a new address, c is gone, d is new.
		next := remediation.Policy{
			Route: &remediation.Route{Receiver: "a", Routes: []*remediation.Route{
				{Receiver: "a", Continue: true}, {Receiver: "b", Continue: true}, {Receiver: "d"},
			}},
			Receivers: map[string][]remediation.Notifier{"a": {r}, "b": {fresh}, "d": {fresh}},
		}
		if err := e.Apply(next); err != nil {
			t.Fatal(err)
		}
		after(time.Hour)
		tried := len(down.attempts)
		e.Incident(resolved(i))
		after(time.Hour)
		r.want(t, "0s i open warning", "1h1m0s i resolved warning edit")
		fresh.want(t, "1m0s i open warning", "1m0s i open warning",
			"1h1m0s i resolved warning edit", "1h1m0s i resolved warning edit")
		if len(down.attempts) != tried {
			t.Error("a receiver that is gone is still tried")
		}
		if !slices.ContainsFunc(rec.all, func(r remediation.Record) bool {
			return r.Receiver == "c" && r.Outcome == remediation.OutcomeSkipped
		}) {
			t.Errorf("what was lost with a receiver is not recorded: %+v", rec.all)
		}
	})
}

// An incident that gets worse reaches more people; those who know of it hear of its end.
func TestReroutedWhenWorse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chat, pager := newReceiver(), newReceiver()
		e, stop := start(t, remediation.Options{Policy: remediation.Policy{
			Route: &remediation.Route{Receiver: "chat", Routes: []*remediation.Route{
				{Receiver: "pager", Matchers: matchers(t, `severity="critical"`)},
			}},
			Receivers:   map[string][]remediation.Notifier{"chat": {chat}, "pager": {pager}},
			MinSeverity: incident.Warning,
		}})
		defer stop()
		i := opened("a", incident.Info)
		e.Incident(i)
		after(time.Minute)
		i.Severity = incident.Warning
		e.Incident(i)
		after(time.Minute)
		i.Severity = incident.Critical
		e.Incident(i)
		after(time.Minute)
		e.Incident(resolved(i))
		after(time.Minute)
		chat.want(t, "1m0s a open warning", "2m0s a open critical edit",
			"3m0s a resolved critical edit")
		pager.want(t, "2m0s a open critical", "3m0s a resolved critical edit")
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, reg := newReceiver(), prometheus.NewPedanticRegistry()
		r.fail = func(n int) error {
			if n == 1 {
				return errors.New("busy")
			}
			return nil
		}
		e, stop := start(t, remediation.Options{
			Policy: toAll(&remediation.Route{}, refresher{r}),
			Reg:    reg,
		})
		defer stop()
		e.Incident(opened("a", incident.Warning))
		after(30 * time.Second)
		want := `
# HELP tocsin_remediation_notifications_total Attempts to notify, by result.
# TYPE tocsin_remediation_notifications_total counter
tocsin_remediation_notifications_total{integration="alertmanager",result="failed"} 1
tocsin_remediation_notifications_total{integration="alertmanager",result="given_up"} 0
tocsin_remediation_notifications_total{integration="alertmanager",result="sent"} 1
`
		for _, integration := range []string{"other", "slack", "webhook"} {
			for _, result := range []string{"failed", "given_up", "sent"} {
				want += fmt.Sprintf("tocsin_remediation_notifications_total{integration=%q,result=%q} 0\n",
					integration, result)
			}
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want),
			"tocsin_remediation_notifications_total"); err != nil {
			t.Error(err)
		}
	})
}

func TestLedgerThatCannotBeRead(t *testing.T) {
	_, err := remediation.New(t.Context(), remediation.Options{Ledger: &ledger{err: errors.New("torn")}})
	if err == nil || err.Error() != "load what receivers know: torn" {
		t.Errorf("got %v", err)
	}
}
