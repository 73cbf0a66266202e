package offline

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tocsin/release"
	"tocsin/release/evidence"
	"tocsin/release/simulation"
)

// recorder writes simulated releases as a recording of pods: cumulative counters.
type recorder struct {
	buf    bytes.Buffer
	csv    *csv.Writer
	bounds []float64
	factor float64 // Of latency and memory: units must not matter.
}

func newRecorder(t *testing.T, factor float64) *recorder {
	t.Helper()
	r := &recorder{bounds: simulation.Bounds(), factor: factor}
	r.csv = csv.NewWriter(&r.buf)
	header := strings.Split("release,time,pod,revision,requests,errors,cpu_seconds,memory_bytes", ",")
	for _, le := range r.bounds {
		text := "+Inf"
		if !math.IsInf(le, 1) {
			text = strconv.FormatFloat(le*factor, 'g', -1, 64)
		}
		header = append(header, "latency_le_"+text)
	}
	r.write(t, header)
	return r
}

func (r *recorder) write(t *testing.T, record []string) {
	t.Helper()
	if err := r.csv.Write(record); err != nil {
		t.Fatal(err)
	}
}

func (r *recorder) release(t *testing.T, name string, s *simulation.Service, h simulation.Harm) {
	t.Helper()
	type state struct {
		requests, errors, cpu float64
		latency               []float64
	}
	pods := map[string]*state{}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	s.Release(h, func(w *evidence.Window) bool {
		for _, p := range w.Pods {
			k := pods[p.Pod]
			if k == nil {
				k = &state{latency: make([]float64, len(r.bounds))}
				pods[p.Pod] = k
			}
			k.requests += p.Requests
			k.errors += p.Errors
			if !math.IsNaN(p.CPUSeconds) {
				k.cpu += p.CPUSeconds
			}
			revision := "old"
			if p.New {
				revision = "new"
			}
			row := []string{
				name, fmt.Sprint(w.At.Unix()), p.Pod, revision, number(k.requests), number(k.errors), number(k.cpu),
				number(p.MemoryBytes * r.factor),
			}
			sum := 0.0
			for i := range r.bounds {
				if p.Latency != nil {
					k.latency[i] += p.Latency[i]
				}
				sum += k.latency[i]
				row = append(row, number(sum))
			}
			r.write(t, row)
		}
		return true
	})
}

func (r *recorder) bytes(t *testing.T) []byte {
	t.Helper()
	r.csv.Flush()
	if err := r.csv.Error(); err != nil {
		t.Fatal(err)
	}
	return r.buf.Bytes()
}

func judge(t *testing.T, recording []byte) map[string]Line {
	t.Helper()
	var out bytes.Buffer
	if err := Pods(PodOptions{Path: "-", In: bytes.NewReader(recording), Out: &out, Alpha: 0.001}); err != nil {
		t.Fatal(err)
	}
	lines := map[string]Line{}
	for d := json.NewDecoder(&out); d.More(); {
		var l Line
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if _, twice := lines[l.Release]; twice {
			t.Errorf("%s: two verdicts", l.Release)
		}
		lines[l.Release] = l
	}
	return lines
}

func medium(seed uint64) *simulation.Service {
	return simulation.NewService(0, seed, simulation.Shape{
		Class: simulation.Classes()[1], Style: simulation.Progressive, Before: 10 * time.Minute, Watch: 20 * time.Minute,
	})
}

func TestPodsLearnsFromHistoryAndJudges(t *testing.T) {
	record := func(factor float64) []byte {
		s, r := medium(3), newRecorder(t, factor)
		for i := range 4 {
			r.release(t, fmt.Sprintf("history/shop/%d", i), s, simulation.Harm{})
		}
		r.release(t, "shop/good", s, simulation.Harm{})
		r.release(t, "shop/bad", s, simulation.Harm{Errors: 0.05})
		r.release(t, "shop/slow", s, simulation.Harm{Latency: 2})
		return r.bytes(t)
	}
	got := judge(t, record(1))
	want := map[string]release.Result{
		"shop/good": release.Healthy, "shop/bad": release.Regressed, "shop/slow": release.Regressed,
	}
	for name, result := range want {
		if got[name].Verdict != result {
			t.Errorf("%s: verdict %v (%s), want %v", name, got[name].Verdict, got[name].Reason, result)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines, want %d: %v", len(got), len(want), got)
	}
	if l := got["shop/bad"]; l.After > 150 || l.Metric != "errors" || *l.Lower > 0.05 || *l.Upper < 0.05 || l.EValue < 1000 {
		t.Errorf("shop/bad: %+v", l)
	}
	milliseconds := judge(t, record(1000))
	for name := range want {
		a, b := got[name], milliseconds[name]
		if a.Verdict != b.Verdict || a.After != b.After {
			t.Errorf("%s: in other units %v after %v s, want %v after %v s", name, b.Verdict, b.After, a.Verdict, a.After)
		}
	}
}

func TestPodsPoolsClusters(t *testing.T) {
	r := newRecorder(t, 1)
	shape := simulation.Shape{
		Class: simulation.Classes()[0], Style: simulation.Fixed, Before: 15 * time.Minute, Watch: 20 * time.Minute,
		Start: time.Unix(1_700_000_000, 0),
	}
	for _, h := range []simulation.Harm{{Name: "good"}, {Name: "bad", Errors: 0.04}} {
		s := simulation.NewService(1, 5, shape)
		for c := range 12 {
			r.release(t, fmt.Sprintf("cart/%s/c%d", h.Name, c), s, h)
		}
	}
	got := judge(t, r.bytes(t))
	if len(got) != 2 || got["cart/bad"].Verdict != release.Regressed || got["cart/good"].Verdict == release.Regressed {
		t.Errorf("got %+v", got)
	}
}

func TestPodsRefusesBadInput(t *testing.T) {
	const header = "release,time,pod,revision,requests,errors,cpu_seconds,memory_bytes,latency_le_0.1,latency_le_+Inf\n"
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "empty file"},
		{"no column", "release,time,pod,requests\n", "revision: the column is missing"},
		{"no infinity", "release,time,pod,revision,requests,latency_le_1\n", "latency_le_+Inf"},
		{"bound", "release,time,pod,revision,requests,latency_le_x\n", "not a number"},
		{"time", header + "a,yesterday,p,old,1,1,1,1,1,1\n", ":2: time"},
		{"revision", header + "a,1,p,old,1,1,1,1,1,1\na,2,p,newer,1,1,1,1,1,1\n", ":3: revision"},
		{"number", header + "a,1,p,old,many,1,1,1,1,1\n", ":2: requests"},
		{"negative", header + "a,1,p,old,1,-1,1,1,1,1\n", ":2: errors"},
		{"order", header + "a,9,p,old,1,1,1,1,1,1\na,2,p,old,1,1,1,1,1,1\n", ":3: time"},
		{"cells", header + "a,9,p\n", ":2: wrong number of fields"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pods.csv")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Pods(PodOptions{Path: path, Out: &bytes.Buffer{}})
			var bad *RowError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	if err := Pods(PodOptions{Path: "no/such.csv", Out: &bytes.Buffer{}}); !errors.As(err, new(*RowError)) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestPodsWithoutTrafficIsInconclusive(t *testing.T) {
	var text strings.Builder
	text.WriteString("release,time,pod,revision,requests,errors\n")
	for i := range 40 {
		fmt.Fprintf(&text, "a/1,%d,o,old,%d,0\n", 15*i, 100*i)
		if i > 5 {
			fmt.Fprintf(&text, "a/1,%d,n,new,0,0\n", 15*i)
		}
	}
	got := judge(t, []byte(text.String()))["a/1"]
	if got.Verdict != release.Inconclusive || got.MissingRequests == 0 || got.Time != 15*39 {
		t.Errorf("got %+v", got)
	}
}
