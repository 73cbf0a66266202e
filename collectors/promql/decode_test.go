package promql

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tocsin/fleet"
	"tocsin/series"
)

const t0 = int64(1_700_000_000_000)

var perService = Query{
	Signal: "requests", Namespace: []string{"namespace"}, Service: []string{"workload", "job"},
}

// cell is one value of an answer, for comparison.
type cell struct {
	Service string
	Instant int
	Value   float64
}

// cells returns what an answer says, in order.
func cells(r *series.Registry, a *answer) []cell {
	var out []cell
	for row, ref := range a.refs {
		id, _ := r.ID(ref)
		for i, v := range a.cells(row) {
			if !isAbsent(v) {
				out = append(out, cell{id.Service.String(), i, v})
			}
		}
	}
	slices.SortFunc(out, func(a, b cell) int {
		if c := strings.Compare(a.Service, b.Service); c != 0 {
			return c
		}
		return a.Instant - b.Instant
	})
	return out
}

// decodeOnce decodes one answer with everything new.
func decodeOnce(body string, s span) (*series.Registry, *answer, error) {
	r := series.NewRegistry(0)
	a := &answer{}
	a.reset(s, 1<<20)
	var d decoder
	q := perService
	err := d.decode(strings.NewReader(body), 64<<20, newTable("eu", &q, r), a)
	return r, a, err
}

func vectorOf(elements ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` +
		strings.Join(elements, ",") + `]}}`
}

func sampleOf(labels, value string) string {
	return `{"metric":{` + labels + `},"value":[1700000000,"` + value + `"]}`
}

func TestDecodeAnswers(t *testing.T) {
	one := span{from: t0, step: 15_000, steps: 1}
	three := span{from: t0, step: 15_000, steps: 3}
	for _, tc := range []struct {
		name  string
		body  string
		span  span
		want  []cell
		drops map[drop]int
	}{
		{
			name: "vector", span: one,
			body: vectorOf(sampleOf(`"namespace":"shop","workload":"cart"`, "1.5"),
				sampleOf(`"namespace":"shop","workload":"pay"`, "0")),
			want: []cell{{"eu/shop/cart", 0, 1.5}, {"eu/shop/pay", 0, 0}},
		},
		{name: "empty", span: one, body: vectorOf()},
		{
			name: "keys in another order, spaces, unknown keys", span: one,
			body: ` { "x" : [1,{"a":"]"}], "data" : { "result" : [ { "value" : [ 1700000000.25 , "2" ] ,
				"other":null, "metric" : { "workload" : "cart" } } ] , "resultType":"vector", "stats":{} } ,
				"status":"success" , "warnings":["w"] } `,
			want: []cell{{"eu//cart", 0, 2}},
		},
		{
			name: "escapes", span: one,
			body: vectorOf(`{"metric":{"work\u006coad":"c\u00e4rt\"}"},"value":[1700000000,"\u0032"]}`),
			want: []cell{{`eu//cärt"}`, 0, 2}},
		},
		{
			name: "NaN is no sample, infinity is dropped", span: one,
			body: vectorOf(sampleOf(`"workload":"a"`, "NaN"), sampleOf(`"workload":"b"`, "+Inf"),
				sampleOf(`"workload":"c"`, "-Inf"), sampleOf(`"workload":"d"`, "4")),
			want: []cell{
				{"eu//a", 0, math.NaN()},
				{"eu//b", 0, math.NaN()},
				{"eu//c", 0, math.NaN()},
				{"eu//d", 0, 4},
			},
			drops: map[drop]int{infinite: 2},
		},
		{
			name: "no service", span: one,
			body: vectorOf(sampleOf(`"namespace":"shop"`, "1"), sampleOf(`"workload":""`, "1"),
				sampleOf(``, "1"), sampleOf(`"workload":"a\u0000b"`, "1")),
			drops: map[drop]int{unmapped: 4},
		},
		{
			name: "second candidate label, and a job with a namespace", span: one,
			body: vectorOf(sampleOf(`"job":"cart"`, "1"), sampleOf(`"job":"shop/pay"`, "2"),
				sampleOf(`"namespace":"a","job":"b/c"`, "3")),
			want: []cell{{"eu//cart", 0, 1}, {"eu/a/c", 0, 3}, {"eu/shop/pay", 0, 2}},
		},
		{
			name: "two of one service: the one seen first counts", span: one,
			body: vectorOf(sampleOf(`"workload":"a","pod":"1"`, "1"),
				sampleOf(`"workload":"a","pod":"2"`, "2")),
			want:  []cell{{"eu//a", 0, 1}},
			drops: map[drop]int{duplicate: 1},
		},
		{
			name: "scalar has no service", span: one,
			body:  `{"status":"success","data":{"resultType":"scalar","result":[1700000000,"3"]}}`,
			drops: map[drop]int{unmapped: 1},
		},
		{
			name: "native histogram", span: one,
			body: vectorOf(`{"metric":{"workload":"a"},"histogram":[1700000000,{"count":"3","buckets":[[0,"1","2","3"]]}]}`,
				sampleOf(`"workload":"b"`, "1")),
			want:  []cell{{"eu//b", 0, 1}},
			drops: map[drop]int{histogram: 1},
		},
		{
			name: "matrix at one instant: the newest", span: one,
			body: `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"workload":"a"},` +
				`"values":[[1699999985,"1"],[1700000000,"2"]]}]}}`,
			want: []cell{{"eu//a", 0, 2}},
		},
		{
			name: "matrix with a hole and a stray time", span: three,
			body: `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"workload":"a"},` +
				`"values":[[1700000000,"1"],[1700000003,"9"],[1700000030.001,"3"],[1700000045,"4"]]}]}}`,
			want:  []cell{{"eu//a", 0, 1}, {"eu//a", 2, 3}},
			drops: map[drop]int{misaligned: 2},
		},
		{
			name: "matrix of label sets that follow each other", span: three,
			body: `{"status":"success","data":{"resultType":"matrix","result":[` +
				`{"metric":{"workload":"a","pod":"1"},"values":[[1700000000,"1"],[1700000015,"2"]]},` +
				`{"metric":{"workload":"a","pod":"2"},"values":[[1700000015,"7"],[1700000030,"8"]]}]}}`,
			want:  []cell{{"eu//a", 0, 1}, {"eu//a", 1, 2}, {"eu//a", 2, 8}},
			drops: map[drop]int{duplicate: 1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, a, err := decodeOnce(tc.body, tc.span)
			if err != nil {
				t.Fatalf("decode: %v", err)
			}
			if diff := cmp.Diff(tc.want, cells(r, a), cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("values differ (-want +got):\n%s", diff)
			}
			for d := kept + 1; d < dropReasons; d++ {
				if a.drops[d] != tc.drops[d] {
					t.Errorf("dropped as %s: %d, want %d", d, a.drops[d], tc.drops[d])
				}
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := vectorOf(sampleOf(`"workload":"a"`, "1"), sampleOf(`"workload":"b"`, "2"))
	for _, tc := range []struct {
		name, body string
		want       error
	}{
		{"nothing", ``, errTruncated},
		{"a page", `<html>sign in</html>`, errMalformed},
		{"half", good[:len(good)/2], errTruncated},
		{"all but the end", good[:len(good)-1], errTruncated},
		{"more", good + `{}`, errMalformed},
		{"null", `null`, errMalformed},
		{"no data", `{"status":"success"}`, errMalformed},
		{"null data", `{"status":"success","data":null}`, errMalformed},
		{"result without type", `{"status":"success","data":{"result":[]}}`, errMalformed},
		{"other status", `{"status":"ok","data":{"resultType":"vector","result":[]}}`, errMalformed},
		{"string", `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`, errWrongType},
		{"streams", `{"status":"success","data":{"resultType":"streams","result":[]}}`, errWrongType},
		{"announced as matrix", strings.Replace(good, `"vector"`, `"matrix"`, 1), errWrongType},
		{"a number without quotes", strings.Replace(good, `"2"`, `2`, 1), errMalformed},
		{"not a number", strings.Replace(good, `"2"`, `"two"`, 1), errMalformed},
		{"labels that are no strings", strings.Replace(good, `"b"`, `7`, 1), errMalformed},
		{"labels that are no object", vectorOf(`{"metric":[],"value":[1,"2"]}`), errMalformed},
		{"no labels", vectorOf(`{"value":[1,"2"]}`), errMalformed},
		{"a time in quotes", strings.Replace(good, `1700000000`, `"1"`, 1), errMalformed},
		{"result is an object", `{"status":"success","data":{"resultType":"vector","result":{}}}`, errMalformed},
		{"label sets of 2 MB", vectorOf(sampleOf(`"workload":"`+strings.Repeat("x", 2<<20)+`"`, "1")), errTooLarge},
		{"deep", strings.Repeat(`[`, 3<<20), errMalformed},
		{"deep and unknown", `{"x":` + strings.Repeat(`[`, 3<<20), errTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := decodeOnce(tc.body, span{from: t0, step: 15_000, steps: 1})
			if !errors.Is(err, tc.want) {
				t.Errorf("decode: %v, want %v", err, tc.want)
			}
		})
	}
}

func TestDecodeErrorOfTheSource(t *testing.T) {
	_, _, err := decodeOnce(`{"status":"error","errorType":"bad_data","error":"parse error:\nline 1"}`,
		span{from: t0, step: 1, steps: 1})
	var fault *apiError
	if !errors.As(err, &fault) || fault.Type != "bad_data" || fault.Message != "parse error: line 1" {
		t.Errorf("decode: %v", err)
	}
}

func TestDecodeKeepsWarnings(t *testing.T) {
	body := vectorOf(sampleOf(`"workload":"a"`, "1"))
	body = strings.Replace(body, `{"status"`, `{"warnings":["\u0007slow"],"infos":["a","b","c","d","e"],"status"`, 1)
	_, a, err := decodeOnce(body, span{from: t0 + 20_000, step: 15_000, steps: 1})
	want := []string{
		" slow", "a", "b", "c", "d", "the values are 20 s older than the instant asked for; a longer lag helps",
	}
	if diff := cmp.Diff(want, a.warnings); diff != "" || err != nil {
		t.Errorf("%v, warnings differ:\n%s", err, diff)
	}
}

func TestDecodeStopsAtItsLimits(t *testing.T) {
	body := vectorOf(sampleOf(`"workload":"a"`, "1"), sampleOf(`"workload":"b"`, "1"))
	q := perService
	r := series.NewRegistry(0)
	var d decoder
	var a answer
	a.reset(span{from: t0, step: 1, steps: 1}, 10)
	limit := int64(len(body))
	if err := d.decode(strings.NewReader(body), limit, newTable("eu", &q, r), &a); err != nil {
		t.Errorf("an answer of just the limit: %v", err)
	}
	a.reset(span{from: t0, step: 1, steps: 1}, 10)
	err := d.decode(strings.NewReader(body), limit-1, newTable("eu", &q, r), &a)
	if !errors.Is(err, errTooLarge) {
		t.Errorf("an answer of one byte more: %v", err)
	}
	a.reset(span{from: t0, step: 1, steps: 1}, 1)
	err = d.decode(strings.NewReader(body), limit, newTable("eu", &q, r), &a)
	if !errors.Is(err, errTooLarge) {
		t.Errorf("more values than there is room for: %v", err)
	}
}

// A source may change the order of its series, lose some and gain others.
func TestDecodeFollowsChanges(t *testing.T) {
	q := perService
	r := series.NewRegistry(3)
	table := newTable("eu", &q, r)
	var d decoder
	var a answer
	for _, tc := range []struct {
		have    string
		want    string
		dropped int
	}{
		{"a=1 b=2 c=3", "a=1 b=2 c=3", 0},
		{"c=1 a=2 b=3", "a=2 b=3 c=1", 0},
		{"b=5", "b=5", 0},
		{"b=5 d=6", "b=5", 1}, // The registry is full.
		{"", "", 0},
		{"a=1 b=2 c=3", "a=1 b=2 c=3", 0},
	} {
		var elements []string
		for _, pair := range strings.Fields(tc.have) {
			name, value, _ := strings.Cut(pair, "=")
			elements = append(elements, sampleOf(`"workload":"`+name+`"`, value))
		}
		a.reset(span{from: t0, step: 15_000, steps: 1}, 100)
		// One byte at a time: the window moves within every token.
		src := iotest.OneByteReader(strings.NewReader(vectorOf(elements...)))
		if err := d.decode(src, 1<<20, table, &a); err != nil {
			t.Fatalf("%s: %v", tc.have, err)
		}
		var got []string
		for _, c := range cells(r, &a) {
			got = append(got, strings.TrimPrefix(c.Service, "eu//")+"="+fmt.Sprint(c.Value))
		}
		if strings.Join(got, " ") != tc.want || a.drops[seriesLimit] != tc.dropped {
			t.Errorf("%q gave %q and dropped %d", tc.have, got, a.drops[seriesLimit])
		}
	}
}

// A Ref that the detector gave up must not be used again.
func TestDecodeAsksAgainForForgottenRefs(t *testing.T) {
	q := perService
	r := series.NewRegistry(1)
	table := newTable("eu", &q, r)
	var d decoder
	var a answer
	decode := func(name string) {
		t.Helper()
		a.reset(span{from: t0, step: 15_000, steps: 1}, 100)
		body := vectorOf(sampleOf(`"workload":"`+name+`"`, "1"))
		if err := d.decode(strings.NewReader(body), 1<<20, table, &a); err != nil {
			t.Fatal(err)
		}
	}
	decode("a")
	old := a.refs[0]
	r.Forget(old)
	decode("a")
	if len(a.refs) != 1 || a.refs[0] == old {
		t.Errorf("Refs are %v, want one other than %d", a.refs, old)
	}
	decode("b")
	if a.drops[seriesLimit] != 1 {
		t.Errorf("dropped %d by the limit, want 1", a.drops[seriesLimit])
	}
	r.Forget(series.Ref(2))
	for range retryFull {
		decode("b")
	}
	if len(a.refs) != 1 {
		t.Errorf("no room was found for b though there is some")
	}
}

func TestZerosBesideLiveTraffic(t *testing.T) {
	r := series.NewRegistry(0)
	s := span{from: t0, step: 15_000, steps: 1}
	volume, failed := Query{Signal: "requests", Service: []string{"s"}}, Query{Signal: "errors", Service: []string{"s"}}
	requests, errs := newTable("eu", &volume, r), newTable("eu", &failed, r)
	var d decoder
	var traffic, a answer
	for range 3 { // The first time everything is new.
		traffic.reset(s, 100)
		a.reset(s, 100)
		body := vectorOf(sampleOf(`"s":"busy"`, "9"), sampleOf(`"s":"idle"`, "0"),
			sampleOf(`"s":"failing"`, "5"), sampleOf(`"s":"unsure"`, "5"))
		if err := d.decode(strings.NewReader(body), 1<<20, requests, &traffic); err != nil {
			t.Fatal(err)
		}
		body = vectorOf(sampleOf(`"s":"failing"`, "3"), sampleOf(`"s":"unsure"`, "NaN"),
			sampleOf(`"s":"quiet"`, "1"))
		if err := d.decode(strings.NewReader(body), 1<<20, errs, &a); err != nil {
			t.Fatal(err)
		}
		if err := errs.zeros(&a, &traffic); err != nil {
			t.Fatal(err)
		}
		want := []cell{{"eu//busy", 0, 0}, {"eu//failing", 0, 3}, {"eu//quiet", 0, 1}, {"eu//unsure", 0, math.NaN()}}
		if diff := cmp.Diff(want, cells(r, &a), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("values differ (-want +got):\n%s", diff)
		}
	}
}

// oracle decodes with encoding/json alone, by the rules that decoder states.
func oracle(body string, s span) (values map[string]float64, ok bool) {
	var top, data map[string]json.RawMessage
	var status, kind string
	var result []map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &top) != nil ||
		json.Unmarshal(top["status"], &status) != nil || status != "success" ||
		json.Unmarshal(top["data"], &data) != nil ||
		json.Unmarshal(data["resultType"], &kind) != nil {
		return nil, false
	}
	if kind == "scalar" {
		return nil, json.Valid(data["result"])
	}
	if json.Unmarshal(data["result"], &result) != nil {
		return nil, false
	}
	values = make(map[string]float64)
	for _, e := range result {
		var labels map[string]string
		if json.Unmarshal(e["metric"], &labels) != nil {
			return nil, false
		}
		service, mapped := serviceOf(&perService, labels)
		var pairs [][]json.RawMessage
		if v, ok := e["values"]; ok && json.Unmarshal(v, &pairs) != nil {
			return nil, false
		}
		if v, ok := e["value"]; ok {
			var pair []json.RawMessage
			if json.Unmarshal(v, &pair) != nil {
				return nil, false
			}
			pairs = append(pairs, pair)
		}
		name := (fleet.Service{Cluster: "eu", Namespace: service.Namespace, Name: service.Name}).String()
		if _, twice := values[name]; twice || !mapped {
			continue
		}
		for _, p := range pairs {
			var at float64
			var text string
			if len(p) != 2 || json.Unmarshal(p[0], &at) != nil || json.Unmarshal(p[1], &text) != nil {
				return nil, false
			}
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, false
			}
			if math.IsInf(v, 0) {
				v = math.NaN()
			}
			values[name] = v // At one instant, the last counts.
		}
	}
	return values, true
}

// compare checks an answer of the decoder against the oracle's.
func compare(t *testing.T, body string, r *series.Registry, a *answer, want map[string]float64) {
	t.Helper()
	got := make(map[string]float64)
	for _, c := range cells(r, a) {
		got[c.Service] = c.Value
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("answers differ (-oracle +decoder):\n%s\n%s", diff, body)
	}
}

// FuzzDecode holds that what the decoder takes is JSON, and says what encoding/json reads in it.
func FuzzDecode(f *testing.F) {
	f.Add(vectorOf(sampleOf(`"workload":"a"`, "1"), sampleOf(`"namespace":"x","workload":"b"`, "NaN")))
	f.Add(vectorOf())
	f.Add(`{"status":"error","errorType":"bad_data","error":"x"}`)
	f.Add(`{"status":"success","data":{"resultType":"scalar","result":[1.5e3,"3"]},"infos":["\u00e4"]}`)
	f.Add(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"a/b"},` +
		`"values":[[1,"1"],[2,"+Inf"]]}]},"warnings":null}`)
	f.Add(vectorOf(`{"metric":{"workload":"a"},"histogram":[1,{"count":"3"}],"x":[{}]}`))
	one := span{from: t0, step: 15_000, steps: 1}
	f.Fuzz(func(t *testing.T, body string) {
		r, a, err := decodeOnce(body, one)
		if err != nil {
			return
		}
		if !json.Valid([]byte(body)) {
			t.Fatalf("took what is not JSON: %q", body)
		}
		if repeats(body) {
			return // Which of two equal keys counts is nobody's promise.
		}
		want, ok := oracle(body, one)
		if !ok {
			t.Fatalf("took what encoding/json refuses: %q", body)
		}
		compare(t, body, r, a, want)
	})
}

// repeats reports whether a key that matters may stand twice in one object.
func repeats(body string) bool {
	n := strings.Count(body, `"metric"`)
	return strings.Count(body, `"value"`)+strings.Count(body, `"values"`) > n ||
		strings.Count(body, `\u`) > 0 || strings.Count(body, `"data"`) > 1 ||
		strings.Count(body, `"resultType"`) > 1 || strings.Count(body, `"status"`) > 1
}

// FuzzDecodeValues holds that every answer which encoding/json can write is taken.
func FuzzDecodeValues(f *testing.F) {
	f.Add("shop", "cart", 1.5, "\u00e4\"\\", uint16(3))
	f.Add("", "a/b", math.Inf(1), "\xff", uint16(500))
	f.Fuzz(func(t *testing.T, namespace, workload string, value float64, other string, n uint16) {
		type element struct {
			Metric map[string]string `json:"metric"`
			Value  [2]any            `json:"value"`
		}
		var result []element
		for i := range int(n % 40) {
			labels := map[string]string{
				"namespace": namespace, "workload": workload + strconv.Itoa(i%25), "other": other,
			}
			text := strconv.FormatFloat(value*float64(i), 'f', -1, 64)
			result = append(result, element{labels, [2]any{float64(t0+int64(i)) / 1000, text}})
		}
		if result == nil {
			result = []element{}
		}
		body, err := json.Marshal(map[string]any{
			"status": "success", other: other,
			"data": map[string]any{"resultType": "vector", "result": result},
		})
		if err != nil || other == "status" || other == "data" {
			return
		}
		one := span{from: t0, step: 15_000, steps: 1}
		r, a, err := decodeOnce(string(body), one)
		if other == "error" || other == "errorType" || other == "warnings" || other == "infos" {
			return
		}
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		want, _ := oracle(string(body), one)
		compare(t, string(body), r, a, want)
	})
}

// steady returns an answer with n services, as a mesh gives them.
func steady(n int) string {
	elements := make([]string, n)
	for i := range elements {
		elements[i] = sampleOf(fmt.Sprintf(
			`"destination_workload":"checkout-service-%d","destination_workload_namespace":"shop-%d"`, i, i%20),
			strconv.FormatFloat(1234.5678*float64(i+1)/7, 'f', -1, 64))
	}
	return vectorOf(elements...)
}

func meshQuery() *Query {
	return &Query{
		Signal:    "requests",
		Namespace: []string{"namespace", "destination_workload_namespace"},
		Service:   []string{"workload", "destination_workload"},
	}
}

func TestDecodeAllocatesNothingPerValue(t *testing.T) {
	const n = 2000
	body := steady(n)
	table := newTable("eu", meshQuery(), series.NewRegistry(0))
	var d decoder
	var a answer
	src := strings.NewReader(body)
	allocs := testing.AllocsPerRun(5, func() {
		src.Reset(body)
		a.reset(span{from: t0, step: 15_000, steps: 1}, n)
		if err := d.decode(src, 64<<20, table, &a); err != nil {
			t.Fatal(err)
		}
	})
	if a.values != n {
		t.Fatalf("%d values, want %d", a.values, n)
	}
	if allocs > 20 {
		t.Errorf("%v allocations for %d values of a steady answer", allocs, n)
	}
}

// BenchmarkDecode measures the way from the bytes of an answer to columns.
func BenchmarkDecode(b *testing.B) {
	const n = 2000
	for name, reorder := range map[string]bool{"steady": false, "shuffled": true} {
		b.Run(name, func(b *testing.B) {
			bodies := []string{steady(n), steady(n)}
			if reorder {
				bodies[1] = reversed(n)
			}
			table := newTable("eu", meshQuery(), series.NewRegistry(0))
			var d decoder
			var a answer
			src := strings.NewReader("")
			b.ReportAllocs()
			b.SetBytes(int64(len(bodies[0])))
			for i := 0; b.Loop(); i++ {
				src.Reset(bodies[i%2])
				a.reset(span{from: t0, step: 15_000, steps: 1}, n)
				if err := d.decode(src, 64<<20, table, &a); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/value")
		})
	}
}

// reversed returns steady(n) with its series the other way round.
func reversed(n int) string {
	body := steady(n)
	start, end := strings.Index(body, "[")+1, strings.LastIndex(body, "]}}")
	parts := strings.SplitAfter(body[start:end], `"]}`)
	for i := range parts {
		parts[i] = strings.TrimPrefix(parts[i], ",")
	}
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	slices.Reverse(parts)
	return body[:start] + strings.Join(parts, ",") + body[end:]
}

// BenchmarkDecodeRange measures the same for the answers of a backfill.
func BenchmarkDecodeRange(b *testing.B) {
	const n, points = 200, 240
	var body strings.Builder
	body.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
	for i := range n {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"metric":{"workload":"checkout-%d"},"values":[`, i)
		for k := range points {
			if k > 0 {
				body.WriteByte(',')
			}
			fmt.Fprintf(&body, `[%d,"%g"]`, t0/1000+int64(15*k), 1234.5678*float64(k+i)/7)
		}
		body.WriteString(`]}`)
	}
	body.WriteString(`]}}`)
	table := newTable("eu", meshQuery(), series.NewRegistry(0))
	var d decoder
	var a answer
	src := strings.NewReader("")
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(body.String())
		a.reset(span{from: t0, step: 15_000, steps: points}, n*points)
		if err := d.decode(src, 64<<20, table, &a); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n*points), "ns/value")
}
