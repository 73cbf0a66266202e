package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"tocsin/collectors/promql"
	"tocsin/detector"
	"tocsin/detector/baseline"
	"tocsin/fleet"
	"tocsin/series"
)

// PlanCosts are what a series costs on this machine.
type PlanCosts struct {
	DecodeNS     float64 `json:"decode_ns_per_value"`     // From an answer to a batch.
	ScoreNS      float64 `json:"score_ns_per_value"`      // From a batch to a score.
	SeriesBytes  float64 `json:"bytes_per_series"`        // What was learnt, names, order of answers.
	StateBytes   float64 `json:"state_bytes_per_series"`  // Of that, what a snapshot holds.
	WriteNS      float64 `json:"write_ns_per_sample"`     // From a score to the score database.
	HeadBytes    float64 `json:"bytes_per_stored_series"` // Of the score database, in memory.
	SampleBytes  float64 `json:"bytes_per_sample"`        // In its blocks,
	LogBytes     float64 `json:"bytes_per_fresh_sample"`  // and before, in its log, for about logFor.
	JournalBytes float64 `json:"bytes_per_incident"`      // In the journal, all events of it.
}

// What docs/performance.md has measured of the score database and the journal: to measure it here
// would take hours of samples.
const (
	writeNS      = 330
	headBytes    = 1800
	sampleBytes  = 3.8
	logBytes     = 12
	logFor       = 3 * time.Hour
	journalBytes = 32 << 10
)

const (
	measureServices = 500 // With measureSignals signals each.
	measureSignals  = 8
	measureTicks    = 70 // Until all are warm,
	measureFor      = 300 * time.Millisecond
)

// measureCosts runs a detector and a source of made-up answers for about a second.
func measureCosts(ctx context.Context) (PlanCosts, error) {
	out := PlanCosts{
		StateBytes: float64(baseline.StateSize(1600)) / 1600,
		WriteNS:    writeNS, HeadBytes: headBytes, SampleBytes: sampleBytes, LogBytes: logBytes,
		JournalBytes: journalBytes,
	}
	before := heapInUse()
	m, err := newMeasurement()
	if err != nil {
		return out, err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1) // Holds what Run returns.
	go func() { done <- m.engine.Run(running) }()
	err = m.measure(ctx, &out)
	used := float64(heapInUse()) - float64(before)
	runtime.KeepAlive(m)
	stop()
	if err := errors.Join(err, <-done); err != nil {
		return out, fmt.Errorf("measure what a series costs: %w", err)
	}
	out.SeriesBytes = used / (measureServices * measureSignals)
	if out.SeriesBytes < out.StateBytes { // It lies outside of the heap.
		out.SeriesBytes = max(out.SeriesBytes, 0) + out.StateBytes
	}
	return out, nil
}

// heapInUse returns the bytes that are reachable.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC() // What the first one's finalizers and pools have let go.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// measurement is a detector whose only source is made up.
type measurement struct {
	engine  *detector.Engine
	source  *promql.Source
	batches []series.Batch
	sink    *planSink
}

func newMeasurement() (*measurement, error) {
	m := &measurement{sink: &planSink{}}
	registry := series.NewRegistry(measureServices * measureSignals)
	kinds := []detector.Kind{detector.Rate, detector.Ratio, detector.Latency, detector.Saturation}
	var signals []detector.Signal
	var queries []promql.Query
	for i := range measureSignals {
		name := "signal" + strconv.Itoa(i)
		signals = append(signals, detector.Signal{
			Name: name, Kind: kinds[i%len(kinds)], Bad: detector.Up,
		})
		queries = append(queries, promql.Query{
			Signal: name, Expr: name, Namespace: []string{"namespace"}, Service: []string{"service"},
		})
		b := series.Batch{
			Cluster: "plan", Signal: name, Step: 15 * time.Second,
			Final: i == measureSignals-1,
		}
		for k := range measureServices {
			ref, err := registry.Ref(series.ID{Service: planService(k), Signal: name})
			if err != nil {
				return nil, err
			}
			b.Refs, b.Values = append(b.Refs, ref), append(b.Values, 0)
		}
		m.batches = append(m.batches, b)
	}
	var err error
	if m.engine, err = detector.New(detector.Options{
		Signals: signals, Registry: registry, Shards: 1,
	}); err != nil {
		return nil, err
	}
	m.source, err = promql.New(promql.Options{
		Cluster: "plan", URL: "http://plan", Queries: queries, Registry: registry, Sink: m.sink,
		Client: &http.Client{Transport: madeUp(planAnswer())},
	})
	return m, err
}

func planService(k int) fleet.Service {
	return fleet.Service{
		Cluster: "plan", Namespace: "namespace" + strconv.Itoa(k%10), Name: "some-service-" +
			strconv.Itoa(k),
	}
}

// measure fills in the times.
func (m *measurement) measure(ctx context.Context, out *PlanCosts) error {
	at := time.Unix(0, 0)
	values, spent := 0, time.Duration(0)
	for tick := 0; tick < measureTicks || spent < measureFor; tick++ {
		at = at.Add(15 * time.Second)
		began := time.Now()
		for i := range m.batches {
			b := &m.batches[i]
			b.At = at
			for k := range b.Values {
				b.Values[k] = 0.5 + 0.1*float64((k*7919+tick*104729)%1009)/1009
			}
			if err := m.engine.Append(ctx, b); err != nil {
				return err
			}
		}
		m.engine.LastAt("plan") // It waits until all is judged.
		if tick >= measureTicks {
			spent += time.Since(began)
			values += measureServices * measureSignals
		}
	}
	out.ScoreNS = float64(spent) / float64(values)
	values, spent = 0, 0
	for spent < measureFor {
		s, err := m.source.Survey(ctx)
		if err != nil {
			return err
		}
		for _, signal := range s.Signals {
			spent += signal.Took
			values += signal.Series
		}
		if values == 0 {
			return errors.New("a made-up answer was not understood")
		}
	}
	out.DecodeNS = float64(spent) / float64(values)
	return nil
}

// planSink takes nothing, as a survey gives nothing.
type planSink struct{}

// Append implements series.Sink.
func (*planSink) Append(context.Context, *series.Batch) error { return nil }

// madeUp answers every query with the same text, but those that count with nothing.
type madeUp []byte

// RoundTrip implements http.RoundTripper.
func (m madeUp) RoundTrip(r *http.Request) (*http.Response, error) {
	asked, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	text := []byte(m)
	if bytes.Contains(asked, []byte("count")) {
		text = []byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: make(http.Header), ContentLength: int64(len(text)),
		Body: io.NopCloser(bytes.NewReader(text)),
	}, nil
}

// planAnswer is what a source says of measureServices services.
func planAnswer() []byte {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"vector","result":[`)
	for k := range measureServices {
		s := planService(k)
		if k > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"metric":{"namespace":%q,"service":%q},"value":[1767225600,"0.%017d"]}`,
			s.Namespace, s.Name, k*104729)
	}
	b.WriteString(`]}}`)
	return []byte(b.String())
}
