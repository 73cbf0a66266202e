package alertmanager_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-openapi/strfmt"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/api/v2/models"

	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/remediation"
	"tocsin/remediation/alertmanager"
)

// fake is an Alertmanager: a transport that decodes alerts as the real one does, without a
// network, so that time can be a bubble's.
type fake struct {
	t      *testing.T
	alerts chan *models.PostableAlert // More room than any test needs.
	status map[string]int             // By host; 200.
	after  string                     // The header Retry-After.
	hung   map[string]bool
}

func newFake(t *testing.T) *fake {
	return &fake{
		t: t, alerts: make(chan *models.PostableAlert, 100),
		status: make(map[string]int), hung: make(map[string]bool),
	}
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.hung[r.URL.Host] {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	answer := httptest.NewRecorder()
	answer.Header().Set("Retry-After", f.after)
	if code := f.status[r.URL.Host]; code != 0 {
		answer.WriteHeader(code)
		return answer.Result(), nil
	}
	if !strings.HasSuffix(r.URL.Path, "/api/v2/alerts") || r.Method != http.MethodPost {
		f.t.Errorf("%s %s", r.Method, r.URL)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var posted models.PostableAlerts
	if err := json.Unmarshal(body, &posted); err != nil {
		f.t.Errorf("decode %s: %v", body, err)
	}
	if err := posted.Validate(strfmt.Default); err != nil {
		f.t.Errorf("Alertmanager would refuse %s: %v", body, err)
	}
	for _, a := range posted {
		f.alerts <- a
	}
	return answer.Result(), nil
}

func (f *fake) notifier(o alertmanager.Options) *alertmanager.Notifier {
	f.t.Helper()
	o.Client = &http.Client{Transport: f}
	if o.URLs == nil {
		o.URLs = []string{"http://one/prefix/"}
	}
	n, err := alertmanager.New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func note() remediation.Notification {
	checkout := fleet.Service{Cluster: "prod-eu", Namespace: "shop", Name: "checkout"}
	start := time.Now().Add(-time.Minute)
	return remediation.Notification{
		Key: "team/alertmanager/0/6f2d", Receiver: "team",
		Link: "https://tocsin.example.com/incidents/6f2d",
		Incident: incident.Incident{
			ID: "6f2d", Fingerprint: "b41e", Service: checkout, Services: []fleet.Service{checkout},
			State: incident.Open, Severity: incident.Warning,
			Title: "checkout in prod-eu: errors 2.4% (usually 0.3%)",
			Start: start, Opened: start, Updated: start,
			Effects: []incident.Effect{
				{
					Service: checkout, Signal: "errors", Harmful: true, Open: true,
					Observed: "2.4%", Expected: "0.3%", Difference: "+2.1 points (8 times)",
				},
				{Service: checkout, Signal: "cpu", Observed: "1%"},
			},
			Causes: []incident.Cause{{
				Change: fleet.Change{
					Service: checkout, Kind: fleet.Rollout,
					Summary: "image shop:v41 -> shop:v42",
				},
				Why: "the same service, 40s before",
			}},
		},
	}
}

func tell(t *testing.T, n *alertmanager.Notifier, m *remediation.Notification) {
	t.Helper()
	handle, err := n.Notify(t.Context(), *m)
	if err != nil {
		t.Fatal(err)
	}
	m.Handle = handle
}

func TestAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		n := f.notifier(alertmanager.Options{
			Labels: map[string]string{"team": "shop", "cluster": "mine"},
		})
		m := note()
		tell(t, n, &m)
		a := <-f.alerts
		identity := models.LabelSet{
			"alertname": "TocsinIncident", "cluster": "prod-eu", "namespace": "shop",
			"service":  "checkout",
			"severity": "warning", "team": "shop",
		}
		if diff := cmp.Diff(identity, a.Labels); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
		details := models.LabelSet{
			"summary":          "checkout in prod-eu: errors 2.4% (usually 0.3%)",
			"description":      "checkout: errors 2.4%, usually 0.3%, +2.1 points (8 times)",
			"causes":           "rollout of prod-eu/shop/checkout: image shop:v41 -> shop:v42 (the same service, 40s before)",
			"incident_id":      "6f2d",
			"fingerprint":      "b41e",
			"state":            "open",
			"current_severity": "warning",
			"link":             "https://tocsin.example.com/incidents/6f2d",
		}
		if diff := cmp.Diff(details, a.Annotations); diff != "" {
			t.Errorf("annotations (-want +got):\n%s", diff)
		}
		if valid := time.Until(time.Time(a.EndsAt)); valid != 4*time.Minute ||
			!time.Time(a.StartsAt).Equal(m.Incident.Start) ||
			a.GeneratorURL != "https://tocsin.example.com/incidents/6f2d" {
			t.Errorf("valid for %s from %s, from %s", valid, a.StartsAt, a.GeneratorURL)
		}

		m.Incident.Severity, m.Incident.Title = incident.Critical, "worse"
		m.Incident.Service.Name = "other" // Never happens, and would be another alert.
		time.Sleep(time.Minute)
		tell(t, n, &m)
		a = <-f.alerts
		if diff := cmp.Diff(identity, a.Labels); diff != "" ||
			a.Annotations["current_severity"] != "critical" {
			t.Errorf("the identity has changed (-want +got):\n%s", diff)
		}
		if valid := time.Until(time.Time(a.EndsAt)); valid != 4*time.Minute {
			t.Errorf("sent again, it is valid for %s", valid)
		}

		m.Incident.State, m.Incident.Reason = incident.Resolved, "back to normal"
		m.Incident.End = time.Now().Add(-5 * time.Minute)
		m.Incident.Start = m.Incident.End.Add(-time.Hour)
		tell(t, n, &m)
		a = <-f.alerts
		if diff := cmp.Diff(identity, a.Labels); diff != "" ||
			!time.Time(a.EndsAt).Equal(m.Incident.End) {
			t.Errorf("the end is %s (-want +got):\n%s", a.EndsAt, diff)
		}
	})
}

func TestPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		m := note()
		m.Incident.Peers = incident.Peers{Clusters: 7}
		tell(t, f.notifier(alertmanager.Options{}), &m)
		want := "checkout: errors 2.4%, usually 0.3%, +2.1 points (8 times)\n" +
			"Peers: only in this cluster (7 others run it and are normal)"
		if got := (<-f.alerts).Annotations["description"]; got != want {
			t.Errorf("the description is\n%s\nwant\n%s", got, want)
		}
	})
}

func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		n := f.notifier(alertmanager.Options{})
		m := note()
		m.Incident.Release = &incident.ReleaseInfo{
			ID: "b07d", Name: "v42", Images: "shop:v41 -> shop:v42", Clusters: []string{"prod-eu", "us-1"},
			Evidence: incident.Evidence{Effect: "errors +4.8 points", After: 40 * time.Second},
		}
		tell(t, n, &m)
		a := <-f.alerts
		if a.Labels["release"] != "b07d" || a.Labels["revision"] != "v42" {
			t.Errorf("labels are %v", a.Labels)
		}
		if _, ok := a.Annotations["action"]; ok {
			t.Error("an action is told of, and there is none")
		}
		before := a.Labels
		m.Incident.Acts = []incident.Act{
			{ID: "x", State: "refused", Text: "Refused: ConfigMap cart changed since v41"},
			{ID: "y", State: "done", Text: "Paused"},
		}
		m.Incident.Release.Name = "v43" // Another one took its place: the alert stays the same one.
		tell(t, n, &m)
		a = <-f.alerts
		if diff := cmp.Diff(before, a.Labels); diff != "" {
			t.Errorf("the identity has changed (-want +got):\n%s", diff)
		}
		want := map[string]string{
			"release": "b07d", "revision": "v43", "clusters": "prod-eu, us-1",
			"action":   "Paused\nRefused: ConfigMap cart changed since v41",
			"evidence": "shop:v41 -> shop:v42\nerrors +4.8 points, 40s after the first new pod",
		}
		for name, text := range want {
			if a.Annotations[name] != text {
				t.Errorf("annotation %s is %q, want %q", name, a.Annotations[name], text)
			}
		}
	})
}

// What concerns all services has no labels that say where it is.
func TestAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		m := note()
		m.Incident.Service, m.Incident.Services, m.Incident.Effects = fleet.Service{}, nil, nil
		tell(t, f.notifier(alertmanager.Options{}), &m)
		want := models.LabelSet{"alertname": "TocsinIncident", "severity": "warning"}
		if diff := cmp.Diff(want, (<-f.alerts).Labels); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
	})
}

// An alert of another time zone, or of a cluster whose clock is ahead, must not be refused, nor
// stay open.
func TestClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		m := note()
		m.Incident.State = incident.Resolved
		m.Incident.Start, m.Incident.End = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		tell(t, f.notifier(alertmanager.Options{}), &m)
		a := <-f.alerts
		if end := time.Time(a.EndsAt); end.After(time.Now()) || !time.Time(a.StartsAt).Before(end) {
			t.Errorf("it is %s, the alert lasts from %s to %s", time.Now(), a.StartsAt, a.EndsAt)
		}
	})
}

func TestRefreshIsWellWithinTheAlertsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		for _, refresh := range []time.Duration{0, time.Second, 10 * time.Minute} {
			n := f.notifier(alertmanager.Options{Refresh: refresh})
			m := note()
			tell(t, n, &m)
			if valid := time.Until(time.Time((<-f.alerts).EndsAt)); valid < 4*n.Refresh() ||
				valid < 4*time.Minute {
				t.Errorf("sent every %s, valid for %s", n.Refresh(), valid)
			}
		}
	})
}

func TestSeveralAlertmanagers(t *testing.T) {
	urls := []string{"http://one", "http://two", "http://three"}
	for _, tc := range []struct {
		name   string
		status map[string]int
		hung   []string
		got    int
		takes  time.Duration
		ok     bool
	}{
		{name: "all well", got: 3, ok: true},
		{name: "one down", status: map[string]int{"one": 500}, got: 2, ok: true},
		{name: "one refuses", status: map[string]int{"one": 400}, got: 2, ok: true},
		{name: "two hung", hung: []string{"one", "three"}, got: 1, takes: time.Second, ok: true},
		{name: "all down", status: map[string]int{"one": 500, "two": 502, "three": 400}},
		{name: "all hung", hung: []string{"one", "two", "three"}, takes: 10 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t)
				for host, code := range tc.status {
					f.status[host] = code
				}
				for _, host := range tc.hung {
					f.hung[host] = true
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				begin := time.Now()
				_, err := f.notifier(alertmanager.Options{URLs: urls}).Notify(ctx, note())
				if (err == nil) != tc.ok || len(f.alerts) != tc.got || time.Since(begin) != tc.takes {
					t.Errorf("%v; %d alerts, want %d, after %s", err, len(f.alerts), tc.got, time.Since(begin))
				}
				var e *remediation.Error
				if err != nil && (!errors.As(err, &e) || e.Permanent) {
					t.Errorf("it must be tried again: %v", err)
				}
			})
		})
	}
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		code      int
		after     string
		permanent bool
		wait      time.Duration
	}{
		{400, "", true, 0},
		{404, "", true, 0},
		{401, "", true, 0},
		{429, "30", false, 30 * time.Second},
		{500, "", false, 0},
		{503, "5", false, 5 * time.Second},
	} {
		f := newFake(t)
		f.status["one"], f.status["two"], f.after = tc.code, tc.code, tc.after
		n := f.notifier(alertmanager.Options{URLs: []string{"http://one", "http://two"}})
		_, err := n.Notify(t.Context(), note())
		var e *remediation.Error
		if !errors.As(err, &e) || e.Permanent != tc.permanent || e.RetryAfter != tc.wait ||
			!strings.Contains(err.Error(), "one") {
			t.Errorf("%d: %v, %+v", tc.code, err, e)
		}
	}
}

func TestHandleThatCannotBeRead(t *testing.T) {
	f := newFake(t)
	m := note()
	m.Handle = "{nonsense"
	tell(t, f.notifier(alertmanager.Options{}), &m)
	if a := <-f.alerts; a.Labels["service"] != "checkout" || m.Handle == "{nonsense" {
		t.Errorf("labels %v, handle %q", a.Labels, m.Handle)
	}
}

func TestLongTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		m := note()
		m.Incident.Title = strings.Repeat("ü", 100_000)
		for range 1000 {
			m.Incident.Effects = append(m.Incident.Effects, m.Incident.Effects[0])
		}
		tell(t, f.notifier(alertmanager.Options{}), &m)
		for name, text := range (<-f.alerts).Annotations {
			if len(text) > 4100 || strings.ContainsRune(text, '�') {
				t.Errorf("annotation %s has %d bytes", name, len(text))
			}
		}
	})
}

func TestOptions(t *testing.T) {
	for _, urls := range [][]string{nil, {"one"}, {"ftp://one"}, {"http://one", "://"}} {
		if _, err := alertmanager.New(alertmanager.Options{URLs: urls}); err == nil {
			t.Errorf("%v is accepted", urls)
		}
	}
	n := newFake(t).notifier(alertmanager.Options{NoResolved: true})
	if n.SendsResolved() || n.Integration() != "alertmanager" {
		t.Error("NoResolved has no effect")
	}
}
