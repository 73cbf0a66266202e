package promql

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/fleet"
	"tocsin/series"
)

// podSource is a source of pods that behaves: it evaluates `metric by (labels) {matchers}` at one
// instant or over a range, in the words of the tests' queries. On demand it misbehaves.
type podSource struct {
	mu      sync.Mutex // Guards what follows.
	series  []podCounter
	fail    map[string]http.HandlerFunc // By metric, instead of an answer.
	asked   []string                    // Queries for pods and totals, in order.
	longest int
}

// podCounter is one series: its labels with __name__, and its value at an instant.
type podCounter struct {
	labels map[string]string
	value  func(at time.Time) float64 // NaN: no sample.
	native func(at time.Time) string  // JSON of a native histogram; nil: it is a number.
}

var (
	queryForm   = regexp.MustCompile(`^(\w+) by \(([^)]*)\) \{(.*)\}$`)
	matcherForm = regexp.MustCompile(`(\w+)(=~|!=|=)("(?:[^"\\]|\\.)*")`)
)

func (s *podSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	expr := r.FormValue("query")
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if expr == "up" || strings.HasPrefix(expr, "probe_") {
		_, _ = fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[`+
			`{"metric":{"workload":"x"},"value":[0,"1"]}]}}`)
		return
	}
	if families, ok := strings.CutPrefix(expr, "count by (__name__) ("); ok {
		s.catalogue(w, strings.TrimSuffix(families, ")"))
		return
	}
	s.asked = append(s.asked, expr)
	s.longest = max(s.longest, len(expr))
	parts := queryForm.FindStringSubmatch(expr)
	if parts == nil {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"parse error"}`)
		return
	}
	if fault := s.fail[parts[1]]; fault != nil {
		fault(w, r)
		return
	}
	seconds := func(name string) float64 {
		f, _ := strconv.ParseFloat(r.FormValue(name), 64)
		return f
	}
	from, to, step := seconds("time"), seconds("time"), 1.0
	if r.FormValue("start") != "" {
		from, to, step = seconds("start"), seconds("end"), seconds("step")
	}
	s.answer(w, parts, from, to, step, r.FormValue("start") != "")
}

// catalogue answers which metrics there are.
func (s *podSource) catalogue(w http.ResponseWriter, selector string) {
	var result []map[string]any
	var names []string
	selects := selecting(selector)
	for _, c := range s.series {
		if name := c.labels["__name__"]; selects(c.labels) && !slices.Contains(names, name) {
			names = append(names, name)
			result = append(result, map[string]any{
				"metric": map[string]string{"__name__": name}, "value": []any{0, "1"},
			})
		}
	}
	write(w, "vector", result)
}

func (s *podSource) answer(
	w http.ResponseWriter, parts []string, from, to, step float64, isRange bool,
) {
	by, selects := strings.Split(parts[2], ", "), selecting(parts[3])
	var result []map[string]any
	for _, c := range s.series {
		if c.labels["__name__"] != parts[1] || !selects(c.labels) {
			continue
		}
		labels := make(map[string]string)
		for _, name := range by {
			if c.labels[name] != "" {
				labels[name] = c.labels[name]
			}
		}
		key, points := "value", [][]any{}
		for at := from; at <= to; at += step {
			now := time.UnixMilli(int64(math.Round(at * 1000))).UTC()
			if c.native != nil {
				key = "histogram"
				points = append(points, []any{at, json.RawMessage(c.native(now))})
			} else if v := c.value(now); !math.IsNaN(v) {
				points = append(points, []any{at, strconv.FormatFloat(v, 'f', -1, 64)})
			}
		}
		switch {
		case len(points) == 0:
		case isRange:
			result = append(result, map[string]any{"metric": labels, key + "s": points})
		default:
			result = append(result, map[string]any{"metric": labels, key: points[0]})
		}
	}
	write(w, map[bool]string{true: "matrix", false: "vector"}[isRange], result)
}

// selecting returns what says whether labels match a selector.
func selecting(selector string) func(labels map[string]string) bool {
	var all []func(labels map[string]string) bool
	for _, m := range matcherForm.FindAllStringSubmatch(selector, -1) {
		name, op := m[1], m[2]
		want, err := strconv.Unquote(m[3])
		if err != nil {
			panic(err)
		}
		expr := regexp.MustCompile("^(?:" + regexp.QuoteMeta(want) + ")$")
		if op == "=~" {
			expr = regexp.MustCompile("^(?:" + want + ")$")
		}
		all = append(all, func(labels map[string]string) bool {
			return expr.MatchString(labels[name]) == (op != "!=")
		})
	}
	return func(labels map[string]string) bool {
		return !slices.ContainsFunc(all, func(m func(map[string]string) bool) bool { return !m(labels) })
	}
}

func write(w http.ResponseWriter, kind string, result []map[string]any) {
	if result == nil {
		result = []map[string]any{}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"status": "success", "data": map[string]any{"resultType": kind, "result": result},
	})
}

// change changes the source between two requests.
func (s *podSource) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// queries returns what was asked since the last time.
func (s *podSource) queries() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

// counter adds a series that grows by perSecond from the epoch on.
func (s *podSource) counter(name string, perSecond float64, labels ...string) {
	grown := func(at time.Time) float64 { return perSecond * float64(at.Unix()-podEpoch) }
	s.add(name, grown, labels...)
}

func (s *podSource) add(name string, value func(time.Time) float64, labels ...string) {
	set := map[string]string{"__name__": name}
	for i := 0; i < len(labels); i += 2 {
		set[labels[i]] = labels[i+1]
	}
	s.change(func() { s.series = append(s.series, podCounter{labels: set, value: value}) })
}

// podEpoch is when the counters of tests begin.
const podEpoch = 1_700_000_000

// podSetOf returns the queries of a set whose metrics are called set_requests and so on.
func podSetOf(set string, metrics ...string) []PodQuery {
	var out []PodQuery
	for _, name := range metrics {
		family := set + "_" + name
		by := "$pod"
		if name == PodLatency {
			by += ", le"
		}
		out = append(out, PodQuery{
			Name: name, Set: set, Expr: family + " by (" + by + ") {$selector}",
			Metrics: []string{family}, Namespace: []string{"namespace"}, Pod: []string{"pod", "pod_name"},
		})
	}
	return out
}

// newPodSource starts a source of pods and what asks it.
func newPodSource(t testing.TB, queries ...[]PodQuery) (*podSource, *Source) {
	t.Helper()
	fake := &podSource{fail: make(map[string]http.HandlerFunc)}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	source, err := New(Options{
		Cluster: "eu", URL: server.URL, Client: server.Client(), Pods: slices.Concat(queries...),
		Queries:  []Query{{Signal: "up", Expr: "up", Service: []string{"workload"}}},
		Registry: series.NewRegistry(0), Sink: nowhere{}, Window: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	source.reached() // Its loop does not run.
	return fake, source
}

// shop names pods of a service.
func shop(service string, pods ...string) PodTarget {
	s := fleet.Service{Cluster: "eu", Namespace: "shop", Name: service}
	return PodTarget{Service: s, Pods: pods}
}

// podRange is so many instants after the epoch.
func podRange(steps int, targets ...PodTarget) PodRange {
	from := time.Unix(podEpoch, 0).Truncate(15 * time.Second).Add(time.Hour)
	to := from.Add(time.Duration(steps-1) * 15 * time.Second)
	return PodRange{From: from, To: to, Targets: targets}
}
