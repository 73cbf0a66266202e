package promql

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/series"
)

// fakeProm is a source that behaves: it evaluates the names of signals as expressions, at one
// instant or over a range. On demand it misbehaves.
type fakeProm struct {
	listener pipeListener

	mu       sync.Mutex // Guards what follows.
	values   map[string]func(service string, at time.Time) float64
	services []string
	begin    time.Time                                  // Nothing before.
	fault    http.HandlerFunc                           // Instead of any answer.
	faults   map[string]http.HandlerFunc                // Instead of the answer to one expression.
	asked    []ask                                      // In order.
	clock    func() time.Time                           // For the Date header.
	delay    func(expr string, steps int) time.Duration // Before an answer.
}

// ask is one request that the source got.
type ask struct {
	when     time.Time
	expr     string
	from, to time.Time
	method   string
}

// pipeListener accepts connections that stay in memory.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l pipeListener) Close() error   { close(l); return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }

// newFakeProm starts a source with the services a, b and c.
func newFakeProm(t *testing.T) *fakeProm {
	p := &fakeProm{
		listener: make(pipeListener),
		values:   make(map[string]func(string, time.Time) float64),
		faults:   make(map[string]http.HandlerFunc),
		services: []string{"a", "b", "c"},
		clock:    time.Now,
	}
	server := &http.Server{Handler: p}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(p.listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return p
}

// client returns a client that is connected to the source.
func (p *fakeProm) client() *http.Client {
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &guard{timeout: time.Minute, next: &http.Transport{
			DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				here, there := net.Pipe()
				select {
				case p.listener <- there:
					return here, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
		}},
	}
}

// change changes the source between two requests.
func (p *fakeProm) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// constant makes a signal have one value everywhere.
func (p *fakeProm) constant(signal string, v float64) {
	p.change(func() { p.values[signal] = func(string, time.Time) float64 { return v } })
}

// since returns what was asked since a time.
func (p *fakeProm) since(begin time.Time) []ask {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []ask
	for _, a := range p.asked {
		if !a.when.Before(begin) {
			out = append(out, a)
		}
	}
	return out
}

func (p *fakeProm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sec := func(name string) time.Time {
		f, err := strconv.ParseFloat(r.FormValue(name), 64)
		if err != nil {
			return time.Time{}
		}
		return time.UnixMilli(int64(math.Round(f * 1000))).UTC()
	}
	a := ask{when: time.Now(), expr: r.FormValue("query"), from: sec("time"), to: sec("time"), method: r.Method}
	step := time.Second
	if strings.HasSuffix(r.URL.Path, "/query_range") {
		a.from, a.to = sec("start"), sec("end")
		s, _ := strconv.ParseFloat(r.FormValue("step"), 64)
		step = time.Duration(s * float64(time.Second))
	}
	p.mu.Lock()
	p.asked = append(p.asked, a)
	fault, delay := p.fault, p.delay
	if fault == nil {
		fault = p.faults[a.expr]
	}
	w.Header().Set("Date", p.clock().UTC().Format(http.TimeFormat))
	p.mu.Unlock()
	if delay != nil {
		select {
		case <-time.After(delay(a.expr, int(a.to.Sub(a.from)/step)+1)):
		case <-r.Context().Done():
			return
		}
	}
	if fault != nil {
		fault(w, r)
		return
	}
	p.answer(w, a, step, strings.HasSuffix(r.URL.Path, "/query_range"))
}

// answer evaluates an expression: the name of a signal, count(signal), or that with a label.
func (p *fakeProm) answer(w http.ResponseWriter, a ask, step time.Duration, isRange bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, labelled := strings.CutPrefix(a.expr, "label_replace(")
	name, counted := strings.CutPrefix(name, "count(")
	name, _, _ = strings.Cut(name, ")")
	eval := p.values[name]
	var result []map[string]any
	for _, service := range p.services {
		if eval == nil || (counted && service != p.services[0]) {
			continue
		}
		labels := map[string]string{"namespace": "shop", "workload": service}
		if counted {
			labels = map[string]string{}
		}
		if labelled {
			labels[countedAs] = "all"
		}
		var points [][2]any
		for at := a.from; !at.After(a.to); at = at.Add(step) {
			if v := eval(service, at); v != absentHere && !at.Before(p.begin) {
				if labelled {
					v = float64(len(p.services))
				}
				text := strconv.FormatFloat(v, 'f', -1, 64)
				points = append(points, [2]any{float64(at.UnixMilli()) / 1000, text})
			}
		}
		if len(points) > 0 && isRange {
			result = append(result, map[string]any{"metric": labels, "values": points})
		} else if len(points) > 0 {
			result = append(result, map[string]any{"metric": labels, "value": points[0]})
		}
	}
	kind := map[bool]string{true: "matrix", false: "vector"}[isRange]
	if result == nil {
		result = []map[string]any{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"status": "success", "data": map[string]any{"resultType": kind, "result": result},
	})
}

// absentHere is what a signal returns for a service that it says nothing about.
const absentHere = -12345

// Faults that a source can have.

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func says(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// breaks begins an answer and closes the connection.
func breaks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[`))
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// crawls begins an answer and does not go on.
func crawls(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[`))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// flood never ends its answer.
func flood(w http.ResponseWriter, r *http.Request) {
	_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[`))
	chunk := []byte(strings.Repeat(`{"metric":{},"value":[1,"1"]},`, 1000))
	for r.Context().Err() == nil {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// recorder is a sink that keeps what it gets and watches over the contract.
type recorder struct {
	t        *testing.T
	registry *series.Registry

	mu      sync.Mutex // Guards what follows.
	batches []series.Batch
	values  map[time.Time]map[string]float64 // By instant; keys are signal/service.
	times   map[time.Time]time.Time          // When an instant was closed.
	history map[time.Time]bool
	last    time.Time
	closed  bool // The last instant was.
	delay   time.Duration
}

func newRecorder(t *testing.T) *recorder {
	return &recorder{
		t: t, registry: series.NewRegistry(0),
		values:  make(map[time.Time]map[string]float64),
		times:   make(map[time.Time]time.Time),
		history: make(map[time.Time]bool),
	}
}

func (r *recorder) Append(ctx context.Context, b *series.Batch) error {
	r.mu.Lock()
	delay := r.delay
	r.mu.Unlock()
	if err := sleep(ctx, delay); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if b.At.Before(r.last) || b.At.Equal(r.last) && r.closed {
		r.t.Errorf("batch of %s after %s (closed %t)", b.At, r.last, r.closed)
	}
	if len(b.Refs) != len(b.Values) {
		r.t.Errorf("%d Refs and %d values", len(b.Refs), len(b.Values))
	}
	r.last, r.closed = b.At, b.Final
	if r.values[b.At] == nil {
		r.values[b.At] = make(map[string]float64)
	}
	for i, ref := range b.Refs {
		id, ok := r.registry.ID(ref)
		key := id.Signal + "/" + id.Service.Name
		if _, twice := r.values[b.At][key]; twice || !ok || id.Signal != b.Signal {
			r.t.Errorf("%s: %s is twice in it, unknown or of another signal", b.Signal, key)
		}
		r.values[b.At][key] = b.Values[i]
	}
	if b.Final {
		r.times[b.At] = time.Now()
		r.history[b.At] = b.History
	}
	r.batches = append(r.batches, *b)
	return nil
}

// instants returns the closed instants in order.
func (r *recorder) instants() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Keys(r.times), time.Time.Compare)
}

// at returns what was got for an instant.
func (r *recorder) at(instant time.Time) map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.values[instant])
}

// gaps returns how many instants are missing between the first and the last.
func (r *recorder) gaps(interval time.Duration) int {
	all := r.instants()
	if len(all) == 0 {
		return 0
	}
	return int(all[len(all)-1].Sub(all[0])/interval) + 1 - len(all)
}

// rig is a source under test.
type rig struct {
	prom   *fakeProm
	sink   *recorder
	opts   Options
	source *Source
	reg    *prometheus.Registry
	now    func() time.Time // Nil: the bubble's clock.
	cancel context.CancelFunc
	ended  chan error
}

// newRig prepares a source of the given signals, which exist, at their defaults.
func newRig(t *testing.T, signals ...string) *rig {
	r := &rig{prom: newFakeProm(t), sink: newRecorder(t), reg: prometheus.NewRegistry()}
	for i, s := range signals {
		r.prom.constant(s, float64(i+1))
		r.opts.Queries = append(r.opts.Queries, query1(s))
	}
	r.opts.Cluster, r.opts.URL = "eu", "http://prom.test/base"
	r.opts.Client, r.opts.Registry, r.opts.Sink = r.prom.client(), r.sink.registry, r.sink
	r.opts.Reg = r.reg
	return r
}

func query1(signal string) Query {
	return Query{
		Signal: signal, Expr: signal, Namespace: []string{"namespace"}, Service: []string{"workload"},
	}
}

// start runs the source until the test ends.
func (r *rig) start(t *testing.T) {
	t.Helper()
	var err error
	if r.source, err = New(r.opts); err != nil {
		t.Fatal(err)
	}
	if r.now != nil {
		r.source.now = r.now
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel, r.ended = cancel, make(chan error, 1) // Read once.
	go func() { r.ended <- r.source.Run(ctx) }()
	t.Cleanup(func() { r.stop(t) })
}

// stop stops the source, once.
func (r *rig) stop(t *testing.T) {
	r.cancel()
	if r.ended == nil {
		return
	}
	if err := <-r.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	r.ended = nil
}

// signal returns the status of a signal.
func (r *rig) signal(t *testing.T, name string) SignalStatus {
	t.Helper()
	for _, s := range r.source.Status().Signals {
		if s.Signal == name {
			return s
		}
	}
	t.Fatalf("no signal %s in the status", name)
	return SignalStatus{}
}

// metric returns the sum of the samples of a metric whose labels hold want.
func (r *rig) metric(t *testing.T, name string, want ...string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			text := fmt.Sprint(m.GetLabel())
			if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(text, `"`+w+`"`) }) {
				found = true
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	if !found {
		t.Fatalf("no metric %s with %v", name, want)
	}
	return sum
}
