package tsdb

import (
	"context"
	"math"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/series"
)

// epoch is when the tests take place.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is one that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// bench is a database with all that is around it. Run is left to the tests that are about it:
// write does its work.
type bench struct {
	*DB
	t     testing.TB
	clock *clock
	reg   *series.Registry
	api   v1.API
}

// start opens a database and serves its API, until the test ends.
func start(t testing.TB, opts Options) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{at: epoch}, reg: series.NewRegistry(0)}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	opts.now = b.clock.now
	if opts.free == nil {
		opts.free = func(string) (space, error) { return space{free: 100 << 30, total: 200 << 30}, nil }
	}
	var err error
	if b.DB, err = Open(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(b.Handler())
	t.Cleanup(server.Close)
	client, err := api.NewClient(api.Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	b.api = v1.NewAPI(client)
	return b
}

// id names a signal of a service.
func id(service, signal string) series.ID {
	return series.ID{
		Service: fleet.Service{Cluster: "eu-1", Namespace: "shop", Name: service},
		Signal:  signal,
	}
}

// ref returns the Ref of an ID.
func (b *bench) ref(id series.ID) series.Ref {
	b.t.Helper()
	ref, err := b.reg.Ref(id)
	if err != nil {
		b.t.Fatal(err)
	}
	return ref
}

// scores returns scores for services; the other columns follow from the score: observed 10 times
// it, and so on.
func (b *bench) scores(signal string, at time.Time, values map[string]float64) *detector.Scores {
	s := &detector.Scores{Cluster: "eu-1", Signal: signal, At: at}
	for service, v := range values {
		s.Refs = append(s.Refs, b.ref(id(service, signal)))
		s.Score = append(s.Score, float32(v))
		s.Observed = append(s.Observed, 10*v)
		s.Expected = append(s.Expected, 20*v)
		s.Lower = append(s.Lower, 30*v)
		s.Upper = append(s.Upper, 40*v)
	}
	return s
}

// write hands s over and writes it.
func (b *bench) write(s *detector.Scores) {
	b.t.Helper()
	b.WriteScores(s, b.reg.ID)
	b.writer.drain(context.Background())
}

// query returns the values of an instant query by the labels of its series.
func (b *bench) query(expr string, at time.Time) map[string]float64 {
	b.t.Helper()
	v, _, _, err := b.api.Query(context.Background(), expr, at)
	if err != nil {
		b.t.Fatalf("query %s: %v", expr, err)
	}
	out := make(map[string]float64)
	for _, s := range v.(model.Vector) {
		out[s.Metric.String()] = float64(s.Value)
	}
	return out
}

func TestWriteScores(t *testing.T) {
	b := start(t, Options{})
	b.write(b.scores("errors", epoch, map[string]float64{"cart": 1.5, "pay": math.NaN()}))
	got := b.query(`{service=~".+"}`, epoch)
	want := map[string]float64{
		`tocsin_score{cluster="eu-1", namespace="shop", service="cart", signal="errors"}`:    1.5,
		`tocsin_observed{cluster="eu-1", namespace="shop", service="cart", signal="errors"}`: 15,
		`tocsin_expected{cluster="eu-1", namespace="shop", service="cart", signal="errors"}`: 30,
		`tocsin_lower{cluster="eu-1", namespace="shop", service="cart", signal="errors"}`:    45,
		`tocsin_upper{cluster="eu-1", namespace="shop", service="cart", signal="errors"}`:    60,
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
}
