package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/collectors/promql"
	"tocsin/config"
	"tocsin/fleet"
)

// pastSource is a Prometheus that has the history of one simulated cluster: each signal is a metric
// called sim_<signal> with the labels namespace and service.
type pastSource struct {
	*httptest.Server
	begin time.Time
	step  time.Duration

	mu       sync.Mutex // Guards what follows.
	services []fleet.Service
	values   map[string][][]float64 // By metric, instant and service.
	blank    func(at time.Time) bool
	fault    http.HandlerFunc // Instead of any answer.
	asked    int
}

// newPastSource computes so much of a cluster's history.
func newPastSource(t *testing.T, f *sim.Fleet, cluster string, begin time.Time,
	length time.Duration,
) *pastSource {
	t.Helper()
	p := &pastSource{begin: begin, step: time.Minute, values: make(map[string][][]float64)}
	h, err := f.History(cluster, p.step)
	if err != nil {
		t.Fatal(err)
	}
	for at := p.step; at <= length; at += p.step {
		s := h.At(at)
		p.services = s.Services
		for _, c := range s.Columns() {
			p.values["sim_"+c.Signal] = append(p.values["sim_"+c.Signal], slices.Clone(c.Values))
		}
	}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// ServeHTTP implements the query API.
func (p *pastSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.fault != nil {
		p.fault(w, r)
		return
	}
	seconds := func(name string) time.Time {
		v, _ := strconv.ParseFloat(r.FormValue(name), 64)
		return time.UnixMilli(int64(math.Round(v * 1000)))
	}
	from, to, step, kind := seconds("time"), seconds("time"), time.Minute, "vector"
	if strings.HasSuffix(r.URL.Path, "query_range") {
		from, to, kind = seconds("start"), seconds("end"), "matrix"
		v, _ := strconv.ParseFloat(r.FormValue("step"), 64)
		step = time.Duration(v * float64(time.Second))
	}
	expr := r.FormValue("query")
	name, counted := strings.CutPrefix(expr, "label_replace(count(")
	name, _, _ = strings.Cut(name, ")")
	result := []any{}
	for i, s := range p.services {
		labels := map[string]string{"namespace": s.Namespace, "service": s.Name}
		if counted {
			labels = map[string]string{"tocsin_counted": "all"}
		}
		points := p.points(name, i, from, to, step)
		for k := range points {
			if counted {
				points[k][1] = strconv.Itoa(len(p.services))
			}
		}
		switch {
		case len(points) == 0 || counted && i > 0:
		case kind == "matrix":
			result = append(result, map[string]any{"metric": labels, "values": points})
		default:
			result = append(result, map[string]any{"metric": labels, "value": points[0]})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"status": "success", "data": map[string]any{"resultType": kind, "result": result},
	})
}

func (p *pastSource) points(metric string, service int, from, to time.Time,
	step time.Duration,
) (out [][2]any) {
	rows := p.values[metric]
	for at := from; !at.After(to); at = at.Add(step) {
		i := int(at.Sub(p.begin)/p.step) - 1
		if i < 0 || i >= len(rows) || p.blank != nil && p.blank(at) || math.IsNaN(rows[i][service]) {
			continue
		}
		out = append(out, [2]any{
			float64(at.UnixMilli()) / 1000, strconv.FormatFloat(rows[i][service], 'g', -1, 64),
		})
	}
	return out
}

// change changes the source between two requests.
func (p *pastSource) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

const (
	pastLength = 4 * 24 * time.Hour
	pastWarmUp = 2 * 24 * time.Hour
)

// stage is two clusters with four days of history, the last two of which are tested: in the first
// cluster requests of a service fail for half an hour, in the second one a service gets slow.
type stage struct {
	begin, start, end time.Time
	sources           []*pastSource
	victims           []fleet.Service
	faults            []sim.Fault
	config            *config.Config
	text              string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{begin: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}
	s.start, s.end = s.begin.Add(pastWarmUp), s.begin.Add(pastLength)
	options := sim.Options{
		Clusters: 2, Services: 6, Seed: 3, Start: s.begin, Spikes: -1,
		ReleaseEvery: 1000 * time.Hour,
	}
	bare, err := sim.New(options)
	if err != nil {
		t.Fatal(err)
	}
	names := bare.Clusters()
	for i, name := range names {
		h, err := bare.History(name, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		s.victims = append(s.victims, busiest(h.At(12*time.Hour)))
		fault := sim.Fault{
			Kind: sim.ErrorBurst, Errors: 0.4, At: pastWarmUp + 14*time.Hour, For: 30 * time.Minute,
			Cluster: name, Service: s.victims[i].Namespace + "/" + s.victims[i].Name,
		}
		if i == 1 {
			fault.Kind, fault.Errors, fault.Latency = sim.LatencyShift, 0, 4
			fault.At = pastWarmUp + 30*time.Hour
		}
		s.faults = append(s.faults, fault)
	}
	options.Faults = s.faults
	f, err := sim.New(options)
	if err != nil {
		t.Fatal(err)
	}
	s.text = `global: {interval: 1m, window: 5m, backfill: {max_queries_per_second: 1000}}
packs: {enabled: []}
clusters:
`
	for _, name := range names {
		p := newPastSource(t, f, name, s.begin, pastLength)
		s.sources = append(s.sources, p)
		s.text += fmt.Sprintf("- {name: %s, prometheus: {url: %q}}\n", name, p.URL)
	}
	s.text += `signals:
- {name: sim_traffic, query: sim_traffic, kind: rate, bad: down, min_effect_relative: 0.3}
- {name: sim_errors, query: sim_errors, kind: ratio, bad: up, unit: "%", min_effect: 0.01}
- {name: sim_p99, query: sim_p99, kind: latency, bad: up, unit: s, min_effect_relative: 0.2}
- {name: sim_cpu, query: sim_cpu, kind: gauge, bad: up, min_effect_relative: 0.3}
`
	if s.config, err = config.Parse("tocsin.yaml", []byte(s.text)); err != nil {
		t.Fatal(err)
	}
	return s
}

// busiest returns the service with the most requests.
func busiest(s *sim.Signals) fleet.Service {
	best := 0
	for i, v := range s.Traffic {
		if v > s.Traffic[best] {
			best = i
		}
	}
	return s.Services[best]
}

// options asks for the whole stage.
func (s *stage) options() BacktestOptions {
	return BacktestOptions{Config: s.config, Start: s.start, End: s.end, WarmUp: pastWarmUp}
}

// labels writes a label file.
func (s *stage) labels(t *testing.T, rows ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "labels.csv")
	text := "cluster,namespace,service,start,end\n" + strings.Join(rows, "\n") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// row labels a fault.
func (s *stage) row(i int) string {
	from := s.begin.Add(s.faults[i].At)
	return fmt.Sprintf("%s,%s,%s,%s,%d", s.victims[i].Cluster, s.victims[i].Namespace,
		s.victims[i].Name,
		from.Format(time.RFC3339), from.Add(s.faults[i].For).Unix())
}

// written returns a report as text and as a page.
func written(t *testing.T, r *BacktestReport) (text, page string) {
	t.Helper()
	var a, b bytes.Buffer
	if err := errors.Join(r.WriteText(&a), r.WriteHTML(&b)); err != nil {
		t.Fatal(err)
	}
	return a.String(), b.String()
}

// A fault of the past is an incident of the test, with its delay; what nobody told of is missed.
// The same past gives the same bytes.
func TestBacktest(t *testing.T) {
	s := newStage(t)
	outage := s.start.Add(20 * time.Hour)
	s.sources[1].change(func() {
		s.sources[1].blank = func(at time.Time) bool {
			return !at.Before(outage) &&
				at.Before(outage.Add(time.Hour))
		}
	})
	opts := s.options()
	calm := s.start.Add(time.Hour)
	opts.Labels = s.labels(t, s.row(0), s.row(1),
		fmt.Sprintf("%s,,,%d,%d", s.victims[0].Cluster, calm.Unix(),
			calm.Add(time.Minute).Unix()), // Nothing happened.
		fmt.Sprintf("%s,,,%d,%d", s.victims[0].Cluster, s.begin.Unix(),
			s.begin.Unix())) // Not tested.
	var done []float64
	opts.Progress = func(d float64, _ string, _ time.Time) { done = append(done, d) }
	r, err := Backtest(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	text, page := written(t, r)
	t.Log(text)
	for i := range 2 {
		l := r.Labels[i]
		if l.Incident == nil || l.Delay > 15*time.Minute ||
			!slices.Contains(l.Incident.Services, s.victims[i]) {
			t.Errorf("fault %d: %+v", i, l)
			continue
		}
		b := l.Incident
		if b.Peak < 4 || len(b.Traces) == 0 || len(b.Traces[0].Points) < 60 || len(b.Signals()) == 0 {
			t.Errorf("incident: peak %g, %d traces, signals %v", b.Peak, len(b.Traces), b.Signals())
		}
		if !strings.Contains(text, b.ID) || !strings.Contains(page, `id="i`+b.ID+`"`) {
			t.Errorf("incident %s is not shown", b.ID)
		}
	}
	if tested, missed, _ := r.LabelSummary(); tested != 3 || missed != 1 || !r.Labels[3].Outside {
		t.Errorf("%d labels tested, %d missed", tested, missed)
	}
	for _, want := range []string{
		r.Clusters[1].Name + ": no data from " + outage.Format(time.RFC3339) +
			" to ", "1 of 3 missed", "1 outside",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not say %q", want)
		}
	}
	if c := r.Clusters[1]; c.Observed != 47*time.Hour+time.Minute ||
		c.PagesPerWeek <= float64(c.Pages)*3.5 {
		t.Errorf("what was not observed counts: %+v", c)
	}
	if len(done) == 0 || done[len(done)-1] != 1 || !slices.IsSorted(done) {
		t.Errorf("progress: %v", done)
	}
	opts.Parallel = 1
	again, err := Backtest(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if text2, page2 := written(t, again); text2 != text || page2 != page {
		t.Errorf("the second run says something else:\n%s", text2)
	}
}

// The page holds nothing that a browser would fetch or run, whatever services are called.
func TestBacktestPageIsHarmless(t *testing.T) {
	s := newStage(t)
	evil := `<script>alert(1)<b>"onload="x`
	s.sources[0].change(func() {
		for i := range s.sources[0].services {
			if s.sources[0].services[i] == s.victims[0] {
				s.sources[0].services[i].Name = evil
			}
		}
	})
	opts := s.options()
	opts.Clusters = []string{s.victims[0].Cluster}
	r, err := Backtest(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	text, page := written(t, r)
	_, style, _ := strings.Cut(page, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	allowed := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if !strings.Contains(html.UnescapeString(page), allowed) {
		t.Errorf("the page's policy does not allow its own style: want %s", allowed)
	}
	if !strings.Contains(page, "&lt;script&gt;alert") {
		t.Errorf("the service is not shown:\n%s", text)
	}
	for _, bad := range []string{
		"<script", "http:", "https:", "//", "url(", "style=", `"onload`,
		"ZgotmplZ", "src=",
	} {
		if strings.Contains(page, bad) {
			i := strings.Index(page, bad)
			t.Errorf("the page holds %s: %s", bad, page[max(i-80, 0):min(i+80, len(page))])
		}
	}
	if path := os.Getenv("TOCSIN_BACKTEST_PAGE"); path != "" { // To look at it.
		if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// What is not there is said; a source that does not answer ends the test.
func TestBacktestOfWhatIsNotThere(t *testing.T) {
	s := newStage(t)
	short := s.options()
	short.WarmUp, short.Clusters = 14*24*time.Hour, []string{s.victims[0].Cluster}
	r, err := Backtest(t.Context(), short)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := written(t, r); !strings.Contains(text, "1d23h of the warm-up of 14d") {
		t.Errorf("the text does not say how much history there is:\n%s", text)
	}

	none := s.options()
	none.Start, none.End = s.end.Add(time.Hour), s.end.Add(2*time.Hour)
	none.WarmUp = -1
	if _, err := Backtest(t.Context(), none); err == nil ||
		!strings.Contains(err.Error(), "nothing was tested") {
		t.Errorf("got %v", err)
	}

	s.sources[1].change(func() { s.sources[1].fault = http.NotFound })
	var bad *promql.SourceError
	if _, err := Backtest(t.Context(), s.options()); !errors.As(err, &bad) ||
		bad.Cluster != s.victims[1].Cluster ||
		bad.URL != s.sources[1].URL || !strings.Contains(err.Error(), "check prometheus.url") {
		t.Errorf("got %v", err)
	}
}

func TestBacktestRefusesBadInput(t *testing.T) {
	s := newStage(t)
	for _, tc := range []struct {
		name   string
		change func(*BacktestOptions)
		want   string
	}{
		{"no start", func(o *BacktestOptions) { o.Start = time.Time{} }, "no start: say with --start"},
		{"backwards", func(o *BacktestOptions) { o.End = o.Start }, "is not before end"},
		{"future", func(o *BacktestOptions) { o.End = time.Now().Add(time.Hour) }, "lies in the future"},
		{"step", func(o *BacktestOptions) { o.Step = 90 * time.Second }, "want a multiple of it"},
		{
			"cluster", func(o *BacktestOptions) { o.Clusters = []string{"mars"} },
			`no cluster is called "mars"; want one of `,
		},
		{"no file", func(o *BacktestOptions) { o.Labels = "nowhere.csv" }, "nowhere.csv: no such file"},
		{
			"label cluster", func(o *BacktestOptions) { o.Labels = s.labels(t, s.row(0), "mars,,,1,2") },
			`labels.csv:3: cluster "mars"`,
		},
		{"label time", func(o *BacktestOptions) {
			o.Labels = s.labels(t, s.victims[0].Cluster+",,,yesterday,2")
		}, `labels.csv:2: start: "yesterday" is not a time`},
		{"label end", func(o *BacktestOptions) {
			o.Labels = s.labels(t, "", s.victims[0].Cluster+",,,5,2")
		}, "labels.csv:3: end lies before start"},
		{
			"label row", func(o *BacktestOptions) { o.Labels = s.labels(t, "a,b") },
			"labels.csv:2: wrong number of fields",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := s.options()
			tc.change(&opts)
			_, err := Backtest(t.Context(), opts)
			var bad *InputError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	if asked := s.sources[0].asked + s.sources[1].asked; asked != 0 {
		t.Errorf("sources were asked %d times", asked)
	}
}

// A page belongs to a label if it is of its place and of its time.
func TestLabelsMatch(t *testing.T) {
	at := func(m int) time.Time { return time.Date(2026, 1, 1, 0, m, 0, 0, time.UTC) }
	shop := fleet.Service{Cluster: "eu", Namespace: "shop", Name: "cart"}
	page := func(told int, since map[fleet.Service]time.Time) *BacktestIncident {
		b := &BacktestIncident{Since: maps.Clone(since)}
		if told >= 0 {
			b.Paged = at(told)
		}
		return b
	}
	label := BacktestLabel{Service: shop, Start: at(10), End: at(20)}
	for _, tc := range []struct {
		name  string
		label func(*BacktestLabel)
		page  *BacktestIncident
		delay time.Duration
		want  string
	}{
		{name: "told", page: page(13, map[fleet.Service]time.Time{shop: at(12)}), want: "told after 3m"},
		{
			name: "told at once", page: page(8, map[fleet.Service]time.Time{shop: at(8)}),
			want: "told after 0s",
		},
		{
			name: "too mild", page: page(-1, map[fleet.Service]time.Time{shop: at(12)}),
			want: "missed: seen, too mild to tell",
		},
		{name: "long before", page: page(1, map[fleet.Service]time.Time{shop: at(1)}), want: "missed"},
		{name: "long after", page: page(30, map[fleet.Service]time.Time{shop: at(30)}), want: "missed"},
		{name: "joined later", page: page(1, map[fleet.Service]time.Time{
			{Cluster: "eu"}: at(1),
			shop:            at(14),
		}), want: "told after 4m"},
		{name: "elsewhere", page: page(13, map[fleet.Service]time.Time{{
			Cluster: "eu",
			Name:    "cart",
		}: at(12)}), want: "missed"},
		{
			name:  "whole cluster",
			label: func(l *BacktestLabel) { l.Service = fleet.Service{Cluster: "eu"} },
			page:  page(13, map[fleet.Service]time.Time{shop: at(12)}), want: "told after 3m",
		},
		{
			name:  "other cluster",
			label: func(l *BacktestLabel) { l.Service = fleet.Service{Cluster: "us"} },
			page:  page(13, map[fleet.Service]time.Time{shop: at(12)}), want: "missed",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := label
			if tc.label != nil {
				tc.label(&l)
			}
			l.match([]*BacktestIncident{tc.page})
			if got := l.Outcome(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// Clusters that share a budget know of each other what the daemon's would, whoever is faster.
func TestBacktestOfASharedBudget(t *testing.T) {
	s := newStage(t)
	s.config.Alerting.Budget = config.Budget{PagesPerWeek: 2, Per: "fleet"}
	var first string
	for parallel := 1; parallel <= 2; parallel++ {
		opts := s.options()
		opts.Parallel = parallel
		r, err := Backtest(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := written(t, r)
		switch {
		case first == "":
			first = text
		case text != first:
			t.Errorf("%d clusters at a time say something else:\n%s\n%s", parallel, first, text)
		}
		if r.Budget != 2 || len(r.Incidents) == 0 || len(r.Units) != 1 || r.Units[0].Name != "fleet" {
			t.Errorf("the budget is %g, for %+v", r.Budget, r.Units)
		}
	}
	opts := s.options()
	opts.Clusters = []string{s.victims[0].Cluster}
	r, err := Backtest(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if r.Budget != 1 {
		t.Errorf("one of two clusters has %g of 2 pages", r.Budget)
	}
	s.sources[0].change(func() { s.sources[0].fault = http.NotFound })
	if _, err := Backtest(t.Context(), s.options()); err == nil {
		t.Error("a cluster without an answer is no error")
	}
}
