package promql

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// memory answers each query as a source did the first time, without the source's work.
type memory struct {
	next http.Handler

	mu      sync.Mutex // Guards what follows.
	answers map[string][]byte
}

func (m *memory) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	answer, ok := m.answers[form.Get("query")]
	if !ok {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		w := httptest.NewRecorder()
		m.next.ServeHTTP(w, again)
		answer = w.Body.Bytes()
		m.answers[form.Get("query")] = answer
	}
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}, Request: r,
		Body: io.NopCloser(bytes.NewReader(answer)), ContentLength: int64(len(answer)),
	}, nil
}

// BenchmarkPods is one tick of a cluster in which so many releases of 10 old and 2 new pods run.
// Each pod has 7 metrics, its latency in 12 buckets.
func BenchmarkPods(b *testing.B) {
	for _, releases := range []int{1, 10, 100, 500} {
		b.Run(fmt.Sprintf("releases=%d", releases), func(b *testing.B) {
			metrics := []string{
				PodRequests, PodErrors, PodLatency, PodCPU, PodMemory, PodMemoryLimit, PodRestarts,
			}
			fake, source := newPodSource(b, podSetOf("web", metrics...))
			source.opts.ProbeEvery = 1000 * time.Hour
			source.api.client = &http.Client{Transport: &memory{next: fake, answers: map[string][]byte{}}}
			var targets []PodTarget
			for i := range releases {
				targets = append(targets, benchRelease(fake, i, metrics))
			}
			r := podRange(1, targets...)
			h, err := source.Pods(b.Context(), r) // Labels are looked for, and seen for the first time.
			if err != nil || h.Samples != 12*releases {
				b.Fatalf("%d samples, want %d: %v", h.Samples, 12*releases, err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if h, err = source.Pods(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(h.Queries), "queries/op")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*h.Samples), "ns/sample")
		})
	}
}

// benchRelease adds the pods of a release.
func benchRelease(fake *podSource, number int, metrics []string) PodTarget {
	name := fmt.Sprintf("service-%03d", number)
	target := shop(name)
	for side, pods := range map[string]int{"7d9f8c6b5": 10, "5c4d9b7f6": 2} {
		target.Match = append(target.Match, name+"-"+side+"-[a-z0-9]+")
		for i := range pods {
			pod := fmt.Sprintf("%s-%s-x%04d", name, side, i)
			target.Pods = append(target.Pods, pod)
			for _, metric := range metrics {
				labels := []string{"namespace", "shop", "pod", pod}
				if metric != PodLatency {
					fake.counter("web_"+metric, 1, labels...)
					continue
				}
				for _, le := range []string{
					"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
				} {
					fake.counter("web_"+metric, 1, append(labels, "le", le)...)
				}
			}
		}
	}
	return target
}
