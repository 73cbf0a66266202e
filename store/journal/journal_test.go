package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type thing struct {
	Name    string `json:"name"`
	Service struct {
		Cluster string `json:"cluster"`
	} `json:"service"`
}

func newThing(name, cluster string) thing {
	t := thing{Name: name}
	t.Service.Cluster = cluster
	return t
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// open opens a journal at path, or in a directory of its own, and closes it when the test ends.
func open(t testing.TB, opts Options) *Journal {
	t.Helper()
	if opts.Path == "" {
		opts.Path = filepath.Join(t.TempDir(), "journal.db")
	}
	j, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// fill appends n events, ten keys in turn, one a minute.
func fill(t testing.TB, j *Journal, n int) {
	t.Helper()
	for i := range n {
		e := Entry{
			Kind: "finding",
			Key:  fmt.Sprintf("f%d", i%10),
			At:   epoch.Add(time.Duration(i) * time.Minute),
			Data: newThing(fmt.Sprintf("number %d", i), fmt.Sprintf("c%d", i%3)),
		}
		if err := j.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func seqs(events []Event) []int64 {
	out := []int64{}
	for _, e := range events {
		out = append(out, e.Seq)
	}
	return out
}

func TestRead(t *testing.T) {
	j := open(t, Options{})
	fill(t, j, 25)
	if err := j.Append(t.Context(), Entry{Kind: "incident", Key: "f1", At: epoch, Data: 1}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		q    Query
		want []int64
	}{
		{"oldest first", Query{Limit: 3}, []int64{1, 2, 3}},
		{"after", Query{After: 24, Limit: 9}, []int64{25, 26}},
		{"newest first", Query{Newest: true, Limit: 3}, []int64{26, 25, 24}},
		{"before", Query{Newest: true, Before: 3}, []int64{2, 1}},
		{"kind", Query{Kinds: []string{"incident"}}, []int64{26}},
		{"kinds", Query{Kinds: []string{"incident", "finding"}, Newest: true, Limit: 2}, []int64{26, 25}},
		{"unknown kind", Query{Kinds: []string{"no"}}, []int64{}},
		{"key", Query{Key: "f1"}, []int64{2, 12, 22, 26}},
		{"kind and key", Query{Kinds: []string{"finding"}, Key: "f1"}, []int64{2, 12, 22}},
		{"since", Query{Since: epoch.Add(23 * time.Minute)}, []int64{24, 25}},
		{"until", Query{Until: epoch.Add(2 * time.Minute)}, []int64{1, 2, 26}},
		{"latest", Query{Latest: true, Newest: true, Kinds: []string{"finding"}, Limit: 3}, []int64{25, 24, 23}},
		{"match", Query{Match: map[string]string{"service.cluster": "c0"}, Limit: 2}, []int64{1, 4}},
		{"match nothing", Query{Match: map[string]string{"service.cluster": "c9"}}, []int64{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			events, err := j.Read(t.Context(), tc.q)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, seqs(events)); diff != "" {
				t.Error(diff)
			}
			salvaged, err := j.salvage(j.readers.Query, withLimit(tc.q))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, seqs(salvaged)); diff != "" {
				t.Errorf("around damaged pages: %s", diff)
			}
		})
	}
}

func withLimit(q Query) Query {
	if q.Limit == 0 {
		q.Limit = 100
	}
	return q
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a dir%20?", "journal #1.db")
	j := open(t, Options{Path: path})
	fill(t, j, 12)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(t.Context(), Entry{Kind: "x"}); !errors.Is(err, ErrClosed) {
		t.Errorf("Append() after Close() = %v, want ErrClosed", err)
	}

	j = open(t, Options{Path: path})
	latest, err := j.Latest(t.Context(), "finding")
	if err != nil {
		t.Fatal(err)
	}
	if len(latest) != 10 || latest["f1"].Seq != 12 || latest["f2"].Seq != 3 {
		t.Errorf("Latest() = %v", latest)
	}
	got, err := Decode[thing](latest["f1"])
	if err != nil || got != newThing("number 11", "c2") {
		t.Errorf("Decode() = %v, %v", got, err)
	}
	if !latest["f1"].At.Equal(epoch.Add(11 * time.Minute)) {
		t.Errorf("At = %v", latest["f1"].At)
	}
	if r, err := j.Verify(t.Context()); err != nil || r.Err() != nil || r.Events != 12 {
		t.Errorf("Verify() = %+v, %v", r, err)
	}
	if _, err := Open(Options{Path: path}); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open() = %v, want ErrInUse", err)
	}
}

// BenchmarkAppend appends findings, alone and from 64 goroutines that share transactions.
func BenchmarkAppend(b *testing.B) {
	e := Entry{Kind: "finding", Key: "f", At: epoch, Data: newThing(strings.Repeat("x", 400), "c")}
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			j := open(b, Options{})
			b.SetParallelism(writers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := j.Append(context.Background(), e); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkVerify walks a chain of 20,000 events.
func BenchmarkVerify(b *testing.B) {
	j := open(b, Options{})
	entries := make([]Entry, 20_000)
	for n := range entries {
		entries[n] = Entry{Kind: "finding", Key: fmt.Sprint(n), At: epoch, Data: strings.Repeat("x", 400)}
	}
	if err := j.Append(context.Background(), entries...); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if r, err := j.Verify(context.Background()); err != nil || r.Err() != nil {
			b.Fatal(r, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(entries)), "ns/event")
}
